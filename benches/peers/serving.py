"""Saves a forest for iris as scikit-learn's and as ONNX's: `python serving.py FOLDER`."""

import sys
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

folder = Path(sys.argv[1])
features, target = load_iris(return_X_y=True, as_frame=True)
features.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
forest = RandomForestClassifier(100, random_state=0).fit(features.to_numpy(np.float32), target)
signature = infer_signature(features)
needs = {"pip_requirements": ["mlflow"]}
mlflow.sklearn.save_model(forest, folder / "forest", signature=signature, serialization_format="cloudpickle", **needs)
mlflow.onnx.save_model(to_onnx(forest, features.to_numpy(np.float32)[:1]), folder / "forest-onnx", signature=signature, **needs)
