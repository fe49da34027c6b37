import os
import sys
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake import FakeServer

SETTINGS = {
    "RUNLAKE_END_TIMEOUT": "10",
    "RUNLAKE_EXIT_TIMEOUT": "10",
    "RUNLAKE_TIMEOUT": "10",
    "RUNLAKE_LINGER_MS": "20",
}


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    """No test reads what the machine's user has set, and each has a spool of its own."""
    for name in list(os.environ):
        if name.startswith("RUNLAKE_") or name in (
            "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
            "MLFLOW_TRACKING_TOKEN", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID",
        ):  # fmt: skip
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNLAKE_SPOOL_DIR", str(tmp_path / "spool"))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def server():
    server = FakeServer().start()
    yield server
    server.stop()


@pytest.fixture
def run_id(server):
    return server.new_run()
