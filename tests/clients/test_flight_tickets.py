"""Plain Flight: tickets in JSON and sealed ones, answers in parts, hostile tickets, cancellation, clients that die."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pa = pytest.importorskip("pyarrow")
fl = pytest.importorskip("pyarrow.flight")

import requests

from support.server import Server
from test_flight_auth import basic, options
from test_flight_ingest import connect, points, put
from test_identity import ADMIN, guarded  # noqa: F401  (fixture)

pytestmark = pytest.mark.runlake("Flight is runlake's own")

# Hours of work that gives its rows one by one, and the same that gives none.
SLOW = "SELECT a.value FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b"
SILENT = SLOW + " WHERE a.value * b.value % 7 = 8"
REFUSED = (pa.ArrowException, fl.FlightError, KeyError, NotImplementedError)


@pytest.fixture
def door(server):
    with connect(server) as door:
        yield door


@pytest.fixture
def filled(door, new_run):
    runs = [new_run() for _ in range(5)]
    for at, run in enumerate(runs):
        put(door, "metrics", points(run, [float(step + at) for step in range(100)]))
    put(door, "params", pa.table({"run_id": runs, "key": ["lr"] * 5, "value": list("12345")}))
    return runs


def ticket(**fields) -> fl.Ticket:
    return fl.Ticket(json.dumps(fields))


def command(**fields) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(json.dumps(fields))


def side_by_side(server, info, **more) -> pa.Table:
    """All endpoints at once, each over a connection of its own."""

    def read(endpoint):
        with connect(server) as door:
            return door.do_get(endpoint.ticket, **more).read_all()

    with ThreadPoolExecutor(len(info.endpoints)) as readers:
        return pa.concat_tables(readers.map(read, info.endpoints))


def test_statements_and_tables(door, filled):
    sql = ticket(sql="SELECT value FROM params WHERE run_id = $1", params=[filled[1]])
    assert door.do_get(sql).read_all().to_pydict() == {"value": ["2"]}
    named = ticket(sql="SELECT value FROM params WHERE run_id = $run", params={"run": filled[2]})
    assert door.do_get(named).read_all().to_pydict() == {"value": ["3"]}
    of_run = ticket(table="metrics", run_ids=filled[:1], keys=["m"], columns=["step", "value"])
    table = door.do_get(of_run).read_all()
    assert table.schema.names == ["step", "value"] and table.num_rows == 100
    assert door.do_get(ticket(table="metrics", run_ids=filled[:1], keys=["other"])).read_all().num_rows == 0
    assert door.do_get(ticket(table="metrics", run_ids=filled, row_limit=7)).read_all().num_rows == 7


def test_parts_are_read_side_by_side(server, door, filled):
    info = door.get_flight_info(command(table="metrics", run_ids=filled, columns=["run_id", "value"]))
    assert len(info.endpoints) == 3, "five runs in parts of two"
    table = side_by_side(server, info)
    assert table.schema == info.schema and table.num_rows == 500
    expected = sorted((run, float(step + at)) for at, run in enumerate(filled) for step in range(100))
    assert sorted(zip(table["run_id"].to_pylist(), table["value"].to_pylist())) == expected
    # The whole table: by ranges of runs, each run once.
    whole = door.get_flight_info(fl.FlightDescriptor.for_path("metrics"))
    assert len(whole.endpoints) == 4
    counted = door.do_get(ticket(sql="SELECT count(*) AS n FROM metrics")).read_all()["n"][0].as_py()
    assert side_by_side(server, whole).num_rows == counted
    params = door.get_flight_info(fl.FlightDescriptor.for_path("params"))
    assert len(params.endpoints) == 1
    assert door.get_schema(fl.FlightDescriptor.for_path("params")).schema == params.schema
    assert door.get_schema(command(sql="SELECT 1 AS one")).schema == pa.schema([pa.field("one", pa.int64(), False)])


def test_flights_are_listed(door):
    flights = {flight.descriptor.path[0].decode(): flight for flight in door.list_flights()}
    assert {"runs", "metrics", "params", "tags"} <= set(flights)
    assert not {"users", "tokens", "webhooks"} & set(flights)
    assert flights["params"].schema.names == ["run_id", "key", "experiment_id", "value"]
    some = [flight.descriptor.path[0] for flight in door.list_flights(b"model_version")]
    assert sorted(some) == [b"model_version_tags", b"model_versions"]


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
@pytest.mark.parametrize("dictionaries", [False, True])
def test_compression_and_dictionaries_change_no_row(door, filled, codec, dictionaries):
    asked = {"table": "metrics", "run_ids": filled, "columns": ["run_id", "key", "step", "value"]}
    plain = pa.concat_tables(door.do_get(part.ticket).read_all() for part in door.get_flight_info(command(**asked)).endpoints)
    more = {} if codec is None else {"compression": codec}
    info = door.get_flight_info(command(**asked, dictionaries=dictionaries, **more))
    table = pa.concat_tables(door.do_get(part.ticket).read_all() for part in info.endpoints)
    assert pa.types.is_dictionary(table.schema.field("run_id").type) == dictionaries
    assert table.schema == info.schema
    order = [("run_id", "ascending"), ("step", "ascending")]
    assert table.cast(plain.schema).sort_by(order).equals(plain.sort_by(order))


@pytest.mark.parametrize(
    "given, expected",
    [
        ('{"sql": "SELEC"}', "SELEC at Line: 1, Column: 1"),
        ('{"sql": "SELECT * FROM metrix"}', "did you mean metrics"),
        ('{"table": "users"}', 'no table "users"'),
        ('{"table": "metrics", "columns": ["x"]}', "no column"),
        ('{"table": "metrics", "runs": ["x"]}', "unknown field"),
        ('{"table": "metrics", "compression": "gzip"}', "unknown variant"),
        ('{"table": "metrics", "as_of": "yesterday"}', "as_of"),
        ("{", "Invalid ticket"),
        ('{"sql": "DROP TABLE runs"}', "SQL only reads"),
        ("hello", "no ticket"),
        ("", "."),
        ("rlt1", "was cut short"),
        ("rlt1" + "x" * 100, "was cut short"),
        ("\x0a\x03abc", "does not know the command \"abc\""),
    ],
)
def test_bad_tickets(door, given, expected):
    with pytest.raises(REFUSED, match=expected):
        door.do_get(fl.Ticket(given)).read_all()


def test_bad_descriptors(door):
    for descriptor, expected in [
        (fl.FlightDescriptor.for_path("users"), 'no table "users"'),
        (fl.FlightDescriptor.for_path("a", "b"), "has 2 parts"),
        (fl.FlightDescriptor.for_command(b""), "is empty"),
        (fl.FlightDescriptor.for_command(b"nonsense"), "neither one of Flight SQL nor one in JSON"),
        (command(sql="SELECT * FROM runs_wide(?)"), "A parameter decides what columns there are"),
    ]:
        with pytest.raises(REFUSED, match=expected):
            door.get_schema(descriptor)


def test_hostile_tickets_break_nothing(server, door, filled):
    """Tickets cut, changed and made up: each an error with a sentence, and a server that goes on."""
    (endpoint,) = door.get_flight_info(command(sql="SELECT 1 AS one")).endpoints
    good = endpoint.ticket.ticket
    assert door.do_get(endpoint.ticket).read_all().num_rows == 1
    chance = random.Random(7)
    tickets = [good[:cut] for cut in range(0, len(good), 7)]
    for _ in range(150):
        changed = bytearray(good)
        changed[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        tickets.append(bytes(changed))
    tickets += [chance.randbytes(chance.randrange(200)) for _ in range(150)]
    tickets += [b'{"sql": "' + b" " * (5 << 20) + b'SELECT 1"}', b'{"sql": ' * 100_000, b"[" * 1_000_000, b'{"table": "metrics", "run_ids": [' + b'"a",' * 20_000 + b'"a"]}']
    for bad in tickets:
        with pytest.raises(REFUSED) as refused:
            door.do_get(fl.Ticket(bad)).read_all()
        assert "panic" not in str(refused.value)
    assert door.do_get(endpoint.ticket).read_all().num_rows == 1


def test_tickets_of_other_servers(door, filled, tmp_path):
    other = Server(tmp_path).start()
    try:
        with connect(other) as theirs:
            foreign = theirs.get_flight_info(command(sql="SELECT 1 AS one")).endpoints[0].ticket
            assert theirs.do_get(foreign).read_all().num_rows == 1
        with pytest.raises(REFUSED, match="of another server, which serves another lake"):
            door.do_get(foreign).read_all()
        other.kill()
        other.start()
        with connect(other) as theirs, pytest.raises(REFUSED, match="before this server was started"):
            theirs.do_get(foreign).read_all()
    finally:
        other.kill()


def cpu_seconds(server) -> float:
    with open(f"/proc/{server.process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def running(server) -> int:
    """Queries that run, as the metrics page has it."""
    page = requests.get(f"{server.uri}/metrics", timeout=30).text
    (line,) = [line for line in page.splitlines() if line.startswith("runlake_queries_running ")]
    return int(float(line.split()[1]))


def until(condition, what: str):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def rests(server):
    """That the server has stopped to compute: in some second of the next ones it uses next to nothing."""

    def is_idle() -> bool:
        before = cpu_seconds(server)
        time.sleep(1.0)
        return cpu_seconds(server) - before < 0.3

    until(is_idle, "nobody reads it, and it is computed all the same")


@pytest.mark.parametrize("action", ["CancelFlightInfo", "CancelQuery"])
def test_cancelling_an_info_ends_its_query(own_server, action):
    with connect(own_server) as door:
        info = door.get_flight_info(command(sql=SILENT))
        failed = []

        def read():
            try:
                door.do_get(info.endpoints[0].ticket).read_all()
            except Exception as error:
                failed.append(error)

        reading = threading.Thread(target=read)
        reading.start()
        until(lambda: running(own_server) == 1, "the query never began")
        with connect(own_server) as other:
            assert cancelled(other, action, info)
        reading.join(60)
        assert failed and "the query was cancelled" in str(failed[0]), failed
        until(lambda: running(own_server) == 0, "the query goes on")
        rests(own_server)
        # Nothing is left to be cancelled.
        assert not cancelled(door, action, info)


def cancelled(door, action: str, info) -> bool:
    """What the server says to a wish to cancel."""
    body = protobuf(1, info.serialize())
    if action == "CancelQuery":
        prefix = b"type.googleapis.com/arrow.flight.protocol.sql.ActionCancelQuery"
        body = protobuf(1, prefix + b"Request") + protobuf(2, body)
    (answer,) = door.do_action(fl.Action(action, body))
    told = answer.body.to_pybytes()
    assert told[-2:] in (b"\x08\x01", b"\x08\x03"), told
    return told[-1] == 1


def protobuf(number: int, body: bytes) -> bytes:
    length, encoded = len(body), b""
    while length >= 128:
        length, encoded = length >> 7, encoded + bytes([length & 127 | 128])
    return bytes([number << 3 | 2]) + encoded + bytes([length]) + body


@pytest.mark.parametrize("sql", [SLOW, SILENT])
def test_a_reader_that_cancels_frees_the_server(own_server, sql):
    with connect(own_server) as door:
        reader = door.do_get(ticket(sql=sql))
        until(lambda: running(own_server) == 1, "the query never began")
        reader.cancel()
        until(lambda: running(own_server) == 0, "the query goes on")
        rests(own_server)


def test_adbc_cancels(own_server):
    flightsql = pytest.importorskip("adbc_driver_flightsql.dbapi")
    uri = f"grpc://127.0.0.1:{own_server.port}"
    with flightsql.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        failed = []

        def read():
            try:
                cursor.execute(SILENT)
                cursor.fetchall()
            except flightsql.Error as error:
                failed.append(error)

        reading = threading.Thread(target=read)
        reading.start()
        until(lambda: running(own_server) == 1, "the query never began")
        until(lambda: bool(cursor.adbc_cancel() or failed), "it cannot be cancelled")
        reading.join(60)
        assert failed
        until(lambda: running(own_server) == 0, "the query goes on")
        rests(own_server)


def test_a_reader_that_is_killed_frees_the_server(own_server):
    script = f"""
import pyarrow.flight as fl
reader = fl.FlightClient("grpc://127.0.0.1:{own_server.port}").do_get(fl.Ticket({json.dumps(json.dumps({"sql": SLOW}))}))
reader.read_chunk()
print("reading", flush=True)
while True:
    reader.read_chunk()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"reading\n"
        assert running(own_server) == 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        until(lambda: running(own_server) == 0, "the query goes on")
        rests(own_server)
    finally:
        child.kill()


def test_reading_needs_the_role(guarded, name):  # noqa: F811
    experiment = guarded.experiment(f"tickets-{name}")
    viewer = guarded.user(f"sees-{name}", "--role", "viewer")
    partly = guarded.user(f"part-{name}", "--role", "viewer", "--experiment", experiment)
    count = ticket(sql="SELECT count(*) AS n FROM runs")
    table = fl.FlightDescriptor.for_path("runs")
    with connect(guarded.server) as door:
        for who in (ADMIN, viewer):
            given = options(basic(*who))
            assert door.do_get(count, given).read_all().num_rows == 1
            assert len(list(door.list_flights(b"", given))) > 10
            mine = door.get_flight_info(table, given).endpoints[0].ticket
        for refused, given in [
            (fl.FlightUnauthorizedError, options(basic(*partly))),
            (fl.FlightUnauthenticatedError, options(basic(viewer[0], "wrong"))),
            (fl.FlightUnauthenticatedError, None),
        ]:
            with pytest.raises(refused):
                door.do_get(count, given).read_all()
            with pytest.raises(refused):
                door.get_flight_info(table, given)
            with pytest.raises(refused):
                list(door.list_flights(b"", given))
            # A ticket is no credential.
            with pytest.raises(refused):
                door.do_get(mine, given).read_all()
            with pytest.raises(refused):
                list(door.do_action(fl.Action("GetSessionOptions", b""), given))
