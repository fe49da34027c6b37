"""Rows in bulk: Arrow Flight's DoPut, ADBC's bulk ingest and the HTTP door, read back by the stock client."""

import contextlib
import datetime
import json
import math
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

pa = pytest.importorskip("pyarrow")
fl = pytest.importorskip("pyarrow.flight")

import numpy as np

from support.api import Api, pairs
from support.lake import read

pytestmark = pytest.mark.runlake("bulk rows are runlake's own")

STREAM = "application/vnd.apache.arrow.stream"


def connect(server, **options) -> fl.FlightClient:
    return fl.FlightClient(f"grpc://127.0.0.1:{server.port}", **options)


@pytest.fixture
def door(server):
    with connect(server) as client:
        yield client


def put(door, table: str, data, names=(), options=None, rows: int = 1 << 30) -> list[dict]:
    """Sends a table; answers what was told on the way, in order."""
    descriptor = fl.FlightDescriptor.for_path(table)
    writer, reader = door.do_put(descriptor, data.schema, options=options)
    told = []
    with writer:
        for number, batch in enumerate(data.to_batches(max_chunksize=rows)):
            if number < len(names):
                writer.write_with_metadata(batch, json.dumps({"batch_id": names[number]}).encode())
            else:
                writer.write_batch(batch)
        writer.done_writing()
        while (answer := reader.read()) is not None:
            told.append(json.loads(answer.to_pybytes()))
    return told


def refusal(door, table: str, data, **more) -> str:
    with pytest.raises((fl.FlightError, pa.ArrowException, KeyError, NotImplementedError)) as refused:
        put(door, table, data, **more)
    return str(refused.value)


def points(run: str, values, key: str = "m", first: int = 0, **columns) -> pa.Table:
    count = len(values)
    data = {"run_id": [run] * count, "key": [key] * count, "value": values, "step": list(range(first, first + count))}
    return pa.table(data | columns)


def history(api, run: str, key: str = "m") -> list[tuple]:
    return [(point["step"], point["value"]) for point in api.history(run, key)]


def http_put(api, table: str, data, codec=None, query: str = "", cut=None):
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, data.schema, options=options) as writer:
        writer.write_table(data)
    body = sink.getvalue().to_pybytes()
    return api.request("POST", f"/api/runlake/ingest?table={table}{query}", body[:cut], {"Content-Type": STREAM})


# What is taken.


def test_points_come_back_through_the_stock_client(api, door, client, run):
    values = [0.5, -1.25, math.nan, math.inf, -math.inf, 5e-324]
    times = pa.array([1_000 + at for at in range(6)], pa.timestamp("ms", tz="UTC"))
    table = points(run, values, timestamp=times)
    assert put(door, "metrics", table)[-1] == {"batches": 1, "rows": 6}
    found = client.get_metric_history(run, "m")
    assert [point.step for point in found] == list(range(6))
    assert [point.timestamp for point in found] == [1_000 + at for at in range(6)]
    assert [point.value for point in found][:2] == values[:2]
    assert math.isnan(found[2].value)
    assert client.get_run(run).data.metrics["m"] == values[5]


def test_params_and_tags_come_back_too(door, client, new_run):
    runs = [new_run(), new_run()]
    params = pa.table({"run_id": runs * 2, "key": ["a", "a", "b", "b"], "value": ["1", "2", "", "é"]})
    tags = pa.table({"run_id": runs, "key": ["mlflow.runName", "t"], "value": ["renamed", "x"]})
    assert put(door, "params", params)[-1]["rows"] == 4
    assert put(door, "params", params)[-1]["rows"] == 4, "the same again is no change"
    assert put(door, "tags", tags)[-1]["rows"] == 2
    first, second = (client.get_run(run) for run in runs)
    assert (first.data.params, second.data.params) == ({"a": "1", "b": ""}, {"a": "2", "b": "é"})
    assert (first.info.run_name, second.data.tags["t"]) == ("renamed", "x")


NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
TEXTS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int16(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
    pa.dictionary(pa.uint32(), pa.string()),
    pa.dictionary(pa.int64(), pa.string()),
]


@pytest.mark.parametrize("kind", [*NUMBERS, pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_values_of_every_type(api, door, run, kind):
    table = points(run, pa.array([1, 2, 3], pa.float64()).cast(kind))
    put(door, "metrics", table)
    assert history(api, run) == [(0, 1.0), (1, 2.0), (2, 3.0)]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_steps_and_milliseconds_of_every_type(api, door, run, kind):
    table = points(run, [1.0, 2.0])
    table = table.set_column(3, "step", pa.array([7, None], kind))
    table = table.append_column("timestamp", pa.array([100, 101], kind))
    put(door, "metrics", table)
    found = {(point["step"], point["timestamp"], point["value"]) for point in api.history(run, "m")}
    assert found == {(7, 100, 1.0), (0, 101, 2.0)}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_timestamps_of_every_unit(api, door, run, unit, zone):
    when = datetime.datetime(2024, 2, 29, 12, 0, 1, tzinfo=datetime.UTC)
    times = pa.array([when, None], pa.timestamp("s", tz="UTC")).cast(pa.timestamp(unit, tz=zone or "UTC"))
    if zone is None:
        times = times.cast(pa.int64()).cast(pa.timestamp(unit))
    before = time.time() * 1000
    put(door, "metrics", points(run, [1.0, 2.0], timestamp=times))
    first, second = api.history(run, "m")
    assert first["timestamp"] == when.timestamp() * 1000
    assert before - 1 <= second["timestamp"] <= time.time() * 1000, "no time is now"


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_text_of_every_kind(api, door, new_run, kind):
    runs = [new_run(), new_run()]
    # Longer than what a view keeps within itself.
    keys = ["short", "a key that is longer than twelve bytes"]
    plain = {"run_id": runs * 4, "key": keys * 2 + keys[::-1] * 2}

    def typed(values):
        return pa.array(values).cast(kind)

    table = pa.table({name: typed(values) for name, values in plain.items()} | {"value": list(range(8))})
    table = table.append_column("step", pa.array(range(8)))
    put(door, "metrics", table, rows=3)
    for run in runs:
        for key in keys:
            rows = zip(plain["run_id"], plain["key"], range(8), strict=True)
            expected = [(step, float(step)) for r, k, step in rows if (r, k) == (run, key)]
            assert history(api, run, key) == expected
    pair = pa.table({"run_id": typed(runs), "key": typed(["k", "k"]), "value": typed(["1", "2"])})
    put(door, "params", pair)
    assert [pairs(api.run(run)["data"]["params"]) for run in runs] == [{"k": "1"}, {"k": "2"}]


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_compressed_batches(api, door, run, codec):
    options = fl.FlightCallOptions(write_options=pa.ipc.IpcWriteOptions(compression=codec))
    values = [float(at % 10) for at in range(5000)]
    put(door, "metrics", points(run, values), options=options)
    assert history(api, run) == list(enumerate(values))
    assert http_put(api, "metrics", points(run, values, key="h"), codec=codec).json == {"batches": 1, "rows": 5000}
    assert history(api, run, "h") == list(enumerate(values))


def test_points_with_models_and_datasets(api, door, client, run, experiment):
    model = client.create_logged_model(experiment_id=experiment).model_id
    table = points(
        run, [1.0, 2.0], model_id=[model, None], dataset_name=["d", "d"], dataset_digest=["x", None],
        experiment_id=[experiment, None],
    )
    put(door, "metrics", table)
    metrics = client.get_logged_model(model).metrics
    assert [(point.key, point.value, point.dataset_name) for point in metrics] == [("m", 1.0, "d")]
    unknown = points(run, [1.0], model_id=["m-" + "0" * 32])
    assert "batch 0, row 0: Logged model with ID" in refusal(door, "metrics", unknown)


def test_slices_and_dictionaries_that_change(api, door, new_run):
    runs = [new_run() for _ in range(3)]
    schema = pa.schema([("run_id", pa.dictionary(pa.int32(), pa.string())), ("key", pa.string()), ("value", pa.int64())])
    writer, reader = door.do_put(fl.FlightDescriptor.for_path("metrics"), schema)
    with writer:
        for at, run in enumerate(runs):
            ids = pa.array([run, runs[0], "left out"]).dictionary_encode()
            batch = pa.record_batch([ids, pa.array(["k"] * 3), pa.array([at, at + 10, 0])], schema)
            writer.write_batch(batch.slice(0, 2))
        writer.done_writing()
        while reader.read() is not None:
            pass
    assert [len(api.history(run, "k")) for run in runs] == [4, 1, 1]


def test_a_long_stream_is_told_as_it_goes(api, door, new_run):
    runs = [new_run() for _ in range(20)]
    writer, reader = door.do_put(fl.FlightDescriptor.for_path("metrics"), points(runs[0], [1.0]).schema)
    told = []

    def listen():
        while (answer := reader.read()) is not None:
            told.append(json.loads(answer.to_pybytes()))

    listener = threading.Thread(target=listen)
    listener.start()
    with writer:
        for turn in range(100):
            writer.write_table(points(runs[turn % 20], [0.5] * 1000, first=turn * 1000))
        deadline = time.monotonic() + 20
        while not told or told[-1]["batches"] < 100:
            assert time.monotonic() < deadline, "told without the stream's end"
            time.sleep(0.01)
        writer.done_writing()
        listener.join()
    assert told == sorted(told, key=lambda answer: answer["batches"])
    assert all(answer["rows"] == 1000 * answer["batches"] for answer in told)
    assert told[-1] == {"batches": 100, "rows": 100_000}
    assert sum(len(api.history(run, "m")) for run in runs) == 100_000


# What is refused.


def test_what_does_not_fit_is_named(api, door, new_run):
    run, gone = new_run(), new_run()
    api.post("runs/delete", run_id=gone)
    good = points(run, [1.0, 2.0])

    def with_column(name, values):
        table = good.drop_columns([name]) if name in good.column_names else good
        return table.append_column(name, values)

    for table, expected in [
        (with_column("stap", [[1, 2]]), "metrics have no column 'stap'; they have run_id, key, value, step"),
        (good.drop_columns(["key"]), "metrics need the column 'key'"),
        (with_column("value", [["1", "2"]]), "the column 'value' is of type Utf8; it takes an integer or floating"),
        (with_column("value", pa.chunked_array([[1, 2]]).cast(pa.decimal128(30, 2))), "the column 'value' is of type Decimal"),
        (with_column("step", [[1.5, 2.5]]), "the column 'step' is of type Float64"),
        (with_column("timestamp", [["now", "then"]]), "the column 'timestamp' is of type Utf8"),
        (with_column("key", [[["a"], ["b"]]]), "nested type"),
        (with_column("value", [[1.0, None]]), "batch 0, row 1: the value is null; a value that is not a number is NaN"),
        (with_column("run_id", [[run, None]]), "batch 0, row 1: the run_id is null"),
        (with_column("run_id", [[run, "nope"]]), "batch 0, row 1: Run with id=nope not found"),
        (with_column("run_id", [[run, gone]]), f"batch 0, row 1: The run {gone} must be in the 'active' state"),
        (with_column("run_id", [[run, "a/b"]]), "batch 0, row 1: Invalid value \"a/b\" for parameter 'run_id'"),
        (with_column("key", [["a", "x" * 251]]), "batch 0, row 1: 'Metric name' exceeds the maximum length of 250"),
        (with_column("key", [["a", "b\nc"]]), "batch 0, row 1: Invalid value"),
        (with_column("timestamp", [[0, -1]]), "batch 0, row 1: Invalid value -1 for parameter 'timestamp'"),
        (with_column("experiment_id", [["999", None]]), f"batch 0, row 0: the run {run} is in experiment"),
    ]:
        assert expected in refusal(door, "metrics", table), expected
        answer = http_put(api, "metrics", table)
        assert (answer.status in (400, 404), expected in answer.message) == (True, True), answer.text
    assert api.history(run, "m") == []
    for table in ("experiments", "latest_metrics", "users", ""):
        assert "takes rows in bulk" in refusal(door, table, good)
    assert "has 2 parts" in str(pytest.raises(pa.ArrowException, door_put_path, door, ["metrics", "x"], good).value)


def door_put_path(door, path, table):
    writer, _ = door.do_put(fl.FlightDescriptor.for_path(*path), table.schema)
    with writer:
        writer.write_table(table)


def test_a_param_stays_as_it_is(api, door, run):
    def params(*values):
        return pa.table({"run_id": [run] * len(values), "key": ["a", "b", "c"][: len(values)], "value": values})

    put(door, "params", params("1", "2"))
    assert "batch 0, row 1: Changing param values is not allowed" in refusal(door, "params", params("1", "x", "3"))
    assert pairs(api.run(run)["data"]["params"]) == {"a": "1", "b": "2"}


def test_batches_before_a_refused_one_stay(api, door, run):
    table = points(run, [1.0, 2.0, 3.0, None, 5.0, 6.0])
    message = refusal(door, "metrics", table, rows=2)
    assert "batch 1, row 1: the value is null" in message
    assert "(1 batches with 2 rows of this stream are durable.)" in message
    assert history(api, run) == [(0, 1.0), (1, 2.0)]
    answer = http_put(api, "metrics", points(run, [1.0], key="bad\nkey"))
    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")


def test_metadata_and_commands_that_make_no_sense(door, run):
    table = points(run, [1.0])
    for metadata, expected in [
        (b"not json", "The metadata of a batch is JSON"),
        (b'{"batch": "x"}', "unknown field"),
        (b'{"batch_id": "a b"}', "is not 1 to 64 letters"),
        (b'{"batch_id": ""}', "is not 1 to 64 letters"),
    ]:
        writer, _ = door.do_put(fl.FlightDescriptor.for_path("metrics"), table.schema)
        with pytest.raises((pa.ArrowException, fl.FlightError), match=expected), writer:
            writer.write_with_metadata(table.to_batches()[0], metadata)
    with pytest.raises((pa.ArrowException, fl.FlightError)):
        writer, _ = door.do_put(fl.FlightDescriptor.for_command(b"\xff\xfe"), table.schema)
        with writer:
            writer.write_table(table)


def test_a_message_that_is_too_long_is_refused_alone(api, door, run):
    # 70 MB in one message.
    count = 2_200_000
    table = points(run, pa.array(np.zeros(count)))
    assert refusal(door, "metrics", table)
    assert put(door, "metrics", points(run, [1.0]))[-1]["rows"] == 1


# Names of batches.


def test_a_named_batch_is_written_once(api, door, run, name):
    for turn in range(3):
        told = put(door, "metrics", points(run, [float(turn)]), names=[f"{name}-a"])
        assert told[-1] == {"batches": 1, "rows": 1}
    assert history(api, run) == [(0, 0.0)]
    assert "row 0" in refusal(door, "metrics", points("none", [1.0]), names=[f"{name}-b"])
    put(door, "metrics", points(run, [7.0]), names=[f"{name}-b"])
    assert history(api, run) == [(0, 0.0), (0, 7.0)]
    for turn in range(2):
        answer = http_put(api, "metrics", points(run, [1.0 + turn], key="h"), query=f"&batch_id={name}")
        assert answer.json == {"batches": 1, "rows": 1}
    assert history(api, run, "h") == [(0, 1.0)]


def test_names_survive_death(own_server):
    api = Api(own_server.uri)
    run = api.create_run(api.create_experiment("e"))
    with connect(own_server) as door:
        put(door, "metrics", points(run, [1.0, 2.0]), names=["one", "two"], rows=1)
    for turn in range(3):
        if turn == 1:
            own_server.flush()
        own_server.kill()
        own_server.start()
        api.close()
        with connect(own_server) as door:
            put(door, "metrics", points(run, [8.0, 9.0]), names=["one", "two"], rows=1)
        assert history(api, run) == [(0, 1.0), (1, 2.0)]
    assert own_server.stop() == 0
    names = {row["batch_id"]: row["rows"] for row in read("deltalake", own_server.lake, "ingested_batches")}
    assert names == {"one": 1, "two": 1}


def test_one_name_from_many_at_once(server, api, run, name):
    def send(value):
        with connect(server) as door:
            put(door, "metrics", points(run, [value] * 2000), names=[name])

    threads = [threading.Thread(target=send, args=(float(turn),)) for turn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = history(api, run)
    assert len(found) == 2000
    assert len({value for _, value in found}) == 1


# Streams that break off, and servers that die.


def test_a_client_that_dies_leaves_whole_batches(own_server):
    api = Api(own_server.uri)
    run = api.create_run(api.create_experiment("e"))
    program = f"""
import os, sys, pyarrow as pa, pyarrow.flight as fl
door = fl.FlightClient("grpc://127.0.0.1:{own_server.port}")
schema = pa.schema([("run_id", pa.string()), ("key", pa.string()), ("value", pa.int64()), ("step", pa.int64())])
writer, reader = door.do_put(fl.FlightDescriptor.for_path("metrics"), schema)
for batch in range(10_000):
    steps = range(batch * 500, batch * 500 + 500)
    writer.write_table(pa.table([["{run}"] * 500, ["m"] * 500, [batch] * 500, steps], schema=schema))
    if batch == 5:
        reader.read()
        print("going", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout.readline().strip() == b"going"
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    counts = []
    for _ in range(100):
        counts.append(len(api.history(run, "m")))
        if len(counts) > 3 and counts[-1] == counts[-4]:
            break
        time.sleep(0.1)
    assert counts[-1] >= 500
    assert counts[-1] % 500 == 0, "half a batch"
    with connect(own_server) as door:
        assert put(door, "metrics", points(run, [1.0], key="after"))[-1]["rows"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_server_that_dies_keeps_what_it_told(own_server, seed):
    """Batches have names and are sent again until they are told to be durable: each is there once."""
    chance = random.Random(seed)
    api = Api(own_server.uri)
    runs = [api.create_run("0") for _ in range(3)]
    rows, batches = 700, 60
    safe: dict[int, int] = {}

    def stream(number: int, ready: threading.Event):
        """Sends what is not known to be safe, until the server is gone or all is."""
        done = safe.get(number, 0)
        with contextlib.suppress(pa.ArrowException, fl.FlightError, OSError), connect(own_server) as door:
            schema = points("r", [0.0]).schema
            writer, reader = door.do_put(fl.FlightDescriptor.for_path("metrics"), schema)
            try:
                for batch in range(done, batches):
                    table = points(runs[number], [float(batch)] * rows, first=batch * rows)
                    name = json.dumps({"batch_id": f"s{number}-{batch}"}).encode()
                    writer.write_with_metadata(table.to_batches()[0], name)
                    if batch % 7 == 0 and (answer := reader.read()):
                        safe[number] = done + json.loads(answer.to_pybytes())["batches"]
                        ready.set()
                writer.done_writing()
                while (answer := reader.read()) is not None:
                    safe[number] = done + json.loads(answer.to_pybytes())["batches"]
                    ready.set()
            finally:
                ready.set()
                with contextlib.suppress(Exception):
                    writer.close()

    for life in range(6):
        readies = [threading.Event() for _ in runs]
        threads = [threading.Thread(target=stream, args=(at, readies[at])) for at in range(len(runs))]
        for thread in threads:
            thread.start()
        if life < 5:
            for ready in readies:
                ready.wait(20)
            time.sleep(chance.uniform(0, 0.15))
            if chance.random() < 0.3:
                with contextlib.suppress(OSError):
                    own_server.flush()
            own_server.kill()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if life < 5:
            own_server.start()
            api.close()
            for number, run in enumerate(runs):
                found = history(api, run)
                assert len(found) >= safe.get(number, 0) * rows, "what was told is there"
                assert len(found) % rows == 0, "a batch is there whole or not at all"
                assert len({step for step, _ in found}) == len(found), "each is there once"
    for number, run in enumerate(runs):
        assert safe[number] == batches
        found = history(api, run)
        assert [step for step, _ in found] == list(range(rows * batches))
        assert all(value == step // rows for step, value in found)


def test_a_server_that_stops_tells_what_is_durable(own_server):
    api = Api(own_server.uri)
    run = api.create_run("0")
    with connect(own_server) as door:
        writer, reader = door.do_put(fl.FlightDescriptor.for_path("metrics"), points(run, [1.0]).schema)
        writer.write_table(points(run, [1.0]))
        assert json.loads(reader.read().to_pybytes()) == {"batches": 1, "rows": 1}
        started = time.monotonic()
        assert own_server.stop() == 0
        assert time.monotonic() - started < 8, "an open stream does not hold the server up"
        with pytest.raises((pa.ArrowException, fl.FlightError), match="stopping"):
            while reader.read() is not None:
                pass
            writer.close()
    own_server.start()
    api.close()
    assert history(api, run) == [(0, 1.0)]


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_damaged_streams_do_no_harm(own_server, codec):
    api = Api(own_server.uri)
    run = api.create_run("0")
    sink = pa.BufferOutputStream()
    table = points(run, [float(at % 7) for at in range(400)], model_id=pa.nulls(400, pa.string()))
    table = table.set_column(0, "run_id", table["run_id"].dictionary_encode())
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table, max_chunksize=100)
    whole = sink.getvalue().to_pybytes()
    chance = random.Random(f"damage {codec}")
    statuses = set()
    for _ in range(400):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(body))
            match chance.randrange(4):
                case 0:
                    body[at] ^= 1 << chance.randrange(8)
                case 1:
                    body[at] = 0xFF
                case 2:
                    del body[at + 1 :]
                case _:
                    body[at : at + 8] = b"\x7f" * len(body[at : at + 8])
        answer = api.request("POST", "/api/runlake/ingest?table=metrics", bytes(body), {"Content-Type": STREAM})
        statuses.add(answer.status)
        assert answer.status in (200, 400, 404), answer.text
    assert 400 in statuses
    assert own_server.running()
    assert rss_bytes(own_server) < 700 << 20
    assert http_put(api, "metrics", points(run, [1.0], key="after"), codec=codec).status == 200


def rss_bytes(server) -> int:
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


# ADBC.


def adbc(server, **options):
    flightsql = pytest.importorskip("adbc_driver_flightsql.dbapi")
    return flightsql.connect(f"grpc://127.0.0.1:{server.port}", db_kwargs=options, autocommit=True)


def test_adbc_ingest(server, api, run):
    with adbc(server) as connection, connection.cursor() as cursor:
        assert cursor.adbc_ingest("metrics", points(run, [1.0, 2.0]), mode="append") == 2
        pair = pa.table({"run_id": [run], "key": ["p"], "value": ["1"]})
        assert cursor.adbc_ingest("params", pair, mode="append") == 1
        assert cursor.adbc_ingest("tags", pair, mode="append") == 1
        for mode, expected in [("create", "cannot be created"), ("replace", "cannot be replaced")]:
            with pytest.raises(Exception, match=expected):
                cursor.adbc_ingest("metrics", points(run, [1.0]), mode=mode)
        with pytest.raises(Exception, match="takes rows in bulk"):
            cursor.adbc_ingest("experiments", pair, mode="append")
        with pytest.raises(Exception, match="batch 0, row 0: Run with id=no not found"):
            cursor.adbc_ingest("metrics", points("no", [1.0]), mode="append")
    assert history(api, run) == [(0, 1.0), (1, 2.0)]
    data = api.run(run)["data"]
    assert (pairs(data["params"]), pairs(data["tags"])["p"]) == ({"p": "1"}, "1")
