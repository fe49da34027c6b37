//! What travels over HTTP: the only place of the workspace that knows MLflow's JSON.
//!
//! Requests are read through [`Fields`], tolerant and with MLflow's messages; only `log-batch`, the busiest of them,
//! has a typed fast path. Answers are structs that borrow from the domain types: fields that are not set are left
//! out, times are milliseconds, `int64` are JSON numbers, and a double that JSON cannot write goes as MLflow sends it.

mod approvals;
mod auth;
mod envelope;
mod experiments;
mod fields;
mod files;
mod flight;
mod ingest;
mod inputs;
mod lineage;
mod log;
mod metrics;
mod models;
mod openlineage;
mod plain_ticket;
mod registry;
mod runs;
mod service;
mod sql;
mod webhooks;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};

pub(crate) use approvals::*;
pub(crate) use auth::*;
pub(crate) use envelope::*;
pub(crate) use experiments::*;
pub(crate) use fields::Fields;
pub(crate) use files::*;
pub(crate) use flight::*;
pub(crate) use ingest::*;
pub(crate) use inputs::*;
pub(crate) use lineage::*;
pub(crate) use log::*;
pub(crate) use metrics::*;
pub(crate) use models::*;
pub(crate) use openlineage::*;
pub(crate) use plain_ticket::PlainTicket;
pub(crate) use registry::*;
pub(crate) use runs::*;
pub(crate) use service::*;
pub(crate) use sql::*;
pub(crate) use webhooks::*;

use crate::error::Result;

/// An answer without fields: `{}`.
#[derive(Debug, Serialize)]
pub(crate) struct Empty {}

/// An error as MLflow's clients read it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorAnswer<'a> {
    pub(crate) error_code: &'a str,
    pub(crate) message: &'a str,
}

/// A key with its value: params and tags of everything.
#[derive(Debug, Serialize)]
pub(crate) struct Pair<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl<'a> Pair<'a> {
    fn list(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<Self> {
        pairs.into_iter().map(|(key, value)| Pair { key, value }).collect()
    }

    fn of_pairs(pairs: &'a [(String, String)]) -> Vec<Self> {
        Self::list(pairs.iter().map(|(key, value)| (key, value)))
    }
}

/// An answer of 200 with a JSON body.
pub(crate) fn json(body: &impl Serialize) -> Response {
    json_with(StatusCode::OK, body)
}

/// An answer with a JSON body.
pub(crate) fn json_with(status: StatusCode, body: &impl Serialize) -> Response {
    json_bytes(status, serde_json::to_vec(body).expect("answers have text keys only and write to memory"))
}

/// An answer whose JSON is written already.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A double in an answer. NaN is a text, as protobuf JSON has it; infinities are the largest finite doubles, as a
/// SQL-backed MLflow server stores them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Double(pub(crate) f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_nan() { serializer.serialize_str("NaN") } else { serializer.serialize_f64(clamped(self.0)) }
    }
}

/// Infinities as MLflow's SQL stores keep them.
fn clamped(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}

/// Reads `[{"key": …, "value": …}]`; a value that is not there is the empty text.
fn read_pairs(fields: &Fields, name: &str) -> Result<Vec<(String, String)>> {
    fields
        .objects(name)?
        .iter()
        .map(|pair| Ok((pair.text("key")?.unwrap_or_default(), pair.text("value")?.unwrap_or_default())))
        .collect()
}

/// A text that counts as absent when it is empty, as in protobuf.
fn optional_text(fields: &Fields, name: &str) -> Result<Option<String>> {
    Ok(fields.text(name)?.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests;
