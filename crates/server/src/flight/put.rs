//! `DoPut`: rows in bulk. The descriptor's path names the table; a batch's metadata may name the batch. What is durable is
//! told as it becomes so.

use std::pin::Pin;

use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::{FlightData, PutResult};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::status;
use crate::app::log;
use crate::error::{ApiError, Code, Result};
use crate::intake::{Durable, Intake, Message};
use crate::wire::{IngestAnswer, batch_id};

/// What a call of `DoPut` answers.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<PutResult, Status>> + Send + 'static>>;

/// The table that a descriptor's path names.
pub(super) fn table(path: &[String]) -> Result<&str> {
    match path {
        [table] => Ok(table),
        [] => Err(ApiError::invalid(
            "The descriptor of a DoPut is a path of one part, the table: metrics, params, tags, runs or inference_log; or a command of \
             Flight SQL.",
        )),
        _ => Err(ApiError::invalid(format!(
            "The path of the descriptor has {} parts; it is the table alone: metrics, params, tags, runs or inference_log.",
            path.len()
        ))),
    }
}

/// Takes a stream in. It goes on for as long as the caller sends, and what was taken goes to its end though the caller
/// goes away.
pub(super) fn start(intake: Intake, data: PeekableFlightDataStream, stop: CancellationToken) -> Answers {
    let (told, news) = watch::channel(Durable::default());
    let taking = tokio::spawn(intake.take(messages(data), told, stop));
    Box::pin(stream::unfold(Progress { news, taking: Some(taking), sent: None }, next_answer))
}

/// Takes a whole stream in, and answers once with what is durable.
pub(super) async fn whole(
    intake: Intake,
    data: PeekableFlightDataStream,
    stop: CancellationToken,
) -> Result<Durable, Status> {
    let (told, _) = watch::channel(Durable::default());
    outcome(tokio::spawn(intake.take(messages(data), told, stop)).await)
}

fn messages(data: PeekableFlightDataStream) -> impl Stream<Item = Result<Message>> + Send + 'static {
    data.filter_map(|data| std::future::ready(message(data).transpose()))
}

/// A message, unless it carries nothing but metadata.
fn message(data: Result<FlightData, Status>) -> Result<Option<Message>> {
    let data = data.map_err(|status| match status.code() {
        tonic::Code::OutOfRange => ApiError::invalid(status.message()),
        _ => ApiError::new(Code::BadRequest, format!("The stream broke off: {}", status.message())),
    })?;
    let batch_id = batch_id(&data.app_metadata)?;
    if data.data_header.is_empty() && data.data_body.is_empty() {
        return Ok(None);
    }
    Ok(Some(Message { header: data.data_header, body: data.data_body, batch_id }))
}

/// Where the answers of a stream stand.
struct Progress {
    news: watch::Receiver<Durable>,
    /// `None` once its outcome was told.
    taking: Option<JoinHandle<Result<Durable>>>,
    sent: Option<Durable>,
}

async fn next_answer(mut progress: Progress) -> Option<(Result<PutResult, Status>, Progress)> {
    let taking = progress.taking.as_mut()?;
    let durable = if progress.news.changed().await.is_ok() {
        *progress.news.borrow_and_update()
    } else {
        // The other end is gone: it is over. What it told last may not have been seen.
        let last = *progress.news.borrow();
        if last == Durable::default() || progress.sent == Some(last) {
            let outcome = outcome(taking.await);
            progress.taking = None;
            return match outcome {
                Ok(_) => None,
                Err(status) => Some((Err(status), progress)),
            };
        }
        last
    };
    progress.sent = Some(durable);
    Some((Ok(put_result(durable)), progress))
}

fn put_result(durable: Durable) -> PutResult {
    PutResult { app_metadata: IngestAnswer::from(durable).to_bytes().into() }
}

fn outcome(taken: Result<Result<Durable>, tokio::task::JoinError>) -> Result<Durable, Status> {
    let taken =
        taken.unwrap_or_else(|ended| Err(ApiError::internal(format!("The server failed at this stream: {ended}"))));
    taken.map_err(|error| {
        // That the server stops, it has said already.
        if error.code() != Code::TemporarilyUnavailable {
            log(&error);
        }
        status::of(error)
    })
}
