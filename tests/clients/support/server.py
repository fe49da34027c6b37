"""A server under test: started on a lake of its own, stopped or killed at will, its log kept for failures."""

import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = float(os.environ.get("RUNLAKE_TEST_START_SECONDS", "60"))
STOP_SECONDS = 60.0


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def binary() -> str:
    """The runlake binary to test."""
    path = os.environ.get("RUNLAKE_BIN")
    if not path:
        raise RuntimeError("set RUNLAKE_BIN to the runlake binary, or RUNLAKE_TEST_URI to a running server")
    return path


class Server:
    """`runlake server` on the lake below `folder`. Start it, stop it, kill it, start it again on the same port."""

    def __init__(
        self,
        folder: Path,
        *args: str,
        env: dict[str, str] | None = None,
        host: str = "127.0.0.1",
        certificate: Path | None = None,
    ):
        self.folder = Path(folder)
        self.lake = self.folder / "lake"
        self.log_path = self.folder / "server.log"
        self.port = free_port()
        self.host = host
        self.certificate = certificate
        self.uri = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.args = args
        self.env = env or {}
        self.process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        return [
            binary(),
            "server",
            "--host",
            self.host,
            "--port",
            str(self.port),
            "--lake",
            str(self.lake),
            *self.args,
        ]

    def start(self) -> "Server":
        """Starts the process and waits until it answers /health."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.env},
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}\n{self.log_tail()}")
            if self.healthy():
                return self
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"no answer from /health within {START_SECONDS} s\n{self.log_tail()}")

    def healthy(self) -> bool:
        trust = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5, context=trust) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        """Asks it to stop as a service manager does, and waits. A stop that hangs is a failure."""
        if not self.running():
            return self.process.returncode if self.process else 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"SIGTERM did not end the server within {STOP_SECONDS} s\n{self.log_tail()}") from None

    def kill(self) -> None:
        """Ends it at once, with nothing flushed."""
        if self.running():
            self.process.kill()
            self.process.wait()

    def restart(self) -> "Server":
        self.stop()
        return self.start()

    def flush(self) -> None:
        """Brings the tables on disk up to date."""
        request = urllib.request.Request(
            f"{self.uri}/api/runlake/flush",
            data=b"{}",
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            json.loads(answer.read() or b"{}")

    def log_tail(self, lines: int = 80) -> str:
        if not self.log_path.exists():
            return "(no log)"
        text = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(["--- server log (end) ---", *text[-lines:]])
