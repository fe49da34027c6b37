"""Flavors of the field, saved by the stock client: scored by us as by MLflow's own server."""

import json
import math
import sys

import pytest

from support.scorer import JSON, Scorer, mlflow_servers, near

pytest.importorskip("pyarrow")

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import requests
from mlflow.models import infer_signature

pytestmark = pytest.mark.runlake("a program of its own, beside the server")

# The processes that load the models below cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

COLUMNS = ["sl", "sw", "pl", "pw"]
ROW = [5.1, 3.5, 1.4, 0.2]
NEEDS = {"pip_requirements": ["mlflow"]}


class WithFile(mlflow.pyfunc.PythonModel):
    """Reads what it knows from an artifact."""

    def load_context(self, context):
        with open(context.artifacts["offset"]) as file:
            self.offset = json.load(file)

    def predict(self, context, model_input, params=None):
        return model_input["sl"] + self.offset * (params or {}).get("scale", 1)


def xgboost(folder, features, target):
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBClassifier(n_estimators=4, max_depth=2).fit(features, target)
    mlflow.xgboost.save_model(model, folder, signature=infer_signature(features, model.predict(features)), **NEEDS)


def lightgbm(folder, features, target):
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1).fit(features, target)
    mlflow.lightgbm.save_model(model, folder, signature=infer_signature(features, model.predict(features)), **NEEDS)


def torch(folder, features, target):
    """Not on every machine: from PyPI it is gigabytes."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(4, 2)
    batch = features.to_numpy(np.float32)
    given = infer_signature(batch, model(torch.from_numpy(batch)).detach().numpy())
    mlflow.pytorch.save_model(model, folder, signature=given, **NEEDS)


def artifacts(folder, features, target):
    offset = folder + ".json"
    with open(offset, "w") as file:
        json.dump(2.5, file)
    given = infer_signature(features, features["sl"], params={"scale": 1.0})
    mlflow.pyfunc.save_model(folder, python_model=WithFile(), artifacts={"offset": offset}, signature=given, **NEEDS)


def split(columns, *rows):
    return {"dataframe_split": {"columns": columns, "data": list(rows)}}


TABLES = [
    split(COLUMNS, ROW, [6.0, 3.0, 5.0, 2.0]),
    split(COLUMNS[::-1], ROW),
    split(COLUMNS[:2], ROW[:2]),
    split(COLUMNS, ["x", *ROW[1:]]),
    split(COLUMNS, [None, *ROW[1:]]),
    {"dataframe_records": [dict(zip(COLUMNS, ROW))]},
    {"inputs": dict(zip(COLUMNS, ([value] for value in ROW)))},
    {"instances": [dict(zip(COLUMNS, ROW))], "params": {"scale": 2.0}},
    {"inputs": [ROW]},
    {},
]


def close(one, other):
    return math.isclose(one, other, rel_tol=1e-6) or one != one and other != other


@pytest.mark.parametrize("save", [xgboost, lightgbm, torch, artifacts])
def test_answers_and_statuses_are_those_of_mlflow(save, tmp_path):
    from sklearn.datasets import load_iris

    features, target = load_iris(return_X_y=True, as_frame=True)
    features.columns = COLUMNS
    folder = tmp_path / save.__name__
    save(str(folder), features, target)
    wrong = []
    with Scorer(tmp_path, "-m", str(folder)) as ours, mlflow_servers({"it": folder}) as theirs:
        bodies = [(json.dumps(body), JSON) for body in TABLES]
        bodies.append((pd.DataFrame([ROW], columns=COLUMNS).to_csv(index=False), "text/csv"))
        for body, kind in bodies:
            mine = ours.post(body, kind)
            other = requests.post(theirs["it"], data=body, headers={"Content-Type": kind}, timeout=60)
            same = mine.status_code == other.status_code
            if not same or (other.status_code == 200 and not near(mine.json(), other.json(), close)):
                wrong.append((body[:120], mine.status_code, mine.text[:300], other.status_code, other.text[:300]))
        # Rows that are scored together get the answers they get alone.
        body = json.dumps(TABLES[0])
        expected = ours.post(body).json()
        assert all(ours.post(body).json() == expected for _ in range(3))
    assert not wrong, "\n".join(map(str, wrong))
