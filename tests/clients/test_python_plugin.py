"""MLflow with a `runlake://` tracking URI: everything as with http, points by Flight in the background."""

import os
import subprocess
import sys
import threading
import time

import pytest
import runlake
from support.api import pairs

pytestmark = [pytest.mark.runlake, pytest.mark.both]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNLAKE_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("RUNLAKE_END_TIMEOUT", "30")
    monkeypatch.delenv("RUNLAKE_TOKEN", raising=False)
    # Tests before may have left one.
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)


@pytest.fixture
def plugin(server):
    import mlflow

    uri = server.uri.replace("http", "runlake", 1)
    mlflow.set_tracking_uri(uri)
    mlflow.tracking._model_registry.utils._registry_uri = None
    mlflow.tracking.fluent._active_experiment_id = None
    yield mlflow
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(server.uri)


def steps(api, run_id, key="loss"):
    return [int(point["step"]) for point in api.history(run_id, key)]


def test_a_run(plugin, api, name):
    mlflow = plugin
    mlflow.set_experiment(name)
    with mlflow.start_run(
        run_name="first", tags={"a": "1"}, description="what it is"
    ) as run:
        mlflow.log_params({"lr": 0.1, "depth": 3})
        mlflow.log_param("width", 7)
        mlflow.set_tag("team", "blue")
        mlflow.set_tags({"x": 1, "y": 2})
        for step in range(5000):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"acc": 0.5, "f1": 0.25}, step=3, synchronous=True)
    told = api.run(run.info.run_id)
    assert told["info"]["status"] == "FINISHED"
    assert pairs(told["data"]["params"]) == {"lr": "0.1", "depth": "3", "width": "7"}
    expected = {
        "a": "1",
        "team": "blue",
        "x": "1",
        "y": "2",
        "mlflow.note.content": "what it is",
    }
    assert pairs(told["data"]["tags"]).items() >= expected.items()
    assert steps(api, run.info.run_id) == list(range(5000))
    assert steps(api, run.info.run_id, "f1") == [3]


def test_reads_see_what_was_logged(plugin, name):
    mlflow = plugin
    client = mlflow.MlflowClient()
    experiment = mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        for turn in range(5):
            for step in range(100):
                mlflow.log_metric("loss", turn * 100 + step, step=turn * 100 + step)
            assert client.get_run(run_id).data.metrics["loss"] == turn * 100 + 99
            assert len(client.get_metric_history(run_id, "loss")) == (turn + 1) * 100
            mlflow.log_param(f"p{turn}", turn)
            found = mlflow.search_runs(
                [experiment.experiment_id], filter_string=f"params.p{turn} = '{turn}'"
            )
            assert list(found["run_id"]) == [run_id]
        mlflow.set_tag("gone", "1")
        client.delete_tag(run_id, "gone")
        assert "gone" not in client.get_run(run_id).data.tags


def test_run_names(plugin, api, name):
    mlflow = plugin
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name="before") as run:
        mlflow.set_tag("mlflow.runName", "after")
    assert api.run(run.info.run_id)["info"]["run_name"] == "after"
    mlflow.MlflowClient().update_run(run.info.run_id, name="later")
    assert mlflow.get_run(run.info.run_id).info.run_name == "later"


def test_many_threads(plugin, api, name):
    mlflow = plugin
    mlflow.set_experiment(name)
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:

        def work(number):
            for step in range(500):
                client.log_metric(run.info.run_id, f"k{number}", step, step=step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(8):
        assert steps(api, run.info.run_id, f"k{number}") == list(range(500))


def test_asynchronous_logging(plugin, api, name):
    mlflow = plugin
    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        operations = [
            mlflow.log_metric("loss", step, step=step, synchronous=False)
            for step in range(100)
        ]
        operations.append(mlflow.log_params({"lr": 1}, synchronous=False))
        for operation in operations:
            operation.wait()
    assert sorted(steps(api, run.info.run_id)) == list(range(100))
    assert pairs(api.run(run.info.run_id)["data"]["params"]) == {"lr": "1"}


def test_nested_and_resumed_runs(plugin, api, name):
    mlflow = plugin
    mlflow.set_experiment(name)
    with mlflow.start_run() as outer:
        mlflow.log_metric("loss", 1)
        with mlflow.start_run(nested=True) as inner:
            mlflow.log_metric("loss", 2, step=5)
        mlflow.log_metric("loss", 3, step=1)
    with mlflow.start_run(run_id=outer.info.run_id):
        mlflow.log_metric("loss", 4, step=2)
    assert steps(api, outer.info.run_id) == [0, 1, 2]
    assert steps(api, inner.info.run_id) == [5]
    assert (
        pairs(api.run(inner.info.run_id)["data"]["tags"])["mlflow.parentRunId"]
        == outer.info.run_id
    )
    assert api.run(outer.info.run_id)["info"]["status"] == "FINISHED"


def test_wrong_things_are_told(plugin, api, name):
    mlflow = plugin
    from mlflow.exceptions import MlflowException

    mlflow.set_experiment(name)
    run = mlflow.start_run()
    with pytest.raises(MlflowException):
        mlflow.log_metric("a//b", 1)
    with pytest.raises(MlflowException):
        mlflow.log_metric("loss", "much")
    mlflow.log_param("lr", 1)
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        mlflow.log_param("lr", 2)
    # Only the server knows of this one; it is told when the run ends.
    api.log_batch(run.info.run_id, params=[{"key": "theirs", "value": "1"}])
    mlflow.log_param("theirs", 2)
    mlflow.log_metric("loss", 1)
    with pytest.raises(MlflowException, match="theirs"):
        mlflow.end_run()
    told = api.run(run.info.run_id)
    assert told["info"]["status"] == "FINISHED"
    assert pairs(told["data"]["params"]) == {"lr": "1", "theirs": "1"}
    assert steps(api, run.info.run_id) == [0]


def test_failed_runs(plugin, api, name):
    mlflow = plugin
    mlflow.set_experiment(name)
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        mlflow.log_metric("loss", 1)
        raise ZeroDivisionError
    assert api.run(run.info.run_id)["info"]["status"] == "FAILED"
    assert steps(api, run.info.run_id) == [0]


def test_artifacts(plugin, name, tmp_path):
    mlflow = plugin
    mlflow.set_experiment(name)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("b")
    with mlflow.start_run() as run:
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "d.json")
        mlflow.log_artifacts(str(tmp_path / "sub"), "more")
        client = mlflow.MlflowClient()
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == [
            "d.json",
            "more",
            "notes",
        ]
        assert [
            file.path for file in client.list_artifacts(run.info.run_id, "notes")
        ] == ["notes/a.txt"]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/a.txt") == "hello"
    assert mlflow.artifacts.load_text(run.info.artifact_uri + "/more/b.txt") == "b"
    folder = mlflow.artifacts.download_artifacts(run_id=run.info.run_id)
    assert sorted(os.listdir(folder)) == ["d.json", "more", "notes"]


def test_models(plugin, name):
    mlflow = plugin
    from sklearn.linear_model import LinearRegression

    mlflow.set_experiment(name)
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            model, artifact_path="line", registered_model_name=name
        )
        mlflow.log_metric("loss", 0.5)
    assert mlflow.sklearn.load_model(logged.model_uri).predict([[2.0]])[
        0
    ] == pytest.approx(4.0)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(name, "champion", "1")
    loaded = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    assert loaded.predict([[2.0]])[0] == pytest.approx(4.0)
    again = mlflow.register_model(logged.model_uri, name)
    assert int(again.version) == 2
    assert mlflow.get_registry_uri() == mlflow.get_tracking_uri()


def test_autolog(plugin, api, name):
    mlflow = plugin
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment(name)
    mlflow.sklearn.autolog()
    try:
        with mlflow.start_run() as run:
            LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    finally:
        mlflow.sklearn.autolog(disable=True)
    told = api.run(run.info.run_id)["data"]
    assert pairs(told["params"])["max_iter"] == "100"
    assert "training_score" in {metric["key"] for metric in told["metrics"]}
    assert [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)]


def test_datasets(plugin, api, name):
    mlflow = plugin
    import pandas as pd

    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1)
        mlflow.log_input(
            mlflow.data.from_pandas(pd.DataFrame({"a": [1, 2]}), name="train"),
            context="training",
        )
    inputs = api.run(run.info.run_id)["inputs"]["dataset_inputs"]
    assert [found["dataset"]["name"] for found in inputs] == ["train"]


def test_system_metrics(plugin, api, name):
    pytest.importorskip("psutil")
    mlflow = plugin
    mlflow.set_experiment(name)
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        time.sleep(1.5)
    keys = {metric["key"] for metric in api.run(run.info.run_id)["data"]["metrics"]}
    assert any(key.startswith("system/") for key in keys)


def test_the_fast_lane(plugin, api, name):
    mlflow = plugin
    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        fast = runlake.active_run()
        for step in range(10_000):
            fast.log({"loss": step}, step=step)
        mlflow.log_metric("loss", 1, step=10_000)
    assert steps(api, run.info.run_id) == list(range(10_001))


def test_the_other_name_of_the_scheme(plugin, server, api, name):
    mlflow = plugin
    mlflow.set_tracking_uri(server.uri.replace("http", "runlake+http", 1) + "/")
    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1, step=3)
        mlflow.log_text("hello", "a.txt")
    assert steps(api, run.info.run_id) == [3]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/a.txt") == "hello"


def test_an_http_address_is_as_before(plugin, server, api, name):
    mlflow = plugin
    mlflow.set_tracking_uri(server.uri)
    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1, step=3)
        mlflow.log_text("hello", "a.txt")
        assert steps(api, run.info.run_id) == [3]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/a.txt") == "hello"


SCRIPT = """
import mlflow, os, sys
mlflow.set_experiment(os.environ["NAME"])
run = mlflow.start_run()
print(run.info.run_id, flush=True)
for step in range(2000):
    mlflow.log_metric("loss", step, step=step)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("", 0, "FINISHED"),
        ("sys.exit(3)", 3, "FINISHED"),
        ("mlflow.end_run('KILLED')", 0, "KILLED"),
    ],
    ids=["falls off the end", "exits", "ends its run"],
)
def test_the_end_of_a_process(server, api, name, end, code, status):
    env = {
        **os.environ,
        "MLFLOW_TRACKING_URI": server.uri.replace("http", "runlake", 1),
        "NAME": name,
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    run_id = done.stdout.split()[0]
    assert steps(api, run_id) == list(range(2000))
    assert api.run(run_id)["info"]["status"] == status


FORK = """
import mlflow, os
mlflow.set_experiment(os.environ["NAME"])
with mlflow.start_run() as run:
    mlflow.log_metric("parent", 0, step=0)
    mlflow.get_run(run.info.run_id)
    for step in range(1, 500):
        mlflow.log_metric("parent", step, step=step)
    children = []
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            import runlake
            for step in range(300):
                mlflow.MlflowClient().log_metric(run.info.run_id, f"child{number}", step, step=step)
            runlake.flush(30)
            os._exit(0)
        children.append(pid)
    for step in range(500, 1000):
        mlflow.log_metric("parent", step, step=step)
    for pid in children:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print(run.info.run_id, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(server, api, name):
    env = {
        **os.environ,
        "MLFLOW_TRACKING_URI": server.uri.replace("http", "runlake", 1),
        "NAME": name,
    }
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.split()[-1]
    assert steps(api, run_id, "parent") == list(range(1000))
    for number in range(2):
        assert steps(api, run_id, f"child{number}") == list(range(300))
