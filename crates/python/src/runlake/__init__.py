"""runlake: SQL over all runs, bulk logging by Arrow Flight, and runs that log in microseconds.

    import runlake

    runlake.sql("SELECT key, max(value) FROM metrics GROUP BY key", uri="runlake://127.0.0.1:5000").polars()

    with runlake.start_run(experiment="iris") as run:
        run.log({"loss": 0.1}, step=1)

With `mlflow.set_tracking_uri("runlake://127.0.0.1:5000")`, MLflow's own calls travel the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import OfflineUnsupported, Refused, RunlakeError, SpoolFull, Unavailable, Undelivered

if TYPE_CHECKING:
    from ._pipeline import flush
    from ._query import Result, Written, connect, log_metrics, log_params, log_tags, sql
    from ._run import Run, active_run, start_run
    from ._sync import Synced, sync

__version__ = "0.1.0"

__all__ = [
    "OfflineUnsupported",
    "Refused",
    "Result",
    "Run",
    "RunlakeError",
    "SpoolFull",
    "Synced",
    "Unavailable",
    "Undelivered",
    "Written",
    "__version__",
    "active_run",
    "connect",
    "flush",
    "log_metrics",
    "log_params",
    "log_tags",
    "sql",
    "start_run",
    "sync",
]

# Where each name is. MLflow imports this package to find its plugin, in every process: that must cost nothing, so
# pyarrow waits until it is needed.
_HOMES = {
    "flush": "_pipeline",
    "Result": "_query",
    "Written": "_query",
    "connect": "_query",
    "log_metrics": "_query",
    "log_params": "_query",
    "log_tags": "_query",
    "sql": "_query",
    "Run": "_run",
    "active_run": "_run",
    "start_run": "_run",
    "Synced": "_sync",
    "sync": "_sync",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
