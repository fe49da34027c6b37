"""The registry's history: who did what to a model and when, in order, kept whatever becomes of the model."""

import threading
import time

import pytest

from support.api import Api, pair
from support.registry import (
    ANYWHERE,
    IS_PROMPT,
    REFUSED,
    by_alias,
    create_model,
    create_version,
    delete_version,
    history,
    set_alias,
    transition,
)

pytestmark = pytest.mark.runlake

FIELDS = {"event_id", "time", "action", "name", "actor", "version", "subject", "old_value", "new_value", "comment"}


def told(events):
    """What events tell besides when: action, version, subject, old and new value."""
    return [
        (e["action"], *(e.get(field) for field in ("version", "subject", "old_value", "new_value"))) for e in events
    ]


@pytest.fixture
def model(api, name):
    return create_model(api, name)["name"]


def test_everything_that_is_done(api, name):
    start = int(time.time() * 1000)
    create_model(api, name, description="d", tags=[pair("made", "with")])
    api.patch("registered-models/update", name=name, description="e")
    api.patch("registered-models/update", name=name)
    api.post("registered-models/set-tag", name=name, key="a", value="1")
    api.post("registered-models/set-tag", name=name, key="a", value="2")
    api.delete("registered-models/delete-tag", name=name, key="a")
    create_version(api, name)
    create_version(api, name, f"models:/{name}/1")
    api.patch("model-versions/update", name=name, version="1", description="f")
    api.post("model-versions/set-tag", name=name, version="1", key="b", value="1")
    api.delete("model-versions/delete-tag", name=name, version="1", key="b")
    transition(api, name, 1, "production")
    transition(api, name, 2, "Production", archive_existing_versions=True)
    set_alias(api, name, "champion", 1)
    set_alias(api, name, "champion", 2)
    api.delete("registered-models/alias", name=name, alias="champion")
    delete_version(api, name, 1)
    events = history(api, name)
    assert told(events) == [
        ("model_created", None, None, None, None),
        ("model_updated", None, None, "d", "e"),
        ("model_updated", None, None, "e", None),
        ("model_tag_set", None, "a", None, "1"),
        ("model_tag_set", None, "a", "1", "2"),
        ("model_tag_deleted", None, "a", "2", None),
        ("version_created", "1", None, None, ANYWHERE),
        ("version_created", "2", None, None, f"models:/{name}/1"),
        # A version has an empty description from the start.
        ("version_updated", "1", None, "", "f"),
        ("version_tag_set", "1", "b", None, "1"),
        ("version_tag_deleted", "1", "b", "1", None),
        ("stage_changed", "1", None, "None", "Production"),
        ("stage_changed", "1", None, "Production", "Archived"),
        ("stage_changed", "2", None, "None", "Production"),
        ("alias_set", "1", "champion", None, "1"),
        ("alias_set", "2", "champion", "1", "2"),
        ("alias_deleted", "2", "champion", "2", None),
        ("version_deleted", "1", None, "Archived", None),
    ]
    for event in events:
        assert {"event_id", "time", "action", "name"} <= set(event) <= FIELDS
        assert event["name"] == name
        # No users yet.
        assert "actor" not in event
    times = [event["time"] for event in events]
    assert times == sorted(times) and start <= times[0] and times[-1] <= int(time.time() * 1000)
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids) and ids == sorted(ids)


def test_what_changes_nothing_is_no_event(api, model):
    """Neither what was refused, nor what was so already, nor reading."""
    create_version(api, model)
    set_alias(api, model, "champion", 1)
    before = history(api, model)
    set_alias(api, model, "champion", 1)
    api.delete("registered-models/alias", name=model, alias="nobody")
    api.delete("registered-models/delete-tag", name=model, key="nothing")
    api.delete("model-versions/delete-tag", name=model, version="1", key="nothing")
    api.post("registered-models/rename", name=model, new_name=model)
    for method, path, fields in [
        ("POST", "registered-models/create", {"name": model}),
        ("POST", "registered-models/set-tag", {"name": model, "key": "a#", "value": "1"}),
        ("POST", "registered-models/rename", {"name": model, "new_name": "a/b"}),
        ("POST", "registered-models/alias", {"name": model, "alias": "latest", "version": "1"}),
        ("POST", "registered-models/alias", {"name": model, "alias": "champion", "version": "9"}),
        ("POST", "model-versions/create", {"name": model, "source": "/etc/passwd"}),
        ("POST", "model-versions/transition-stage", {"name": model, "version": "1", "stage": "Nope"}),
        ("DELETE", "model-versions/delete", {"name": model, "version": "9"}),
    ]:
        assert api.send(method, path, fields).status in (400, 404), path
    by_alias(api, model, "champion")
    assert history(api, model) == before


def test_a_deleted_version_tells_of_its_aliases(api, model):
    create_version(api, model)
    for alias in ("best", "champion"):
        set_alias(api, model, alias, 1)
    before = len(history(api, model))
    delete_version(api, model, 1)
    assert sorted(told(history(api, model)[before:]), key=str) == [
        ("alias_deleted", "1", "best", "1", None),
        ("alias_deleted", "1", "champion", "1", None),
        ("version_deleted", "1", None, "None", None),
    ]


def test_through_renaming(api, name):
    first, second, third = f"{name}-1", f"{name}-2", f"{name}-3"
    create_model(api, first)
    create_version(api, first)
    api.post("registered-models/rename", name=first, new_name=second)
    set_alias(api, second, "champion", 1)
    api.post("registered-models/rename", name=second, new_name=third)
    transition(api, third, 1, "Staging")
    everything = [
        ("model_created", None, None, None, None),
        ("version_created", "1", None, None, ANYWHERE),
        ("model_renamed", None, None, first, second),
        ("alias_set", "1", "champion", None, "1"),
        ("model_renamed", None, None, second, third),
        ("stage_changed", "1", None, "None", "Staging"),
    ]
    events = history(api, third)
    assert told(events) == everything
    assert len({event["event_id"] for event in events}) == len(events)
    # Under a former name: up to the time it was given up.
    assert told(history(api, second)) == everything[:5]
    assert told(history(api, first)) == everything[:3]
    # Somebody else takes that name; the two do not mix.
    create_model(api, first, description="another")
    create_version(api, first, "s3://bucket/another")
    set_alias(api, first, "champion", 1)
    assert told(history(api, third)) == everything
    assert told(history(api, first))[-3:] == [
        ("model_created", None, None, None, None),
        ("version_created", "1", None, None, "s3://bucket/another"),
        ("alias_set", "1", "champion", None, "1"),
    ]


def test_there_and_back_again(api, name):
    create_model(api, name)
    for old, new in ((name, f"{name}-2"), (f"{name}-2", name)):
        api.post("registered-models/rename", name=old, new_name=new)
        create_version(api, new)
    assert [(action, old, new) for action, _, _, old, new in told(history(api, name))] == [
        ("model_created", None, None),
        ("model_renamed", name, f"{name}-2"),
        ("version_created", None, ANYWHERE),
        ("model_renamed", f"{name}-2", name),
        ("version_created", None, ANYWHERE),
    ]


def test_after_deletion(api, name):
    create_model(api, name)
    create_version(api, name)
    set_alias(api, name, "champion", 1)
    api.post("registered-models/rename", name=name, new_name=f"{name}-2")
    api.delete("registered-models/delete", name=f"{name}-2")
    actions = ["model_created", "version_created", "alias_set", "model_renamed", "model_deleted"]
    assert [event["action"] for event in history(api, f"{name}-2")] == actions
    # A new one of that name adds to it.
    create_model(api, f"{name}-2")
    assert [event["action"] for event in history(api, f"{name}-2")] == [*actions, "model_created"]


def test_prompts_have_one_too(api, name):
    create_model(api, name, tags=[pair(IS_PROMPT, "true")])
    create_version(api, name, "dummy-source", tags=[pair(IS_PROMPT, "true"), pair("mlflow.prompt.text", "Hi")])
    set_alias(api, name, "production", 1)
    assert [event["action"] for event in history(api, name)] == ["model_created", "version_created", "alias_set"]


def test_of_nobody(api, name):
    assert history(api, name) == []
    answer = api.send("GET", "/api/runlake/registry/history")
    assert (answer.status, answer.code) == REFUSED
    assert "'name'" in answer.message


def champion_at(events, time):
    """The version that was champion at a time, from the history alone."""
    version = None
    for event in events:
        if event["time"] <= time and event.get("subject") == "champion":
            version = {"alias_set": event.get("new_value"), "alias_deleted": None}[event["action"]]
    return version


def test_which_version_was_champion(api, name):
    """At any time, through moving, deletion and renaming."""
    now = create_model(api, name)["name"]
    seen = []

    def look():
        """Notes what the server says now; nothing else happens in that millisecond."""
        time.sleep(0.005)
        answer = api.send("GET", "registered-models/alias", query={"name": now, "alias": "champion"})
        version = answer.json["model_version"]["version"] if answer.status == 200 else None
        seen.append((int(time.time() * 1000), version))
        time.sleep(0.005)

    look()
    for _ in range(4):
        create_version(api, now)
    for version in (1, 3, 2):
        set_alias(api, now, "champion", version)
        set_alias(api, now, "other", 4)
        look()
    api.post("registered-models/rename", name=now, new_name=f"{now}-new")
    now = f"{now}-new"
    look()
    delete_version(api, now, 2)
    look()
    set_alias(api, now, "champion", 4)
    look()
    api.delete("registered-models/alias", name=now, alias="champion")
    look()
    assert [version for _, version in seen] == [None, "1", "3", "2", "2", None, "4", None]
    for _ in range(2):
        events = history(api, now)
        assert [(at, champion_at(events, at)) for at, _ in seen] == seen
        api.send("DELETE", "registered-models/delete", {"name": now})


def test_all_that_many_do_at_once(api, server, model):
    """One event for each change, and the order is that of the changes: the chain of values has no break."""
    create_version(api, model)
    create_version(api, model)
    threads, moves = 8, 12

    def work(index):
        mine = Api(server.uri)
        for turn in range(moves):
            set_alias(mine, model, "champion", 1 + (index + turn) % 2)
            mine.post("registered-models/set-tag", name=model, key="t", value=f"{index}.{turn}")
        mine.close()

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    events = history(api, model)
    tags = [event for event in events if event["action"] == "model_tag_set"]
    assert len(tags) == threads * moves
    for subject in ("t", "champion"):
        value = None
        for event in events:
            if event.get("subject") == subject:
                assert event.get("old_value") == value
                value = event["new_value"]
        if subject == "champion":
            assert value == by_alias(api, model, "champion")["version"]
    assert len({event["event_id"] for event in events}) == len(events)


@pytest.mark.parametrize("how", ["flush", "stop", "kill", "flush then kill"])
def test_kept(own_server, how):
    api = Api(own_server.uri)
    create_model(api, "first")
    for version in (1, 2):
        create_version(api, "first")
        set_alias(api, "first", "champion", version)
    api.post("registered-models/rename", name="first", new_name="second")
    create_model(api, "gone")
    api.delete("registered-models/delete", name="gone")
    before = {name: history(api, name) for name in ("first", "second", "gone")}
    for step in how.split(" then "):
        api.close()
        if step == "flush":
            own_server.flush()
        else:
            assert own_server.stop() == 0 if step == "stop" else own_server.kill() is None
            own_server.start()
        assert {name: history(api, name) for name in before} == before
    # What is done afterwards comes last.
    set_alias(api, "second", "champion", 1)
    assert history(api, "second")[:-1] == before["second"]
    assert told(history(api, "second"))[-1] == ("alias_set", "1", "champion", "2", "1")
