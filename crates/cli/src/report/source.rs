//! Who answers the questions of a report: a server over HTTP, or the lake itself.

use async_trait::async_trait;
use futures::TryStreamExt as _;
use runlake_engine::{Access, Engine};
use runlake_query::format::{Encoder, Format};
use runlake_query::{Parameters, Queries, Request, instant};
use runlake_report::{Answer, Asks, Question, Unanswered, Value};
use runlake_types::{Clock as _, SystemClock, Timestamp};
use serde_json::json;

use super::SourceArgs;
use crate::client::{Refused, Server};
use crate::lake::{open_engine, open_lake_store};
use crate::units::Span;
use crate::{Failure, Result};

/// See the module.
pub(super) struct Lake {
    source: Source,
    as_of: Option<(String, Timestamp)>,
    timeout: Option<Span>,
}

enum Source {
    Server(Server),
    Lake { engine: Engine, queries: Queries },
}

impl Lake {
    pub(super) async fn open(args: &SourceArgs) -> Result<Self> {
        let as_of = args.as_of.as_deref().map(as_of).transpose()?;
        let source = match &args.lake {
            None => Source::Server(Server::at(&args.server)?),
            Some(place) => {
                let settings = runlake_engine::Settings { access: Access::ReadOnly, ..Default::default() };
                let engine = open_engine(open_lake_store(place).await?, settings).await?;
                let settings = runlake_query::Settings { memory_bytes: args.query_memory.0, ..Default::default() };
                let queries =
                    Queries::new(engine.clone(), settings).map_err(|error| Failure::new(error.to_string()))?;
                Source::Lake { engine, queries }
            }
        };
        Ok(Self { source, as_of, timeout: args.timeout })
    }

    /// The position of the log that an answer would stand at now; `None` while there is nobody to tell.
    pub(super) async fn position(&self) -> Option<u64> {
        let question = Question { sql: "SELECT 1".to_owned(), parameters: Default::default(), row_limit: 1 };
        self.ask(question).await.ok()?.position
    }

    /// Ends what was opened.
    pub(super) async fn close(self) {
        if let Source::Lake { engine, .. } = self.source
            && let Err(error) = engine.close().await
        {
            tracing::debug!(%error, "the lake was not closed in order");
        }
    }
}

/// A time that has been: one to come would not give the same report again.
fn as_of(text: &str) -> Result<(String, Timestamp)> {
    let Some(time) = instant(text) else {
        return Err(Failure::usage(format!("--as-of {text:?} is no UTC time such as 2026-05-03T12:00:00Z")));
    };
    if time > SystemClock.now() {
        return Err(Failure::usage(format!(
            "--as-of {text} is yet to come: a report of it would be another one later. Give a time that has been."
        )));
    }
    Ok((text.to_owned(), time))
}

#[async_trait]
impl Asks for Lake {
    async fn ask(&self, question: Question) -> Result<Answer, Unanswered> {
        match &self.source {
            Source::Server(server) => self.ask_server(server, question).await,
            Source::Lake { queries, .. } => self.ask_lake(queries, question).await.map_err(Unanswered::Refused),
        }
    }
}

impl Lake {
    async fn ask_server(&self, server: &Server, question: Question) -> Result<Answer, Unanswered> {
        let params: serde_json::Map<_, _> =
            question.parameters.iter().map(|(name, value)| (name.clone(), value.json())).collect();
        let mut body = json!({ "sql": question.sql, "row_limit": question.row_limit });
        if !params.is_empty() {
            body["params"] = params.into();
        }
        if let Some((time, _)) = &self.as_of {
            body["as_of"] = time.as_str().into();
        }
        if let Some(time) = self.timeout {
            body["timeout_ms"] = u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX).into();
        }
        let (bytes, position) = server.sql(&body).await.map_err(|refused| match refused {
            Refused::Away(failure) => Unanswered::Away(failure.message),
            other => Unanswered::Refused(Failure::from(other).message),
        })?;
        read(&bytes, position).map_err(Unanswered::Away)
    }

    async fn ask_lake(&self, queries: &Queries, question: Question) -> Result<Answer, String> {
        let parameters = question.parameters.into_iter().map(|(name, value)| (name, bound(value)));
        let request = Request {
            sql: question.sql,
            parameters: Parameters::by_name(parameters),
            as_of: self.as_of.as_ref().map(|(_, time)| *time),
            row_limit: Some(question.row_limit),
            time_limit: self.timeout.map(|span| span.0),
            dictionaries: false,
        };
        // The form that servers answer in, so that both give the same report.
        let mut answer = queries.run(request).await.map_err(|error| error.to_string())?;
        let position = answer.position().0;
        let mut encoder = Encoder::new(Format::Json, answer.schema()).map_err(|error| error.to_string())?;
        while let Some(batch) = answer.try_next().await.map_err(|error| error.to_string())? {
            encoder.write(&batch).map_err(|error| error.to_string())?;
        }
        let mut bytes = encoder.take();
        bytes.extend(encoder.finish(answer.is_truncated()).map_err(|error| error.to_string())?);
        read(&bytes, Some(position))
    }
}

fn read(bytes: &[u8], position: Option<u64>) -> Result<Answer, String> {
    let answer: Answer = serde_json::from_slice(bytes)
        .map_err(|error| format!("the answer is not understood ({error}); is it a runlake server?"))?;
    Ok(Answer { position, ..answer })
}

fn bound(value: Value) -> runlake_query::Value {
    match value {
        Value::Null => runlake_query::Value::Null,
        Value::Bool(value) => runlake_query::Value::Bool(value),
        Value::Int(number) => runlake_query::Value::Int(number),
        Value::Float(number) => runlake_query::Value::Float(number),
        Value::Text(text) => runlake_query::Value::Text(text),
    }
}
