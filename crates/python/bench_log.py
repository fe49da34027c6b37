"""What logging a point costs the caller: MLflow with the plugin, MLflow by REST, and `runlake.Run`.

    python bench_log.py http://127.0.0.1:5000 [--calls 20000] [--pace MICROSECONDS]

The server must run at that address. `--flight host:port` names another address for Arrow Flight. With `--pace` the loop
works that long between two calls, as training does; without, it only logs, and shares its processor with the thread
that sends.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")

import mlflow

import runlake
from runlake._mlflow_store import RunlakeStore


def measure(call: Callable[[int], None], calls: int, pace: float = 0.0) -> list[float]:
    """Microseconds of each call, in order of size."""
    clock = time.perf_counter_ns
    times = []
    for step in range(calls):
        start = clock()
        call(step)
        end = clock()
        times.append((end - start) / 1000)
        if pace:
            until = end + pace * 1000
            while clock() < until:
                pass
    return sorted(times)


def show(name: str, times: list[float], note: str = "") -> None:
    count = len(times)
    p50, p99, worst = times[count // 2], times[count * 99 // 100], times[-1]
    print(f"{name:<46} {count:>8,} calls  p50 {p50:>9.2f} µs  p99 {p99:>9.2f} µs  max {worst / 1000:>8.2f} ms  {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="http://host:port")
    parser.add_argument("--flight", help="host:port of Arrow Flight, if it is another")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--pace", type=float, default=0.0, metavar="µs")
    parser.add_argument("--no-rest", action="store_true", help="leave out MLflow by REST")
    options = parser.parse_args()
    http = options.server.rstrip("/")
    uri = http.replace("http", "runlake", 1) + (f"?flight={options.flight}" if options.flight else "")
    print(f"mlflow {mlflow.__version__}, {http}")

    def fluent(step: int) -> None:
        mlflow.log_metric("loss", 0.1, step=step)

    calls = options.calls
    if not options.no_rest:
        mlflow.set_tracking_uri(http)
        mlflow.set_experiment("bench_log")
        with mlflow.start_run():
            show("mlflow.log_metric, REST", measure(fluent, min(calls, 500)))

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("bench_log")
    with mlflow.start_run() as active:
        measure(fluent, 200)
        show("mlflow.log_metric, plugin", measure(fluent, calls, options.pace))
        show(
            "mlflow.log_metrics (5), plugin",
            measure(lambda step: mlflow.log_metrics({f"m{i}": 0.1 for i in range(5)}, step=step), calls, options.pace),
        )
        client = mlflow.MlflowClient()
        run_id = active.info.run_id
        show(
            "MlflowClient.log_metric, plugin",
            measure(lambda step: client.log_metric(run_id, "client", 0.1, step=step), calls, options.pace),
        )
        # What of that is not the plugin's.
        original = RunlakeStore.log_metric
        RunlakeStore.log_metric = lambda self, run_id, metric: None
        show("mlflow.log_metric, a store that does nothing", measure(fluent, calls, options.pace))
        RunlakeStore.log_metric = original
        run = runlake.active_run()
        show("runlake.Run.log of MLflow's run", measure(lambda step: run.log({"own": 0.1}, step), calls, options.pace))
        started = time.perf_counter()
    show("  its end_run", [(time.perf_counter() - started) * 1e6])

    run = runlake.start_run("bench_log", uri=uri)
    show("runlake.Run.log", measure(lambda step: run.log({"loss": 0.1}, step), calls * 5, options.pace))
    started = time.perf_counter()
    run.finish()
    show("  its finish", [(time.perf_counter() - started) * 1e6])


if __name__ == "__main__":
    main()
