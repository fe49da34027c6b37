"""Runs without a server, and their upload."""

import shutil
import subprocess
import sys

import pytest

import runlake
from runlake._pipeline import _pipelines
from runlake._sync import main as sync_main


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "offline"


def leave():
    """As if the process had ended: its session is nobody's."""
    for pipeline in list(_pipelines.values()):
        if pipeline.target.offline:
            pipeline.flush()
            pipeline.spool.close()
    for key in [key for key, pipeline in _pipelines.items() if pipeline.target.offline]:
        del _pipelines[key]


def uploaded(server, offline_id):
    found = [run_id for run_id, tags in server.state.tags.items() if tags.get("runlake.offline_id") == offline_id]
    assert len(found) == 1
    return found[0]


def test_run_offline_and_sync_twice(server, folder, tmp_path, capsys):
    uri = f"{server.uri}&offline={folder}"
    with runlake.start_run("things", "first", params={"lr": 0.5}, tags={"a": "b"}, uri=uri) as run:
        assert len(run.run_id) == 32
        for step in range(500):
            run.log({"loss": step / 2}, step=step)
    assert not server.state.runs
    leave()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    done = runlake.sync(folder)
    assert done.files > 0
    assert not done.refused
    run_id = uploaded(server, run.run_id)
    assert done.runs == {run.run_id: run_id}
    info = server.state.runs[run_id]
    assert (info["status"], info["run_name"]) == ("FINISHED", "first")
    assert server.state.experiments[info["experiment_id"]]["name"] == "things"
    assert server.state.params[run_id] == {"lr": "0.5"}
    assert server.steps(run_id) == list(range(500))
    # Again, and from a copy that was made before: no harm.
    assert runlake.sync(folder).files == 0
    assert sync_main([str(copy)]) == 0
    assert "uploaded" in capsys.readouterr().out
    assert len(server.state.runs) == 1
    assert server.steps(run_id) == list(range(500))


def test_several_processes_and_a_resumed_run(server, folder):
    uri = f"{server.uri}&offline={folder}"
    run = runlake.start_run("things", uri=uri)
    run.log({"loss": 1}, step=1)
    leave()
    again = runlake.Run(run.run_id, uri)
    again.log({"loss": 2}, step=2)
    again.finish()
    other = runlake.start_run("things", uri=uri)
    other.log({"loss": 3}, step=3)
    other.finish()
    leave()
    runlake.sync(folder, server.uri)
    assert server.steps(uploaded(server, run.run_id)) == [1, 2]
    assert server.steps(uploaded(server, other.run_id)) == [3]
    assert len([e for e in server.state.experiments.values() if e["name"] == "things"]) == 1


def test_sync_that_breaks_off(server, folder):
    uri = f"{server.uri}&offline={folder}"
    run = runlake.start_run("things", uri=uri)
    for step in range(40):
        run.log({"loss": 1}, step=step)
        if step % 4 == 0:
            run.flush()
    run.finish()
    leave()
    server.state.lose_acks = 3
    runlake.sync(folder)
    assert server.steps(uploaded(server, run.run_id)) == list(range(40))


def test_sync_without_a_server(server, folder, capsys):
    uri = f"{server.uri}&offline={folder}"
    with runlake.start_run("things", uri=uri) as run:
        run.log({"loss": 1})
    leave()
    server.stop()
    assert sync_main([str(folder)]) == 1
    assert "127.0.0.1" in capsys.readouterr().err
    server.start()
    assert sync_main([str(folder)]) == 0
    assert server.steps(uploaded(server, run.run_id)) == [0]


def test_a_run_that_still_goes_on_is_left_alone(server, folder, capsys):
    uri = f"{server.uri}&offline={folder}"
    run = runlake.start_run("things", uri=uri)
    run.log({"loss": 1})
    run.flush()
    done = subprocess.run(
        [sys.executable, "-m", "runlake", "sync", str(folder), "--to", server.uri], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "still run" in done.stdout
    assert not server.state.points or not any(server.state.points.values())


def test_refused_rows_of_a_sync(server, folder, capsys):
    uri = f"{server.uri}&offline={folder}"
    run = runlake.start_run("things", uri=uri)
    run.log({"loss": 1}, step=0)
    run.log({"bad//key": 1}, step=1)
    run.log({"loss": 1}, step=2)
    run.finish()
    leave()
    assert sync_main([str(folder)]) == 2
    assert "invalid key" in capsys.readouterr().err
    assert server.steps(uploaded(server, run.run_id)) == [0, 2]
    assert len(list(folder.glob("rejected/*.arrow"))) == 1
    assert sync_main([str(folder)]) == 0


def test_sync_of_something_else(tmp_path, capsys):
    assert sync_main([str(tmp_path / "nothing")]) == 1
    (tmp_path / "empty").mkdir()
    assert sync_main([str(tmp_path / "empty")]) == 1
    assert "target.json" in capsys.readouterr().err


def test_mlflow_offline(server, folder, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(f"{server.uri}&offline={folder}")
    try:
        mlflow.set_experiment("offline things")
        with mlflow.start_run(run_name="first") as run:
            mlflow.log_params({"lr": 1})
            for step in range(100):
                mlflow.log_metric("loss", step, step=step)
            mlflow.set_tag("note", "x")
            mlflow.log_text("hello", "notes/a b.txt")
            with mlflow.start_run(nested=True) as inner:
                mlflow.log_metric("loss", 7, step=7)
            found = mlflow.get_run(run.info.run_id)
            assert found.data.metrics == {"loss": 99.0}
            assert found.data.params == {"lr": "1"}
            assert found.data.tags["note"] == "x"
            assert len(mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")) == 100
        assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/a b.txt") == "hello"
        assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"
        with pytest.raises(MlflowException, match="needs a server"):
            mlflow.search_runs(experiment_names=["offline things"])
        with pytest.raises(MlflowException, match="Changing param values"):
            mlflow.MlflowClient().log_batch(
                run.info.run_id, params=[mlflow.entities.Param("k", "1"), mlflow.entities.Param("k", "2")]
            )
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.tracking.fluent._active_experiment_id = None
    assert not server.state.runs
    leave()
    done = runlake.sync(folder)
    assert done.artifacts == 1
    run_id, inner_id = uploaded(server, run.info.run_id), uploaded(server, inner.info.run_id)
    assert server.steps(run_id) == list(range(100))
    assert server.state.params[run_id] == {"lr": "1"}
    assert server.state.runs[run_id]["status"] == "FINISHED"
    assert server.state.tags[inner_id]["mlflow.parentRunId"] == run_id
    files = list(server.state.files.values())
    assert files == [b"hello"]
    assert runlake.sync(folder).artifacts == 0
