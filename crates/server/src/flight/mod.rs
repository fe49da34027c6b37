//! The Flight doors: gRPC on the same port as REST.
//!
//! A call passes the same guard as a REST request, gets an id, and must say who sends it before anything of it is read
//! ([`session`]). Flight SQL's verbs ([`sql`]) and plain tickets ([`plain`]) come down to the same: a handle that says what
//! is asked for and how ([`options`]), sealed so that nobody but this server makes one ([`seal`]), whose rows are streamed
//! ([`read`]) until somebody cancels them ([`running`], [`actions`]). [`metadata`] tells of the lake; rows come in bulk
//! ([`put`]). What goes wrong becomes a gRPC status in one place ([`status`]).

mod actions;
mod metadata;
mod options;
mod plain;
mod put;
mod read;
mod running;
mod seal;
mod session;
mod sql;
mod status;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::body::Body;
use axum::response::Response;
use futures::FutureExt as _;
use http::{HeaderMap, Request, header};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::Service as _;
use tracing::Instrument as _;

use crate::app::{App, REQUEST_ID, log, panic_message};
use crate::error::ApiError;
use crate::ipc::MOST_MESSAGE_BYTES;
use crate::metrics::RouteMetrics;
use plain::Plain;
use sql::Doors;

/// Where Flight's calls are.
const PREFIX: &str = "/arrow.flight.protocol.FlightService/";
const HANDSHAKE: &str = "Handshake";
/// What a message takes beside header and body.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Flight's calls, and what the metrics page calls them; the last is any other.
const CALLS: [(&str, &str); 11] = [
    (HANDSHAKE, "flight/Handshake"),
    ("ListFlights", "flight/ListFlights"),
    ("GetFlightInfo", "flight/GetFlightInfo"),
    ("PollFlightInfo", "flight/PollFlightInfo"),
    ("GetSchema", "flight/GetSchema"),
    ("DoGet", "flight/DoGet"),
    ("DoPut", "flight/DoPut"),
    ("DoExchange", "flight/DoExchange"),
    ("DoAction", "flight/DoAction"),
    ("ListActions", "flight/ListActions"),
    ("", "flight/other"),
];

/// Answers Flight's calls. Clones share everything.
#[derive(Clone)]
pub(crate) struct Flight {
    app: App,
    service: FlightServiceServer<Plain>,
    counted: Arc<[(&'static str, RouteMetrics)]>,
}

impl Flight {
    /// `stop` ends streams that would go on for as long as their callers please.
    pub(crate) fn new(app: App, stop: CancellationToken) -> Self {
        let doors = Plain(Doors::new(app.clone(), stop));
        let service = FlightServiceServer::new(doors).max_decoding_message_size(MOST_MESSAGE_BYTES + ENVELOPE_BYTES);
        let counted = CALLS.iter().map(|(call, label)| (*call, app.metrics().route(label, "GRPC")));
        Self { counted: counted.collect(), app, service }
    }

    /// Whether a request is one of Flight's.
    pub(crate) fn takes<B>(request: &Request<B>) -> bool {
        let is_grpc = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        request.uri().path().starts_with(PREFIX) && request.headers().get(header::CONTENT_TYPE).is_some_and(is_grpc)
    }

    /// Answers one call: guard, id, caller, service, error or panic to status, counters.
    pub(crate) async fn answer(mut self, request: Request<Body>) -> Response {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let call = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let id = self.app.request_id(parts.headers.get(REQUEST_ID));
        let span = tracing::info_span!("flight", id = id.to_str().unwrap_or_default(), call);
        let work = async {
            self.app.guard().check(&parts).map_err(Status::permission_denied)?;
            if call != HANDSHAKE {
                let caller = session::caller(&self.app, &parts).await.map_err(|error| {
                    log(&error);
                    status::of(error)
                })?;
                parts.extensions.insert(caller);
            }
            let answered = self.service.call(Request::from_parts(parts, tonic::body::Body::new(body))).await;
            answered.map_err(|never| match never {})
        };
        let outcome = AssertUnwindSafe(work).catch_unwind().instrument(span.clone()).await;
        let outcome = outcome.unwrap_or_else(|panic| {
            let error = ApiError::internal(panic_message(panic.as_ref()));
            span.in_scope(|| log(&error));
            Err(status::of(error))
        });
        let mut response = outcome.unwrap_or_else(Status::into_http).map(Body::new);
        response.headers_mut().insert(REQUEST_ID, id);
        let status = status::http(told(response.headers()));
        if status == 401 {
            self.app.metrics().failed_logins.inc();
        }
        let counted = self.counted.iter().find(|(known, _)| *known == call).or(self.counted.last());
        if let Some((_, counted)) = counted {
            counted.count(status, started.elapsed().as_secs_f64());
        }
        response
    }
}

/// The status of a call that is over already. One that streams tells at its end, which nobody waits for here.
fn told(headers: &HeaderMap) -> tonic::Code {
    headers.get("grpc-status").map_or(tonic::Code::Ok, |status| tonic::Code::from_bytes(status.as_bytes()))
}
