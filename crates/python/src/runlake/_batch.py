"""Rows of a run as Arrow record batches, each with the id by which the server knows it again."""

from __future__ import annotations

import time
import uuid
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

TABLES = ("metrics", "params", "tags")

POINTS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
    ]
)
POINTS_OF_MODELS = pa.schema(
    [
        *POINTS,
        pa.field("model_id", pa.string()),
        pa.field("dataset_name", pa.string()),
        pa.field("dataset_digest", pa.string()),
    ]
)
PAIRS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
    ]
)

# A row of `metrics` in a buffer: run, key, value, step, milliseconds; then perhaps model, dataset's name and digest.
Point = tuple[Any, ...]

MAX_BATCH_ROWS = 65_536
MAX_BATCH_BYTES = 16 << 20
MAX_ID_CHARS = 62

_UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError, AttributeError)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """An id that no other batch has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Batch:
    """Rows of one table and run, which the server takes wholly or not at all, and once however often they are sent."""

    id: str
    table: str
    run_id: str
    data: pa.RecordBatch

    @property
    def wire_id(self) -> str:
        """The id as both doors know it: the HTTP door numbers the batches of a request, and ours has one."""
        return f"{self.id}-0"

    def slice(self, suffix: str, offset: int, length: int) -> Batch:
        """A part under an id of its own, the same whenever this batch is cut so again."""
        return Batch(self.id + suffix, self.table, self.run_id, self.data.slice(offset, length))


class Pair:
    """A param or tag in a buffer."""

    __slots__ = ("key", "run_id", "table", "value")

    def __init__(self, table: str, run_id: str, key: str, value: str) -> None:
        self.table = table
        self.run_id = run_id
        self.key = key
        self.value = value


class BadRow(Exception):
    """A buffered row that is none: its run, and what is wrong with it."""

    def __init__(self, run_id: str, message: str) -> None:
        super().__init__(message)
        self.run_id = run_id


# Arrays are made from buffers: `pyarrow.array` imports pandas where it is installed, which takes half a second, and
# fails when the interpreter is about to end.


def _texts(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    offsets = array("i", accumulate(map(len, encoded), initial=0))
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def _texts_or_nulls(values: Sequence[str | None]) -> pa.Array:
    valid = bytearray((len(values) + 7) // 8)
    for number, value in enumerate(values):
        if value is not None:
            valid[number >> 3] |= 1 << (number & 7)
    texts = _texts(["" if value is None else value for value in values])
    _, offsets, data = texts.buffers()
    return pa.Array.from_buffers(pa.string(), len(values), [pa.py_buffer(bytes(valid)), offsets, data])


def _same_text(value: str, count: int) -> pa.Array:
    encoded = value.encode()
    offsets = array("i", range(0, len(encoded) * count + 1, len(encoded) or 1))
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(encoded * count)])


def _numbers(code: str, type: pa.DataType, values: Iterable[Any]) -> pa.Array:
    numbers = array(code, values)
    return pa.Array.from_buffers(type, len(numbers), [None, pa.py_buffer(numbers)])


def _points(rows: Sequence[Point]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    arrays = [
        _same_text(columns[0][0], len(rows)),
        _texts(columns[1]),
        _numbers("d", pa.float64(), columns[2]),
        _numbers("q", pa.int64(), columns[3]),
        _numbers("q", pa.int64(), columns[4]),
        *(_texts_or_nulls(column) for column in columns[5:]),
    ]
    schema = POINTS if len(columns) == 5 else POINTS_OF_MODELS
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _pairs(rows: Sequence[Pair]) -> pa.RecordBatch:
    arrays = [
        _same_text(rows[0].run_id, len(rows)),
        _texts([row.key for row in rows]),
        _texts([row.value for row in rows]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PAIRS)


def _cut_pairs(rows: list[Pair]) -> Iterable[list[Pair]]:
    part: list[Pair] = []
    size = 0
    for row in rows:
        # Four bytes a character at worst.
        cost = 64 + 4 * (len(row.key) + len(row.value))
        if part and (size + cost > MAX_BATCH_BYTES or len(part) == MAX_BATCH_ROWS):
            yield part
            part, size = [], 0
        part.append(row)
        size += cost
    if part:
        yield part


def build(rows: Iterable[Point | Pair]) -> tuple[list[Batch], list[BadRow]]:
    """The rows as batches: params first, then tags, then metrics, each run's rows in their order.

    Rows that do not fit the types (a step beyond 64 bits) come back apart and take nothing with them.
    """
    points: dict[tuple[str, int], list[Point]] = {}
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for row in rows:
        if type(row) is Pair:
            pairs.setdefault((row.table, row.run_id), []).append(row)
        else:
            points.setdefault((row[0], len(row)), []).append(row)  # type: ignore[index, arg-type]
    batches: list[Batch] = []
    bad: list[BadRow] = []
    for (table, run_id), found in sorted(pairs.items(), key=lambda item: item[0][0]):
        for part in _cut_pairs(found):
            try:
                batches.append(Batch(new_id(), table, run_id, _pairs(part)))
            except _UNFIT:
                for pair in part:
                    try:
                        batches.append(Batch(new_id(), table, run_id, _pairs([pair])))
                    except _UNFIT as error:
                        bad.append(BadRow(run_id, f"{table} row {pair.key!r}: {error}"))
    for (run_id, _), series in points.items():
        for start in range(0, len(series), MAX_BATCH_ROWS):
            chunk = series[start : start + MAX_BATCH_ROWS]
            try:
                batches.append(Batch(new_id(), "metrics", run_id, _points(chunk)))
            except _UNFIT:
                good: list[Point] = []
                for point in chunk:
                    try:
                        _points([point])
                        good.append(point)
                    except _UNFIT as error:
                        bad.append(BadRow(run_id, f"metrics row {point[1:5]!r}: {error}"))
                if good:
                    batches.append(Batch(new_id(), "metrics", run_id, _points(good)))
    return batches, bad
