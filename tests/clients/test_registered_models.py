"""Registered models: life cycle, names, tags, latest versions, search, and the prompts among them."""

import threading
import time
import uuid

import pytest

from support.api import Api, pair, pairs
from support.registry import (
    ANYWHERE,
    IS_PROMPT,
    REFUSED,
    TAKEN,
    UNKNOWN,
    by_alias,
    create_model,
    create_version,
    delete_version,
    get_model,
    get_version,
    search_models,
    search_versions,
    set_alias,
    transition,
)

PROMPT = [pair(IS_PROMPT, "true")]


def unknown(name):
    return f"Registered Model with name={name} not found"


class TestLifeCycle:
    def test_a_new_model(self, api, name):
        before = int(time.time() * 1000)
        made = create_model(api, name, description="trees", tags=[pair("team", "vision")])
        assert made["name"] == name
        assert made["description"] == "trees"
        assert pairs(made["tags"]) == {"team": "vision"}
        assert before <= made["creation_timestamp"] == made["last_updated_timestamp"] <= int(time.time() * 1000)
        assert not made.get("latest_versions") and not made.get("aliases")
        assert get_model(api, name) == made

    def test_a_model_of_nothing_but_a_name(self, api, name):
        assert set(create_model(api, name, description="")) == {"name", "creation_timestamp", "last_updated_timestamp"}

    def test_a_name_is_taken_once(self, api, name):
        create_model(api, name, description="first")
        again = api.send("POST", "registered-models/create", {"name": name, "description": "second"})
        assert (again.status, again.code) == TAKEN
        assert again.message == f"Registered Model (name={name}) already exists."
        assert get_model(api, name)["description"] == "first"
        # Case tells names apart.
        create_model(api, name.upper())
        assert get_model(api, name)["name"] == name

    def test_one_of_many_who_want_a_name(self, server, api, name):
        threads = 8
        answers, barrier = [], threading.Barrier(threads)

        def work(index):
            mine = Api(server.uri)
            barrier.wait()
            fields = {"name": name, "description": str(index), "tags": [pair(f"t{index}", "1")]}
            answers.append((mine.send("POST", "registered-models/create", fields), index))
            mine.close()

        workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        (winner,) = [index for answer, index in answers if answer.status == 200]
        assert [(a.status, a.code) for a, index in answers if index != winner] == [TAKEN] * (threads - 1)
        # Nothing of the others is mixed in.
        stored = get_model(api, name)
        assert (stored["description"], pairs(stored["tags"])) == (str(winner), {f"t{winner}": "1"})

    def test_the_web_apps_prefix(self, api, name):
        create_model(api, name)
        answer = api.send("GET", "/ajax-api/2.0/mlflow/registered-models/get", query={"name": name})
        assert answer.json == {"registered_model": get_model(api, name)}

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ("a/b", "Invalid model name 'a/b'. Names cannot contain '/' or ':'."),
            ("a:b", "Invalid model name 'a:b'. Names cannot contain '/' or ':'."),
            ("../b", "Names cannot contain '/' or ':'."),
            ("..", "must not resolve to other names"),
            (".", "must not resolve to other names"),
            ("", "Missing value for required parameter 'name'."),
            ("   ", "Missing value for required parameter 'name'."),
            (None, "Missing value for required parameter 'name'."),
            (["a"], "Invalid value [\"a\"] for parameter 'name' supplied"),
            (3, "Invalid value 3 for parameter 'name' supplied"),
        ],
        ids=repr,
    )
    def test_names_refused(self, api, name, bad, message):
        payload = {} if bad is None else {"name": bad}
        answer = api.send("POST", "registered-models/create", payload)
        assert (answer.status, answer.code) == REFUSED, answer.text
        assert message in answer.message
        if not bad:
            return
        # Nor can a model be renamed to that.
        create_model(api, name)
        answer = api.send("POST", "registered-models/rename", {"name": name, "new_name": bad})
        assert (answer.status, answer.code) == REFUSED, answer.text
        assert get_model(api, name)["name"] == name

    @pytest.mark.parametrize(
        "odd",
        ["with space ", "é日本", "it's", 'a"b', "a@b", ".hidden", "a..b", "%2e%2e", "a+b&c=d#e?f", "\\", "m-1"],
    )
    def test_names_taken_as_they_are(self, api, name, odd):
        made = create_model(api, f"{odd}{name}" if odd[0] == "." else f"{name}{odd}")
        assert get_model(api, made["name"]) == made
        assert create_version(api, made["name"])["name"] == made["name"]
        assert search_models(api, filter=f"name ILIKE '%{name}%'")[0]["name"] == made["name"]

    def test_what_is_not_there(self, api, name):
        for method, path, more in [
            ("GET", "registered-models/get", {}),
            ("PATCH", "registered-models/update", {"description": "d"}),
            ("POST", "registered-models/rename", {"new_name": f"{name}2"}),
            ("DELETE", "registered-models/delete", {}),
            ("POST", "registered-models/set-tag", {"key": "k", "value": "v"}),
            ("DELETE", "registered-models/delete-tag", {"key": "k"}),
            ("GET", "registered-models/get-latest-versions", {}),
            ("GET", "registered-models/alias", {"alias": "champion"}),
            ("DELETE", "registered-models/alias", {"alias": "champion"}),
            ("POST", "model-versions/create", {"source": ANYWHERE}),
        ]:
            fields = {"name": name, **more}
            answer = api.send(method, path, None if method == "GET" else fields, fields if method == "GET" else None)
            assert (answer.status, answer.code, answer.message) == (*UNKNOWN, unknown(name)), path

    def test_update_changes_and_clears_the_description(self, api, name):
        made = create_model(api, name, tags=[pair("a", "1")])
        time.sleep(0.003)
        changed = api.patch("registered-models/update", name=name, description="new")["registered_model"]
        assert changed["description"] == "new"
        assert changed["creation_timestamp"] == made["creation_timestamp"] < changed["last_updated_timestamp"]
        assert pairs(changed["tags"]) == {"a": "1"}
        assert get_model(api, name) == changed
        cleared = api.patch("registered-models/update", name=name, description="")["registered_model"]
        assert not cleared.get("description")
        assert not get_model(api, name).get("description")

    def test_rename_takes_everything_along(self, api, name):
        new = f"{name}-new"
        create_model(api, name, description="d", tags=[pair("a", "1")])
        for _ in range(2):
            create_version(api, name, tags=[pair("b", "2")])
        set_alias(api, name, "champion", 1)
        transition(api, name, 2, "Production")
        time.sleep(0.003)
        before = get_model(api, name)
        renamed = api.post("registered-models/rename", name=name, new_name=new)["registered_model"]
        assert renamed["name"] == new
        assert renamed["creation_timestamp"] == before["creation_timestamp"]
        assert renamed["last_updated_timestamp"] > before["last_updated_timestamp"]
        stored = get_model(api, new)
        assert stored == renamed
        assert (stored["description"], pairs(stored["tags"])) == ("d", {"a": "1"})
        assert stored["aliases"] == [{"alias": "champion", "version": "1"}]
        for version in ("1", "2"):
            assert pairs(get_version(api, new, version)["tags"]) == {"b": "2"}
            gone = api.send("GET", "model-versions/get", query={"name": name, "version": version})
            assert (gone.status, gone.code) == UNKNOWN
        assert by_alias(api, new, "champion")["version"] == "1"
        assert {v["current_stage"]: v["version"] for v in stored["latest_versions"]} == {"None": "1", "Production": "2"}
        assert {v["name"] for v in search_versions(api, filter=f"name LIKE '{name}%'")} == {new}
        answer = api.send("GET", "registered-models/get", query={"name": name})
        assert (answer.status, answer.code, answer.message) == (*UNKNOWN, unknown(name))
        # Numbers go on, and the old name is free.
        assert create_version(api, new)["version"] == "3"
        assert create_version(api, create_model(api, name)["name"])["version"] == "1"

    def test_rename_to_a_taken_name(self, api, name):
        create_model(api, name, description="a")
        create_model(api, f"{name}2", description="b")
        answer = api.send("POST", "registered-models/rename", {"name": name, "new_name": f"{name}2"})
        assert (answer.status, answer.code) == TAKEN
        assert answer.message.startswith(f"Registered Model (name={name}2) already exists.")
        assert get_model(api, name)["description"] == "a"
        assert get_model(api, f"{name}2")["description"] == "b"

    def test_rename_to_itself(self, api, name):
        create_model(api, name)
        create_version(api, name)
        assert api.post("registered-models/rename", name=name, new_name=name)["registered_model"]["name"] == name
        assert get_version(api, name, 1)["version"] == "1"

    def test_delete_leaves_nothing(self, api, name):
        create_model(api, name, description="d", tags=[pair("a", "1")])
        create_version(api, name, tags=[pair("b", "2")])
        set_alias(api, name, "champion", 1)
        assert api.delete("registered-models/delete", name=name) == {}
        for path, more in [
            ("registered-models/get", {}),
            ("model-versions/get", {"version": "1"}),
            ("model-versions/get-download-uri", {"version": "1"}),
            ("registered-models/alias", {"alias": "champion"}),
        ]:
            answer = api.send("GET", path, query={"name": name, **more})
            assert (answer.status, answer.code) == UNKNOWN, path
        assert search_models(api, filter=f"name = '{name}'") == []
        assert search_versions(api, filter=f"name = '{name}'") == []
        # One that is made anew has nothing of the old one.
        again = create_model(api, name)
        assert set(again) == {"name", "creation_timestamp", "last_updated_timestamp"}
        made = create_version(api, name)
        assert made["version"] == "1" and not made.get("tags") and not made.get("aliases")
        answer = api.send("GET", "registered-models/alias", query={"name": name, "alias": "champion"})
        assert (answer.status, answer.code) == REFUSED


class TestTags:
    def test_set_and_delete(self, api, name):
        create_model(api, name, tags=[pair("a", "1")])
        for value in ("2", "3"):
            assert api.post("registered-models/set-tag", name=name, key="b", value=value) == {}
        api.post("registered-models/set-tag", name=name, key="empty", value="")
        assert pairs(get_model(api, name)["tags"]) == {"a": "1", "b": "3", "empty": ""}
        for _ in range(2):
            # One that is not there is fine.
            assert api.delete("registered-models/delete-tag", name=name, key="a") == {}
        assert pairs(get_model(api, name)["tags"]) == {"b": "3", "empty": ""}

    def test_the_last_of_a_key_counts(self, api, name):
        made = create_model(api, name, tags=[pair("a", "1"), pair("b", "x"), pair("a", "2")])
        assert pairs(made["tags"]) == {"a": "2", "b": "x"}
        assert get_model(api, name) == made

    def test_the_longest(self, api, name):
        """Limits count characters, not bytes."""
        key, value = "k" * 250, "é" * 100_000
        create_model(api, name)
        api.post("registered-models/set-tag", name=name, key=key, value=value)
        assert pairs(get_model(api, name)["tags"]) == {key: value}

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("k" * 251, "v", "'key' exceeds the maximum length of 250 characters"),
            ("k", "v" * 100_001, "'value' exceeds the maximum length of 100000 characters"),
            ("k#", "v", "Invalid value \"k#\" for parameter 'key' supplied: Names may only contain alphanumerics"),
            ("../k", "v", "must not resolve to other names"),
            ("/k", "v", "must not resolve to other names"),
            (".", "v", "must not resolve to other names"),
            ("", "v", "'key'"),
        ],
        ids=["long key", "long value", "#", "..", "/", ".", "empty"],
    )
    def test_refused(self, api, name, key, value, message):
        answer = api.send("POST", "registered-models/create", {"name": name, "tags": [pair(key, value)]})
        assert (answer.status, answer.code) == REFUSED, answer.text[:500]
        assert message in answer.message
        # Nothing is left of a refused model.
        assert search_models(api, filter=f"name = '{name}'") == []
        create_model(api, name)
        answer = api.send("POST", "registered-models/set-tag", {"name": name, "key": key, "value": value})
        assert (answer.status, answer.code) == REFUSED, answer.text[:500]
        assert message in answer.message
        assert not get_model(api, name).get("tags")


class TestLatestVersions:
    @pytest.fixture
    def model(self, api, name):
        """Versions 1 (Archived), 2 and 3 (Production), 4 and 5 (None)."""
        create_model(api, name)
        for _ in range(5):
            create_version(api, name)
        transition(api, name, 1, "Archived")
        transition(api, name, 3, "Production")
        transition(api, name, 2, "Production")
        return name

    def latest(self, api, model, stages=(), method="GET"):
        fields = {"name": model, **({"stages": list(stages)} if stages else {})}
        answer = api.send(
            method,
            "registered-models/get-latest-versions",
            fields if method == "POST" else None,
            fields if method == "GET" else None,
        )
        assert answer.status == 200, answer.text
        found = answer.json.get("model_versions", [])
        stages = {version["current_stage"]: version["version"] for version in found}
        assert len(stages) == len(found), "a stage twice"
        return stages

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_the_highest_of_each_stage(self, api, model, method):
        everything = {"Archived": "1", "Production": "3", "None": "5"}
        assert self.latest(api, model, method=method) == everything
        assert {v["current_stage"]: v["version"] for v in get_model(api, model)["latest_versions"]} == everything
        assert self.latest(api, model, ["Production"], method) == {"Production": "3"}
        assert self.latest(api, model, ["production", "NONE"], method) == {"Production": "3", "None": "5"}
        assert self.latest(api, model, ["Staging"], method) == {}

    def test_the_one_before_follows_a_deleted_one(self, api, model):
        delete_version(api, model, 3)
        delete_version(api, model, 5)
        delete_version(api, model, 1)
        assert self.latest(api, model) == {"Production": "2", "None": "4"}

    def test_none_yet(self, api, name):
        create_model(api, name)
        assert self.latest(api, name) == {}

    def test_unknown_stage(self, api, model):
        for stages in (["Nope"], ["Production", "Nope"]):
            answer = api.send("POST", "registered-models/get-latest-versions", {"name": model, "stages": stages})
            assert (answer.status, answer.code) == REFUSED
            assert answer.message == (
                "Invalid Model Version stage: Nope. Value must be one of None, Staging, Production, Archived."
            )


class TestSearch:
    @pytest.fixture(scope="class")
    def made(self, api):
        """Models a, B, c, d, whose names begin alike; last changed in the order c, a, d, B."""
        start = f"s{uuid.uuid4().hex[:12]}"
        for letter, tags in [
            ("a", {"team": "vision", "tier": "1"}),
            ("B", {"team": "Vision"}),
            ("c", {"team": "text", "a b.c": "odd"}),
            ("d", {}),
        ]:
            create_model(api, f"{start}-{letter}", tags=[pair(key, value) for key, value in tags.items()])
        for letter in "cadB":
            time.sleep(0.003)
            api.patch("registered-models/update", name=f"{start}-{letter}", description=letter)
        return start

    def found(self, api, start, text="", **query):
        """Letters of what is found among the made ones."""
        text = f"name ILIKE '{start}%'" + (f" AND {text}" if text else "")
        return "".join(model["name"].rsplit("-", 1)[1] for model in search_models(api, filter=text, **query))

    FILTERS = [
        ("", "Bacd"),
        ("name = 'S-a'", "a"),
        ("attribute.name = 'S-a'", "a"),
        ("name = 'S-A'", ""),
        ("name != 'S-a'", "Bcd"),
        ("name LIKE '%-_'", "Bacd"),
        ("name LIKE '%-b'", ""),
        ("name ILIKE '%-b'", "B"),
        ("name LIKE 'S-a' AND name != 'S-a'", ""),
        ("tags.team = 'vision'", "a"),
        ("tag.team = 'vision'", "a"),
        ("tags.team != 'vision'", "Bc"),
        ("tags.team LIKE '%ision'", "Ba"),
        ("tags.team LIKE 'v%'", "a"),
        ("tags.team ILIKE 'v%'", "Ba"),
        ("tags.team ILIKE 'v%' AND tags.tier = '1'", "a"),
        ("tags.team LIKE '%s%' AND tags.team != 'Vision'", "a"),
        ("tags.`a b.c` = 'odd'", "c"),
        ('tags."a b.c" = "odd"', "c"),
        ("tags.nobody = 'x'", ""),
        ("tags.nobody != 'x'", ""),
    ]

    @pytest.mark.parametrize(("text", "expected"), FILTERS, ids=[text or "(none)" for text, _ in FILTERS])
    def test_filter(self, api, made, text, expected):
        assert self.found(api, made, text.replace("S-", f"{made}-")) == expected

    MORE_FILTERS = [
        ("(name = 'S-a' OR name = 'S-d')", "ad"),
        ("NOT name = 'S-a'", "Bcd"),
        ("NOT (name = 'S-a' OR tags.team = 'text')", "B"),
        ("(tags.team = 'text' OR tags.team = 'vision' AND tags.tier = '2')", "c"),
        ("name IN ('S-a', 'S-c', 'S-x')", "ac"),
        ("name NOT IN ('S-a', 'S-c')", "Bd"),
        ("tags.team IN ('text', 'Vision')", "Bc"),
        ("tags.team IS NULL", "d"),
        ("tags.team IS NOT NULL", "Bac"),
    ]

    @pytest.mark.runlake
    @pytest.mark.parametrize(("text", "expected"), MORE_FILTERS, ids=[text for text, _ in MORE_FILTERS])
    def test_what_the_reference_refuses(self, api, made, text, expected):
        """OR, NOT, parentheses, lists and absence; a comparison with what is absent is neither true nor false."""
        assert self.found(api, made, text.replace("S-", f"{made}-")) == expected

    ORDERS = [
        ([], "Bacd"),
        (["name"], "Bacd"),
        (["name DESC"], "dcaB"),
        (["name desc"], "dcaB"),
        (["timestamp"], "cadB"),
        (["timestamp DESC"], "Bdac"),
        (["last_updated_timestamp ASC", "name DESC"], "cadB"),
    ]

    @pytest.mark.parametrize(("order", "expected"), ORDERS, ids=str)
    @pytest.mark.parametrize("page", [1, 2, 3, 4, 1000])
    def test_order_and_pages(self, api, made, order, expected, page):
        assert self.found(api, made, order_by=order, max_results=page) == expected

    @pytest.mark.parametrize("page", [2, 4])
    def test_a_full_last_page_has_no_token(self, api, made, page):
        query, seen = {"filter": f"name LIKE '{made}%'", "max_results": page}, 0
        while seen < 4:
            answer = api.get("registered-models/search", **query)
            seen += len(answer["registered_models"])
            assert ("next_page_token" in answer) == (seen < 4)
            query["page_token"] = answer.get("next_page_token")

    def test_a_token_belongs_to_its_query(self, api, made):
        query = {"filter": f"name LIKE '{made}%'", "max_results": 1, "order_by": ["name DESC"]}
        query["page_token"] = api.get("registered-models/search", **query)["next_page_token"]
        assert [m["name"][-1] for m in api.get("registered-models/search", **query)["registered_models"]] == ["c"]
        # The size of a page is nobody's business.
        rest = api.get("registered-models/search", **{**query, "max_results": 10})["registered_models"]
        assert [m["name"][-1] for m in rest] == ["c", "a", "B"]

    @pytest.mark.runlake
    @pytest.mark.parametrize("change", [{"filter": "name LIKE '%'"}, {"order_by": ["name"]}, {"order_by": []}], ids=str)
    def test_a_token_of_another_query(self, api, made, change):
        """The reference takes it and answers other rows."""
        query = {"filter": f"name LIKE '{made}%'", "max_results": 1, "order_by": ["name DESC"]}
        token = api.get("registered-models/search", **query)["next_page_token"]
        answer = api.send("GET", "registered-models/search", query={**query, **change, "page_token": token})
        assert (answer.status, answer.code) == REFUSED

    @pytest.mark.runlake
    def test_a_token_of_another_search(self, api, name):
        create_model(api, name)
        for _ in range(2):
            create_version(api, name)
        query = {"filter": f"name = '{name}'", "max_results": 1}
        token = api.get("model-versions/search", **query)["next_page_token"]
        answer = api.send("GET", "registered-models/search", query={**query, "page_token": token})
        assert (answer.status, answer.code) == REFUSED

    @pytest.mark.parametrize("token", ["%%", "bm90aGluZw==", "x" * 5000], ids=["%%", "base64", "long"])
    def test_tokens_of_nobody(self, api, token):
        answer = api.send("GET", "registered-models/search", query={"page_token": token})
        assert (answer.status, answer.code) == REFUSED
        assert answer.message.startswith("Invalid page token")

    @pytest.mark.parametrize(
        "count", [*(pytest.param(few, marks=pytest.mark.runlake) for few in ("0", "-1")), "1001", "x"]
    )
    def test_page_sizes_refused(self, api, count):
        """The reference answers 0 and less with a token that never ends."""
        answer = api.send("GET", "registered-models/search", query={"max_results": count})
        assert (answer.status, answer.code) == REFUSED
        assert "max_results" in answer.message

    def test_a_hundred_unless_asked_for(self, api, name):
        for index in range(101):
            create_model(api, f"{name} {index:03}")
        query = {"filter": f"name LIKE '{name}%'"}
        page = api.get("registered-models/search", **query)
        assert len(page["registered_models"]) == 100
        assert [m["name"] for m in search_models(api, **query)] == [f"{name} {index:03}" for index in range(101)]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name > 'x'", "Invalid comparator for attribute: >"),
            ("tags.a > 'x'", "Invalid comparator for tag: >"),
            ("nope = 'x'", "Invalid attribute key 'nope' specified."),
            ("description = 'x'", "Invalid attribute key 'description' specified."),
            ("foo.name = 'x'", "Invalid entity type 'foo'."),
            ("tags.a = 1", "Expected a quoted string value for tag"),
            ("name = x", ""),
            ("name =", "Invalid clause(s) in filter string"),
            ("name", "Invalid clause(s) in filter string"),
            pytest.param("name = 'x' name = 'y'", "Invalid clause(s) in filter string", marks=pytest.mark.runlake),
        ],
    )
    def test_filters_refused(self, api, text, message):
        """The reference reads the last one as if it were the first half of it only."""
        answer = api.send("GET", "registered-models/search", query={"filter": text})
        assert (answer.status, answer.code) == REFUSED, answer.text
        assert message in answer.message

    @pytest.mark.parametrize(
        ("order", "message"),
        [
            (["nope"], "Invalid order by key 'nope' specified."),
            (["creation_timestamp"], "Invalid order by key 'creation_timestamp' specified."),
            (["name NOPE"], "Invalid ordering key in order_by clause 'name NOPE'"),
            (["name, timestamp"], "Invalid order_by clause 'name, timestamp'. Could not be parsed."),
            (["tags.team"], ""),
            pytest.param(["name", "name DESC"], "`order_by` contains duplicate fields", marks=pytest.mark.runlake),
        ],
        ids=str,
    )
    def test_orders_refused(self, api, order, message):
        """Duplicates are a 500 of the reference."""
        answer = api.send("GET", "registered-models/search", query={"order_by": order})
        assert (answer.status, answer.code) == REFUSED, answer.text
        assert message in answer.message

    @pytest.mark.runlake
    def test_a_search_tells_all_that_get_tells(self, api, name):
        """The reference leaves the aliases of versions out."""
        create_model(api, name, description="d", tags=[pair("a", "1")])
        for _ in range(2):
            create_version(api, name, description="d", tags=[pair("b", "2")])
        transition(api, name, 1, "Production")
        for alias, version in (("champion", 1), ("best", 1), ("next", 2)):
            set_alias(api, name, alias, version)
        (found,) = search_models(api, filter=f"name = '{name}'")
        assert found == get_model(api, name)
        assert {a["alias"]: a["version"] for a in found["aliases"]} == {"champion": "1", "best": "1", "next": "2"}
        assert {v["version"]: sorted(v["aliases"]) for v in found["latest_versions"]} == {
            "1": ["best", "champion"],
            "2": ["next"],
        }
        for version in found["latest_versions"]:
            assert version == get_version(api, name, version["version"])


class TestPrompts:
    @pytest.fixture
    def both(self, api, name):
        """A prompt and a model, named `<name>-prompt` and `<name>-model`, with a version each."""
        create_model(api, f"{name}-prompt", tags=PROMPT)
        create_version(api, f"{name}-prompt", "dummy-source", tags=[*PROMPT, pair("mlflow.prompt.text", "Hi {{x}}")])
        create_model(api, f"{name}-model")
        create_version(api, f"{name}-model")
        return name

    @pytest.mark.parametrize("search", [search_models, search_versions], ids=["models", "versions"])
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ["model"]),
            (f"tags.`{IS_PROMPT}` = 'true'", ["prompt"]),
            (f"tags.`{IS_PROMPT}` != 'false'", ["prompt"]),
            (f"tags.`{IS_PROMPT}` = 'false'", ["model"]),
            (f"tags.`{IS_PROMPT}` != 'true'", ["model"]),
        ],
    )
    def test_hidden_unless_asked_for(self, api, both, search, text, expected):
        text = f"name LIKE '{both}%'" + (f" AND {text}" if text else "")
        assert [found["name"].rsplit("-", 1)[1] for found in search(api, filter=text)] == expected
        if "AND" not in text:
            assert search(api, filter=f"name = '{both}-prompt'") == []

    @pytest.mark.runlake
    def test_both_by_or(self, api, both):
        text = f"name LIKE '{both}%' AND (tags.`{IS_PROMPT}` = 'true' OR tags.`{IS_PROMPT}` = 'false')"
        assert [m["name"] for m in search_models(api, filter=text)] == [f"{both}-model", f"{both}-prompt"]

    def test_got_by_name_all_the_same(self, api, both):
        assert pairs(get_model(api, f"{both}-prompt")["tags"]) == {IS_PROMPT: "true"}
        assert pairs(get_version(api, f"{both}-prompt", 1)["tags"])["mlflow.prompt.text"] == "Hi {{x}}"

    def test_one_name_for_one_of_both(self, api, both):
        for kind, tags, message in [
            ("prompt", PROMPT, f"Prompt (name={both}-prompt) already exists."),
            ("model", [], f"Registered Model (name={both}-model) already exists."),
            (
                "prompt",
                [],
                f"Tried to create a registered model with name '{both}-prompt', but the name is already taken by a "
                "prompt. MLflow does not allow creating a model and a prompt with the same name.",
            ),
            (
                "model",
                PROMPT,
                f"Tried to create a prompt with name '{both}-model', but the name is already taken by a registered "
                "model. MLflow does not allow creating a model and a prompt with the same name.",
            ),
        ]:
            answer = api.send("POST", "registered-models/create", {"name": f"{both}-{kind}", "tags": tags})
            assert (answer.status, answer.code, answer.message) == (*TAKEN, message)

    def test_nor_by_renaming(self, api, both):
        for old, new in (("model", "prompt"), ("prompt", "model")):
            names = {"name": f"{both}-{old}", "new_name": f"{both}-{new}"}
            answer = api.send("POST", "registered-models/rename", names)
            assert (answer.status, answer.code) == TAKEN

    def test_texts(self, api, both):
        def send(text, source="dummy-source"):
            tags = [*PROMPT, pair("mlflow.prompt.text", text)]
            return api.send("POST", "model-versions/create", {"name": f"{both}-prompt", "source": source, "tags": tags})

        assert send("é" * 100_000).status == 200
        assert send("t", "prompt-template").status == 200
        answer = send("x" * 100_001)
        assert (answer.status, answer.code) == REFUSED
        assert answer.message == "Prompt text exceeds max length of 100000 characters."
        for source in ("/etc/passwd", "s3://bucket/key"):
            answer = send("t", source)
            assert (answer.status, answer.code) == REFUSED
            assert answer.message.startswith(f"Invalid prompt source: '{source}'.")
