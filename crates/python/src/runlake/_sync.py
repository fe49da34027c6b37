"""Uploading spools: what was logged offline, or while a server was away."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import mimetypes
import posixpath
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa

from . import _spool
from ._batch import Batch
from ._errors import RunlakeError, Unavailable
from ._offline import Book
from ._pipeline import Pipeline, Refusal
from ._rest import OFFLINE_ID, Tracking
from ._spool import Operation, Session, default_root, sessions, write_durably
from ._uri import Target

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
PARENT = "mlflow.parentRunId"


@dataclass
class Synced:
    """What an upload did."""

    files: int = 0
    artifacts: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    # Sessions that a living process holds.
    in_use: int = 0


class _Upload(Pipeline):
    """A pipeline that only empties a spool, and knows runs and experiments by their ids on the server."""

    def __init__(self, folder: Path, target: Target) -> None:
        super().__init__(target)
        self.spool = _spool.Spool(folder, target)
        self.book = Book(folder)
        self.tracking = Tracking(target)
        self.experiments: dict[str, str] = {}
        # Which run of which server stands for an offline run; a file, so that servers need not be asked each time.
        self.map_file = folder / "uploaded.json"
        try:
            self.map: dict[str, dict[str, Any]] = json.loads(self.map_file.read_bytes())
        except FileNotFoundError:
            self.map = {}

    @property
    def known(self) -> dict[str, Any]:
        return self.map.setdefault(self.target.http_url, {"runs": {}, "artifacts": {}})

    def save(self) -> None:
        write_durably(self.map_file, json.dumps(self.map).encode())

    def experiment(self, id: str) -> str:
        """The server's id of an experiment."""
        if id not in self.experiments:
            found = self.book.experiment(id)
            if found is None:
                return id
            self.experiments[id] = self.tracking.experiment(
                found["name"], found.get("tags"), found.get("asked_location")
            )
        return self.experiments[id]

    def run(self, id: str) -> str:
        """The server's id of a run, which is made there if it was made offline and is not there yet."""
        made = self.known["runs"].get(id)
        if made is not None:
            return str(made["run_id"])
        run = self.book.run(id)
        if run is None:
            return id
        info = run["info"]
        experiment = self.experiment(info["experiment_id"])
        there = self.tracking.run_made_offline(experiment, id)
        if there is None:
            tags = {**run["tags"], OFFLINE_ID: id}
            parent = tags.get(PARENT)
            if parent and parent != id:
                tags[PARENT] = self.run(parent)
            there = self.tracking.create_run(
                {
                    "run_id": id,
                    "experiment_id": experiment,
                    "user_id": info["user_id"],
                    "run_name": info["run_name"],
                    "start_time": info["start_time"],
                    "tags": [{"key": key, "value": value} for key, value in tags.items()],
                }
            )
        self.known["runs"][id] = {
            "run_id": there["info"]["run_id"],
            "artifact_uri": there["info"].get("artifact_uri"),
        }
        self.save()
        return str(there["info"]["run_id"])

    def _translate(self, batch: Batch) -> Batch:
        run_id = self.run(batch.run_id)
        if run_id == batch.run_id:
            return batch
        names = batch.data.schema.names
        columns = list(batch.data.columns)
        columns[names.index("run_id")] = pa.array([run_id] * batch.data.num_rows, pa.string())
        if batch.table == "tags":
            keys, values = (columns[names.index(name)].to_pylist() for name in ("key", "value"))
            if PARENT in keys:
                pairs = zip(keys, values, strict=True)
                values = [self.run(value) if key == PARENT else value for key, value in pairs]
                columns[names.index("value")] = pa.array(values, pa.string())
        return Batch(batch.id, batch.table, run_id, pa.RecordBatch.from_arrays(columns, schema=batch.data.schema))

    def _perform(self, operation: Operation) -> bool:
        try:
            body = dict(operation.body)
            if operation.path.endswith("/experiments/create"):
                self.experiment(body["experiment_id"])
                return True
            if operation.path.endswith("/runs/create"):
                self.run(body["run_id"])
                return True
            for key in ("run_id", "run_uuid"):
                if key in body:
                    body[key] = self.run(body[key])
            if "experiment_id" in body:
                body["experiment_id"] = self.experiment(body["experiment_id"])
        except Unavailable as error:
            self._unreached(error)
            return False
        return super()._perform(Operation(operation.id, operation.method, operation.path, body))

    def upload(self, session: Session) -> int:
        """Everything in a session; how many files it was."""
        files = len(session.files)
        backoff = 0.2
        while session.files:
            left = len(session.files)
            if not self._replay_part(session):
                if backoff > 2.0:
                    raise self._down or Unavailable(f"{self.target.http_url} cannot be reached")
                time.sleep(backoff)
                backoff *= 2
            elif len(session.files) < left:
                backoff = 0.2
        session.drop_if_empty()
        return files

    def artifacts(self) -> Iterator[tuple[str, Path, str]]:
        """Files of offline runs that have not been uploaded as they are now: run, file, name below the run."""
        root = self.book.folder / "artifacts"
        if not root.is_dir():
            return
        for folder in sorted(root.iterdir()):
            if not folder.is_dir() or self.book.run(folder.name) is None:
                continue
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    yield folder.name, path, path.relative_to(folder).as_posix()

    def upload_artifacts(self) -> int:
        count = 0
        for offline_id, path, name in self.artifacts():
            state = path.stat()
            key = f"{offline_id}/{name}"
            stamp = [state.st_size, state.st_mtime_ns]
            if self.known["artifacts"].get(key) == stamp:
                continue
            self.run(offline_id)
            self._upload_artifact(self.known["runs"][offline_id]["artifact_uri"], path, name)
            self.known["artifacts"][key] = stamp
            self.save()
            count += 1
        return count

    def _upload_artifact(self, root: str, path: Path, name: str) -> None:
        parts = urlsplit(root)
        if parts.scheme == "mlflow-artifacts":
            where = posixpath.join(ARTIFACTS, parts.path.lstrip("/"), name)
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            status, _, body = self.tracking.http.request("PUT", quote(where), path.read_bytes(), {"Content-Type": kind})
            if status != 200:
                from ._transport import http_error

                raise http_error(status, body)
            return
        try:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        except ImportError as error:
            raise RunlakeError(f"files that belong to {root} need mlflow to be uploaded: {error}") from error
        get_artifact_repository(root).log_artifact(str(path), posixpath.dirname(name) or None)


def sync(folder: str | Path, to: str | None = None) -> Synced:
    """Uploads a spool: an offline folder, or one that was filled while a server was away.

    `to` names the server; without it, the one that the folder was made for. What was uploaded goes from the folder;
    doing it again, or with a copy of the folder, does no harm. Raises `Unavailable` when the server cannot be reached:
    call again later.
    """
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise RunlakeError(f"{folder} is no folder")
    if to is None:
        try:
            to = json.loads((folder / "target.json").read_bytes())["uri"]
        except FileNotFoundError:
            raise RunlakeError(
                f"{folder} does not say which server it is for (it has no target.json): name one with --to"
            ) from None
    target = Target.parse(to)
    if target.offline:
        raise RunlakeError(f"{to} is offline itself: name a server")
    upload = _Upload(folder, target)
    done = Synced()
    with contextlib.closing(upload.spool.orphans()) as found:
        for session in found:
            done.files += upload.upload(session)
    done.in_use = len([path for path in sessions(folder) if _spool._names(path)])
    done.artifacts = upload.upload_artifacts()
    done.runs = {id: str(made["run_id"]) for id, made in upload.known["runs"].items()}
    for run_id in list(upload._refusals):
        done.refused += upload.refusals(run_id)
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """`runlake-sync DIR [--to URI]`, also `python -m runlake sync DIR`."""
    parser = argparse.ArgumentParser(
        prog="runlake-sync",
        description="Uploads what was logged offline (runlake://…?offline=DIR), or while a server was away.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        help="the offline folder, or a spool; without it, every spool of this user "
        "(RUNLAKE_SPOOL_DIR, or the cache folder)",
    )
    parser.add_argument("--to", metavar="URI", help="the server, such as runlake://127.0.0.1:5000")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if options.folder is not None:
        folders = [Path(options.folder)]
    else:
        root = default_root()
        folders = sorted(path.parent for path in root.glob("*/target.json"))
        if not folders:
            print(f"nothing is waiting below {root}")
    worst = 0
    for folder in folders:
        try:
            done = sync(folder, options.to)
        except RunlakeError as error:
            print(f"{folder}: {error}", file=sys.stderr)
            worst = max(worst, 1)
            continue
        print(f"{folder}: {done.files:,} batches and {done.artifacts:,} files uploaded")
        for offline_id, run_id in done.runs.items():
            if offline_id != run_id:
                print(f"  offline run {offline_id} is run {run_id}")
        if done.in_use:
            print(f"  {done.in_use} sessions belong to processes that still run: again when they have ended")
        if done.refused:
            rows = sum(refusal.rows for refusal in done.refused)
            sentences = dict.fromkeys(refusal.message for refusal in done.refused)
            print(
                f"  {rows:,} rows were refused, and are kept in {folder / 'rejected'}: {'; '.join(sentences)}",
                file=sys.stderr,
            )
            worst = 2
    return worst


if __name__ == "__main__":
    sys.exit(main())
