"""Asks runlake and DuckDB the same questions about the same lake.

DuckDB reads the Parquet files that the Delta logs name, in this process, with as many threads as there are cores;
runlake is asked over HTTP and answers in Arrow. Both are asked once before they are timed, and their answers compared.

Usage: sql.py URL LAKE QUERIES RUN OTHER DATASET. Prints a JSON list of [name, seconds of runlake, seconds of DuckDB].
"""

import json
import os
import statistics
import sys
import time
import urllib.request

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

# Timed answers of a query, fewer if it takes long.
ROUNDS = 7
LONG = 2.0


def queries(path: str, values: dict[str, str]) -> list[tuple[str, str, str]]:
    """Name, SQL of runlake, SQL of DuckDB."""
    found = []
    with open(path) as file:
        parts = file.read().split("-- name: ")[1:]
    for part in parts:
        name, text = part.split("\n", 1)
        for placeholder, value in values.items():
            text = text.replace("{" + placeholder + "}", value)
        ours, _, theirs = text.partition("-- duckdb\n")
        found.append((name.strip(), ours.strip(), (theirs or ours).strip()))
    return found


def ask_runlake(url: str, sql: str) -> pa.Table:
    body = json.dumps({"sql": sql}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/vnd.apache.arrow.stream"}
    request = urllib.request.Request(f"{url}/api/runlake/sql", body, headers)
    with urllib.request.urlopen(request) as answer:
        return pa.ipc.open_stream(answer.read()).read_all()


def duckdb_over(lake: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"SET threads = {os.cpu_count()}")
    connection.execute("SET TimeZone = 'UTC'")
    tables = os.path.join(lake, "tables")
    for table in sorted(os.listdir(tables)):
        files = DeltaTable(os.path.join(tables, table)).file_uris()
        if files:
            listed = ", ".join(f"'{file.removeprefix('file://')}'" for file in files)
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet([{listed}])")
    return connection


def timed(ask) -> tuple[float, pa.Table]:
    answer = ask()
    times: list[float] = []
    while len(times) < ROUNDS and sum(times) < LONG * ROUNDS / 2:
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return statistics.median(times), answer


def rows(table: pa.Table) -> list[tuple]:
    def cell(value):
        if isinstance(value, float):
            return float(f"{value:.6g}")
        return value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value

    return sorted((tuple(cell(value) for value in row.values()) for row in table.to_pylist()), key=repr)


def main() -> None:
    url, lake, path, run, other, dataset = sys.argv[1:]
    connection = duckdb_over(lake)
    figures = []
    for name, ours, theirs in queries(path, {"run": run, "other": other, "name": dataset}):
        our_time, our_answer = timed(lambda: ask_runlake(url, ours))
        their_time, their_answer = timed(lambda: connection.execute(theirs).to_arrow_table())
        if rows(our_answer) != rows(their_answer):
            sys.exit(f"{name}: runlake and DuckDB answer differently:\n{our_answer}\n{their_answer}")
        if our_answer.num_rows == 0:
            sys.exit(f"{name}: nobody found anything")
        figures.append([name, our_time, their_time])
        print(f"  {name}: {our_time * 1e3:.1f} ms, DuckDB {their_time * 1e3:.1f} ms", file=sys.stderr, flush=True)
    print(json.dumps(figures))


main()
