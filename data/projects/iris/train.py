"""A forest on Fisher's irises: how well it tells flowers apart that it has not seen."""

import argparse

import mlflow
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--n-estimators", type=int, required=True)
parser.add_argument("--max-depth", type=int, required=True)
parser.add_argument("--test-size", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
args = parser.parse_args()

irises = load_iris()
train_x, test_x, train_y, test_y = train_test_split(
    irises.data, irises.target, test_size=args.test_size, random_state=args.seed, stratify=irises.target
)

# The run that the project runs in; its parameters are logged already.
with mlflow.start_run():
    forest = RandomForestClassifier(max_depth=args.max_depth, random_state=args.seed, warm_start=True)
    for trees in sorted({max(1, args.n_estimators * part // 4) for part in (1, 2, 3, 4)}):
        forest.set_params(n_estimators=trees).fit(train_x, train_y)
        loss = log_loss(test_y, forest.predict_proba(test_x))
        mlflow.log_metric("loss", loss, step=trees)
        print(f"{trees} trees: loss {loss:.4f}", flush=True)
    accuracy = accuracy_score(test_y, forest.predict(test_x))
    mlflow.log_metric("accuracy", accuracy)
    importance = dict(zip(irises.feature_names, map(float, forest.feature_importances_)))
    mlflow.log_dict(importance, "importance.json")
    print(f"accuracy {accuracy:.4f}")
