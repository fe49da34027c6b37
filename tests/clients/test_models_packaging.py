"""Images and environments of models: `generate-dockerfile`, `build-docker`, `update-env`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import binary

import mlflow

pytestmark = pytest.mark.runlake("a program of its own, beside the server")


class Nothing(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [1]


def cli(*args, env=None):
    return subprocess.run([binary(), "models", *args], capture_output=True, text=True, env={**os.environ, **(env or {})})


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    mlflow.pyfunc.save_model(str(folder), python_model=Nothing(), pip_requirements=["mlflow", "numpy<3"])
    return folder


def test_a_dockerfile_that_a_linter_takes(model, tmp_path):
    image, program = tmp_path / "image", tmp_path / "runlake"
    program.write_text("the program")
    made = cli("generate-dockerfile", "-m", str(model), "-d", str(image), "--program", str(program))
    assert made.returncode == 0, made.stderr
    assert (image / "runlake").read_text() == "the program" and (image / "model" / "MLmodel").is_file()
    text = (image / "Dockerfile").read_text()
    minor = ".".join(str(part) for part in sys.version_info[:2])
    assert f"FROM python:{minor}-slim" in text and "USER 10001" in text
    assert cli("generate-dockerfile", "-m", str(model), "-d", str(image), "--program", str(program)).returncode == 2
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed")
    linted = subprocess.run([linter, str(image / "Dockerfile")], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_an_image_is_built_by_what_is_there(model, tmp_path):
    program = tmp_path / "runlake"
    program.write_text("the program")
    builder = tmp_path / "builder"
    builder.write_text(f"#!/bin/sh\necho \"$1 $2 $3\" > {tmp_path}/told\nls \"$4\" >> {tmp_path}/told\nexit ${{BUILD_STATUS:-0}}\n")
    builder.chmod(0o755)
    args = ["build-docker", "-m", str(model), "-n", "mine:1", "--program", str(program)]
    built = cli(*args, "--builder", str(builder))
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "told").read_text().split() == ["build", "--tag", "mine:1", "Dockerfile", "model", "runlake"]
    assert cli(*args, "--builder", str(builder), env={"BUILD_STATUS": "3"}).returncode == 1
    absent = cli(*args, "--builder", "/no/such/docker")
    assert absent.returncode == 2 and "generate-dockerfile" in absent.stderr


def test_the_packages_of_a_model_change(server, model, tmp_path, name):
    changed = cli("update-env", str(model), "--add", "NumPy==2.1", "--add", "rich", "--remove", "mlflow")
    assert changed.returncode == 0, changed.stderr
    assert (model / "requirements.txt").read_text() == "NumPy==2.1\nrich\n"
    assert "NumPy==2.1" in (model / "conda.yaml").read_text()
    assert cli("update-env", str(model), "--remove", "pandas").returncode == 2
    assert cli("update-env", str(model)).returncode == 2
    mlflow.set_experiment(name)
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(name="m", python_model=Nothing(), pip_requirements=["mlflow"])
    env = {"RUNLAKE_SERVER": server.uri, "RUNLAKE_CACHE": str(tmp_path / "cache")}
    changed = cli("update-env", logged.model_uri, "--add", "rich==13.0", env=env)
    assert changed.returncode == 0, changed.stderr
    assert "rich==13.0" in Path(mlflow.pyfunc.get_model_dependencies(logged.model_uri)).read_text()
    assert "rich==13.0" in cli("info", logged.model_uri, env=env).stdout
