//! Object stores behind a network: the engine's tests, and a server's life, over an S3 server (moto) and an Azure server
//! (Azurite), each a process of its own that starts empty and keeps everything in memory.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Server, free_port};
use crate::{binary, tools};

const API: &str = "/api/2.0/mlflow";
const CONTAINER: &str = "lakes";

#[test]
fn the_engine_over_s3() {
    StoreServer::s3().run_engine_tests();
}

#[test]
fn the_engine_over_azure() {
    StoreServer::azure().run_engine_tests();
}

#[test]
fn a_server_over_s3() {
    live(&StoreServer::s3());
}

#[test]
fn a_server_over_azure() {
    live(&StoreServer::azure());
}

/// Writes, flushes, is killed and comes back, stops and comes back.
fn live(store: &StoreServer) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let start = |args: &[&str]| Server::start_over(&store.location("server"), folder.path(), &store.variables, args);
    let mut server = start(&[]);
    let experiment = post(&server, "experiments/create", &json!({ "name": "one" }));
    let run = post(&server, "runs/create", &json!({ "experiment_id": experiment["experiment_id"] }));
    let run_id = run["run"]["info"]["run_id"].as_str().expect("ids are text").to_owned();
    let log = |server: &Server, step: u64| {
        let metric = json!({ "key": "loss", "value": 0.5, "timestamp": 1000 + step, "step": step });
        let param = json!({ "key": format!("p{step}"), "value": step.to_string() });
        post(server, "runs/log-batch", &json!({ "run_id": run_id, "metrics": [metric], "params": [param] }));
    };
    let check = |server: &Server, steps: usize| {
        let answer = server.get(&format!("{API}/runs/get?run_id={run_id}")).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        let data = &answer.json()["run"]["data"];
        assert_eq!(data["params"].as_array().map(Vec::len), Some(steps), "{data}");
        let target = format!("{API}/metrics/get-history?run_id={run_id}&metric_key=loss");
        let history = server.get(&target).expect("an answer").json();
        assert_eq!(history["metrics"].as_array().map(Vec::len), Some(steps), "{history}");
    };
    (0..5).for_each(|step| log(&server, step));
    let flushed = Command::new(binary::runlake()).args(["flush", "--server", &server.url()]).output();
    assert!(flushed.expect("the binary can be run").status.success());
    (5..10).for_each(|step| log(&server, step));
    check(&server, 10);
    server.kill();

    // Nobody can tell yet that the owner is gone, so its lease would have to run out.
    let server = start(&["--takeover"]);
    check(&server, 10);
    log(&server, 10);
    assert!(server.stop().success());

    // A stop in good order leaves the lake free at once.
    let server = start(&[]);
    check(&server, 11);
    log(&server, 11);
    check(&server, 12);
    assert!(server.stop().success());
}

fn post(server: &Server, call: &str, body: &serde_json::Value) -> serde_json::Value {
    let answer = server.post(&format!("{API}/{call}"), body).expect("an answer");
    assert_eq!(answer.status, 200, "{call}: {answer:?}");
    answer.json()
}

/// A running store; killed when dropped.
struct StoreServer {
    process: Child,
    scheme: &'static str,
    /// What tells a client where it is.
    variables: Vec<(String, String)>,
}

impl StoreServer {
    fn s3() -> Self {
        let moto = tools::python(&folder(), "moto", &[]).with_file_name("moto_server");
        let port = free_port();
        let process = spawn(Command::new(moto).args(["-H", "127.0.0.1", "-p", &port.to_string()]), port);
        let variables = variables(&[
            ("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "nobody"),
            ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ]);
        let store = Self { process, scheme: "s3", variables };
        // By Python's own client, since a bucket is made by a PUT of nothing.
        let script = format!(
            "import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:{port}/{CONTAINER}', method='PUT'))"
        );
        tools::run(Command::new(tools::python(&folder(), "moto", &[])).args(["-c", &script]));
        store
    }

    fn azure() -> Self {
        let modules = tools::node_modules(&folder(), "azurite");
        let port = free_port();
        let mut azurite = Command::new("node");
        azurite.arg(modules.join("azurite/dist/src/blob/main.js")).args(["--silent", "--inMemoryPersistence"]);
        azurite.args(["--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort"]);
        let process = spawn(azurite.arg(port.to_string()), port);
        let url = format!("http://127.0.0.1:{port}");
        let variables = variables(&[("AZURE_STORAGE_USE_EMULATOR", "true"), ("AZURITE_BLOB_STORAGE_URL", &url)]);
        let store = Self { process, scheme: "az", variables };
        tools::run(Command::new("node").arg(folder().join("container.mjs")).args([&url, CONTAINER]));
        store
    }

    fn location(&self, prefix: &str) -> String {
        format!("{}://{CONTAINER}/{prefix}", self.scheme)
    }

    fn run_engine_tests(&self) {
        let output = Command::new(binary::engine_tests())
            .args(["--ignored", "on_the_named_store"])
            .env("RUNLAKE_TEST_LAKE", self.location("engine"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("the engine's tests can be run");
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat();
        println!("{text}");
        assert!(output.status.success(), "the engine's tests over {}:// ended with {}", self.scheme, output.status);
        assert!(!text.contains("running 0 tests"), "nothing was tested");
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stores")
}

fn variables(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Starts a server and waits until it listens.
fn spawn(command: &mut Command, port: u16) -> Child {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + Duration::from_mins(1);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = process.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "{command:?} ended with {ended:?}");
        assert!(Instant::now() < deadline, "{command:?} does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    process
}
