//! `/api/runlake/ingest`: rows in bulk as an Arrow stream, for those who cannot use Flight.

use axum::response::Response;
use futures::{Stream, StreamExt as _, stream};
use http::header;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::intake::{Durable, Intake, Message};
use crate::ipc::{Framed, is_batch};
use crate::wire::{IngestAnswer, json};

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

pub(super) async fn ingest(mut call: Call) -> Result<Response> {
    let query = call.query();
    let target = Intake::target(&query.required_text("table")?)?;
    let prefix = query.text("batch_id")?;
    let given = call.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = given.map(|given| given.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(ARROW_STREAM)) {
        return Err(ApiError::invalid(format!("Bad Request. Content-Type must be one of ['{ARROW_STREAM}'].")));
    }
    let intake = Intake::new(call.app.clone(), call.caller().clone(), target);
    let (told, _) = watch::channel(Durable::default());
    // A request is waited for when the server stops, so nothing else ends it.
    let durable = intake.take(messages(call.chunks(), prefix), told, CancellationToken::new()).await?;
    Ok(json(&IngestAnswer::from(durable)))
}

/// The messages in a body, in the order and as soon as they are there.
struct Messages<S> {
    chunks: S,
    framed: Framed,
    /// Names of batches begin with this, where they have one.
    prefix: Option<String>,
    batches: u64,
    is_over: bool,
}

fn messages(
    chunks: impl Stream<Item = Result<axum::body::Bytes>> + Send + 'static,
    prefix: Option<String>,
) -> impl Stream<Item = Result<Message>> + Send + 'static {
    let chunks = Box::pin(chunks);
    let messages = Messages { chunks, framed: Framed::default(), prefix, batches: 0, is_over: false };
    stream::unfold(messages, |mut messages| async move {
        if messages.is_over {
            return None;
        }
        let message = messages.next().await.transpose()?;
        messages.is_over = message.is_err();
        Some((message, messages))
    })
}

impl<S: Stream<Item = Result<axum::body::Bytes>> + Unpin> Messages<S> {
    async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            if let Some((header, body)) = self.framed.next()? {
                let batch_id = self.prefix.as_ref().filter(|_| is_batch(&header)).map(|prefix| {
                    self.batches += 1;
                    format!("{prefix}-{}", self.batches - 1)
                });
                return Ok(Some(Message { header, body, batch_id }));
            }
            match self.chunks.next().await {
                Some(chunk) => self.framed.push(&chunk?),
                None => {
                    self.framed.finish()?;
                    return Ok(None);
                }
            }
        }
    }
}
