"""Fixtures: the server under test, raw and MLflow clients, an experiment of one's own."""

import itertools
import os
import tempfile
import uuid
from pathlib import Path

# Before mlflow is imported anywhere: no telemetry, no long silent retries of a server that answers 500.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Metrics of the client's own machine are noise here.
os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")

import pytest

from support.api import Api
from support.server import Server

EXTERNAL = os.environ.get("RUNLAKE_TEST_URI")


def pytest_collection_modifyitems(items):
    if not EXTERNAL:
        return
    skip = pytest.mark.skip(reason="differs from MLflow's server on purpose, or needs a server of its own")
    for item in items:
        if item.get_closest_marker("runlake") or "own_server" in getattr(item, "fixturenames", ()):
            item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for name in ("own_server", "server"):
            server = getattr(item, "funcargs", {}).get(name)
            if isinstance(server, Server):
                report.sections.append((f"log of {name}", server.log_tail(40)))


class External:
    """A server somebody else started: only its address is known."""

    def __init__(self, uri: str):
        self.uri = uri.rstrip("/")


@pytest.fixture(scope="session")
def server():
    """The server most tests share; each makes its own experiments."""
    if EXTERNAL:
        yield External(EXTERNAL)
        return
    with tempfile.TemporaryDirectory(prefix="runlake-clients-") as folder:
        server = Server(Path(folder)).start()
        yield server
        server.stop()


@pytest.fixture
def own_server(tmp_path):
    """A fresh server on a fresh lake, to stop, kill and look into."""
    server = Server(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def api(server):
    return Api(server.uri)


@pytest.fixture
def client(server):
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(server.uri)
    mlflow.set_registry_uri(server.uri)
    yield MlflowClient(server.uri)
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def tracking(client):
    """The module `mlflow`, pointed at the server, with its globals put back afterwards."""
    import mlflow

    # The module remembers the experiment of the last test.
    mlflow.tracking.fluent._active_experiment_id = None
    return mlflow


@pytest.fixture
def name():
    """A name nobody else uses."""
    return f"x{uuid.uuid4().hex[:12]}"


@pytest.fixture
def experiment(api, name):
    """Id of a new, empty experiment."""
    return api.create_experiment(name)


@pytest.fixture
def run(api, experiment):
    """Id of a new run."""
    return api.create_run(experiment)


@pytest.fixture
def new_run(api, experiment):
    """Makes runs in the test's experiment; start times go up by one second from 1,000,000."""
    times = itertools.count(1_000_000, 1000)

    def make(**fields):
        return api.create_run(experiment, **{"start_time": next(times), **fields})

    return make
