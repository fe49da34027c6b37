"""The server's doors: Arrow Flight, and HTTP for what has no other and where gRPC cannot go."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import pyarrow as pa

from ._batch import Batch
from ._errors import Refused, RunlakeError, Unavailable
from ._uri import Target

ARROW_STREAM = "application/vnd.apache.arrow.stream"
_REFUSALS = {400, 403, 404, 405, 409, 410, 411, 413, 414, 415, 422}


@dataclass
class Outcome:
    """How far a stream of batches got: the first `done` are durable; `error` says why not all, if so."""

    done: int
    error: RunlakeError | None = None


def timeout_seconds() -> float:
    """How long one exchange with the server may take: `RUNLAKE_TIMEOUT`, 60 seconds unless said otherwise."""
    return float(os.environ.get("RUNLAKE_TIMEOUT", "60"))


# --- HTTP ---------------------------------------------------------------------------------------------------------


def proxy_for(target: Target) -> tuple[str, int, dict[str, str]] | None:
    """Host, port and headers of the proxy that the environment names for a server (`HTTP_PROXY`, `NO_PROXY`, …)."""
    named = urllib.request.getproxies().get("https" if target.tls else "http")
    if not named or urllib.request.proxy_bypass(target.host):
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
    return (parts.hostname, parts.port or 80, headers) if parts.hostname else None


class Http:
    """REST with nothing but the standard library; each thread keeps a connection."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._local = threading.local()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        target = self.target
        proxy = proxy_for(target)
        host, port = (target.host, target.port) if proxy is None else (proxy[0], proxy[1])
        if not target.tls:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl.create_default_context(cafile=target.root_certificates)
        if target.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        if proxy is not None:
            connection.set_tunnel(target.host, target.port, proxy[2])
        return connection

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        idempotent: bool = True,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body. What may not be sent twice is not, when a kept connection turns out closed."""
        timeout = timeout_seconds() if timeout is None else timeout
        sent = {"User-Agent": "runlake-python", **(headers or {})}
        if authorization := self.target.credentials.header:
            sent["Authorization"] = authorization
        where = self.target.prefix + path
        proxy = proxy_for(self.target)
        if proxy is not None and not self.target.tls:
            where = f"http://{self.target.authority}{where}"
            sent.update(proxy[2])
        for attempt in (1, 2):
            connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
            if connection is not None and not idempotent:
                connection.close()
                connection = None
            fresh = connection is None
            if connection is None:
                connection = self._connect(timeout)
                self._local.connection = connection
            elif connection.sock is not None:
                connection.sock.settimeout(timeout)
            try:
                connection.request(method, where, body, sent)
                answer = connection.getresponse()
                data = answer.read()
                return answer.status, {k.lower(): v for k, v in answer.getheaders()}, data
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if fresh or attempt == 2:
                    raise Unavailable(f"{self.target.http_url}: {_reason(error)}") from error
            except BaseException:
                self.close()
                raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def json(
        self,
        method: str,
        path: str,
        payload: Any = None,
        query: dict[str, Any] | None = None,
        idempotent: bool = True,
        timeout: float | None = None,
    ) -> Any:
        """A JSON request and its answer; errors come as exceptions."""
        if query:
            path += "?" + urlencode(query, doseq=True)
        body = None if payload is None else json.dumps(payload).encode()
        headers = {} if payload is None else {"Content-Type": "application/json"}
        status, _, data = self.request(method, path, body, headers, timeout, idempotent)
        if status != 200:
            raise http_error(status, data)
        return json.loads(data) if data else {}


def http_error(status: int, body: bytes) -> RunlakeError:
    """What an answer other than 200 means."""
    code: str | None = None
    text = body.decode("utf-8", "replace").strip()
    try:
        parsed = json.loads(body)
        code = parsed.get("error_code")
        text = parsed.get("message") or text
    except (ValueError, AttributeError):
        pass
    message = text[:2000] or http.client.responses.get(status, f"status {status}")
    if status in _REFUSALS:
        return Refused(message, code)
    return Unavailable(f"{status}: {message}", code)


def door_error(status: int, body: bytes) -> RunlakeError:
    """What an answer of the bulk door other than 200 means. A 404 that is not about a run is no verdict on the rows:
    something else answers there."""
    error = http_error(status, body)
    if status in (404, 405) and error.code != "RESOURCE_DOES_NOT_EXIST":
        return Unavailable(f"the server has no such door: {status}: {error}", "UNIMPLEMENTED")
    return error


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def ipc_stream(batch: pa.RecordBatch) -> bytes:
    """A batch as an Arrow IPC stream of its own."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


class HttpDoor:
    """Batches by `POST /api/runlake/ingest`, one a request."""

    def __init__(self, target: Target) -> None:
        self.http = Http(target)

    def put(self, table: str, batches: Sequence[Batch]) -> Outcome:
        """Sends batches of one table, in order, until one fails."""
        for done, batch in enumerate(batches):
            path = f"/api/runlake/ingest?table={table}&batch_id={quote(batch.id)}"
            try:
                status, _, body = self.http.request(
                    "POST", path, ipc_stream(batch.data), {"Content-Type": ARROW_STREAM}
                )
            except Unavailable as error:
                return Outcome(done, error)
            if status != 200:
                return Outcome(done, door_error(status, body))
        return Outcome(len(batches))

    def close(self) -> None:
        """Closes the connection."""
        self.http.close()


# --- Flight -------------------------------------------------------------------------------------------------------

_PROGRESS = re.compile(r"\s*\(\d+ batches with \d+ rows of this stream are durable\.?\)$")

_used_grpc = False
# Clients of the parent process: their destructors would wait for threads that a forked child does not have.
_leaked: list[Any] = []


def grpc_was_used() -> bool:
    """Whether this process has started gRPC; its forked children cannot use it then."""
    return _used_grpc


def leak(thing: Any) -> None:
    """Keeps `thing` for ever, so that nothing is torn down."""
    _leaked.append(thing)


def flight_error(error: BaseException) -> RunlakeError:
    """A Flight error by what can be done about it, with the server's sentence alone."""
    import pyarrow.flight as fl

    message = _sentence(str(error))
    lowered = str(error).lower()
    if "resource exhausted error" in lowered or "returned aborted error" in lowered:
        return Unavailable(message, "RESOURCE_EXHAUSTED")
    if isinstance(error, fl.FlightUnauthenticatedError):
        return Unavailable(message, "UNAUTHENTICATED")
    if isinstance(error, fl.FlightUnauthorizedError):
        return Refused(message, "PERMISSION_DENIED")
    if isinstance(error, fl.FlightError):
        # Unavailable, timed out, cancelled, internal: the same may succeed later.
        return Unavailable(message)
    if isinstance(error, NotImplementedError):
        return Unavailable(f"the server does not offer this: {message}", "UNIMPLEMENTED")
    if isinstance(error, KeyError):
        return Refused(message, "RESOURCE_DOES_NOT_EXIST")
    if isinstance(error, pa.ArrowInvalid):
        code = "ALREADY_EXISTS" if "already exists error" in lowered else "INVALID_PARAMETER_VALUE"
        return Refused(message, code)
    return Unavailable(message)


def _sentence(text: str) -> str:
    """The server's words without what the layers below put around them."""
    text = text.strip().strip("'\"") if text.startswith(("'", '"')) else text
    marker = ", with message: "
    if marker in text:
        text = text.split(marker, 1)[1]
    for tail in (" gRPC client debug context:", " Client context:", " Detail: Python exception:"):
        position = text.find(tail)
        if position >= 0:
            text = text[:position].removesuffix(".")
    # How far this stream came is counted here, over all streams.
    return _PROGRESS.sub("", text.replace("\\n", "\n").strip())


class FlightDoor:
    """Batches by DoPut, and answers by DoGet, on one connection."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._client: Any = None
        self._lock = threading.Lock()

    def client(self) -> Any:
        """The connection, made when it is first needed."""
        global _used_grpc
        import pyarrow.flight as fl

        with self._lock:
            if self._client is None:
                _used_grpc = True
                options: dict[str, Any] = {
                    # A new client connects anew, whatever others have met at the same address: when to try again is
                    # decided by the caller.
                    "generic_options": [
                        ("grpc.use_local_subchannel_pool", 1),
                        ("grpc.initial_reconnect_backoff_ms", 100),
                        ("grpc.max_reconnect_backoff_ms", 1000),
                        ("grpc.enable_http_proxy", 0 if proxy_for(self.target) is None else 1),
                    ]
                }
                if self.target.tls:
                    if self.target.insecure:
                        options["disable_server_verification"] = True
                    if certificates := self.target.root_certificates:
                        with open(certificates, "rb") as file:
                            options["tls_root_certs"] = file.read()
                self._client = fl.FlightClient(self.target.flight_url, **options)
            return self._client

    def call_options(self, timeout: float | None) -> Any:
        """Options of one call: who asks, and how long it may take."""
        import pyarrow.flight as fl

        headers = []
        if authorization := self.target.credentials.header:
            headers.append((b"authorization", authorization.encode()))
        return fl.FlightCallOptions(timeout=timeout, headers=headers)

    def put(self, table: str, batches: Sequence[Batch]) -> Outcome:
        """Sends batches of one table, in order; those with other columns than the first go in a stream of their own."""
        done = 0
        while done < len(batches):
            schema = batches[done].data.schema
            end = done + 1
            while end < len(batches) and batches[end].data.schema.equals(schema):
                end += 1
            outcome = self._put(table, schema, batches[done:end])
            done += outcome.done
            if outcome.error is not None:
                return Outcome(done, outcome.error)
        return Outcome(done)

    def _put(self, table: str, schema: pa.Schema, batches: Sequence[Batch]) -> Outcome:
        acks = Acks()
        try:
            stream = PutStream(self, table, schema, timeout_seconds(), acks)
            try:
                for batch in batches:
                    stream.write(batch.data, batch.wire_id)
                stream.finish()
            finally:
                stream.abandon()
        except RunlakeError as error:
            return Outcome(min(acks.batches, len(batches)), error)
        if acks.batches < len(batches):
            return Outcome(acks.batches, Unavailable("the server ended the stream before everything was durable"))
        return Outcome(len(batches))

    def close(self) -> None:
        """Drops the connection: the next call makes a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except Exception:
                pass

    def forget(self) -> None:
        """In a forked child: the parent's connection is none of ours."""
        leak(self._client)
        self._client = None
        self._lock = threading.Lock()


class Acks:
    """What the server has called durable on a stream."""

    def __init__(self) -> None:
        self.batches = 0
        self.rows = 0

    def take(self, metadata: Any) -> None:
        """Reads one message of the server."""
        told = json.loads(bytes(metadata))
        self.batches = int(told["batches"])
        self.rows = int(told.get("rows", 0))


class PutStream:
    """One DoPut: batches out, acks in."""

    def __init__(
        self,
        door: FlightDoor,
        table: str,
        schema: pa.Schema,
        timeout: float | None,
        acks: Acks,
        compression: str | None = None,
    ) -> None:
        import pyarrow.flight as fl

        self._acks = acks
        self._reader: Any = None
        self._writer: Any = None
        options = door.call_options(timeout)
        if compression:
            options = fl.FlightCallOptions(
                timeout=timeout,
                headers=[(b"authorization", h.encode())] if (h := door.target.credentials.header) else [],
                write_options=pa.ipc.IpcWriteOptions(compression=compression),
            )
        try:
            self._writer, self._reader = door.client().do_put(fl.FlightDescriptor.for_path(table), schema, options)
        except Exception as error:
            raise flight_error(error) from error

    def send(self, data: pa.RecordBatch, wire_id: str) -> None:
        """Sends a batch, while somebody else reads the acks."""
        metadata = pa.py_buffer(json.dumps({"batch_id": wire_id}).encode())
        try:
            self._writer.write_with_metadata(data, metadata)
        except Exception as error:
            raise flight_error(error) from error

    def end(self) -> None:
        """Says that no more batches come, while somebody else reads the acks."""
        try:
            self._writer.done_writing()
        except Exception as error:
            raise flight_error(error) from error

    def write(self, data: pa.RecordBatch, wire_id: str) -> None:
        """Sends a batch."""
        try:
            self.send(data, wire_id)
        except RunlakeError as error:
            raise self._cause(error) from error

    def read(self) -> bool:
        """Waits for the next ack; whether there was one."""
        try:
            metadata = self._reader.read()
        except Exception as error:
            raise flight_error(error) from error
        if metadata is None:
            return False
        self._acks.take(metadata)
        return True

    def finish(self) -> None:
        """Waits until the server has answered everything."""
        try:
            self.end()
            while self.read():
                pass
        except RunlakeError as error:
            raise self._cause(error) from error
        self.close()

    def close(self) -> None:
        """Ends the call, whose status may still be an error."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except Exception as error:
                raise flight_error(error) from error

    def abandon(self) -> None:
        """Ends the call, whatever its status."""
        try:
            self.close()
        except RunlakeError:
            pass

    def _cause(self, error: RunlakeError) -> RunlakeError:
        """Why the stream broke: the server's status if there is one, for a write only says that it broke."""
        try:
            while self.read():
                pass
        except RunlakeError as told:
            if isinstance(told, Refused):
                self.abandon()
                return told
        try:
            self.close()
        except RunlakeError as told:
            return told
        return error


Door = HttpDoor | FlightDoor


def make_door(target: Target, forked: bool, by_http: bool = False) -> Door:
    """The door for `target`: HTTP where the address says so, and in children of a process that has used gRPC."""
    if by_http or target.transport == "http" or (forked and _used_grpc):
        return HttpDoor(target)
    return FlightDoor(target)
