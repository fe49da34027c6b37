"""`runlake models`: stock flavors, saved by the stock client, scored by us as MLflow's own server scores them."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from support.scorer import JSON, Scorer, mlflow_servers
from support.server import binary

pytest.importorskip("pyarrow")
sklearn = pytest.importorskip("sklearn")

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import requests
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, DataType, Object, Property

pytestmark = pytest.mark.runlake("a program of its own, beside the server")

# The processes that load the models below cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

COLUMNS = ["sl", "sw", "pl", "pw"]
ROW = [5.1, 3.5, 1.4, 0.2]
RECORD = {"i": 1, "l": 2, "d": 2.5, "b": True, "s": "x", "y": "aGk=", "t": "2020-01-02T03:04:05", "o": 7}


class Echo(mlflow.pyfunc.PythonModel):
    """Answers with what it was given. A column `act` makes it misbehave."""

    def __init__(self, label="echo"):
        self.label = label

    def predict(self, context, model_input, params=None):
        if isinstance(model_input, pd.DataFrame):
            act = str(model_input["act"].iloc[0]) if "act" in model_input else ""
            if act == "die":
                os._exit(3)
            if act.startswith("die-once:") and not os.path.exists(act[9:]):
                open(act[9:], "w").close()
                os._exit(3)
            if act.startswith("sleep:"):
                time.sleep(float(act[6:]))
            if act == "raise":
                raise ValueError("on purpose")
            kinds = {str(name): str(dtype) for name, dtype in model_input.dtypes.items()}
            rows = [[repr(cell) for cell in row] for row in model_input.itertuples(index=False)]
            return [{"label": self.label, "pid": None, "kinds": kinds, "rows": rows, "params": str(params)}]
        if isinstance(model_input, np.ndarray):
            return [{"dtype": str(model_input.dtype), "values": model_input.tolist(), "params": str(params)}]
        if isinstance(model_input, dict):
            return [{name: [str(getattr(value, "dtype", "")), np.asarray(value).tolist()] for name, value in model_input.items()}]
        return [{"repr": repr(model_input)}]


def signature(columns, params=None):
    return ModelSignature(inputs=Schema(columns), params=ParamSchema(params) if params else None)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models, by name."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    root = tmp_path_factory.mktemp("models")
    features, target = load_iris(return_X_y=True, as_frame=True)
    features.columns = COLUMNS
    model = LogisticRegression(max_iter=300).fit(features, target)
    mlflow.sklearn.save_model(
        model,
        str(root / "iris"),
        signature=infer_signature(features, model.predict(features)),
        input_example=features.head(2),
        serialization_format="cloudpickle",
        pip_requirements=["mlflow", "scikit-learn"],
    )
    kinds = [("integer", "i"), ("long", "l"), ("double", "d"), ("boolean", "b"), ("string", "s"), ("binary", "y"), ("datetime", "t")]
    types = [*(ColSpec(kind, name) for kind, name in kinds), ColSpec("long", "o", required=False)]
    params = [ParamSpec("k", "integer", 3), ParamSpec("temp", "double", 0.5), ParamSpec("names", "string", ["a"], shape=(-1,))]
    nested = [
        ColSpec(Array(DataType.double), "a"),
        ColSpec(Object([Property("x", DataType.long), Property("y", DataType.string, required=False)]), "o"),
    ]
    signatures = {
        "types": signature(types, params),
        "nested": signature(nested),
        "tensor": signature([TensorSpec(np.dtype("float32"), (-1, 3))]),
        "tensors": signature([TensorSpec(np.dtype("float32"), (-1, 3), "a"), TensorSpec(np.dtype("int64"), (-1,), "b")]),
        "plain": None,
    }
    for name, given in signatures.items():
        mlflow.pyfunc.save_model(
            str(root / name), python_model=Echo(name), signature=given, pip_requirements=["mlflow"]
        )
    return {name: root / name for name in ["iris", *signatures]}


@pytest.fixture(scope="module")
def ours(models, tmp_path_factory):
    args = [word for name, folder in models.items() for word in ("-m", f"{name}={folder}")]
    with Scorer(tmp_path_factory.mktemp("scorer"), *args) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def theirs(models):
    with mlflow_servers(models) as uris:
        yield uris


def split(columns, *rows):
    return {"dataframe_split": {"columns": columns, "data": list(rows)}}


def typed(**changes):
    record = {**RECORD, **changes}
    return {"dataframe_records": [{name: value for name, value in record.items() if value != "GONE"}]}


def nested(**changes):
    return {"dataframe_records": [{"a": [1.5, 2.5], "o": {"x": 1, "y": "s"}, **changes}]}


def column_lists(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


RECORDS = [dict(zip(COLUMNS, ROW)), dict(zip(COLUMNS, [6.0, 3.0, 5.0, 2.0]))]
CASES = [
    ("iris", split(COLUMNS, ROW, ROW)),
    ("iris", {"dataframe_split": {"columns": COLUMNS, "index": [7], "data": [ROW]}}),
    ("iris", split(COLUMNS[::-1], ROW)),
    ("iris", split(COLUMNS, ROW[:3])),
    ("iris", split(COLUMNS)),
    ("iris", split([*COLUMNS, "more"], [*ROW, 1])),
    ("iris", split(COLUMNS, ["a", *ROW[1:]])),
    ("iris", split(COLUMNS, [None, *ROW[1:]])),
    ("iris", {"dataframe_split": {"data": [ROW]}}),
    ("iris", {"dataframe_split": [ROW]}),
    ("iris", {"dataframe_split": {"columns": COLUMNS, "data": [ROW], "x": 1}}),
    ("iris", {"dataframe_records": RECORDS}),
    ("iris", {"dataframe_records": RECORDS[0]}),
    ("iris", {"dataframe_records": []}),
    ("iris", {"dataframe_records": [1, 2]}),
    ("iris", {"instances": RECORDS}),
    ("iris", {"instances": [ROW]}),
    ("iris", {"instances": column_lists(RECORDS)}),
    ("iris", {"inputs": column_lists(RECORDS)}),
    ("iris", {"inputs": RECORDS}),
    ("iris", {"inputs": RECORDS[0]}),
    ("iris", {"inputs": "x"}),
    ("iris", {"inputs": [ROW]}),
    ("iris", {**split(COLUMNS, ROW), "params": {"a": 1}}),
    ("iris", {**split(COLUMNS, ROW), "instances": [1]}),
    ("iris", {**split(COLUMNS, ROW), "else": 1}),
    ("iris", {}),
    ("iris", []),
    ("iris", '"x"'),
    ("iris", "{bad"),
    ("iris", ""),
    ("iris", b"\xff\xfe{}"),
    ("iris", '{"dataframe_split":{"columns":["sl","sw","pl","pw"],"data":[[NaN,1,1,1]]}}'),
    *[("types", typed(**{name: value})) for name, values in {
        "i": [1.0, "1", True, None, -5, "GONE", "x"],
        "l": [2**40, 2**70, None, 3.0],
        "d": [1, None, "NaN", "x", 2**60],
        "b": [0, 1, False, "true"],
        "s": [None, 1, "é"],
        "y": ["aGk", "***", 1, None],
        "t": ["2020-01-01", "x", 5, None, "2020-01-01T00:00:00Z", "20200101", "01/02/2020"],
        "o": ["GONE", None, "x"],
        "zz": [1],
    }.items() for value in values],
    *[("types", {**typed(), "params": params}) for params in [
        {}, None, {"k": 5}, {"k": 5.0}, {"k": "x"}, {"k": True}, {"k": [1]}, {"temp": 1}, {"temp": "1"}, {"names": ["b"]},
        {"names": "b"}, {"names": [1]}, {"names": []}, {"zz": 1}, [1],
    ]],
    ("types", {"inputs": {name: [value, value] for name, value in RECORD.items()}}),
    ("types", {"instances": [RECORD]}),
    *[("nested", nested(**changes)) for changes in [
        {}, {"a": []}, {"a": None}, {"a": 1.5}, {"a": ["x"]}, {"a": [[1.5]]}, {"a": [1, 2]}, {"o": {"x": 1}}, {"o": {"y": "s"}},
        {"o": {"x": 1, "z": 2}}, {"o": {"x": "s"}}, {"o": 5}, {"o": None}, {"zz": 1},
    ]],
    *[("tensor", {"inputs": value}) for value in [
        [[1, 2, 3]], [[1.5, 2, 3], [4, 5, 6]], [[1, 2]], [1, 2, 3], [["a", 2, 3]], [[1, 2, 3], [1, 2]], [[1, 2, None]],
        [[True, False, True]], {"a": [[1, 2, 3]]}, [], "x", 5, None,
    ]],
    ("tensor", {"instances": [[1, 2, 3]]}),
    ("tensor", split(["a", "b", "c"], [1, 2, 3])),
    ("tensor", split(["a", "b"], [1, 2])),
    ("tensors", {"inputs": {"a": [[1, 2, 3]], "b": [1]}}),
    ("tensors", {"inputs": {"a": [[1, 2, 3]]}}),
    ("tensors", {"inputs": {"a": [[1, 2, 3]], "b": [1], "c": [2]}}),
    ("tensors", {"instances": [{"a": [1, 2, 3], "b": 1}, {"a": [1, 2, 4], "b": 2}]}),
    ("tensors", {"instances": [{"a": [1, 2, 3], "b": 1}, {"a": [1, 2, 4]}]}),
    ("tensors", {"inputs": {"a": [["x", 2, 3]], "b": [1]}}),
    *[("plain", {"inputs": value}) for value in [[1, 2], {"a": [1, 2]}, {"a": 1}, "x", 5, ["x", "y"], [[1, 2], [3]], [{"a": 1}, {"a": 2}]]],
    *[("plain", {"instances": value}) for value in [[1.5, 2], [{"a": 1, "b": "x"}], "x"]],
    ("plain", split(["a", "b", "c", "d"], [1, "x", None, 1.5], [2, "y", 3, True])),
    ("plain", {"dataframe_split": {"data": [[1, 2]]}}),
    ("plain", {"dataframe_records": [{"a": 1}, {"b": 2}]}),
    ("plain", {"dataframe_records": [{"a": [1, 2], "b": {"c": 1}}]}),
    ("plain", {"messages": [{"role": "user", "content": "x"}]}),
]
TYPED_CASES = [
    ("iris", "sl,sw,pl,pw\n5.1,3.5,1.4,0.2\n", "text/csv"),
    ("iris", "sl,sw,pl,pw\n5.1,3.5,1.4,0.2\n", "text/csv; charset=utf-8"),
    ("iris", "sl,sw,pl,pw\n5.1,3.5,1.4,0.2\n", "text/csv; charset=latin-1"),
    ("iris", "pw,sl,sw,pl\n0.2,5.1,3.5,1.4\n", "text/csv"),
    ("iris", "sl,sw,pl,pw\n5.1,3.5,x,0.2\n", "text/csv"),
    ("iris", "sl,sw\n1,2\n", "text/csv"),
    ("iris", "", "text/csv"),
    ("iris", 'sl,sw,pl,pw\n5.1,3.5,"1.4,0.2\n', "text/csv"),
    ("plain", "a,b,c\n1,x,\n2,,2.5\n", "text/csv"),
    ("plain", "a,b,c\n1,true,2020-01-01\n2,false,2020-01-02\n", "text/csv"),
    *[("iris", split(COLUMNS, ROW), kind) for kind in [
        "text/plain", "application/xml", "application/json; charset=utf-8", "application/json;foo=bar", "APPLICATION/JSON",
    ]],
]


def test_answers_and_statuses_are_those_of_mlflow(ours, theirs):
    """Every form of request, good and bad: the same status, and for a good one the same answer."""
    wrong = []
    for name, body, kind in [*((name, body, JSON) for name, body in CASES), *TYPED_CASES]:
        mine = ours.post(body, kind, f"/models/{name}/invocations")
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        other = requests.post(theirs[name], data=data, headers={"Content-Type": kind}, timeout=60)
        same = mine.status_code == other.status_code and (other.status_code != 200 or mine.json() == other.json())
        if not same:
            wrong.append((name, str(data)[:120], kind, mine.status_code, mine.text[:300], other.status_code, other.text[:300]))
        elif other.status_code != 200:
            assert mine.json()["message"] and mine.json()["error_code"], mine.text
    assert not wrong, "\n".join(map(str, wrong))


def test_casts_that_would_change_a_value_are_refused(ours):
    """Here MLflow goes on with another value than was sent."""
    for change in [{"i": 1.5}, {"i": 2**40}, {"l": 2**63}, {"b": None}, {"b": "no"}]:
        answer = ours.post(typed(**change), path="/models/types/invocations")
        (name,) = change
        assert answer.status_code == 400 and f'column "{name}", row 0' in answer.json()["message"], answer.text


def test_arrow_and_parquet(ours):
    table = pa.table({name: [value] for name, value in RECORDS[0].items()})
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    file = pa.BufferOutputStream()
    pa.parquet.write_table(table, file)
    for kind, body in [
        ("application/vnd.apache.arrow.stream", stream.getvalue().to_pybytes()),
        ("application/vnd.apache.parquet", file.getvalue().to_pybytes()),
    ]:
        assert ours.post(body, kind).json() == {"predictions": [0]}
        assert ours.post(body[: len(body) // 2], kind).status_code == 400
        assert ours.post(os.urandom(4096), kind).status_code == 400


def test_the_other_routes(ours):
    for path in ["/ping", "/health"]:
        answer = requests.get(ours.uri + path)
        assert (answer.status_code, answer.text) == (200, "\n")
    assert requests.get(f"{ours.uri}/version").text == mlflow.__version__
    assert requests.get(f"{ours.uri}/invocations").status_code == 405
    assert requests.get(f"{ours.uri}/nothing").status_code == 404
    assert ours.post({}, path="/models/nobody/invocations").status_code == 404
    page = requests.get(f"{ours.uri}/openapi.json").json()
    forms = page["paths"]["/models/iris/invocations"]["post"]["requestBody"]["content"][JSON]["schema"]["oneOf"]
    records = next(form["properties"]["dataframe_records"] for form in forms if "dataframe_records" in form["properties"])
    assert records["items"]["required"] == COLUMNS
    assert 'runlake_model_workers{model="iris"} 1' in requests.get(f"{ours.uri}/metrics").text


def test_requests_are_scored_together_and_each_gets_its_own_answer(ours):
    bodies = [split(COLUMNS, *[[4.9 + n * 0.1, 3.0, 1.4 + n * 0.2, 0.2 + n * 0.08]] * (1 + n % 3)) for n in range(32)]
    alone = [ours.post(body).json() for body in bodies]
    # One that fails among others fails alone.
    bad = split(COLUMNS, [None, 1, 1, 1])
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        together = list(threads.map(ours.post, [*bodies, bad] * 4))
    for number, answer in enumerate(together):
        place = number % (len(bodies) + 1)
        if place == len(bodies):
            assert answer.status_code == 400
        else:
            assert answer.json() == alone[place]


def test_a_worker_that_is_killed_costs_no_request(models, tmp_path):
    with Scorer(tmp_path, "-m", str(models["iris"]), "--workers", "2") as scorer:
        statuses, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                statuses.append(scorer.post(split(COLUMNS, ROW)).status_code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        killed = set()
        while len(killed) < 2:
            for pid in scorer.workers():
                if pid not in killed and len(killed) < 2:
                    before = len(statuses)
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    deadline = time.monotonic() + 60
                    while len(statuses) < before + 20 and time.monotonic() < deadline:
                        time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}, statuses


def test_models_that_misbehave(models, tmp_path):
    """Crashes, exceptions, hanging, a full queue: each request gets its answer, and the server goes on."""
    with Scorer(tmp_path, "-m", str(models["plain"]), "--timeout", "2s", "--queue", "2") as scorer:
        act = lambda what: scorer.post({"dataframe_records": [{"act": what}]})  # noqa: E731
        answer = act("raise")
        assert answer.status_code == 400 and "on purpose" in answer.json()["message"]
        answer = act("die")
        assert answer.status_code == 500 and "twice" in answer.json()["message"]
        assert act("fine").status_code == 200
        assert act(f"die-once:{tmp_path / 'died'}").status_code == 200
        answer = act("sleep:30")
        assert answer.status_code == 504 and "2000 ms" in answer.json()["message"]
        with concurrent.futures.ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(act, ["sleep:0.3"] * 12))
        full = [answer for answer in answers if answer.status_code == 503]
        assert full and all(answer.headers["Retry-After"] == "1" for answer in full)
        assert {answer.status_code for answer in answers} <= {200, 503, 504}
        assert act("fine").status_code == 200


def test_hostile_bodies(models, tmp_path):
    with Scorer(tmp_path, "-m", str(models["iris"]), "--body-limit", "1MiB", "--read-timeout", "2s") as scorer:
        assert scorer.post(b"[" * 500_000).status_code == 400
        assert scorer.post(b" " * (2 << 20)).status_code == 413
        assert scorer.post(iter([b" " * (1 << 20)] * 3) and b"x" * (3 << 20)).status_code == 413
        assert scorer.post(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}).status_code == 415
        claim = b"\xff\xff\xff\xff\xff\xff\xff\x7f"
        assert scorer.post(claim, "application/vnd.apache.arrow.stream").status_code == 400
        slow = []
        for number in range(900):
            slow.append(socket.create_connection(("127.0.0.1", scorer.port)))
            if number < 100:
                head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
                slow[-1].sendall(head + b"{")
        assert scorer.post(split(COLUMNS, ROW)).json() == {"predictions": [0]}
        slow[0].settimeout(30)
        assert b" 408 " in slow[0].recv(100)
        for connection in slow:
            connection.close()


def test_tokens_and_shares(models, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("secret-one\nsecret-two\n")
    args = ["-m", f"a={models['iris']}", "-m", f"b={models['plain']}", "--traffic", "a=75,b=25", "--shadow", "b=50"]
    with Scorer(tmp_path, *args, "--tokens", str(tokens)) as scorer:
        body = split(COLUMNS, ROW)
        assert scorer.post(body).status_code == 401
        assert scorer.post(body, headers={"Authorization": "Bearer wrong"}).status_code == 401
        bearer = {"Authorization": "Bearer secret-two"}
        served = [scorer.post(body, headers=bearer).headers["x-runlake-model"] for _ in range(40)]
        assert (served.count("a"), served.count("b")) == (30, 10)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            page = requests.get(f"{scorer.uri}/metrics", headers=bearer).text
            if 'shadow_requests_total{model="b",good="true"} 20' in page:
                break
            time.sleep(0.05)
        else:
            raise AssertionError(page)
    refused = subprocess.run(
        [binary(), "models", "serve", "-m", str(models["iris"]), "--host", "0.0.0.0", "--port", "0"], capture_output=True, text=True
    )
    assert refused.returncode == 2 and "--tokens" in refused.stderr


def test_an_alias_that_moves_under_load_costs_no_request(server, client, models, tmp_path, name):
    """Logged, registered and served through the server, by every kind of URI."""
    mlflow.set_experiment(name)
    for label in ["one", "two"]:
        with mlflow.start_run() as run:
            logged = mlflow.pyfunc.log_model(
                name="model", python_model=Echo(label), registered_model_name=name, pip_requirements=["mlflow"]
            )
    client.set_registered_model_alias(name, "best", 1)
    environment = {"RUNLAKE_SERVER": server.uri, "RUNLAKE_CACHE": str(tmp_path / "cache")}
    body = {"dataframe_records": [{"a": 1}]}
    run_cli = lambda *args, **more: subprocess.run(  # noqa: E731
        [binary(), "models", *args], capture_output=True, text=True, env={**os.environ, **environment}, **more
    )
    for uri in [f"models:/{name}/2", f"models:/{name}/latest", f"runs:/{run.info.run_id}/model", f"models:/{logged.model_id}"]:
        info = run_cli("info", uri, "--json")
        assert info.returncode == 0, info.stderr
        assert "python_function" in json.loads(info.stdout)["flavors"]
    missing = run_cli("info", f"models:/{name}@nobody")
    assert missing.returncode == 1 and "nobody" in missing.stderr
    assert run_cli("info", "models:/").returncode == 2
    local = ["--env-manager", "local", "--python", sys.executable]
    answer = run_cli("predict", "-m", f"models:/{name}@best", *local, input=json.dumps(body))
    assert json.loads(answer.stdout)["predictions"][0]["label"] == "one", answer.stderr
    args = ["-m", f"models:/{name}@best", "--follow-alias", "--follow-interval", "200ms"]
    with Scorer(tmp_path, *args, env=environment) as scorer:
        seen, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                answer = scorer.post(body)
                label = answer.json()["predictions"][0]["label"] if answer.status_code == 200 else None
                seen.append((answer.status_code, label, answer.headers.get("x-runlake-model-version")))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        client.set_registered_model_alias(name, "best", 2)
        deadline = time.monotonic() + 60
        while (200, "two", "2") not in seen and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()
        for thread in threads:
            thread.join()
        assert {entry for entry in seen} == {(200, "one", "1"), (200, "two", "2")}, scorer.log()


def test_info_and_validate(models, tmp_path):
    local = ["--env-manager", "local", "--python", sys.executable]
    run_cli = lambda *args: subprocess.run([binary(), "models", *args], capture_output=True, text=True)  # noqa: E731
    told = run_cli("info", str(models["iris"]))
    assert "sl: double (required)" in told.stdout and "scikit-learn" in told.stdout
    checked = run_cli("validate", str(models["iris"]), *local)
    assert checked.returncode == 0 and '{"predictions": [0, 0]}' in checked.stdout, checked.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "MLmodel").write_text("flavors:\n  sklearn: 3\n")
    answer = run_cli("info", str(broken))
    assert answer.returncode == 1 and "line 2" in answer.stderr
    (broken / "MLmodel").write_text("flavors:\n  spark: {}\n")
    answer = run_cli("validate", str(broken), *local)
    assert answer.returncode == 2 and "spark" in answer.stderr
    assert run_cli("info", str(tmp_path)).returncode == 1
