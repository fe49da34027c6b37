"""Webhooks: made and changed over REST and by the stock client, delivered, signed, retried, and never forgotten."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.api import Api
from support.server import Server

SECRET = "s3cret"
REGISTERED = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]


class Target:
    """Keeps what it is sent, and answers as told."""

    def __init__(self):
        self.sent, self.answers = [], []
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target.sent.append((self.headers, body))
                self.send_response(target.answers.pop(0) if target.answers else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, count, seconds=20):
        until = time.monotonic() + seconds
        while len(self.sent) < count:
            assert time.monotonic() < until, f"{len(self.sent)} messages instead of {count}"
            time.sleep(0.02)
        return [json.loads(body) for _, body in self.sent]


@pytest.fixture
def target():
    target = Target()
    yield target
    target.server.shutdown()


@pytest.fixture
def open_server(tmp_path):
    """A server whose operator allows targets on this machine."""
    server = Server(tmp_path, "--webhook-allow-http", "--webhook-allow-private").start()
    yield server
    server.kill()


def api_of(server):
    return Api(server.uri)


def hook(api, target, events=REGISTERED, **more):
    made = api.post("webhooks", {"name": "hook", "url": target.url, "events": events, **more})
    return made["webhook"]


@pytest.mark.runlake
class TestDelivery:
    def test_a_signed_message_for_each_event_asked_for(self, open_server, target):
        api = api_of(open_server)
        events = [
            {"entity": entity, "action": action}
            for entity, action in [
                ("REGISTERED_MODEL", "CREATED"),
                ("MODEL_VERSION", "CREATED"),
                ("MODEL_VERSION_TAG", "SET"),
                ("MODEL_VERSION_TAG", "DELETED"),
                ("MODEL_VERSION_ALIAS", "CREATED"),
                ("MODEL_VERSION_ALIAS", "DELETED"),
            ]
        ]
        hook(api, target, events, secret=SECRET)
        api.post("registered-models/create", name="m", description="d", tags=[{"key": "a", "value": "b"}])
        api.post("model-versions/create", name="m", source="s3://b/k", description="v")
        api.post("model-versions/set-tag", name="m", version="1", key="k", value="v")
        api.delete("model-versions/delete-tag", name="m", version="1", key="k")
        api.post("registered-models/alias", name="m", alias="champion", version="1")
        api.delete("registered-models/alias", name="m", alias="champion")
        api.post("registered-models/set-tag", name="m", key="nobody", value="asked")
        told = {(message["entity"], message["action"]): message["data"] for message in target.wait_for(6)}
        assert told == {
            ("registered_model", "created"): {"name": "m", "tags": {"a": "b"}, "description": "d"},
            ("model_version", "created"): {
                "name": "m",
                "version": "1",
                "source": "s3://b/k",
                "run_id": None,
                "tags": {},
                "description": "v",
            },
            ("model_version_tag", "set"): {"name": "m", "version": "1", "key": "k", "value": "v"},
            ("model_version_tag", "deleted"): {"name": "m", "version": "1", "key": "k"},
            ("model_version_alias", "created"): {"name": "m", "alias": "champion", "version": "1"},
            ("model_version_alias", "deleted"): {"name": "m", "alias": "champion"},
        }
        for headers, body in target.sent:
            delivery, seconds = headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"]
            signed = f"{delivery}.{seconds}.".encode() + body
            expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
            assert headers["X-MLflow-Signature"] == f"v1,{expected}"
            assert abs(int(seconds) - time.time()) < 60
        assert len({headers["X-MLflow-Delivery-Id"] for headers, _ in target.sent}) == 6

    def test_prompts_have_events_of_their_own(self, open_server, target):
        api = api_of(open_server)
        hook(api, target, [{"entity": "PROMPT", "action": "CREATED"}, {"entity": "PROMPT_VERSION", "action": "CREATED"}])
        is_prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
        api.post("registered-models/create", name="p", tags=[is_prompt])
        text = {"key": "mlflow.prompt.text", "value": "Hi {{name}}"}
        api.post("model-versions/create", name="p", source="prompt-template", tags=[is_prompt, text])
        api.post("registered-models/create", name="model")
        told = {message["entity"]: message for message in target.wait_for(2)}
        created, version = told["prompt"], told["prompt_version"]
        assert created["data"] == {"name": "p", "tags": {}, "description": None}
        assert version["data"]["template"] == "Hi {{name}}"

    def test_runs_tell_how_they_ended(self, open_server, target):
        api = api_of(open_server)
        events = [{"entity": "RUN", "action": "FINISHED"}, {"entity": "RUN", "action": "FAILED"}]
        own = "/api/runlake/webhooks"
        made = api.send("POST", own, {"name": "runs", "url": target.url, "events": events}).json["webhook"]
        assert made["events"] == events
        assert api.get("webhooks") == {}, "stock clients fail at events they do not know"
        assert [hook["webhook_id"] for hook in api.send("GET", own).json["webhooks"]] == [made["webhook_id"]]
        runs = [api.post("runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_id"] for _ in range(3)]
        for run, status in zip(runs, ["FINISHED", "FAILED", "KILLED"], strict=True):
            api.post("runs/update", run_id=run, status=status, end_time=5)
            api.post("runs/update", run_id=run, status=status, end_time=6)
        told = {message["data"]["run_id"]: message for message in target.wait_for(3)}
        assert [told[run]["action"] for run in runs] == ["finished", "failed", "failed"]
        assert [told[run]["data"]["status"] for run in runs] == ["FINISHED", "FAILED", "KILLED"]
        time.sleep(0.3)
        assert len(target.sent) == 3, "once each"

    def test_faults_are_tried_again_with_the_same_id(self, open_server, target):
        target.answers = [503, 200]
        hook(api_of(open_server), target)
        api_of(open_server).post("registered-models/create", name="m")
        target.wait_for(2)
        assert len({headers["X-MLflow-Delivery-Id"] for headers, _ in target.sent}) == 1

    def test_a_killed_server_delivers_what_it_owed(self, open_server, target):
        target.answers = [503] * 2
        hook(api_of(open_server), target)
        api_of(open_server).post("registered-models/create", name="m")
        target.wait_for(1)
        open_server.kill()
        target.answers = []
        open_server.start()
        assert target.wait_for(2)[-1]["data"]["name"] == "m"

    def test_a_disabled_one_is_told_nothing(self, open_server, target):
        api = api_of(open_server)
        webhook_id = hook(api, target)["webhook_id"]
        api.patch(f"webhooks/{webhook_id}", status="DISABLED")
        api.post("registered-models/create", name="silent")
        api.patch(f"webhooks/{webhook_id}", status="ACTIVE")
        api.post("registered-models/create", name="loud")
        assert [message["data"]["name"] for message in target.wait_for(1)] == ["loud"]


@pytest.mark.runlake
class TestTargets:
    @pytest.mark.parametrize(
        ("url", "part"),
        [
            ("http://example.com", "Invalid webhook URL scheme: 'http'"),
            ("ftp://example.com", "Invalid webhook URL scheme: 'ftp'"),
            ("file:///etc/passwd", "Invalid webhook URL scheme: 'file'"),
            ("https://", "must include a hostname"),
            ("https://127.0.0.1/x", "non-public IP address"),
            ("https://localhost/x", "non-public IP address"),
            ("https://169.254.169.254/latest/meta-data", "non-public IP address"),
            ("https://[::ffff:10.0.0.1]/", "non-public IP address"),
            ("https://2130706433/", "non-public IP address"),
        ],
    )
    def test_what_leads_inside_is_refused(self, api, url, part):
        answer = api.send("POST", "/api/2.0/mlflow/webhooks", {"name": "w", "url": url, "events": REGISTERED})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert part in answer.message
        assert api.get("webhooks") == {}

    @pytest.mark.parametrize(
        ("change", "part"),
        [
            ({"name": "a b"}, "is invalid"),
            ({"name": ""}, "'name'"),
            ({"events": []}, "non-empty list"),
            ({"events": [{"entity": "REGISTERED_MODEL", "action": "DELETED"}]}, "Invalid action 'deleted'"),
            ({"events": [{"entity": "BOGUS", "action": "CREATED"}]}, "Invalid entity"),
            ({"events": [{"entity": "REGISTERED_MODEL"}]}, "action"),
            ({"events": "x"}, "'events'"),
        ],
    )
    def test_bad_requests(self, api, change, part):
        request = {"name": "w", "url": "https://example.com", "events": REGISTERED, **change}
        answer = api.send("POST", "/api/2.0/mlflow/webhooks", request)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE"), answer.text
        assert part in answer.message


def test_the_stock_client(open_server, target, monkeypatch):
    entities = pytest.importorskip("mlflow.entities.webhook")
    from mlflow import MlflowClient

    client = MlflowClient(open_server.uri, registry_uri=open_server.uri)
    event = entities.WebhookEvent(entities.WebhookEntity.REGISTERED_MODEL, entities.WebhookAction.CREATED)
    made = client.create_webhook(name="w", url=target.url, events=[event], secret=SECRET, description="d")
    assert client.get_webhook(made.webhook_id).events == [event]
    assert [hook.name for hook in client.list_webhooks()] == ["w"]
    assert client.test_webhook(made.webhook_id).success
    assert target.wait_for(1)[0]["entity"] == "registered_model"
    changed = client.update_webhook(made.webhook_id, status=entities.WebhookStatus.DISABLED)
    assert changed.status == entities.WebhookStatus.DISABLED
    target.answers = [500]
    result = client.test_webhook(made.webhook_id)
    assert (result.success, result.response_status) == (False, 500)
    client.delete_webhook(made.webhook_id)
    with pytest.raises(Exception, match="not found"):
        client.get_webhook(made.webhook_id)
