//! Worker processes that score one model: a bounded queue, batches put together from what waits, restarts.
//!
//! Each worker is one Python process and one task that feeds it. A task takes what waits (up to a bound, and for a moment
//! longer if told so), sends it as one batch, and gives each request its answer. A process that ends or is ended on the
//! way is started anew; its requests go to the front once more, and are refused if that ends a process again: none waits
//! for ever, none is lost.

mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::request::{Input, Request};
use crate::{Error, Result};

use process::{Broken, Process};

/// Pause before a process that could not be started is tried again; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// How often one request may be sent.
const MOST_TRIES: u32 = 2;

/// How a model is scored.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The Python of the model's environment.
    pub python: PathBuf,
    /// The model's folder.
    pub model: PathBuf,
    /// Processes.
    pub workers: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// Rows of one batch; one request may have more.
    pub batch_rows: usize,
    /// Requests of one batch; one: they are not put together.
    pub batch_requests: usize,
    /// How long a batch waits for more, once a worker is free.
    pub batch_wait: Duration,
    /// Time of one batch.
    pub timeout: Duration,
    /// Time of loading the model.
    pub load_timeout: Duration,
    /// Memory of one process; `None`: as much as it takes.
    pub memory_bytes: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unscored {
    /// Too many requests wait.
    Full,
    /// The pool ends.
    Closed,
    /// The model refused the request, with its words.
    Refused(String),
    /// It took longer than it may.
    TimedOut(Duration),
    /// It ended the process, and did again.
    Crashed(String),
}

struct Job {
    request: Request,
    answer: oneshot::Sender<Result<Bytes, Unscored>>,
    tries: u32,
}

/// Figures of a pool.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests that wait or are being scored.
    pub waiting: AtomicUsize,
    /// Processes that are ready.
    pub ready: AtomicUsize,
    /// Processes that ended and were started anew.
    pub restarts: AtomicUsize,
    /// Batches that were scored.
    pub batches: AtomicUsize,
}

/// The workers of one model. When the last clone is dropped they finish what waits, and end.
#[derive(Debug, Clone)]
pub struct Pool {
    jobs: mpsc::Sender<Job>,
    load: Arc<Load>,
    versions: Arc<parking_lot::Mutex<Versions>>,
}

/// What the workers run.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// The version of MLflow.
    pub mlflow: String,
    /// The version of Python.
    pub python: String,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("tries", &self.tries).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts the workers; returns when each has loaded the model.
    pub async fn start(settings: PoolSettings) -> Result<Self> {
        let settings = Arc::new(settings);
        let (jobs, queue) = mpsc::channel(settings.queue.max(1));
        let queue = Arc::new(Mutex::new(queue));
        let pool = Self { jobs, load: Arc::default(), versions: Arc::default() };
        // The first one shows whether the model can be loaded at all.
        let first = Process::start(&settings).await?;
        *pool.versions.lock() = first.versions.clone();
        let others = (1..settings.workers).map(|_| Process::start(&settings));
        let mut processes = futures::future::try_join_all(others).await?;
        processes.push(first);
        for process in processes {
            pool.load.ready.fetch_add(1, Ordering::Relaxed);
            let feeder = Feeder {
                settings: Arc::clone(&settings),
                queue: Arc::clone(&queue),
                load: Arc::clone(&pool.load),
                carried: None,
            };
            tokio::spawn(feeder.run(process));
        }
        Ok(pool)
    }

    /// Scores a request: the JSON of its answer.
    pub async fn score(&self, request: Request) -> Result<Bytes, Unscored> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting::new(&self.load);
        self.jobs.try_send(Job { request, answer, tries: 0 }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unscored::Full,
            mpsc::error::TrySendError::Closed(_) => Unscored::Closed,
        })?;
        let outcome = answered.await.unwrap_or(Err(Unscored::Closed));
        drop(waiting);
        outcome
    }

    /// Its figures.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// What its workers run.
    pub fn versions(&self) -> Versions {
        self.versions.lock().clone()
    }
}

/// Counts a request while it waits, also when its client goes away.
pub(crate) struct Waiting(Arc<Load>);

impl Waiting {
    fn new(load: &Arc<Load>) -> Self {
        load.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }

    /// Counts a request, unless as many wait already.
    #[cfg(feature = "onnx")]
    pub(crate) fn within(load: &Arc<Load>, most: usize) -> Result<Self, Unscored> {
        let waiting = Self::new(load);
        if load.waiting.load(Ordering::Relaxed) > most { Err(Unscored::Full) } else { Ok(waiting) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Feeds one process.
struct Feeder {
    settings: Arc<PoolSettings>,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
    load: Arc<Load>,
    /// A job that did not fit into the last batch, or is tried again.
    carried: Option<Job>,
}

impl Feeder {
    async fn run(mut self, process: Process) {
        let mut process = Some(process);
        while let Some(jobs) = self.gather().await {
            let mut running = match process.take() {
                Some(running) => running,
                None => self.restart().await,
            };
            match self.score(&mut running, jobs).await {
                Ok(()) => process = Some(running),
                Err(fresh) => {
                    drop(running);
                    self.load.ready.fetch_sub(1, Ordering::Relaxed);
                    self.load.restarts.fetch_add(1, Ordering::Relaxed);
                    // At once, so that the next request finds it ready.
                    process = Some(match fresh {
                        Some(fresh) => {
                            self.load.ready.fetch_add(1, Ordering::Relaxed);
                            *fresh
                        }
                        None => self.restart().await,
                    });
                }
            }
        }
        self.load.ready.fetch_sub(1, Ordering::Relaxed);
    }

    /// The jobs of the next batch; `None` when there will be no more.
    async fn gather(&mut self) -> Option<Vec<Job>> {
        let queue = Arc::clone(&self.queue);
        let carried = self.carried.take().filter(|job| !job.answer.is_closed());
        let (first, mut queue) = match carried {
            // The queue may be in the hands of a worker that waits for the next job: this one does not wait for that.
            Some(job) => match queue.try_lock() {
                Ok(queue) => (job, queue),
                Err(_) => return Some(vec![job]),
            },
            None => {
                let mut queue = queue.lock().await;
                // Nobody waits for the answer of a client that left.
                let job = loop {
                    let job = queue.recv().await?;
                    if !job.answer.is_closed() {
                        break job;
                    }
                };
                (job, queue)
            }
        };
        let mut rows = first.request.input.rows();
        let mut jobs = vec![first];
        if self.settings.batch_requests <= 1 || jobs[0].tries > 0 || !matches!(jobs[0].request.input, Input::Frame(_)) {
            return Some(jobs);
        }
        let deadline = tokio::time::Instant::now() + self.settings.batch_wait;
        while jobs.len() < self.settings.batch_requests && rows < self.settings.batch_rows {
            let next = match queue.try_recv() {
                Ok(job) => job,
                Err(_) if self.settings.batch_wait.is_zero() => break,
                Err(_) => match tokio::time::timeout_at(deadline, queue.recv()).await {
                    Ok(Some(job)) => job,
                    Ok(None) | Err(_) => break,
                },
            };
            if next.answer.is_closed() {
                continue;
            }
            rows += next.request.input.rows();
            if rows > self.settings.batch_rows || !go_together(&jobs[0].request, &next.request) {
                self.carried = Some(next);
                break;
            }
            jobs.push(next);
        }
        Some(jobs)
    }

    /// Scores a batch and answers its requests. An error: the process is of no use any more; there may be a new one already.
    async fn score(&mut self, process: &mut Process, jobs: Vec<Job>) -> Result<(), Option<Box<Process>>> {
        let began = Instant::now();
        let outcome = match message(&jobs) {
            Ok((header, body)) => process.ask(&header, &body, self.settings.timeout, self.settings.memory_bytes).await,
            Err(problem) => {
                for job in jobs {
                    reply(job, Err(Unscored::Refused(problem.clone())));
                }
                return Ok(());
            }
        };
        match outcome {
            Ok(answers) => {
                self.load.batches.fetch_add(1, Ordering::Relaxed);
                for (job, (is_good, text)) in jobs.into_iter().zip(answers) {
                    let text = if is_good { Ok(text) } else { Err(Unscored::Refused(text_of(&text))) };
                    reply(job, text);
                }
                if self.settings.memory_bytes.is_some_and(|most| process.memory_bytes() > most) {
                    tracing::warn!(pid = process.pid(), "a worker has more memory than it may and is started anew");
                    return Err(None);
                }
                Ok(())
            }
            Err(Broken::TimedOut) => {
                tracing::warn!(pid = process.pid(), after = ?began.elapsed(), "a worker took too long and is started anew");
                for job in jobs {
                    reply(job, Err(Unscored::TimedOut(self.settings.timeout)));
                }
                Err(None)
            }
            Err(Broken::Ended(how)) => {
                tracing::warn!(
                    pid = process.pid(),
                    requests = jobs.len(),
                    "a worker ended ({how}) and is started anew"
                );
                // One by one from here on, so that only the request whose fault it is is refused.
                let mut fresh = None;
                for job in jobs {
                    self.again(job, &how, &mut fresh).await;
                }
                Err(fresh.map(Box::new))
            }
        }
    }

    /// Tries a job of a broken process once more, alone, on a new process, which is kept for the next as long as it lives.
    async fn again(&mut self, mut job: Job, how: &str, fresh: &mut Option<Process>) {
        job.tries += 1;
        if job.tries >= MOST_TRIES {
            return reply(job, Err(Unscored::Crashed(how.to_owned())));
        }
        let Ok((header, body)) = message(std::slice::from_ref(&job)) else {
            return reply(job, Err(Unscored::Crashed(how.to_owned())));
        };
        let started = match fresh.take() {
            Some(process) => Ok(process),
            None => Process::start(&self.settings).await,
        };
        let outcome = match started {
            Err(error) => Err(Unscored::Crashed(error.to_string())),
            Ok(mut process) => {
                match process.ask(&header, &body, self.settings.timeout, self.settings.memory_bytes).await {
                    Ok(answers) => {
                        *fresh = Some(process);
                        match answers.into_iter().next() {
                            Some((true, text)) => Ok(text),
                            Some((false, text)) => Err(Unscored::Refused(text_of(&text))),
                            None => Err(Unscored::Crashed("it gave no answer".to_owned())),
                        }
                    }
                    Err(Broken::TimedOut) => Err(Unscored::TimedOut(self.settings.timeout)),
                    Err(Broken::Ended(how)) => Err(Unscored::Crashed(how)),
                }
            }
        };
        reply(job, outcome);
    }

    /// A new process, however often that has to be tried: other workers go on meanwhile.
    async fn restart(&mut self) -> Process {
        let mut pause = FIRST_PAUSE;
        loop {
            match Process::start(&self.settings).await {
                Ok(process) => {
                    self.load.ready.fetch_add(1, Ordering::Relaxed);
                    return process;
                }
                Err(error) => tracing::error!("a worker cannot be started, and is tried again in {pause:?}: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

fn reply(job: Job, outcome: Result<Bytes, Unscored>) {
    // A client that went away hears nothing.
    let _unheard = job.answer.send(outcome);
}

fn text_of(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether two requests may be one batch.
fn go_together(one: &Request, other: &Request) -> bool {
    match (&one.input, &other.input) {
        (Input::Frame(a), Input::Frame(b)) => {
            a.schema_ref() == b.schema_ref() && one.params == other.params && one.is_bare == other.is_bare
        }
        _ => false,
    }
}

/// The header and body that a worker is sent.
fn message(jobs: &[Job]) -> Result<(String, Vec<u8>), String> {
    let first = &jobs[0].request;
    let rows: Vec<usize> = jobs.iter().map(|job| job.request.input.rows()).collect();
    let (mode, body) = match &first.input {
        Input::Plain(text) => ("plain", text.clone().into_bytes()),
        Input::Arrays(text) => ("arrays", text.clone().into_bytes()),
        Input::Tensors(batch) => ("tensors", stream(batch)?),
        Input::Frame(batch) if jobs.len() == 1 => ("frame", stream(batch)?),
        Input::Frame(batch) => {
            let all = jobs.iter().filter_map(|job| match &job.request.input {
                Input::Frame(batch) => Some(batch),
                _ => None,
            });
            let whole = concat_batches(batch.schema_ref(), all).map_err(|error| error.to_string())?;
            ("frame", stream(&whole)?)
        }
    };
    let params = match &first.params {
        Some(text) => serde_json::value::RawValue::from_string(text.clone()).ok(),
        None => None,
    };
    let header = serde_json::to_string(&serde_json::json!({
        "mode": mode, "rows": rows, "bare": first.is_bare, "params": null,
    }))
    .map_err(|error| error.to_string())?;
    // Params may say NaN, which serde does not write.
    let header = match params {
        Some(params) => header.replace("\"params\":null", &format!("\"params\":{}", params.get())),
        None => header,
    };
    if u32::try_from(body.len()).is_err() {
        return Err("the request is larger than a worker takes (4 GiB)".to_owned());
    }
    Ok((header, body))
}

fn stream(batch: &RecordBatch) -> Result<Vec<u8>, String> {
    let write = || -> Result<Vec<u8>, arrow_schema::ArrowError> {
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        writer.write(batch)?;
        writer.into_inner()
    };
    write().map_err(|error| error.to_string())
}

impl From<Unscored> for Error {
    fn from(unscored: Unscored) -> Self {
        Error::worker(unscored.to_string())
    }
}

impl std::fmt::Display for Unscored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("too many requests wait; try again in a moment"),
            Self::Closed => f.write_str("the server ends"),
            Self::Refused(said) => write!(f, "the model did not score the request: {said}"),
            Self::TimedOut(most) => {
                write!(f, "the model took longer than {} ms, and was stopped", most.as_millis())
            }
            Self::Crashed(how) => write!(f, "the request ended the model's process twice: {how}"),
        }
    }
}
