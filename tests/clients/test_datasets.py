"""Datasets as inputs of runs: logging, reading back, searching runs by them, summaries of experiments."""

import json

import pytest

from support.api import pair

SUMMARIES = "/ajax-api/2.0/mlflow/experiments/search-datasets"


def dataset(name="data", digest="d1", **more):
    return {"name": name, "digest": digest, "source_type": "local", "source": "file:///x", **more}


def entry(name="data", digest="d1", context="train", **more):
    return {"tags": [pair("mlflow.data.context", context)], "dataset": dataset(name, digest, **more)}


def log(api, run_id, *entries):
    assert api.post("runs/log-inputs", run_id=run_id, datasets=list(entries)) == {}


def inputs(api, run_id):
    return api.run(run_id)["inputs"].get("dataset_inputs", [])


class TestLogInputs:
    def test_comes_back(self, api, run, experiment):
        given = entry(schema='{"a": "long"}', profile='{"rows": 3}')
        log(api, run, given)
        assert inputs(api, run) == [given]
        (found,) = api.search_runs([experiment])
        assert found["inputs"]["dataset_inputs"] == [given]

    def test_a_run_without_inputs(self, api, run):
        assert api.run(run)["inputs"] == {}

    def test_the_first_one_of_a_name_and_digest_wins(self, api, run, new_run):
        log(api, run, entry(schema="first"))
        other = new_run()
        log(api, other, entry(schema="second", source="file:///y"))
        assert inputs(api, other)[0]["dataset"] == dataset(schema="first")

    def test_again_for_the_same_run_changes_nothing(self, api, run):
        log(api, run, entry(context="train"))
        log(api, run, entry(context="eval"))
        assert inputs(api, run) == [entry(context="train")]

    def test_several(self, api, run):
        given = [entry("a", "1", "train"), entry("a", "2", "eval"), entry("b", "1", "test")]
        log(api, run, *given)
        assert sorted(inputs(api, run), key=json.dumps) == sorted(given, key=json.dumps)

    def test_experiments_keep_their_datasets_apart(self, api, run, name):
        log(api, run, entry(schema="here"))
        other = api.create_run(api.create_experiment(f"{name} other"))
        log(api, other, entry(schema="there"))
        assert inputs(api, other)[0]["dataset"]["schema"] == "there"
        assert inputs(api, run)[0]["dataset"]["schema"] == "here"

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ([entry(name="n" * 501)], "'name' exceeds the maximum length of 500 characters"),
            ([entry(digest="d" * 37)], "'digest' exceeds the maximum length of 36 characters"),
            ([entry(source="s" * 65536)], "'source' exceeds the maximum length of 65535 characters"),
            ([{"tags": [pair("k" * 256, "v")], "dataset": dataset()}], "exceeds the maximum length of 255 characters"),
            ([{"tags": [pair("k", "v" * 501)], "dataset": dataset()}], "exceeds the maximum length of 500 characters"),
            ("text", "Invalid value"),
        ],
        ids=["name", "digest", "source", "tag key", "tag value", "no array"],
    )
    def test_refused(self, api, run, bad, message):
        answer = api.send("POST", "runs/log-inputs", {"run_id": run, "datasets": bad})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE"), answer.text
        assert message in answer.message
        assert inputs(api, run) == []

    def test_unknown_run(self, api):
        answer = api.send("POST", "runs/log-inputs", {"run_id": "0" * 32, "datasets": [entry()]})
        assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")


class TestSearchByDataset:
    @pytest.fixture(scope="class")
    def made(self, api):
        import uuid

        experiment_id = api.create_experiment(f"datasets {uuid.uuid4().hex}")
        given = {
            "a": [entry("wine", "1", "train")],
            "b": [entry("wine", "2", "eval")],
            "c": [entry("iris", "1", "train"), entry("wine", "2", "train")],
            "d": [],
        }
        runs = {}
        for index, (letter, entries) in enumerate(given.items()):
            runs[letter] = api.create_run(experiment_id, start_time=1000 + index)
            if entries:
                log(api, runs[letter], *entries)
        return experiment_id, runs

    CASES = [
        ("datasets.name = 'wine'", "cba"),
        ("dataset.name != 'wine'", "c"),
        ("dataset.name LIKE 'w%'", "cba"),
        ("dataset.name ILIKE 'IR%'", "c"),
        ("dataset.digest = '1'", "ca"),
        ("dataset.name IN ('iris', 'wine')", "cba"),
        ("dataset.name NOT IN ('wine')", "c"),
        ("dataset.context = 'eval'", "b"),
        ("datasets.name = 'wine' AND datasets.digest = '2'", "cb"),
        ("datasets.context = 'train' AND attributes.start_time < 1002", "a"),
    ]

    @pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
    def test_filter(self, api, made, text, expected):
        experiment_id, runs = made
        found = [run["info"]["run_id"] for run in api.search_runs([experiment_id], filter=text)]
        assert found == [runs[letter] for letter in expected]

    def test_summaries(self, api, made):
        experiment_id, _ = made
        answer = api.post(SUMMARIES, experiment_ids=[experiment_id])
        summaries = {
            (s["experiment_id"], s["name"], s["digest"], s.get("context")) for s in answer["dataset_summaries"]
        }
        assert summaries == {
            (experiment_id, "wine", "1", "train"),
            (experiment_id, "wine", "2", "eval"),
            (experiment_id, "wine", "2", "train"),
            (experiment_id, "iris", "1", "train"),
        }
        assert len(answer["dataset_summaries"]) == 4

    @pytest.mark.parametrize(
        ("experiments", "message"),
        [
            ([], "SearchDatasets request must specify at least one experiment_id."),
            (
                [str(i) for i in range(21)],
                "SearchDatasets request cannot specify more than 20 experiment_ids. Received 21 experiment_ids.",
            ),
        ],
    )
    def test_summaries_refused(self, api, experiments, message):
        answer = api.send("POST", SUMMARIES, {"experiment_ids": experiments})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in answer.message


@pytest.mark.both
def test_log_input_by_the_client(tracking, client, name):
    import pandas

    experiment = tracking.set_experiment(name)
    frame = pandas.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    data = tracking.data.from_pandas(frame, source="https://example.org/data.csv", name="points", targets="y")
    with tracking.start_run() as run:
        tracking.log_input(data, context="training", tags={"part": "1"})
    (stored,) = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert (stored.dataset.name, stored.dataset.digest) == ("points", data.digest)
    assert json.loads(stored.dataset.profile) == {"num_rows": 2, "num_elements": 4}
    assert {tag.key: tag.value for tag in stored.tags} == {"mlflow.data.context": "training", "part": "1"}
    found = client.search_runs([experiment.experiment_id], "dataset.name = 'points' AND dataset.context = 'training'")
    assert [r.info.run_id for r in found] == [run.info.run_id]
    # And back to where the data came from.
    source = tracking.data.get_source(stored)
    assert source.url == "https://example.org/data.csv"
