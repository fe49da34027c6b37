"""Lineage: from datasets through runs and models to aliases, by REST, as a tree in the terminal, as OpenLineage."""

import subprocess
import uuid
from datetime import datetime
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from support.server import binary

LINEAGE = "/api/runlake/lineage"

# MLflow's server has no lineage.
pytestmark = pytest.mark.runlake


@pytest.fixture
def made(tracking, client, name):
    """Two datasets, of which a run made a model; a second run that evaluated it; two versions, the second a copy."""
    import pandas as pd
    from mlflow.pyfunc import PythonModel

    class Echo(PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input

    tracking.set_experiment(name)

    def dataset(part, rows):
        # The test's name among the rows makes digests that no other test has.
        frame = pd.DataFrame({"x": rows, "salt": name})
        return tracking.data.from_pandas(frame, source=f"s3://b/{part}.csv", name=f"{name}-{part}")

    train, held_out = dataset("train", [1, 2]), dataset("test", [3])
    with tracking.start_run(run_name="training") as run:
        tracking.log_input(train, context="training")
        model = tracking.pyfunc.log_model(name="echo", python_model=Echo(), registered_model_name=name)
    with tracking.start_run(run_name="evaluation") as evaluation:
        tracking.log_input(held_out, context="eval")
        client.log_inputs(evaluation.info.run_id, models=[tracking.entities.LoggedModelInput(model_id=model.model_id)])
    client.create_registered_model(f"{name}-prod")
    client.copy_model_version(f"models:/{name}/1", f"{name}-prod")
    client.set_registered_model_alias(f"{name}-prod", "champion", "1")
    return SimpleNamespace(
        train=f"dataset:{name}-train@{train.digest}",
        test=f"dataset:{name}-test@{held_out.digest}",
        digest=train.digest,
        run=f"run:{run.info.run_id}",
        evaluation=f"run:{evaluation.info.run_id}",
        model=f"models:/{model.model_id}",
        version=f"models:/{name}/1",
        copy=f"models:/{name}-prod/1",
        alias=f"models:/{name}-prod@champion",
    )


def edges(answer):
    return {(edge["from"], edge["kind"], edge["to"]) for edge in answer["edges"]}


class TestRest:
    def test_up_to_the_data(self, api, made):
        answer = api.get(LINEAGE, of=made.copy, direction="up")
        assert answer["start"] == [made.copy]
        assert (answer["direction"], answer["truncated"]) == ("up", False)
        assert edges(answer) == {
            (made.version, "copied", made.copy),
            (made.model, "registered", made.version),
            (made.run, "output", made.model),
            (made.train, "input", made.run),
        }
        assert [edge["depth"] for edge in answer["edges"]] == [1, 2, 3, 4]
        nodes = {node["id"]: node for node in answer["nodes"]}
        assert nodes.keys() == {made.copy, made.version, made.model, made.run, made.train}
        assert all(node["known"] for node in nodes.values())
        assert nodes[made.run]["name"] == "training"
        assert nodes[made.run]["status"] == "FINISHED"
        assert nodes[made.model]["name"] == "echo"
        assert "s3://b/train.csv" in nodes[made.train]["source"]

    def test_what_stands_on_a_dataset(self, api, made):
        answer = api.get(LINEAGE, of=f"dataset:{made.digest}", direction="down")
        assert answer["start"] == [made.train]
        assert edges(answer) == {
            (made.train, "input", made.run),
            (made.run, "output", made.model),
            (made.model, "input", made.evaluation),
            (made.model, "registered", made.version),
            (made.version, "copied", made.copy),
            (made.copy, "alias", made.alias),
        }
        assert made.test not in {node["id"] for node in answer["nodes"]}

    def test_both_ways_is_the_default_and_an_alias_means_its_version(self, api, made):
        answer = api.get(LINEAGE, of=made.alias)
        assert answer["start"] == [made.copy]
        assert {(edge["direction"], edge["kind"]) for edge in answer["edges"]} == {
            ("up", "copied"),
            ("up", "registered"),
            ("up", "output"),
            ("up", "input"),
            ("down", "alias"),
        }

    def test_a_deleted_run_is_shown_as_such(self, api, client, made):
        client.delete_run(made.run.removeprefix("run:"))
        answer = api.get(LINEAGE, of=made.version, direction="up")
        (run,) = [node for node in answer["nodes"] if node["kind"] == "run"]
        assert (run["known"], run["lifecycle_stage"]) == (True, "deleted")

    def test_the_same_after_a_restart(self, own_server, tmp_path):
        from support.api import Api

        api = Api(own_server.uri)
        run = api.create_run("0")
        data = {"name": "d", "digest": "1", "source_type": "local", "source": "x"}
        api.post("runs/log-inputs", run_id=run, datasets=[{"dataset": data}])
        before = api.get(LINEAGE, of="dataset:1")
        own_server.flush()
        own_server.restart()
        assert Api(own_server.uri).get(LINEAGE, of="dataset:1") == before
        assert edges(before) == {("dataset:d@1", "input", f"run:{run}")}

    @pytest.mark.parametrize(
        ("query", "status", "message"),
        [
            ({}, 400, "Missing value for required parameter 'of'"),
            ({"of": "Name/3"}, 400, "models:/Name/3"),
            ({"of": "models:/nobody/3"}, 404, "'models:/nobody/3' not found"),
            ({"of": "run:nobody"}, 404, "Run 'nobody' not found"),
            ({"of": "dataset:nothing"}, 404, "Dataset 'nothing' not found"),
            ({"of": "run:x", "direction": "left"}, 400, "it must be up, down or both"),
            ({"of": "run:x", "format": "dot"}, 400, "it must be graph or openlineage"),
        ],
        ids=["nothing", "malformed", "no version", "no run", "no dataset", "direction", "format"],
    )
    def test_refused(self, api, query, status, message):
        answer = api.send("GET", LINEAGE, query=query)
        assert answer.status == status, answer.text
        assert message in answer.message


class TestOpenLineage:
    def test_events_are_valid(self, api, made):
        events = api.get(LINEAGE, of=made.copy, format="openlineage")
        for event in events:
            assert event["eventType"] in {"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"}
            assert datetime.fromisoformat(event["eventTime"]).tzinfo
            assert str(uuid.UUID(event["run"]["runId"])) == event["run"]["runId"]
            assert event["job"]["namespace"].startswith("runlake://") and event["job"]["name"]
            assert urlsplit(event["producer"]).scheme
            assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
            for dataset in event["inputs"] + event["outputs"]:
                assert dataset["namespace"] and dataset["name"]
                for facet in dataset["facets"].values():
                    assert urlsplit(facet["_producer"]).scheme
                    assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
        times = [event["eventTime"] for event in events]
        assert times == sorted(times)
        by_run = {}
        for event in events:
            by_run.setdefault(event["run"]["runId"], []).append(event["eventType"])
        assert list(by_run.values()) == [["START", "COMPLETE"]] * 3, "training, registration, copy"

    def test_events_say_what_the_edges_say(self, api, made, name):
        events = api.get(LINEAGE, of=made.copy, format="openlineage")
        names = lambda datasets: [dataset["name"] for dataset in datasets]
        ends = [event for event in events if event["eventType"] == "COMPLETE"]
        told = {event["job"]["name"]: (names(event["inputs"]), names(event["outputs"])) for event in ends}
        assert told == {
            name: ([f"{name}-train"], [made.model]),
            f"register {name}": ([made.model], [made.version]),
            f"register {name}-prod": ([made.version], [made.copy]),
        }
        run = made.run.removeprefix("run:")
        assert run in {event["run"]["runId"].replace("-", "") for event in events}
        (training,) = [event for event in ends if event["job"]["name"] == name]
        assert training["inputs"][0]["facets"]["version"]["datasetVersion"] == made.digest
        (copied,) = [event for event in ends if event["job"]["name"] == f"register {name}-prod"]
        (alias,) = copied["outputs"][0]["facets"]["symlinks"]["identifiers"]
        assert (alias["name"], alias["type"]) == (made.alias, "ALIAS")


class TestCommand:
    def run(self, server, *arguments):
        return subprocess.run(
            [binary(), "lineage", *arguments, "--server", server.uri], capture_output=True, text=True, timeout=60
        )

    def test_a_tree(self, server, made, name):
        done = self.run(server, made.copy)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            made.copy,
            "├─ made of",
            f"│  └─ {made.version}  (copy)",
            f"│     └─ {made.model}  echo",
            f"│        └─ {made.run}  training, in {name}",
            f"│           └─ {made.train}  s3",
            "└─ went into",
            f"   └─ {made.alias}",
        ]

    def test_one_way_only(self, server, made):
        assert "went into" not in self.run(server, made.copy, "--up").stdout
        assert "made of" not in self.run(server, made.copy, "--down").stdout

    def test_json(self, api, server, made):
        import json

        assert json.loads(self.run(server, made.copy, "--json").stdout) == api.get(LINEAGE, of=made.copy)
        events = json.loads(self.run(server, made.copy, "--openlineage").stdout)
        assert events == api.get(LINEAGE, of=made.copy, format="openlineage")

    def test_failures_are_one_sentence(self, server):
        done = self.run(server, "models:/nobody/1")
        assert (done.returncode, done.stdout) == (1, "")
        assert "'models:/nobody/1' not found" in done.stderr
        assert self.run(server, "x", "--up", "--down").returncode == 2
