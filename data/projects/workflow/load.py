"""Splits the irises, and keeps both parts as artifacts."""

import argparse
import tempfile
from pathlib import Path

import mlflow
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--test-size", type=float, required=True)
args = parser.parse_args()

irises = load_iris(as_frame=True).frame
train, test = train_test_split(irises, test_size=args.test_size, random_state=7, stratify=irises["target"])
with mlflow.start_run(), tempfile.TemporaryDirectory() as folder:
    for name, part in (("train", train), ("test", test)):
        part.to_csv(Path(folder) / f"{name}.csv", index=False)
        mlflow.log_metric(f"{name}_rows", len(part))
    mlflow.log_artifacts(folder, "data")
