"""Experiments: life cycle, names, artifact locations, tags, search."""

import itertools

import pytest

from support.api import Refused, pair, pairs


def get(api, experiment_id):
    return api.get("experiments/get", experiment_id=experiment_id)["experiment"]


def search(api, **fields):
    found, token = [], None
    while True:
        page = api.post(
            "experiments/search", {"max_results": 1000, **fields, **({"page_token": token} if token else {})}
        )
        found += page.get("experiments", [])
        token = page.get("next_page_token")
        if token is None:
            return found


class TestLifeCycle:
    def test_a_new_experiment(self, api, name):
        made = api.create_experiment(name, tags=[pair("a", "1"), pair("b", "")])
        assert int(made) > 0
        stored = get(api, made)
        stored.pop("workspace", None)  # the newest MLflow's, of no use to its clients
        assert stored == {
            "experiment_id": made,
            "name": name,
            "artifact_location": stored["artifact_location"],
            "lifecycle_stage": "active",
            "creation_time": stored["creation_time"],
            "last_update_time": stored["creation_time"],
            "tags": stored["tags"],
        }
        assert pairs(stored["tags"]) == {"a": "1", "b": ""}
        assert stored["artifact_location"].endswith(f"/{made}")
        assert api.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"] == made

    def test_names_are_unique_also_against_deleted_ones(self, api, name):
        made = api.create_experiment(name)
        for _ in range(2):
            answer = api.send("POST", "experiments/create", {"name": name})
            assert (answer.status, answer.code) == (400, "RESOURCE_ALREADY_EXISTS")
            assert f"Experiment(name={name}) already exists" in answer.message
            if get(api, made)["lifecycle_stage"] == "active":
                api.post("experiments/delete", experiment_id=made)

    def test_delete_and_restore(self, api, name):
        made = api.create_experiment(name)
        kept, gone = api.create_run(made), api.create_run(made)
        api.post("runs/delete", run_id=gone)
        before = get(api, made)["last_update_time"]
        assert api.post("experiments/delete", experiment_id=made) == {}
        assert get(api, made)["lifecycle_stage"] == "deleted"
        assert get(api, made)["last_update_time"] >= before
        assert api.run(kept)["info"]["lifecycle_stage"] == "deleted"
        assert api.send("POST", "experiments/delete", {"experiment_id": made}).status == 404
        answer = api.send("POST", "runs/create", {"experiment_id": made, "start_time": 1})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert f"The experiment {made} must be in the 'active' state" in answer.message
        assert api.post("experiments/restore", experiment_id=made) == {}
        assert get(api, made)["lifecycle_stage"] == "active"
        # All of them, also the one deleted by itself before.
        assert {api.run(r)["info"]["lifecycle_stage"] for r in (kept, gone)} == {"active"}
        assert api.send("POST", "experiments/restore", {"experiment_id": made}).status == 404
        assert api.create_run(made)

    def test_rename(self, api, name):
        made = api.create_experiment(name)
        assert api.post("experiments/update", experiment_id=made, new_name=f"{name} new") == {}
        assert get(api, made)["name"] == f"{name} new"
        assert api.send("GET", "experiments/get-by-name", query={"experiment_name": name}).status == 404
        assert api.create_experiment(name) != made
        taken = api.send("POST", "experiments/update", {"experiment_id": made, "new_name": name})
        # The reference lets its database's complaint through (BAD_REQUEST).
        assert taken.status == 400
        assert taken.code in ("RESOURCE_ALREADY_EXISTS", "BAD_REQUEST")
        api.post("experiments/delete", experiment_id=made)
        answer = api.send("POST", "experiments/update", {"experiment_id": made, "new_name": f"{name} third"})
        assert answer.code in ("INVALID_STATE", "INVALID_PARAMETER_VALUE")
        assert "Cannot rename a non-active experiment." in answer.message

    def test_tags(self, api, name):
        made = api.create_experiment(name)
        for value in ("1", "ü" * 5000, ""):
            api.post("experiments/set-experiment-tag", experiment_id=made, key="t", value=value)
            assert pairs(get(api, made)["tags"]) == {"t": value}
        api.post("experiments/delete-experiment-tag", experiment_id=made, key="t")
        assert "tags" not in get(api, made)
        api.post("experiments/delete", experiment_id=made)
        answer = api.send("POST", "experiments/set-experiment-tag", {"experiment_id": made, "key": "t", "value": "1"})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert f"The experiment {made} must be in the 'active' state. Current state is deleted." in answer.message


class TestArtifactLocation:
    @pytest.mark.parametrize("location", ["s3://bucket/some/where", "file:///tmp/somewhere", "gs://b/p?x=1&y=2"])
    def test_kept_as_given(self, api, name, location):
        made = api.create_experiment(name, artifact_location=location)
        assert get(api, made)["artifact_location"] == location
        uri = api.run(api.create_run(made))["info"]["artifact_uri"]
        path, _, query = location.partition("?")
        run_id = uri.split("/")[-2]
        assert uri == f"{path}/{run_id}/artifacts" + (f"?{query}" if query else "")

    @pytest.mark.parametrize("location", ["s3://bucket/p#fragment", "gs://bucket/p?x=1#fragment"])
    def test_refused(self, api, name, location):
        answer = api.send("POST", "experiments/create", {"name": name, "artifact_location": location})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert "'artifact_location' URL can't include fragments or params." in answer.message

    @pytest.mark.runlake
    @pytest.mark.parametrize(
        "location", ["javascript:alert(1)", "mlflow-artifacts:/../../x", "mlflow-artifacts:/%2e%2e/x"]
    )
    def test_no_place_at_all(self, api, name, location):
        answer = api.send("POST", "experiments/create", {"name": name, "artifact_location": location})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert "'artifact_location'" in answer.message

    @pytest.mark.runlake
    @pytest.mark.parametrize("location, advised", [("gs://b/p", True), ("dbfs:/x", False)])
    def test_files_elsewhere_are_not_served(self, api, name, location, advised):
        run_id = api.create_run(api.create_experiment(name, artifact_location=location))
        answer = api.send("GET", "artifacts/list", query={"run_id": run_id})
        assert (answer.status, answer.code) == (501, "NOT_IMPLEMENTED")
        assert ("--default-artifact-root" in answer.message) == advised


class TestSearch:
    @pytest.fixture(scope="class")
    def made(self, api):
        """Names "<prefix> 0".."<prefix> 5" with tags, in order of creation."""
        import uuid

        prefix = uuid.uuid4().hex[:10]
        ids = []
        for index in range(6):
            tags = [pair("owner", ["ada", "bob"][index % 2])] if index < 4 else []
            ids.append(api.create_experiment(f"{prefix} {'Even' if index % 2 == 0 else 'odd'} {index}", tags=tags))
        return prefix, ids

    CASES = [
        ("", range(6)),
        (" AND name LIKE '%Even%'", [0, 2, 4]),
        (" AND name LIKE '%even%'", []),
        (" AND name ILIKE '%EVEN%'", [0, 2, 4]),
        (" AND tags.owner = 'ada'", [0, 2]),
        (" AND tags.owner != 'ada'", [1, 3]),
        (" AND tags.`owner` ILIKE 'B%'", [1, 3]),
        (" AND tags.owner IS NULL", [4, 5]),
        (" AND tags.owner IS NOT NULL", [0, 1, 2, 3]),
        (" AND creation_time > 0 AND attribute.last_update_time > 0", range(6)),
        (" AND creation_time < 1000", []),
    ]

    @pytest.mark.parametrize(("text", "expected"), CASES, ids=[text or "(none)" for text, _ in CASES])
    def test_filter(self, api, made, text, expected):
        prefix, ids = made
        found = [e["experiment_id"] for e in search(api, filter=f"name LIKE '{prefix}%'{text}")]
        assert sorted(found, key=int) == [ids[i] for i in expected]

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            (["name"], [0, 2, 4, 1, 3, 5]),
            (["name DESC"], [5, 3, 1, 4, 2, 0]),
            (["experiment_id ASC"], [0, 1, 2, 3, 4, 5]),
            (["experiment_id DESC"], [5, 4, 3, 2, 1, 0]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("page", [2, 1000])
    def test_order_and_pages(self, api, made, order, expected, page):
        prefix, ids = made
        found = search(api, filter=f"name LIKE '{prefix}%'", order_by=order, max_results=page)
        assert [e["experiment_id"] for e in found] == [ids[i] for i in expected]

    def test_newest_first_by_default(self, api, made):
        prefix, ids = made
        found = search(api, filter=f"name LIKE '{prefix}%'")
        times = [e["creation_time"] for e in found]
        assert times == sorted(times, reverse=True)
        for _, group in itertools.groupby(found, key=lambda e: e["creation_time"]):
            same = [int(e["experiment_id"]) for e in group]
            assert same == sorted(same)

    def test_get_works_too(self, api, made):
        prefix, ids = made
        query = {"max_results": 5, "filter": f"name LIKE '{prefix}%'", "order_by": ["experiment_id"]}
        first = api.get("experiments/search", **query)
        second = api.get("experiments/search", **query, page_token=first["next_page_token"])
        assert [e["experiment_id"] for e in first["experiments"] + second["experiments"]] == ids
        assert "next_page_token" not in second

    def test_view_type(self, api, name):
        gone, kept = api.create_experiment(f"{name} gone"), api.create_experiment(f"{name} kept")
        api.post("experiments/delete", experiment_id=gone)
        for view, expected in [("ACTIVE_ONLY", [kept]), ("DELETED_ONLY", [gone]), ("ALL", [gone, kept])]:
            found = search(api, filter=f"name LIKE '{name}%'", view_type=view, order_by=["experiment_id"])
            assert [e["experiment_id"] for e in found] == expected

    def test_nothing_found_is_an_empty_object(self, api, name):
        assert api.post("experiments/search", max_results=10, filter=f"name = '{name}'") == {}

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
            (
                {"max_results": 50001},
                "Invalid value 50001 for parameter 'max_results' supplied. It must be at most 50000",
            ),
            ({"max_results": 1, "filter": "nope = 'x'"}, ""),
            ({"max_results": 1, "filter": "name > 'x'"}, ""),
            ({"max_results": 1, "order_by": ["nope"]}, ""),
            ({"max_results": 1, "page_token": "%%"}, ""),
        ],
        ids=str,
    )
    def test_refused(self, api, fields, message):
        with pytest.raises(Refused) as refused:
            api.post("experiments/search", fields)
        answer = refused.value.answer
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in answer.message


@pytest.mark.both
def test_by_the_client(client, name):
    from mlflow.entities import ViewType

    made = client.create_experiment(name, tags={"k": "v"})
    assert client.get_experiment(made).tags["k"] == "v"
    client.set_experiment_tag(made, "k", "w")
    client.rename_experiment(made, f"{name} 2")
    assert client.get_experiment_by_name(f"{name} 2").tags["k"] == "w"
    client.delete_experiment(made)
    found = client.search_experiments(filter_string=f"name = '{name} 2'", view_type=ViewType.DELETED_ONLY)
    assert [e.experiment_id for e in found] == [made]
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"
