//! The server on its socket: HTTP/1.1 with keep-alive, time-outs against slow clients, a bound on connections, and an
//! orderly end.
//!
//! Once asked to stop it accepts no more, lets each connection finish the request it is at, and cuts what is still
//! open after the drain time-out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::app::App;
use crate::caller::Peer;
use crate::rest::router;
use crate::tls::Tls;

/// Pause after a failed accept, which usually means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    router: Router,
    app: App,
    stop: CancellationToken,
    cut: CancellationToken,
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
        Self { http, router, app, stop, cut }
    }

    async fn run(self, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) {
        let app = self.app.clone();
        let open = &app.metrics().connections;
        open.inc();
        match &app.settings().tls {
            None => self.speak(stream, peer).await,
            Some(tls) => {
                if let Some(stream) = self.shake_hands(tls, stream, peer).await {
                    self.speak(stream, peer).await;
                }
            }
        }
        open.dec();
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

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
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
}
