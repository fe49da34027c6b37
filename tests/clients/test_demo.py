"""`runlake demo`: what it makes is there, the same for the same seed, and served."""

import subprocess
import time

import pytest
import requests

from support.server import binary, free_port

# MLflow's server has no demonstration.
pytestmark = pytest.mark.runlake


def demo(*args, status=0):
    done = subprocess.run([binary(), "demo", *map(str, args)], capture_output=True, text=True, timeout=240)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def sql(lake, statement):
    done = subprocess.run([binary(), "sql", "--lake", str(lake), "--format", "csv", statement], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return [line.split(",") for line in done.stdout.splitlines()[1:]]


EVERYTHING = [
    """SELECT r.run_id, r.experiment_id, r.run_name, r.user_id, r.status, r.start_time, r.end_time, r.parent_run_id
       FROM runs r ORDER BY run_id""",
    "SELECT run_id, key, value FROM params ORDER BY 1, 2",
    "SELECT run_id, key, value FROM tags WHERE key <> 'mlflow.note.content' ORDER BY 1, 2",
    "SELECT run_id, key, step, timestamp, value FROM metrics ORDER BY 1, 2, 3",
    "SELECT run_id, dataset_name, dataset_digest FROM run_inputs ORDER BY 1, 2",
    "SELECT name, version, run_id, current_stage FROM model_versions ORDER BY 1, 2",
    "SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2",
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    lake = tmp_path_factory.mktemp("demo") / "lake"
    told = demo("--data", lake, "--runs", 200, "--points", 40, "--seed", 7, "--only-fill")
    assert "200 runs with" in told
    return lake


def test_the_same_seed_gives_the_same_lake(filled, tmp_path):
    demo("--data", tmp_path / "same", "--runs", 200, "--points", 40, "--seed", 7, "--only-fill")
    demo("--data", tmp_path / "other", "--runs", 200, "--points", 40, "--seed", 8, "--only-fill")
    for statement in EVERYTHING:
        rows = sql(filled, statement)
        assert rows and rows == sql(tmp_path / "same", statement), statement
    assert sql(filled, EVERYTHING[3]) != sql(tmp_path / "other", EVERYTHING[3])


def test_there_is_something_of_everything(filled):
    assert sql(filled, "SELECT count(*) FROM runs") == [["200"]]
    assert {row[0] for row in sql(filled, "SELECT DISTINCT status FROM runs")} == {"FINISHED", "FAILED", "KILLED", "RUNNING"}
    assert int(sql(filled, "SELECT count(*) FROM runs WHERE parent_run_id IS NOT NULL")[0][0]) > 20
    assert sql(filled, "SELECT count(*) FROM runs c JOIN runs p ON p.run_id = c.parent_run_id") == sql(
        filled, "SELECT count(*) FROM runs WHERE parent_run_id IS NOT NULL")
    assert int(sql(filled, "SELECT count(*) FROM metrics WHERE isnan(value)")[0][0]) > 0
    assert sql(filled, "SELECT alias FROM registered_model_aliases WHERE name = 'birds-classifier' ORDER BY 1") == [
        ["challenger"], ["champion"]]
    assert sql(filled, "SELECT status FROM approval_requests ORDER BY 1") == [["approved"], ["pending"]]
    reached = {row[0] for row in sql(filled, "SELECT target FROM lineage('dataset:b1rd5v3', 'down')")}
    assert "models:/birds-classifier@champion" in reached
    assert list((filled / "artifacts").rglob("MLmodel")) and list((filled / "artifacts").rglob("confusion.csv"))
    doctor = subprocess.run([binary(), "doctor", "--lake", str(filled)], capture_output=True, text=True, timeout=120)
    assert doctor.returncode == 0 and "in order" in doctor.stdout


def test_a_demonstration_is_not_mixed_with_anything(filled, own_server):
    assert "already" in demo("--data", filled, "--only-fill")
    assert sql(filled, "SELECT count(*) FROM runs") == [["200"]]
    answer = requests.post(own_server.uri + "/api/2.0/mlflow/experiments/create", json={"name": "mine"}, timeout=30)
    assert answer.status_code == 200
    own_server.stop()
    told = demo("--data", own_server.lake, "--only-fill", status=1)
    assert "holds experiments already: mine" in told


def test_it_is_served(tmp_path):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [binary(), "demo", "--runs", "60", "--points", "20", "--port", str(port), "--no-open"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
            try:
                if requests.get(uri + "/health", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        found = requests.get(uri + "/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "vision/resnet"},
                             timeout=30).json()
        runs = requests.post(uri + "/api/2.0/mlflow/runs/search",
                             json={"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 100}, timeout=30).json()
        assert len(runs["runs"]) == 36
        run = min(runs["runs"], key=lambda run: run["info"]["start_time"])["info"]["run_id"]
        files = requests.get(uri + "/api/2.0/mlflow/artifacts/list", params={"run_id": run}, timeout=30).json()["files"]
        assert {"config.json", "notes.md"} <= {file["path"] for file in files}
        assert list(tmp_path.iterdir())
    finally:
        process.terminate()
        process.wait(60)
    assert not list(tmp_path.iterdir()), "the lake is removed at the end"
