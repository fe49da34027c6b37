//! What the handlers share, and the frame around each of them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use runlake_artifacts::Artifacts;
use runlake_engine::Engine;
use runlake_identity::Identity;
use runlake_query::Queries;
use runlake_registry::Registry;
use runlake_tracking::Tracking;
use runlake_types::ExperimentId;
use tracing::Instrument as _;

use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::guard::Guard;
use crate::metrics::{Metrics, RouteMetrics};
use crate::permit;
use crate::rest::Rule;
use crate::settings::Settings;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Runs whose experiment is remembered before all are forgotten.
const MOST_HOMES: usize = 50_000;
/// Longest request id that is taken over from a caller.
const REQUEST_ID_BYTES: usize = 128;

/// Everything the handlers need. Clones share it.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    tracking: Tracking,
    registry: Registry,
    queries: Queries,
    artifacts: Artifacts,
    /// Files at a place that clients write themselves, and the URI of that place.
    foreign: Option<(String, Artifacts)>,
    identity: Identity,
    /// The experiment of each run that a caller with a role for single experiments asked for. It never changes.
    homes: Mutex<HashMap<Box<str>, ExperimentId>>,
    settings: Settings,
    guard: Guard,
    metrics: Metrics,
    /// Random for each process, so that ids of two servers do not meet in one log.
    id_prefix: u32,
    next_id: AtomicU64,
}

impl App {
    /// Serves `tracking` and SQL over the same lake, with the files of runs at `artifacts`. `foreign` is for a default artifact root that clients
    /// write to without the server: its URI, and the files below it, which are then only listed and read here.
    pub fn new(
        tracking: Tracking,
        queries: Queries,
        artifacts: Artifacts,
        foreign: Option<(String, Artifacts)>,
        identity: Identity,
        settings: Settings,
    ) -> Self {
        Self(Arc::new(Parts {
            registry: Registry::new(tracking.clone()),
            tracking,
            queries,
            artifacts,
            foreign,
            identity,
            homes: Mutex::default(),
            guard: Guard::new(&settings),
            settings,
            metrics: Metrics::new(),
            id_prefix: random(),
            next_id: AtomicU64::new(0),
        }))
    }

    pub(crate) fn tracking(&self) -> &Tracking {
        &self.0.tracking
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn queries(&self) -> &Queries {
        &self.0.queries
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.0.tracking.engine()
    }

    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.0.artifacts
    }

    pub(crate) fn foreign_artifacts(&self) -> Option<&(String, Artifacts)> {
        self.0.foreign.as_ref()
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The experiment of a run.
    pub(crate) async fn home_of_run(&self, run_id: &str) -> Result<ExperimentId, runlake_tracking::Error> {
        let homes = || self.0.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = homes().get(run_id) {
            return Ok(*home);
        }
        let home = self.0.tracking.experiment_of_run(run_id).await?;
        let mut homes = homes();
        if homes.len() >= MOST_HOMES {
            homes.clear();
        }
        homes.insert(run_id.into(), home);
        Ok(home)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Answers one request: guard, id, caller, handler, error or panic to answer, headers, counters.
    pub(crate) async fn answer<F, Fut>(self, route: RouteMetrics, rule: Rule, handler: F, request: Request) -> Response
    where
        F: FnOnce(Call) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Response>> + Send + 'static,
    {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let id = self.request_id(parts.headers.get(REQUEST_ID));
        let origin = parts.headers.get(header::ORIGIN).cloned();
        let is_script = parts.headers.contains_key("x-requested-with");
        let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), method = %parts.method, path = parts.uri.path());
        let outcome = if let Err(refusal) = self.0.guard.check(&parts) {
            Ok((StatusCode::FORBIDDEN, refusal).into_response())
        } else {
            let params = RawPathParams::from_request_parts(&mut parts, &()).await.ok();
            let only_reads = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
            let mut call = Call::new(self.clone(), parts, body, params);
            let work = async move {
                permit::admit(&mut call, rule).await?;
                handler(call).await
            };
            let work = AssertUnwindSafe(work).catch_unwind().instrument(span.clone());
            let outcome = if only_reads {
                work.await
            } else {
                // A change that was begun goes to its end also when the caller goes away: what is to be done after it is
                // durable (answers kept in memory, locks held until it is visible) must not be left out.
                tokio::spawn(work)
                    .await
                    .unwrap_or_else(|ended| Err(Box::new(ended.to_string()) as Box<dyn std::any::Any + Send>))
            };
            outcome.unwrap_or_else(|panic| Err(ApiError::internal(panic_message(panic.as_ref()))))
        };
        let mut response = outcome.unwrap_or_else(|error| {
            span.in_scope(|| log(&error));
            error.with_request_id(id.to_str().unwrap_or_default()).into_response()
        });
        let headers = response.headers_mut();
        if is_script {
            // The web app asks for a password itself; at this header browsers open a window of their own.
            headers.remove(header::WWW_AUTHENTICATE);
        }
        headers.insert(REQUEST_ID, id);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.0.guard.allow(origin.as_ref(), headers);
        if response.status() == StatusCode::UNAUTHORIZED {
            self.0.metrics.failed_logins.inc();
        }
        let (status, elapsed) = (response.status().as_u16(), started.elapsed());
        route.count(status, elapsed.as_secs_f64());
        tracing::debug!(parent: &span, status, micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), "answered");
        response
    }

    /// The caller's id of the request, or a new one.
    pub(crate) fn request_id(&self, given: Option<&HeaderValue>) -> HeaderValue {
        let is_fit = |id: &&HeaderValue| id.len() <= REQUEST_ID_BYTES && id.to_str().is_ok_and(|id| !id.is_empty());
        given.filter(is_fit).cloned().unwrap_or_else(|| {
            let number = self.0.next_id.fetch_add(1, Ordering::Relaxed);
            HeaderValue::try_from(format!("{:08x}-{number:x}", self.0.id_prefix)).expect("hex digits fit a header")
        })
    }
}

/// A number that differs between processes.
#[allow(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
fn random() -> u32 {
    RandomState::new().hash_one(0) as u32
}

/// Faults of ours are told to whoever runs the server; mistakes of callers only when debugging.
pub(crate) fn log(error: &ApiError) {
    let status = error.status().as_u16();
    if let Some(cause) = error.cause() {
        tracing::error!(status, "{cause}");
    } else if status >= 500 && status != 501 {
        tracing::error!(status, "{}", error.message());
    } else {
        tracing::debug!(status, "{}", error.message());
    }
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("The server failed at this request: {}", text.unwrap_or("a panic without a message"))
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
