"""Raw requests to the REST API: what goes over the wire and comes back, with no client's help or pardon."""

import base64
import http.client
import json
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

MLFLOW = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """MLflow's error code, when this is an error in its form."""
        try:
            return self.json.get("error_code")
        except (ValueError, AttributeError):
            return None

    @property
    def message(self) -> str:
        try:
            return self.json.get("message", "")
        except (ValueError, AttributeError):
            return self.text


class Refused(AssertionError):
    """An answer other than 200 where 200 was expected."""

    def __init__(self, what: str, answer: Answer):
        super().__init__(f"{what}: {answer.status} {answer.text[:1000]}")
        self.answer = answer


class Api:
    """One server's REST API. `get` and `post` take a path after /api/2.0/mlflow/ and insist on 200.

    Each thread keeps a connection. When a kept one turns out to be closed, a request is sent once more on a new one,
    unless `resend` is off (for those who must know whether a request can have arrived).
    """

    def __init__(
        self, uri: str, timeout: float = 60.0, resend: bool = True, auth: tuple[str, str] | None = None
    ):
        parts = urllib.parse.urlsplit(uri)
        self.uri = uri
        self.host, self.port = parts.hostname, parts.port
        self.timeout = timeout
        self.resend = resend
        self.always: dict[str, str] = {}
        if auth:
            self.always["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        self._local = threading.local()

    def request(
        self,
        method: str,
        target: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Sends `target` exactly as it stands (no quoting, no normalising), on a kept connection."""
        data = body.encode() if isinstance(body, str) else body
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None)
            fresh = connection is None
            if fresh:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
                self._local.connection = connection
            try:
                connection.putrequest(method, target, skip_accept_encoding=True)
                for name, value in {**self.always, **(headers or {})}.items():
                    connection.putheader(name, value)
                if data is not None:
                    connection.putheader("Content-Length", str(len(data)))
                connection.endheaders(data)
                answer = connection.getresponse()
                result = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
                if answer.will_close:
                    self.close()
                return result
            except (ConnectionError, http.client.BadStatusLine):
                # A kept connection may have been closed meanwhile; a fresh one that fails is the caller's news.
                self.close()
                if fresh or attempt == 2 or not self.resend:
                    raise
            except BaseException:
                self.close()
                raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def send(self, method: str, path: str, payload: Any = None, query: Any = None) -> Answer:
        """A JSON request to any path; whatever comes back."""
        target = path if path.startswith("/") else f"{MLFLOW}/{path}"
        if query:
            target += "?" + urllib.parse.urlencode(query, doseq=True)
        if payload is None:
            return self.request(method, target)
        return self.request(method, target, json.dumps(payload), {"Content-Type": "application/json"})

    def get(self, path: str, /, **query: Any) -> Any:
        return self._insist("GET", path, None, query)

    def post(self, path: str, /, payload: Any = None, **fields: Any) -> Any:
        return self._insist("POST", path, fields if payload is None else payload, None)

    def patch(self, path: str, /, payload: Any = None, **fields: Any) -> Any:
        return self._insist("PATCH", path, fields if payload is None else payload, None)

    def delete(self, path: str, /, payload: Any = None, **fields: Any) -> Any:
        return self._insist("DELETE", path, fields if payload is None else payload, None)

    def _insist(self, method: str, path: str, payload: Any, query: Any) -> Any:
        answer = self.send(method, path, payload, query)
        if answer.status != 200:
            raise Refused(f"{method} {path}", answer)
        return answer.json

    # The few things nearly every test needs.

    def create_experiment(self, name: str, **fields: Any) -> str:
        return self.post("experiments/create", name=name, **fields)["experiment_id"]

    def create_run(self, experiment_id: str, start_time: int = 1000, **fields: Any) -> str:
        payload = {"experiment_id": experiment_id, "start_time": start_time, **fields}
        return self.post("runs/create", payload)["run"]["info"]["run_id"]

    def run(self, run_id: str) -> dict:
        return self.get("runs/get", run_id=run_id)["run"]

    def log_batch(self, run_id: str, metrics=(), params=(), tags=()) -> Answer:
        payload = {"run_id": run_id, "metrics": list(metrics), "params": list(params), "tags": list(tags)}
        return self.send("POST", "runs/log-batch", payload)

    def search_runs(self, experiment_ids: list[str], **fields: Any) -> list[dict]:
        """All pages of a search."""
        runs, token = [], None
        for _ in range(10_000):
            payload = {"experiment_ids": experiment_ids, **fields}
            if token:
                payload["page_token"] = token
            page = self.post("runs/search", payload)
            runs += page.get("runs", [])
            token = page.get("next_page_token")
            if not token:
                return runs
        raise AssertionError("the search never ends")

    def history(self, run_id: str, key: str, **query: Any) -> list[dict]:
        """All pages of a metric's history."""
        points, token = [], None
        query = {"max_results": 25000, **query}
        for _ in range(10_000):
            extra = {"page_token": token} if token else {}
            page = self.get("metrics/get-history", run_id=run_id, metric_key=key, **query, **extra)
            points += page.get("metrics", [])
            token = page.get("next_page_token")
            if not token:
                return points
        raise AssertionError("the history never ends")


def metric(key: str, value: Any, timestamp: int = 1, step: int = 0, **more: Any) -> dict:
    return {"key": key, "value": value, "timestamp": timestamp, "step": step, **more}


def pair(key: str, value: str) -> dict:
    return {"key": key, "value": value}


def pairs(entries: list[dict] | None) -> dict[str, str]:
    """A list of {key, value} as a dict; two of one key are a failure."""
    result = {}
    for entry in entries or []:
        assert entry["key"] not in result, f"{entry['key']} twice"
        result[entry["key"]] = entry["value"]
    return result
