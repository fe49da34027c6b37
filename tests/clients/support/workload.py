"""One of everything, logged over the REST API, and all that a server says about it."""

import json
import random

from .api import ARTIFACTS, Api, metric, pair
from .model import made_runs


def log_everything(api: Api, seed: int = 3) -> dict:
    """Fills a fresh server; answers what the tests need to know of it."""
    chance = random.Random(seed)
    first = api.create_experiment("first", tags=[pair("owner", "ada")])
    second = api.create_experiment("second")
    gone = api.create_experiment("gone")
    runs = made_runs(30, seed)
    for run in runs:
        run.log(api, first)
    long_run = api.create_run(second, run_name="long")
    for start in range(0, 3000, 500):
        points = [metric("loss", 1 / (1 + step), 1000 + step, step) for step in range(start, start + 500)]
        points += [metric("noise", chance.random(), 1000 + step, step) for step in range(start, start + 500)]
        assert api.log_batch(long_run, metrics=points).status == 200
    for value in ("NaN", "Infinity", "-Infinity", 5e-324, -0.25):
        api.post("runs/log-metric", run_id=long_run, key="odd", value=value, timestamp=5, step=-3)
    api.post("runs/log-metric", run_id=long_run, key="odd", value=-0.25, timestamp=5, step=-3)
    api.post("runs/set-tag", run_id=long_run, key="gone", value="1")
    api.post("runs/delete-tag", run_id=long_run, key="gone")
    api.post("runs/update", run_id=long_run, status="FINISHED", end_time=99_000, run_name="renamed")
    child = api.create_run(second, tags=[pair("mlflow.parentRunId", long_run)])
    dataset = {"name": "wine", "digest": "d1", "source_type": "local", "source": "s", "schema": "{}", "profile": "{}"}
    api.post(
        "runs/log-inputs", run_id=child, datasets=[{"tags": [pair("mlflow.data.context", "train")], "dataset": dataset}]
    )
    model = api.post(
        "logged-models",
        experiment_id=second,
        name="forest",
        source_run_id=long_run,
        params=[pair("depth", "3")],
        tags=[pair("team", "x")],
    )["model"]["info"]["model_id"]
    api.post("runs/log-metric", run_id=long_run, key="acc", value=0.5, timestamp=7, step=1, model_id=model)
    api.patch(f"logged-models/{model}", model_id=model, status="LOGGED_MODEL_READY")
    api.post("runs/outputs", run_id=long_run, models=[{"model_id": model, "step": 1}])
    in_gone = api.create_run(gone)
    api.post("experiments/delete", experiment_id=gone)
    body = bytes(chance.randrange(256) for _ in range(10_000))
    path = f"{ARTIFACTS}/{second}/{long_run}/artifacts/sub/file.bin"
    assert api.request("PUT", path, body).status == 200
    return {
        "experiments": [first, second, gone],
        "runs": [run.run_id for run in runs] + [long_run, child, in_gone],
        "made": runs,
        "long": long_run,
        "child": child,
        "model": model,
        "artifact": path,
        "body": body,
    }


def every_answer(api: Api, known: dict) -> dict:
    """What the server says about all of it, as comparable JSON."""
    answers = {
        "experiments": api.post("experiments/search", max_results=100, view_type="ALL", order_by=["experiment_id"]),
        "all runs": api.search_runs(known["experiments"], run_view_type="ALL", max_results=7),
        "by metric": api.search_runs(
            known["experiments"], order_by=["metrics.loss DESC", "params.lr"], filter="metrics.loss < 2"
        ),
        "by text": api.search_runs(known["experiments"], filter="params.lr LIKE '0%' AND tags.team ILIKE 'v%'"),
        "by dataset": api.search_runs(known["experiments"], filter="dataset.name = 'wine'"),
        "models": api.post("logged-models/search", experiment_ids=known["experiments"]),
        "model": api.get(f"logged-models/{known['model']}"),
        "files": api.get("artifacts/list", run_id=known["long"]),
        "file": api.request("GET", known["artifact"]).body == known["body"],
    }
    for run_id in known["runs"]:
        answers[f"run {run_id}"] = api.run(run_id)
    for key in ("loss", "noise", "odd", "acc"):
        answers[f"history {key}"] = api.history(known["long"], key, max_results=1000)
    return json.loads(json.dumps(answers, sort_keys=True))
