"""The steps, one after the other; each is a run of its own, and part of this one."""

import argparse
import sys

import mlflow
from mlflow.artifacts import download_artifacts


def step(entry_point, **parameters):
    """Runs an entry point of this project, and gives its finished run."""
    submitted = mlflow.projects.run(".", entry_point, parameters=parameters, env_manager="local")
    return mlflow.get_run(submitted.run_id)


parser = argparse.ArgumentParser()
parser.add_argument("--model-name", required=True)
parser.add_argument("--least-accuracy", type=float, required=True)
args = parser.parse_args()

with mlflow.start_run():
    loaded = step("load")
    data = download_artifacts(f"runs:/{loaded.info.run_id}/data")
    trained = step("train", data=data)
    model = f"runs:/{trained.info.run_id}/model"
    evaluated = step("evaluate", data=data, model=model)
    accuracy = evaluated.data.metrics["accuracy"]
    mlflow.log_metric("accuracy", accuracy)
    if accuracy < args.least_accuracy:
        sys.exit(f"accuracy {accuracy:.3f} is below {args.least_accuracy}: the model is not registered")
    step("register", model=model, model_name=args.model_name)
