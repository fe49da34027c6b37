//! The server on its socket: HTTP/1.1 with keep-alive and HTTP/2, time-outs against slow clients, a bound on
//! connections, and an orderly end.
//!
//! Both versions come to one port. With TLS the client chooses one in the handshake; without, HTTP/2 begins with bytes that
//! no request of HTTP/1.1 begins with. REST is served over both, Flight over HTTP/2.
//!
//! Once asked to stop it accepts no more, lets each connection finish the request it is at, and cuts what is still
//! open after the drain time-out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::app::App;
use crate::caller::Peer;
use crate::flight::Flight;
use crate::rest::router;
use crate::tls::{ALPN_HTTP2, Tls};

/// Pause after a failed accept, which usually means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a client that speaks HTTP/2 sends first.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause before a preface that arrives in pieces is looked at again.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// How often a client of HTTP/2 is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a stream, and of all streams of a connection, that may come before they are read.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Requests under way on one connection.
const MOST_STREAMS: u32 = 128;
/// Bytes of a request's headers over HTTP/2.
const MOST_HEADER_BYTES: u32 = 64 << 10;

/// Serves `app` on `listener` until `stop` is cancelled and open requests are answered.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) {
    let settings = app.settings().clone();
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let server = Connection::new(router(app.clone()), settings.header_timeout, app, stop.clone(), cut.clone());
    while let Some((stream, peer, slot)) = next(&listener, &slots, &stop).await {
        connections.spawn(server.clone().run(stream, peer, slot));
    }
    drop(listener);
    connections.close();
    tracing::debug!(open = connections.len(), "no more connections are accepted");
    if tokio::time::timeout(settings.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "requests did not finish in time and are cut off");
        cut.cancel();
        connections.wait().await;
    }
}

/// The next connection, once there is room for it; `None` when the server shall stop.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (prepared(stream, peer), peer, slot),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        connection = accepted => Some(connection),
    }
}

/// Small answers go out at once instead of waiting for more to send.
fn prepared(stream: TcpStream, peer: SocketAddr) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, "TCP_NODELAY could not be set: {error}");
    }
    stream
}

/// Whether an accept failed only because that client went away.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// How one connection is served.
#[derive(Clone)]
struct Connection {
    http: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    router: Router,
    flight: Flight,
    app: App,
    stop: CancellationToken,
    cut: CancellationToken,
}

/// The versions of HTTP that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Connection {
    fn new(
        router: Router,
        header_timeout: Duration,
        app: App,
        stop: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(header_timeout).keep_alive(true).pipeline_flush(true);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(MOST_HEADER_BYTES);
        let flight = Flight::new(app.clone(), stop.clone());
        Self { http, http2, router, flight, app, stop, cut }
    }

    async fn run(self, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) {
        let app = self.app.clone();
        let open = &app.metrics().connections;
        open.inc();
        match &app.settings().tls {
            None => {
                if let Some(version) = self.listen(&stream, peer).await {
                    self.speak(stream, peer, version).await;
                }
            }
            Some(tls) => {
                if let Some(stream) = self.shake_hands(tls, stream, peer).await {
                    let is_two = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
                    self.speak(stream, peer, if is_two { Version::Two } else { Version::One }).await;
                }
            }
        }
        open.dec();
    }

    /// Which version a client without TLS speaks, by its first bytes, which are left to be read. A silent one is dropped
    /// as one that sends no headers is.
    async fn listen(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Version> {
        let heard = tokio::select! {
            heard = tokio::time::timeout(self.app.settings().header_timeout, version_of(stream)) => heard,
            () = self.stop.cancelled() => return None,
        };
        match heard {
            Ok(Ok(version)) => version,
            Ok(Err(error)) => {
                tracing::debug!(%peer, "a connection ended early: {error}");
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "a client said nothing");
                None
            }
        }
    }

    /// Agrees on keys. A client that is silent, or speaks something else, is dropped.
    async fn shake_hands(&self, tls: &Tls, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let patience = self.app.settings().handshake_timeout;
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(patience, tls.acceptor().accept(stream)) => shaken,
            () = self.stop.cancelled() => return None,
        };
        match shaken {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%peer, "a TLS handshake failed: {error}");
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "a TLS handshake did not end in time");
                None
            }
        }
    }

    async fn speak<S>(self, stream: S, peer: SocketAddr, version: Version)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match version {
            Version::One => self.speak_one(stream, peer).await,
            Version::Two => self.speak_two(stream, peer).await,
        }
    }

    async fn speak_one(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
        let router = self.router;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.clone().call(request.map(Body::new))
        });
        let mut connection = std::pin::pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    outcome = connection.as_mut() => outcome,
                    () = self.cut.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!("a connection ended early: {error}");
        }
    }

    async fn speak_two<S>(self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, flight) = (self.router, self.flight);
        let is_used = Arc::new(AtomicBool::new(false));
        let used = Arc::clone(&is_used);
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            used.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(Peer(peer));
            let request = request.map(Body::new);
            let (mut router, flight) = (router.clone(), flight.clone());
            async move {
                if Flight::takes(&request) { Ok(flight.answer(request).await) } else { router.call(request).await }
            }
        });
        let patience = self.app.settings().header_timeout;
        let mut connection = std::pin::pin!(self.http2.serve_connection(TokioIo::new(stream), service));
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = silence(patience, &is_used) => {
                tracing::debug!(%peer, "a client said nothing");
                Ok(())
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    outcome = connection.as_mut() => outcome,
                    () = self.cut.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!("a connection ended early: {error}");
        }
    }
}

/// Returns when a connection was not used for its first `patience`; a used one's client answers pings.
async fn silence(patience: Duration, is_used: &AtomicBool) {
    tokio::time::sleep(patience).await;
    if is_used.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// The version that a connection's first bytes speak; `None` when it is closed before there are enough.
async fn version_of(stream: &TcpStream) -> io::Result<Option<Version>> {
    let mut start = [0; HTTP2_PREFACE.len()];
    let mut before = 0;
    loop {
        let length = stream.peek(&mut start).await?;
        if start[..length] != HTTP2_PREFACE[..length] {
            return Ok(Some(Version::One));
        }
        match length {
            0 => return Ok(None),
            _ if length == HTTP2_PREFACE.len() => return Ok(Some(Version::Two)),
            // What was peeked at stays ready, so there is nothing to wait for but time; or the client went away.
            _ if length == before => tokio::time::sleep(PREFACE_PAUSE).await,
            _ => {}
        }
        before = length;
    }
}

#[cfg(test)]
mod tests;
