"""SQL to Arrow, and tables of points to the server."""

from __future__ import annotations

import datetime as dt
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._batch import new_id
from ._errors import Refused, RunlakeError, Unavailable
from ._transport import (
    ARROW_STREAM,
    Acks,
    FlightDoor,
    Http,
    HttpDoor,
    PutStream,
    door_error,
    http_error,
    ipc_stream,
    timeout_seconds,
)
from ._uri import Target

if TYPE_CHECKING:
    import pandas
    import polars

BATCH_ROWS = 65_536
BATCH_BYTES = 32 << 20
# What may be on its way without an answer.
WINDOW_BATCHES = 64

_doors: dict[Target, FlightDoor] = {}
_guard = threading.Lock()
_forked = False


def _flight(target: Target) -> FlightDoor | None:
    """The connection for queries and bulk writes; none where HTTP is to be used."""
    from ._transport import grpc_was_used

    if target.offline:
        raise RunlakeError(f"{target.uri} is offline: there is no server to ask (run runlake-sync first)")
    if target.transport == "http" or (_forked and grpc_was_used()):
        return None
    with _guard:
        return _doors.setdefault(target, FlightDoor(target))


def connect(
    uri: str | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    token: str | None = None,
    as_of: str | dt.datetime | None = None,
    db_kwargs: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Any:
    """A DB-API connection by ADBC, for pandas, Polars and whatever else speaks it. `as_of` reads the lake as it was then;
    `db_kwargs` are options of the driver, the rest goes to `adbc_driver_flightsql.dbapi.connect`.

    Credentials come from the arguments, else from the address, else from `RUNLAKE_TOKEN`,
    `MLFLOW_TRACKING_USERNAME`/`_PASSWORD` or `MLFLOW_TRACKING_TOKEN`. Needs `pip install runlake[adbc]`.

        with runlake.connect("runlake://127.0.0.1:5000") as conn:
            pandas.read_sql("SELECT * FROM runs_wide('iris')", conn)
    """
    try:
        import adbc_driver_flightsql
        import adbc_driver_flightsql.dbapi
    except ImportError as error:
        raise RunlakeError(
            "runlake.connect needs the ADBC driver of Flight SQL: pip install 'runlake[adbc]'; runlake.sql does not"
        ) from error
    target = Target.parse(uri, username=username, password=password, token=token)
    if target.offline:
        raise RunlakeError(f"{target.uri} is offline: there is no server to connect to")
    from ._pipeline import pipeline_for

    # What this process has logged so far is there to be asked for.
    pipeline_for(target).settle()
    names = adbc_driver_flightsql.DatabaseOptions
    options: dict[str, str] = {}
    if authorization := target.credentials.header:
        options[names.AUTHORIZATION_HEADER.value] = authorization
    if target.tls:
        if target.insecure:
            options[names.TLS_SKIP_VERIFY.value] = "true"
        if certificates := target.root_certificates:
            with open(certificates, encoding="ascii") as file:
                options[names.TLS_ROOT_CERTS.value] = file.read()
    if as_of is not None:
        options[names.RPC_CALL_HEADER_PREFIX.value + "runlake-as-of"] = str(_plain(as_of))
    options.update(db_kwargs or {})
    # There are no transactions to switch on.
    kwargs.setdefault("autocommit", True)
    return adbc_driver_flightsql.dbapi.connect(target.flight_url, db_kwargs=options, **kwargs)


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            value = value.astimezone()
        return value.astimezone(dt.timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise RunlakeError(f"{value} cannot be a parameter: write it into the query, as 'NaN'::double")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item"):
        return _plain(value.item())
    raise RunlakeError(f"a {type(value).__name__} cannot be a parameter: use a number, text, boolean, time or None")


class Result:
    """Rows of a query, read once, in the form one likes."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader: pa.RecordBatchReader | None = reader
        self._table: pa.Table | None = None
        self.schema: pa.Schema = reader.schema

    def reader(self) -> pa.RecordBatchReader:
        """The rows as they come, without holding all of them; once."""
        if self._table is not None:
            return self._table.to_reader()
        reader, self._reader = self._reader, None
        if reader is None:
            raise RunlakeError("the rows of this result have been read already")
        return reader

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self.reader())

    def arrow(self) -> pa.Table:
        """All rows as a `pyarrow.Table`."""
        if self._table is None:
            self._table = self.reader().read_all()
        return self._table

    def pandas(self) -> pandas.DataFrame:
        """All rows as a pandas DataFrame."""
        frame: pandas.DataFrame = self.arrow().to_pandas()
        return frame

    def polars(self) -> polars.DataFrame:
        """All rows as a Polars DataFrame."""
        import polars

        frame = polars.from_arrow(self.arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)


def sql(
    query: str,
    params: Sequence[Any] | Mapping[str, Any] | None = None,
    as_of: str | dt.datetime | None = None,
    uri: str | None = None,
    *,
    timeout: float | None = None,
) -> Result:
    """Runs a query; `params` are bound, never pasted: a list to `$1`, `$2`, … or `?`, a dict to `$name`. `as_of` reads
    the lake as it was then.

    runlake.sql("SELECT key, max(value) FROM metrics WHERE run_id = $1 GROUP BY key", [run_id]).pandas()
    """
    target = Target.parse(uri)
    asked: dict[str, Any] = {"sql": query}
    if params is not None:
        if isinstance(params, Mapping):
            asked["params"] = {name: _plain(value) for name, value in params.items()}
        else:
            asked["params"] = [_plain(value) for value in params]
    if as_of is not None:
        asked["as_of"] = _plain(as_of)
    from ._pipeline import pipeline_for

    # What this process has logged is part of what it asks for.
    pipeline_for(target).settle()
    return _by_http(target, asked, timeout)


def _by_http(target: Target, asked: dict[str, Any], timeout: float | None) -> Result:
    if timeout is not None:
        asked = {**asked, "timeout_ms": int(timeout * 1000)}
    status, _, body = Http(target).request(
        "POST",
        "/api/runlake/sql",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json", "Accept": ARROW_STREAM},
        timeout=timeout,
    )
    if status != 200:
        raise http_error(status, body)
    return Result(pa.ipc.open_stream(body))


# --- Bulk writes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """What the server has made durable."""

    rows: int
    batches: int


def _of_pandas(frame: pandas.DataFrame) -> pa.Table:
    """A frame's columns. NaN stays NaN: a loss that is no number is a value, not the absence of one."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for place, name in enumerate(table.column_names):
        column = frame.iloc[:, place]
        if type(column.dtype).__module__.split(".")[0] == "numpy" and column.dtype.kind == "f":
            table = table.set_column(place, name, pa.array(column.to_numpy(), from_pandas=False))
    return table


def _reader_of(data: Any) -> pa.RecordBatchReader:
    """Anything tabular as a stream of batches."""
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.Table):
        return data.to_reader()
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    if isinstance(data, Mapping):
        return pa.table(dict(data)).to_reader()
    if type(data).__module__.split(".")[0] == "pandas":
        return _of_pandas(data).to_reader()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    if hasattr(data, "__arrow_c_array__"):
        batch = pa.record_batch(data)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    if hasattr(data, "to_arrow"):
        return _reader_of(data.to_arrow())
    if isinstance(data, Sequence) and all(isinstance(row, Mapping) for row in data):
        return pa.Table.from_pylist([dict(row) for row in data]).to_reader()
    raise TypeError(
        f"a {type(data).__name__} is no table: give a pyarrow Table, RecordBatch or reader, a DataFrame of pandas or "
        "Polars, anything with __arrow_c_stream__, or a dict of columns"
    )


def _cut(reader: pa.RecordBatchReader, rows: int) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        per_row = max(1, batch.nbytes // max(1, batch.num_rows))
        size = max(1, min(rows, BATCH_BYTES // per_row))
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size)


def _log(table: str, data: Any, uri: str | None, batch_rows: int, batch_id: str | None, timeout: float) -> Written:
    target = Target.parse(uri)
    reader = _reader_of(data)
    for name in ("run_id", "key", "value"):
        if name not in reader.schema.names:
            raise RunlakeError(f"{table} need a column {name!r}; there are {', '.join(reader.schema.names) or 'none'}")
    prefix = batch_id or new_id()
    batches = _cut(reader, batch_rows)
    door = _flight(target)
    if door is None:
        return _log_by_http(table, batches, target, prefix, timeout)
    return _Writer(door, table, reader.schema, prefix, timeout).write(batches)


def _log_by_http(table: str, batches: Iterator[pa.RecordBatch], target: Target, prefix: str, timeout: float) -> Written:
    http = HttpDoor(target).http
    rows = count = 0
    for number, batch in enumerate(batches):
        path = f"/api/runlake/ingest?table={table}&batch_id={prefix}-{number}"
        deadline = time.monotonic() + timeout
        wait = 0.1
        while True:
            error: RunlakeError
            try:
                status, _, body = http.request("POST", path, ipc_stream(batch), {"Content-Type": ARROW_STREAM})
                if status == 200:
                    break
                error = door_error(status, body)
            except Unavailable as away:
                error = away
            if not isinstance(error, Unavailable) or error.code == "UNAUTHENTICATED" or time.monotonic() > deadline:
                raise _with_progress(error, rows, count, prefix)
            time.sleep(wait)
            wait = min(wait * 2, 5.0)
        rows += batch.num_rows
        count += 1
    return Written(rows, count)


def _with_progress(error: RunlakeError, rows: int, batches: int, prefix: str) -> RunlakeError:
    done = f"{rows:,} rows in {batches:,} batches were durable before; to send the same again, batch_id={prefix!r}"
    return type(error)(f"{error} ({done})", error.code)


class _Writer:
    """A stream of batches that survives the connection: what was not acknowledged is sent again, under its id."""

    def __init__(self, door: FlightDoor, table: str, schema: pa.Schema, prefix: str, timeout: float) -> None:
        self.door = door
        self.table = table
        self.schema = schema
        self.prefix = prefix
        self.timeout = timeout
        self.rows = 0
        self.batches = 0
        self._pending: deque[tuple[str, pa.RecordBatch]] = deque()

    def write(self, batches: Iterator[pa.RecordBatch]) -> Written:
        source = enumerate(batches)
        deadline: float | None = None
        wait = 0.1
        while True:
            before = self.batches
            try:
                self._stream(source)
                return Written(self.rows, self.batches)
            except Unavailable as error:
                now = time.monotonic()
                if deadline is None or self.batches > before:
                    deadline, wait = now + self.timeout, 0.1
                if now > deadline or error.code in ("UNAUTHENTICATED", "UNIMPLEMENTED"):
                    raise _with_progress(error, self.rows, self.batches, self.prefix) from error
                self.door.close()
                time.sleep(wait)
                wait = min(wait * 2, 5.0)
            except Refused as error:
                raise _with_progress(error, self.rows, self.batches, self.prefix) from error

    def _stream(self, source: Iterator[tuple[int, pa.RecordBatch]]) -> None:
        acks = Acks()
        # A stream may be as long as the caller's data; what may not last is silence.
        stream = PutStream(self.door, self.table, self.schema, None, acks, "lz4")
        changed = threading.Condition()
        failure: list[RunlakeError] = []
        ended = False
        settled = 0

        def listen() -> None:
            nonlocal ended
            try:
                while stream.read():
                    with changed:
                        changed.notify_all()
            except RunlakeError as error:
                failure.append(error)
            except Exception as error:
                failure.append(Unavailable(str(error)))
            with changed:
                ended = True
                changed.notify_all()

        def wait_until(condition: Callable[[], bool]) -> None:
            last, quiet = acks.batches, time.monotonic() + timeout_seconds()
            with changed:
                while not ended and not condition():
                    changed.wait(1.0)
                    if acks.batches > last:
                        last, quiet = acks.batches, time.monotonic() + timeout_seconds()
                    elif time.monotonic() > quiet:
                        raise Unavailable(f"no answer for {timeout_seconds():g} s")

        def settle() -> None:
            """Forgets what was acknowledged."""
            nonlocal settled
            while settled < acks.batches and self._pending:
                _, batch = self._pending.popleft()
                self.rows += batch.num_rows
                self.batches += 1
                settled += 1

        listener = threading.Thread(target=listen, name="runlake-acks", daemon=True)
        listener.start()
        sent = 0
        try:
            for wire_id, batch in chain(list(self._pending), self._fresh(source)):
                room_from = sent - WINDOW_BATCHES
                wait_until(lambda room_from=room_from: acks.batches > room_from)  # type: ignore[misc]
                if failure:
                    raise failure[0]
                stream.send(batch, wire_id)
                sent += 1
                settle()
            stream.end()
            wait_until(lambda: False)
            listener.join()
            settle()
            if failure:
                raise failure[0]
            stream.close()
        except RunlakeError as error:
            # A write only says that the stream broke; the answers say why.
            listener.join(2.0)
            settle()
            raise (failure[0] if failure else error) from error
        finally:
            stream.abandon()
        if self._pending:
            raise Unavailable("the server ended the stream before everything was durable")

    def _fresh(self, source: Iterator[tuple[int, pa.RecordBatch]]) -> Iterator[tuple[str, pa.RecordBatch]]:
        for number, batch in source:
            entry = (f"{self.prefix}-{number}", batch)
            self._pending.append(entry)
            yield entry


def log_metrics(
    data: Any,
    uri: str | None = None,
    *,
    batch_rows: int = BATCH_ROWS,
    batch_id: str | None = None,
    timeout: float = 60.0,
) -> Written:
    """Writes points in bulk: columns `run_id`, `key`, `value`, and perhaps `step`, `timestamp`, `model_id`,
    `dataset_name`, `dataset_digest`, `experiment_id`.

    `data` is a pyarrow Table, RecordBatch or RecordBatchReader, a DataFrame of pandas or Polars, anything with
    `__arrow_c_stream__`, or a dict of columns. Returns when all of it is durable. A batch is taken wholly or not at
    all; after an error, what was durable before stays. Calling again with the `batch_id` that the error names, and
    the same data, writes what is missing and nothing twice. A server that goes away is waited for, `timeout` seconds.
    """
    return _log("metrics", data, uri, batch_rows, batch_id, timeout)


def log_params(
    data: Any,
    uri: str | None = None,
    *,
    batch_rows: int = BATCH_ROWS,
    batch_id: str | None = None,
    timeout: float = 60.0,
) -> Written:
    """Writes params in bulk: columns `run_id`, `key`, `value`. Otherwise as `log_metrics`."""
    return _log("params", data, uri, batch_rows, batch_id, timeout)


def log_tags(
    data: Any,
    uri: str | None = None,
    *,
    batch_rows: int = BATCH_ROWS,
    batch_id: str | None = None,
    timeout: float = 60.0,
) -> Written:
    """Writes tags in bulk: columns `run_id`, `key`, `value`. Otherwise as `log_metrics`."""
    return _log("tags", data, uri, batch_rows, batch_id, timeout)


def _after_fork() -> None:
    global _forked, _guard
    _forked = True
    _guard = threading.Lock()
    for door in _doors.values():
        door.forget()
    _doors.clear()


def _register() -> None:
    import os

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


_register()
