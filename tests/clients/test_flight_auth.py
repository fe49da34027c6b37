"""Who may do what over Flight: passwords, tokens, handshakes, roles; and TLS."""

import json

import pytest

pa = pytest.importorskip("pyarrow")
fl = pytest.importorskip("pyarrow.flight")

import requests

from support.server import Server
from test_flight_ingest import STREAM, connect, history, points, put, refusal
from test_identity import ADMIN, certificate, guarded  # noqa: F401  (fixtures)

pytestmark = pytest.mark.runlake("users and roles are runlake's own")


def options(value: str) -> fl.FlightCallOptions:
    return fl.FlightCallOptions(headers=[(b"authorization", value.encode())])


def basic(name: str, password: str) -> str:
    import base64

    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def mine(guarded, name):  # noqa: F811
    """A run of a new experiment."""
    experiment = guarded.experiment(f"flight-{name}")
    answer = guarded.call("POST", "2.0/mlflow/runs/create", ADMIN, json={"experiment_id": experiment})
    return experiment, answer.json()["run"]["info"]["run_id"]


def count(guarded, run: str) -> int:  # noqa: F811
    answer = guarded.call("GET", f"2.0/mlflow/metrics/get-history?run_id={run}&metric_key=m", ADMIN)
    return len(answer.json().get("metrics", []))


def test_every_call_needs_credentials(guarded, mine):  # noqa: F811
    _, run = mine
    with connect(guarded.server) as door:
        for given in [None, options("Basic !!"), options(basic("root", "wrong")), options("Bearer rl_x_y"),
                      options("Bearer rlsession_0123")]:
            with pytest.raises(fl.FlightUnauthenticatedError):
                put(door, "metrics", points(run, [1.0]), options=given)
            with pytest.raises(fl.FlightUnauthenticatedError):
                list(door.list_actions(given))
        with pytest.raises(fl.FlightUnauthenticatedError):
            door.authenticate_basic_token("root", "wrong")
    assert count(guarded, run) == 0


def test_passwords_tokens_and_handshakes(guarded, mine):  # noqa: F811
    _, run = mine
    token = guarded.token("root")
    with connect(guarded.server) as door:
        put(door, "metrics", points(run, [1.0]), options=options(basic(*ADMIN)))
        put(door, "metrics", points(run, [2.0]), options=options(f"Bearer {token}"))
        name, value = door.authenticate_basic_token(*ADMIN)
        assert name == b"authorization"
        assert value.startswith(b"Bearer ")
        put(door, "metrics", points(run, [3.0]), options=fl.FlightCallOptions(headers=[(name, value)]))
        # It is for Flight alone.
        answer = guarded.call("GET", "runlake/auth/whoami", token=value.decode().split(" ")[1])
        assert answer.status_code == 401
    assert count(guarded, run) == 3


def test_adbc_logs_in(guarded, mine):  # noqa: F811
    flightsql = pytest.importorskip("adbc_driver_flightsql.dbapi")
    _, run = mine
    uri = f"grpc://127.0.0.1:{guarded.server.port}"
    for given in [
        {"username": ADMIN[0], "password": ADMIN[1]},
        {"adbc.flight.sql.authorization_header": f"Bearer {guarded.token('root')}"},
    ]:
        with flightsql.connect(uri, db_kwargs=given, autocommit=True) as connection, connection.cursor() as cursor:
            assert cursor.adbc_ingest("metrics", points(run, [float(len(given))]), mode="append") == 1
    assert count(guarded, run) == 2


def test_a_role_for_one_experiment_is_for_its_runs(guarded, mine):  # noqa: F811
    experiment, run = mine
    other = guarded.experiment(f"other-{experiment}")
    answer = guarded.call("POST", "2.0/mlflow/runs/create", ADMIN, json={"experiment_id": other})
    foreign = answer.json()["run"]["info"]["run_id"]
    editor = guarded.user(f"editor-{experiment}", "--role", "editor", "--experiment", experiment)
    viewer = guarded.user(f"viewer-{experiment}", "--role", "viewer", "--experiment", experiment)
    both = pa.concat_tables([points(run, [1.0]), points(foreign, [1.0])]).combine_chunks()
    with connect(guarded.server) as door:
        for who, table, row in [(viewer, points(run, [1.0]), 0), (editor, both, 1), (editor, points("no", [1.0]), 0)]:
            message = refusal(door, "metrics", table, options=options(basic(*who)))
            assert f"batch 0, row {row}: Permission denied" in message
        assert (count(guarded, run), count(guarded, foreign)) == (0, 0)
        put(door, "metrics", points(run, [1.0]), options=options(basic(*editor)))
        # A name that somebody gave a batch is nobody else's.
        put(door, "metrics", points(run, [2.0], first=1), names=["same"], options=options(basic(*editor)))
        put(door, "metrics", points(run, [3.0], first=2), names=["same"], options=options(basic(*ADMIN)))
    assert count(guarded, run) == 3


def test_over_tls(certificate, tmp_path):  # noqa: F811
    cert, key = certificate[:2]
    server = Server(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key), certificate=cert).start()
    try:
        made = requests.post(
            f"{server.uri}/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}, verify=str(cert), timeout=30
        )
        run = made.json()["run"]["info"]["run_id"]
        roots = cert.read_bytes()
        with fl.FlightClient(f"grpc+tls://127.0.0.1:{server.port}", tls_root_certs=roots) as door:
            assert put(door, "metrics", points(run, [1.0, 2.0]))[-1] == {"batches": 1, "rows": 2}
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, points(run, [3.0]).schema) as writer:
            writer.write_table(points(run, [3.0]))
        answer = requests.post(
            f"{server.uri}/api/runlake/ingest?table=metrics",
            data=sink.getvalue().to_pybytes(),
            headers={"Content-Type": STREAM},
            verify=str(cert),
            timeout=30,
        )
        assert answer.json() == {"batches": 1, "rows": 1}, json.dumps(answer.json())
        assert history
    finally:
        server.kill()
