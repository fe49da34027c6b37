"""SQL and bulk writes."""

import datetime as dt
import threading
import time

import pyarrow as pa
import pytest

import runlake
from runlake._uri import Target


def points(run_id, rows=1000, start=0):
    return pa.table(
        {
            "run_id": pa.array([run_id] * rows).dictionary_encode(),
            "key": ["loss"] * rows,
            "value": [step / 2 for step in range(start, start + rows)],
            "step": pa.array(range(start, start + rows), pa.int32()),
        }
    )


@pytest.mark.parametrize("door", ["uri", "http_uri"])
def test_sql(server, run_id, door):
    uri = getattr(server, door)
    runlake.log_metrics(points(run_id), uri)
    result = runlake.sql(
        "SELECT * FROM points", ["x", 1, None, 0.5, dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)], uri=uri
    )
    assert result.schema.names == ["run_id", "key", "value", "step"]
    assert result.arrow().num_rows == 1000
    assert result.arrow() is result.arrow()
    assert server.state.queries[-1]["params"] == ["x", 1, None, 0.5, "2026-01-02T00:00:00Z"]
    streamed = sum(batch.num_rows for batch in runlake.sql("SELECT * FROM points", uri=uri, as_of="2026-01-01"))
    assert streamed == 1000
    assert server.state.queries[-1]["as_of"] == "2026-01-01"
    with pytest.raises(runlake.Refused, match="^SQL error at line 1, column 15: no table 'pints', there is 'points'$"):
        runlake.sql("SELECT * FROM pints", uri=uri)
    runlake.sql("SELECT * FROM points", {"run": "x"}, uri=uri)
    assert server.state.queries[-1]["params"] == {"run": "x"}
    with pytest.raises(runlake.RunlakeError, match="nan cannot be a parameter"):
        runlake.sql("SELECT 1", [float("nan")], uri=uri)
    once = runlake.sql("SELECT * FROM points", uri=uri)
    once.reader()
    with pytest.raises(runlake.RunlakeError, match="read already"):
        once.arrow()
    with pytest.raises(runlake.RunlakeError, match="cannot be a parameter"):
        runlake.sql("SELECT 1", [object()], uri=uri)


def test_sql_to_frames(server, run_id):
    runlake.log_metrics(points(run_id), server.uri)
    pandas = pytest.importorskip("pandas")
    frame = runlake.sql("SELECT * FROM points", uri=server.uri).pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 1000
    polars = pytest.importorskip("polars")
    frame = runlake.sql("SELECT * FROM points", uri=server.uri).polars()
    assert isinstance(frame, polars.DataFrame)
    assert frame["step"].sum() == sum(range(1000))
    assert polars.DataFrame(runlake.sql("SELECT * FROM points", uri=server.uri)).height == 1000


def test_sql_sees_what_was_logged(server, run_id):
    run = runlake.Run(run_id, server.uri)
    for step in range(100):
        run.log({"loss": 1}, step=step)
    assert runlake.sql("SELECT * FROM points", uri=server.uri).arrow().num_rows == 100


def frames(run_id):
    table = points(run_id)
    yield "table", table
    yield "batch", table.combine_chunks().to_batches()[0]
    yield "reader", table.to_reader(max_chunksize=100)
    yield "dict", table.to_pydict()
    yield "rows", table.to_pylist()
    try:
        import pandas as pd

        yield "pandas", pd.DataFrame(table.to_pydict())
    except ImportError:
        pass
    try:
        import polars as pl

        yield "polars", pl.DataFrame(table.to_pydict())
    except ImportError:
        pass


def test_log_metrics_takes_anything_tabular(server):
    for name, frame in frames("x"):
        run_id = server.new_run()
        if name == "reader":
            frame = points(run_id).to_reader(max_chunksize=100)
        else:
            frame = dict(frames(run_id))[name]
        written = runlake.log_metrics(frame, server.uri)
        assert written.rows == 1000, name
        assert server.steps(run_id) == list(range(1000)), name
    with pytest.raises(TypeError, match="is no table"):
        runlake.log_metrics(7, server.uri)
    with pytest.raises(runlake.RunlakeError, match="need a column 'value'"):
        runlake.log_metrics({"run_id": ["x"], "key": ["y"]}, server.uri)


@pytest.mark.parametrize("door", ["uri", "http_uri"])
def test_batches_and_ids(server, run_id, door):
    uri = getattr(server, door)
    written = runlake.log_metrics(points(run_id, 10_000), uri, batch_rows=100)
    assert (written.rows, written.batches) == (10_000, 100)
    assert server.steps(run_id) == list(range(10_000))
    for _ in range(2):
        runlake.log_metrics(points(run_id, 1000, 10_000), uri, batch_rows=100, batch_id="mine")
    assert server.steps(run_id) == list(range(11_000))


@pytest.mark.parametrize("door", ["uri", "http_uri"])
def test_params_and_tags(server, run_id, door):
    uri = getattr(server, door)
    runlake.log_params({"run_id": [run_id] * 2, "key": ["a", "b"], "value": ["1", "2"]}, uri)
    runlake.log_tags({"run_id": [run_id], "key": ["t"], "value": ["x"]}, uri)
    assert server.state.params[run_id] == {"a": "1", "b": "2"}
    assert server.state.tags[run_id]["t"] == "x"
    with pytest.raises(runlake.Refused, match="row 0: Changing param values") as caught:
        runlake.log_params({"run_id": [run_id], "key": ["a"], "value": ["9"]}, uri)
    assert caught.value.code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(runlake.Refused, match="no column 'colour'"):
        runlake.log_tags({"run_id": [run_id], "key": ["t"], "value": ["x"], "colour": ["red"]}, uri)
    with pytest.raises(runlake.Refused, match="not found") as caught:
        runlake.log_tags({"run_id": ["0" * 32], "key": ["t"], "value": ["x"]}, uri)
    assert caught.value.code == "RESOURCE_DOES_NOT_EXIST"


def test_a_refused_batch_says_what_was_durable(server, run_id):
    good, bad = points(run_id, 300), points("f" * 32, 100)
    table = pa.concat_tables([good, bad], promote_options="default").unify_dictionaries()
    with pytest.raises(runlake.Refused, match=r"300 rows in 3 batches were durable before"):
        runlake.log_metrics(table, server.uri, batch_rows=100)
    assert server.steps(run_id) == list(range(300))


def test_bulk_write_survives_the_server(server, run_id):
    def later():
        time.sleep(0.4)
        server.stop()
        time.sleep(1)
        server.start()

    server.state.delay = 0.01
    thread = threading.Thread(target=later)
    thread.start()
    written = runlake.log_metrics(points(run_id, 10_000), server.uri, batch_rows=100, timeout=20)
    thread.join()
    assert written.rows == 10_000
    assert server.steps(run_id) == list(range(10_000))


def test_no_server(server):
    server.stop()
    with pytest.raises(runlake.Unavailable):
        runlake.sql("SELECT 1", uri=server.uri)
    with pytest.raises(runlake.Unavailable, match="batch_id="):
        runlake.log_metrics(points("x", 10), server.uri, timeout=0.5)


def test_connect(server):
    pytest.importorskip("adbc_driver_flightsql")
    # The driver connects when it is first asked something.
    with runlake.connect(server.uri, token="secret") as connection:
        assert connection.cursor() is not None
    with pytest.raises(runlake.RunlakeError, match="offline"):
        runlake.connect("runlake://h?offline=x")


def test_addresses(monkeypatch):
    target = Target.parse("runlakes://user:p%40ss@example.org:8443/lake/?transport=http")
    assert (target.host, target.port, target.tls, target.prefix) == ("example.org", 8443, True, "/lake")
    assert target.http_url == "https://example.org:8443/lake"
    assert (target.given.username, target.given.password) == ("user", "p@ss")
    assert "p@ss" not in repr(target)
    assert target.uri == "runlakes://example.org:8443/lake"
    assert Target.parse("https://example.org").http_url == "https://example.org:443"
    assert Target.parse("runlake+https://[::1]:7").flight_url == "grpc+tls://[::1]:7"
    assert Target.parse().uri == "runlake://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:1")
    assert Target.parse().uri == "runlake://h:1"
    monkeypatch.setenv("RUNLAKE_URI", "runlake://g:2?transport=http")
    assert Target.parse().transport == "http"
    with pytest.raises(runlake.RunlakeError, match="names no runlake server"):
        Target.parse("sqlite:///x.db")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "n")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "p")
    assert Target.parse("runlake://h").credentials.header == "Basic bjpw"
    monkeypatch.setenv("RUNLAKE_TOKEN", "t")
    assert Target.parse("runlake://h").credentials.header == "Bearer t"
    assert Target.parse("runlake://h", token="u").credentials.header == "Bearer u"


def test_a_proxy_of_the_environment(server, run_id, monkeypatch):
    """The fake takes the address of a request whole, as a proxy does; the named host does not exist."""
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{server.http_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    uri = "runlake://no-such-host.invalid:5000?transport=http"
    runlake.log_metrics(points(run_id), uri)
    assert server.steps(run_id) == list(range(1000))
    assert server.state.proxied > 0
    monkeypatch.setenv("no_proxy", "127.0.0.1,no-such-host.invalid")
    with pytest.raises(runlake.Unavailable):
        runlake.log_metrics(points(run_id), uri, timeout=0.1)
