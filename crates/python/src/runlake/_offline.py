"""Experiments and runs that are made where no server is: files beside the spooled batches.

    experiments/<id>.json       what is known of an experiment
    runs/<id>.json              of a run: the answer to somebody who asks for it before it is uploaded
    artifacts/<run id>/…        files of runs

Ids are made here. A run's is recorded in its tag `runlake.offline_id` when it is uploaded, so that this happens once;
an experiment is the one of its name.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._batch import Batch, now_ms
from ._rest import API, OFFLINE_ID, user_name
from ._spool import Operation, decode, sessions, sync_folder, write_durably

DEFAULT_EXPERIMENT = "Default"


def experiment_id(name: str) -> str:
    """The same name has the same id on every machine."""
    if name == DEFAULT_EXPERIMENT:
        return "0"
    digits = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10**17
    return f"9{digits:017d}"


class Book:
    """What an offline folder knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()

    def _read(self, kind: str, name: str) -> dict[str, Any] | None:
        if not name or "/" in name or "\\" in name or name.startswith("."):
            return None
        try:
            found: dict[str, Any] = json.loads((self.folder / kind / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        return found

    def _write(self, kind: str, name: str, what: dict[str, Any]) -> None:
        folder = self.folder / kind
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self.folder)
        write_durably(folder / f"{name}.json", json.dumps(what).encode())

    # --- Experiments ----------------------------------------------------------------------------------------------

    def experiment(self, id: str) -> dict[str, Any] | None:
        """An experiment by its id."""
        found = self._read("experiments", id)
        if found is None and id == "0":
            return self._new_experiment(DEFAULT_EXPERIMENT, {}, None)
        return found

    def experiments(self) -> list[dict[str, Any]]:
        """All of them."""
        found = [self.experiment("0")]
        found += [self._read("experiments", path.stem) for path in sorted(self.folder.glob("experiments/*.json"))]
        return list({item["experiment_id"]: item for item in found if item}.values())

    def _new_experiment(self, name: str, tags: dict[str, str], location: str | None) -> dict[str, Any]:
        id = experiment_id(name)
        return {
            "experiment_id": id,
            "name": name,
            "artifact_location": location or (self.folder / "artifacts").as_uri(),
            "asked_location": location,
            "lifecycle_stage": "active",
            "creation_time": now_ms(),
            "last_update_time": now_ms(),
            "tags": tags,
        }

    def create_experiment(
        self, name: str, tags: dict[str, str] | None = None, location: str | None = None
    ) -> tuple[dict[str, Any], Operation | None]:
        """The experiment of that name, and what is to be done to have it on a server if it is new here."""
        with self._lock:
            found = self.experiment(experiment_id(name))
            if found is not None:
                return found, None
            made = self._new_experiment(name, tags or {}, location)
            self._write("experiments", made["experiment_id"], made)
        body = {"name": name, "experiment_id": made["experiment_id"]}
        return made, Operation(uuid.uuid4().hex, "POST", f"{API}/experiments/create", body)

    # --- Runs -----------------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> dict[str, Any] | None:
        """A run by its id: `info`, `params`, `tags`."""
        return self._read("runs", run_id)

    def create_run(
        self,
        experiment: str,
        name: str | None = None,
        tags: dict[str, str] | None = None,
        start_time: int | None = None,
        user_id: str | None = None,
    ) -> tuple[dict[str, Any], Operation]:
        """A new run, and what is to be done to have it on a server."""
        run_id = uuid.uuid4().hex
        tags = dict(tags or {})
        name = name or tags.get("mlflow.runName") or f"offline-{run_id[:8]}"
        tags["mlflow.runName"] = name
        tags[OFFLINE_ID] = run_id
        info = {
            "run_id": run_id,
            "run_uuid": run_id,
            "run_name": name,
            "experiment_id": experiment,
            "user_id": user_id or tags.get("mlflow.user") or user_name(),
            "status": "RUNNING",
            "start_time": now_ms() if start_time is None else start_time,
            "lifecycle_stage": "active",
            "artifact_uri": (self.folder / "artifacts" / run_id).as_uri(),
        }
        made = {"info": info, "params": {}, "tags": tags}
        self._write("runs", run_id, made)
        body = {
            "run_id": run_id,
            "experiment_id": experiment,
            "run_name": name,
            "user_id": info["user_id"],
            "start_time": info["start_time"],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        return made, Operation(uuid.uuid4().hex, "POST", f"{API}/runs/create", body)

    def change_run(
        self,
        run_id: str,
        *,
        info: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        without_tag: str | None = None,
    ) -> dict[str, Any] | None:
        """Notes what was set; the run as it is now."""
        with self._lock:
            run = self.run(run_id)
            if run is None:
                return None
            run["info"].update(info or {})
            run["params"].update(params or {})
            run["tags"].update(tags or {})
            if without_tag is not None:
                run["tags"].pop(without_tag, None)
            self._write("runs", run_id, run)
            return run

    # --- Points ---------------------------------------------------------------------------------------------------

    def batches(self, run_id: str, table: str = "metrics") -> Iterator[Batch]:
        """What of a run is on disk still, in order."""
        for session in sessions(self.folder):
            for path in sorted(session.glob("*.arrow")):
                batch = decode(path.read_bytes())
                if batch.run_id == run_id and batch.table == table:
                    yield batch

    def history(self, run_id: str) -> dict[str, list[dict[str, Any]]]:
        """The run's points by key, in the order they were logged."""
        found: dict[str, list[dict[str, Any]]] = {}
        for batch in self.batches(run_id):
            for row in batch.data.to_pylist():
                found.setdefault(row["key"], []).append(
                    {
                        "key": row["key"],
                        "value": row["value"],
                        "step": row.get("step") or 0,
                        "timestamp": row.get("timestamp") or 0,
                    }
                )
        return found
