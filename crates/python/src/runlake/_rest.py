"""The few routes of the tracking API that are needed without MLflow."""

from __future__ import annotations

import getpass
from typing import Any

from ._batch import now_ms
from ._errors import Refused
from ._transport import Http
from ._uri import Target

API = "/api/2.0/mlflow"
OFFLINE_ID = "runlake.offline_id"
TERMINAL = ("FINISHED", "FAILED", "KILLED")


def user_name() -> str:
    """Who runs this process, if the system can tell."""
    try:
        return getpass.getuser()
    except Exception:
        return "unknown"


class Tracking:
    """Experiments and runs of a server."""

    def __init__(self, target: Target) -> None:
        self.http = Http(target)

    def find_experiment(self, name: str) -> str | None:
        """Id of the experiment of that name, if there is one."""
        try:
            found = self.http.json("GET", f"{API}/experiments/get-by-name", query={"experiment_name": name})
        except Refused as error:
            if error.code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return str(found["experiment"]["experiment_id"])

    def experiment(self, name: str, tags: dict[str, str] | None = None, artifact_location: str | None = None) -> str:
        """Id of the experiment of that name, made if need be."""
        found = self.find_experiment(name)
        if found is not None:
            return found
        body: dict[str, Any] = {"name": name}
        if tags:
            body["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        if artifact_location:
            body["artifact_location"] = artifact_location
        try:
            made = self.http.json("POST", f"{API}/experiments/create", body, idempotent=False)
        except Refused as error:
            # Somebody else was quicker.
            found = self.find_experiment(name) if error.code == "RESOURCE_ALREADY_EXISTS" else None
            if found is None:
                raise
            return found
        return str(made["experiment_id"])

    def create_run(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new run, as the server has it."""
        made: dict[str, Any] = self.http.json("POST", f"{API}/runs/create", body, idempotent=False)["run"]
        return made

    def get_run(self, run_id: str) -> dict[str, Any]:
        """A run, as the server has it."""
        found: dict[str, Any] = self.http.json("GET", f"{API}/runs/get", query={"run_id": run_id})["run"]
        return found

    def update_run(self, body: dict[str, Any]) -> None:
        """Sets a run's status, and when it ended."""
        self.http.json("POST", f"{API}/runs/update", body)

    def run_made_offline(self, experiment_id: str, offline_id: str) -> dict[str, Any] | None:
        """The run that was made from an offline one, if that was done before."""
        found = self.http.json(
            "POST",
            f"{API}/runs/search",
            {
                "experiment_ids": [experiment_id],
                "filter": f"tags.`{OFFLINE_ID}` = '{offline_id}'",
                "run_view_type": "ALL",
                "max_results": 1,
            },
        )
        runs = found.get("runs") or []
        return runs[0] if runs else None


def update_body(run_id: str, status: str, end_time: int | None = None) -> dict[str, Any]:
    """Body of `runs/update`."""
    body: dict[str, Any] = {"run_id": run_id, "status": status}
    if status in TERMINAL:
        body["end_time"] = now_ms() if end_time is None else end_time
    return body
