"""Facts of the wire format that clients lean on: what is left out, how numbers look, which statuses errors have."""

import json

import pytest

from support.api import MLFLOW, metric, pair

JSON = {"Content-Type": "application/json"}
AJAX = "/ajax-api/2.0/mlflow"


class TestPages:
    def test_health(self, api):
        answer = api.request("GET", "/health")
        assert (answer.status, answer.text) == (200, "OK")

    def test_version(self, api):
        answer = api.request("GET", "/version")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/")
        major, minor = answer.text.split(".")[:2]
        # Below 3.4 the client would not send spans by OTLP.
        assert (int(major), int(minor)) >= (3, 4)

    def test_server_info(self, api):
        info = api.get("/api/3.0/mlflow/server-info")
        assert info["store_type"] == "SqlStore"
        assert info["workspaces_enabled"] is False


class TestFields:
    def test_unset_fields_are_left_out(self, api, experiment, run):
        raw = api.send("GET", "runs/get", query={"run_id": run}).text
        assert "null" not in raw
        stored = json.loads(raw)["run"]
        assert set(stored) >= {"info", "data", "inputs"}
        assert stored["inputs"] == {}
        assert "end_time" not in stored["info"]
        assert set(stored["data"]) == {"tags"}
        assert api.post("runs/search", experiment_ids=[experiment], filter="params.x = 'y'") == {}

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("runs/log-metric", {"key": "m", "value": 1.0, "timestamp": 1}),
            ("runs/log-parameter", {"key": "p", "value": "1"}),
            ("runs/set-tag", {"key": "t", "value": "1"}),
            ("runs/log-batch", {}),
            ("runs/log-inputs", {}),
            ("runs/delete", {}),
            ("runs/restore", {}),
        ],
    )
    def test_writes_answer_an_empty_object(self, api, run, path, fields):
        answer = api.send("POST", path, {"run_id": run, **fields})
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["content-type"].startswith("application/json")

    def test_int64_are_numbers_and_defaults_are_written(self, api, run):
        api.post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1_700_000_000_123)
        (m,) = api.run(run)["data"]["metrics"]
        assert (m["key"], m["value"], m["timestamp"], m["step"]) == ("m", 1.0, 1_700_000_000_123, 0)
        assert isinstance(m["timestamp"], int) and isinstance(m["step"], int)
        assert api.run(run)["info"]["user_id"] == ""
        assert api.run(run)["info"]["start_time"] == 1000

    def test_odd_doubles_travel_as_strings(self, api, run):
        api.log_batch(run, metrics=[metric("nan", "NaN")])
        raw = api.send("GET", "runs/get", query={"run_id": run}).text
        assert json.loads(raw)["run"]["data"]["metrics"][0]["value"] == "NaN"

    def test_unknown_fields_are_ignored(self, api, run):
        assert api.post("runs/set-tag", run_id=run, key="t", value="1", colour="blue", more={"a": [1]}) == {}

    def test_unknown_enum_values_are_ignored(self, api, run):
        assert api.post("runs/update", run_id=run, status="DONE")["run_info"]["status"] == "RUNNING"

    def test_both_ids_are_there(self, api, run):
        info = api.run(run)["info"]
        assert info["run_uuid"] == info["run_id"] == run


class TestPrefixes:
    def test_ajax_and_api_are_one(self, api, run):
        assert api.post(f"{AJAX}/runs/set-tag", run_id=run, key="t", value="1") == {}
        assert api.get(f"{AJAX}/runs/get", run_id=run) == api.get(f"{MLFLOW}/runs/get", run_id=run)

    @pytest.mark.parametrize(
        "path", ["/api/2.0/mlflow/nope", "/api/9.0/mlflow/runs/get", "/ajax-api/2.0/mlflow/runs/nope"]
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_unknown_routes_are_404(self, api, path, method):
        assert api.request(method, path, b"{}" if method == "POST" else None, JSON).status == 404

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "runs/create"), ("POST", "runs/get"), ("GET", "runs/log-batch"), ("PUT", "runs/update")],
    )
    def test_wrong_methods_are_405(self, api, method, path):
        assert api.request(method, f"{MLFLOW}/{path}", b"{}", JSON).status == 405


class TestBodies:
    @pytest.mark.parametrize(
        ("headers", "message"),
        [
            ({}, "Bad Request. Content-Type header is missing."),
            ({"Content-Type": "text/plain"}, "Bad Request. Content-Type must be one of ['application/json']."),
        ],
        ids=["no type", "text"],
    )
    def test_the_content_type_is_asked_for(self, api, run, headers, message):
        body = json.dumps({"run_id": run, "key": "t", "value": "1"})
        answer = api.request("POST", f"{MLFLOW}/runs/set-tag", body, headers)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in answer.message

    @pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/json"])
    def test_content_types_taken(self, api, run, kind):
        body = json.dumps({"run_id": run, "key": "t", "value": "ü"}, ensure_ascii=False)
        assert api.request("POST", f"{MLFLOW}/runs/set-tag", body, {"Content-Type": kind}).status == 200
        assert pair("t", "ü") in api.run(run)["data"]["tags"]

    def test_a_body_in_a_json_string_is_decoded_again(self, api, run):
        body = json.dumps(json.dumps({"run_id": run, "key": "t", "value": "1"}))
        assert api.request("POST", f"{MLFLOW}/runs/set-tag", body, JSON).status == 200
        assert pair("t", "1") in api.run(run)["data"]["tags"]

    def test_broken_json_counts_as_an_empty_body(self, api):
        answer = api.request("POST", f"{MLFLOW}/runs/set-tag", b"{broken", JSON)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert "Missing value for required parameter" in answer.message

    @pytest.mark.runlake
    @pytest.mark.parametrize("path", ["runs/set-tag", "runs/create", "runs/log-batch", "experiments/create"])
    def test_broken_json_is_told(self, api, path):
        answer = api.request("POST", f"{MLFLOW}/{path}", b"{broken", JSON)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert answer.message.startswith("Missing value for required parameter")
        assert answer.message.endswith("The request body is not valid JSON.")

    def test_errors_are_json(self, api):
        answer = api.send("GET", "runs/get", query={"run_id": "0" * 32})
        assert answer.status == 404
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.json["error_code"] == "RESOURCE_DOES_NOT_EXIST"
        assert answer.json["message"] == f"Run with id={'0' * 32} not found"

    def test_repeated_query_parameters(self, api, new_run):
        runs = sorted([new_run(), new_run()])
        for run_id in runs:
            api.post("runs/log-metric", run_id=run_id, key="m", value=1.0, timestamp=1)
        target = f"{AJAX}/metrics/get-history-bulk?run_id={runs[0]}&run_id={runs[1]}&metric_key=m"
        assert [m["run_id"] for m in api.request("GET", target).json["metrics"]] == runs


class TestForeignOrigins:
    """A web page from elsewhere must not write to a server on this machine."""

    def post(self, api, run, **headers):
        body = json.dumps({"run_id": run, "key": "t", "value": "1"})
        return api.request("POST", f"{MLFLOW}/runs/set-tag", body, JSON | headers)

    def test_a_foreign_origin_is_refused(self, api, run):
        answer = self.post(api, run, Origin="https://evil.example")
        assert answer.status == 403
        assert "Cross-origin request blocked" in answer.text

    def test_reading_is_not(self, api, run):
        answer = api.request("GET", f"{MLFLOW}/runs/get?run_id={run}", headers={"Origin": "https://evil.example"})
        assert answer.status == 200

    @pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5000"])
    def test_local_origins_pass(self, api, run, origin):
        assert self.post(api, run, Origin=origin).status == 200

    def test_a_foreign_host_is_refused(self, api):
        connection_host = {"Host": "evil.example"}
        answer = raw_get(api, f"{MLFLOW}/experiments/get?experiment_id=0", connection_host)
        assert b" 403 " in answer.split(b"\r\n")[0]
        assert b"Invalid Host header" in answer
        assert b" 200 " in raw_get(api, "/health", connection_host).split(b"\r\n")[0]

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "192.168.1.5:5000", "10.0.0.7"])
    def test_private_hosts_pass(self, api, host):
        answer = raw_get(api, f"{MLFLOW}/experiments/get?experiment_id=0", {"Host": host})
        assert b" 200 " in answer.split(b"\r\n")[0]


def raw_get(api, target, headers):
    """A GET whose Host header is ours to choose."""
    import socket

    lines = [f"GET {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close", "", ""]
    with socket.create_connection((api.host, api.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        chunks = []
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks)
