"""A server in memory: the routes of REST that the package uses, and Arrow Flight by its contract."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.flight as fl

COLUMNS = {
    "metrics": {
        "run_id", "key", "value", "step", "timestamp", "model_id", "dataset_name", "dataset_digest", "experiment_id",
    },
    "params": {"run_id", "key", "value", "experiment_id"},
    "tags": {"run_id", "key", "value", "experiment_id"},
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Refusal(Exception):
    """An error in MLflow's form."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class State:
    """What is durable: it outlives the doors."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.experiments = {"0": {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}}
        self.runs: dict[str, dict] = {}
        self.points: dict[str, list[dict]] = {}
        self.params: dict[str, dict[str, str]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.batch_ids: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.token: str | None = None
        self.proxied = 0
        self.doors_used: list[str] = []
        self.queries: list[dict] = []
        # Faults.
        self.lose_acks = 0
        self.busy = 0
        self.delay = 0.0

    def create_run(self, body: dict) -> dict:
        run_id = uuid.uuid4().hex
        self.runs[run_id] = {
            "run_id": run_id,
            "run_uuid": run_id,
            "experiment_id": body.get("experiment_id", "0"),
            "run_name": body.get("run_name") or "a-run",
            "user_id": body.get("user_id", ""),
            "status": "RUNNING",
            "start_time": body.get("start_time", 0),
            "lifecycle_stage": "active",
            "artifact_uri": f"mlflow-artifacts:/{body.get('experiment_id', '0')}/{run_id}/artifacts",
        }
        self.points[run_id] = []
        self.params[run_id] = {}
        self.tags[run_id] = {tag["key"]: tag["value"] for tag in body.get("tags", [])}
        return self.run(run_id)

    def run(self, run_id: str) -> dict:
        if run_id not in self.runs:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Run with id={run_id} not found", 404)
        latest: dict[str, dict] = {}
        for point in self.points[run_id]:
            kept = latest.get(point["key"])
            if kept is None or point["step"] >= kept["step"]:
                latest[point["key"]] = point
        pairs = [
            [{"key": key, "value": value} for key, value in kind[run_id].items()] for kind in (self.params, self.tags)
        ]
        return {
            "info": self.runs[run_id],
            "data": {"metrics": list(latest.values()), "params": pairs[0], "tags": pairs[1]},
        }

    def take(self, table: str, batch: pa.RecordBatch, batch_id: str | None) -> None:
        """A batch, wholly or not at all."""
        if self.delay:
            time.sleep(self.delay)
        with self.lock:
            if batch_id is not None:
                if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", batch_id):
                    raise Refusal("INVALID_PARAMETER_VALUE", f"batch_id {batch_id!r} is none")
                if batch_id in self.batch_ids:
                    return
            for name in batch.schema.names:
                if name not in COLUMNS[table]:
                    raise Refusal("INVALID_PARAMETER_VALUE", f"{table} has no column {name!r}")
            rows = batch.to_pylist()
            params: dict[tuple[str, str], str] = {}
            for number, row in enumerate(rows):
                where = f"row {number}: "
                for name in ("run_id", "key", "value"):
                    if row.get(name) is None:
                        raise Refusal("INVALID_PARAMETER_VALUE", f"{where}{name} is null")
                run_id, key = row["run_id"], row["key"]
                if run_id not in self.runs:
                    raise Refusal("RESOURCE_DOES_NOT_EXIST", f"{where}Run with id={run_id} not found", 404)
                if self.runs[run_id]["lifecycle_stage"] != "active":
                    raise Refusal(
                        "INVALID_PARAMETER_VALUE",
                        f"{where}The run {run_id} must be in the 'active' state. It is deleted.",
                    )
                if not key or len(key) > 250 or "//" in key:
                    raise Refusal("INVALID_PARAMETER_VALUE", f"{where}invalid key {key!r}")
                if table == "params":
                    before = self.params[run_id].get(key, params.get((run_id, key)))
                    if before is not None and before != row["value"]:
                        raise Refusal(
                            "INVALID_PARAMETER_VALUE",
                            f"{where}Changing param values is not allowed. Param with key='{key}' was already logged "
                            f"with value='{before}'",
                        )
                    params[run_id, key] = row["value"]
            for row in rows:
                if table == "metrics":
                    self.points[row["run_id"]].append(
                        {
                            "key": row["key"],
                            "value": float(row["value"]),
                            "step": row.get("step") or 0,
                            "timestamp": row.get("timestamp") or int(time.time() * 1000),
                            **{
                                name: row[name]
                                for name in ("model_id", "dataset_name", "dataset_digest")
                                if row.get(name) is not None
                            },
                        }
                    )
                else:
                    getattr(self, table)[row["run_id"]][row["key"]] = row["value"]
            if batch_id is not None:
                self.batch_ids.add(batch_id)

    def authorized(self, header: str | None) -> bool:
        if self.token is None:
            return True
        basic = "Basic " + base64.b64encode(f"user:{self.token}".encode()).decode()
        return header in (f"Bearer {self.token}", basic)

    def query(self, asked: dict) -> pa.Table:
        """Not SQL: `points` answers with all points."""
        self.queries.append(asked)
        if "FROM points" not in asked["sql"]:
            raise Refusal(
                "INVALID_PARAMETER_VALUE", "SQL error at line 1, column 15: no table 'pints', there is 'points'"
            )
        rows = [{"run_id": run_id, **point} for run_id, points in self.points.items() for point in points]
        wanted = ["run_id", "key", "value", "step"]
        return pa.table({name: [row[name] for row in rows] for name in wanted})


class Auth(fl.ServerMiddleware):
    pass


class AuthFactory(fl.ServerMiddlewareFactory):
    def __init__(self, state: State) -> None:
        self.state = state

    def start_call(self, info, headers):
        given = headers.get("authorization") or [None]
        if not self.state.authorized(given[0]):
            raise fl.FlightUnauthenticatedError("log in first")


class Flight(fl.FlightServerBase):
    def __init__(self, state: State, port: int) -> None:
        super().__init__(f"grpc+tcp://127.0.0.1:{port}", middleware={"auth": AuthFactory(state)})
        self.state = state

    def do_put(self, context, descriptor, reader, writer):
        state = self.state
        table = descriptor.path[0].decode()
        state.doors_used.append("flight")
        batches = rows = 0
        if state.busy:
            state.busy -= 1
            raise fl.FlightUnavailableError("too busy")
        while True:
            try:
                chunk = reader.read_chunk()
            except StopIteration:
                break
            told = json.loads(bytes(chunk.app_metadata)) if chunk.app_metadata else {}
            try:
                state.take(table, chunk.data, told.get("batch_id"))
            except Refusal as error:
                text = f"batch {batches}, {error.message}"
                if error.code == "RESOURCE_DOES_NOT_EXIST":
                    raise KeyError(text) from None
                raise pa.ArrowInvalid(text) from None
            batches += 1
            rows += chunk.data.num_rows
            if state.lose_acks:
                state.lose_acks -= 1
                raise fl.FlightUnavailableError("the ack is lost")
            writer.write(json.dumps({"batches": batches, "rows": rows}).encode())

    def do_get(self, context, ticket):
        try:
            return fl.RecordBatchStream(self.state.query(json.loads(ticket.ticket)))
        except Refusal as error:
            raise pa.ArrowInvalid(error.message) from None


class Rest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *args) -> None:
        pass

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        if parts.netloc and self.headers.get("Proxy-Authorization") == "Basic bWU6c2VjcmV0":
            self.state.proxied += 1
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {key: values for key, values in parse_qs(parts.query).items()}
        try:
            if not self.state.authorized(self.headers.get("Authorization")):
                raise Refusal("UNAUTHENTICATED", "log in first", 401)
            if parts.path == "/api/runlake/ingest":
                self.state.doors_used.append("http")
                batches = pa.ipc.open_stream(raw).read_all().to_batches()
                prefix = query.get("batch_id", [None])[0]
                for number, batch in enumerate(batches):
                    self.state.take(query["table"][0], batch, f"{prefix}-{number}" if prefix else None)
                return self._answer(200, json.dumps({"batches": len(batches)}).encode())
            if parts.path == "/api/runlake/sql":
                table = self.state.query(json.loads(raw))
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table)
                return self._answer(200, sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream")
            if parts.path.startswith("/api/2.0/mlflow-artifacts/artifacts"):
                return self._artifacts(parts.path[len("/api/2.0/mlflow-artifacts/artifacts") :], query, raw)
            name = parts.path.split("/mlflow/", 1)[-1].strip("/").replace("-", "_").replace("/", "__")
            route = getattr(self, f"do__{name}", None)
            if route is None:
                raise Refusal("ENDPOINT_NOT_FOUND", f"no {parts.path}", 404)
            body = json.loads(raw) if raw else {key: values[0] for key, values in query.items()}
            with self.state.lock:
                answer = route(body)
            self._answer(200, json.dumps(answer or {}).encode())
        except Refusal as error:
            told = json.dumps({"error_code": error.code, "message": error.message}).encode()
            self._answer(error.status, told)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

    def _artifacts(self, path: str, query: dict, raw: bytes) -> None:
        path = path.strip("/")
        if self.command == "PUT":
            self.state.files[path] = raw
            return self._answer(200, b"{}")
        if path:
            if path not in self.state.files:
                raise Refusal("RESOURCE_DOES_NOT_EXIST", f"no file {path}", 404)
            return self._answer(200, self.state.files[path], "application/octet-stream")
        root = query["path"][0].strip("/") + "/"
        found = {}
        for name, data in self.state.files.items():
            if name.startswith(root):
                first, _, more = name[len(root) :].partition("/")
                found[first] = {"path": first, "is_dir": bool(more), "file_size": len(data)}
        return self._answer(200, json.dumps({"files": list(found.values())}).encode())

    def do__experiments__create(self, body):
        for found in self.state.experiments.values():
            if found["name"] == body["name"]:
                raise Refusal("RESOURCE_ALREADY_EXISTS", f"Experiment '{body['name']}' already exists")
        id = str(len(self.state.experiments))
        self.state.experiments[id] = {"experiment_id": id, "name": body["name"], "lifecycle_stage": "active"}
        return {"experiment_id": id}

    def do__experiments__get_by_name(self, body):
        for found in self.state.experiments.values():
            if found["name"] == body["experiment_name"]:
                return {"experiment": found}
        raise Refusal("RESOURCE_DOES_NOT_EXIST", "no such experiment", 404)

    def do__experiments__get(self, body):
        return {"experiment": self.state.experiments[body["experiment_id"]]}

    def do__runs__create(self, body):
        return {"run": self.state.create_run(body)}

    def do__runs__get(self, body):
        return {"run": self.state.run(body.get("run_id") or body["run_uuid"])}

    def do__runs__update(self, body):
        info = self.state.run(body["run_id"])["info"]
        for name in ("status", "end_time", "run_name"):
            if body.get(name) is not None:
                info[name] = body[name]
        return {"run_info": info}

    def do__runs__delete(self, body):
        self.state.run(body["run_id"])["info"]["lifecycle_stage"] = "deleted"

    def do__runs__delete_tag(self, body):
        del self.state.tags[body["run_id"]][body["key"]]

    def do__runs__log_inputs(self, body):
        self.state.run(body["run_id"]).setdefault("inputs", []).append(body)

    def do__runs__search(self, body):
        wanted = re.fullmatch(r"tags\.`runlake\.offline_id` = '([0-9a-f]+)'", body.get("filter") or "")
        found = [
            self.state.run(run_id)
            for run_id, info in self.state.runs.items()
            if info["experiment_id"] in body["experiment_ids"]
            and (not wanted or self.state.tags[run_id].get("runlake.offline_id") == wanted.group(1))
        ]
        return {"runs": found}

    def do__logged_models__search(self, body):
        return {}

    def do__metrics__get_history(self, body):
        points = self.state.points[body.get("run_id") or body["run_uuid"]]
        return {"metrics": [point for point in points if point["key"] == body["metric_key"]]}


class FakeServer:
    """Both doors over one state; they can be closed and opened again."""

    def __init__(self) -> None:
        self.state = State()
        self.http_port = free_port()
        self.flight_port = free_port()
        self._http: ThreadingHTTPServer | None = None
        self._flight: Flight | None = None

    @property
    def uri(self) -> str:
        return f"runlake://127.0.0.1:{self.http_port}?flight=127.0.0.1:{self.flight_port}"

    @property
    def http_uri(self) -> str:
        return f"runlake://127.0.0.1:{self.http_port}?transport=http"

    def start(self) -> FakeServer:
        handler = type("Handler", (Rest,), {"state": self.state})
        ThreadingHTTPServer.allow_reuse_address = True
        self._http = ThreadingHTTPServer(("127.0.0.1", self.http_port), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self._flight = Flight(self.state, self.flight_port)
        return self

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        if self._flight is not None:
            self._flight.shutdown()
            self._flight = None

    def new_run(self) -> str:
        return self.state.create_run({"experiment_id": "0"})["info"]["run_id"]

    def steps(self, run_id: str, key: str = "loss") -> list[int]:
        return [point["step"] for point in self.state.points[run_id] if point["key"] == key]


def main() -> None:
    """A server in a process of its own, for what forks: its addresses on one line, its state on request."""
    import sys

    server = FakeServer().start()
    print(json.dumps({"uri": server.uri, "http": server.http_uri, "run_id": server.new_run()}), flush=True)
    for line in sys.stdin:
        run_id = line.strip()
        told = {
            "points": server.state.points.get(run_id, []),
            "info": server.state.runs.get(run_id),
            "tags": server.state.tags.get(run_id),
            "params": server.state.params.get(run_id),
            "doors": sorted(set(server.state.doors_used)),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
