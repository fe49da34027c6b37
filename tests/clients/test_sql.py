"""SQL over HTTP and from the command line: formats, parameters, limits, refusals, time travel, lineage."""

import io
import json
import subprocess
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from support.server import binary

SQL = "/api/runlake/sql"

# MLflow's server has no SQL.
pytestmark = pytest.mark.runlake


@pytest.fixture
def ask(server):
    def ask(sql, accept="application/json", status=200, **body):
        answer = requests.post(server.uri + SQL, json={"sql": sql, **body}, headers={"Accept": accept}, timeout=60)
        assert answer.status_code == status, answer.text
        return answer

    return ask


@pytest.fixture
def sweep(tracking, name):
    """Three runs with a param, a metric of a few steps and a tag."""
    tracking.set_experiment(name)
    runs = []
    for number in range(3):
        with tracking.start_run(run_name=f"{name}-{number}") as run:
            tracking.log_param("lr", 0.1 * (number + 1))
            tracking.log_param("model", "svm" if number else "tree")
            for step in range(4):
                tracking.log_metric("loss", (number + 1) / (step + 1), step=step)
            tracking.set_tag("color", "red")
        runs.append(run.info.run_id)
    return runs


def rows(answer):
    return answer.json()["rows"]


def test_what_was_logged_is_there_at_once(ask, sweep, name):
    wide = f"""SELECT run_name, "params.lr", "params.model", "metrics.loss", "tags.color"
               FROM runs_wide('{name}') ORDER BY "metrics.loss" DESC"""
    answer = ask(wide).json()
    assert [column["type"] for column in answer["columns"]] == ["VARCHAR", "DOUBLE", "VARCHAR", "DOUBLE", "VARCHAR"]
    assert [row[0] for row in answer["rows"]] == [f"{name}-{number}" for number in (2, 1, 0)]
    assert answer["rows"][0][1] == pytest.approx(0.3) and answer["rows"][0][3] == 0.75
    assert (answer["row_count"], answer["truncated"]) == (3, False)
    best = f"SELECT min(value) FROM metrics WHERE run_id IN ({', '.join(repr(run) for run in sweep)})"
    assert rows(ask(best)) == [[0.25]]


def test_every_format_holds_the_same_rows(ask, sweep):
    sql = "SELECT run_id, step, value FROM metrics WHERE run_id = $1 ORDER BY step"
    wanted = [[sweep[0], step, 1 / (step + 1)] for step in range(4)]
    assert rows(ask(sql, params=[sweep[0]])) == wanted
    lines = ask(sql, "application/x-ndjson", params=[sweep[0]]).text.splitlines()
    assert [list(json.loads(line).values()) for line in lines] == wanted
    text = ask(sql, "text/csv", params=[sweep[0]])
    assert text.headers["Content-Type"] == "text/csv"
    assert text.text.splitlines()[0] == "run_id,step,value" and len(text.text.splitlines()) == 5
    stream = ask(sql, "application/vnd.apache.arrow.stream", params=[sweep[0]])
    table = pa.ipc.open_stream(stream.content).read_all()
    assert table.schema.field("value").type == pa.float64() and table.schema.field("run_id").type == pa.string()
    assert [list(row.values()) for row in table.to_pylist()] == wanted
    parquet = ask(sql, "application/vnd.apache.parquet", params=[sweep[0]])
    assert [list(row.values()) for row in pq.read_table(io.BytesIO(parquet.content)).to_pylist()] == wanted
    ask(sql, "image/png", status=406, params=[sweep[0]])


def test_values_json_does_not_have_are_texts(ask, tracking, name):
    tracking.set_experiment(name)
    with tracking.start_run() as run:
        for step, value in enumerate([float("nan"), float("inf"), float("-inf")]):
            tracking.log_metric("odd", value, step=step)
    sql = "SELECT value FROM metrics WHERE run_id = $run ORDER BY step"
    assert rows(ask(sql, params={"run": run.info.run_id})) == [["NaN"], ["Infinity"], ["-Infinity"]]


def test_parameters_are_bound_and_not_pasted(ask, sweep, name):
    evil = "x' OR '1'='1"
    assert rows(ask("SELECT count(*) FROM runs WHERE run_name = $1", params=[evil])) == [[0]]
    assert rows(ask("SELECT count(*) FROM runs WHERE run_name = ?", params=[f"{name}-0"])) == [[1]]
    assert rows(ask("SELECT count(*) FROM runs_wide($1)", params=[name])) == [[3]]
    ask("SELECT $1", status=400)


def test_a_limit_cuts_and_says_so(ask):
    answer = ask("SELECT * FROM generate_series(1, 100)", row_limit=7).json()
    assert (answer["row_count"], answer["truncated"]) == (7, True)


@pytest.mark.parametrize(
    "sql, status, told",
    [
        ("SELEC 1", 400, "Line: 1"),
        ("SELECT * FROM run", 404, "did you mean runs"),
        ("SELECT run_nam FROM runs", 400, "run_name"),
        ("SELECT * FROM users", 404, "no table"),
        ("SELECT * FROM tokens", 404, "no table"),
        ("DROP TABLE runs", 400, "only reads"),
        ("DELETE FROM runs", 400, "only reads"),
        ("INSERT INTO runs SELECT * FROM runs", 400, "only reads"),
        ("COPY runs TO '/tmp/never.csv'", 400, "only reads"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", 400, "only reads"),
        ("SELECT 1; SELECT 2", 400, "one statement"),
        ("SELECT * FROM runs_wide('no such experiment')", 404, "no experiment"),
        ("SELECT * FROM lineage('models:/Nobody/1')", 404, "not found"),
        ("SELECT CAST('x' AS INT)", 400, "x"),
    ],
)
def test_what_is_wrong_is_told(ask, sql, status, told):
    refused = ask(sql, status=status).json()
    assert told in refused["message"], refused
    assert refused["error_code"] == ("RESOURCE_DOES_NOT_EXIST" if status == 404 else "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("body", [b"", b"SELECT 1", b"[]", b'{"query": "SELECT 1"}', b'{"sql": "SELECT 1", "x": 1}'])
def test_bodies_that_are_no_question_are_refused(server, body):
    answer = requests.post(server.uri + SQL, data=body, headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == 400 and "sql" in answer.json()["message"]


def test_a_query_that_takes_too_long_is_stopped(ask):
    endless = "SELECT count(*) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b"
    started = time.monotonic()
    assert "stopped after" in ask(endless, status=409, timeout_ms=300).json()["message"]
    assert time.monotonic() - started < 20


def test_the_registry_tells_who_was_champion(ask, client, name):
    client.create_registered_model(name)
    for number in (1, 2):
        client.create_model_version(name, "s3://bucket/model")
        client.set_registered_model_alias(name, "champion", str(number))
    told = "SELECT new_value FROM registry_events WHERE name = $1 AND action = 'alias_set' ORDER BY time, event_id"
    assert rows(ask(told, params=[name])) == [["1"], ["2"]]
    edges = rows(ask("SELECT source, kind, target FROM lineage($1, 'down')", params=[f"models:/{name}/2"]))
    assert edges == [[f"models:/{name}/2", "alias", f"models:/{name}@champion"]]


def run_sql(*arguments, stdin=""):
    return subprocess.run(
        [binary(), "sql", *arguments], input=stdin, capture_output=True, text=True, timeout=120
    )


def test_the_command_asks_a_server(server, sweep, tmp_path):
    at = ["--server", server.uri]
    table = run_sql(f"SELECT run_id, count(*) AS points FROM metrics WHERE run_id = '{sweep[0]}' GROUP BY 1", *at)
    assert table.returncode == 0, table.stderr
    assert sweep[0] in table.stdout and "1 row" in table.stdout
    csv = run_sql("SELECT step FROM metrics WHERE run_id = $1 ORDER BY 1", *at, "-p", sweep[1], "--format", "csv")
    assert csv.stdout.splitlines() == ["step", "0", "1", "2", "3"]
    target = tmp_path / "points.parquet"
    written = run_sql(f"SELECT * FROM metrics WHERE run_id = '{sweep[2]}'", *at, "--output", str(target))
    assert written.returncode == 0, written.stderr
    assert pq.read_table(target).num_rows == 4
    piped = run_sql(*at, "--format", "csv", stdin="SELECT 1 AS a; -- one; more\nSELECT ';' AS b;\n")
    assert piped.stdout.splitlines() == ["a", "1", "b", ";"]


def test_the_command_says_what_is_wrong(server, tmp_path):
    wrong = run_sql("SELECT * FROM run", "--server", server.uri)
    assert wrong.returncode == 1 and "did you mean runs" in wrong.stderr
    nobody = run_sql("SELECT 1", "--server", "http://127.0.0.1:9")
    assert nobody.returncode == 1 and "did not answer" in nobody.stderr
    nowhere = run_sql("SELECT 1", "--lake", str(tmp_path / "nothing"))
    assert nowhere.returncode == 1 and "no folder" in nowhere.stderr
    target = tmp_path / "never.csv"
    failed = run_sql("SELECT nothing FROM runs", "--server", server.uri, "--output", str(target))
    assert failed.returncode == 1 and list(tmp_path.iterdir()) == []


def test_a_lake_is_asked_while_a_server_writes_it(own_server):
    import mlflow

    mlflow.set_tracking_uri(own_server.uri)
    mlflow.set_experiment("beside")
    with mlflow.start_run(run_name="beside"):
        mlflow.log_metric("loss", 1.5)
    found = run_sql("SELECT run_name, value FROM runs JOIN latest_metrics USING (run_id)", "--lake", str(own_server.lake),
                    "--format", "csv")
    assert found.stdout.splitlines() == ["run_name,value", "beside,1.5"], found.stderr


def test_changes_are_told(server, client, name):
    with requests.get(server.uri + "/api/runlake/changes", stream=True, timeout=30) as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        lines = events.iter_lines(decode_unicode=True)

        def position():
            for line in lines:
                if line.startswith("data: "):
                    return json.loads(line.removeprefix("data: "))["position"]

        before = position()
        client.create_experiment(name)
        assert position() > before


def test_own_routes_are_described(server):
    document = requests.get(server.uri + "/api/runlake/openapi.json", timeout=30).json()
    assert document["paths"]["/api/runlake/sql"]["post"]["requestBody"]
    page = requests.get(server.uri + "/api/runlake/docs", timeout=30)
    assert page.status_code == 200 and "POST /api/runlake/sql" in page.text and "<script" not in page.text
