"""The artifact proxy of a server whose tracking URI is a `runlake://` one."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities import FileInfo
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from ._mlflow_store import host_creds
from ._transport import Http
from ._uri import PLUGIN_SCHEMES, Target

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


class Artifacts(MlflowArtifactsRepository):  # type: ignore[misc]
    """MLflow's own, for which `runlake://` is http, with credentials as runlake finds them."""

    _target: Target | None = None

    def __init__(self, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(artifact_uri, *args, **kwargs)
        tracking_uri = kwargs.get("tracking_uri") or (args[0] if args else None)
        if tracking_uri is None:
            from mlflow.tracking import get_tracking_uri

            tracking_uri = get_tracking_uri()
        if urlsplit(tracking_uri).scheme in PLUGIN_SCHEMES:
            target = Target.parse(tracking_uri)
            # An address of its own in the artifact's URI is none of the tracking server's.
            if self.artifact_uri.startswith(target.http_url + "/"):
                self._target = target

    @classmethod
    def resolve_uri(cls, artifact_uri: str, tracking_uri: str) -> Any:
        """The http address of an artifact."""
        if urlsplit(tracking_uri).scheme in PLUGIN_SCHEMES:
            tracking_uri = Target.parse(tracking_uri).http_url
        return super().resolve_uri(artifact_uri, tracking_uri)

    @property
    def _host_creds(self) -> Any:
        if self._target is None:
            return super()._host_creds
        return host_creds(self._target, self.artifact_uri)

    @property
    def _artifact_server_host_creds(self) -> Any:
        if self._target is None:
            return super()._artifact_server_host_creds
        return host_creds(self._target)

    def list_artifacts(self, path: str | None = None) -> Any:
        """What is directly below `path`."""
        if self._target is None:
            return super().list_artifacts(path)
        below = self.artifact_uri.split("/mlflow-artifacts/artifacts", 1)[1].lstrip("/")
        folder = posixpath.join(below, path) if path else below
        found = Http(self._target).json("GET", ROOT, query={"path": folder})
        files = []
        for item in found.get("files", []):
            name = posixpath.normpath(item["path"])
            if name.startswith(("..", "/")):
                continue
            full = posixpath.join(path, name) if path else name
            is_dir = bool(item.get("is_dir"))
            files.append(FileInfo(full, is_dir, None if is_dir else int(item.get("file_size", 0))))
        return sorted(files, key=lambda file: file.path)
