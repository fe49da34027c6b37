//! What can be set about the server.

use std::time::Duration;

use crate::tls::Tls;

/// Limits, time-outs and guards of the HTTP server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest request body other than an artifact, in bytes.
    pub body_limit: usize,
    /// A connection is closed when a request's headers take longer than this, or nothing comes for as long.
    pub header_timeout: Duration,
    /// A request is given up when no byte of its body arrives for this long.
    pub body_timeout: Duration,
    /// Connections served at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long open requests may take to finish once the server is asked to stop.
    pub drain_timeout: Duration,
    /// `Host` headers that are let in besides localhost and private addresses; `*` in one stands for any text.
    pub allowed_hosts: Vec<String>,
    /// Certificate and key, to serve HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// A TLS handshake is given up when it takes longer than this.
    pub handshake_timeout: Duration,
    /// Whether callers must say who they are. Otherwise everybody may do everything.
    pub demand_credentials: bool,
    /// Origins of other sites that may change data, besides localhost; `*` in one stands for any text.
    pub allowed_origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_limit: 64 << 20,
            header_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            max_connections: 4096,
            drain_timeout: Duration::from_secs(10),
            allowed_hosts: Vec::new(),
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            demand_credentials: false,
            allowed_origins: Vec::new(),
        }
    }
}
