"""Logged models (MLflow 3): life cycle, params, tags, metrics, search, what runs know of them."""

import re

import pytest

from support.api import Refused, metric, pair, pairs


def create(api, experiment_id, **fields):
    return api.post("logged-models", experiment_id=experiment_id, **fields)["model"]


def get(api, model_id):
    return api.get(f"logged-models/{model_id}")["model"]


def search(api, experiment_ids, **fields):
    found, token = [], None
    while True:
        more = {"page_token": token} if token else {}
        page = api.post("logged-models/search", {"experiment_ids": experiment_ids, **fields, **more})
        found += page.get("models", [])
        token = page.get("next_page_token")
        if token is None:
            return found


class TestLifeCycle:
    def test_a_new_model(self, api, experiment, run):
        made = create(
            api,
            experiment,
            name="forest",
            model_type="classifier",
            source_run_id=run,
            params=[pair("depth", "3")],
            tags=[pair("team", "vision")],
        )
        info = made["info"]
        assert re.fullmatch("m-[0-9a-f]{32}", info["model_id"])
        assert info["experiment_id"] == experiment
        assert (info["name"], info["model_type"], info["source_run_id"]) == ("forest", "classifier", run)
        assert info["status"] == "LOGGED_MODEL_PENDING"
        assert info["artifact_uri"].endswith(f"/models/{info['model_id']}/artifacts")
        assert info["creation_timestamp_ms"] == info["last_updated_timestamp_ms"]
        assert pairs(info["tags"]) == {"team": "vision"}
        assert pairs(made["data"]["params"]) == {"depth": "3"}
        assert get(api, info["model_id"]) == made

    def test_a_name_is_made_up(self, api, experiment):
        assert create(api, experiment)["info"]["name"]

    @pytest.mark.parametrize("status", ["LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"])
    def test_finalize(self, api, experiment, status):
        model_id = create(api, experiment)["info"]["model_id"]
        answer = api.patch(f"logged-models/{model_id}", model_id=model_id, status=status)
        assert answer["model"]["info"]["status"] == status
        assert get(api, model_id)["info"]["status"] == status

    def test_delete(self, api, experiment):
        model_id = create(api, experiment)["info"]["model_id"]
        assert api.send("DELETE", f"logged-models/{model_id}").status == 200
        answer = api.send("GET", f"logged-models/{model_id}")
        assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert f"Logged model with ID '{model_id}' not found." in answer.message
        assert search(api, [experiment]) == []
        kept = api.get(f"logged-models/{model_id}", allow_deleted="true")
        assert kept["model"]["info"]["model_id"] == model_id

    def test_tags_and_params(self, api, experiment):
        model_id = create(api, experiment, params=[pair("a", "1")])["info"]["model_id"]
        api.patch(f"logged-models/{model_id}/tags", model_id=model_id, tags=[pair("t", "1"), pair("u", "2")])
        api.patch(f"logged-models/{model_id}/tags", model_id=model_id, tags=[pair("t", "3")])
        assert pairs(get(api, model_id)["info"]["tags"]) == {"t": "3", "u": "2"}
        assert api.send("DELETE", f"logged-models/{model_id}/tags/t").status == 200
        assert pairs(get(api, model_id)["info"]["tags"]) == {"u": "2"}
        gone = api.send("DELETE", f"logged-models/{model_id}/tags/t")
        assert (gone.status, gone.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert f"No tag with key 't' found for model with ID '{model_id}'." in gone.message
        api.post(f"logged-models/{model_id}/params", model_id=model_id, params=[pair("b", "2")])
        assert pairs(get(api, model_id)["data"]["params"]) == {"a": "1", "b": "2"}

    @pytest.mark.parametrize("bad", list("/:.%\"'"))
    def test_names_refused(self, api, experiment, bad):
        answer = api.send("POST", "logged-models", {"experiment_id": experiment, "name": f"a{bad}b"})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE"), answer.text

    def test_unknown_experiment(self, api):
        answer = api.send("POST", "logged-models", {"experiment_id": "987654321"})
        assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")


class TestMetrics:
    def test_a_metric_with_a_model_is_the_runs_and_the_models(self, api, experiment, run):
        model_id = create(api, experiment, source_run_id=run)["info"]["model_id"]
        on_data = {"model_id": model_id, "dataset_name": "wine", "dataset_digest": "1"}
        api.post("runs/log-metric", {"run_id": run, **metric("acc", 0.5, 10, 1), **on_data})
        assert api.log_batch(run, metrics=[metric("acc", 0.75, 20, 2, **on_data), metric("loss", 1.0)]).status == 200
        stored = get(api, model_id)["data"]["metrics"]
        assert sorted((m["key"], m["step"], m["timestamp"], m["value"]) for m in stored)[-1] == ("acc", 2, 20, 0.75)
        for m in stored:
            assert (m["run_id"], m["model_id"]) == (run, model_id)
            assert (m["dataset_name"], m["dataset_digest"]) == ("wine", "1")
        assert {m["key"]: m["value"] for m in api.run(run)["data"]["metrics"]} == {"acc": 0.75, "loss": 1.0}


class TestRuns:
    def test_inputs_and_outputs(self, api, experiment, run):
        made, used = (create(api, experiment)["info"]["model_id"] for _ in range(2))
        api.post("runs/outputs", run_id=run, models=[{"model_id": made, "step": 4}])
        api.post("runs/log-inputs", run_id=run, models=[{"model_id": used}])
        stored = api.run(run)
        assert stored["outputs"]["model_outputs"] == [{"model_id": made, "step": 4}]
        assert stored["inputs"]["model_inputs"] == [{"model_id": used}]
        (found,) = api.search_runs([experiment])
        assert found["outputs"]["model_outputs"] == [{"model_id": made, "step": 4}]


class TestSearch:
    @pytest.fixture(scope="class")
    def made(self, api):
        """Models a, b, c, d in order of creation."""
        import time
        import uuid

        experiment_id = api.create_experiment(f"models {uuid.uuid4().hex}")
        run = api.create_run(experiment_id)
        ids = {}
        for letter, depth, team, acc in [
            ("a", "1", "x", [(1, 0.9), (2, 0.25)]),
            ("b", "2", "y", [(1, 0.5)]),
            ("c", "2", None, [(5, 0.75)]),
            ("d", None, None, []),
        ]:
            fields = {"params": [pair("depth", depth)]} if depth else {}
            if team:
                fields["tags"] = [pair("team", team)]
            info = create(api, experiment_id, name=f"model-{letter}", source_run_id=run, **fields)["info"]
            ids[letter] = info["model_id"]
            for step, value in acc:
                entry = metric("acc", value, 100 + step, step, model_id=ids[letter])
                if letter != "b":
                    entry |= {"dataset_name": "wine", "dataset_digest": "1"}
                api.post("runs/log-metric", {"run_id": run, **entry})
            time.sleep(0.005)
        api.patch(f"logged-models/{ids['a']}", model_id=ids["a"], status="LOGGED_MODEL_READY")
        return experiment_id, ids

    def found(self, api, made, **fields):
        experiment_id, ids = made
        letters = {model_id: letter for letter, model_id in ids.items()}
        return "".join(letters[m["info"]["model_id"]] for m in search(api, [experiment_id], **fields))

    FILTERS = [
        ("", "dcba"),
        ("name = 'model-b'", "b"),
        ("attributes.name != 'model-b'", "dca"),
        ("name LIKE 'model-%'", "dcba"),
        ("name ILIKE 'MODEL-A'", "a"),
        ("name IN ('model-a', 'model-c')", "ca"),
        ("name NOT IN ('model-a', 'model-c')", "db"),
        ("params.depth = '2'", "cb"),
        ("params.depth != '2'", "a"),
        ("tags.team = 'x'", "a"),
        ("tags.team LIKE '%'", "ba"),
        ("metrics.acc > 0.4", "cba"),
        ("metrics.acc > 0.4 AND params.depth = '2'", "cb"),
        ("creation_timestamp > 0 AND last_updated_timestamp > 0", "dcba"),
    ]

    @pytest.mark.parametrize(("text", "expected"), FILTERS, ids=[text or "(none)" for text, _ in FILTERS])
    def test_filter(self, api, made, text, expected):
        assert self.found(api, made, filter=text) == expected

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            ([{"field_name": "name"}], "abcd"),
            ([{"field_name": "name", "ascending": False}], "dcba"),
            ([{"field_name": "creation_timestamp"}], "abcd"),
            ([{"field_name": "metrics.acc"}], "abcd"),
            ([{"field_name": "metrics.acc", "ascending": False}], "cbad"),
            ([{"field_name": "metrics.acc", "dataset_name": "wine", "dataset_digest": "1"}], "acdb"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("page", [1, 3, 100])
    def test_order_and_pages(self, api, made, order, expected, page):
        assert self.found(api, made, order_by=order, max_results=page) == expected

    def test_by_dataset(self, api, made):
        wine = [{"dataset_name": "wine", "dataset_digest": "1"}]
        assert self.found(api, made, datasets=wine, filter="metrics.acc > 0.3") == "ca"
        assert self.found(api, made, datasets=[{"dataset_name": "other", "dataset_digest": "1"}]) == ""

    @pytest.mark.runlake
    def test_by_dataset_without_digest(self, api, made):
        """The reference finds nothing here over REST."""
        assert self.found(api, made, datasets=[{"dataset_name": "wine"}], filter="metrics.acc > 0.3") == "ca"

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"filter": "nope.x = 1"}, "Invalid entity type"),
            ({"filter": "param.depth = '2'"}, "Invalid entity type"),
            ({"datasets": [{"dataset_digest": "1"}]}, "`dataset_name` in the `datasets` clause must be specified."),
            ({"page_token": "%%"}, ""),
        ],
        ids=str,
    )
    def test_refused(self, api, made, fields, message):
        with pytest.raises(Refused) as refused:
            api.post("logged-models/search", {"experiment_ids": [made[0]], **fields})
        answer = refused.value.answer
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in answer.message

    def test_a_token_of_another_search(self, api, made):
        experiment_id, _ = made
        token = api.post("logged-models/search", experiment_ids=[experiment_id], max_results=1)["next_page_token"]
        answer = api.send(
            "POST",
            "logged-models/search",
            {"experiment_ids": [experiment_id], "page_token": token, "filter": "name = 'x'"},
        )
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")

    def test_experiments_are_required(self, api):
        answer = api.send("POST", "logged-models/search", {})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")


def test_by_the_client(tracking, client, name):
    experiment = tracking.set_experiment(name)
    model = tracking.initialize_logged_model(name="linear", params={"k": "v"}, tags={"a": "b"})
    assert str(model.status) == "PENDING"
    with tracking.start_run() as run:
        tracking.log_metric("rmse", 0.5, step=1, model_id=model.model_id)
    tracking.set_logged_model_tags(model.model_id, {"c": "d"})
    done = tracking.finalize_logged_model(model.model_id, "READY")
    assert str(done.status) == "READY"
    stored = client.get_logged_model(model.model_id)
    assert stored.params == {"k": "v"}
    assert {"a": "b", "c": "d"}.items() <= stored.tags.items()
    assert [(m.key, m.value, m.run_id) for m in stored.metrics] == [("rmse", 0.5, run.info.run_id)]
    (found,) = tracking.search_logged_models([experiment.experiment_id], "metrics.rmse < 1", output_format="list")
    assert found.model_id == model.model_id
    client.delete_logged_model(model.model_id)
    assert tracking.search_logged_models([experiment.experiment_id], output_format="list") == []
