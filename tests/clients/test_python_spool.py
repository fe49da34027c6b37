"""A server that is away: the spool, offline runs and their upload."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import runlake
from support.api import Api, pairs

pytestmark = pytest.mark.runlake


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNLAKE_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("RUNLAKE_END_TIMEOUT", "60")
    monkeypatch.delenv("RUNLAKE_TOKEN", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)


@pytest.fixture
def uri(own_server):
    return own_server.uri.replace("http", "runlake", 1)


@pytest.fixture
def own_api(own_server):
    return Api(own_server.uri)


@pytest.fixture
def own_run(own_api):
    return own_api.create_run(own_api.create_experiment("things"))


def steps(api, run_id, key="loss"):
    return [int(point["step"]) for point in api.history(run_id, key)]


def python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_server_that_is_killed_while_training_goes_on(
    own_server, own_api, uri, own_run
):
    """Nothing lost, nothing twice, whenever it dies."""
    run = runlake.Run(own_run, uri)
    stop = threading.Event()

    def torment():
        for pause in (0.3, 0.15, 0.6, 0.05):
            time.sleep(pause)
            own_server.kill()
            time.sleep(pause)
            own_server.start()
        stop.set()

    thread = threading.Thread(target=torment)
    thread.start()
    step = 0
    while not stop.is_set():
        run.log({"loss": step}, step=step)
        step += 1
        if step % 50 == 0:
            time.sleep(0.005)
    thread.join()
    run.finish()
    assert steps(own_api, own_run) == list(range(step))
    assert own_api.run(own_run)["info"]["status"] == "FINISHED"


def test_mlflow_through_a_restart(own_server, own_api, uri, tmp_path):
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.tracking.fluent._active_experiment_id = None
    try:
        mlflow.set_experiment("restarted")
        with mlflow.start_run() as run:
            for step in range(900):
                if step == 300:
                    own_server.kill()
                if step == 600:
                    time.sleep(1.5)
                    assert list((tmp_path / "spool").rglob("*.arrow"))
                    own_server.start()
                mlflow.log_metric("loss", step, step=step)
            mlflow.log_param("lr", 1)
    finally:
        mlflow.set_tracking_uri(None)
    assert steps(own_api, run.info.run_id) == list(range(900))
    assert pairs(own_api.run(run.info.run_id)["data"]["params"]) == {"lr": "1"}
    assert not list((tmp_path / "spool").rglob("*.arrow"))


def test_a_server_that_hangs_does_not_stall_training(own_server, own_api, uri, own_run):
    run = runlake.Run(own_run, uri)
    run.log({"loss": 0}, step=0)
    run.flush()
    own_server.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        for step in range(1, 20_000):
            run.log({"loss": step}, step=step)
        assert time.monotonic() - started < 20
        with pytest.raises(runlake.Undelivered):
            run.flush(0.5)
    finally:
        own_server.process.send_signal(signal.SIGCONT)
    run.finish()
    assert steps(own_api, own_run) == list(range(20_000))


LOG = """
import os, runlake
run = runlake.Run(os.environ["RUN"], os.environ["URI"])
for step in range(int(os.environ["FROM"]), int(os.environ["TO"])):
    run.log({"loss": step}, step=step)
"""


def test_the_next_process_delivers(own_server, own_api, uri, own_run):
    own_server.kill()
    done = python(
        LOG, RUN=own_run, URI=uri, FROM="0", TO="100", RUNLAKE_EXIT_TIMEOUT="3"
    )
    assert done.returncode == 0
    assert "runlake-sync" in done.stderr
    own_server.start()
    assert steps(own_api, own_run) == []
    done = python(
        LOG + "\nrun.flush()\nimport time\ntime.sleep(2)",
        RUN=own_run,
        URI=uri,
        FROM="100",
        TO="200",
    )
    assert done.returncode == 0, done.stderr
    assert sorted(steps(own_api, own_run)) == list(range(200))


def test_sync_of_the_spool(own_server, own_api, uri, own_run, tmp_path):
    own_server.kill()
    python(LOG, RUN=own_run, URI=uri, FROM="0", TO="100", RUNLAKE_EXIT_TIMEOUT="3")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "spool", copy)
    away = subprocess.run(
        [sys.executable, "-m", "runlake", "sync"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert away.returncode == 1
    assert "127.0.0.1" in away.stderr
    own_server.start()
    for folder in (tmp_path / "spool", tmp_path / "spool", copy):
        done = subprocess.run(
            [sys.executable, "-m", "runlake", "sync"],
            env={**os.environ, "RUNLAKE_SPOOL_DIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert steps(own_api, own_run) == list(range(100))


def test_a_trainer_that_is_killed(own_server, own_api, uri, own_run):
    """What it had flushed is there; what it spooled can be delivered; no batch is there by half or twice."""
    code = """
import os, runlake, time
run = runlake.Run(os.environ["RUN"], os.environ["URI"])
step = 0
while True:
    run.log({"loss": step, "other": step}, step=step)
    step += 1
    if step == 3000:
        run.flush()
        print("flushed", flush=True)
    if step % 100 == 0:
        time.sleep(0.01)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "RUN": own_run, "URI": uri},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "flushed\n"
    own_server.kill()
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    own_server.start()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "runlake", "sync"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    found = steps(own_api, own_run)
    assert found == list(range(len(found)))
    assert len(found) > 3000
    assert abs(len(steps(own_api, own_run, "other")) - len(found)) <= 1


def test_a_spool_with_no_room(own_server, own_api, uri, own_run, monkeypatch):
    from runlake._pipeline import Pipeline
    from runlake._uri import Target

    monkeypatch.setenv("RUNLAKE_SPOOL_MAX_BYTES", "20000")
    monkeypatch.setenv("RUNLAKE_BUFFER_ROWS", "100")
    run = runlake.Run(own_run, pipeline=Pipeline(Target.parse(uri)))
    own_server.kill()
    logged = 0
    with pytest.raises(runlake.SpoolFull, match="RUNLAKE_SPOOL_MAX_BYTES"):
        while True:
            run.log({"loss": logged}, step=logged)
            logged += 1
    own_server.start()
    run.flush()
    assert steps(own_api, own_run) == list(range(logged))


OFFLINE = """
import mlflow, os, pandas
mlflow.set_tracking_uri(os.environ["URI"])
mlflow.set_experiment("offline things")
with mlflow.start_run(run_name="first") as run:
    mlflow.log_params({"lr": 1})
    for step in range(1000):
        mlflow.log_metric("loss", step, step=step)
    mlflow.set_tag("note", "x")
    mlflow.log_text("hello", "notes/a b.txt")
    mlflow.log_input(mlflow.data.from_pandas(pandas.DataFrame({"a": [1]}), name="train"), context="training")
    assert mlflow.get_run(run.info.run_id).data.metrics["loss"] == 999
    with mlflow.start_run(nested=True):
        mlflow.log_metric("loss", 7, step=7)
print(run.info.run_id)
"""


@pytest.mark.both
def test_offline_and_sync_twice(own_server, own_api, uri, tmp_path):
    folder, copy = tmp_path / "offline", tmp_path / "copy"
    own_server.kill()
    done = python(OFFLINE, URI=f"{uri}?offline={folder}")
    assert done.returncode == 0, done.stderr
    offline_id = done.stdout.split()[-1]
    shutil.copytree(folder, copy)
    own_server.start()
    for source in (folder, folder, copy):
        synced = subprocess.run(
            [sys.executable, "-m", "runlake", "sync", str(source), "--to", uri],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert synced.returncode == 0, synced.stdout + synced.stderr
    experiment = own_api.get(
        "experiments/get-by-name", experiment_name="offline things"
    )["experiment"]["experiment_id"]
    runs = {run["info"]["run_name"]: run for run in own_api.search_runs([experiment])}
    assert len(runs) == len(own_api.search_runs([experiment])) == 2
    run = runs.pop("first")
    (inner,) = runs.values()
    run_id = run["info"]["run_id"]
    assert run["info"]["status"] == "FINISHED"
    assert pairs(run["data"]["params"]) == {"lr": "1"}
    assert (
        pairs(run["data"]["tags"]).items()
        >= {"note": "x", "runlake.offline_id": offline_id}.items()
    )
    assert pairs(inner["data"]["tags"])["mlflow.parentRunId"] == run_id
    (used,) = own_api.run(run_id)["inputs"]["dataset_inputs"]
    assert used["dataset"]["name"] == "train"
    assert steps(own_api, run_id) == list(range(1000))
    assert steps(own_api, inner["info"]["run_id"]) == [7]
    import mlflow

    mlflow.set_tracking_uri(uri)
    try:
        assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/a b.txt") == "hello"
    finally:
        mlflow.set_tracking_uri(None)
