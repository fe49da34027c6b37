"""Entry points of MLflow's plugin groups.

MLflow loads these when it is imported, in every process and whatever its tracking URI, so they import nothing before
they are called.
"""

from __future__ import annotations

from typing import Any


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """The tracking store of a `runlake://` address."""
    from ._mlflow_store import make_tracking_store

    return make_tracking_store(store_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """The model registry of a `runlake://` address."""
    from ._mlflow_store import make_registry_store

    return make_registry_store(store_uri)


def artifact_repository(artifact_uri: str, *args: Any, **kwargs: Any) -> Any:
    """Artifacts behind `mlflow-artifacts:`, which MLflow's own class finds by http and https addresses only."""
    from ._mlflow_artifacts import Artifacts

    return Artifacts(artifact_uri, *args, **kwargs)
