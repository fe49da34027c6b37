"""Fits neighbours to the training part, and keeps the model as an artifact of the run."""

import argparse
import pickle
import tempfile
from pathlib import Path

import mlflow
import pandas
from sklearn.neighbors import KNeighborsClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--neighbours", type=int, required=True)
args = parser.parse_args()

train = pandas.read_csv(Path(args.data) / "train.csv")
model = KNeighborsClassifier(args.neighbours).fit(train.drop(columns="target").values, train["target"])
with mlflow.start_run(), tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "model.pkl").write_bytes(pickle.dumps(model))
    mlflow.log_artifacts(folder, "model")
