"""Batches on disk while the server is away, and in offline mode.

A spool is a folder:

    target.json                     the server it is for
    <session>/                      of one process, named so that earlier ones sort first
        lock                        held by that process for as long as it lives
        <number>-<id>.arrow         a batch: an Arrow IPC stream with table, run and id in its schema's metadata
        <number>-<id>.json          a REST operation
    rejected/<id>.arrow, .json      what the server refused, and why

A file appears under its name when it is whole and on stable storage, and goes when the server has it. Whoever finds a
session whose lock is free may deliver it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ._batch import Batch, new_id
from ._errors import RunlakeError, SpoolFull
from ._uri import Target

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

REJECTED = "rejected"
DEFAULT_MAX_BYTES = 8 << 30


def default_root() -> Path:
    """Where spools of servers are: `RUNLAKE_SPOOL_DIR`, else in the user's cache folder."""
    if named := os.environ.get("RUNLAKE_SPOOL_DIR"):
        return Path(named).expanduser().absolute()
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif caches := os.environ.get("XDG_CACHE_HOME"):
        base = Path(caches)
    else:
        base = Path.home() / ".cache"
    return base / "runlake" / "spool"


def folder_for(target: Target) -> Path:
    """The spool of a target: its offline folder, or the server's below the default."""
    return Path(target.offline) if target.offline else default_root() / target.folder


def max_bytes() -> int:
    """How much a spool may hold: `RUNLAKE_SPOOL_MAX_BYTES`."""
    return int(os.environ.get("RUNLAKE_SPOOL_MAX_BYTES", DEFAULT_MAX_BYTES))


def sync_folder(folder: Path) -> None:
    """Makes names in `folder` stay through a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """A file that is there wholly or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class Lock:
    """A file that one process holds, until it lets go or dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def take(self) -> bool:
        """Takes it if nobody has it."""
        file = open(self._path, "ab")  # noqa: SIM115
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Lets go. In a forked child this only closes the child's copy: the parent still has it."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True)
class Operation:
    """A REST request to be made when its turn comes."""

    id: str
    method: str
    path: str
    body: dict[str, Any]

    def to_json(self) -> bytes:
        """As a file of the spool holds it."""
        return json.dumps({"id": self.id, "method": self.method, "path": self.path, "body": self.body}).encode()

    @staticmethod
    def from_json(data: bytes) -> Operation:
        """From such a file."""
        told = json.loads(data)
        return Operation(told["id"], told["method"], told["path"], told["body"])


Item = Batch | Operation


def encode(batch: Batch, more: dict[str, str] | None = None) -> bytes:
    """A batch as an IPC stream that says what it is."""
    metadata = {
        "runlake.table": batch.table,
        "runlake.run_id": batch.run_id,
        "runlake.batch_id": batch.id,
        **(more or {}),
    }
    data = batch.data.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_batch(data)
    return bytes(sink.getvalue())


def decode(data: bytes) -> Batch:
    """The batch in such a stream."""
    with pa.ipc.open_stream(data) as reader:
        schema = reader.schema
        found = reader.read_all().combine_chunks()
    metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    batches = found.to_batches()
    rows = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema)
    return Batch(
        metadata["runlake.batch_id"],
        metadata["runlake.table"],
        metadata["runlake.run_id"],
        rows.replace_schema_metadata(None),
    )


class Session:
    """The files of one process, in the order of their numbers."""

    def __init__(self, folder: Path, lock: Lock) -> None:
        self.folder = folder
        self.lock = lock
        names = _names(folder)
        self.files: list[str] = names
        self._next = int(names[-1].split("-", 1)[0]) + 1 if names else 0

    def append(self, item: Item) -> int:
        """Writes an item behind the others; its size."""
        kind = "arrow" if isinstance(item, Batch) else "json"
        data = encode(item) if isinstance(item, Batch) else item.to_json()
        name = f"{self._next:010d}-{item.id}.{kind}"
        write_durably(self.folder / name, data)
        self._next += 1
        self.files.append(name)
        return len(data)

    def read(self, name: str) -> Item:
        """What is in one of the files."""
        data = (self.folder / name).read_bytes()
        return decode(data) if name.endswith(".arrow") else Operation.from_json(data)

    def remove(self, name: str) -> None:
        """Removes a file that the server has."""
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            pass
        self.files.remove(name)

    def drop_if_empty(self) -> None:
        """Removes the folder when nothing is left in it."""
        if self.files:
            return
        self.lock.release()
        try:
            (self.folder / "lock").unlink(missing_ok=True)
            self.folder.rmdir()
        except OSError:
            pass


def _names(folder: Path) -> list[str]:
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(name for name in entries if name[:1].isdigit() and name.endswith((".arrow", ".json")))


def _size(folder: Path) -> int:
    total = 0
    try:
        for entry in os.scandir(folder):
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in ("artifacts", "runs"):
                        total += _size(Path(entry.path))
                elif entry.name.endswith((".arrow", ".json")):
                    total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
    except FileNotFoundError:
        pass
    return total


class Spool:
    """A spool, from the view of one process that writes to it."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.folder = folder
        self.target = target
        self._own: Session | None = None
        self._guard = threading.RLock()
        self._room_checked = 0.0
        self._used = 0

    @property
    def own(self) -> Session:
        """This process's session, made when first asked for."""
        with self._guard:
            if self._own is None:
                self._prepare()
                name = f"{time.time_ns():020d}-{os.getpid()}-{new_id()[:8]}"
                # Under its name only once it is locked: nobody takes it for an orphan.
                making = self.folder / f".{name}"
                making.mkdir()
                lock = Lock(making / "lock")
                lock.take()
                folder = self.folder / name
                making.rename(folder)
                sync_folder(self.folder)
                self._own = Session(folder, lock)
            return self._own

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "target.json"
        if not file.exists():
            write_durably(file, json.dumps({"uri": self.target.uri}).encode())

    def _room_for(self, size: int) -> bool:
        with self._guard:
            now = time.monotonic()
            # Other processes write here, too.
            if now - self._room_checked > 5.0 or self._used + size > max_bytes():
                self._used, self._room_checked = _size(self.folder), now
            return self._used + size <= max_bytes()

    def append(self, item: Item) -> None:
        """Writes an item to disk, for good. `SpoolFull` when there is no room or no way."""
        with self._guard:
            if not self._room_for(item.data.nbytes if isinstance(item, Batch) else 256):
                raise SpoolFull(
                    f"the spool {self.folder} holds {self._used:,} bytes and may hold {max_bytes():,} "
                    "(RUNLAKE_SPOOL_MAX_BYTES)"
                )
            try:
                self._used += self.own.append(item)
            except OSError as error:
                raise SpoolFull(f"the spool {self.folder} cannot be written to: {error}") from error

    @property
    def pending(self) -> int:
        """How many files of this process the server does not have."""
        return len(self._own.files) if self._own is not None else 0

    def reject(self, batch: Batch, error: RunlakeError) -> Path | None:
        """Keeps what the server refused."""
        if not self._room_for(batch.data.nbytes):
            return None
        folder = self.folder / REJECTED
        more = {"runlake.error": str(error), "runlake.error_code": error.code or ""}
        try:
            self._prepare()
            folder.mkdir(exist_ok=True)
            path = folder / f"{batch.id}.arrow"
            write_durably(path, encode(batch, more))
            return path
        except OSError:
            return None

    def reject_operation(self, operation: Operation, error: RunlakeError) -> Path | None:
        """Keeps a refused REST request."""
        folder = self.folder / REJECTED
        try:
            self._prepare()
            folder.mkdir(exist_ok=True)
            path = folder / f"{operation.id}.json"
            told = json.loads(operation.to_json()) | {"error": str(error), "error_code": error.code}
            write_durably(path, json.dumps(told).encode())
            return path
        except OSError:
            return None

    def orphans(self) -> Generator[Session, None, None]:
        """Sessions of processes that are gone, earliest first, each taken for this process."""
        for folder in sessions(self.folder):
            if self._own is not None and folder == self._own.folder:
                continue
            lock = Lock(folder / "lock")
            try:
                taken = lock.take()
            except OSError:
                continue
            if not taken:
                continue
            session = Session(folder, lock)
            if session.files:
                try:
                    yield session
                finally:
                    lock.release()
            else:
                session.drop_if_empty()

    def after_fork(self) -> None:
        """In a child: the parent's files are the parent's."""
        self._guard = threading.RLock()
        if self._own is not None:
            self._own.lock.release()
            self._own = None

    def close(self) -> None:
        """Lets go of this process's session; what is left in it is for the next."""
        with self._guard:
            if self._own is not None:
                self._own.drop_if_empty()
                self._own.lock.release()
                self._own = None


def sessions(folder: Path) -> list[Path]:
    """The sessions of a spool, earliest first."""
    try:
        entries = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in entries if name[:1].isdigit() and (folder / name).is_dir()]
