"""The example projects: by runlake from a clean cache and from a warm one, and by the stock client."""

import shutil
import subprocess
import sys

import pytest
from support.api import Api
from support.projects import EXAMPLES, Runner, metrics, params, status, tags
from support.server import Server

pytestmark = pytest.mark.runlake


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """One cache for all: clean at first."""
    folder = tmp_path_factory.mktemp("examples")
    server = Server(folder).start()
    api = Api(server.uri)
    for example in EXAMPLES.iterdir():
        if example.is_dir():
            shutil.copytree(example, folder / example.name, ignore=shutil.ignore_patterns("__pycache__"))
    yield Runner(api, folder, "examples", api.create_experiment("examples"))
    server.stop()


def test_iris(runner):
    answer = runner.run("iris", "-P", "n_estimators=8")
    assert answer.returncode == 0 and "making the environment" in answer.stderr, answer.stderr
    cold = runner.last()
    assert params(cold) == {"n_estimators": "8", "max_depth": "3", "test_size": "0.3", "seed": "7"}
    assert metrics(cold)["accuracy"] > 0.8 and "accuracy" in runner.artifact(cold)
    assert runner.artifact(cold, "importance.json") is not None
    answer = runner.run("iris", "-P", "n_estimators=8")
    assert answer.returncode == 0 and "making the environment" not in answer.stderr
    assert metrics(runner.last()) == metrics(cold) and tags(cold)["mlflow.project.env"] == "uv"


def steps(runner, parent):
    parent_id = parent["info"]["run_id"]
    children = [run for run in runner.runs() if tags(run).get("mlflow.parentRunId") == parent_id]
    assert all(status(run) == "FINISHED" for run in children)
    return [tags(run)["mlflow.project.entryPoint"] for run in children]


def test_workflow(runner):
    """Its packages are those of iris, and so is its environment, if that was made."""
    parent = runner.good("workflow", "-P", "model_name=ours")
    assert steps(runner, parent) == ["load", "train", "evaluate", "register"]
    assert metrics(parent)["accuracy"] > 0.8
    [version] = runner.api.get("model-versions/search", filter="name = 'ours'")["model_versions"]
    assert version["version"] == "1"


def test_curve(runner):
    answer = runner.run("curve", "-P", "steps=5")
    assert answer.returncode == 0 and "making the environment" in answer.stderr, answer.stderr
    assert metrics(runner.last())["height"] == pytest.approx(0.8**10)
    answer = runner.run("curve", "-P", "steps=5")
    assert answer.returncode == 0 and "making the environment" not in answer.stderr


@pytest.mark.parametrize("example", ["iris", "workflow", "curve"])
def test_the_stock_client_runs_them(runner, example):
    stock = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", "--env-manager", "local", example],
        cwd=runner.folder,
        env=runner.environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert stock.returncode == 0, stock.stderr
    top = [run for run in runner.runs() if "mlflow.parentRunId" not in tags(run)][-1]
    assert status(top) == "FINISHED"
    if example == "workflow":
        assert steps(runner, top) == ["load", "train", "evaluate", "register"]
