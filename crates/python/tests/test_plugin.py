"""MLflow's own calls with a `runlake://` tracking URI."""

import os
import threading
import time

import pytest

mlflow = pytest.importorskip("mlflow")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

import runlake

LOW_LEVEL = mlflow.version.VERSION.startswith("2.")


@pytest.fixture
def tracking(server):
    mlflow.set_tracking_uri(server.uri)
    mlflow.set_registry_uri("")
    os.environ.pop("MLFLOW_REGISTRY_URI", None)
    mlflow.tracking.fluent._active_experiment_id = None
    yield mlflow
    try:
        while mlflow.active_run():
            mlflow.end_run()
    except MlflowException:
        pass
    mlflow.set_tracking_uri(None)


def test_everything_is_there_after_the_run(server, tracking):
    mlflow.set_experiment("things")
    with mlflow.start_run(run_name="first", tags={"a": "1"}) as run:
        mlflow.log_params({"lr": 0.1, "depth": 3})
        mlflow.log_param("width", 7)
        mlflow.set_tag("team", "blue")
        for step in range(1000):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"acc": 0.5, "f1": 0.25}, step=3)
    run_id = run.info.run_id
    assert server.steps(run_id) == list(range(1000))
    assert server.steps(run_id, "f1") == [3]
    assert server.state.params[run_id] == {"lr": "0.1", "depth": "3", "width": "7"}
    assert server.state.tags[run_id].items() >= {"a": "1", "team": "blue"}.items()
    assert server.state.runs[run_id]["status"] == "FINISHED"
    assert set(server.state.doors_used) == {"flight"}


def test_reads_see_what_was_logged(server, tracking):
    client = MlflowClient()
    with mlflow.start_run() as run:
        for step in range(500):
            mlflow.log_metric("loss", step, step=step)
        assert client.get_run(run.info.run_id).data.metrics == {"loss": 499.0}
        mlflow.set_tag("note", "x")
        assert mlflow.get_run(run.info.run_id).data.tags["note"] == "x"
        client.delete_tag(run.info.run_id, "note")
        assert "note" not in client.get_run(run.info.run_id).data.tags
        assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == list(range(500))
        mlflow.log_metric("late", 1)
        found = client.search_runs(["0"])
        assert "late" in next(r for r in found if r.info.run_id == run.info.run_id).data.metrics


def test_what_is_wrong_is_told_at_once_where_it_can_be(server, tracking):
    with mlflow.start_run() as run:
        with pytest.raises(MlflowException, match="[Ii]nvalid"):
            mlflow.log_metric("a//b", 1)
        with pytest.raises(MlflowException):
            mlflow.log_metric("loss", "much")
        mlflow.log_param("lr", 1)
        mlflow.log_param("lr", 1)
        with pytest.raises(MlflowException, match="Changing param values is not allowed"):
            mlflow.log_param("lr", 2)
        with pytest.raises(MlflowException, match="length|exceed"):
            mlflow.set_tag("x" * 300, "long")
        with pytest.raises(MlflowException, match="length|exceed"):
            mlflow.log_metric("x" * 300, 1)
        # As MLflow's own server does.
        mlflow.set_tag("long", "x" * 10_000)
        mlflow.log_metric("loss", 1)
    assert server.state.params[run.info.run_id] == {"lr": "1"}
    assert len(server.state.tags[run.info.run_id]["long"]) == 8000
    assert server.steps(run.info.run_id) == [0]


def test_what_the_server_refuses_is_told_at_the_end(server, tracking):
    run = mlflow.start_run()
    run_id = run.info.run_id
    server.state.params[run_id]["lr"] = "somebody else's"
    mlflow.log_param("lr", 1)
    mlflow.log_param("depth", 2)
    mlflow.log_metric("loss", 1)
    with pytest.raises(MlflowException, match="1 rows of run .* were refused: .*Changing param values"):
        mlflow.end_run()
    assert server.state.params[run_id] == {"lr": "somebody else's", "depth": "2"}
    assert server.state.runs[run_id]["status"] == "FINISHED"
    # An error of the training's own is not hidden by it.
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        server.state.params[run.info.run_id]["lr"] = "somebody else's"
        mlflow.log_param("lr", 1)
        raise ZeroDivisionError
    assert server.state.runs[run.info.run_id]["status"] == "FAILED"


def test_end_run_waits_and_says_when_the_server_is_away(server, tracking, monkeypatch):
    store = mlflow.tracking._tracking_service.utils._get_store()
    monkeypatch.setattr(
        store._pipeline, "settings", runlake._pipeline.Settings(linger=0.02, end_timeout=1.0, exit_timeout=2)
    )
    run = mlflow.start_run()
    run_id = run.info.run_id
    for step in range(100):
        mlflow.log_metric("loss", 1, step=step)
    mlflow.get_run(run_id)
    server.stop()
    for step in range(100, 200):
        mlflow.log_metric("loss", 1, step=step)
    with pytest.raises(MlflowException, match="runlake-sync"):
        mlflow.end_run()
    server.start()
    runlake.flush(10)
    assert server.steps(run_id) == list(range(200))
    assert server.state.runs[run_id]["status"] == "FINISHED"


def test_many_threads(server, tracking):
    client = MlflowClient()
    with mlflow.start_run() as run:
        run_id = run.info.run_id

        def work(number):
            for step in range(300):
                client.log_metric(run_id, f"k{number}", step, step=step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(8):
        assert server.steps(run_id, f"k{number}") == list(range(300))


def test_asynchronous_logging(server, tracking):
    with mlflow.start_run() as run:
        operations = [mlflow.log_metric("loss", step, step=step, synchronous=False) for step in range(50)]
        mlflow.log_params({"lr": 1}, synchronous=False).wait()
        for operation in operations:
            operation.wait()
        mlflow.flush_async_logging()
    assert sorted(server.steps(run.info.run_id)) == list(range(50))
    assert server.state.params[run.info.run_id] == {"lr": "1"}


def test_nested_runs(server, tracking):
    with mlflow.start_run() as outer:
        mlflow.log_metric("loss", 1)
        with mlflow.start_run(nested=True) as inner:
            mlflow.log_metric("loss", 2, step=5)
        mlflow.log_metric("loss", 3, step=1)
    assert server.steps(outer.info.run_id) == [0, 1]
    assert server.steps(inner.info.run_id) == [5]
    assert server.state.tags[inner.info.run_id]["mlflow.parentRunId"] == outer.info.run_id


@pytest.mark.skipif(LOW_LEVEL, reason="MLflow 3")
def test_metrics_of_models_and_datasets(server, tracking):
    from mlflow.entities import Metric

    with mlflow.start_run() as run:
        points = [
            Metric("loss", 1.0, 5, 1, model_id="m-1", dataset_name="train", dataset_digest="d1"),
            Metric("loss", 2.0, 6, 2),
            Metric("loss", 3.0, 7, 3, model_id="m-2"),
        ]
        MlflowClient().log_batch(run.info.run_id, metrics=points)
    found = {point["step"]: point for point in server.state.points[run.info.run_id]}
    assert found[1].items() >= {"model_id": "m-1", "dataset_name": "train", "dataset_digest": "d1"}.items()
    assert "model_id" not in found[2]
    assert found[3]["model_id"] == "m-2"
    assert "dataset_name" not in found[3]


def test_artifacts(server, tracking, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("b")
    with mlflow.start_run() as run:
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_artifacts(str(tmp_path / "sub"), "more")
        assert [file.path for file in MlflowClient().list_artifacts(run.info.run_id)] == ["more", "notes"]
        assert [file.path for file in MlflowClient().list_artifacts(run.info.run_id, "notes")] == ["notes/a.txt"]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/a.txt") == "hello"
    assert mlflow.artifacts.load_text(run.info.artifact_uri + "/more/b.txt") == "b"
    repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(run.info.artifact_uri)
    assert repository.artifact_uri.startswith(f"http://127.0.0.1:{server.http_port}/api/2.0/mlflow-artifacts/")


def test_artifacts_of_http_tracking_uris_are_as_before(server):
    mlflow.set_tracking_uri(f"http://127.0.0.1:{server.http_port}")
    try:
        with mlflow.start_run() as run:
            mlflow.log_text("hello", "a.txt")
        assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/a.txt") == "hello"
    finally:
        mlflow.set_tracking_uri(None)


def test_token_of_runlake(server, tracking, monkeypatch):
    server.state.token = "secret"
    with pytest.raises(MlflowException, match="log in"):
        mlflow.start_run()
    monkeypatch.setenv("RUNLAKE_TOKEN", "secret")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1)
        mlflow.log_text("hello", "a.txt")
        assert [file.path for file in MlflowClient().list_artifacts(run.info.run_id)] == ["a.txt"]
    assert server.steps(run.info.run_id) == [0]


def test_the_registry_is_named_while_a_run_is_open(server, tracking, monkeypatch):
    assert "MLFLOW_REGISTRY_URI" not in os.environ
    before = mlflow.get_registry_uri()
    with mlflow.start_run():
        assert os.environ["MLFLOW_REGISTRY_URI"] == server.uri == mlflow.get_registry_uri() == before
        with mlflow.start_run(nested=True):
            pass
        assert "MLFLOW_REGISTRY_URI" in os.environ
    assert "MLFLOW_REGISTRY_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://elsewhere:1")
    with mlflow.start_run():
        assert os.environ["MLFLOW_REGISTRY_URI"] == "http://elsewhere:1"
    assert os.environ["MLFLOW_REGISTRY_URI"] == "http://elsewhere:1"


def test_fast_lane(server, tracking):
    with mlflow.start_run() as run:
        fast = runlake.active_run()
        for step in range(1000):
            fast.log({"loss": step}, step=step)
        mlflow.log_metric("loss", 1000, step=1000)
    assert server.steps(run.info.run_id) == list(range(1001))
    with pytest.raises(runlake.RunlakeError, match="no active run"):
        runlake.active_run()


def test_resumed_run(server, tracking):
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1, step=1)
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("loss", 2, step=2)
    assert server.steps(run.info.run_id) == [1, 2]
    assert server.state.runs[run.info.run_id]["status"] == "FINISHED"


def test_system_metrics(server, tracking):
    pytest.importorskip("psutil")
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        time.sleep(1.2)
    assert any(point["key"].startswith("system/") for point in server.state.points[run.info.run_id])


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("runlake://?x=1", "unknown option"),
        ("runlake://", "names no host"),
        ("runlake://h:1?offline=", "needs a folder"),
        ("runlake://h:99999", "[Pp]ort"),
    ],
)
def test_bad_addresses(uri, message):
    with pytest.raises(MlflowException, match=message):
        MlflowClient(uri)
