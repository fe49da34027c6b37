"""Projects made for a test, and `runlake run` on them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .api import Api, pairs
from .server import binary

EXAMPLES = Path(__file__).parents[3] / "data/projects"
OUTPUT = "logs/stdout.txt"


@dataclass
class Runner:
    """`runlake run` against one server, into one experiment, with a cache of its own."""

    api: Api
    folder: Path
    experiment: str
    experiment_id: str

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def programs(self) -> Path:
        """A folder at the beginning of the PATH, for programs that play others."""
        folder = self.folder / "programs"
        folder.mkdir(exist_ok=True)
        return folder

    def environment(self, **more: str) -> dict[str, str]:
        # Without bytecode each step of a project would compile all it imports.
        left = ("MLFLOW_RUN", "MLFLOW_EXP", "MLFLOW_REGISTRY", "MLFLOW_CONDA", "CONDA", "MAMBA", "RUNLAKE_SERVER", "PYTHONDONTWRITEBYTECODE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(left)}
        path = os.pathsep.join([str(self.programs), os.path.dirname(sys.executable), kept["PATH"]])
        return {
            **kept,
            "PATH": path,
            "RUNLAKE_CACHE_DIR": str(self.cache),
            "MLFLOW_TRACKING_URI": self.api.uri,
            "MLFLOW_EXPERIMENT_NAME": self.experiment,
            "GIT_CONFIG_GLOBAL": os.devnull,
            **more,
        }

    def popen(self, *args: str | Path, cwd: Path | None = None, **env: str) -> subprocess.Popen:
        return subprocess.Popen(
            [binary(), *map(str, args)],
            cwd=cwd or self.folder,
            env=self.environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *args: str | Path, **more) -> subprocess.CompletedProcess:
        process = self.popen(*args, **more)
        try:
            output, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def run(self, *args: str | Path, **more) -> subprocess.CompletedProcess:
        return self.command("run", *args, **more)

    def good(self, *args: str | Path, **more) -> dict:
        """Runs, and gives the run that came of it."""
        before = {run["info"]["run_id"] for run in self.runs()}
        answer = self.run(*args, **more)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        new = [run for run in self.runs() if run["info"]["run_id"] not in before]
        [top] = [run for run in new if "mlflow.parentRunId" not in tags(run)]
        return top

    def runs(self) -> list[dict]:
        """The experiment's runs, the oldest first."""
        experiment = self.api.send("GET", "experiments/get-by-name", None, {"experiment_name": self.experiment})
        if experiment.status != 200:
            return []
        return self.api.search_runs([experiment.json["experiment"]["experiment_id"]], order_by=["start_time ASC"])

    def last(self) -> dict:
        return self.runs()[-1]

    def artifact(self, run: dict, path: str = OUTPUT) -> str | None:
        """An artifact's text, or None if there is none."""
        info = run["info"]
        answer = self.api.request("GET", f"/get-artifact?run_id={info['run_id']}&path={path}")
        return answer.body.decode() if answer.status == 200 else None

    def program(self, name: str, text: str) -> Path:
        """A program at the beginning of the PATH."""
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def project(self, name: str, mlproject: str = "", **files: str) -> Path:
        """A project; the names of files have `__` for their dot."""
        path = self.folder / name
        path.mkdir()
        if mlproject:
            (path / "MLproject").write_text(mlproject)
        for file, text in files.items():
            (path / file.replace("__", ".")).write_text(text)
        return path


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=ann", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", *identity, *args]
    return subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    """Makes a folder a repository if it is none, and commits what is in it."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "state")
    return git(folder, "rev-parse", "HEAD")


def tags(run: dict) -> dict[str, str]:
    return pairs(run["data"].get("tags"))


def params(run: dict) -> dict[str, str]:
    return pairs(run["data"].get("params"))


def metrics(run: dict) -> dict[str, float]:
    return {metric["key"]: metric["value"] for metric in run["data"].get("metrics", [])}


def status(run: dict) -> str:
    return run["info"]["status"]
