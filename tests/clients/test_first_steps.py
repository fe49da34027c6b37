"""What a newcomer does first, with the stock client: log something, train something, get it back."""

import math
import warnings

import pytest

pytestmark = pytest.mark.both


def test_the_plain_example(tracking, client, name):
    experiment = tracking.set_experiment(name)
    with tracking.start_run(run_name="first") as run:
        tracking.log_param("lr", 0.01)
        tracking.log_params({"layers": 3, "act": "relu"})
        for step in range(5):
            tracking.log_metric("loss", 1 / (step + 1), step=step)
        tracking.log_metrics({"acc": 0.5, "f1": 0.25}, step=4)
        tracking.set_tag("team", "vision")
    stored = client.get_run(run.info.run_id)
    assert stored.info.run_name == "first"
    assert stored.info.status == "FINISHED"
    assert stored.info.experiment_id == experiment.experiment_id
    assert stored.info.end_time >= stored.info.start_time > 1_600_000_000_000
    assert stored.data.params == {"lr": "0.01", "layers": "3", "act": "relu"}
    assert stored.data.metrics == {"loss": 0.2, "acc": 0.5, "f1": 0.25}
    assert stored.data.tags["team"] == "vision"
    assert stored.data.tags["mlflow.runName"] == "first"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(step, 1 / (step + 1)) for step in range(5)]


def test_the_default_experiment_is_there(client):
    default = client.get_experiment("0")
    assert default.name == "Default"
    assert default.lifecycle_stage == "active"
    assert client.get_experiment_by_name("Default").experiment_id == "0"


def test_a_failing_block_marks_the_run_failed(tracking, client, name):
    tracking.set_experiment(name)
    with pytest.raises(ZeroDivisionError), tracking.start_run() as run:
        1 / 0  # noqa: B018
    assert client.get_run(run.info.run_id).info.status == "FAILED"


def test_set_experiment_finds_the_one_it_made(tracking, name):
    first = tracking.set_experiment(name)
    assert tracking.set_experiment(name).experiment_id == first.experiment_id


def test_resuming_a_run(tracking, client, name):
    tracking.set_experiment(name)
    with tracking.start_run() as run:
        tracking.log_metric("loss", 1.0, step=0)
    with tracking.start_run(run_id=run.info.run_id):
        tracking.log_metric("loss", 0.5, step=1)
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
    stored = client.get_run(run.info.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.metrics == {"loss": 0.5}


def test_nested_runs(tracking, client, name):
    experiment = tracking.set_experiment(name)
    with tracking.start_run(run_name="parent") as parent:
        for index in range(3):
            with tracking.start_run(run_name=f"child {index}", nested=True):
                tracking.log_param("index", index)
    children = client.search_runs(
        [experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["params.index"]
    )
    assert [run.info.run_name for run in children] == ["child 0", "child 1", "child 2"]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    assert "mlflow.parentRunId" not in client.get_run(parent.info.run_id).data.tags


def test_search_runs_as_a_data_frame(tracking, name):
    experiment = tracking.set_experiment(name)
    for index in range(4):
        with tracking.start_run(run_name=f"r{index}"):
            tracking.log_param("index", index)
            tracking.log_metric("score", index / 4)
    frame = tracking.search_runs([experiment.experiment_id], "metrics.score >= 0.25", order_by=["metrics.score DESC"])
    assert list(frame["params.index"]) == ["3", "2", "1"]
    assert list(frame["metrics.score"]) == [0.75, 0.5, 0.25]
    assert set(frame["status"]) == {"FINISHED"}


def test_log_batch_by_the_client(client, run):
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run,
        metrics=[Metric("loss", 0.5, 10, 1), Metric("loss", 0.25, 20, 2)],
        params=[Param("p", "1")],
        tags=[RunTag("t", "x")],
    )
    data = client.get_run(run).data
    assert data.metrics == {"loss": 0.25}
    assert data.params == {"p": "1"}
    assert data.tags["t"] == "x"


def test_odd_values_survive_the_client(client, run):
    for step, value in enumerate([math.nan, math.inf, -math.inf]):
        client.log_metric(run, f"v{step}", value, step=step)
    metrics = client.get_run(run).data.metrics
    assert math.isnan(metrics["v0"])
    # MLflow answers the greatest double for an infinity.
    assert metrics["v1"] >= 1.7976931348623157e308
    assert metrics["v2"] <= -1.7976931348623157e308


@pytest.fixture(scope="module")
def iris():
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)


def test_iris_model_comes_back_from_its_run(tracking, client, name, iris):
    import numpy
    import sklearn
    from sklearn.linear_model import LogisticRegression

    features, target = iris
    tracking.set_experiment(name)
    with tracking.start_run() as run, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(max_iter=500, C=0.7).fit(features, target)
        tracking.log_param("C", 0.7)
        tracking.log_metric("accuracy", model.score(features, target))
        info = tracking.sklearn.log_model(
            model,
            "model",
            input_example=features[:3],
            # Named, so that the client need not start a process of its own to find out.
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )
    by_run = tracking.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    assert numpy.array_equal(by_run.predict(features), model.predict(features))
    assert by_run.get_params()["C"] == 0.7
    by_uri = tracking.pyfunc.load_model(info.model_uri)
    assert numpy.array_equal(by_uri.predict(features), model.predict(features))
    assert by_uri.metadata.signature is not None
    assert client.get_run(run.info.run_id).data.metrics["accuracy"] == model.score(features, target)


def test_sklearn_autolog(tracking, client, name, iris):
    from sklearn.ensemble import RandomForestClassifier

    features, target = iris
    experiment = tracking.set_experiment(name)
    tracking.sklearn.autolog(log_models=False, silent=True)
    try:
        RandomForestClassifier(n_estimators=7, max_depth=3, random_state=1).fit(features, target)
    finally:
        tracking.sklearn.autolog(disable=True)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["n_estimators"] == "7"
    assert run.data.params["max_depth"] == "3"
    assert run.data.tags["estimator_name"] == "RandomForestClassifier"
    assert 0.9 < run.data.metrics["training_score"] <= 1.0
    assert run.data.metrics["training_accuracy_score"] == run.data.metrics["training_score"]
    # Autolog records what the model was trained on.
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["dataset"]
    # The estimator's drawing, and with it the artifact routes.
    assert "estimator.html" in [file.path for file in client.list_artifacts(run.info.run_id)]


def test_logging_in_the_background(tracking, client, name):
    tracking.set_experiment(name)
    with tracking.start_run() as run:
        for step in range(50):
            tracking.log_metric("loss", 1.0 / (step + 1), step=step, synchronous=False)
        tracking.log_param("p", 1, synchronous=False)
        tracking.flush_async_logging()
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 50
    assert client.get_run(run.info.run_id).data.params == {"p": "1"}


def test_all_pages_of_the_client(client, experiment):
    made = [client.create_run(experiment, start_time=1000 + index).info.run_id for index in range(7)]
    seen, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=3, page_token=token)
        seen += [run.info.run_id for run in page]
        token = page.token
        if not token:
            break
    assert seen == made[::-1]
