"""The way of a point: a buffer in memory, a thread that sends it, a spool on disk when the server is away.

`add` is what training code pays for: an append to a deque. Everything else happens in the background thread, one per
server and process. Waiting for delivery is a marker that travels through the same buffer: when it comes out at the
other end, everything before it is durable, refused, or on disk.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ._batch import MAX_ID_CHARS, BadRow, Batch, Pair, Point, build
from ._errors import Refused, RunlakeError, SpoolFull, Unavailable, Undelivered
from ._spool import Operation, Session, Spool, folder_for
from ._transport import Door, FlightDoor, Http, HttpDoor, make_door
from ._uri import Credentials, Target

logger = logging.getLogger("runlake")

# Rows that are taken at once: more would keep other threads waiting for the interpreter. And after how many refusals
# of one run its batches are no longer searched for the bad row.
DRAIN_ROWS = 16_384
SEARCHED_REFUSALS = 100
KEPT_REFUSALS = 1000
# Before batches go to disk, they are tried again so often, after so long.
QUICK_RETRIES = (0.1, 0.4)
FIRST_BACKOFF = 0.25
LAST_BACKOFF = 10.0
SPOOL_LINGER = 1.0
FALLBACK_SECONDS = 600.0
REPLAY_FILES = 32

_NAMED_ROW = re.compile(r"\brow (\d+)")
_PLACE = re.compile(r"^(batch \d+, )?(row \d+: )?")
_WHOLE_RUN = re.compile(r"must be in the 'active' state|lifecycle_stage|deleted", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """How much is kept in memory, and how long things may take."""

    buffer_rows: int = 262_144
    linger: float = 0.1
    end_timeout: float = 60.0
    exit_timeout: float = 30.0

    @staticmethod
    def from_environment() -> Settings:
        """From `RUNLAKE_BUFFER_ROWS`, `RUNLAKE_LINGER_MS`, `RUNLAKE_END_TIMEOUT`, `RUNLAKE_EXIT_TIMEOUT`."""
        env = os.environ
        return Settings(
            buffer_rows=max(1, int(env.get("RUNLAKE_BUFFER_ROWS", Settings.buffer_rows))),
            linger=float(env.get("RUNLAKE_LINGER_MS", Settings.linger * 1000)) / 1000,
            end_timeout=float(env.get("RUNLAKE_END_TIMEOUT", Settings.end_timeout)),
            exit_timeout=float(env.get("RUNLAKE_EXIT_TIMEOUT", Settings.exit_timeout)),
        )


@dataclass(frozen=True)
class Refusal:
    """Rows that the server will not take."""

    run_id: str
    table: str
    rows: int
    message: str
    kept_in: str | None


class Marker:
    """Travels through the buffer behind what it waits for."""

    __slots__ = ("done", "safe")

    def __init__(self) -> None:
        # On disk, or better; and: the server has it, or refused it.
        self.safe = threading.Event()
        self.done = threading.Event()


class Pipeline:
    """What goes to one server from this process."""

    def __init__(self, target: Target, settings: Settings | None = None) -> None:
        self.target = target
        self.settings = settings or Settings.from_environment()
        self.spool = Spool(folder_for(target), target)
        self._refusals: dict[str, list[Refusal]] = {}
        self._door: Door | None = None
        self._http: Http | None = None
        self._forked = False
        if target.offline is None and target.transport == "flight":
            # Here, not in the thread: at the end of the interpreter modules cannot be imported.
            import pyarrow.flight  # noqa: F401
        self._max_rows = self.settings.buffer_rows
        self._reset()
        _everyone.add(self)

    def _reset(self) -> None:
        self._rows: deque[Any] = deque()
        # The thread sleeps and must be woken by whoever adds something (also when it does not run yet).
        self._asleep = True
        self._urgent = False
        self._busy = False
        self._wake = threading.Event()
        self._room = threading.Condition(threading.Lock())
        self._starting = threading.Lock()
        self._stepping = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waiting: list[Marker] = []
        self._drained: tuple[list[Point | Pair], Marker | Operation | None] | None = None
        self._hand: tuple[list[Batch], list[BadRow], Marker | Operation | None] | None = None
        self._leaving = False
        self._blocked: RunlakeError | None = None
        self._down: RunlakeError | None = None
        self._warned: set[tuple[str, str]] = set()
        self._next_try = 0.0
        self._backoff = FIRST_BACKOFF
        self._failures = 0
        self._by_http_until = 0.0
        self._orphans: Iterator[Session] | None = None
        self._adopted: Session | None = None
        self._look_for_orphans = self.target.offline is None

    # --- For callers ----------------------------------------------------------------------------------------------

    def add(self, row: Point | Pair | Operation) -> None:
        """Takes a row. Waits when the buffer is full."""
        rows = self._rows
        if len(rows) >= self._max_rows:
            self._wait_for_room(self._max_rows)
        rows.append(row)
        if self._asleep:
            self._rouse()

    def extend(self, rows: Iterable[Point | Pair]) -> None:
        """Takes rows that stay together."""
        rows = list(rows)
        if len(self._rows) + len(rows) > self._max_rows:
            self._wait_for_room(max(1, self._max_rows - len(rows)))
        self._rows.extend(rows)
        if self._asleep:
            self._rouse()

    @property
    def idle(self) -> bool:
        """Whether everything that was taken is delivered or refused."""
        # In this order: the thread is busy before it takes the first row.
        return not self._rows and not self._busy

    @property
    def down(self) -> RunlakeError | None:
        """Why the server cannot be reached, if so."""
        return self._blocked or self._down

    @property
    def pending(self) -> tuple[int, int]:
        """Rows in memory, and files on disk, that have not been delivered."""
        return len(self._rows), self.spool.pending

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything taken so far is delivered or refused; `Undelivered` when that takes too long."""
        if self.idle:
            return
        if timeout is None:
            timeout = self.settings.end_timeout
        marker = self._mark()
        if not self._await(marker, marker.done, timeout):
            raise Undelivered(self._undelivered(timeout, marker))

    def settle(self) -> None:
        """Before a read: waits for delivery, but not for a server that is away."""
        if self.idle:
            return
        marker = self._mark()
        if self._await(marker, marker.safe, 30.0) and self.down is None:
            self._await(marker, marker.done, 10.0)

    def refusals(self, run_id: str) -> list[Refusal]:
        """What was refused of a run, since this was last asked."""
        return self._refusals.pop(run_id, [])

    def finish_at_exit(self) -> None:
        """Waits for delivery, or, if the server is away, until everything is on disk; says what was lost if it was."""
        if self.idle:
            return
        timeout = self.settings.exit_timeout
        marker = self._mark()
        if not self._await(marker, marker.safe, timeout):
            self._leave_on_disk(timeout)
            return
        if not marker.done.is_set() and self.down is None:
            self._await(marker, marker.done, timeout)
        if not marker.done.is_set():
            logger.warning("%s", self._undelivered(None, marker))

    def _leave_on_disk(self, timeout: float) -> None:
        """At exit, when the thread waits for a server that does not answer: writes to disk what it has in hand, under
        the same ids, and what is in the buffer."""
        self._leaving = True
        hand = self._hand
        batches = list(hand[0]) if hand is not None else []
        rows: list[Any] = []
        while self._rows:
            taken, _ = self._drain()
            rows += taken
        batches += build(rows)[0]
        kept = 0
        try:
            for batch in batches:
                self.spool.append(batch)
                kept += 1
        except SpoolFull as error:
            lost = sum(batch.data.num_rows for batch in batches[kept:])
            logger.error("%d rows are lost: %s did not answer, and %s", lost, self.target.http_url, error)
        logger.warning(
            "%s did not answer within %g s. %d batches are safe in %s; they are delivered by the next process, or by "
            "`runlake-sync %s`", self.target.http_url, timeout, kept, self.spool.folder, self.spool.folder,
        )  # fmt: skip

    def close_if_idle(self) -> None:
        """At exit: leaves no empty folder behind."""
        if self.idle and not self._leaving:
            self.spool.close()

    # --- Waking and waiting ---------------------------------------------------------------------------------------

    def _rouse(self) -> None:
        if self._thread is None:
            self._start()
        self._wake.set()

    def _start(self) -> bool:
        """Starts the thread if it does not run; false when the interpreter takes no more threads."""
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return True
            _register_exit()
            thread = threading.Thread(target=self._loop, name="runlake-sender", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
            return True

    def _wait_for_room(self, below: int) -> None:
        self._urgent = True
        self._rouse()
        with self._room:
            while len(self._rows) >= below:
                if self._blocked is not None:
                    raise SpoolFull(
                        f"{len(self._rows):,} rows wait in memory, which is all that may "
                        f"(RUNLAKE_BUFFER_ROWS): {self._blocked}; {self.target.http_url}: {self._down}"
                    )
                self._urgent = True
                self._wake.set()
                self._room.wait(0.5)

    def _mark(self) -> Marker:
        marker = Marker()
        self._rows.append(marker)
        self._urgent = True
        self._next_try = 0.0
        self._rouse()
        return marker

    def _await(self, marker: Marker, event: threading.Event, timeout: float) -> bool:
        if self._thread is not None and self._thread.is_alive():
            return event.wait(timeout)
        # The interpreter is ending and starts no threads: this one does the work.
        deadline = time.monotonic() + timeout
        while not event.is_set():
            self._step()
            if event.is_set() or time.monotonic() > deadline:
                break
            time.sleep(min(0.1, max(0.0, self._next_try - time.monotonic())))
        return event.is_set()

    def _undelivered(self, timeout: float | None, marker: Marker) -> str:
        rows, files = self.pending
        waited = "" if timeout is None else f" within {timeout:g} s"
        reason = f": {self.down}" if self.down is not None else ""
        text = f"not everything reached {self.target.http_url}{waited}{reason}"
        if marker.safe.is_set():
            return (
                f"{text}. {files:,} batches are safe in {self.spool.folder}; they are delivered as soon as the server "
                f"is back, by this process or the next, or by `runlake-sync {self.spool.folder}`"
            )
        return f"{text}. {rows:,} rows are still in memory only"

    # --- The thread -----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            self._wait_for_work()
            try:
                self._step()
            except Exception:
                # Nothing may end this thread while there are rows.
                logger.exception("runlake's sender met an error of its own; it goes on")
                time.sleep(0.5)

    def _wait_for_work(self) -> None:
        backlog = (
            self.spool.pending
            or self._adopted is not None
            or self._look_for_orphans
            or self._hand is not None
            or self._drained is not None
        )
        if not self._rows:
            self._wake.clear()
            self._asleep = True
            if not self._rows and not self._urgent:
                wait = max(0.0, self._next_try - time.monotonic()) if backlog else None
                self._wake.wait(wait)
            self._asleep = False
        if self._rows and not self._urgent and len(self._rows) < min(DRAIN_ROWS, self._max_rows // 2 + 1):
            self._wake.clear()
            if not self._urgent:
                self._wake.wait(SPOOL_LINGER if self.spool.pending or self.target.offline else self.settings.linger)

    def _step(self) -> None:
        """Empties the buffer, and sends a part of what is on disk."""
        with self._stepping:
            self._busy = True
            self._urgent = False
            try:
                while not self._leaving and (self._rows or self._drained is not None or self._hand is not None):
                    # What was taken out of the buffer stays in hand until it is dealt with, whatever happens.
                    if self._hand is None:
                        if self._drained is None:
                            self._drained = self._drain()
                        rows, last = self._drained
                        self._hand = (*build(rows), last)
                        self._drained = None
                    batches, bad, last = self._hand
                    self._deliver(batches)
                    if isinstance(last, Operation):
                        self._store([last])
                    self._hand = None
                    for row in bad:
                        self._note_refusal(Refusal(row.run_id, "rows", 1, str(row), None))
                    if isinstance(last, Marker):
                        self._waiting.append(last)
                    self._resolve()
                if not self.target.offline and time.monotonic() >= self._next_try:
                    self._replay()
                    self._resolve()
            finally:
                unfinished = self._hand is not None or self._drained is not None
                self._busy = unfinished or bool(self.spool.pending and not self.target.offline)

    def _drain(self) -> tuple[list[Point | Pair], Marker | Operation | None]:
        """The next rows, up to a marker or operation."""
        taken: list[Point | Pair] = []
        last: Marker | Operation | None = None
        pop = self._rows.popleft
        try:
            while len(taken) < DRAIN_ROWS:
                row = pop()
                if type(row) is Marker or type(row) is Operation:
                    last = row
                    break
                taken.append(row)
        except IndexError:
            pass
        with self._room:
            self._room.notify_all()
        return taken, last

    def _resolve(self) -> None:
        """Tells those who wait what has become of what they wait for."""
        delivered = self.target.offline is not None or not self.spool.pending
        for marker in self._waiting:
            if delivered:
                marker.done.set()
            marker.safe.set()
        if delivered:
            self._waiting.clear()

    def _deliver(self, batches: list[Batch]) -> None:
        if not batches:
            return
        if self.target.offline or self.spool.pending:
            self._store(batches)
            return
        batches, error = self._send(batches)
        for wait in QUICK_RETRIES:
            if error is None:
                return
            time.sleep(wait)
            batches, error = self._send(batches)
        if error is not None:
            self._store(batches)
            self._postpone()

    def _send(self, batches: list[Batch]) -> tuple[list[Batch], Unavailable | None]:
        """Sends batches in order. What is left when the server cannot be reached comes back with the reason; what the
        server refuses is put aside."""
        work = list(batches)
        alone = 0
        while work:
            count = 1
            if alone > 0:
                alone -= 1
            else:
                while count < len(work) and work[count].table == work[0].table:
                    count += 1
            group = work[:count]
            outcome = self._open().put(group[0].table, group)
            del work[: outcome.done]
            if outcome.error is None or outcome.done >= count:
                self._reached()
                continue
            if not isinstance(outcome.error, Refused):
                error = (
                    outcome.error
                    if isinstance(outcome.error, Unavailable)
                    else Unavailable(str(outcome.error), outcome.error.code)
                )
                self._unreached(error)
                return work, error
            self._reached()
            if count - outcome.done > 1:
                # Which of them it was is found out one by one.
                alone = count - outcome.done
                continue
            refused = work.pop(0)
            work[0:0] = self._refuse(refused, outcome.error)
        return work, None

    def _refuse(self, batch: Batch, error: Refused) -> list[Batch]:
        """Puts the bad row of a refused batch aside; what is to be sent instead of the batch."""
        rows = batch.data.num_rows
        whole = (
            rows == 1
            or error.code in ("RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED")
            or len(batch.id) >= MAX_ID_CHARS
            or len(self._refusals.get(batch.run_id, ())) >= SEARCHED_REFUSALS
            or _WHOLE_RUN.search(str(error)) is not None
        )
        if not whole:
            named = _NAMED_ROW.search(str(error))
            bad = int(named.group(1)) if named else -1
            if 0 <= bad < rows:
                self._reject(batch.slice("x", bad, 1), error)
                parts = [batch.slice("l", 0, bad), batch.slice("r", bad + 1, rows - bad - 1)]
            else:
                half = rows // 2
                parts = [batch.slice("l", 0, half), batch.slice("r", half, rows - half)]
            return [part for part in parts if part.data.num_rows]
        self._reject(batch, error)
        return []

    def _reject(self, batch: Batch, error: Refused) -> None:
        kept = self.spool.reject(batch, error)
        # Numbers within a batch that the caller never saw.
        message = _PLACE.sub("", str(error))
        self._note_refusal(
            Refusal(batch.run_id, batch.table, batch.data.num_rows, message, None if kept is None else str(kept))
        )

    def _note_refusal(self, refusal: Refusal) -> None:
        known = self._refusals.setdefault(refusal.run_id, [])
        if len(known) < KEPT_REFUSALS:
            known.append(refusal)
        else:
            known[-1] = replace(known[-1], rows=known[-1].rows + refusal.rows)
        key = (refusal.run_id, refusal.message)
        if key not in self._warned and len(self._warned) < 1000:
            self._warned.add(key)
            where = f"; kept in {refusal.kept_in}" if refusal.kept_in else ""
            logger.error(
                "%s refused %d rows of %s of run %s: %s%s",
                self.target.http_url, refusal.rows, refusal.table, refusal.run_id, refusal.message, where,
            )  # fmt: skip

    # --- The server comes and goes --------------------------------------------------------------------------------

    def _open(self) -> Door:
        if self._by_http_until and time.monotonic() > self._by_http_until:
            self._by_http_until = 0.0
            self._door = None
        if self._door is None:
            # Some proxies let HTTP through and not gRPC; batches have the same ids at both doors.
            by_http = self._failures > 2 and self._failures % 2 == 1
            self._by_http_until = time.monotonic() + FALLBACK_SECONDS if by_http else 0.0
            self._door = make_door(self.target, self._forked, by_http)
        return self._door

    def _reached(self) -> None:
        if self._down is not None:
            how = " by HTTP" if isinstance(self._door, HttpDoor) and self.target.transport == "flight" else ""
            logger.warning("%s is reached again%s", self.target.http_url, how)
            self._look_for_orphans = True
        self._failures = 0
        self._down = None
        self._blocked = None
        self._backoff = FIRST_BACKOFF

    def _unreached(self, error: Unavailable) -> None:
        if self._down is None or (error.code == "UNAUTHENTICATED" and self._down.code != error.code):
            logger.warning(
                "%s cannot be reached, points go to %s until it can: %s",
                self.target.http_url, self.spool.folder, error,
            )  # fmt: skip
        self._down = error
        self._failures += 1
        door, self._door = self._door, None
        if door is not None:
            door.close()

    def _postpone(self) -> None:
        # Somebody who waits is not kept waiting by the pauses that grow while nobody does.
        pause = min(self._backoff, 0.5) if self._waiting else self._backoff
        self._next_try = time.monotonic() + pause
        self._backoff = min(self._backoff * 2, LAST_BACKOFF)

    def _store(self, items: list[Any]) -> None:
        """Writes to disk; where there is no room, waits until there is, or the server is back."""
        waiting = list(items)
        while waiting:
            try:
                self.spool.append(waiting[0])
                waiting.pop(0)
                self._blocked = None
                continue
            except SpoolFull as error:
                if self._blocked is None:
                    logger.error("%s; new points wait in memory, and then calls fail", error)
                self._blocked = error
                with self._room:
                    self._room.notify_all()
            time.sleep(0.25)
            if self.target.offline:
                continue
            if self.spool.pending:
                self._replay()
            elif isinstance(waiting[0], Operation):
                if self._perform(waiting[0]):
                    waiting.pop(0)
            else:
                count = 1
                while count < len(waiting) and isinstance(waiting[count], Batch):
                    count += 1
                left, _ = self._send(waiting[:count])
                waiting[:count] = left

    def _replay(self) -> None:
        """Delivers a part of what is on disk, this process's first."""
        if self.spool.pending:
            session = self.spool.own
            while session.files and self._replay_part(session):
                if self._rows:
                    return
            return
        if self._look_for_orphans:
            self._look_for_orphans = False
            self._orphans = self.spool.orphans()
        if self._orphans is not None:
            while not self._rows:
                if self._adopted is None:
                    self._adopted = next(self._orphans, None)
                    if self._adopted is None:
                        self._orphans = None
                        return
                if not self._adopted.files:
                    self._adopted.drop_if_empty()
                    self._adopted = None
                elif not self._replay_part(self._adopted):
                    return

    def _replay_part(self, session: Session) -> bool:
        """Delivers the next files of a session; false when the server cannot be reached."""
        names: list[str] = []
        batches: list[Batch] = []
        size = 0
        for name in session.files[:REPLAY_FILES]:
            try:
                item = session.read(name)
            except Exception as error:
                if names:
                    break
                logger.error("%s cannot be read, and is set aside: %s", session.folder / name, error)
                try:
                    folder = self.spool.folder / "rejected"
                    folder.mkdir(exist_ok=True)
                    os.replace(session.folder / name, folder / name)
                except OSError:
                    pass
                session.remove(name)
                return True
            if isinstance(item, Operation):
                if names:
                    break
                if not self._perform(item):
                    self._postpone()
                    return False
                session.remove(name)
                return True
            if names and (item.table != batches[0].table or size > 32 << 20):
                break
            names.append(name)
            batches.append(item)
            size += item.data.nbytes
        batches = [self._translate(batch) for batch in batches]
        outcome = self._open().put(batches[0].table, batches)
        for name in names[: outcome.done]:
            session.remove(name)
        if outcome.error is None or outcome.done >= len(names):
            self._reached()
            return True
        if isinstance(outcome.error, Refused):
            # The first that is left may be the one; alone it is looked into.
            _, away = self._send([batches[outcome.done]])
            if away is None:
                session.remove(names[outcome.done])
                return True
        elif isinstance(outcome.error, Unavailable):
            self._unreached(outcome.error)
        self._postpone()
        return False

    def _translate(self, batch: Batch) -> Batch:
        """A batch of the spool as the server is to get it."""
        return batch

    def _perform(self, operation: Operation) -> bool:
        """Makes a REST request of the spool; false when the server cannot be reached."""
        if self._http is None:
            self._http = Http(self.target)
        try:
            self._http.json(operation.method, operation.path, operation.body)
        except Unavailable as error:
            self._unreached(error)
            return False
        except RunlakeError as error:
            kept = self.spool.reject_operation(operation, error)
            run_id = str(operation.body.get("run_id", ""))
            self._note_refusal(Refusal(run_id, operation.path, 1, str(error), str(kept) if kept else None))
        self._reached()
        return True

    # --- Forks ----------------------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """In the child: what the parent has taken, the parent delivers."""
        if isinstance(self._door, FlightDoor):
            self._door.forget()
        self._door = None
        self._http = None
        self._forked = True
        self._refusals = {}
        self.spool.after_fork()
        self._reset()
        # Other processes' files are the parent's business.
        self._look_for_orphans = False


# For forks: also those that no address leads to.
_everyone: weakref.WeakSet[Pipeline] = weakref.WeakSet()
_pipelines: dict[tuple[str, str | None, str, str | None, Credentials], Pipeline] = {}
_making = threading.Lock()
_exit_registered: int | None = None


def pipeline_for(target: Target) -> Pipeline:
    """This process's pipeline to a target."""
    key = (target.http_url, target.flight, target.transport, target.offline, target.given)
    found = _pipelines.get(key)
    if found is None:
        with _making:
            found = _pipelines.get(key)
            if found is None:
                found = _pipelines[key] = Pipeline(target)
    return found


def flush(timeout: float | None = None) -> None:
    """Waits until everything that was logged so far, to any server, is durable there.

    Raises `Undelivered` when a server cannot be reached within `timeout` seconds (`RUNLAKE_END_TIMEOUT`, 60, unless
    said otherwise); what it did not get is on disk then, and delivered later.
    """
    for pipeline in list(_pipelines.values()):
        pipeline.flush(timeout)


def _register_exit() -> None:
    """Once in each process, and in a way that children of multiprocessing, which skip `atexit`, have too."""
    global _exit_registered
    if _exit_registered == os.getpid():
        return
    inherited = _exit_registered is not None
    _exit_registered = os.getpid()
    if not inherited:
        atexit.register(_at_exit)
    if "multiprocessing.util" in sys.modules:
        from multiprocessing import process, util

        if process.parent_process() is not None:
            util.Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    for pipeline in list(_pipelines.values()):
        try:
            pipeline.finish_at_exit()
            pipeline.close_if_idle()
        except Exception:
            logger.exception("points of %s", pipeline.target.http_url)


_held: list[threading.Lock] = []


def _before_fork() -> None:
    # A child copies memory as it is: not while a thread is inside of Arrow, if that can be had soon.
    for pipeline in list(_everyone):
        lock = pipeline._stepping
        if lock.acquire(timeout=0.5):
            _held.append(lock)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    global _making
    _making = threading.Lock()
    _held.clear()
    for pipeline in list(_everyone):
        pipeline._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
