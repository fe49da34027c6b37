"""Reads all runs of an experiment into pandas: from runlake by `runs_wide`, from a tracking server by `mlflow.search_runs`.

Usage: wide.py runlake|mlflow URL. Prints seconds (the median of three), rows and columns.
"""

import json
import statistics
import sys
import time
import urllib.request


def by_sql(url: str):
    import pyarrow as pa

    body = json.dumps({"sql": "SELECT * FROM runs_wide('0')"}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/vnd.apache.arrow.stream"}
    request = urllib.request.Request(f"{url}/api/runlake/sql", body, headers)
    with urllib.request.urlopen(request) as answer:
        return pa.ipc.open_stream(answer.read()).read_all().to_pandas()


def by_client(url: str):
    import mlflow

    mlflow.set_tracking_uri(url)
    return mlflow.search_runs(experiment_ids=["0"], max_results=1_000_000)


def main() -> None:
    kind, url = sys.argv[1:]
    ask = by_sql if kind == "runlake" else by_client
    times = []
    for _ in range(3 if kind == "runlake" else 1):
        started = time.perf_counter()
        frame = ask(url)
        times.append(time.perf_counter() - started)
    print(json.dumps([statistics.median(times), len(frame), len(frame.columns)]))


main()
