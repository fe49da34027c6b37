"""SQL over Arrow Flight, by the clients people have: ADBC, pandas, Polars; and what Flight SQL tells of the lake."""

import datetime
import warnings

import pytest

pa = pytest.importorskip("pyarrow")
fl = pytest.importorskip("pyarrow.flight")
flightsql = pytest.importorskip("adbc_driver_flightsql.dbapi")

from test_flight_auth import basic
from test_flight_ingest import connect, points, put
from test_identity import ADMIN, guarded  # noqa: F401  (fixture)

pytestmark = pytest.mark.runlake("SQL is runlake's own")

COOKIES = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}


@pytest.fixture
def filled(server, new_run):
    """Two runs with points and a param."""
    runs = [new_run(), new_run()]
    with connect(server) as door:
        for at, run in enumerate(runs):
            put(door, "metrics", points(run, [float(step + at) for step in range(100)]))
        put(door, "params", pa.table({"run_id": runs, "key": ["lr", "lr"], "value": ["0.1", "0.2"]}))
    return runs


@pytest.fixture
def connection(server):
    with flightsql.connect(f"grpc://127.0.0.1:{server.port}", autocommit=True) as connection:
        yield connection


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


def refusal(cursor, sql, parameters=None) -> str:
    with pytest.raises(flightsql.Error) as refused:
        cursor.execute(sql, parameters)
        cursor.fetchall()
    return str(refused.value)


def test_the_readme_example(server, tracking, name):
    """As documented, word for word but for the port and the experiment."""
    import pandas as pd
    import polars as pl

    tracking.set_experiment(name)
    with tracking.start_run() as run:
        tracking.log_metric("accuracy", 0.9)
    # Connections that do not ask for autocommit are told that there are no transactions, and work.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conn = flightsql.connect(f"grpc://127.0.0.1:{server.port}")
        wide = pd.read_sql(f"SELECT * FROM runs_wide('{name}') ORDER BY \"metrics.accuracy\" DESC LIMIT 10", conn)
    assert wide["run_id"].to_list() == [run.info.run_id] and wide["metrics.accuracy"].to_list() == [0.9]
    best = pl.read_database("SELECT key, max(value) FROM metrics GROUP BY key", conn)
    assert "accuracy" in best["key"].to_list()
    table = points(run.info.run_id, [1.0, 2.0], key="loss")
    cur = conn.cursor()
    assert cur.adbc_ingest("metrics", table, mode="append") == 2
    cur.execute(f"SELECT value FROM metrics WHERE run_id = '{run.info.run_id}' AND key = 'loss' ORDER BY step")
    assert cur.fetchall() == [(1.0,), (2.0,)]
    cur.close()
    conn.close()


def test_statements(cursor, filled):
    cursor.execute(
        f"SELECT run_id, max(value) AS m, count(*) AS n FROM metrics WHERE run_id IN ('{filled[0]}', '{filled[1]}') "
        "GROUP BY 1 ORDER BY 2"
    )
    assert cursor.fetch_arrow_table().to_pydict() == {"run_id": filled, "m": [99.0, 100.0], "n": [100, 100]}
    cursor.execute("SELECT 1 AS one, 'x' AS x, NULL AS nothing")
    assert cursor.fetchall() == [(1, "x", None)]
    cursor.execute("SELECT run_id FROM runs WHERE false")
    assert cursor.fetchall() == []
    cursor.execute("EXPLAIN SELECT count(*) FROM runs")
    assert cursor.fetchall()
    # Many batches, in their order.
    cursor.execute("SELECT value FROM generate_series(1, 100000) ORDER BY value")
    assert cursor.fetch_arrow_table()["value"].to_pylist() == list(range(1, 100_001))


def test_kinds_of_values(cursor, new_run, server):
    run = new_run()
    with connect(server) as door:
        put(door, "metrics", points(run, [float("nan"), float("inf"), float("-inf"), 5e-324]))
    cursor.execute(f"SELECT value, timestamp FROM metrics WHERE run_id = '{run}' ORDER BY step")
    table = cursor.fetch_arrow_table()
    assert [str(value) for value in table["value"].to_pylist()] == ["nan", "inf", "-inf", "5e-324"]
    assert table.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    cursor.execute("SELECT [1, 2] AS list, named_struct('a', 1) AS struct, true AS yes, DATE '2026-05-03' AS day")
    assert cursor.fetchone() == ([1, 2], {"a": 1}, True, datetime.date(2026, 5, 3))


def test_parameters_are_bound(cursor, filled):
    sql = "SELECT value FROM params WHERE run_id = $1 AND key = ?".replace("?", "$2")
    for run, expected in zip(filled, ["0.1", "0.2"], strict=True):
        cursor.execute(sql, (run, "lr"))
        assert cursor.fetchall() == [(expected,)]
    cursor.execute("SELECT value FROM params WHERE run_id = ? AND key = ?", (filled[1], "lr"))
    assert cursor.fetchall() == [("0.2",)]
    cursor.execute(sql, ("x' OR 'a' = 'a", "lr"))
    assert cursor.fetchall() == []
    # By name, a number where a number is expected, and nothing.
    named = pa.table({"most": [7], "run": [filled[0]]})
    cursor.execute("SELECT count(*) FROM metrics WHERE run_id = $run AND step < $most", named)
    assert cursor.fetchall() == [(7,)]
    cursor.execute("SELECT $1 IS NULL AS nothing", (None,))
    assert cursor.fetchall() == [(True,)]
    # Each row of parameters is a query.
    cursor.execute(sql, pa.table({"r": filled, "k": ["lr", "lr"]}))
    assert cursor.fetchall() == [("0.1",), ("0.2",)]
    # Where a parameter decides what columns there are, too.
    cursor.execute("SELECT count(*) FROM metric_envelope(?, ?, ?)", (filled[0], "m", 10))
    assert cursor.fetchone()[0] >= 10


def test_prepared_statements_tell_their_types_and_refuse_others(connection, cursor, filled):
    types = cursor.adbc_prepare("SELECT value FROM metrics WHERE step > $1 AND key = $2 AND timestamp < $3")
    assert [str(field.type) for field in types] == ["int64", "string", "timestamp[us, tz=UTC]"]
    sql = "SELECT count(*) FROM metrics WHERE step > $1"
    assert "$1 takes BIGINT, and was given VARCHAR" in refusal(cursor, sql, ("many",))
    assert "$1 takes BIGINT, and was given BOOLEAN" in refusal(cursor, sql, (True,))
    assert "has 1 parameters, and 2 were given" in refusal(cursor, sql, (1, 2))
    assert "has 0 parameters, and 1 were given" in refusal(cursor, "SELECT 1", (1,))
    assert "$1" in refusal(cursor, sql)
    assert "no value for the parameter $most" in refusal(
        cursor, "SELECT count(*) FROM metrics WHERE step > $most", pa.table({"least": [1]})
    )
    rows = pa.table({"a": list(range(1001))})
    assert "at most 1000" in refusal(cursor, sql, rows)
    # A handle is none the worse for what was refused.
    cursor.execute(sql, (98,))
    assert cursor.fetchone()[0] >= 2


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELEC 1", "SELEC at Line: 1, Column: 1"),
        ("SELECT *\nFROM runs ORDER WHERE", "at Line: 2, Column: 11"),
        ("SELECT * FROM metrix", 'no table "metrix"; did you mean metrics'),
        ("SELECT valu FROM metrics", "(?i)valu"),
        ("SELECT * FROM elsewhere.metrics", "no schema"),
        ("SELECT * FROM users", "no table"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("DROP TABLE metrics", "SQL only reads"),
        ("INSERT INTO params VALUES ('a', 'b', 'c', 'd')", "SQL only reads"),
        ("DELETE FROM runs", "SQL only reads"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/tmp/t.csv'", "SQL only reads"),
        ("COPY runs TO '/tmp/runs.csv'", "SQL only reads"),
        ("SET datafusion.execution.batch_size = 1", "SQL only reads"),
        ("SELECT 1 / 0", "(?i)divide by zero"),
    ],
)
def test_what_is_refused_says_why(cursor, sql, expected):
    import re

    message = refusal(cursor, sql)
    assert re.search(expected, message), message


def test_errors_have_the_status_of_what_they_are(server):
    import json

    with connect(server) as door:
        for ticket, kind in [
            ({"sql": "SELEC 1"}, pa.ArrowInvalid),
            ({"sql": "SELECT * FROM metrix"}, KeyError),
            ({"sql": "SELECT count(*) FROM generate_series(1, 100000000) a(x), generate_series(1, 100000000) b(y) "
                     "WHERE x * y % 7 = 3", "timeout_ms": 200}, fl.FlightTimedOutError),
        ]:
            with pytest.raises((pa.ArrowException, fl.FlightError, KeyError)) as refused:
                door.do_get(fl.Ticket(json.dumps(ticket))).read_all()
            assert isinstance(refused.value, kind), refused.value


def test_what_is_told_of_the_lake(connection):
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert [found["catalog_name"] for found in objects] == ["runlake"]
    schemas = {schema["db_schema_name"]: schema["db_schema_tables"] for schema in objects[0]["catalog_db_schemas"]}
    assert {"public", "mlflow", "information_schema"} <= set(schemas)
    tables = {table["table_name"]: table for table in schemas["public"]}
    assert {"runs", "metrics", "params", "tags", "latest_metrics", "model_versions"} <= set(tables)
    assert not {"users", "tokens", "webhooks", "role_grants"} & set(tables)
    columns = [column["column_name"] for column in tables["params"]["table_columns"]]
    assert columns == ["run_id", "key", "experiment_id", "value"]
    assert {table["table_name"] for table in schemas["mlflow"]} == {
        "experiments_latest", "runs_latest", "run_metrics_history",
    }
    some = connection.adbc_get_objects(depth="tables", table_name_filter="model_version%").read_all().to_pylist()
    named = [table["table_name"] for schema in some[0]["catalog_db_schemas"] for table in schema["db_schema_tables"]]
    assert sorted(named) == ["model_version_tags", "model_versions"]
    assert {"BASE TABLE", "VIEW"} == set(connection.adbc_get_table_types())
    schema = connection.adbc_get_table_schema("params", db_schema_filter="public")
    assert schema.names == ["run_id", "key", "experiment_id", "value"]
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "runlake"


def protobuf(number: int, text: bytes) -> bytes:
    """A field that holds bytes."""
    length = len(text)
    encoded = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return bytes([number << 3 | 2]) + encoded + text


def message(name: str, fields: dict[int, str] = {}) -> bytes:
    """A message of Flight SQL whose fields are texts."""
    body = b"".join(protobuf(number, text.encode()) for number, text in fields.items())
    return protobuf(1, f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()) + protobuf(2, body)


def flight_sql(door, command: str, fields: dict[int, str] = {}) -> pa.Table:
    """What a command of Flight SQL answers."""
    info = door.get_flight_info(fl.FlightDescriptor.for_command(message(command, fields)))
    table = door.do_get(info.endpoints[0].ticket).read_all()
    assert table.schema == info.schema
    return table


def test_keys_and_types(server):
    with connect(server) as door:
        keys = flight_sql(door, "CommandGetPrimaryKeys", {3: "params"})
        assert keys["column_name"].to_pylist() == ["run_id", "key"] and keys["key_sequence"].to_pylist() == [1, 2]
        assert flight_sql(door, "CommandGetPrimaryKeys", {3: "metrics"}).num_rows == 0
        assert flight_sql(door, "CommandGetPrimaryKeys", {1: "elsewhere", 3: "params"}).num_rows == 0
        for command in ("CommandGetExportedKeys", "CommandGetImportedKeys"):
            none = flight_sql(door, command, {3: "params"})
            assert none.num_rows == 0 and "fk_column_name" in none.schema.names
        assert flight_sql(door, "CommandGetCrossReference", {3: "params", 6: "runs"}).num_rows == 0
        types = flight_sql(door, "CommandGetXdbcTypeInfo")
        assert {"BIGINT", "DOUBLE", "VARCHAR"} <= set(types["type_name"].to_pylist())
        assert flight_sql(door, "CommandGetCatalogs").to_pydict() == {"catalog_name": ["runlake"]}
        assert flight_sql(door, "CommandGetSqlInfo").num_rows > 10


def test_bulk_ingest_of_runs(connection, cursor, api, client, name):
    experiment = client.create_experiment(name)
    ids = [f"{name}-{number}" for number in range(3)]
    began = datetime.datetime(2026, 5, 3, 12, tzinfo=datetime.timezone.utc)
    runs = pa.table({
        "run_id": ids,
        "experiment_id": [experiment] * 3,
        "run_name": ["one", "two", None],
        "status": ["FINISHED", "FAILED", None],
        "start_time": pa.array([began] * 3, pa.timestamp("s", "UTC")),
        "parent_run_id": [None, ids[0], None],
    })
    assert cursor.adbc_ingest("runs", runs, mode="append") == 3
    found = client.get_run(ids[1])
    assert (found.info.run_name, found.info.status) == ("two", "FAILED")
    assert found.info.start_time == int(began.timestamp() * 1000)
    assert found.data.tags["mlflow.parentRunId"] == ids[0]
    assert cursor.adbc_ingest("metrics", points(ids[2], [1.0]), mode="append") == 1
    assert {run.info.run_id for run in client.search_runs([experiment])} == set(ids)
    # What will not do is refused as a whole, with its row.
    fresh = f"{name}-fresh"
    for second, expected in [
        ({"run_id": ids[0], "experiment_id": experiment}, f"row 1: The run {ids[0]} exists already"),
        ({"run_id": fresh, "experiment_id": experiment}, "row 1: the run .* is there twice"),
        ({"run_id": "other", "experiment_id": "999999"}, "row 1: No Experiment with id=999999 exists"),
        ({"run_id": "bad id!", "experiment_id": experiment}, "row 1: Invalid value \"bad id!\""),
    ]:
        rows = pa.Table.from_pylist([{"run_id": fresh, "experiment_id": experiment}, second])
        with pytest.raises(flightsql.Error, match=expected):
            cursor.adbc_ingest("runs", rows, mode="append")
    assert len(client.search_runs([experiment])) == 3
    client.delete_experiment(experiment)
    with pytest.raises(flightsql.Error, match="must be in the 'active' state"):
        cursor.adbc_ingest("runs", pa.table({"run_id": [fresh], "experiment_id": [experiment]}), mode="append")


def test_there_are_no_transactions_and_no_updates(server, connection, cursor):
    with pytest.raises(flightsql.Error, match="(?i)transaction"):
        connection.adbc_connection.set_autocommit(False)
    with connect(server) as door:
        with pytest.raises(NotImplementedError, match="no transactions"):
            list(door.do_action(fl.Action("BeginTransaction", message("ActionBeginTransactionRequest"))))
    with pytest.raises(flightsql.Error, match="SQL only reads"):
        cursor.executemany("DELETE FROM runs WHERE run_id = ?", [("a",)])


def test_session_options(server, filled):
    count = "SELECT count(*) FROM (SELECT * FROM metrics LIMIT 50) AS some"
    options = COOKIES | {}
    with flightsql.connect(f"grpc://127.0.0.1:{server.port}", db_kwargs=options, autocommit=True) as connection:
        raw = connection.adbc_connection
        raw.set_options(**{"adbc.flight.sql.session.option.row_limit": "3"})
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM metrics")
            assert cursor.fetch_arrow_table().num_rows == 3
            cursor.execute(count)
            assert cursor.fetchone() == (50,)
        raw.set_options(**{"adbc.flight.sql.session.option.as_of": "2020-01-01T00:00:00Z"})
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM metrics")
            assert cursor.fetch_arrow_table().num_rows == 0, "there was no lake then"
        assert raw.get_option("adbc.flight.sql.session.option.row_limit") == "3"
        with pytest.raises(flightsql.Error):
            raw.set_options(**{"adbc.flight.sql.session.option.row_limit": "many"})
        with pytest.raises(flightsql.Error):
            raw.set_options(**{"adbc.flight.sql.session.option.colour": "red"})
    # Another connection has a session of its own.
    with flightsql.connect(f"grpc://127.0.0.1:{server.port}", db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM metrics LIMIT 10")
            assert cursor.fetch_arrow_table().num_rows == 10


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_headers_ask_for_compression_and_dictionaries(server, filled, codec):
    options = {
        "adbc.flight.sql.rpc.call_header.runlake-compression": codec,
        "adbc.flight.sql.rpc.call_header.runlake-dictionaries": "true",
    }
    sql = f"SELECT run_id, key, step FROM metrics WHERE run_id = '{filled[0]}' ORDER BY step"
    with flightsql.connect(f"grpc://127.0.0.1:{server.port}", db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            table = cursor.fetch_arrow_table()
            assert pa.types.is_dictionary(table.schema.field("run_id").type)
            assert table["run_id"].to_pylist() == [filled[0]] * 100
            assert table["step"].to_pylist() == list(range(100))
    options = {"adbc.flight.sql.rpc.call_header.runlake-compression": "gzip"}
    with flightsql.connect(f"grpc://127.0.0.1:{server.port}", db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            assert "it must be zstd, lz4 or none" in refusal(cursor, sql)


def test_reading_needs_the_role(guarded, name):  # noqa: F811
    experiment = guarded.experiment(f"sql-{name}")
    viewer = guarded.user(f"viewer-{name}", "--role", "viewer")
    partly = guarded.user(f"partly-{name}", "--role", "editor", "--experiment", experiment)
    uri = f"grpc://127.0.0.1:{guarded.server.port}"

    def ask(**given):
        with flightsql.connect(uri, db_kwargs=given, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM experiments")
            counted = cursor.fetchone()[0]
            connection.adbc_get_objects(depth="tables").read_all()
            return counted

    for user, password in (ADMIN, viewer):
        assert ask(username=user, password=password) >= 2
        assert ask(**{"adbc.flight.sql.authorization_header": basic(user, password)}) >= 2
    assert ask(**{"adbc.flight.sql.authorization_header": f"Bearer {guarded.token('root')}"}) >= 2
    with pytest.raises(flightsql.Error, match="needs the role viewer for everything"):
        ask(username=partly[0], password=partly[1])
    with pytest.raises(flightsql.Error, match="(?i)unauthenticated"):
        ask()
    # A role for one experiment lets its holder make runs there, and nowhere else.
    given = {"username": partly[0], "password": partly[1]}
    with flightsql.connect(uri, db_kwargs=given, autocommit=True) as connection, connection.cursor() as cursor:
        mine = pa.table({"run_id": [f"r-{name}"], "experiment_id": [experiment]})
        assert cursor.adbc_ingest("runs", mine, mode="append") == 1
        with pytest.raises(flightsql.Error, match="row 1: Permission denied"):
            both = pa.table({"run_id": [f"s-{name}", f"t-{name}"], "experiment_id": [experiment, "0"]})
            cursor.adbc_ingest("runs", both, mode="append")
