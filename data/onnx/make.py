"""Makes the graphs beside this file and what onnxruntime gives for them: `python make.py`.

Needs scikit-learn, skl2onnx, onnxmltools, xgboost, lightgbm, onnxruntime.
"""

import json
import pathlib

import lightgbm
import numpy as np
import onnxruntime
import xgboost
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

HERE = pathlib.Path(__file__).parent
X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
names = np.array(["setosa", "versicolor", "virginica"])[y]
two = y != 0
trees = {"n_estimators": 4, "max_depth": 3, "random_state": 0}
few = {"n_estimators": 3, "max_depth": 2, "random_state": 0}


def graph(nodes, inputs, outputs):
    made = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


models = {
    "forest": to_onnx(RandomForestClassifier(**trees).fit(X, y), X[:1]),
    "forest_names": to_onnx(RandomForestClassifier(**trees).fit(X, names), X[:1]),
    "forest_two": to_onnx(RandomForestClassifier(**trees).fit(X[two], y[two]), X[:1]),
    "forest_plain": to_onnx(RandomForestClassifier(**trees).fit(X, y), X[:1], options={"zipmap": False}),
    "tree": to_onnx(DecisionTreeClassifier(max_depth=3).fit(X[two], y[two]), X[:1]),
    "boosting": to_onnx(GradientBoostingClassifier(**few).fit(X, y), X[:1]),
    "boosting_two": to_onnx(GradientBoostingClassifier(**few).fit(X[two], y[two]), X[:1]),
    "boosting_number": to_onnx(GradientBoostingRegressor(**few).fit(X, X[:, 0] * 2), X[:1]),
    "forest_number": to_onnx(ExtraTreesRegressor(**few).fit(X, np.c_[X[:, 0], X[:, 1] * 3]), X[:1]),
    "logistic": to_onnx(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X[:1]),
    "logistic_two": to_onnx(make_pipeline(MinMaxScaler(), LogisticRegression()).fit(X[two], names[two]), X[:1]),
    "imputed": to_onnx(make_pipeline(SimpleImputer(), LinearRegression()).fit(X, y), X[:1]),
    "network": to_onnx(MLPClassifier((5,), max_iter=50, random_state=0).fit(X, y), X[:1]),
    "xgboost": convert_xgboost(xgboost.XGBClassifier(**few).fit(X, y), initial_types=[("X", FloatTensorType([None, 4]))]),
    "xgboost_two": convert_xgboost(
        xgboost.XGBClassifier(**few).fit(X[two], y[two] - 1), initial_types=[("X", FloatTensorType([None, 4]))]
    ),
    "xgboost_number": convert_xgboost(
        xgboost.XGBRegressor(**few).fit(X, X[:, 0]), initial_types=[("X", FloatTensorType([None, 4]))]
    ),
    "lightgbm": convert_lightgbm(
        lightgbm.LGBMClassifier(**few, verbose=-1).fit(X, y), initial_types=[("X", FloatTensorType([None, 4]))]
    ),
    "lightgbm_two": convert_lightgbm(
        lightgbm.LGBMClassifier(**few, verbose=-1).fit(X[two], y[two]), initial_types=[("X", FloatTensorType([None, 4]))]
    ),
    "sums": graph(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])],
        [tensor("a", [None]), tensor("b", [None])],
        [tensor("sum", [None]), tensor("product", [None])],
    ),
}

expected = {}
rows = np.concatenate([X[::15], X[:2] * 3, X[60:62] - 1.5])
for name, model in models.items():
    path = HERE / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if name == "sums":
        given = {"a": [1.5, -2.0], "b": [0.25, 4.0]}
    else:
        data = rows.copy()
        if name == "imputed":
            data[0, 2] = np.nan
        given = {"X": data.tolist()}
    ran = session.run(None, {key: np.array(value, dtype=np.float32) for key, value in given.items()})
    plain = [value.tolist() if isinstance(value, np.ndarray) else value for value in ran]
    outputs = dict(zip([output.name for output in session.get_outputs()], plain))
    expected[name] = {"inputs": given, "predictions": outputs}
(HERE / "expected.json").write_text(json.dumps(expected, indent=None, separators=(",", ":")) + "\n")
