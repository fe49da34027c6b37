"""Who may do what: stock clients with passwords and tokens, roles, set-up, TLS."""

import datetime
import ipaddress
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from support.server import Server, binary

pytestmark = pytest.mark.runlake("users and roles are runlake's own")

ADMIN = ("root", "correct horse battery")
PASSWORD = "a long enough password"


def runlake(*args: str, stdin: str = "", who: tuple[str, str] | None = None, token: str = "", **env: str):
    """Runs a command of the binary, as nobody unless told otherwise."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_TRACKING", "RUNLAKE_T"))}
    if who:
        clean |= {"MLFLOW_TRACKING_USERNAME": who[0], "MLFLOW_TRACKING_PASSWORD": who[1]}
    if token:
        clean |= {"RUNLAKE_TOKEN": token}
    return subprocess.run(
        [binary(), *args], input=stdin, capture_output=True, text=True, timeout=60, env=clean | env, check=False
    )


def done(outcome) -> str:
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


class Guarded:
    """A server that asks who you are, with an administrator."""

    def __init__(self, server: Server):
        self.server = server
        self.uri = server.uri

    def user(self, name: str, *roles: str) -> tuple[str, str]:
        done(runlake("user", "add", name, "--server", self.uri, *roles, stdin=PASSWORD + "\n", who=ADMIN))
        return (name, PASSWORD)

    def token(self, name: str, *args: str) -> str:
        return done(runlake("token", "create", name, "--server", self.uri, *args, who=ADMIN))

    def call(self, method: str, path: str, who=None, token: str = "", **kwargs):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(
            method, f"{self.uri}/api/{path}", auth=who, headers=headers, timeout=30, **kwargs
        )

    def experiment(self, name: str) -> str:
        answer = self.call("POST", "2.0/mlflow/experiments/create", ADMIN, json={"name": name})
        return answer.json()["experiment_id"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    server = Server(folder, "--auth", "required")
    server.lake.mkdir()
    server.start()
    setup = re.search(r"--setup-token ([0-9a-f]{64})", server.log_path.read_text())[1]
    done(
        runlake(
            "user", "create-admin", ADMIN[0], "--server", server.uri, "--setup-token", setup, stdin=ADMIN[1] + "\n"
        )
    )
    yield Guarded(server)
    server.kill()


@pytest.fixture
def identified(monkeypatch):
    """Sets what the stock client logs in with."""

    def use(name: str = "", password: str = "", token: str = ""):
        for variable, value in [
            ("MLFLOW_TRACKING_USERNAME", name),
            ("MLFLOW_TRACKING_PASSWORD", password),
            ("MLFLOW_TRACKING_TOKEN", token),
        ]:
            if value:
                monkeypatch.setenv(variable, value)
            else:
                monkeypatch.delenv(variable, raising=False)

    return use


@pytest.fixture
def mlflow_at(monkeypatch):
    """The module `mlflow`, pointed at a server."""
    import mlflow

    def use(uri: str):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        mlflow.tracking.fluent._active_experiment_id = None
        return mlflow

    yield use
    while mlflow.active_run():
        mlflow.end_run()


def log_a_run(mlflow, experiment_id: str, tmp_path: Path) -> str:
    file = tmp_path / "note.txt"
    file.write_text("hello")
    with mlflow.start_run(experiment_id=experiment_id) as run:
        mlflow.log_param("lr", 0.1)
        mlflow.log_metric("loss", 1.5, step=1)
        mlflow.log_artifact(str(file))
    assert Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="note.txt")).read_text()
    return run.info.run_id


def log_and_load_a_model(mlflow, experiment_id: str) -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    with mlflow.start_run(experiment_id=experiment_id):
        logged = mlflow.sklearn.log_model(model, name="line")
    assert mlflow.sklearn.load_model(logged.model_uri).predict([[2.0]])[0] == pytest.approx(4.0)
    assert [found.model_id for found in mlflow.search_logged_models([experiment_id], output_format="list")] == [
        logged.model_id
    ]


@pytest.mark.both
def test_stock_client_with_a_password(guarded, identified, mlflow_at, tmp_path, name):
    user = guarded.user(f"p{name}", "--role", "editor")
    experiment = guarded.experiment(name)
    identified(*user)
    mlflow = mlflow_at(guarded.uri)
    run = log_a_run(mlflow, experiment, tmp_path)
    assert mlflow.get_run(run).data.metrics == {"loss": 1.5}
    assert [found.info.run_id for found in mlflow.search_runs([experiment], output_format="list")] == [run]


@pytest.mark.both
def test_stock_client_with_a_token_of_a_service(guarded, identified, mlflow_at, tmp_path, name):
    done(runlake("user", "add", f"s{name}", "--service", "--role", "editor", "--server", guarded.uri, who=ADMIN))
    token = guarded.token(f"s{name}", "--label", "nightly", "--expires", "1h")
    experiment = guarded.experiment(name)
    identified(token=token)
    log_a_run(mlflow_at(guarded.uri), experiment, tmp_path)
    listed = done(runlake("token", "list", f"s{name}", "--server", guarded.uri, who=ADMIN))
    assert "nightly" in listed and "ends in" in listed and token.split("_")[2] not in listed


@pytest.mark.both
def test_nobody_and_a_wrong_password(guarded, identified, mlflow_at, name):
    from mlflow.exceptions import MlflowException

    mlflow = mlflow_at(guarded.uri)
    identified()
    with pytest.raises(MlflowException, match="MLFLOW_TRACKING_USERNAME") as nobody:
        mlflow.get_experiment("0")
    assert nobody.value.error_code == "UNAUTHENTICATED"
    identified("root", "not the password")
    with pytest.raises(MlflowException, match="credentials are not right") as wrong:
        mlflow.get_experiment("0")
    assert wrong.value.error_code == "UNAUTHENTICATED"
    for path in ["health", "version"]:
        assert requests.get(f"{guarded.uri}/{path}", timeout=30).status_code == 200
    answer = requests.get(f"{guarded.uri}/metrics", timeout=30)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="mlflow"')


def test_answers_do_not_tell_which_names_exist(guarded, name):
    guarded.user(f"e{name}")
    answers = [guarded.call("GET", "runlake/auth/whoami", (who, "wrong password")) for who in (f"e{name}", f"x{name}")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].text == answers[1].text


def test_guessing_is_slowed_down_for_any_name(guarded, name):
    for who in (guarded.user(f"g{name}")[0], f"n{name}"):
        codes = [guarded.call("GET", "runlake/auth/whoami", (who, f"guess {i}")).status_code for i in range(7)]
        assert codes[:5] == [401] * 5 and 429 in codes[5:], codes
    log = guarded.server.log_path.read_text()
    assert "a log-in failed" in log and "guess 1" not in log


def test_a_viewer_reads_and_does_not_write(guarded, identified, mlflow_at, tmp_path, name):
    from mlflow.exceptions import MlflowException

    experiment = guarded.experiment(name)
    identified(*ADMIN)
    mlflow = mlflow_at(guarded.uri)
    run = log_a_run(mlflow, experiment, tmp_path)
    identified(*guarded.user(f"v{name}", "--role", "viewer"))
    assert mlflow.get_run(run).data.params == {"lr": "0.1"}
    client = mlflow.MlflowClient()
    for attempt in (
        lambda: client.log_metric(run, "loss", 0.5),
        lambda: client.log_artifact(run, str(tmp_path / "note.txt"), "other"),
        lambda: client.delete_run(run),
        lambda: client.create_experiment(f"{name} 2"),
    ):
        with pytest.raises(Exception, match="PERMISSION_DENIED|403") as refused:
            attempt()
        assert not isinstance(refused.value, AssertionError)
    assert isinstance(pytest.raises(MlflowException, client.delete_run, run).value, MlflowException)
    assert mlflow.get_run(run).data.metrics == {"loss": 1.5}
    assert [file.path for file in client.list_artifacts(run)] == ["note.txt"]


def test_a_role_for_one_experiment_ends_there(guarded, identified, mlflow_at, tmp_path, name):
    from mlflow.exceptions import MlflowException

    own, other = guarded.experiment(f"{name} own"), guarded.experiment(f"{name} other")
    identified(*ADMIN)
    mlflow = mlflow_at(guarded.uri)
    hidden = log_a_run(mlflow, other, tmp_path)
    identified(*guarded.user(f"o{name}", "--role", "editor", "--experiment", own))
    log_a_run(mlflow, own, tmp_path)
    log_and_load_a_model(mlflow, own)
    assert [found.experiment_id for found in mlflow.search_experiments()] == [own]
    client = mlflow.MlflowClient()
    for attempt in (
        lambda: client.get_run(hidden),
        lambda: client.search_runs([own, other]),
        lambda: client.log_metric(hidden, "loss", 0.5),
        lambda: client.create_run(other),
        lambda: client.get_experiment(other),
        lambda: client.list_artifacts(hidden),
    ):
        with pytest.raises(MlflowException, match="needs the role") as refused:
            attempt()
        assert refused.value.error_code == "PERMISSION_DENIED"
    done(runlake("user", "role", f"o{name}", "viewer", "--experiment", other, "--server", guarded.uri, who=ADMIN))
    assert client.get_run(hidden).data.metrics == {"loss": 1.5}
    done(runlake("user", "role", f"o{name}", "none", "--experiment", other, "--server", guarded.uri, who=ADMIN))
    with pytest.raises(MlflowException, match="needs the role"):
        client.get_run(hidden)


def test_approvers_decide_which_version_is_used(guarded, identified, mlflow_at, tmp_path, name):
    from mlflow.exceptions import MlflowException

    experiment, model = guarded.experiment(name), f"{name} model"
    editor = guarded.user(f"m{name}", "--role", "editor", "--experiment", experiment)
    done(runlake("user", "role", editor[0], "editor", "--registered-model", model, "--server", guarded.uri, who=ADMIN))
    approver = guarded.user(f"q{name}", "--role", "approver", "--registered-model", model)
    guarded.user(f"r{name}", "--role", "viewer", "--registered-model", f"{name} other")
    identified(*editor)
    mlflow = mlflow_at(guarded.uri)
    run = log_a_run(mlflow, experiment, tmp_path)
    client = mlflow.MlflowClient()
    client.create_registered_model(model)
    version = client.create_model_version(model, f"runs:/{run}/note.txt", run_id=run).version
    with pytest.raises(MlflowException, match="needs the role approver"):
        client.set_registered_model_alias(model, "champion", version)
    with pytest.raises(MlflowException, match="needs the role editor"):
        client.create_registered_model(f"{name} other")
    identified(*approver)
    client.set_registered_model_alias(model, "champion", version)
    assert client.get_model_version_by_alias(model, "champion").version == version
    assert [found.name for found in client.search_registered_models()] == [model]
    with pytest.raises(MlflowException, match="needs the role viewer"):
        client.get_run(run)
    identified(f"r{name}", PASSWORD)
    assert list(client.search_registered_models()) == [] and list(client.search_model_versions()) == []
    with pytest.raises(MlflowException, match="needs the role viewer"):
        client.get_registered_model(model)
    history = guarded.call("GET", "runlake/registry/history", ADMIN, params={"name": model}).json()
    assert {event.get("actor") for event in history["events"]} == {editor[0], approver[0]}


def test_tokens_end_when_revoked_or_expired(guarded, name):
    guarded.user(f"t{name}", "--role", "viewer")
    short, long = guarded.token(f"t{name}", "--expires", "1s"), guarded.token(f"t{name}")
    assert guarded.call("GET", "runlake/status", token=long).status_code == 200
    done(runlake("token", "revoke", long.split("_")[1], "--server", guarded.uri, who=ADMIN))
    time.sleep(1.1)
    answers = [guarded.call("GET", "runlake/status", token=token) for token in (short, long, "rl_forged", short + "0")]
    assert {(answer.status_code, answer.json()["error_code"]) for answer in answers} == {(401, "UNAUTHENTICATED")}


def test_a_disabled_user_is_out_with_all_tokens(guarded, name):
    user = guarded.user(f"d{name}", "--role", "viewer")
    token = guarded.token(f"d{name}")
    assert guarded.call("GET", "runlake/status", user).status_code == 200
    assert guarded.call("GET", "runlake/status", token=token).status_code == 200
    done(runlake("user", "disable", f"d{name}", "--server", guarded.uri, who=ADMIN))
    assert guarded.call("GET", "runlake/status", user).status_code == 401
    assert guarded.call("GET", "runlake/status", token=token).status_code == 401
    done(runlake("user", "enable", f"d{name}", "--server", guarded.uri, who=ADMIN))
    assert guarded.call("GET", "runlake/status", token=token).status_code == 200


def test_upkeep_commands_bring_credentials(guarded, name):
    editor, viewer = guarded.user(f"a{name}", "--role", "editor"), guarded.user(f"b{name}", "--role", "viewer")
    assert "flushed" in done(runlake("flush", "--server", guarded.uri, who=editor))
    assert "flushed" in done(runlake("flush", "--server", guarded.uri, token=guarded.token(f"a{name}")))
    for who, why in [(viewer, "needs the role editor"), (None, "MLFLOW_TRACKING_USERNAME")]:
        refused = runlake("flush", "--server", guarded.uri, who=who)
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr


def test_a_session_needs_its_csrf_token(guarded):
    browser = requests.Session()
    login = browser.post(
        f"{guarded.uri}/api/runlake/auth/login", json={"name": ADMIN[0], "password": ADMIN[1]}, timeout=30
    )
    assert login.status_code == 200 and browser.cookies["runlake_session"]
    url = f"{guarded.uri}/ajax-api/2.0/mlflow/experiments/set-experiment-tag"
    body = {"experiment_id": "0", "key": "k", "value": "v"}
    assert browser.get(f"{guarded.uri}/ajax-api/2.0/mlflow/experiments/get?experiment_id=0", timeout=30).status_code == 200
    assert browser.post(url, json=body, timeout=30).status_code == 403
    csrf = {"X-CSRF-Token": login.json()["csrf_token"]}
    assert browser.post(url, json=body, headers=csrf, timeout=30).status_code == 200
    assert browser.post(f"{guarded.uri}/api/runlake/auth/logout", headers=csrf, timeout=30).status_code == 200
    assert browser.post(url, json=body, headers=csrf, timeout=30).status_code == 401


def test_a_restart_and_a_kill_keep_users(tmp_path, name):
    server = Server(tmp_path, "--auth", "required")
    server.start()
    server.stop()
    lake = str(server.lake)
    done(runlake("user", "add", *ADMIN[:1], "--role", "admin", "--lake", lake, stdin=ADMIN[1] + "\n"))
    server.start()
    try:
        guarded = Guarded(server)
        user = guarded.user("ann", "--role", "viewer")
        token = guarded.token("ann")
        server.kill()
        server.start()
        assert "setup-token" not in server.log_path.read_text().split("stopped")[-1]
        assert guarded.call("GET", "runlake/status", user).status_code == 200
        assert guarded.call("GET", "runlake/status", token=token).status_code == 200
        assert "ann  viewer" in done(runlake("user", "list", "--server", server.uri, who=ADMIN))
        reader = Server(tmp_path, "--read-only", "--auth", "required").start()
        try:
            behind = Guarded(reader)
            assert behind.call("GET", "runlake/status", token=token).status_code == 200
            refused = runlake("user", "disable", "ann", "--server", reader.uri, who=ADMIN)
            assert refused.returncode == 1 and "--read-only" in refused.stderr
            done(runlake("token", "revoke", token.split("_")[1], "--server", server.uri, who=ADMIN))
            deadline = time.monotonic() + 20
            while behind.call("GET", "runlake/status", token=token).status_code == 200:
                assert time.monotonic() < deadline, "a reader learns of a revoked token"
                time.sleep(0.2)
        finally:
            reader.kill()
    finally:
        server.kill()


def test_bad_commands_change_nothing(tmp_path):
    server = Server(tmp_path).start()
    server.stop()
    lake = str(server.lake)
    for args, stdin, why in [
        (["user", "add", "", "--lake", lake], PASSWORD, "it is empty"),
        (["user", "add", "a:b", "--lake", lake], PASSWORD, "a colon"),
        (["user", "add", "ann", "--lake", lake], "short", "12 characters"),
        (["user", "add", "ann", "--lake", lake], "", "password is empty"),
        (["user", "add", "ann", "--role", "admin", "--experiment", "1", "--lake", lake], PASSWORD, "admin is for all"),
        (["user", "add", "ann", "--role", "viewer", "--experiment", "x", "--lake", lake], PASSWORD, "no id of an experiment"),
        (["user", "add", "ann", "--experiment", "1", "--lake", lake], PASSWORD, "--role"),
        (["user", "disable", "ann", "--lake", lake], "", "no user"),
        (["token", "create", "ann", "--lake", lake], "", "no user"),
        (["token", "create", "--lake", lake], "", "whose token"),
        (["token", "revoke", "x", "--lake", lake], "", "no token"),
        (["user", "list", "--lake", str(tmp_path / "nowhere")], "", "no folder"),
    ]:
        outcome = runlake(*args, stdin=stdin)
        assert outcome.returncode in (1, 2) and why in outcome.stderr, (args, outcome.stderr)
    assert done(runlake("user", "list", "--lake", lake)) == "there are no users"


def test_listening_beyond_this_machine_demands_credentials(tmp_path):
    beyond, near, told = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for folder, host, args, status in [
        (beyond, "0.0.0.0", (), 401),
        (near, "127.0.0.1", (), 200),
        (told, "0.0.0.0", ("--auth", "none"), 200),
    ]:
        folder.mkdir()
        server = Server(folder, *args, host=host).start()
        try:
            answer = requests.get(f"{server.uri}/api/runlake/status", timeout=30)
            log = server.log_path.read_text()
            assert answer.status_code == status
            assert ("create-admin" in log) == (status == 401)
            assert ("whoever reaches this address" in log) == bool(args)
        finally:
            server.kill()


def new_key():
    """A private key, and the PEM of it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key, pem


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for this machine, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key, pem = new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "runlake")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


def test_tls(certificate, tmp_path, identified, mlflow_at, monkeypatch):
    cert, key = certificate
    server = Server(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key), certificate=cert)
    server.start()
    try:
        assert f"https://127.0.0.1:{server.port}" in server.log_path.read_text()
        identified()
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(cert))
        log_a_run(mlflow_at(server.uri), "0", tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        log_a_run(mlflow_at(server.uri), "0", tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_INSECURE_TLS")
        assert "flushed" in done(runlake("flush", "--server", server.uri, MLFLOW_TRACKING_SERVER_CERT_PATH=str(cert)))
        assert "flushed" in done(runlake("flush", "--server", server.uri, MLFLOW_TRACKING_INSECURE_TLS="true"))
        distrusted = runlake("flush", "--server", server.uri)
        assert distrusted.returncode == 1 and "ertificate" in distrusted.stderr, distrusted.stderr
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while chunk := plain.recv(100):
                answer += chunk
            assert b"HTTP" not in answer, "it ends, and nothing is answered in the clear"
        silent = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        started = time.monotonic()
        assert silent.recv(100) == b"" and time.monotonic() - started < 20, "a silent client is dropped"
        assert server.healthy()
    finally:
        server.kill()


def test_bad_certificates_are_told(certificate, tmp_path):
    cert, key = certificate
    other = tmp_path / "other.pem"
    other.write_bytes(new_key()[1])
    for args, why in [
        (["--tls-cert", str(cert)], "--tls-cert needs --tls-key"),
        (["--tls-key", str(key)], "--tls-key needs --tls-cert"),
        (["--tls-cert", str(tmp_path / "no.pem"), "--tls-key", str(key)], "No such file"),
        (["--tls-cert", str(cert), "--tls-key", str(tmp_path / "no.pem")], "No such file"),
        (["--tls-cert", str(key), "--tls-key", str(key)], "no certificate"),
        (["--tls-cert", str(cert), "--tls-key", str(cert)], "no private key"),
        (["--tls-cert", str(cert), "--tls-key", str(other)], "do not belong together"),
    ]:
        outcome = runlake("server", "--port", "0", "--lake", str(tmp_path / "lake"), *args)
        assert outcome.returncode == 2 and why in outcome.stderr, (args, outcome.stderr)
    assert not (tmp_path / "lake").exists()
