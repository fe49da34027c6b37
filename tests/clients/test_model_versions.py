"""Model versions: sources, numbers, stages, aliases, tags, search, files, and what the lake keeps of them."""

import json
import threading
import time
import uuid

import pytest

from support.api import ARTIFACTS, Api, Refused, pair, pairs
from support.registry import (
    ANYWHERE,
    REFUSED,
    UNKNOWN,
    by_alias,
    create_model,
    create_version,
    delete_version,
    download_uri,
    get_model,
    get_version,
    search_models,
    search_versions,
    set_alias,
    transition,
)


@pytest.fixture
def model(api, name):
    """Name of a new registered model."""
    return create_model(api, name)["name"]


@pytest.fixture
def root(api, run):
    """The run's artifact URI."""
    return api.run(run)["info"]["artifact_uri"]


@pytest.fixture
def logged(api, experiment, run):
    """A logged model of the run."""
    return new_logged(api, experiment, run)


def new_logged(api, experiment, run):
    return api.post("logged-models", experiment_id=experiment, name="forest", source_run_id=run)["model"]["info"]


def refused(api, model, source, **fields):
    """What `create` says that must say no, and must not have taken a number."""
    answer = api.send("POST", "model-versions/create", {"name": model, "source": source, **fields})
    assert answer.status != 200, answer.text
    assert search_versions(api, filter=f"name = '{model}'") == []
    return answer


def missing(model, version):
    return f"Model Version (name={model}, version={version}) not found"


def test_a_new_version(api, model, run, root):
    before = int(time.time() * 1000)
    made = create_version(
        api,
        model,
        f"{root}/forest",
        run_id=run,
        run_link="http://elsewhere/runs/1",
        description="d",
        tags=[pair("a", "1"), pair("b", "x"), pair("a", "2")],
    )
    assert before <= made["creation_timestamp"] == made["last_updated_timestamp"] <= int(time.time() * 1000)
    assert made["name"] == model
    assert made["version"] == "1"
    assert (made["source"], made["run_id"]) == (f"{root}/forest", run)
    assert (made["run_link"], made["description"]) == ("http://elsewhere/runs/1", "d")
    assert (made["current_stage"], made["status"]) == ("None", "READY")
    assert pairs(made["tags"]) == {"a": "2", "b": "x"}
    assert not made.get("aliases")
    assert get_version(api, model, 1) == made
    assert download_uri(api, model, 1) == f"{root}/forest"
    assert get_model(api, model)["latest_versions"] == [made]
    assert get_model(api, model)["last_updated_timestamp"] == made["last_updated_timestamp"]


class TestSources:
    def test_folder_of_a_run(self, api, model, run, root):
        for source in (root, f"{root}/a/b"):
            made = create_version(api, model, source, run_id=run)
            assert (made["source"], made["run_id"]) == (source, run)
            assert download_uri(api, model, made["version"]) == source

    @pytest.mark.runlake
    def test_folder_of_a_run_that_is_not_named(self, api, model, run, root):
        """The reference wants the run id that is in the path."""
        made = create_version(api, model, f"{root}/forest")
        assert (made["source"], made["run_id"]) == (f"{root}/forest", run)
        assert get_version(api, model, 1) == made

    def test_runs_uri(self, api, model, run):
        made = create_version(api, model, f"runs:/{run}/forest", run_id=run)
        assert (made["source"], made["run_id"]) == (f"runs:/{run}/forest", run)

    @pytest.mark.runlake
    def test_runs_uri_names_its_run(self, api, model, run):
        """The reference wants the run id twice."""
        assert create_version(api, model, f"runs:/{run}/forest")["run_id"] == run

    @pytest.mark.parametrize("source", [ANYWHERE, "gs://bucket/model", "S3://bucket/model", "dbfs:/model"])
    def test_elsewhere(self, api, model, source):
        assert create_version(api, model, source)["source"] == source
        assert download_uri(api, model, 1) == source

    def test_elsewhere_with_a_run_of_another_server(self, api, model):
        assert create_version(api, model, run_id="0" * 32)["run_id"] == "0" * 32

    @pytest.mark.parametrize(
        "written", ["/2", "@champion", "/latest", "/LATEST", "@latest", "/Production", "/production"]
    )
    def test_another_version(self, api, model, run, root, written):
        """The number is kept, not the word, and the files are where that version's are."""
        for folder in ("one", "two"):
            create_version(api, model, f"{root}/{folder}", run_id=run)
        set_alias(api, model, "champion", 2)
        transition(api, model, 2, "Production")
        copy = create_model(api, f"{model}-copy")["name"]
        made = create_version(api, copy, f"models:/{model}{written}")
        assert made["source"] == f"models:/{model}/2"
        assert made["run_id"] == run
        assert download_uri(api, copy, 1) == f"{root}/two"
        # A copy of a copy names the copy, and still has the first one's files, whatever becomes of them.
        again = create_version(api, copy, f"models:/{copy}/1")
        assert (again["source"], again["run_id"]) == (f"models:/{copy}/1", run)
        delete_version(api, model, 2)
        delete_version(api, copy, 1)
        assert download_uri(api, copy, 2) == f"{root}/two"

    def test_logged_model(self, api, model, run, logged):
        model_id = logged["model_id"]
        made = create_version(api, model, f"models:/{model_id}", model_id=model_id)
        assert (made["source"], made["run_id"]) == (f"models:/{model_id}", run)
        assert download_uri(api, model, 1) == logged["artifact_uri"]

    def test_folder_of_a_logged_model(self, api, model, run, logged):
        made = create_version(api, model, logged["artifact_uri"], model_id=logged["model_id"])
        assert (made["source"], made["run_id"]) == (logged["artifact_uri"], run)

    @pytest.mark.runlake
    def test_logged_model_that_is_not_named(self, api, model, run, logged):
        """The reference wants the model id twice, and never answers it."""
        for source in (f"models:/{logged['model_id']}", logged["artifact_uri"]):
            made = create_version(api, model, source)
            assert (made["run_id"], made["model_id"]) == (run, logged["model_id"])
            assert download_uri(api, model, made["version"]) == logged["artifact_uri"]
        copy = create_version(api, model, f"models:/{model}/1")
        assert (copy["run_id"], copy["model_id"]) == (run, logged["model_id"])
        assert download_uri(api, model, copy["version"]) == logged["artifact_uri"]

    def test_the_logged_model_knows_its_versions(self, api, model, experiment, run, logged):
        model_id = logged["model_id"]
        other = create_model(api, f"{model}-other")["name"]
        create_version(api, model)
        create_version(api, model, f"models:/{model_id}", model_id=model_id)
        create_version(api, other, ANYWHERE, model_id=model_id)
        tags = pairs(api.get(f"logged-models/{model_id}")["model"]["info"]["tags"])
        assert [(entry["name"], int(entry["version"])) for entry in json.loads(tags["mlflow.modelVersions"])] == [
            (model, 2),
            (other, 1),
        ]
        # What clients write there themselves stays: MLflow's own enters the number as text.
        for value in ('[{"name": "x", "version": "7"}]', '[{"name": "x", "version": 7, "more": [1]}]'):
            entry = [pair("mlflow.modelVersions", value)]
            api.patch(f"logged-models/{model_id}/tags", model_id=model_id, tags=entry)
            create_version(api, other, ANYWHERE, model_id=model_id)
            tags = pairs(api.get(f"logged-models/{model_id}")["model"]["info"]["tags"])
            first, second = json.loads(tags["mlflow.modelVersions"])
            assert (first["name"], int(first["version"]), second["name"]) == ("x", 7, other)
        untouched = new_logged(api, experiment, run)
        assert not api.get(f"logged-models/{untouched['model_id']}")["model"]["info"].get("tags")

    LOCAL = ["/etc/passwd", "file:///etc/passwd", "FILE:/etc", "./here", "here", "dummy-source", "prompt-template"]

    @pytest.mark.parametrize("source", LOCAL)
    def test_no_local_paths(self, api, model, run, logged, source):
        for fields in ({}, {"run_id": run}, {"model_id": logged["model_id"]}):
            answer = refused(api, model, source, **fields)
            assert (answer.status, answer.code) == REFUSED, answer.text
            assert answer.message.startswith("Invalid model version source: "), fields

    @pytest.mark.parametrize("dots", ["..", "%2e%2e", ".%2E", "%252e%252e", "%25252e%25252e"])
    def test_no_way_out(self, api, model, run, root, dots):
        for source, fields in [
            (f"{root}/{dots}/{dots}/other", {"run_id": run}),
            (f"{root}/a/{dots}/b", {"run_id": run}),
            (f"s3://bucket/a/{dots}/b", {}),
            (f"runs:/{run}/{dots}/b", {"run_id": run}),
            (f"mlflow-artifacts:/{dots}/b", {}),
            (f"/tmp/{dots}/etc", {"run_id": run}),
        ]:
            answer = refused(api, model, source, **fields)
            assert (answer.status, answer.code) == REFUSED, source
            assert answer.message.startswith("Invalid model version source: "), source

    @pytest.mark.parametrize("folder", ["a..b", "..a", "a..", "model-1..2"])
    def test_dots_in_a_name_are_no_way_out(self, api, model, experiment, run, root, folder):
        """What can be uploaded can be registered."""
        target = f"{ARTIFACTS}/{experiment}/{run}/artifacts/{folder}/file"
        assert api.request("PUT", target, b"x").status == 200
        answer = api.send("POST", "model-versions/create", {"name": model, "source": f"{root}/{folder}", "run_id": run})
        assert answer.status == 200, answer.text
        assert download_uri(api, model, 1) == f"{root}/{folder}"

    @pytest.mark.parametrize("dot", [".", "%2e", "%252e"])
    def test_no_detours(self, api, model, run, root, dot):
        for source, fields in [(f"{root}/{dot}/forest", {"run_id": run}), (f"s3://bucket/{dot}/key", {})]:
            answer = refused(api, model, source, **fields)
            assert (answer.status, answer.code) == REFUSED, source

    @pytest.mark.parametrize(
        "source",
        [
            "http://169.254.169.254/latest/meta-data",
            "https://host/model",
            "HTTP://host/model",
            "ftp://host/model",
            "sftp://host/model",
            "hdfs://host/model",
            "mlflow-artifacts://host:5000/model",
        ],
    )
    def test_no_hosts_of_the_callers_choice(self, api, model, source):
        answer = refused(api, model, source)
        assert (answer.status, answer.code) == REFUSED, answer.text
        assert f"'source' cannot use the '{source.split(':')[0].lower()}' scheme" in answer.message

    def test_the_folder_of_another_run(self, api, model, run, root, new_run, logged, experiment):
        other = new_run()
        for source, fields, parameter in [
            (f"{root}/forest", {"run_id": other}, "run_id"),
            (f"{root}-more/forest", {"run_id": run}, "run_id"),
            (f"mlflow-artifacts:/{experiment}", {"run_id": run}, "run_id"),
            (f"mlflow-artifacts:/{experiment}", {}, "run_id"),
            ("mlflow-artifacts:/somewhere/artifacts", {}, "run_id"),
            (f"runs:/{run}/forest", {"run_id": other}, "run_id"),
            (f"models:/{logged['model_id']}", {"model_id": new_logged(api, experiment, run)["model_id"]}, "model_id"),
        ]:
            answer = refused(api, model, source, **fields)
            assert (answer.status, answer.code) == REFUSED, source
            assert answer.message == (
                f"Invalid model version source: '{source}'. The {parameter} request parameter must identify the "
                "resource that contains the source."
            )

    def test_what_a_version_was_made_of_is_not_for_the_caller_to_say(self, api, name, experiment, run, root, new_run):
        """What the request names contradicts what the source names: the lineage would be false."""
        other_run, logged = new_run(), new_logged(api, experiment, run)
        other = new_logged(api, experiment, other_run)["model_id"]
        origin = create_model(api, f"{name}-origin")["name"]
        create_version(api, origin, f"{root}/forest", run_id=run)
        set_alias(api, origin, "champion", 1)
        create_version(api, origin, logged["artifact_uri"], model_id=logged["model_id"])
        copy = create_model(api, f"{name}-copy")["name"]
        accepted = []
        for source, fields in [
            (f"models:/{origin}/1", {"run_id": other_run}),
            (f"models:/{origin}@champion", {"run_id": other_run}),
            (f"models:/{origin}/1", {"model_id": other}),
            (f"models:/{origin}/2", {"model_id": other}),
            (logged["artifact_uri"], {"model_id": other}),
            (f"{root}/forest", {"run_id": run, "model_id": other}),
            (f"{root}/forest", {"model_id": other}),
            (f"runs:/{run}/forest", {"run_id": run, "model_id": other}),
        ]:
            answer = api.send("POST", "model-versions/create", {"name": copy, "source": source, **fields})
            if (answer.status, answer.code) != REFUSED:
                accepted.append((source, fields, answer.text))
        assert accepted == []

    def test_what_agrees_may_be_said_twice(self, api, model, name, run, root, logged):
        origin = create_model(api, f"{name}-origin")["name"]
        create_version(api, origin, f"{root}/forest", run_id=run)
        assert create_version(api, model, f"models:/{origin}/1", run_id=run)["run_id"] == run
        made = create_version(api, model, f"models:/{logged['model_id']}", run_id=run, model_id=logged["model_id"])
        assert made["run_id"] == run

    def test_what_is_not_there(self, api, model, name):
        for source, fields, expected in [
            (f"models:/{model}/1", {}, (*UNKNOWN, missing(model, 1))),
            (f"models:/{name}-x/1", {}, (*UNKNOWN, f"Registered Model with name={name}-x not found")),
            (f"models:/{model}@champion", {}, (*REFUSED, "Registered model alias champion not found.")),
            (ANYWHERE, {"model_id": "m-x"}, (*UNKNOWN, "Logged model with ID 'm-x' not found.")),
        ]:
            answer = refused(api, model, source, **fields)
            assert (answer.status, answer.code, answer.message) == expected

    @pytest.mark.runlake
    def test_what_the_reference_fails_at(self, api, model, logged):
        """500 there."""
        unknown = f"m-{'0' * 32}"
        for source, fields in [
            (f"models:/{unknown}", {"model_id": unknown}),
            (f"models:/{model}/Production", {}),
            (f"models:/{model}/latest", {}),
        ]:
            answer = refused(api, model, source, **fields)
            assert (answer.status, answer.code) == UNKNOWN, answer.text
        answer = refused(api, model, "file://host/path")
        assert (answer.status, answer.code) == REFUSED
        # A logged model that was deleted is not there either.
        assert api.send("DELETE", f"logged-models/{logged['model_id']}").status == 200
        answer = refused(api, model, f"models:/{logged['model_id']}", model_id=logged["model_id"])
        assert (answer.status, answer.code) == UNKNOWN

    @pytest.mark.parametrize(
        "source", ["", None, "models:/", "models:/a", "runs:/", "s3://b/\0k", ["s3://b/k"]], ids=repr
    )
    def test_no_sources(self, api, model, source):
        payload = {"name": model, **({} if source is None else {"source": source})}
        answer = api.send("POST", "model-versions/create", payload)
        assert (answer.status, answer.code) == REFUSED, answer.text
        assert "source" in answer.message
        assert not get_model(api, model).get("latest_versions")

    @pytest.mark.runlake
    def test_local_folders_of_a_run(self, api, name, model, tmp_path):
        """With a file: root, in the run's own folder only. (Not on a reference that lies on another disk.)"""
        experiment = api.create_experiment(f"{name}-local", artifact_location=tmp_path.as_uri())
        run, other = api.create_run(experiment), api.create_run(experiment)
        root = api.run(run)["info"]["artifact_uri"]
        assert root.startswith("file:")
        path = root.removeprefix("file://")
        for source in (f"{root}-more", f"{path}/../{other}", f"{path}/%2e%2e/x", f"{root}\0", tmp_path.as_uri(), "/"):
            answer = refused(api, model, source, run_id=run)
            assert (answer.status, answer.code) == REFUSED, source
        for source in (f"{root}/forest", path):
            for fields in ({}, {"run_id": other}):
                answer = refused(api, model, source, **fields)
                assert (answer.status, answer.code) == REFUSED, (source, fields)
        for source in (f"{root}/forest", f"{path}/forest"):
            assert create_version(api, model, source, run_id=run)["source"] == source


class TestNumbers:
    def test_counted_for_each_model(self, api, model, name):
        other = create_model(api, f"{name}-other")["name"]
        assert [create_version(api, model)["version"] for _ in range(3)] == ["1", "2", "3"]
        assert create_version(api, other)["version"] == "1"

    def test_not_used_again(self, api, model):
        for _ in range(3):
            create_version(api, model)
        delete_version(api, model, 3)
        delete_version(api, model, 1)
        assert create_version(api, model)["version"] == "4"
        for version in "42":
            delete_version(api, model, version)
        assert search_versions(api, filter=f"name = '{model}'") == []
        assert create_version(api, model)["version"] == "5"

    def test_a_refused_one_takes_none(self, api, model):
        create_version(api, model)
        for bad in ({"source": "/etc"}, {"source": ANYWHERE, "tags": [pair("a#", "1")]}):
            assert api.send("POST", "model-versions/create", {"name": model, **bad}).status == 400
        assert create_version(api, model)["version"] == "2"

    ROUTES = [
        ("GET", "model-versions/get", {}),
        ("GET", "model-versions/get-download-uri", {}),
        ("PATCH", "model-versions/update", {"description": "d"}),
        ("POST", "model-versions/transition-stage", {"stage": "Staging"}),
        ("DELETE", "model-versions/delete", {}),
        ("POST", "model-versions/set-tag", {"key": "k", "value": "v"}),
        ("DELETE", "model-versions/delete-tag", {"key": "k"}),
        ("POST", "registered-models/alias", {"alias": "champion"}),
    ]

    @pytest.mark.parametrize(("method", "path", "more"), ROUTES, ids=[row[1] for row in ROUTES])
    def test_numbers_that_are_none(self, api, model, method, path, more):
        create_version(api, model)

        def send(version):
            fields = {"name": model, "version": version, **more}
            return api.send(method, path, None if method == "GET" else fields, fields if method == "GET" else None)

        for bad in ("x", "1.0", "1x", "one"):
            answer = send(bad)
            assert (answer.status, answer.code) == REFUSED, answer.text
            assert answer.message == f"Parameter 'version' must be an integer, got '{bad}'."
        for absent in ("2", "0", "-1"):
            answer = send(absent)
            assert (answer.status, answer.code, answer.message) == (*UNKNOWN, missing(model, absent))
        answer = send("")
        assert (answer.status, answer.code) == REFUSED
        assert "'version'" in answer.message
        if method != "GET":
            answer = send(1)
            assert (answer.status, answer.code) == REFUSED
            assert answer.message.startswith("Invalid value 1 for parameter 'version' supplied")
        stored = get_version(api, model, 1)
        assert (stored["current_stage"], stored.get("tags"), stored.get("aliases")) == ("None", None, None)

    @pytest.mark.runlake
    def test_a_number_beyond_all_numbers(self, api, model):
        """500 of the reference."""
        create_version(api, model)
        for absent in ("9" * 30, "9223372036854775808", "-9223372036854775809"):
            answer = api.send("GET", "model-versions/get", query={"name": model, "version": absent})
            assert (answer.status, answer.code) == UNKNOWN, answer.text

    def test_many_at_once(self, api, server, model):
        """Each gets a number of its own, and none is left out."""
        threads = 64
        made, failures, barrier = [], [], threading.Barrier(threads)

        def one(index):
            mine = Api(server.uri)
            barrier.wait()
            try:
                made.append((int(create_version(mine, model, f"s3://bucket/{index}")["version"]), index))
            except Exception as error:
                failures.append(error)
            finally:
                mine.close()

        workers = [threading.Thread(target=one, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failures == []
        assert sorted(version for version, _ in made) == list(range(1, threads + 1))
        stored = search_versions(api, filter=f"name = '{model}'", order_by=["version_number"])
        assert [(int(v["version"]), v["source"]) for v in stored] == [
            (version, f"s3://bucket/{index}") for version, index in sorted(made)
        ]
        assert create_version(api, model)["version"] == str(threads + 1)


    @pytest.mark.runlake
    def test_while_the_model_is_renamed(self, api, server, name):
        """Each version that was acknowledged is there in the end, under the name the model has then."""
        names = [name, f"{name}-other"]
        create_model(api, name)
        made, stop = [], threading.Event()

        def work():
            mine = Api(server.uri)
            while not stop.is_set():
                for known in names:
                    answer = mine.send("POST", "model-versions/create", {"name": known, "source": ANYWHERE})
                    if answer.status == 200:
                        made.append(int(answer.json["model_version"]["version"]))
                    else:
                        assert (answer.status, answer.code) == UNKNOWN
            mine.close()

        workers = [threading.Thread(target=work) for _ in range(6)]
        for worker in workers:
            worker.start()
        for turn in range(11):
            time.sleep(0.02)
            api.post("registered-models/rename", name=names[turn % 2], new_name=names[1 - turn % 2])
        stop.set()
        for worker in workers:
            worker.join()
        assert len(made) > 11
        assert sorted(made) == list(range(1, len(made) + 1))
        stored = search_versions(api, filter=f"name LIKE '{name}%'", order_by=["version_number"])
        assert [(v["name"], int(v["version"])) for v in stored] == [(names[1], n + 1) for n in range(len(made))]


class TestChanges:
    def test_what_counts_as_an_update(self, api, model):
        """Tags and aliases do not; a version's stage touches its model, its description does not."""
        for _ in range(3):
            create_version(api, model)

        def times():
            stored = search_versions(api, filter=f"name = '{model}'")
            return {
                "model": get_model(api, model)["last_updated_timestamp"],
                **{version["version"]: version["last_updated_timestamp"] for version in stored},
            }

        first, changed = {"name": model, "version": "1"}, []
        for method, path, fields in [
            ("POST", "registered-models/set-tag", {"name": model, "key": "a", "value": "1"}),
            ("DELETE", "registered-models/delete-tag", {"name": model, "key": "a"}),
            ("POST", "model-versions/set-tag", {**first, "key": "a", "value": "1"}),
            ("DELETE", "model-versions/delete-tag", {**first, "key": "a"}),
            ("POST", "registered-models/alias", {**first, "alias": "champion"}),
            ("DELETE", "registered-models/alias", {"name": model, "alias": "champion"}),
            ("PATCH", "model-versions/update", {**first, "description": "d"}),
            ("PATCH", "registered-models/update", {"name": model, "description": "d"}),
            ("POST", "model-versions/transition-stage", {**first, "stage": "Staging"}),
            ("DELETE", "model-versions/delete", {"name": model, "version": "3"}),
            ("POST", "model-versions/create", {"name": model, "source": ANYWHERE}),
        ]:
            before = times()
            time.sleep(0.003)
            assert api.send(method, path, fields).status == 200, path
            after = times()
            changed.append("+".join(key for key in sorted(before) if key in after and after[key] > before[key]))
        assert changed == ["", "", "", "", "", "", "1", "model", "1+model", "model", "model"]

    def test_description(self, api, model):
        create_version(api, model, description="old", tags=[pair("a", "1")])
        made = get_version(api, model, 1)
        time.sleep(0.003)
        changed = api.patch("model-versions/update", name=model, version="1", description="new")["model_version"]
        assert changed["description"] == "new"
        assert changed["creation_timestamp"] == made["creation_timestamp"] < changed["last_updated_timestamp"]
        assert pairs(changed["tags"]) == {"a": "1"}
        assert get_version(api, model, 1) == changed
        for clear in ({}, {"description": ""}):
            api.patch("model-versions/update", name=model, version="1", description="old")
            cleared = api.patch("model-versions/update", {"name": model, "version": "1", **clear})["model_version"]
            assert not cleared.get("description")
            assert not get_version(api, model, 1).get("description")

    def test_tags(self, api, model):
        for _ in range(2):
            create_version(api, model, tags=[pair("a", "1")])
        for value in ("2", ""):
            assert api.post("model-versions/set-tag", name=model, version="1", key="b", value=value) == {}
        long = {"k" * 250: "é" * 100_000}
        for key, value in long.items():
            api.post("model-versions/set-tag", name=model, version="1", key=key, value=value)
        assert pairs(get_version(api, model, 1)["tags"]) == {"a": "1", "b": "", **long}
        for _ in range(2):
            assert api.delete("model-versions/delete-tag", name=model, version="1", key="a") == {}
        assert pairs(get_version(api, model, 1)["tags"]) == {"b": "", **long}
        assert pairs(get_version(api, model, 2)["tags"]) == {"a": "1"}
        assert not get_model(api, model).get("tags")

    @pytest.mark.parametrize(
        ("key", "value"),
        [("k" * 251, "v"), ("k", "v" * 100_001), ("k#", "v"), ("../k", "v"), ("", "v")],
        ids=["long key", "long value", "#", "..", "empty"],
    )
    def test_tags_refused(self, api, model, key, value):
        create_version(api, model)
        tag = {"name": model, "version": "1", "key": key, "value": value}
        answer = api.send("POST", "model-versions/set-tag", tag)
        assert (answer.status, answer.code) == REFUSED
        made = {"name": model, "source": ANYWHERE, "tags": [pair(key, value)]}
        answer = api.send("POST", "model-versions/create", made)
        assert (answer.status, answer.code) == REFUSED
        assert not get_version(api, model, 1).get("tags")
        assert len(search_versions(api, filter=f"name = '{model}'")) == 1

    def test_a_deleted_version_is_gone_everywhere(self, api, model):
        for _ in range(2):
            create_version(api, model, tags=[pair("a", "1")])
        delete_version(api, model, 2)
        for path in ("model-versions/get", "model-versions/get-download-uri"):
            answer = api.send("GET", path, query={"name": model, "version": "2"})
            assert (answer.status, answer.code, answer.message) == (*UNKNOWN, missing(model, 2))
        answer = api.send("DELETE", "model-versions/delete", {"name": model, "version": "2"})
        assert (answer.status, answer.code, answer.message) == (*UNKNOWN, missing(model, 2))
        assert [v["version"] for v in search_versions(api, filter=f"name = '{model}'")] == ["1"]
        assert [v["version"] for v in search_versions(api, filter=f"name = '{model}' AND tags.a = '1'")] == ["1"]
        assert [v["version"] for v in get_model(api, model)["latest_versions"]] == ["1"]


class TestStages:
    def stages(self, api, model):
        found = search_versions(api, filter=f"name = '{model}'", order_by=["version_number"])
        return [version["current_stage"] for version in found]

    @pytest.mark.parametrize("stage", ["None", "Staging", "Production", "Archived"])
    def test_in_any_case(self, api, model, stage):
        create_version(api, model)
        for written in (stage, stage.lower(), stage.upper()):
            assert transition(api, model, 1, written)["current_stage"] == stage
        assert get_version(api, model, 1)["current_stage"] == stage

    def test_several_in_one_stage(self, api, model):
        for _ in range(3):
            create_version(api, model)
        transition(api, model, 1, "Production")
        transition(api, model, 2, "Production", archive_existing_versions=False)
        assert self.stages(api, model) == ["Production", "Production", "None"]

    @pytest.mark.parametrize("stage", ["Staging", "production"])
    def test_archiving_the_others(self, api, model, stage):
        for _ in range(5):
            create_version(api, model)
        for version in (1, 2):
            transition(api, model, version, stage)
        other = "Production" if stage == "Staging" else "Staging"
        transition(api, model, 3, other)
        before = get_version(api, model, 1)["last_updated_timestamp"]
        time.sleep(0.003)
        moved = transition(api, model, 4, stage, archive_existing_versions=True)
        assert moved["current_stage"] == stage.capitalize()
        assert self.stages(api, model) == ["Archived", "Archived", other, stage.capitalize(), "None"]
        archived = [get_version(api, model, version)["last_updated_timestamp"] for version in (1, 2)]
        assert archived == [moved["last_updated_timestamp"]] * 2 and archived[0] > before
        # The version itself is not archived when it is there already.
        transition(api, model, 4, stage, archive_existing_versions=True)
        assert self.stages(api, model) == ["Archived", "Archived", other, stage.capitalize(), "None"]

    def test_refused(self, api, model):
        create_version(api, model)
        for fields, message in [
            (
                {"stage": "Nope"},
                "Invalid Model Version stage: Nope. Value must be one of None, Staging, Production, Archived.",
            ),
            ({"stage": ""}, "Missing value for required parameter 'stage'."),
            ({}, "Missing value for required parameter 'stage'."),
            (
                {"stage": "Staging", "archive_existing_versions": "true"},
                "Invalid value \"true\" for parameter 'archive_existing_versions' supplied",
            ),
        ]:
            answer = api.send("POST", "model-versions/transition-stage", {"name": model, "version": "1", **fields})
            assert (answer.status, answer.code) == REFUSED
            assert answer.message.startswith(message)
        assert self.stages(api, model) == ["None"]

    @pytest.mark.runlake
    @pytest.mark.parametrize("stage", ["None", "Archived"])
    def test_archiving_only_from_active_stages(self, api, model, stage):
        """500 of the reference."""
        create_version(api, model)
        fields = {"name": model, "version": "1", "stage": stage, "archive_existing_versions": True}
        answer = api.send("POST", "model-versions/transition-stage", fields)
        assert (answer.status, answer.code) == REFUSED
        assert "cannot archive existing model versions" in answer.message
        assert self.stages(api, model) == ["None"]


class TestAliases:
    @pytest.fixture
    def two(self, api, model):
        for _ in range(2):
            create_version(api, model)
        return model

    def aliases(self, api, model):
        return {entry["alias"]: entry["version"] for entry in get_model(api, model).get("aliases", [])}

    def test_set_move_delete(self, api, two):
        set_alias(api, two, "champion", 1)
        set_alias(api, two, "best", 1)
        assert by_alias(api, two, "champion") == get_version(api, two, 1)
        assert sorted(get_version(api, two, 1)["aliases"]) == ["best", "champion"]
        set_alias(api, two, "champion", 2)
        assert by_alias(api, two, "champion")["version"] == "2"
        assert get_version(api, two, 1)["aliases"] == ["best"]
        assert get_version(api, two, 2)["aliases"] == ["champion"]
        assert self.aliases(api, two) == {"best": "1", "champion": "2"}
        for _ in range(2):
            assert api.delete("registered-models/alias", name=two, alias="champion") == {}
        answer = api.send("GET", "registered-models/alias", query={"name": two, "alias": "champion"})
        assert (answer.status, answer.code) == REFUSED
        assert answer.message == "Registered model alias champion not found."
        assert self.aliases(api, two) == {"best": "1"}

    def test_each_model_has_its_own(self, api, two, name):
        other = create_model(api, f"{name}-other")["name"]
        create_version(api, other)
        set_alias(api, two, "champion", 2)
        set_alias(api, other, "champion", 1)
        assert by_alias(api, two, "champion")["version"] == "2"
        assert by_alias(api, other, "champion")["version"] == "1"

    @pytest.mark.parametrize(
        "alias", ["v", "v1a", "version1", "1", "latest1", "ver-1_a", "é", "x" * 255], ids=lambda text: text[:10]
    )
    def test_names_taken(self, api, two, alias):
        set_alias(api, two, alias, 1)
        assert by_alias(api, two, alias)["version"] == "1"

    @pytest.mark.parametrize(
        ("alias", "message"),
        [
            ("latest", "'latest' alias name (case insensitive) is reserved."),
            ("LaTeSt", "'latest' alias name (case insensitive) is reserved."),
            ("v1", "Version alias name 'v1' is reserved."),
            ("V20", "Version alias name 'V20' is reserved."),
            ("v007", "Version alias name 'v007' is reserved."),
            ("a b", "Invalid alias name: 'a b'."),
            ("a/b", "Invalid alias name: 'a/b'."),
            ("a.b", "Invalid alias name: 'a.b'."),
            ("", "Missing value for required parameter 'alias'."),
            ("x" * 256, "'Registered model alias name' exceeds the maximum length of 255 characters"),
        ],
        ids=lambda text: text[:12],
    )
    def test_names_refused(self, api, two, alias, message):
        answer = api.send("POST", "registered-models/alias", {"name": two, "alias": alias, "version": "1"})
        assert (answer.status, answer.code) == REFUSED
        assert answer.message.startswith(message)
        assert self.aliases(api, two) == {}

    def test_latest_needs_no_setting(self, api, two):
        transition(api, two, 2, "Archived")
        for alias in ("latest", "LATEST"):
            assert by_alias(api, two, alias)["version"] == "2"
        delete_version(api, two, 2)
        assert by_alias(api, two, "latest")["version"] == "1"

    def test_latest_of_none(self, api, model):
        answer = api.send("GET", "registered-models/alias", query={"name": model, "alias": "latest"})
        assert (answer.status, answer.code) == UNKNOWN

    @pytest.mark.runlake
    def test_a_deleted_version_takes_its_aliases_along(self, api, two):
        """The reference forgets to."""
        for alias, version in (("champion", 2), ("best", 2), ("old", 1)):
            set_alias(api, two, alias, version)
        delete_version(api, two, 2)
        assert self.aliases(api, two) == {"old": "1"}
        answer = api.send("GET", "registered-models/alias", query={"name": two, "alias": "champion"})
        assert (answer.status, answer.code) == REFUSED
        # Nor do they come back with the next version.
        assert not create_version(api, two).get("aliases")
        assert self.aliases(api, two) == {"old": "1"}


class TestSearch:
    @pytest.fixture(scope="class")
    def made(self, api):
        """Versions a1, a2, a3, b1, b2 (model and number); last changed in the order b2, a1, b1, a3, a2."""
        start = f"s{uuid.uuid4().hex[:12]}"
        experiment = api.create_experiment(start)
        runs = [api.create_run(experiment) for _ in range(2)]
        for letter in "ab":
            create_model(api, f"{start}-{letter}")
        for letter, source, fields, tags in [
            ("a", "s3://bucket/One", {"run_id": runs[0]}, {"team": "vision", "tier": "1"}),
            ("b", "s3://bucket/one", {"run_id": runs[1]}, {"team": "Vision"}),
            ("a", "s3://bucket/two", {"run_id": runs[1]}, {"team": "text"}),
            ("a", "s3://other/x", {}, {"a b.c": "odd"}),
            ("b", "s3://other/x", {}, {}),
        ]:
            create_version(
                api, f"{start}-{letter}", source, tags=[pair(key, value) for key, value in tags.items()], **fields
            )
            time.sleep(0.003)
        for letter, version in ("b2", "a1", "b1", "a3", "a2"):
            time.sleep(0.003)
            api.patch("model-versions/update", name=f"{start}-{letter}", version=version, description="d")
        return start, runs

    def found(self, api, made, text="", **query):
        start, runs = made
        text = text.replace("S-", f"{start}-").replace("RUN0", runs[0]).replace("RUN1", runs[1])
        text = f"name LIKE '{start}%'" + (f" AND {text}" if text else "")
        found = search_versions(api, filter=text, **query)
        return " ".join(f"{version['name'][-1]}{version['version']}" for version in found)

    FILTERS = [
        ("", "a2 a3 b1 a1 b2"),
        ("name = 'S-a'", "a2 a3 a1"),
        ("name != 'S-a'", "b1 b2"),
        ("name ILIKE '%-B'", "b1 b2"),
        ("version_number = 1", "b1 a1"),
        ("version_number = '1'", "b1 a1"),
        ("version_number != 1", "a2 a3 b2"),
        ("version_number > 1", "a2 a3 b2"),
        ("version_number >= 2 AND version_number < 3", "a2 b2"),
        ("version_number <= 0", ""),
        ("run_id = 'RUN1'", "a2 b1"),
        ("attribute.run_id = 'RUN1'", "a2 b1"),
        ("run_id IN ('RUN0', 'RUN1', 'x')", "a2 b1 a1"),
        ("run_id IN ('RUN0')", "a1"),
        ("source_path = 's3://bucket/one'", "b1"),
        ("source_path LIKE 's3://bucket/%'", "a2 b1 a1"),
        ("source_path LIKE '%/one'", "b1"),
        ("source_path ILIKE '%/ONE'", "b1 a1"),
        ("tags.team = 'vision'", "a1"),
        ("tags.team != 'vision'", "a2 b1"),
        ("tags.team ILIKE 'v%'", "b1 a1"),
        ("tags.team ILIKE 'v%' AND tags.tier = '1'", "a1"),
        ("tags.`a b.c` = 'odd'", "a3"),
        ("tags.nobody = 'x'", ""),
        ("name = 'S-a' AND run_id = 'RUN1' AND tags.team = 'text' AND version_number = 2", "a2"),
    ]

    @pytest.mark.parametrize(("text", "expected"), FILTERS, ids=[text or "(none)" for text, _ in FILTERS])
    def test_filter(self, api, made, text, expected):
        assert self.found(api, made, text) == expected

    MORE_FILTERS = [
        ("(name = 'S-b' OR version_number = 3)", "a3 b1 b2"),
        ("NOT version_number = 1", "a2 a3 b2"),
        ("NOT (run_id = 'RUN0' OR run_id = 'RUN1')", "a3 b2"),
        ("name IN ('S-b', 'x')", "b1 b2"),
        ("run_id NOT IN ('RUN0')", "a2 a3 b1 b2"),
        ("tags.team IS NULL", "a3 b2"),
        ("tags.team IS NOT NULL AND NOT tags.team = 'text'", "b1 a1"),
        ("version_number BETWEEN 2 AND 3", "a2 a3 b2"),
    ]

    @pytest.mark.runlake
    @pytest.mark.parametrize(("text", "expected"), MORE_FILTERS, ids=[text for text, _ in MORE_FILTERS])
    def test_what_the_reference_refuses(self, api, made, text, expected):
        assert self.found(api, made, text) == expected

    ORDERS = [
        ([], "a2 a3 b1 a1 b2"),
        (["last_updated_timestamp"], "b2 a1 b1 a3 a2"),
        (["creation_timestamp"], "a1 b1 a2 a3 b2"),
        (["creation_timestamp DESC"], "b2 a3 a2 b1 a1"),
        (["name"], "a3 a2 a1 b2 b1"),
        (["name DESC", "version_number"], "b1 b2 a1 a2 a3"),
        (["version_number"], "a1 b1 a2 b2 a3"),
        (["version_number DESC", "name DESC"], "a3 b2 a2 b1 a1"),
    ]

    @pytest.mark.parametrize(("order", "expected"), ORDERS, ids=str)
    @pytest.mark.parametrize("page", [1, 2, 5, 200_000])
    def test_order_and_pages(self, api, made, order, expected, page):
        if order in (["name"], ["version_number"]):
            # What decides among equals is the last change, unless it is said.
            order = [*order, "version_number DESC" if order == ["name"] else "name"]
        assert self.found(api, made, order_by=order, max_results=page) == expected

    def test_every_version_of_a_long_list(self, api, model):
        """Equal in all but the number, so that only ties decide, over pages."""
        for _ in range(25):
            create_version(api, model)
        found = search_versions(api, filter=f"name = '{model}'", order_by=["name"], max_results=4)
        assert sorted(int(version["version"]) for version in found) == list(range(1, 26))

    @pytest.mark.runlake
    @pytest.mark.parametrize("change", [{"filter": "name LIKE 's%'"}, {"order_by": ["name"]}], ids=str)
    def test_a_token_of_another_query(self, api, made, change):
        query = {"filter": f"name LIKE '{made[0]}%'", "max_results": 1}
        token = api.get("model-versions/search", **query)["next_page_token"]
        answer = api.send("GET", "model-versions/search", query={**query, **change, "page_token": token})
        assert (answer.status, answer.code) == REFUSED
        assert answer.message

    @pytest.mark.parametrize("count", ["0", "-1", "200001", "x"])
    def test_page_sizes_refused(self, api, count):
        answer = api.send("GET", "model-versions/search", query={"max_results": count})
        assert (answer.status, answer.code) == REFUSED
        assert "max_results" in answer.message

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name > 'x'", "Invalid comparator for attribute: >"),
            ("source_path >= 'x'", "Invalid comparator for attribute: >="),
            ("tags.a < 'x'", "Invalid comparator for tag: <"),
            ("version_number = 'x'", "version_number"),
            ("version_number LIKE 1", "Invalid comparator for attribute"),
            ("run_id IN ('a', 1)", "While parsing a list in the query, expected string value"),
            ("run_id IN ()", "While parsing a list in the query, expected a non-empty list of string values"),
            ("run_id = 1", ""),
            ("current_stage = 'None'", ""),
            ("version = 1", ""),
            ("source = 's'", ""),
            ("foo.name = 'x'", "Invalid entity type 'foo'."),
            ("name =", "Invalid clause(s) in filter string"),
        ],
    )
    def test_filters_refused(self, api, text, message):
        answer = api.send("GET", "model-versions/search", query={"filter": text})
        assert (answer.status, answer.code) == REFUSED, answer.text
        assert message in answer.message

    @pytest.mark.parametrize("order", ["run_id", "timestamp", "nope", "version_number NOPE", "tags.team"])
    def test_orders_refused(self, api, order):
        answer = api.send("GET", "model-versions/search", query={"order_by": order})
        assert (answer.status, answer.code) == REFUSED, answer.text

    @pytest.mark.runlake
    def test_a_search_tells_all_that_get_tells(self, api, model, run):
        """The reference leaves the aliases out."""
        create_version(api, model, f"runs:/{run}/m", description="d", tags=[pair("a", "1")])
        set_alias(api, model, "champion", 1)
        transition(api, model, 1, "Staging")
        assert search_versions(api, filter=f"name = '{model}'") == [get_version(api, model, 1)]
        assert get_version(api, model, 1)["aliases"] == ["champion"]


class TestFiles:
    """The web app's route to a file of a version."""

    @pytest.fixture
    def stored(self, api, experiment, run):
        """A file `forest/sub/MLmodel` of the run."""
        target = f"{ARTIFACTS}/{experiment}/{run}/artifacts/forest/sub/MLmodel"
        assert api.request("PUT", target, b"flavors: {}\n").status == 200
        return b"flavors: {}\n"

    def file(self, api, model, version, path):
        query = {"name": model, "version": version, "path": path}
        return api.send("GET", "/model-versions/get-artifact", query=query)

    def test_of_a_run(self, api, model, run, root, stored):
        create_version(api, model, f"{root}/forest", run_id=run)
        answer = self.file(api, model, "1", "sub/MLmodel")
        assert (answer.status, answer.body) == (200, stored)
        for absent in ("nothing", "sub/nothing", "../forest/sub/MLmodel", "/etc/passwd"):
            assert self.file(api, model, "1", absent).status in (400, 404)
        assert self.file(api, model, "2", "sub/MLmodel").status == 404
        assert self.file(api, f"{model}-x", "1", "sub/MLmodel").status == 404

    def test_of_a_copy(self, api, model, run, root, stored):
        create_version(api, model, f"{root}/forest", run_id=run)
        create_version(api, model, f"models:/{model}/1")
        assert self.file(api, model, "2", "sub/MLmodel").body == stored

    def test_of_a_logged_model(self, api, model, experiment, logged):
        model_id = logged["model_id"]
        target = f"{ARTIFACTS}/{experiment}/models/{model_id}/artifacts/MLmodel"
        assert api.request("PUT", target, b"logged").status == 200
        create_version(api, model, f"models:/{model_id}", model_id=model_id)
        answer = self.file(api, model, "1", "MLmodel")
        assert (answer.status, answer.body) == (200, b"logged")

    @pytest.mark.runlake
    def test_of_a_runs_uri(self, api, model, run, stored):
        create_version(api, model, f"runs:/{run}/forest")
        answer = self.file(api, model, "1", "sub/MLmodel")
        assert (answer.status, answer.body) == (200, stored)

    @pytest.mark.runlake
    def test_of_nowhere(self, api, model):
        """A store that the server has no business with is no reason for a 500."""
        create_version(api, model)
        assert self.file(api, model, "1", "MLmodel").status in (400, 404, 501)


@pytest.mark.runlake
class TestTheLakeKeepsIt:
    def fill(self, api):
        """One of everything; answers all that the server says of it."""
        experiment = api.create_experiment("e")
        run = api.create_run(experiment)
        logged = new_logged(api, experiment, run)
        create_model(api, "first", description="d", tags=[pair("a", "1"), pair("b", "2")])
        create_model(api, "gone")
        create_model(api, "before", tags=[pair("kept", "1")])
        for source in (f"runs:/{run}/m", f"models:/{logged['model_id']}", ANYWHERE, "models:/first/1"):
            create_version(api, "first", source, tags=[pair("t", "1"), pair("u", source)], description="d")
        create_version(api, "before")
        create_version(api, "gone")
        for alias, version in (("champion", 1), ("next", 2), ("champion", 2), ("dropped", 4)):
            set_alias(api, "first", alias, version)
        api.delete("registered-models/delete-tag", name="first", key="b")
        api.delete("model-versions/delete-tag", name="first", version="1", key="t")
        transition(api, "first", 1, "Production")
        transition(api, "first", 2, "Production", archive_existing_versions=True)
        delete_version(api, "first", 4)
        api.post("registered-models/rename", name="before", new_name="after")
        api.delete("registered-models/delete", name="gone")
        create_model(api, "prompt", tags=[pair("mlflow.prompt.is_prompt", "true")])
        return lambda: {
            "models": search_models(api, max_results=1),
            "versions": search_versions(api, max_results=1),
            "prompts": search_models(api, filter="tags.`mlflow.prompt.is_prompt` = 'true'"),
            "first": get_model(api, "first"),
            "champion": by_alias(api, "first", "champion"),
            "places": [download_uri(api, "first", version) for version in (1, 2, 3)],
            "absent": [
                api.send("GET", "model-versions/get", query={"name": name, "version": version}).status
                for name, version in (("first", "4"), ("gone", "1"), ("before", "1"))
            ],
            "logged": api.get(f"logged-models/{logged['model_id']}"),
            "history": api.get("/api/runlake/registry/history", name="after"),
        }

    @pytest.mark.parametrize("how", ["flush", "stop", "kill", "flush then kill", "kill then flush then stop"])
    def test_same_answers(self, own_server, how):
        api = Api(own_server.uri)
        say = self.fill(api)
        before = say()
        assert [model["name"] for model in before["models"]] == ["after", "first"]
        assert len(before["versions"]) == 4
        assert before["absent"] == [404, 404, 404]
        for step in how.split(" then "):
            api.close()
            if step == "flush":
                own_server.flush()
            else:
                assert own_server.stop() == 0 if step == "stop" else own_server.kill() is None
                own_server.start()
            after = say()
            assert [key for key in before if after[key] != before[key]] == [], step
        # And things go on from there: numbers, uniqueness, aliases.
        assert create_version(api, "first")["version"] == "5"
        assert create_version(api, "after")["version"] == "2"
        with pytest.raises(Refused):
            create_model(api, "first")
        assert create_version(api, create_model(api, "gone")["name"])["version"] == "1"
        set_alias(api, "first", "champion", 5)
        assert by_alias(api, "first", "champion")["version"] == "5"

    def test_a_number_deleted_before_a_restart(self, own_server):
        api = Api(own_server.uri)
        create_model(api, "m")
        for turn in range(3):
            assert create_version(api, "m")["version"] == str(turn + 1)
            delete_version(api, "m", turn + 1)
            api.close()
            if turn == 1:
                own_server.flush()
            own_server.restart()
        assert create_version(api, "m")["version"] == "4"
