"""Goes down a parabola, and logs how far it is from the bottom."""

import argparse

import mlflow

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--steps", type=int, required=True)
args = parser.parse_args()

with mlflow.start_run():
    at = 1.0
    for step in range(args.steps):
        at -= args.rate * 2 * at
        mlflow.log_metric("height", at * at, step=step)
    print(f"height {at * at:.3g} after {args.steps} steps")
