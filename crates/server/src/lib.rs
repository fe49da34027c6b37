//! REST doors: routes, wire types, errors to status, metrics page.
//!
//! A request passes the [`guard`], gets an id, and is let in if its [`caller`] may send it ([`permit`]). Its route's
//! handler reads the fields ([`wire`]), calls one method of the crates below, and writes the answer; what goes wrong on
//! the way becomes an answer in one place ([`error`]). [`router`] can be called without a socket; [`serve`] puts it on
//! one, with TLS or without ([`tls`]).

mod app;
mod call;
mod caller;
mod error;
mod flight;
mod guard;
mod intake;
mod ipc;
mod metrics;
mod net;
mod permit;
mod post;
mod rest;
mod settings;
mod tls;
mod wire;

pub use app::App;
pub use net::serve;
pub use post::HttpPost;
pub use rest::router;
pub use settings::Settings;
pub use tls::{Tls, TlsError};

/// Version of MLflow whose REST API is spoken, as `/version` tells clients that choose routes by it.
pub const MLFLOW_VERSION: &str = "3.12.0";

/// Version of runlake.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
