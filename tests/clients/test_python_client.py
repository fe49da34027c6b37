"""The Python package: SQL, bulk logging and `runlake.Run`, against the server."""

import datetime
import importlib.util
import math
import re
import threading

import pytest
import runlake
from support.api import Api, pairs
from support.server import Server
from test_identity import certificate as certificate

pytestmark = pytest.mark.runlake


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNLAKE_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("RUNLAKE_END_TIMEOUT", "30")
    for name in ("RUNLAKE_TOKEN", "RUNLAKE_URI", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def uri(server):
    return server.uri.replace("http", "runlake", 1)


def steps(api, run_id, key="loss"):
    return [int(point["step"]) for point in api.history(run_id, key)]


def columns(run_id, rows, start=0):
    return {
        "run_id": [run_id] * rows,
        "key": ["loss"] * rows,
        "value": [step / 2 for step in range(start, start + rows)],
        "step": list(range(start, start + rows)),
    }


# --- Runs ---------------------------------------------------------------------------------------------------------


def test_a_run_from_start_to_end(api, uri, name):
    with runlake.start_run(
        name, "first", tags={"team": "blue"}, params={"lr": 0.5}, uri=uri
    ) as run:
        for step in range(20_000):
            run.log({"loss": 1 / (step + 1), "acc": step}, step=step)
        run.set_tags({"note": "x"})
    told = api.run(run.run_id)
    assert (told["info"]["status"], told["info"]["run_name"]) == ("FINISHED", "first")
    assert int(told["info"]["end_time"]) >= int(told["info"]["start_time"])
    assert pairs(told["data"]["params"]) == {"lr": "0.5"}
    assert pairs(told["data"]["tags"]).items() >= {"team": "blue", "note": "x"}.items()
    assert steps(api, run.run_id) == list(range(20_000))
    assert [point["value"] for point in api.history(run.run_id, "acc")] == [
        float(step) for step in range(20_000)
    ]


def test_many_threads_lose_nothing(api, uri, run):
    shared = runlake.Run(run, uri)

    def work(number):
        for step in range(3000):
            shared.log({f"k{number}": step, "all": number}, step=step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.flush()
    for number in range(8):
        assert steps(api, run, f"k{number}") == list(range(3000))
    assert len(api.history(run, "all")) == 24_000


def test_special_values_and_times(api, uri, run):
    own = runlake.Run(run, uri)
    own.log(
        {"nan": math.nan, "inf": math.inf, "ninf": -math.inf},
        step=-3,
        timestamp=1_700_000_000_123,
    )
    own.flush()
    found = {key: api.history(run, key)[0] for key in ("nan", "inf", "ninf")}
    assert {point["timestamp"] for point in found.values()} == {1_700_000_000_123}
    assert {point["step"] for point in found.values()} == {-3}
    assert found["nan"]["value"] == "NaN"
    assert (found["inf"]["value"], found["ninf"]["value"]) == (
        1.7976931348623157e308,
        -1.7976931348623157e308,
    )


def test_bad_rows_go_alone(api, uri, run):
    own = runlake.Run(run, uri)
    for step in range(200):
        own.log({"no//key" if step in (20, 150) else "loss": 1}, step=step)
    with pytest.raises(
        runlake.Refused, match=r"2 rows of run .* were refused: Invalid value"
    ):
        own.finish()
    assert steps(api, run) == [step for step in range(200) if step not in (20, 150)]
    assert api.run(run)["info"]["status"] == "FINISHED"
    kept = (own._pipeline.spool.folder / "rejected").glob("*.arrow")
    assert len([path for path in kept if run.encode() in path.read_bytes()]) == 2


def test_a_deleted_run(api, uri, run):
    api.post("runs/delete", run_id=run)
    own = runlake.Run(run, uri)
    for step in range(100):
        own.log({"loss": 1}, step=step)
    with pytest.raises(runlake.Refused, match="100 rows of run .*'active' state"):
        own.flush()


def test_a_param_of_somebody_else(api, uri, run):
    api.log_batch(run, params=[{"key": "lr", "value": "1"}])
    own = runlake.Run(run, uri)
    own.log_params({"lr": 2, "depth": 3})
    with pytest.raises(runlake.Refused, match="1 rows .*lr"):
        own.flush()
    assert pairs(api.run(run)["data"]["params"]) == {"lr": "1", "depth": "3"}


def test_http_door(api, uri, run):
    own = runlake.Run(run, uri + "?transport=http")
    own.log_params({"lr": 1})
    for step in range(1000):
        own.log({"loss": step}, step=step)
    own.flush()
    assert steps(api, run) == list(range(1000))
    assert pairs(api.run(run)["data"]["params"]) == {"lr": "1"}


# --- Bulk ---------------------------------------------------------------------------------------------------------


def test_frames_of_every_kind(api, uri, new_run):
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    makers = {
        "dict": lambda data: data,
        "table": pa.table,
        "reader": lambda data: pa.table(data).to_reader(max_chunksize=100),
        "dictionaries": lambda data: pa.table(data).set_column(
            0, "run_id", pa.array(data["run_id"]).dictionary_encode()
        ),
        "pandas": pd.DataFrame,
        "polars": pl.DataFrame,
    }
    for kind, make in makers.items():
        run = new_run()
        written = runlake.log_metrics(make(columns(run, 1000)), uri)
        assert written.rows == 1000, kind
        assert steps(api, run) == list(range(1000)), kind


def test_frames_of_pandas_keep_what_is_no_number(api, uri, new_run):
    import math

    import pandas as pd

    run = new_run()
    frame = pd.DataFrame(columns(run, 3)).assign(value=[0.5, math.nan, math.inf])
    assert runlake.log_metrics(frame, uri).rows == 3
    found = runlake.sql(f"SELECT value FROM metrics WHERE run_id = '{run}' ORDER BY step", uri=uri)
    kept = found.arrow()["value"].to_pylist()
    assert kept[0] == 0.5 and math.isnan(kept[1]) and kept[2] == math.inf


def test_many_batches_and_one_id(api, uri, run):
    for _ in range(2):
        written = runlake.log_metrics(
            columns(run, 20_000), uri, batch_rows=500, batch_id=f"mine-{run}"
        )
        assert (written.rows, written.batches) == (20_000, 40)
    assert steps(api, run) == list(range(20_000))
    # The other door knows the ids as well.
    runlake.log_metrics(
        columns(run, 20_000),
        uri + "?transport=http",
        batch_rows=20_000,
        batch_id=f"other-{run}",
    )
    runlake.log_metrics(
        columns(run, 20_000),
        uri + "?transport=http",
        batch_rows=20_000,
        batch_id=f"other-{run}",
    )
    assert len(api.history(run, "loss")) == 40_000


def test_params_and_tags_in_bulk(api, uri, run):
    runlake.log_params(
        {"run_id": [run] * 2, "key": ["a", "b"], "value": ["1", "2"]}, uri
    )
    runlake.log_tags({"run_id": [run], "key": ["t"], "value": ["x"]}, uri)
    told = api.run(run)["data"]
    assert pairs(told["params"]) == {"a": "1", "b": "2"}
    assert pairs(told["tags"])["t"] == "x"
    with pytest.raises(runlake.Refused, match="colour"):
        runlake.log_tags(
            {"run_id": [run], "key": ["t"], "value": ["x"], "colour": ["red"]}, uri
        )
    with pytest.raises(runlake.Refused, match="not found") as caught:
        runlake.log_metrics(columns("0" * 32, 3), uri)
    assert caught.value.code == "RESOURCE_DOES_NOT_EXIST"


def test_what_was_durable_before_an_error(api, uri, run):
    data = columns(run, 1000)
    data["key"][750] = "no//key"
    with pytest.raises(
        runlake.Refused, match="row 50.*700 rows in 7 batches were durable before"
    ):
        runlake.log_metrics(data, uri, batch_rows=100)
    assert steps(api, run) == list(range(700))


def test_bulk_write_through_a_restart(own_server):
    api = Api(own_server.uri)
    run = api.create_run(api.create_experiment("bulk"))
    uri = own_server.uri.replace("http", "runlake", 1)

    import pyarrow as pa

    def slowly():
        for number in range(100):
            if number in (30, 60):
                own_server.kill()
                own_server.start()
            yield pa.record_batch(columns(run, 100, number * 100))

    reader = pa.RecordBatchReader.from_batches(
        pa.record_batch(columns(run, 1)).schema, slowly()
    )
    written = runlake.log_metrics(reader, uri)
    assert written.rows == 10_000
    assert steps(api, run) == list(range(10_000))


# --- SQL ----------------------------------------------------------------------------------------------------------


def test_sql(api, uri, run):
    own = runlake.Run(run, uri)
    for step in range(1000):
        own.log({"loss": step / 2}, step=step)
    # What this process has logged is there to be asked for.
    query = (
        "SELECT step, value FROM metrics WHERE run_id = $1 AND key = $2 ORDER BY step"
    )
    table = runlake.sql(query, [run, "loss"], uri=uri).arrow()
    assert table["step"].to_pylist() == list(range(1000))
    assert (
        runlake.sql(query, [run, "loss"], uri=uri).pandas()["value"].sum()
        == sum(range(1000)) / 2
    )
    assert runlake.sql(query, [run, "loss"], uri=uri).polars().height == 1000
    by_http = runlake.sql(query, [run, "loss"], uri=uri + "?transport=http").arrow()
    assert by_http["value"].to_pylist() == table["value"].to_pylist()
    with pytest.raises(runlake.Refused, match="metrix|metrics"):
        runlake.sql("SELECT * FROM metrix", uri=uri)
    with pytest.raises(runlake.RunlakeError):
        runlake.sql("DELETE FROM metrics", uri=uri)


def test_connection(api, uri, run):
    pytest.importorskip("adbc_driver_flightsql")
    import polars as pl

    runlake.log_metrics(columns(run, 1000), uri)
    query = f"SELECT step, value FROM metrics WHERE run_id = '{run}' ORDER BY step"
    with runlake.connect(uri) as connection:
        with connection.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetch_arrow_table()["step"].to_pylist() == list(range(1000))
        assert pl.read_database(query, connection).height == 1000
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM metrics WHERE run_id = $1 AND step < $2", (run, 10))
            assert cursor.fetchone() == (10,)
    # What this process has logged is there to be asked for.
    runlake.Run(run, uri).log({"late": 1.0}, step=1)
    with runlake.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT value FROM metrics WHERE run_id = '{run}' AND key = 'late'")
        assert cursor.fetchall() == [(1.0,)]
    # Before there was a lake there was nothing in it.
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    with runlake.connect(uri, as_of=then) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM metrics")
        assert cursor.fetchone() == (0,)


def test_tokens(tmp_path, monkeypatch):
    import subprocess

    from support.server import binary

    server = Server(tmp_path, "--auth", "required")
    server.lake.mkdir()
    server.start()
    try:
        setup = re.search(r"--setup-token ([0-9a-f]{64})", server.log_path.read_text())[
            1
        ]
        command = [
            binary(),
            "user",
            "create-admin",
            "root",
            "--server",
            server.uri,
            "--setup-token",
            setup,
        ]
        subprocess.run(
            command,
            input="a very long password\n",
            text=True,
            check=True,
            capture_output=True,
        )
        uri = server.uri.replace("http", "runlake", 1)
        with pytest.raises(runlake.RunlakeError):
            runlake.start_run("things", uri=uri)
        inside = uri.replace("//", "//root:a%20very%20long%20password@")
        with runlake.start_run("things", uri=inside) as run:
            run.log({"loss": 1}, step=7)
        assert "password" not in repr(run)
        api = Api(server.uri, auth=("root", "a very long password"))
        assert steps(api, run.run_id) == [7]
        token = api.post("/api/runlake/auth/tokens", label="t")["token"]
        monkeypatch.setenv("RUNLAKE_TOKEN", token)
        runlake.log_metrics(columns(run.run_id, 10, 100), uri)
        assert steps(api, run.run_id) == [7, *range(100, 110)]
        if importlib.util.find_spec("adbc_driver_flightsql"):
            password = {"username": "root", "password": "a very long password"}
            for given in ({"uri": uri}, {"uri": inside}, {"uri": uri, **password}):
                with runlake.connect(**given) as connection:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT count(*) FROM metrics")
                        assert cursor.fetchone() == (11,)
            with pytest.raises(Exception, match="(?i)unauthenticated"):
                with runlake.connect(uri, token="rl_no_such") as connection:
                    connection.cursor().execute("SELECT 1")
        monkeypatch.setenv("RUNLAKE_TOKEN", "wrong")
        with pytest.raises(runlake.RunlakeError):
            runlake.log_metrics(columns(run.run_id, 10, 200), uri, timeout=1)
        with pytest.raises(runlake.Undelivered):
            late = runlake.Run(run.run_id, uri)
            late.log({"loss": 1}, step=300)
            late.flush(2)
        monkeypatch.setenv("RUNLAKE_TOKEN", token)
        late.flush()
        assert steps(api, run.run_id)[-1] == 300
    finally:
        server.kill()


def test_tls(certificate, tmp_path, monkeypatch):
    cert, key = certificate
    server = Server(
        tmp_path, "--tls-cert", str(cert), "--tls-key", str(key), certificate=cert
    )
    server.start()
    try:
        uri = server.uri.replace("https", "runlakes", 1)
        with pytest.raises(runlake.Unavailable, match="CERTIFICATE"):
            runlake.start_run("things", uri=uri)
        for variable, value in (
            ("SERVER_CERT_PATH", str(cert)),
            ("INSECURE_TLS", "true"),
        ):
            # Connections keep the certificates they began with.
            own = (
                f"{uri.replace('runlakes', 'runlake+https')}?flight=127.0.0.1:{server.port}"
                if value == "true"
                else uri
            )
            monkeypatch.setenv(f"MLFLOW_TRACKING_{variable}", value)
            with runlake.start_run("things", uri=own) as run:
                run.log({"loss": 1}, step=1)
                runlake.log_metrics(columns(run.run_id, 10, 2), own)
            found = runlake._rest.Tracking(runlake._uri.Target.parse(own)).get_run(
                run.run_id
            )
            assert found["info"]["status"] == "FINISHED"
            assert found["data"]["metrics"][0]["step"] == 11
            monkeypatch.delenv(f"MLFLOW_TRACKING_{variable}")
    finally:
        server.kill()
