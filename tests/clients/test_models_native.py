"""ONNX models in runlake's own process: the same statuses and answers as MLflow's server gives through onnxruntime."""

import json
import math
import os
import subprocess
import time

import pytest

from support.scorer import JSON, Scorer, mlflow_servers, near
from support.server import Server, binary

pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")

import mlflow
import numpy as np
import onnx
import pandas as pd
import requests
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec
from onnx import TensorProto, helper
from skl2onnx import to_onnx

pytestmark = pytest.mark.runlake("a program of its own, beside the server")

COLUMNS = ["sl", "sw", "pl", "pw"]
ROW, OTHER = [5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]
RECORDS = [dict(zip(COLUMNS, ROW)), dict(zip(COLUMNS, OTHER))]
NO_PYTHON = "/no/such/python"


def tensors(name=None):
    return ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 4), name)]))


def graphs():
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LinearRegression

    features, target = load_iris(return_X_y=True)
    features = features.astype(np.float32)
    names = np.array(["setosa", "versicolor", "virginica"])[target]
    few = {"n_estimators": 8, "random_state": 0}
    one = features[:1]
    pair = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Mul", ["a", "b"], ["d"])],
        "pair",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "ab"],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "cd"],
    )
    pair = helper.make_model(pair, opset_imports=[helper.make_opsetid("", 17)])
    pair.ir_version = 9
    return {
        "forest": to_onnx(RandomForestClassifier(**few).fit(features, target), one),
        "names": to_onnx(RandomForestClassifier(**few).fit(features, names), one),
        "number": to_onnx(RandomForestRegressor(**few).fit(features, target), one),
        "whole": to_onnx(LinearRegression().fit(features.astype(np.int64), target), one.astype(np.int64)),
        "pair": pair,
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models, by name."""
    root = tmp_path_factory.mktemp("onnx")
    made = graphs()
    frame = pd.DataFrame([ROW, OTHER], columns=COLUMNS)
    pair = ModelSignature(inputs=Schema([ColSpec("double", "a"), ColSpec("double", "b")]))
    given = {
        "forest": ("forest", None),
        "forest_columns": ("forest", infer_signature(frame)),
        "forest_floats": ("forest", infer_signature(frame.astype("float32"))),
        "forest_tensor": ("forest", tensors()),
        "forest_named": ("forest", tensors("X")),
        "names": ("names", None),
        "number": ("number", infer_signature(frame)),
        "whole": ("whole", None),
        "pair": ("pair", None),
        "pair_columns": ("pair", pair),
    }
    for name, (graph, signature) in given.items():
        mlflow.onnx.save_model(made[graph], str(root / name), signature=signature, pip_requirements=["mlflow"])
    return {name: root / name for name in given}


def split(columns, *rows):
    return {"dataframe_split": {"columns": columns, "data": list(rows)}}


BODIES = [
    split(COLUMNS, ROW, OTHER),
    split(COLUMNS[::-1], ROW),
    split(COLUMNS[:3], ROW[:3]),
    split(COLUMNS, [5, 3, 1, 0]),
    split(COLUMNS, ["a", 1, 1, 1]),
    split(COLUMNS, [None, 1, 1, 1]),
    split(COLUMNS),
    {"dataframe_split": {"data": [ROW]}},
    {"dataframe_records": RECORDS},
    {"dataframe_records": [{**RECORDS[0], "more": 1}]},
    {"instances": [ROW, OTHER]},
    {"instances": RECORDS},
    {"instances": [{"X": ROW}, {"X": OTHER}]},
    {"inputs": [ROW]},
    {"inputs": ROW},
    {"inputs": [ROW[:3]]},
    {"inputs": [[5, 3, 1, 0]]},
    {"inputs": [["a", 1, 1, 1]]},
    {"inputs": [[1.5, 1], [1.5]]},
    {"inputs": {"X": [ROW, OTHER]}},
    {"inputs": {"Z": [ROW]}},
    {"inputs": {name: [1.5, 2.5] for name in COLUMNS}},
    {"inputs": []},
    {"inputs": "x"},
    {"inputs": [ROW], "params": {"a": 1}},
    {"messages": [{"role": "user", "content": "x"}]},
    {},
]
PAIRS = [
    {"inputs": {"a": [1.5, 2], "b": [1, 2.5]}},
    {"inputs": {"a": [1, 2], "b": [1, 2]}},
    {"inputs": {"a": [1.5]}},
    {"instances": [{"a": 1.5, "b": 2.5}]},
    split(["a", "b"], [1.5, 2], [1, 2]),
    split(["b", "a"], [1.5, 2.5], [1, 2.25]),
    split(["a", "b", "c"], [1.5, 2.5, 1]),
]


def close(one, other):
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)


def test_answers_and_statuses_are_those_of_mlflow(models, tmp_path):
    args = [word for name, folder in models.items() for word in ("-m", f"{name}={folder}")]
    wrong = []
    with Scorer(tmp_path, *args, python=NO_PYTHON) as ours, mlflow_servers(models) as theirs:
        assert ours.workers() == []
        for name in models:
            for body in PAIRS if name.startswith("pair") else BODIES:
                mine = ours.post(body, path=f"/models/{name}/invocations")
                other = requests.post(theirs[name], data=json.dumps(body), headers={"Content-Type": JSON}, timeout=60)
                same = mine.status_code == other.status_code
                if not same or (other.status_code == 200 and not near(mine.json(), other.json(), close)):
                    said = (mine.status_code, mine.text[:300], other.status_code, other.text[:300])
                    wrong.append((name, json.dumps(body)[:120], *said))
    assert not wrong, "\n".join(map(str, wrong))


def cli(*args, env=None):
    return subprocess.run([binary(), "models", *args], capture_output=True, text=True, env={**os.environ, **(env or {})})


def test_what_is_not_known_goes_to_python_or_is_told(models, tmp_path):
    graph = onnx.load(str(models["forest"] / "model.onnx"))
    graph.graph.node[0].op_type = "Magic"
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  onnx:\n    data: model.onnx\n")
    onnx.save(graph, str(folder / "model.onnx"))
    refused = cli("validate", str(folder))
    assert refused.returncode == 1 and "Magic" in refused.stderr
    (folder / "MLmodel").write_text("flavors:\n  onnx:\n    data: ../../secret.onnx\n")
    refused = cli("validate", str(folder))
    assert refused.returncode == 1 and "not in its own folder" in refused.stderr
    answer = cli("predict", "-m", str(models["forest"]), "--engine", "python", "--env-manager", "local", "--python", NO_PYTHON)
    assert answer.returncode != 0 and NO_PYTHON in answer.stderr
    refused = cli("predict", "-m", str(models["forest"]), "--engine", "native", "--content-type", "text/plain")
    assert refused.returncode != 0 and "text/plain" in refused.stderr


def test_files_in_every_form(models, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    model = str(models["forest_columns"])
    table = pa.table({name: [ROW[at], OTHER[at]] for at, name in enumerate(COLUMNS)})
    pq.write_table(table, tmp_path / "in.parquet")
    with pa.ipc.new_file(tmp_path / "in.arrow", table.schema) as writer:
        writer.write_table(table)
    table.to_pandas().to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "in.json").write_text(json.dumps(split(COLUMNS, ROW, OTHER)))
    expected = None
    for given, wanted in [("json", "parquet"), ("parquet", "arrow"), ("arrow", "csv"), ("csv", "json")]:
        out = tmp_path / f"out.{wanted}"
        ran = cli("predict", "-m", model, "-i", str(tmp_path / f"in.{given}"), "-o", str(out))
        assert ran.returncode == 0, ran.stderr
        if wanted == "parquet":
            read = pq.read_table(out)
        elif wanted == "arrow":
            read = pa.ipc.open_stream(out.read_bytes()).read_all()
        elif wanted == "csv":
            read = pa.Table.from_pandas(pd.read_csv(out))
        else:
            read = pa.Table.from_pylist(json.loads(out.read_text())["predictions"])
        assert read["output_label"].to_pylist() == [0, 2], given


def test_a_graph_is_logged_without_python(server, client, models, tmp_path, name):
    """As complete a model as the stock client's: it loads it, and the registry has it."""
    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        pass
    graph = str(models["forest"] / "model.onnx")
    env = {"RUNLAKE_SERVER": server.uri, "RUNLAKE_CACHE": str(tmp_path)}
    logged = cli("log", "--onnx", graph, "--name", "twin", "--run", run.info.run_id, "--register", name, env=env)
    assert logged.returncode == 0, logged.stderr
    uri, registered = logged.stdout.split()
    assert registered == f"models:/{name}/1"
    for place in [uri, registered, f"runs:/{run.info.run_id}/twin"]:
        info = cli("info", place, "--json", env=env)
        assert info.returncode == 0, info.stderr
        told = json.loads(info.stdout)
        assert told["inputs"] == [{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]
        assert told["run_id"] == run.info.run_id and set(told["flavors"]) == {"onnx", "python_function"}
    model = mlflow.pyfunc.load_model(uri)
    answer = model.predict(np.array([ROW, OTHER], dtype=np.float32))
    assert list(answer["output_label"]) == [0, 2]
    assert model.metadata.get_input_schema().inputs[0].name == "X"
    found = client.get_logged_model(uri.removeprefix("models:/"))
    assert (found.name, str(found.status), found.source_run_id) == ("twin", "READY", run.info.run_id)
    with Scorer(tmp_path, "-m", registered, env=env, python=NO_PYTHON) as scorer:
        answer = scorer.post({"inputs": [ROW, OTHER]})
        assert answer.json()["predictions"]["output_label"] == [0, 2]
        assert answer.headers["x-runlake-model-version"] == "1"
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    refused = cli("log", "--onnx", str(tmp_path / "no.onnx"), "--name", "x", "--run", run.info.run_id, env=env)
    assert refused.returncode == 2 and "no.onnx" in refused.stderr
    refused = cli("log", "--onnx", graph, "--name", "x", "--run", "nobody", env=env)
    assert refused.returncode == 1 and "nobody" in refused.stderr


def test_requests_and_answers_are_rows(server, client, models, tmp_path, name):
    """Every row that a model was given, beside its answer, in SQL with what the registry knows."""
    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        mlflow.log_metric("sl_mean", 5.5)
    env = {"RUNLAKE_SERVER": server.uri, "RUNLAKE_CACHE": str(tmp_path)}
    graph = str(models["forest"] / "model.onnx")
    for _ in range(2):
        logged = cli("log", "--onnx", graph, "--name", "twin", "--run", run.info.run_id, "--register", name, env=env)
        assert logged.returncode == 0, logged.stderr
    args = ["-m", f"a=models:/{name}/1", "-m", f"b=models:/{name}/2", "-m", f"c={models['forest_columns']}", "--shadow", "b=100"]
    more = ["--inference-log", "--log-redact", "sw"]
    with Scorer(tmp_path, *args, *more, env=env, python=NO_PYTHON) as scorer:
        for _ in range(3):
            assert scorer.post({"inputs": [ROW, OTHER]}).status_code == 200
        assert scorer.post({"inputs": "x"}).status_code == 400
        assert scorer.post(split(COLUMNS, ROW), path="/models/c/invocations").status_code == 200
    # It sent the rest before it ended.
    sql = lambda text: requests.post(  # noqa: E731
        f"{server.uri}/api/runlake/sql", json={"sql": text}, headers={"Accept": JSON}, timeout=60
    ).json()
    told = sql(
        "SELECT l.model, l.version, l.is_shadow, l.status, count(*) AS n, count(DISTINCT l.request_id) AS r, min(v.run_id) AS run "
        "FROM inference_log l JOIN model_versions v ON v.name = l.registered_model AND v.version = l.version "
        f"WHERE l.registered_model = '{name}' GROUP BY 1, 2, 3, 4 ORDER BY 1, 4"
    )
    rows = [list(row.values()) if isinstance(row, dict) else row for row in told["rows"]]
    run_id = run.info.run_id
    assert rows == [["a", 1, False, 200, 6, 3, run_id], ["a", 1, False, 400, 1, 1, run_id], ["b", 2, True, 200, 6, 3, run_id]], told
    told = sql(
        "SELECT avg(CAST(inputs['sl'] AS DOUBLE)) AS sl, count(inputs['sw']) AS sw, min(output) AS output, min(latency_ms) > 0 AS took "
        "FROM inference_log WHERE model = 'c' AND registered_model IS NULL AND time > now() - INTERVAL '1 hour'"
    )
    (row,) = told["rows"]
    row = list(row.values()) if isinstance(row, dict) else row
    assert row[0] == 5.1 and row[1] == 0 and json.loads(row[2])["output_label"] == 0 and row[3] is True, told


def test_rows_wait_for_a_server_that_is_away(models, tmp_path):
    """It is killed and comes back: no request fails, and every row is there, once."""
    server = Server(tmp_path).start()
    try:
        args = ["-m", f"it={models['forest_columns']}", "--inference-log", "--server", server.uri, "--log-sample", "50"]
        with Scorer(tmp_path, *args, python=NO_PYTHON) as scorer:
            statuses = [scorer.post(split(COLUMNS, ROW)).status_code for _ in range(20)]
            server.kill()
            statuses += [scorer.post(split(COLUMNS, ROW)).status_code for _ in range(20)]
            server.start()
            statuses += [scorer.post(split(COLUMNS, ROW)).status_code for _ in range(20)]
            assert statuses == [200] * 60
            deadline = time.monotonic() + 120
            while 'logged_rows_total{outcome="written"} 30' not in (page := requests.get(f"{scorer.uri}/metrics", timeout=60).text):
                assert time.monotonic() < deadline, page
                time.sleep(0.1)
            assert 'logged_rows_total{outcome="dropped"} 0' in page
        sql = {"sql": "SELECT count(*), count(DISTINCT request_id) FROM inference_log WHERE model = 'it'"}
        told = requests.post(f"{server.uri}/api/runlake/sql", json=sql, headers={"Accept": JSON}, timeout=60).json()
        assert [list(row.values()) if isinstance(row, dict) else row for row in told["rows"]] == [[30, 30]], told
    finally:
        server.kill()
