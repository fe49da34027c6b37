"""Makes the model a version of a registered one."""

import argparse

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import RestException

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--model-name", required=True)
args = parser.parse_args()

client = MlflowClient()
run_id, path = args.model.removeprefix("runs:/").split("/", 1)
with mlflow.start_run():
    try:
        client.create_registered_model(args.model_name)
    except RestException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{path}"
    version = client.create_model_version(args.model_name, source, run_id)
    mlflow.set_tag("version", version.version)
    print(f"{args.model_name} version {version.version}")
