"""How well the model does on the part it has not seen."""

import argparse
import pickle
from pathlib import Path

import mlflow
import pandas
from mlflow.artifacts import download_artifacts

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--model", required=True)
args = parser.parse_args()

test = pandas.read_csv(Path(args.data) / "test.csv")
# A pickle runs code: this one is of the step before.
model = pickle.loads((Path(download_artifacts(args.model)) / "model.pkl").read_bytes())
with mlflow.start_run():
    accuracy = float((model.predict(test.drop(columns="target").values) == test["target"]).mean())
    mlflow.log_metric("accuracy", accuracy)
    print(f"accuracy {accuracy:.4f}")
