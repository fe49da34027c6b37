"""Fills a lake for measuring the web app: many runs with 20 columns, and some runs with long curves.

    python data/ui/many.py http://127.0.0.1:5000 [--runs 100000] [--curves 1000] [--points 10000]
"""

import argparse
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import local

import requests

START = 1_760_000_000_000
here = local()


def post(url, path, body):
    if not hasattr(here, "session"):
        here.session = requests.Session()
    answer = here.session.post(f"{url}/api/2.0/mlflow/{path}", json=body, timeout=120)
    if answer.status_code == 429:
        time.sleep(float(answer.headers.get("retry-after", 1)))
        return post(url, path, body)
    answer.raise_for_status()
    return answer.json()


def experiment(url, name):
    answer = requests.get(f"{url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": name}, timeout=60)
    return answer.json()["experiment"]["experiment_id"] if answer.ok else post(url, "experiments/create", {"name": name})["experiment_id"]


def run(url, of, i):
    rng = random.Random(i)
    made = post(url, "runs/create", {"experiment_id": of, "run_name": f"run-{i:06}", "start_time": START + i * 1000})["run"]["info"]["run_id"]
    params = {f"param_{k}": round(rng.random(), 4) for k in range(9)} | {"optimizer": rng.choice(["adam", "sgd", "adamw"])}
    metrics = [{"key": f"metric_{k}", "value": rng.random(), "step": 0, "timestamp": START} for k in range(10)]
    post(url, "runs/log-batch", {"run_id": made, "metrics": metrics, "params": [{"key": k, "value": str(v)} for k, v in params.items()]})
    post(url, "runs/update", {"run_id": made, "status": "FINISHED", "end_time": START + i * 1000 + rng.randint(1, 10**6)})


def curve(url, of, i, points):
    rng = random.Random(i)
    made = post(url, "runs/create", {"experiment_id": of, "run_name": f"curve-{i:04}", "start_time": START + i * 1000})["run"]["info"]["run_id"]
    value = 2 + rng.random()
    for at in range(0, points, 1000):
        metrics = []
        for step in range(at, min(points, at + 1000)):
            value += rng.gauss(-0.0001, 0.01)
            metrics.append({"key": "loss", "value": value, "step": step, "timestamp": START + step * 100})
        post(url, "runs/log-batch", {"run_id": made, "metrics": metrics})
    post(url, "runs/update", {"run_id": made, "status": "FINISHED", "end_time": START + 10**6})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:5000")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--curves", type=int, default=1000)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=16)
    options = parser.parse_args()
    many, curves = experiment(options.url, "bench/many"), experiment(options.url, "bench/curves")
    with ThreadPoolExecutor(options.threads) as pool:
        for _ in pool.map(lambda i: run(options.url, many, i), range(options.runs)):
            pass
        for _ in pool.map(lambda i: curve(options.url, curves, i, options.points), range(options.curves)):
            pass
    print(json.dumps({"many": many, "curves": curves}))


if __name__ == "__main__":
    main()
