//! The scoring server: MLflow's protocol over HTTP/1.1 for one model or several.
//!
//! `/invocations` goes to the first model, or by weight to several ([`Route`]); `/models/NAME/invocations` to one by name. A
//! model is replaced as a whole: the new version is loaded first, then takes the place of the old one, whose requests end
//! where they began.

mod connections;
mod inference_log;
mod metrics;
mod openapi;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use parking_lot::RwLock;
use ring::digest::{SHA256, digest};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::mlmodel::MlModel;
use crate::pool::Unscored;
use crate::request::{self, Input};
use crate::scorer::Scorer;

pub use inference_log::LogSettings;
use inference_log::{Answered, Asked, InferenceLog};
use metrics::Metrics;

const MODEL: &str = "x-runlake-model";
const VERSION: &str = "x-runlake-model-version";

/// How the server behaves.
#[derive(Clone)]
pub struct ServeSettings {
    /// Longest body.
    pub body_limit: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// Time of a request's headers, and of its body.
    pub read_timeout: Duration,
    /// Time that open requests have at the end.
    pub drain_timeout: Duration,
    /// What TLS is spoken with.
    pub tls: Option<TlsAcceptor>,
    /// Tokens of which a request must bear one; none: everybody may ask.
    pub tokens: Vec<String>,
    /// Where requests and answers are kept, if they are.
    pub log: Option<LogSettings>,
}

impl std::fmt::Debug for ServeSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeSettings").field("body_limit", &self.body_limit).finish_non_exhaustive()
    }
}

/// A model that is ready.
#[derive(Debug)]
pub struct Loaded {
    /// Who scores it.
    pub scorer: Scorer,
    /// Its `MLmodel` file.
    pub model: MlModel,
    /// The registered model and its version.
    pub registered: Option<(String, String)>,
}

impl Loaded {
    /// Its version, if it is registered.
    pub fn version(&self) -> Option<&str> {
        self.registered.as_ref().map(|(_, version)| version.as_str())
    }
}

/// A model of the server, under its name.
#[derive(Debug)]
pub struct Served {
    /// Its name here.
    pub name: String,
    current: RwLock<Arc<Loaded>>,
}

impl Served {
    /// A model under a name.
    pub fn new(name: String, loaded: Loaded) -> Self {
        Self { name, current: RwLock::new(Arc::new(loaded)) }
    }

    /// What is served now.
    pub fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read())
    }

    /// Serves another version from now on. Requests that began end on the old one.
    pub fn replace(&self, loaded: Loaded) {
        *self.current.write() = Arc::new(loaded);
    }
}

/// Who answers `/invocations`.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Models and their shares; none: the first model.
    pub weights: Vec<(usize, u32)>,
    /// Models that get copies of requests, whose answers nobody sees, and the share of requests in percent.
    pub shadows: Vec<(usize, u32)>,
}

struct Inner {
    models: Vec<Arc<Served>>,
    route: Route,
    settings: ServeSettings,
    tokens: Vec<[u8; 32]>,
    metrics: Metrics,
    turn: AtomicU64,
    log: RwLock<Option<InferenceLog>>,
}

/// The server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    /// A server of at least one model.
    pub fn new(models: Vec<Arc<Served>>, route: Route, settings: ServeSettings) -> Self {
        let tokens = settings.tokens.iter().map(|token| hash(token.as_bytes())).collect();
        Self(Arc::new(Inner {
            models,
            route,
            settings,
            tokens,
            metrics: Metrics::new(),
            turn: AtomicU64::new(0),
            log: RwLock::default(),
        }))
    }

    /// Serves until `stop` is cancelled and open requests are answered.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let settings = &self.0.settings;
        let sending = settings.log.clone().map(|log| InferenceLog::start(log, stop.clone()));
        let sending = sending.map(|(log, sending)| {
            *self.0.log.write() = Some(log);
            sending
        });
        connections::serve(listener, self.router(), settings, stop).await;
        // Once the last request let go of it, it sends the rest and ends.
        self.0.log.write().take();
        if let Some(sending) = sending
            && tokio::time::timeout(settings.drain_timeout, sending).await.is_err()
        {
            tracing::error!("the end of inference_log was not written within {:?}", settings.drain_timeout);
        }
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/invocations", post(invoke))
            .route("/models/{name}/invocations", post(invoke_named))
            .route("/ping", get(ping))
            .route("/health", get(ping))
            .route("/version", get(version))
            .route("/metrics", get(metrics_page))
            .route("/openapi.json", get(openapi_page))
            .fallback(|| async { detail(StatusCode::NOT_FOUND, "Not Found") })
            .method_not_allowed_fallback(|| async { detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed") })
            .layer(middleware::from_fn_with_state(self.clone(), guard))
            .with_state(self.clone())
    }

    /// The model whose turn it is, by weight: even shares over any hundred requests, not by chance.
    fn turn(&self) -> (u64, &Arc<Served>) {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let total: u64 = self.0.route.weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if total == 0 {
            return (turn, &self.0.models[0]);
        }
        // A step that shares no divisor with the total visits every place once in a round, and mixes the models.
        let step = (total * 5 / 8..).find(|step| *step > 0 && common_divisor(*step, total) == 1).unwrap_or(1);
        let mut place = (turn % total) * (step % total) % total;
        for (model, weight) in &self.0.route.weights {
            if place < u64::from(*weight) {
                return (turn, &self.0.models[*model]);
            }
            place -= u64::from(*weight);
        }
        (turn, &self.0.models[0])
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Asks for a token, but of those who ask whether the server is there.
async fn guard(State(server): State<Server>, request: HttpRequest, next: Next) -> Response {
    let is_open = server.0.tokens.is_empty() || matches!(request.uri().path(), "/ping" | "/health");
    if !is_open {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.strip_prefix("Bearer ")).map(|token| hash(token.trim().as_bytes()));
        // Hashes are compared, which tell nothing of the token by the time that takes.
        if !token.is_some_and(|token| server.0.tokens.contains(&token)) {
            let mut response =
                error(401, "UNAUTHENTICATED", "give a token of this server as `Authorization: Bearer TOKEN`");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
    }
    next.run(request).await
}

async fn invoke(State(server): State<Server>, request: HttpRequest) -> Response {
    let (turn, served) = server.turn();
    let served = Arc::clone(served);
    answer(&server, &served, turn, request, true).await
}

async fn invoke_named(State(server): State<Server>, Path(name): Path<String>, request: HttpRequest) -> Response {
    match server.0.models.iter().find(|served| served.name == name).cloned() {
        Some(served) => answer(&server, &served, 0, request, false).await,
        None => {
            let names: Vec<&str> = server.0.models.iter().map(|served| served.name.as_str()).collect();
            error(404, "RESOURCE_DOES_NOT_EXIST", &format!("no model {name:?} is served here; there are {names:?}"))
        }
    }
}

async fn answer(server: &Server, served: &Arc<Served>, turn: u64, request: HttpRequest, is_routed: bool) -> Response {
    let loaded = served.current();
    let (parts, body) = request.into_parts();
    let mut call = Call::begin(server, served, &loaded, false);
    let response = match body_of(&server.0.settings, &parts.headers, body).await {
        Ok(body) => {
            let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            match request::read(kind, &body, loaded.model.signature.as_ref()) {
                Ok(request) => {
                    if is_routed {
                        shadow(server, turn, kind, &body);
                    }
                    call.read(&request.input);
                    let outcome = loaded.scorer.score(request).await;
                    call.end(&outcome);
                    scored(outcome)
                }
                Err(refused) => {
                    call.refuse(refused.status, &refused.message);
                    error(refused.status, refused.code, &refused.message)
                }
            }
        }
        Err(response) => response,
    };
    server.0.metrics.count(&served.name, loaded.version(), response.status().as_u16(), call.began.elapsed());
    named(response, &served.name, loaded.version())
}

/// A request on its way, of which the inference log hears if it is among those that are kept.
struct Call<'a> {
    began: Instant,
    log: Option<(InferenceLog, Asked)>,
    served: &'a Served,
    loaded: &'a Loaded,
    is_shadow: bool,
}

impl<'a> Call<'a> {
    fn begin(server: &Server, served: &'a Served, loaded: &'a Loaded, is_shadow: bool) -> Self {
        let log = server.0.log.read().clone();
        let log = log.and_then(|log| log.ask().map(|asked| (log, asked)));
        Self { began: Instant::now(), log, served, loaded, is_shadow }
    }

    fn read(&mut self, input: &Input) {
        if let Some((_, asked)) = &mut self.log {
            asked.read(input);
        }
    }

    fn end(&mut self, outcome: &Result<bytes::Bytes, Unscored>) {
        match outcome {
            Ok(answer) => self.keep(200, Ok(answer.clone())),
            Err(unscored) => self.keep(status_of(unscored).0, Err(unscored.to_string())),
        }
    }

    fn refuse(&mut self, status: u16, message: &str) {
        self.keep(status, Err(message.to_owned()));
    }

    fn keep(&mut self, status: u16, outcome: Result<bytes::Bytes, String>) {
        let Some((log, asked)) = self.log.take() else { return };
        let answered = Answered {
            model: &self.served.name,
            registered: self.loaded.registered.as_ref(),
            model_id: self.loaded.model.model_id.as_deref(),
            is_shadow: self.is_shadow,
            status,
            took: self.began.elapsed(),
            outcome,
        };
        log.answer(asked, answered);
    }
}

/// Sends copies to the models in the shadow; whether they are well shows in the metrics.
fn shadow(server: &Server, turn: u64, kind: Option<&str>, body: &[u8]) {
    for (model, percent) in &server.0.route.shadows {
        // The whole number of copies that are due after this request, beyond those before it.
        let due = |turn: u64| turn * u64::from(*percent) / 100;
        if due(turn + 1) == due(turn) {
            continue;
        }
        let (server, served) = (server.clone(), Arc::clone(&server.0.models[*model]));
        let loaded = served.current();
        let Ok(request) = request::read(kind, body, loaded.model.signature.as_ref()) else {
            server.0.metrics.count_shadow(&served.name, false);
            continue;
        };
        tokio::spawn(async move {
            let mut call = Call::begin(&server, &served, &loaded, true);
            call.read(&request.input);
            let outcome = loaded.scorer.score(request).await;
            server.0.metrics.count_shadow(&served.name, outcome.is_ok());
            call.end(&outcome);
        });
    }
}

async fn body_of(settings: &ServeSettings, headers: &HeaderMap, body: Body) -> Result<bytes::Bytes, Response> {
    let too_long = || {
        error(
            413,
            "BAD_REQUEST",
            &format!("the body is longer than the {} bytes that are read (--body-limit)", settings.body_limit),
        )
    };
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(error(
            415,
            "BAD_REQUEST",
            &format!("the content encoding {encoding:?} is not read; send the body as it is"),
        ));
    }
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|told| told > settings.body_limit) {
        return Err(too_long());
    }
    match tokio::time::timeout(settings.read_timeout, to_bytes(body, settings.body_limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(problem)) => {
            let is_long =
                std::error::Error::source(&problem).is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            Err(if is_long { too_long() } else { error(400, "BAD_REQUEST", "the body was cut off") })
        }
        Err(_) => Err(error(408, "BAD_REQUEST", "the body did not come in time")),
    }
}

fn scored(outcome: Result<bytes::Bytes, Unscored>) -> Response {
    let failed = match outcome {
        Ok(text) => return ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(failed) => failed,
    };
    let (status, code) = status_of(&failed);
    let mut response = error(status, code, &failed.to_string());
    if status == 503 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn status_of(failed: &Unscored) -> (u16, &'static str) {
    match failed {
        Unscored::Refused(_) => (400, "BAD_REQUEST"),
        Unscored::Full | Unscored::Closed => (503, "RESOURCE_EXHAUSTED"),
        Unscored::TimedOut(_) => (504, "DEADLINE_EXCEEDED"),
        Unscored::Crashed(_) => (500, "INTERNAL_ERROR"),
    }
}

fn named(mut response: Response, name: &str, version: Option<&str>) -> Response {
    for (key, value) in [(MODEL, Some(name)), (VERSION, version)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(key, value);
        }
    }
    response
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = serde_json::json!({"error_code": code, "message": message}).to_string();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn detail(status: StatusCode, text: &str) -> Response {
    let body = serde_json::json!({"detail": text}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Well as long as every model has a worker.
async fn ping(State(server): State<Server>) -> Response {
    let dead = server.0.models.iter().find(|served| served.current().scorer.load().ready.load(Ordering::Relaxed) == 0);
    match dead {
        None => ([(header::CONTENT_TYPE, "application/json")], "\n").into_response(),
        Some(served) => error(503, "UNAVAILABLE", &format!("the model {:?} has no worker right now", served.name)),
    }
}

/// The version of MLflow in the environment of the first model, as MLflow's own server answers.
async fn version(State(server): State<Server>) -> Response {
    let version = server.0.models[0].current().scorer.versions().mlflow;
    ([(header::CONTENT_TYPE, "application/json")], version).into_response()
}

async fn metrics_page(State(server): State<Server>) -> Response {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        server.0.metrics.page(&server.0.models, server.0.log.read().as_ref()),
    )
        .into_response()
}

async fn openapi_page(State(server): State<Server>) -> Response {
    let page = openapi::page(&server.0.models).to_string();
    ([(header::CONTENT_TYPE, "application/json")], page).into_response()
}
