"""Where a server is, and who asks: addresses of the form `runlake://host:port?offline=DIR`."""

from __future__ import annotations

import base64
import configparser
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ._errors import RunlakeError

DEFAULT_URI = "runlake://127.0.0.1:5000"

# scheme: (TLS, port when none is given)
_SCHEMES = {
    "runlake": (False, 5000),
    "runlakes": (True, 5000),
    "runlake+http": (False, 5000),
    "runlake+https": (True, 5000),
    "http": (False, 80),
    "https": (True, 443),
    "grpc": (False, 5000),
    "grpc+tcp": (False, 5000),
    "grpc+tls": (True, 5000),
}
_OPTIONS = {"offline", "flight", "transport"}

PLUGIN_SCHEMES = ("runlake", "runlakes", "runlake+http", "runlake+https")


def _truthy(value: str | None) -> bool:
    return value is not None and value.strip().lower() in ("1", "true", "yes", "on")


@dataclass(frozen=True)
class Credentials:
    """A name and password, or a token, or nothing."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def header(self) -> str | None:
        """Value of the header `authorization`, if there is anything to say."""
        if self.username is not None and self.password is not None:
            pair = f"{self.username}:{self.password}".encode()
            return "Basic " + base64.b64encode(pair).decode("ascii")
        if self.token:
            return f"Bearer {self.token}"
        return None


def _credentials_file() -> tuple[str | None, str | None]:
    path = Path("~/.mlflow/credentials").expanduser()
    if not path.is_file():
        return None, None
    parser = configparser.ConfigParser()
    parser.read(path)
    if "mlflow" not in parser:
        return None, None
    section = parser["mlflow"]
    return section.get("mlflow_tracking_username"), section.get("mlflow_tracking_password")


def environment_credentials() -> Credentials:
    """Credentials as the environment has them now: `RUNLAKE_TOKEN`, then what MLflow's clients read."""
    env = os.environ
    if token := env.get("RUNLAKE_TOKEN"):
        return Credentials(token=token)
    file_name, file_password = _credentials_file()
    username = env.get("MLFLOW_TRACKING_USERNAME") or file_name
    password = env.get("MLFLOW_TRACKING_PASSWORD") or file_password
    if username and password:
        return Credentials(username=username, password=password)
    return Credentials(token=env.get("MLFLOW_TRACKING_TOKEN"))


@dataclass(frozen=True)
class Target:
    """A server (or, offline, a folder that stands for one), and how to reach its doors."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    offline: str | None = None
    flight: str | None = None
    transport: str = "flight"
    given: Credentials = field(default_factory=Credentials)

    @staticmethod
    def parse(
        uri: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
    ) -> Target:
        """The target that `uri` names; without one `RUNLAKE_URI`, `MLFLOW_TRACKING_URI`, or localhost."""
        if uri is None:
            uri = os.environ.get("RUNLAKE_URI")
        if uri is None:
            tracking = os.environ.get("MLFLOW_TRACKING_URI", "")
            uri = tracking if urlsplit(tracking).scheme in _SCHEMES else DEFAULT_URI
        parts = urlsplit(uri)
        if parts.scheme not in _SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in PLUGIN_SCHEMES)
            raise RunlakeError(f"{_redacted(uri)!r} names no runlake server: write {known}host:port")
        tls, port = _SCHEMES[parts.scheme]
        options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if unknown := sorted(set(options) - _OPTIONS):
            raise RunlakeError(
                f"unknown option {unknown[0]!r} in {_redacted(uri)!r}: there are {', '.join(sorted(_OPTIONS))}"
            )
        offline = options.get("offline")
        if offline == "":
            raise RunlakeError("offline= needs a folder: runlake://host:port?offline=DIR")
        transport = options.get("transport", "flight")
        if transport not in ("flight", "http"):
            raise RunlakeError(f"transport={transport} is neither flight nor http")
        try:
            number = parts.port
        except ValueError as error:
            raise RunlakeError(f"{_redacted(uri)!r}: {error}") from None
        if not parts.hostname and offline is None:
            raise RunlakeError(f"{_redacted(uri)!r} names no host")
        if token is None and username is None and parts.username:
            name = unquote(parts.username)
            if parts.password is not None:
                username, password = name, unquote(parts.password)
            else:
                token = name
        prefix = parts.path.rstrip("/")
        return Target(
            host=parts.hostname or "127.0.0.1",
            port=number or port,
            tls=tls,
            prefix=prefix,
            offline=None if offline is None else os.path.abspath(os.path.expanduser(offline)),
            flight=options.get("flight"),
            # A path before the API means a reverse proxy, and gRPC has no way to say it.
            transport="http" if prefix and "flight" not in options else transport,
            given=Credentials(username, password, token),
        )

    @property
    def credentials(self) -> Credentials:
        """Those that were given with the address, else the environment's."""
        return self.given if self.given.header else environment_credentials()

    @property
    def authority(self) -> str:
        """host:port, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def http_url(self) -> str:
        """Root of the REST API, without a slash at its end."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"

    @property
    def flight_url(self) -> str:
        """Address for Arrow Flight: the same host and port unless `flight=` says otherwise."""
        scheme = "grpc+tls" if self.tls else "grpc+tcp"
        if not self.flight:
            return f"{scheme}://{self.authority}"
        return self.flight if "://" in self.flight else f"{scheme}://{self.flight}"

    @property
    def uri(self) -> str:
        """The address as runlake writes it, without credentials."""
        base = f"{'runlakes' if self.tls else 'runlake'}://{self.authority}{self.prefix}"
        options = []
        if self.flight:
            options.append("flight=" + quote(self.flight, safe=":/"))
        if self.transport == "http" and not self.prefix:
            options.append("transport=http")
        return base + ("?" + "&".join(options) if options else "")

    @property
    def folder(self) -> str:
        """Name of this server's folder in the spool."""
        readable = re.sub(r"[^A-Za-z0-9.-]+", "_", self.host)
        return f"{readable}_{self.port}-{hashlib.sha256(self.http_url.encode()).hexdigest()[:8]}"

    @property
    def root_certificates(self) -> str | None:
        """File with the certificates to trust, as MLflow's setting has it."""
        return os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None

    @property
    def insecure(self) -> bool:
        """Whether the server's certificate is not looked at, as MLflow's setting has it."""
        return _truthy(os.environ.get("MLFLOW_TRACKING_INSECURE_TLS"))


def _redacted(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", uri)
