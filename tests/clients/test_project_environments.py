"""What projects need: found, made, kept, and removed; by the tools that are there, and by programs that play them."""

import os
import shutil
import sys

import pytest
from support.projects import Runner, params, status, tags

pytestmark = pytest.mark.runlake

WHERE = "import sys; print(sys.prefix)"


@pytest.fixture
def runner(api, name, tmp_path):
    return Runner(api, tmp_path, name, api.create_experiment(name))


def environments(runner):
    folder = runner.cache / "envs"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


def python_env(runner, name, dependencies="[]"):
    """A project with a package of its own, so that nothing is downloaded."""
    project = runner.project(
        name,
        "python_env: python_env.yaml\nentry_points:\n  main: {command: 'python where.py'}\n",
        where__py=WHERE,
        python_env__yaml=f"python: '{sys.version_info[0]}.{sys.version_info[1]}'\ndependencies: {dependencies}\n",
    )
    return project


def test_an_environment_is_made_once_and_removed(runner):
    """Two runs at once from a clean cache, and one from the warm one."""
    project = python_env(runner, "p")
    both = [runner.popen("run", project) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(errors.count("making the environment") for _, errors in outputs) == 1, outputs
    [key] = environments(runner)
    prefix = str(runner.cache / "envs" / key / "env") + "\n"
    assert [output for output, _ in outputs] == [prefix, prefix]
    answer = runner.run(project)
    assert answer.stdout == prefix and "making" not in answer.stderr
    assert tags(runner.last())["mlflow.project.env"] == "uv"

    listed = runner.command("env", "list").stdout
    assert key in listed and "python 3" in listed
    assert key in runner.command("env", "gc", "--all", "--dry-run").stdout
    assert runner.command("env", "gc").stdout == "" and environments(runner) == [key]
    assert key in runner.command("env", "gc", "--all").stdout
    assert environments(runner) == [] and "there are none" in runner.command("env", "list").stdout


def test_virtualenv(runner):
    project = python_env(runner, "p")
    run = runner.good(project, "--env-manager", "virtualenv")
    [key] = environments(runner)
    assert runner.artifact(run) == f"{runner.cache}/envs/{key}/env\n"
    assert tags(run)["mlflow.project.env"] == "virtualenv"
    (project / "python_env.yaml").write_text("python: '3.4'\n")
    answer = runner.run(project, "--env-manager", "virtualenv")
    assert answer.returncode == 1 and "pyenv install 3.4" in answer.stderr


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_an_attempt_that_fails_leaves_its_log(runner, manager):
    project = python_env(runner, "p", dependencies="['./nothing-here']")
    (project / "nothing-here").mkdir()
    answer = runner.run(project, "--env-manager", manager)
    assert answer.returncode == 1 and "packages could not be installed" in answer.stderr, answer.stderr
    run = runner.last()
    assert status(run) == "FAILED"
    log = runner.artifact(run, "logs/environment.txt")
    assert "nothing-here" in log and "pip install" in log
    assert environments(runner) == []
    [kept] = [path for path in (runner.cache / "envs").glob("*.log")]
    assert kept.read_text() == log and str(kept) in answer.stderr


def test_an_interrupted_attempt_leaves_nothing_half_made(runner):
    runner.program("uv", "#!/bin/bash\nmkdir -p \"${@: -1}\"; echo making; sleep 600\n")
    process = runner.popen("run", python_env(runner, "p"))
    while "making\n" not in (line := process.stderr.readline()):
        assert line, process.communicate()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130 and status(runner.last()) == "KILLED"
    assert environments(runner) == []


def test_the_tools_of_a_run_that_was_killed_are_waited_for(runner):
    """They write on, into what the next run would make at the same time."""
    text = """#!/bin/bash
echo begin $$ >> {0}/said; [ -e {0}/go ] || echo making >&2
until [ -e {0}/go ]; do sleep 0.05; done
mkdir -p "${{@: -1}}/bin"; ln -sf {1} "${{@: -1}}/bin/python"; echo end $$ >> {0}/said
"""
    runner.program("uv", text.format(runner.programs, sys.executable))
    project = python_env(runner, "p")
    first = runner.popen("run", project)
    while "making\n" != (line := first.stderr.readline()):
        assert line
    first.kill()
    first.wait()
    second = runner.popen("run", project)
    while "waiting for another run" not in (line := second.stderr.readline()):
        assert line
    (runner.programs / "go").touch()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    said = [line.split()[0] for line in (runner.programs / "said").read_text().splitlines()]
    assert said == ["begin", "end"] * 2
    first.stdout.close()
    first.stderr.close()


def test_an_environment_whose_python_is_gone_is_made_anew(runner):
    project = python_env(runner, "p")
    runner.good(project)
    [key] = environments(runner)
    python = runner.cache / "envs" / key / "env/bin/python"
    python.unlink()
    python.symlink_to("/no/such/python")
    answer = runner.run(project)
    assert answer.returncode == 0 and "making the environment" in answer.stderr
    assert answer.stdout == f"{runner.cache}/envs/{key}/env\n"


def test_a_lock_and_a_package_in_src(runner):
    """A program that plays uv; the project's own package is imported from where it is."""
    project = runner.project(
        "p",
        "entry_points:\n  main: {command: 'python -c \"import mine; print(mine.NAME)\"; echo $VIRTUAL_ENV'}\n",
        pyproject__toml="[project]\nname = 'mine'\nversion = '1'\n",
        uv__lock="version = 1\n",
    )
    (project / "src/mine").mkdir(parents=True)
    (project / "src/mine/__init__.py").write_text("NAME = 'mine'\n")
    program = '#!/bin/bash\necho "$@" >> "$(dirname "$0")/said"; mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"\n'
    runner.program("uv", program)
    run = runner.good(project)
    [key] = environments(runner)
    assert runner.artifact(run) == f"mine\n{runner.cache}/envs/{key}/env\n"
    said = runner.programs / "said"
    assert said.read_text().split()[:3] == ["sync", "--frozen", "--no-install-project"]
    (project / "src/mine/__init__.py").write_text("NAME = 'changed'\n")
    assert runner.artifact(runner.good(project)).startswith("changed\n")
    assert len(said.read_text().splitlines()) == 1
    (project / "uv.lock").write_text("version = 2\n")
    runner.good(project)
    assert len(environments(runner)) == 2 and len(said.read_text().splitlines()) == 2


@pytest.mark.skipif(shutil.which("uv") is not None, reason="uv is on the PATH, and is not fetched")
def test_uv_that_cannot_be_fetched(runner):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "0", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    answer = runner.run(python_env(runner, "p"), **nowhere)
    assert answer.returncode == 1 and "`pip install uv`" in answer.stderr, answer.stderr
    assert status(runner.last()) == "FAILED" and environments(runner) == []
    assert [path.name for path in (runner.cache / "tools").iterdir()] == ["uv.lock"]


def test_conda(runner):
    """A program that plays micromamba makes an environment that says so."""
    project = runner.project(
        "p",
        "conda_env: conda.yaml\nentry_points:\n  main: {command: 'tool; echo $CONDA_PREFIX $ACTIVE'}\n",
        conda__yaml="dependencies: [python=3.11, numpy]\n",
    )
    runner.program(
        "micromamba",
        """#!/bin/bash
echo "$@" > "$(dirname "$0")/said"
prefix=$5
mkdir -p "$prefix/bin" "$prefix/etc/conda/activate.d"
printf '#!/bin/bash\\necho from conda\\n' > "$prefix/bin/tool"
chmod +x "$prefix/bin/tool"
echo 'export ACTIVE=yes' > "$prefix/etc/conda/activate.d/x.sh"
""",
    )
    run = runner.good(project)
    [key] = environments(runner)
    assert runner.artifact(run) == f"from conda\n{runner.cache}/envs/{key}/env yes\n"
    assert tags(run)["mlflow.project.env"] == "conda"
    said = (runner.programs / "said").read_text().split()
    assert said[:3] == ["create", "--yes", "--quiet"] and said[-2:] == ["--file", f"{project}/conda.yaml"]


@pytest.mark.skipif(any(map(shutil.which, ["conda", "mamba", "micromamba"])), reason="there is a conda")
def test_conda_that_is_not_there(runner):
    project = runner.project(
        "p", "conda_env: c.yaml\nentry_points:\n  main: {command: 'true'}\n", c__yaml="dependencies: [numpy]\n"
    )
    answer = runner.run(project)
    assert answer.returncode == 1 and "micro.mamba.pm" in answer.stderr
    assert status(runner.last()) == "FAILED" and environments(runner) == []


def test_docker(runner):
    """A program that plays docker tells how it was called, and runs the command here."""
    project = runner.project(
        "p",
        """
name: contained
docker_env:
  image: image:1
  volumes: ["/a:/b"]
  environment: [[SET, "to this"], TAKEN]
entry_points:
  main: {command: "echo inside {p}", parameters: {p: string}}
""",
    )
    runner.program(
        "docker",
        """#!/bin/bash
[ "$1" = version ] && { echo 1; exit; }
printf '%s\\n' "$@" > "$(dirname "$0")/said-$1"
[ "$1" = build ] && { cat > "$(dirname "$0")/dockerfile"; exit; }
bash -c "${@: -1}"
""",
    )
    run = runner.good(project, "-P", "p=a b", "-A", "gpus=all", "-A", "t", MLFLOW_TRACKING_TOKEN="secret")
    assert runner.artifact(run) == "inside a b\n" and tags(run)["mlflow.project.env"] == "docker"
    said = (runner.programs / "said-run").read_text().splitlines()
    joined = " ".join(said)
    for part in [
        "run --rm --name contained-",
        f"--volume {project}:/mlflow/projects/code --workdir /mlflow/projects/code --volume /a:/b",
        "--env SET=to this --env TAKEN --env MLFLOW_TRACKING_TOKEN ",
        f"--env MLFLOW_RUN_ID={run['info']['run_id']}",
        "--network host --gpus all -t image:1 bash -c echo inside 'a b'",
    ]:
        assert part in joined, joined
    assert "secret" not in joined
    run = runner.good(project, "-P", "p=x", "--build-image")
    said = " ".join((runner.programs / "said-run").read_text().splitlines())
    assert ":/mlflow" not in said and " contained:latest bash" in said
    assert (runner.programs / "dockerfile").read_text().startswith("FROM image:1\nCOPY . /mlflow/projects/code/\n")


def test_docker_without_its_engine(runner):
    runner.program("docker", "#!/bin/bash\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    project = runner.project("p", "docker_env: {image: i}\nentry_points:\n  main: {command: 'echo here'}\n")
    answer = runner.run(project)
    assert answer.returncode == 1 and "Cannot connect" in answer.stderr and "systemctl start docker" in answer.stderr
    assert status(runner.last()) == "FAILED"
    assert runner.artifact(runner.good(project, "--env-manager", "local")) == "here\n"


def test_local_uses_what_is_there(runner):
    project = python_env(runner, "p")
    run = runner.good(project, "--env-manager", "local", "-P", "x=1")
    assert os.path.realpath(runner.artifact(run).strip()) == os.path.realpath(sys.prefix)
    assert params(run) == {"x": "1"} and environments(runner) == []
