use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use runlake_artifacts::Artifacts;
use runlake_engine::Engine;
use runlake_identity::{Identity, IdentitySettings};
use runlake_query::Queries;
use runlake_storage::{Store, StoreSettings};
use runlake_tracking::{Tracking, TrackingSettings};
use runlake_types::{Clock, ManualClock, SystemClock};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::settings::Settings;

mod access;
mod identity;
mod ingest;

/// A server without a socket, over a lake in memory.
struct Server(Router);

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn code(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["error_code"].as_str().unwrap_or_default().to_owned())
    }
}

pub(crate) async fn app(settings: Settings) -> App {
    app_with(settings, "memory://", Arc::new(SystemClock)).await
}

/// A server whose artifacts are at `place`.
async fn app_with(settings: Settings, place: &str, clock: Arc<dyn Clock>) -> App {
    let store = Store::open("memory://", &StoreSettings::default()).await.unwrap();
    let artifacts = Artifacts::new(Store::open(place, &StoreSettings::default()).await.unwrap().folder("artifacts"));
    let engine = Engine::open(store, runlake_engine::Settings::default(), clock).await.unwrap();
    let hashing = IdentitySettings { hash_memory_kib: 8, hash_passes: 1, ..IdentitySettings::default() };
    let identity = Identity::open(engine.clone(), &hashing).await.unwrap();
    let tracking = Tracking::open(engine, TrackingSettings::default()).await.unwrap();
    let queries = Queries::new(tracking.engine().clone(), runlake_query::Settings::default()).unwrap();
    App::new(tracking, queries, artifacts, None, identity, settings)
}

impl Server {
    async fn start(settings: Settings) -> Self {
        Self(router(app(settings).await))
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // Events have no end.
        let is_endless = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let body = if is_endless { Vec::new() } else { body.collect().await.unwrap().to_bytes().to_vec() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn call(&self, method: &str, uri: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.send(Request::builder().uri(uri).body(Body::empty()).unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_from_start_to_end() {
    let server = Server::start(Settings::default()).await;
    let api = "/api/2.0/mlflow";
    let created = server.call("POST", &format!("{api}/experiments/create"), &json!({"name": "e"})).await.json();
    assert_eq!(created, json!({"experiment_id": "1"}));
    let run = json!({"experiment_id": "1", "start_time": 5, "user_id": "u"});
    let run = server.call("POST", &format!("{api}/runs/create"), &run).await.json();
    let id = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let batch = json!({
        "run_id": id,
        "metrics": [{"key": "m", "value": 0.1, "timestamp": 1, "step": 1}, {"key": "m", "value": "NaN", "timestamp": 2, "step": 2}],
        "params": [{"key": "p", "value": "v"}]
    });
    let logged = server.call("POST", &format!("{api}/runs/log-batch"), &batch).await;
    assert_eq!((logged.status, logged.text()), (StatusCode::OK, "{}".to_owned()));
    let got = server.get(&format!("/ajax-api/2.0/mlflow/runs/get?run_id={id}")).await.json();
    assert_eq!(got["run"]["data"]["metrics"], json!([{"key": "m", "value": "NaN", "timestamp": 2, "step": 2}]));
    assert_eq!(got["run"]["data"]["params"], json!([{"key": "p", "value": "v"}]));
    let history = server.get(&format!("{api}/metrics/get-history?run_id={id}&metric_key=m")).await.json();
    assert_eq!(history["metrics"].as_array().unwrap().len(), 2);
    let changed = json!({"run_id": id, "params": [{"key": "p", "value": "other"}]});
    let refused = server.call("POST", &format!("{api}/runs/log-batch"), &changed).await;
    assert_eq!(refused.code(), (400, "INVALID_PARAMETER_VALUE".to_owned()));
}

/// What follows a write (the catalog, the locks) must not be left out because the caller did not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_to_its_end_though_the_caller_goes_away() {
    let server = Server::start(Settings::default()).await;
    let api = "/api/2.0/mlflow";
    server.call("POST", &format!("{api}/registered-models/create"), &json!({"name": "m"})).await;
    let version = json!({"name": "m", "source": "s3://b/k"});
    let uri = format!("{api}/model-versions/create");
    for patience in (0..40).map(|step| std::time::Duration::from_micros(step * 25)) {
        let _gone = tokio::time::timeout(patience, server.call("POST", &uri, &version)).await;
        server.call("POST", &uri, &version).await;
    }
    let told = server.get("/api/runlake/registry/history?name=m").await.json();
    let made: Vec<String> =
        told["events"].as_array().unwrap().iter().map(|event| event["version"].to_string()).collect();
    let mut distinct = made.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(made.len() > 40, "{made:?}");
    assert_eq!(made.len(), distinct.len(), "a number was given out twice: {made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_none() {
    let server = Server::start(Settings::default()).await;
    for (method, uri, status, code) in [
        ("GET", "/api/2.0/mlflow/nope", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/api/9.0/mlflow/runs/get", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/api/2.0/mlflow/runs/create", 405, "BAD_REQUEST"),
        ("PUT", "/api/2.0/mlflow/runs/create", 405, "BAD_REQUEST"),
        ("POST", "/api/3.0/mlflow/traces", 501, "NOT_IMPLEMENTED"),
        ("POST", "/v1/traces", 501, "NOT_IMPLEMENTED"),
        ("POST", "/api/3.0/mlflow/scorers/register", 501, "NOT_IMPLEMENTED"),
    ] {
        let answer = server.call(method, uri, &json!({})).await;
        assert_eq!(answer.code(), (status, code.to_owned()), "{method} {uri}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    }
    for uri in
        ["/api/2.0/mlflow/registered-models/search", "/ajax-api/3.0/mlflow/scorers/list", "/api/3.0/mlflow/workspaces"]
    {
        assert_eq!(server.get(uri).await.json(), json!({}), "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_server() {
    let server = Server::start(Settings::default()).await;
    assert_eq!(server.get("/health").await.text(), "OK");
    assert_eq!(server.get("/version").await.text(), crate::MLFLOW_VERSION);
    assert_eq!(server.get("/api/3.0/mlflow/server-info").await.json()["workspaces_enabled"], json!(false));
    let page = server.get("/metrics").await.text();
    assert!(page.contains("runlake_http_requests_total{route=\"/health\",method=\"GET\",status=\"200\"} 1"), "{page}");
    assert!(page.contains("runlake_queries_answered_total 0\n") && page.ends_with("# EOF\n"), "{page}");
    assert!(page.contains("\nrunlake_up 1\n") && page.ends_with("# EOF\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_need_their_type_and_a_size() {
    let server = Server::start(Settings { body_limit: 100, ..Settings::default() }).await;
    let uri = "/api/2.0/mlflow/experiments/create";
    for (kind, message) in [
        (None, "Bad Request. Content-Type header is missing."),
        (Some("text/plain"), "Bad Request. Content-Type must be one of ['application/json']."),
    ] {
        let mut request = Request::builder().method("POST").uri(uri);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let answer = server.send(request.body(Body::from("{\"name\": \"x\"}")).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.json()["message"].as_str().unwrap()), (400, message));
    }
    let nothing = server.send(Request::builder().method("POST").uri(uri).body(Body::empty()).unwrap()).await;
    assert!(nothing.text().contains("Missing value for required parameter 'name'"));
    let long = server.call("POST", uri, &json!({"name": "n".repeat(200)})).await;
    assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunks = (0..10).map(|_| Ok::<_, std::io::Error>(vec![b' '; 20]));
    let streamed = Request::builder().method("POST").uri(uri).header(header::CONTENT_TYPE, "application/json");
    let streamed = streamed.body(Body::from_stream(futures::stream::iter(chunks))).unwrap();
    assert_eq!(server.send(streamed).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id() {
    let server = Server::start(Settings::default()).await;
    let given = Request::builder().uri("/health").header("x-request-id", "abc").body(Body::empty()).unwrap();
    assert_eq!(server.send(given).await.headers["x-request-id"], "abc");
    let one = server.get("/health").await.headers["x-request-id"].clone();
    assert_ne!(one, server.get("/nowhere").await.headers["x-request-id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_answer() {
    async fn fails(_: Call) -> Result<Response> {
        panic!("on purpose")
    }
    let app = app(Settings::default()).await;
    let route = app.metrics().route("test", "GET");
    let response = app.answer(route, Rule::Open, fails, Request::builder().uri("/").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_ask_first() {
    let server = Server::start(Settings::default()).await;
    let ask = |origin: &str| {
        Request::builder()
            .method("OPTIONS")
            .uri("/api/2.0/mlflow/runs/create")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .body(Body::empty())
            .unwrap()
    };
    let near = server.send(ask("http://localhost:3000")).await;
    assert_eq!(
        (near.status, &near.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]),
        (StatusCode::NO_CONTENT, &header::HeaderValue::from_static("http://localhost:3000"))
    );
    let far = server.send(ask("http://evil.example")).await;
    assert!(!far.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_there_and_back() {
    let server = Server::start(Settings::default()).await;
    let root = "/api/2.0/mlflow-artifacts/artifacts";
    let put = |path: &str, body: &'static str| {
        Request::builder().method("PUT").uri(format!("{root}/{path}")).body(Body::from(body)).unwrap()
    };
    assert_eq!(server.send(put("0/a%20b.txt", "hello")).await.status, StatusCode::OK);
    let got = server.get(&format!("{root}/0/a%20b.txt")).await;
    assert_eq!(
        (got.text().as_str(), &got.headers[header::CONTENT_TYPE]),
        ("hello", &header::HeaderValue::from_static("text/plain"))
    );
    assert_eq!(got.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"a b.txt\"");
    assert_eq!(got.headers[header::CONTENT_LENGTH], "5");
    let part = Request::builder().uri(format!("{root}/0/a%20b.txt")).header(header::RANGE, "bytes=1-2");
    let part = server.send(part.body(Body::empty()).unwrap()).await;
    assert_eq!((part.status, part.text().as_str()), (StatusCode::PARTIAL_CONTENT, "el"));
    assert_eq!(part.headers[header::CONTENT_RANGE], "bytes 1-2/5");
    let beyond = Request::builder().uri(format!("{root}/0/a%20b.txt")).header(header::RANGE, "bytes=9-");
    let beyond = server.send(beyond.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (beyond.status, &beyond.headers[header::CONTENT_RANGE]),
        (StatusCode::RANGE_NOT_SATISFIABLE, &header::HeaderValue::from_static("bytes */5"))
    );
    let list = server.get(&format!("{root}?path=0")).await.json();
    assert_eq!(list, json!({"files": [{"path": "a b.txt", "is_dir": false, "file_size": 5}]}));
    assert_eq!(server.get(&format!("{root}/0/none")).await.code(), (404, "RESOURCE_DOES_NOT_EXIST".to_owned()));
    assert_eq!(server.get(&format!("{root}/%ff")).await.code(), (400, "INVALID_PARAMETER_VALUE".to_owned()));
    for path in ["%2e%2e/x", "a/%2e%2e/%2e%2e/x", "/etc/passwd", "%252e%252e/x"] {
        let answer = server.get(&format!("{root}/{path}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["message"].as_str().unwrap()),
            (400, "Invalid path"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_become_a_file() {
    let server = Server::start(Settings::default()).await;
    let base = "/api/2.0/mlflow-artifacts/mpu";
    let begin = Request::builder()
        .method("POST")
        .uri(format!("{base}/create/0/r/artifacts"))
        .header(header::HOST, "localhost:5000")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(json!({"path": "/home/me/big.bin", "num_parts": 2}).to_string()))
        .unwrap();
    let begun = server.send(begin).await.json();
    let mut parts = Vec::new();
    for (part, body) in begun["credentials"].as_array().unwrap().iter().zip(["one ", "two"]) {
        let url = part["url"].as_str().unwrap();
        assert!(
            url.starts_with("http://localhost:5000/api/2.0/mlflow-artifacts/mpu/part/0/r/artifacts/big.bin?"),
            "{url}"
        );
        let sent = server.send(Request::builder().method("PUT").uri(url).body(Body::from(body)).unwrap()).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.text());
        let tag = sent.headers.get(header::ETAG).map(|tag| tag.to_str().unwrap()).unwrap_or_default().to_owned();
        parts.push(json!({"part_number": part["part_number"], "etag": tag, "url": url}));
    }
    let end = json!({"path": "/home/me/big.bin", "upload_id": begun["upload_id"], "parts": parts});
    let ended = server.call("POST", &format!("{base}/complete/0/r/artifacts"), &end).await;
    assert_eq!(ended.status, StatusCode::OK, "{}", ended.text());
    let file = server.get("/api/2.0/mlflow-artifacts/artifacts/0/r/artifacts/big.bin").await;
    assert_eq!(file.text(), "one two");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_the_server_are_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let server = Server(router(app_with(Settings::default(), place, Arc::new(SystemClock)).await));
    let artifacts = folder.path().join("artifacts");
    std::fs::create_dir_all(&artifacts).unwrap();
    // A way out of the folder, which the store refuses.
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("canary"), "x").unwrap();
    std::os::unix::fs::symlink(outside.path(), artifacts.join("out")).unwrap();
    let root = "/api/2.0/mlflow-artifacts/artifacts";
    for (method, uri) in [
        ("GET", format!("{root}/out/canary")),
        ("PUT", format!("{root}/out/canary")),
        ("DELETE", format!("{root}/out/canary")),
        ("GET", format!("{root}?path=out")),
    ] {
        let request = Request::builder().method(method).uri(&uri).header("x-request-id", "request-7");
        let answer = server.send(request.body(Body::from("y")).unwrap()).await;
        assert!(
            answer.status.is_client_error() || answer.status.is_server_error(),
            "{method} {uri}: {}",
            answer.text()
        );
        for secret in [place, outside.path().to_str().unwrap()] {
            assert!(!answer.text().contains(secret), "{method} {uri}: {}", answer.text());
        }
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("the artifact store failed"), "{method} {uri}: {message}");
        assert!(message.ends_with("the server's log says why, at request request-7"), "{method} {uri}: {message}");
    }
    assert_eq!(std::fs::read(outside.path().join("canary")).unwrap(), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_wants_to_understand_what_it_is_asked() {
    let server = Server::start(Settings::default()).await;
    for route in ["flush", "compact", "vacuum"] {
        let uri = format!("/api/runlake/{route}");
        for body in ["{", "[]", "{\"foo\": 1}", "{\"retain_seconds\": \"soon\", \"x\": 1}"] {
            let request = Request::builder().method("POST").uri(&uri).header(header::CONTENT_TYPE, "application/json");
            let answer = server.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{route} {body}: {}", answer.text());
        }
        assert_eq!(server.call("POST", &uri, &json!({})).await.status, StatusCode::OK, "{route}");
        let bare = Request::builder().method("POST").uri(&uri).body(Body::empty()).unwrap();
        assert_eq!(server.send(bare).await.status, StatusCode::OK, "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_clears_away_what_uploads_left_behind() {
    let now = SystemClock.now().micros();
    let day = 24 * 3600 * 1_000_000;
    for (ahead, retain, expected) in [
        // Nothing is retained, but the upload is still coming.
        (0, 0, 0),
        // Time goes by: it stays as long as it shall.
        (2 * day, 3 * day / 1_000_000, 0),
        (2 * day, day / 1_000_000, 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        let clock = Arc::new(ManualClock::new(runlake_types::Timestamp::from_micros(now + ahead)));
        let app = app_with(Settings::default(), place, clock).await;
        let target = runlake_artifacts::ArtifactPath::parse("a/b").unwrap();
        app.artifacts().create_upload(&target).await.unwrap();
        std::fs::create_dir_all(folder.path().join("artifacts/a")).unwrap();
        let staging = folder.path().join("artifacts/a/#123456");
        std::fs::write(&staging, "half a file").unwrap();
        let server = Server(router(app));
        let answer = server.call("POST", "/api/runlake/vacuum", &json!({"retain_seconds": retain})).await.json();
        let counts = (answer["uploads_removed"].as_u64(), answer["staging_files_removed"].as_u64());
        assert_eq!(counts, (Some(expected), Some(expected)), "{ahead} {retain}: {answer}");
        assert_eq!(staging.exists(), expected == 0, "{ahead} {retain}");
    }
}
