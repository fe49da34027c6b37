"""`runlake models serve`, and MLflow's own scoring server, as processes and threads of a test."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import mlflow
import requests

from support.server import binary, free_port

JSON = "application/json"


class Scorer:
    """`runlake models serve` with the Python of these tests, or another one."""

    def __init__(self, folder, *args, env=None, python=sys.executable):
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / f"scorer-{self.port}.log"
        command = [binary(), "models", "serve", "--port", str(self.port), "--env-manager", "local", "--python", python]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*command, *args], stdout=log, stderr=log, env={**os.environ, **(env or {})})

    def __enter__(self):
        try:
            return self.ready()
        except BaseException:
            self.__exit__()
            raise

    def ready(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.uri}/ping", timeout=5).status_code == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"not ready\n{self.log()}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()

    def log(self):
        return self.log_path.read_text(errors="replace")[-4000:]

    def post(self, body, kind=JSON, path="/invocations", **kwargs):
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        headers = {"Content-Type": kind, **kwargs.pop("headers", {})}
        return requests.post(self.uri + path, data=data, headers=headers, timeout=60, **kwargs)

    def workers(self):
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]


@contextlib.contextmanager
def mlflow_servers(models):
    """MLflow's own scoring server for each model, in this process: their addresses by name."""
    import uvicorn
    from mlflow.pyfunc import scoring_server

    servers, uris = [], {}
    for name, folder in models.items():
        app = scoring_server.init(mlflow.pyfunc.load_model(str(folder)))
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
        threading.Thread(target=server.run, daemon=True).start()
        servers.append(server)
        uris[name] = f"http://127.0.0.1:{port}/invocations"
    for uri in uris.values():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                requests.get(uri.replace("invocations", "ping"), timeout=5)
                break
            time.sleep(0.05)
    yield uris
    for server in servers:
        server.should_exit = True


def near(one, other, close):
    """Whether two answers are the same, their floats as `close` says."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key], close) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(near(*pair, close) for pair in zip(one, other))
    if isinstance(one, float) and isinstance(other, float):
        return close(one, other)
    return one == other
