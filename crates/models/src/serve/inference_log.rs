//! What was asked and answered, as rows of the table `inference_log` of a runlake server.
//!
//! Rows are queued where requests are answered and sent from a task of their own, many at once, each batch under a name, so
//! that one whose answer was lost is sent again without harm. No request waits for it: what does not fit into the queue,
//! since the server is away for long, is dropped and counted.

mod rows;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::RecordBatch;
use runlake_types::{Clock as _, SystemClock, Timestamp, unique_id};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fetch::Tracking;
use crate::request::Input;

pub(super) use rows::Row;

/// Requests that may wait to be sent.
const QUEUE: usize = 8192;
/// Rows of one message, and how long it is waited for more of them.
const BATCH_ROWS: usize = 4096;
const BATCH_WAIT: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(15);
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What is kept of requests and answers.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The server whose lake it goes to.
    pub tracking: Tracking,
    /// Share of requests, in percent.
    pub sample: u32,
    /// Columns whose values are not kept.
    pub redacted: HashSet<String>,
    /// Whether no values of inputs are kept at all.
    pub redacts_inputs: bool,
    /// Whether answers are kept.
    pub keeps_outputs: bool,
}

/// Figures of the log.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// A request, while it is scored.
pub(super) struct Asked {
    time: Timestamp,
    input: Option<Input>,
}

/// Who answered it, and how.
pub(super) struct Answered<'a> {
    pub(super) model: &'a str,
    pub(super) registered: Option<&'a (String, String)>,
    pub(super) model_id: Option<&'a str>,
    pub(super) is_shadow: bool,
    pub(super) status: u16,
    pub(super) took: Duration,
    /// The answer, or why there is none.
    pub(super) outcome: Result<bytes::Bytes, String>,
}

/// A request and its answer.
struct Entry {
    asked: Asked,
    head: Row,
    outcome: Result<bytes::Bytes, String>,
}

/// Takes requests in. Clones share one queue.
#[derive(Clone)]
pub(super) struct InferenceLog {
    settings: Arc<LogSettings>,
    queue: mpsc::Sender<Entry>,
    pub(super) counts: Arc<Counts>,
    turn: Arc<AtomicU64>,
}

impl InferenceLog {
    /// The log, and the task that sends it, which ends once every clone is gone and the rest was sent.
    pub(super) fn start(settings: LogSettings, stop: CancellationToken) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, entries) = mpsc::channel(QUEUE);
        let settings = Arc::new(settings);
        let counts = Arc::<Counts>::default();
        let sender = Sender { settings: Arc::clone(&settings), entries, counts: Arc::clone(&counts), stop };
        let sending = tokio::spawn(sender.run());
        (Self { settings, queue, counts, turn: Arc::default() }, sending)
    }

    /// Whether this request is kept: even shares over any hundred of them, not by chance.
    pub(super) fn ask(&self) -> Option<Asked> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let due = |turn: u64| turn * u64::from(self.settings.sample) / 100;
        (due(turn + 1) > due(turn)).then(|| Asked { time: SystemClock.now(), input: None })
    }

    /// Keeps a request with its answer.
    pub(super) fn answer(&self, asked: Asked, answered: Answered<'_>) {
        let head = Row {
            request_id: unique_id(),
            row: 0,
            time: asked.time.micros(),
            model: answered.model.to_owned(),
            registered_model: answered.registered.map(|(name, _)| name.clone()),
            version: answered.registered.and_then(|(_, version)| version.parse().ok()),
            model_id: answered.model_id.map(str::to_owned),
            is_shadow: answered.is_shadow,
            status: i64::from(answered.status),
            latency_ms: answered.took.as_secs_f64() * 1000.0,
            inputs: Vec::new(),
            output: None,
            error: None,
        };
        if self.queue.try_send(Entry { asked, head, outcome: answered.outcome }).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Asked {
    /// What was read of the request. Its columns are shared, not copied.
    pub(super) fn read(&mut self, input: &Input) {
        self.input = Some(input.clone());
    }
}

struct Sender {
    settings: Arc<LogSettings>,
    entries: mpsc::Receiver<Entry>,
    counts: Arc<Counts>,
    /// When it is cancelled a server that is away is not waited for any more.
    stop: CancellationToken,
}

impl Sender {
    async fn run(mut self) {
        while let Some(first) = self.entries.recv().await {
            let mut rows = self.rows(first);
            let deadline = tokio::time::Instant::now() + BATCH_WAIT;
            while rows.len() < BATCH_ROWS {
                match tokio::time::timeout_at(deadline, self.entries.recv()).await {
                    Ok(Some(entry)) => rows.extend(self.rows(entry)),
                    Ok(None) | Err(_) => break,
                }
            }
            self.send(&rows).await;
        }
    }

    fn rows(&self, entry: Entry) -> Vec<Row> {
        rows::of(&self.settings, entry.head, entry.asked.input.as_ref(), entry.outcome)
    }

    async fn send(&self, rows: &[Row]) {
        let count = rows.len() as u64;
        let sent = match rows::batch(rows).and_then(|batch| stream(&batch)) {
            Ok(body) => self.post(body.into()).await,
            Err(error) => Err(error.to_string()),
        };
        match sent {
            Ok(()) => self.counts.written.fetch_add(count, Ordering::Relaxed),
            Err(problem) => {
                tracing::error!(rows = count, "rows of inference_log are dropped: {problem}");
                self.counts.dropped.fetch_add(count, Ordering::Relaxed)
            }
        };
    }

    /// Sends a message until the server has taken it, or says that it never will.
    async fn post(&self, body: bytes::Bytes) -> Result<(), String> {
        let Tracking { url, client } = &self.settings.tracking;
        let url = format!("{url}/api/runlake/ingest?table=inference_log&batch_id={}", unique_id());
        let mut pause = FIRST_PAUSE;
        loop {
            let request = client
                .post(&url)
                .header("content-type", "application/vnd.apache.arrow.stream")
                .timeout(SEND_TIMEOUT)
                .body(body.clone());
            let problem = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    let said = answer.text().await.unwrap_or_default();
                    let problem = format!("{url} answered {status}: {}", said.chars().take(500).collect::<String>());
                    if status.is_client_error() && !matches!(status.as_u16(), 408 | 429) {
                        return Err(problem);
                    }
                    problem
                }
                Err(error) => format!("{url} does not answer: {error}"),
            };
            if self.stop.is_cancelled() {
                return Err(problem);
            }
            tracing::warn!("inference_log waits {pause:?}: {problem}");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

fn stream(batch: &RecordBatch) -> Result<Vec<u8>, arrow_schema::ArrowError> {
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    writer.into_inner()
}

#[cfg(test)]
mod tests;
