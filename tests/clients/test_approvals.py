"""Approvals: what a model's policy protects is asked for, approved by others, and told in the history."""

import os
import subprocess

import pytest

from support.api import Api
from support.server import Server, binary

pytestmark = pytest.mark.runlake

PASSWORD = "a password that is long"


class People:
    """A server that asks who one is, with a boss, two approvers and an editor, and a model of two versions."""

    def __init__(self, folder):
        self.server = Server(folder, "--auth", "required")
        self.server.start()
        self.server.stop()
        for name, role in [("boss", "admin"), ("bob", "approver"), ("cat", "approver"), ("ann", "editor")]:
            self.command("user", "add", name, "--role", role, "--lake", str(self.server.lake), input=PASSWORD)
        self.server.start()
        ann = self.api("ann")
        ann.post("registered-models/create", name="m")
        for _ in range(2):
            ann.post("model-versions/create", name="m", source="runs:/" + self.run(ann) + "/model")

    @staticmethod
    def run(api):
        return api.post("runs/create", experiment_id="0")["run"]["info"]["run_id"]

    def api(self, name):
        return Api(self.server.uri, auth=(name, PASSWORD))

    def command(self, *args, who=None, input=None, fails=False):
        env = {**os.environ}
        if who:
            env.update(MLFLOW_TRACKING_USERNAME=who, MLFLOW_TRACKING_PASSWORD=PASSWORD, RUNLAKE_SERVER=self.server.uri)
        done = subprocess.run([binary(), *args], env=env, input=input, capture_output=True, text=True, timeout=60)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def people(tmp_path):
    people = People(tmp_path)
    yield people
    people.server.kill()


def own(api, method, path, **fields):
    return api.send(method, f"/api/runlake/registry/{path}", fields)


def stage_of(api, version):
    return api.get("model-versions/get", name="m", version=version)["model_version"]["current_stage"]


def test_a_stage_by_request(people):
    boss, bob, cat, ann = (people.api(name) for name in ("boss", "bob", "cat", "ann"))
    policy = {"name": "m", "required_approvals": 2, "stages": ["Production"], "aliases": ["champion"]}
    assert own(bob, "PUT", "policy", **policy).status == 403
    assert own(boss, "PUT", "policy", **policy).status == 200
    direct = bob.send("POST", "/api/2.0/mlflow/model-versions/transition-stage",
                      {"name": "m", "version": "1", "stage": "Production"})
    assert (direct.status, direct.code) == (403, "PERMISSION_DENIED")
    assert "needs 2 approvals" in direct.message and "runlake registry request m 1 --stage Production" in direct.message
    bob.post("model-versions/transition-stage", name="m", version="1", stage="Staging")

    asked = own(ann, "POST", "requests", name="m", version="1", stage="production", comment="passes all checks")
    request_id = asked.json["request"]["request_id"]
    decide = f"requests/{request_id}"
    assert own(ann, "POST", f"{decide}/approve", name="m").status == 403, "no approver"
    assert own(bob, "POST", f"{decide}/approve", name="m", comment="seen").json["request"]["status"] == "pending"
    assert own(bob, "POST", f"{decide}/approve", name="m").status == 409, "once is enough"
    people.server.kill()
    people.server.start()
    assert stage_of(ann, "1") == "Staging"
    assert own(cat, "POST", f"{decide}/approve", name="m").json["request"]["status"] == "approved"
    assert stage_of(ann, "1") == "Production"
    assert own(cat, "POST", f"{decide}/reject", name="m").status == 409

    events = ann.send("GET", "/api/runlake/registry/history?name=m").json["events"]
    assert [(event["action"], event["actor"]) for event in events[-4:]] == [
        ("change_requested", "ann"),
        ("change_approved", "bob"),
        ("change_approved", "cat"),
        ("stage_changed", "cat"),
    ]
    assert events[-4]["comment"] == "passes all checks" and request_id in events[-1]["comment"]


def test_by_the_command_line(people):
    out = people.command("registry", "policy", "set", "m", "--aliases", "champion", "--stages", "Production", who="boss")
    assert "1 to approve" in out
    refused = people.command("registry", "request", "m", "1", "--alias", "other", who="ann", fails=True)
    assert "make the change directly" in refused
    asked = people.command("registry", "request", "m", "2", "--alias", "champion", "--comment", "best", who="ann")
    request_id = asked.split()[0]
    assert "pending" in asked and "asked for by ann: best" in asked
    people.command("registry", "approve", "m", request_id, who="ann", fails=True)
    assert "approved by bob: fine" in people.command(
        "registry", "approve", "m", request_id, "--comment", "fine", who="bob"
    )
    alias = people.api("ann").get("registered-models/alias", name="m", alias="champion")
    assert alias["model_version"]["version"] == "2"
    assert request_id in people.command("registry", "requests", "m", "--status", "approved", who="ann")
    assert "alias_set version 2 of champion: 2, by bob" in people.command("registry", "history", "m", who="ann")
    assert "nothing needs approval" in people.command("registry", "policy", "clear", "m", who="boss")
    assert "nothing needs approval" in people.command("registry", "policy", "show", "m", who="ann")


def test_without_users_nobody_approves(own_server):
    api = Api(own_server.uri)
    api.post("registered-models/create", name="m")
    refused = own(api, "PUT", "policy", name="m")
    assert (refused.status, refused.code) == (403, "PERMISSION_DENIED")
    assert "--auth required" in refused.message


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"required_approvals": 0}, "between 1 and 100"),
        ({"required_approvals": 2, "approvers": ["bob"]}, "can never be reached"),
        ({"stages": ["Nope"]}, "Invalid Model Version stage: Nope"),
        ({"aliases": ["latest"]}, "reserved"),
        ({"approvers": "bob"}, "'approvers'"),
    ],
)
def test_bad_policies(people, fields, part):
    refused = own(people.api("boss"), "PUT", "policy", name="m", **fields)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert part in refused.message
    assert own(people.api("ann"), "GET", "policy?name=m").json == {}
