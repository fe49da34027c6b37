//! Who answers: a server over HTTP, or the lake itself.

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use runlake_engine::{Access, Engine, Settings};
use runlake_query::{Parameters, Queries, Request, Value, instant};
use runlake_types::Timestamp;
use serde_json::json;

use crate::client::Server;
use crate::lake::{open_engine, open_lake_store};
use crate::{Failure, Result};

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
    pub(super) as_of: Option<String>,
    pub(super) limit: Option<u64>,
    pub(super) timeout: Option<Duration>,
}

/// Rows as they come.
pub(super) struct Rows {
    pub(super) schema: SchemaRef,
    pub(super) batches: BoxStream<'static, Result<RecordBatch>>,
}

/// See the module.
pub(super) enum Source {
    Server(Server),
    Lake { engine: Engine, queries: Queries },
}

impl Source {
    pub(super) fn server(url: &str) -> Result<Self> {
        Ok(Self::Server(Server::at(url)?))
    }

    pub(super) async fn lake(place: &str, memory_bytes: usize) -> Result<Self> {
        let settings = Settings { access: Access::ReadOnly, ..Settings::default() };
        let engine = open_engine(open_lake_store(place).await?, settings).await?;
        let settings = runlake_query::Settings { memory_bytes, ..runlake_query::Settings::default() };
        let queries = Queries::new(engine.clone(), settings).map_err(failed)?;
        Ok(Self::Lake { engine, queries })
    }

    pub(super) async fn ask(&self, question: Question) -> Result<Rows> {
        match self {
            Self::Lake { queries, .. } => {
                let request = Request {
                    sql: question.sql,
                    parameters: Parameters::in_order(question.params),
                    as_of: question.as_of.as_deref().map(as_of).transpose()?,
                    row_limit: question.limit,
                    time_limit: question.timeout,
                    dictionaries: false,
                };
                let answer = queries.run(request).await.map_err(failed)?;
                Ok(Rows { schema: answer.schema().clone(), batches: answer.map_err(failed).boxed() })
            }
            Self::Server(server) => {
                let mut body = json!({ "sql": question.sql });
                let params: Vec<serde_json::Value> = question.params.iter().map(json_of).collect();
                if !params.is_empty() {
                    body["params"] = params.into();
                }
                if let Some(time) = question.as_of {
                    body["as_of"] = time.into();
                }
                if let Some(limit) = question.limit {
                    body["row_limit"] = limit.into();
                }
                if let Some(time) = question.timeout {
                    body["timeout_ms"] = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into();
                }
                decoded(server.stream("sql", &body, "application/vnd.apache.arrow.stream").await?.boxed()).await
            }
        }
    }

    /// Ends what was opened.
    pub(super) async fn close(self) {
        if let Self::Lake { engine, .. } = self
            && let Err(error) = engine.close().await
        {
            tracing::debug!(%error, "the lake was not closed in order");
        }
    }
}

/// An Arrow stream from its bytes. The schema comes first; a stream that is cut off is an error.
async fn decoded(mut bytes: BoxStream<'static, Result<Bytes>>) -> Result<Rows> {
    let mut decoder = StreamDecoder::new();
    let mut pending = arrow_buffer::Buffer::from(Bytes::new());
    let mut first = None;
    while decoder.schema().is_none() {
        let piece = bytes.try_next().await?.ok_or_else(cut_off)?;
        pending = piece.into();
        first = decoder.decode(&mut pending).map_err(unreadable)?;
    }
    let schema = decoder.schema().ok_or_else(cut_off)?;
    let state = (bytes, decoder, pending, first);
    let batches = stream::try_unfold(state, |(mut bytes, mut decoder, mut pending, mut ready)| async move {
        loop {
            if let Some(batch) = ready.take() {
                return Ok(Some((batch, (bytes, decoder, pending, None))));
            }
            if !pending.is_empty() {
                ready = decoder.decode(&mut pending).map_err(unreadable)?;
                continue;
            }
            match bytes.try_next().await? {
                Some(piece) => pending = piece.into(),
                None => {
                    decoder.finish().map_err(|_| cut_off())?;
                    return Ok(None);
                }
            }
        }
    });
    Ok(Rows { schema, batches: batches.boxed() })
}

fn cut_off() -> Failure {
    Failure::new("the answer was cut off: the query failed on its way, or the server stopped; its log tells")
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: arrow_schema::ArrowError) -> Failure {
    Failure::new(format!("the answer is no Arrow stream ({error}); is it a runlake server?"))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: runlake_query::Error) -> Failure {
    Failure::new(error.to_string())
}

fn as_of(text: &str) -> Result<Timestamp> {
    instant(text).ok_or_else(|| Failure::usage(format!("--as-of {text:?} is no UTC time such as 2026-05-03T12:00:00Z")))
}

/// A parameter as it was typed.
pub(super) fn value(text: &str) -> Value {
    match text {
        "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Some(quoted) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return Value::Text(quoted.replace("''", "'"));
    }
    if let Ok(number) = text.parse() {
        return Value::Int(number);
    }
    match text.parse::<f64>() {
        Ok(number) if text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
            Value::Float(number)
        }
        _ => Value::Text(text.to_owned()),
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_what_they_look_like() {
        for (text, wanted) in [
            ("1", Value::Int(1)),
            ("-1.5e3", Value::Float(-1500.0)),
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("lr", Value::Text("lr".into())),
            ("'1'", Value::Text("1".into())),
            ("'it''s'", Value::Text("it's".into())),
            ("nan", Value::Text("nan".into())),
            ("", Value::Text(String::new())),
        ] {
            assert_eq!(value(text), wanted, "{text}");
        }
    }
}
