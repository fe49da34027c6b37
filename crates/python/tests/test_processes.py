"""What belongs to a process: forks, the end of the interpreter, signals. The server is a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent


class ServerProcess:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fake.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        told = json.loads(self.process.stdout.readline())
        self.uri, self.http_uri, self.run_id = told["uri"], told["http"], told["run_id"]

    def ask(self, run_id: str | None = None) -> dict:
        self.process.stdin.write((run_id or self.run_id) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def steps(self, key: str, run_id: str | None = None) -> list[int]:
        return [point["step"] for point in self.ask(run_id)["points"] if point["key"] == key]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def remote():
    server = ServerProcess()
    yield server
    server.stop()


def python(code: str, remote: ServerProcess, timeout: float = 60, check: bool = True) -> subprocess.CompletedProcess:
    env = {**os.environ, "SERVER": remote.uri, "RUN": remote.run_id, "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_points_are_delivered_at_exit(remote):
    done = python(
        """
import os, runlake
run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
for step in range(5000):
    run.log({"loss": step}, step=step)
""",
        remote,
    )
    assert remote.steps("loss") == list(range(5000))
    assert done.stderr == ""


def test_points_are_delivered_though_the_program_fails(remote):
    done = python(
        """
import os, runlake
run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
for step in range(500):
    run.log({"loss": step}, step=step)
raise SystemExit(3)
""",
        remote,
        check=False,
    )
    assert done.returncode == 3
    assert remote.steps("loss") == list(range(500))


FORK = """
import os, time, runlake
run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
run.log({"parent": 0}, step=0)
WARM
for step in range(1, 200):
    run.log({"parent": step}, step=step)
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        for step in range(300):
            run.log({f"child{number}": step}, step=step)
        run.flush(20)
        os._exit(0)
    children.append(pid)
for step in range(200, 400):
    run.log({"parent": step}, step=step)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
run.flush(20)
assert codes == [0, 0, 0], codes
"""


@pytest.mark.parametrize("warm", [True, False], ids=["after Flight was used", "before"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(remote, warm):
    code = FORK.replace("WARM", "run.flush()" if warm else "")
    if not warm:
        # Children may use Flight when the parent has not; both are right.
        python(code, remote)
    else:
        python(code, remote)
        assert remote.ask()["doors"] == ["flight", "http"]
    assert remote.steps("parent") == list(range(400))
    for number in range(3):
        assert remote.steps(f"child{number}") == list(range(300))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_workers_of_multiprocessing_deliver_at_their_end(remote, tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(
        """
import multiprocessing, os, runlake

def work(number):
    run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
    for step in range(100):
        run.log({f"worker{number}": step}, step=step)

if __name__ == "__main__":
    run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
    run.log({"main": 1}, step=1)
    run.flush()
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        workers = [context.Process(target=work, args=(f"{method}{number}",)) for number in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
"""
    )
    python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", remote)
    for name in ("fork0", "fork1", "spawn0", "spawn1"):
        assert remote.steps(f"worker{name}") == list(range(100)), name


def test_control_c_while_waiting(remote):
    """The wait ends at once; what was logged is delivered at exit nevertheless."""
    python(
        """
import os, signal, threading, time, runlake
run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
for step in range(100):
    run.log({"loss": step}, step=step)
pipeline = run._pipeline
pipeline._stepping.acquire()
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
started = time.monotonic()
try:
    run.flush(30)
except KeyboardInterrupt:
    assert time.monotonic() - started < 25
else:
    raise AssertionError
finally:
    pipeline._stepping.release()
""",
        remote,
    )
    assert remote.steps("loss") == list(range(100))


def test_exit_without_a_server(remote, tmp_path):
    """Nothing hangs, and what is left is named."""
    started = time.monotonic()
    remote.stop()
    done = python(
        """
import os, runlake
run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
for step in range(100):
    run.log({"loss": step}, step=step)
""",
        remote,
    )
    assert time.monotonic() - started < 60
    assert "runlake-sync" in done.stderr
    assert len(list((tmp_path / "spool").rglob("*.arrow"))) == 1


MLFLOW_EXIT = """
import os, mlflow
mlflow.set_tracking_uri(os.environ["SERVER"])
run = mlflow.start_run()
print(run.info.run_id)
for step in range(200):
    mlflow.log_metric("loss", step, step=step)
mlflow.log_param("lr", 0.1)
"""


def test_mlflow_ends_its_run_at_exit(remote):
    done = python(MLFLOW_EXIT, remote)
    run_id = done.stdout.split()[0]
    assert remote.steps("loss", run_id) == list(range(200))
    told = remote.ask(run_id)
    assert told["params"] == {"lr": "0.1"}
    assert told["info"]["status"] == "FINISHED"


def test_importing_mlflow_does_not_import_arrow(remote):
    """The plugin costs nothing where it is not used."""
    python(
        """
import sys, mlflow
import mlflow.tracking._tracking_service.utils
assert "runlake" in mlflow.tracking._tracking_service.utils._tracking_store_registry._registry
assert "runlake._pipeline" not in sys.modules, "imported"
""",
        remote,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no signals")
def test_exit_while_the_server_hangs(remote, tmp_path, monkeypatch):
    """What the thread has in hand and what is in the buffer goes to disk; delivered later, once."""
    import signal

    import runlake

    monkeypatch.setenv("RUNLAKE_EXIT_TIMEOUT", "1")
    monkeypatch.setenv("RUNLAKE_TIMEOUT", "30")
    code = """
import os, signal, time, runlake
run = runlake.Run(os.environ["RUN"], os.environ["SERVER"])
run.log({"loss": 0}, step=0)
run.flush()
os.kill(int(os.environ["SERVER_PID"]), signal.SIGSTOP)
for step in range(1, 100):
    run.log({"loss": step}, step=step)
time.sleep(0.3)
for step in range(100, 200):
    run.log({"loss": step}, step=step)
"""
    monkeypatch.setenv("SERVER_PID", str(remote.process.pid))
    try:
        done = python(code, remote)
    finally:
        os.kill(remote.process.pid, signal.SIGCONT)
    assert "did not answer within 1 s. 2 batches are safe" in done.stderr
    time.sleep(0.5)
    for folder in (tmp_path / "spool").iterdir():
        runlake.sync(folder, remote.uri)
    assert remote.steps("loss") == list(range(200))
