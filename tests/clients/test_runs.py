"""Runs and what hangs on them: life cycle, names, tags, params, batches."""

import re

import pytest

from support.api import metric, pair, pairs


def info(api, run_id):
    return api.run(run_id)["info"]


def tags(api, run_id):
    return pairs(api.run(run_id)["data"].get("tags"))


def params(api, run_id):
    return pairs(api.run(run_id)["data"].get("params"))


class TestLifeCycle:
    def test_a_new_run(self, api, experiment):
        made = api.post("runs/create", experiment_id=experiment, start_time=1234, run_name="n", user_id="ada")["run"]
        assert made["info"] == {
            "run_id": made["info"]["run_id"],
            "run_uuid": made["info"]["run_id"],
            "run_name": "n",
            "experiment_id": experiment,
            "user_id": "ada",
            "status": "RUNNING",
            "start_time": 1234,
            "artifact_uri": made["info"]["artifact_uri"],
            "lifecycle_stage": "active",
        }
        assert made["data"] == {"tags": [pair("mlflow.runName", "n")]}
        assert made["info"]["artifact_uri"].endswith(f"/{made['info']['run_id']}/artifacts")
        assert api.run(made["info"]["run_id"])["info"] == made["info"]

    def test_run_ids_are_32_hex_digits(self, api, experiment):
        ids = [api.create_run(experiment) for _ in range(20)]
        assert all(re.fullmatch("[0-9a-f]{32}", run_id) for run_id in ids)
        assert len(set(ids)) == 20

    @pytest.mark.runlake
    def test_run_ids_are_ordered_in_time(self, api, experiment):
        ids = [api.create_run(experiment) for _ in range(20)]
        assert ids == sorted(ids)

    def test_a_start_time_that_is_absent_is_0(self, api, experiment):
        made = api.post("runs/create", experiment_id=experiment)["run"]["info"]
        assert made["start_time"] == 0

    def test_the_name_comes_from_the_tag_or_is_made_up(self, api, experiment):
        tagged = api.post("runs/create", experiment_id=experiment, tags=[pair("mlflow.runName", "by tag")])["run"]
        assert tagged["info"]["run_name"] == "by tag"
        random = api.post("runs/create", experiment_id=experiment)["run"]
        assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", random["info"]["run_name"])
        assert pairs(random["data"]["tags"])["mlflow.runName"] == random["info"]["run_name"]

    def test_status_and_end_time_change_apart(self, api, run):
        answer = api.post("runs/update", run_id=run, status="FAILED", end_time=5000)
        assert answer["run_info"]["status"] == "FAILED"
        assert answer["run_info"]["end_time"] == 5000
        api.post("runs/update", run_id=run, status="RUNNING")
        assert info(api, run)["end_time"] == 5000
        api.post("runs/update", run_id=run, end_time=6000)
        assert (info(api, run)["status"], info(api, run)["end_time"]) == ("RUNNING", 6000)

    @pytest.mark.parametrize("status", ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"])
    def test_each_status(self, api, run, status):
        api.post("runs/update", run_id=run, status=status)
        assert info(api, run)["status"] == status

    def test_renaming_sets_the_tag_and_the_tag_renames(self, api, run):
        api.post("runs/update", run_id=run, run_name="second")
        assert tags(api, run)["mlflow.runName"] == "second"
        api.post("runs/set-tag", run_id=run, key="mlflow.runName", value="third")
        assert info(api, run)["run_name"] == "third"
        api.post("runs/log-batch", run_id=run, tags=[pair("mlflow.runName", "fourth")])
        assert info(api, run)["run_name"] == "fourth"
        api.post("runs/update", run_id=run, run_name="")
        assert info(api, run)["run_name"] == "fourth"

    def test_deleted_runs_can_be_read_but_not_written(self, api, run):
        api.post("runs/log-metric", run_id=run, key="m", value=1.0, timestamp=1)
        assert api.post("runs/delete", run_id=run) == {}
        assert api.post("runs/delete", run_id=run) == {}
        assert info(api, run)["lifecycle_stage"] == "deleted"
        assert api.run(run)["data"]["metrics"][0]["value"] == 1.0
        writes = {
            "runs/log-metric": {"key": "m", "value": 2.0, "timestamp": 2},
            "runs/log-parameter": {"key": "p", "value": "1"},
            "runs/set-tag": {"key": "t", "value": "1"},
            "runs/log-batch": {"metrics": [metric("m", 3.0)]},
            "runs/update": {"status": "FINISHED"},
        }
        for path, fields in writes.items():
            answer = api.send("POST", path, {"run_id": run, **fields})
            assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE"), path
            assert f"The run {run} must be in the 'active' state. Current state is deleted." in answer.message, path
        assert api.post("runs/restore", run_id=run) == {}
        assert api.post("runs/restore", run_id=run) == {}
        assert info(api, run)["lifecycle_stage"] == "active"
        assert api.post("runs/log-metric", run_id=run, key="m", value=2.0, timestamp=2) == {}

    def test_the_old_name_of_run_id_is_taken(self, api, run):
        api.post("runs/log-parameter", run_uuid=run, key="p", value="1")
        api.post("runs/set-tag", run_uuid=run, key="t", value="1")
        api.post("runs/log-metric", run_uuid=run, key="m", value=1.0, timestamp=1)
        api.post("runs/update", run_uuid=run, status="FINISHED")
        stored = api.get("runs/get", run_uuid=run)["run"]
        assert stored["info"]["status"] == "FINISHED"
        assert pairs(stored["data"]["params"]) == {"p": "1"}
        assert pairs(stored["data"]["tags"])["t"] == "1"
        assert stored["data"]["metrics"][0]["key"] == "m"


class TestTags:
    def test_the_last_value_wins(self, api, run):
        for value in ("a", "b", ""):
            api.post("runs/set-tag", run_id=run, key="t", value=value)
            assert tags(api, run)["t"] == value
        api.log_batch(run, tags=[pair("t", "1"), pair("u", "2"), pair("t", "3")])
        assert tags(api, run)["t"] == "3"

    def test_deleting(self, api, run):
        api.post("runs/set-tag", run_id=run, key="t", value="1")
        assert api.post("runs/delete-tag", run_id=run, key="t") == {}
        assert "t" not in tags(api, run)
        gone = api.send("POST", "runs/delete-tag", {"run_id": run, "key": "t"})
        assert (gone.status, gone.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert f"No tag with name: t in run with id {run}" in gone.message
        api.post("runs/set-tag", run_id=run, key="t", value="2")
        assert tags(api, run)["t"] == "2"

    def test_a_long_value_is_cut_at_8000_characters(self, api, run):
        api.post("runs/set-tag", run_id=run, key="t", value="é" * 8000 + "tail")
        assert tags(api, run)["t"] == "é" * 8000

    @pytest.mark.parametrize("key", ["a.b-c d/e:f_g", "ключ", "k" * 250, "mlflow.note.content"])
    def test_legal_keys(self, api, run, key):
        api.post("runs/set-tag", run_id=run, key=key, value="ü\n\t\"'\\ 🦀")
        assert tags(api, run)[key] == "ü\n\t\"'\\ 🦀"
        api.post("runs/delete-tag", run_id=run, key=key)
        assert key not in tags(api, run)


class TestParams:
    def test_written_once(self, api, run):
        api.post("runs/log-parameter", run_id=run, key="p", value="1")
        assert api.post("runs/log-parameter", run_id=run, key="p", value="1") == {}
        other = api.send("POST", "runs/log-parameter", {"run_id": run, "key": "p", "value": "2"})
        assert (other.status, other.code) == (400, "INVALID_PARAMETER_VALUE")
        assert (
            "Changing param values is not allowed. Param with key='p' was already logged with value='1'"
            in other.message
        )
        assert f"for run ID='{run}'" in other.message
        assert "Attempted logging new value '2'." in other.message
        assert params(api, run) == {"p": "1"}

    def test_written_once_in_batches_too(self, api, run):
        assert api.log_batch(run, params=[pair("p", "1")]).status == 200
        assert api.log_batch(run, params=[pair("p", "1"), pair("q", "2")]).status == 200
        other = api.log_batch(run, params=[pair("r", "3"), pair("p", "9")])
        assert (other.status, other.code) == (400, "INVALID_PARAMETER_VALUE")
        assert "Changing param values is not allowed. Params were already logged=" in other.message
        assert "'key': 'p', 'old_value': '1', 'new_value': '9'" in other.message
        assert params(api, run) == {"p": "1", "q": "2"}

    def test_a_long_value_is_cut_before_it_is_compared(self, api, run):
        api.post("runs/log-parameter", run_id=run, key="p", value="x" * 7000)
        assert params(api, run)["p"] == "x" * 6000
        assert api.post("runs/log-parameter", run_id=run, key="p", value="x" * 6500) == {}
        assert api.send("POST", "runs/log-parameter", {"run_id": run, "key": "p", "value": "x" * 5999}).status == 400

    def test_an_empty_value(self, api, run):
        api.post("runs/log-parameter", run_id=run, key="p", value="")
        assert params(api, run) == {"p": ""}


class TestBatches:
    def test_everything_of_a_batch_arrives(self, api, run):
        answer = api.log_batch(
            run,
            metrics=[metric(f"m{i}", i / 8, timestamp=i, step=i) for i in range(800)],
            params=[pair(f"p{i}", str(i)) for i in range(100)],
            tags=[pair(f"t{i}", str(i)) for i in range(100)],
        )
        assert (answer.status, answer.json) == (200, {})
        data = api.run(run)["data"]
        assert {m["key"]: m["value"] for m in data["metrics"]} == {f"m{i}": i / 8 for i in range(800)}
        assert pairs(data["params"]) == {f"p{i}": str(i) for i in range(100)}
        assert {k: v for k, v in pairs(data["tags"]).items() if k[0] == "t"} == {f"t{i}": str(i) for i in range(100)}

    def test_an_empty_batch(self, api, run):
        before = api.run(run)
        assert api.post("runs/log-batch", run_id=run) == {}
        assert api.run(run) == before

    @pytest.mark.parametrize(
        "bad",
        [
            {"params": [pair("p", "1"), pair("old", "changed")]},
            {"params": [pair("p", "1"), pair("p", "1")]},
            {"params": [pair("p", "1"), pair("a!b", "1")]},
            {"params": [pair("p", "1")], "tags": [pair("/t", "x")]},
            {"params": [pair("p", "1")], "metrics": [metric("../m", 1.0)]},
            {"params": [pair("p", "1")], "metrics": [metric("n", 1.0), {"key": "m", "value": 1.0}]},
            {"params": [pair("p", "1")], "metrics": [metric("n", 1.0), metric("m", 1.0, timestamp=-1)]},
            {"params": [pair("p", "1")], "tags": [pair(f"t{i}", "x") for i in range(101)]},
            {"params": [pair(f"p{i}", "x") for i in range(101)]},
            {"metrics": [metric("m", 1.0, step=i) for i in range(1001)]},
            {"params": [pair("p", "1")], "metrics": [metric("m", 1.0, step=i) for i in range(1000)]},
        ],
        ids=lambda bad: "+".join(f"{len(v)} {k}" for k, v in bad.items()),
    )
    def test_a_refused_batch_leaves_nothing(self, api, run, bad):
        api.post("runs/log-parameter", run_id=run, key="old", value="1")
        before = api.run(run)
        batch = {"metrics": [metric("good", 1.0)], "tags": [pair("good", "1")], "run_id": run}
        answer = api.send("POST", "runs/log-batch", {**batch, **bad})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE"), answer.text
        assert api.run(run) == before

    def test_params_tags_and_metrics_share_the_limit_of_1000(self, api, run):
        answer = api.log_batch(run, metrics=[metric("m", 1.0, step=i) for i in range(999)], tags=[pair("t", "1")])
        assert answer.status == 200
        answer = api.log_batch(
            run,
            metrics=[metric("m", 1.0, step=i) for i in range(900)],
            params=[pair(f"p{i}", "x") for i in range(51)],
            tags=[pair(f"t{i}", "x") for i in range(50)],
        )
        assert answer.status == 400
        assert (
            "A batch logging request can contain at most 1000 metrics, params, and tags. "
            "Got 1001 metrics, params, and tags. Please split up metrics, params, and tags across multiple requests"
        ) in answer.message

    def test_a_large_body_is_taken(self, api, run):
        """MLflow documents a limit of 1 MB and never applies it."""
        answer = api.log_batch(run, tags=[pair(f"t{i}", "x" * 15000) for i in range(100)])
        assert answer.status == 200
        assert tags(api, run)["t99"] == "x" * 8000
