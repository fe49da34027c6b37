//! A stream of Arrow messages into one table, from whichever door it comes.
//!
//! One task decodes messages; another checks each batch and queues its write, with several under way, so that a single
//! stream fills the groups of the log. What is durable is told as it becomes so: how many batches and rows from the start
//! of the stream on. A batch that is refused ends the stream, once what came before it is durable.

use std::collections::VecDeque;

use axum::body::Bytes;
use futures::{Stream, StreamExt as _};
use runlake_tracking::ingest::{BatchId, Ingested, Refused, Rows, Target};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::app::App;
use crate::caller::Caller;
use crate::error::{ApiError, Code, Result};
use crate::ipc::{Decoded, Decoder};
use crate::metrics::TableLabels;
use crate::permit;

/// Batches under way at once, and their bytes.
const MOST_UNDER_WAY: usize = 32;
const MOST_BYTES_UNDER_WAY: usize = 64 << 20;
/// Messages longer than this are decoded where that holds up no other request.
const SHORT_MESSAGE_BYTES: usize = 32 << 10;

/// An Arrow message, and the name of the batch in it where it has one.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) header: Bytes,
    pub(crate) body: Bytes,
    pub(crate) batch_id: Option<String>,
}

/// What of a stream is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Durable {
    /// Batches from its start on.
    pub(crate) batches: u64,
    /// Their rows.
    pub(crate) rows: u64,
}

/// Where the batches of a stream go, and on whose behalf.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    app: App,
    caller: Caller,
    target: Target,
}

/// A batch as the decoding task hands it over.
type Read = (Result<Rows, Refused>, Option<BatchId>);

impl Intake {
    pub(crate) fn new(app: App, caller: Caller, target: Target) -> Self {
        Self { app, caller, target }
    }

    /// The table called `name`.
    pub(crate) fn target(name: &str) -> Result<Target> {
        Target::parse(name).ok_or_else(|| {
            let name: String = name.chars().take(100).collect();
            ApiError::invalid(format!(
                "No table {name:?} takes rows in bulk; metrics, params, tags, runs and inference_log do."
            ))
        })
    }

    /// Takes in a whole stream. `told` hears what is durable, as it becomes so. Once `stop` is cancelled no more is read.
    pub(crate) async fn take(
        self,
        messages: impl Stream<Item = Result<Message>> + Send + 'static,
        told: watch::Sender<Durable>,
        stop: CancellationToken,
    ) -> Result<Durable> {
        let (sender, mut batches) = mpsc::channel(2);
        let _decoding = AbortOnDropHandle::new(tokio::spawn(self.clone().decode(messages, sender)));
        let mut under_way = UnderWay { told, ..UnderWay::default() };
        let mut number = 0u64;
        let ended = loop {
            let batch = tokio::select! {
                biased;
                settled = under_way.settle_first(), if !under_way.queue.is_empty() => match settled {
                    Ok(rows) => {
                        self.app.metrics().ingested.get_or_create(&TableLabels { table: self.target.name() }).inc_by(rows);
                        continue;
                    }
                    Err(error) => break Err(error),
                },
                () = stop.cancelled() => break Err(stopping()),
                batch = batches.recv(), if under_way.has_room() => batch,
            };
            match batch {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok((rows, id))) => match self.queue(rows, id).await {
                    Ok((ingested, bytes)) => under_way.push(ingested, bytes),
                    Err(error) => {
                        break Err(error.about(|message| {
                            // Most errors name a row.
                            let sep = if message.starts_with("row ") { "," } else { ":" };
                            format!("batch {number}{sep} {message}")
                        }));
                    }
                },
            }
            number += 1;
        };
        while !under_way.queue.is_empty() {
            let rows = under_way.settle_first().await?;
            self.app.metrics().ingested.get_or_create(&TableLabels { table: self.target.name() }).inc_by(rows);
        }
        let durable = under_way.durable;
        match ended {
            Ok(()) => Ok(durable),
            Err(error) => Err(error.about(|message| {
                let Durable { batches, rows } = durable;
                format!("{message} ({batches} batches with {rows} rows of this stream are durable.)")
            })),
        }
    }

    /// Checks a batch and queues its write.
    async fn queue(&self, rows: Result<Rows, Refused>, id: Option<BatchId>) -> Result<(Ingested, usize)> {
        let rows = rows?;
        permit::admit_rows(&self.app, &self.caller, &rows).await?;
        let bytes = rows.bytes();
        Ok((self.app.tracking().ingest(rows, id).await?, bytes))
    }

    /// Reads messages and hands their batches over, until the stream ends, fails or nobody takes any more.
    async fn decode(self, messages: impl Stream<Item = Result<Message>>, batches: mpsc::Sender<Result<Read>>) {
        let mut messages = std::pin::pin!(messages);
        let mut decoder = Decoder::default();
        while let Some(message) = messages.next().await {
            let read = match message {
                Ok(message) => self.read(&mut decoder, message).await,
                Err(error) => Err(error),
            };
            let Some(read) = read.transpose() else { continue };
            let is_last = read.is_err();
            if batches.send(read).await.is_err() || is_last {
                return;
            }
        }
    }

    async fn read(&self, decoder: &mut Decoder, message: Message) -> Result<Option<Read>> {
        if message.body.len() <= SHORT_MESSAGE_BYTES {
            return self.read_now(decoder, message);
        }
        let (intake, mut moved) = (self.clone(), std::mem::take(decoder));
        let read = tokio::task::spawn_blocking(move || {
            let read = intake.read_now(&mut moved, message);
            (read, moved)
        });
        let (read, moved) = read.await.map_err(|error| ApiError::internal(error.to_string()))?;
        *decoder = moved;
        read
    }

    fn read_now(&self, decoder: &mut Decoder, message: Message) -> Result<Option<Read>> {
        match decoder.decode(&message.header, message.body)? {
            Decoded::Nothing => Ok(None),
            Decoded::Schema(schema) => {
                self.target.check_schema(&schema)?;
                Ok(None)
            }
            Decoded::Batch(batch) => {
                let id = message.batch_id.map(|id| BatchId::parse(self.caller.name(), &id)).transpose()?;
                let tracking = self.app.tracking();
                let now = tracking.engine().clock().now();
                let cut = tracking.settings().truncate_long_values;
                Ok(Some((Rows::read(self.target, &batch, now, cut), id)))
            }
        }
    }
}

/// Batches between the queue and the log, oldest first.
#[derive(Default)]
struct UnderWay {
    queue: VecDeque<(Ingested, usize)>,
    bytes: usize,
    durable: Durable,
    told: watch::Sender<Durable>,
}

impl UnderWay {
    fn has_room(&self) -> bool {
        self.queue.len() < MOST_UNDER_WAY && self.bytes < MOST_BYTES_UNDER_WAY
    }

    fn push(&mut self, batch: Ingested, bytes: usize) {
        self.bytes += bytes;
        self.queue.push_back((batch, bytes));
    }

    /// Waits until the oldest batch is durable, and tells; answers its rows. May be dropped while it waits.
    async fn settle_first(&mut self) -> Result<u64> {
        let Some((batch, bytes)) = self.queue.front_mut() else { return Ok(0) };
        let (bytes, rows) = (*bytes, batch.rows() as u64);
        batch.durable().await?;
        self.queue.pop_front();
        self.bytes -= bytes;
        self.durable.batches += 1;
        self.durable.rows += rows;
        self.told.send_replace(self.durable);
        Ok(rows)
    }
}

fn stopping() -> ApiError {
    ApiError::new(Code::TemporarilyUnavailable, "The server is stopping and takes no more batches.")
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::new(Code::of(refused.kind()), refused.to_string())
    }
}
