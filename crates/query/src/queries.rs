//! The service: takes statements, gives rows, within its limits.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt as _;
use runlake_engine::{Engine, View};
use runlake_types::{Seq, Timestamp};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::answer::{self, AbortOnDrop, Answer, End};
use crate::functions::Lake;
use crate::kept::Kept;
use crate::table::ViewTable;
use crate::{Error, Parameters, Result, Settings, session, statement};

/// Batches that are computed ahead of their reader.
const AHEAD: usize = 4;

/// A statement and how to answer it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// One statement.
    pub sql: String,
    /// Values of its parameters.
    pub parameters: Parameters,
    /// Answer from the table files as they were then; `None`: from everything there is now.
    pub as_of: Option<Timestamp>,
    /// Stop after so many rows.
    pub row_limit: Option<u64>,
    /// Stop after this time, if it is less than the operator's limit.
    pub time_limit: Option<Duration>,
    /// Text as dictionaries, each of one batch: less to send and to read where values repeat.
    pub dictionaries: bool,
}

/// A UTC time as RFC 3339 writes it, such as `2026-05-03T12:00:00Z`; for [`Request::as_of`].
pub fn instant(text: &str) -> Option<Timestamp> {
    let since = humantime::parse_rfc3339_weak(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(Timestamp::from_micros)
}

impl Request {
    /// A statement without parameters.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }
}

/// What is known of a statement before it runs.
#[derive(Debug, Clone)]
pub struct Described {
    /// Columns of its answer; `None` where they depend on a parameter that has no value yet.
    pub schema: Option<SchemaRef>,
    /// Its parameters as columns, in order, called `$1` or `$name`. Where the statement does not tell a type, it is text,
    /// and [`Parameters::check`] takes any.
    pub parameters: SchemaRef,
}

/// How busy the service is, and what it has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Queries that run.
    pub running: usize,
    /// Queries that wait for their turn.
    pub waiting: usize,
    /// Bytes that running queries hold.
    pub memory_bytes: usize,
    /// Queries that came to their end.
    pub answered: u64,
    /// Queries that were refused, failed on the way, or left alone by their reader.
    pub failed: u64,
    /// Rows given.
    pub rows: u64,
    /// Time that queries took, from their turn to their end.
    pub time: Duration,
}

/// Tables of so many rows are read by one thread.
const FEW_ROWS: u64 = 100_000;

/// Stacks of the threads of queries, for plans as deep as the longest chain of operators. Address space, not memory: only
/// what is used is taken.
pub(crate) const STACK_BYTES: usize = 64 << 20;

/// A query that takes longer is told in the log.
const SLOW: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Done {
    answered: AtomicU64,
    failed: AtomicU64,
    rows: AtomicU64,
    micros: AtomicU64,
}

/// What comes of a query, noted when it ends, however it does.
struct Noted<'a> {
    done: &'a Done,
    sql: &'a str,
    started: Instant,
    rows: u64,
    is_whole: bool,
}

impl<'a> Noted<'a> {
    fn new(done: &'a Done, sql: &'a str) -> Self {
        Self { done, sql, started: Instant::now(), rows: 0, is_whole: false }
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let (time, done) = (self.started.elapsed(), self.done);
        if self.is_whole { &done.answered } else { &done.failed }.fetch_add(1, Ordering::Relaxed);
        done.rows.fetch_add(self.rows, Ordering::Relaxed);
        done.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let Self { sql, rows, is_whole, .. } = *self;
        if time >= SLOW {
            tracing::info!(sql, ?time, rows, is_whole, "a slow query");
        } else {
            tracing::debug!(sql, ?time, rows, is_whole, "a query");
        }
    }
}

/// SQL over a lake. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queries(Arc<Inner>);

struct Inner {
    engine: Engine,
    /// A [`SessionState`]. Behind a trait object, as the compiler would otherwise walk through all of DataFusion to prove
    /// that each handler of a door may move between threads.
    base: Arc<dyn Any + Send + Sync>,
    settings: Settings,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    done: Done,
    kept: Kept,
    /// Threads of their own: a heavy query does not stall writes. Taken when it is dropped.
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queries").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Queries {
    /// Queries over the lake that `engine` has open.
    pub fn new(engine: Engine, settings: Settings) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("threads for queries cannot be started: {error}")))?;
        let base: Arc<dyn Any + Send + Sync> = Arc::new(session::base(engine.store().objects(), &settings)?);
        let turns = Arc::new(Semaphore::new(settings.running.max(1)));
        let runtime = Some(runtime);
        Ok(Self(Arc::new(Inner {
            engine,
            base,
            settings,
            turns,
            waiting: AtomicUsize::new(0),
            done: Done::default(),
            kept: Kept::default(),
            runtime,
        })))
    }

    /// Runs a statement. Its errors come here if it is wrong, and with the rows if it fails on the way.
    pub async fn run(&self, request: Request) -> Result<Answer> {
        let turn = self.turn().await?;
        let (head, planned) = oneshot::channel();
        let (rows, batches) = mpsc::channel(AHEAD);
        let end = Arc::new(End::default());
        let door = Door { head, rows, end: Arc::clone(&end) };
        let inner = Arc::clone(&self.0);
        let task = self.runtime().spawn(async move {
            let _turn = turn;
            let mut clock = Clock::new(&request, &inner.settings);
            let mut noted = Noted::new(&inner.done, &request.sql);
            match inner.planned(&request, &mut clock).await {
                Ok(planned) => inner.answer(planned, &request, clock, door, &mut noted).await,
                Err(error) => drop(door.head.send(Err(error))),
            }
        });
        let query = AbortOnDrop(task.abort_handle());
        match planned.await {
            Ok(head) => {
                let (schema, position) = head?;
                Ok(Answer::new(schema, position, batches, end, query))
            }
            Err(_) => Err(match task.await {
                Err(error) if error.is_panic() => Error::Internal("the query failed: please report it".to_owned()),
                _ => Error::Cancelled,
            }),
        }
    }

    /// What a statement's answer will look like, and which parameters it has. Nothing is run.
    pub async fn describe(&self, request: Request) -> Result<Described> {
        let turn = self.turn().await?;
        let inner = Arc::clone(&self.0);
        let task = self.runtime().spawn(async move {
            let _turn = turn;
            let mut clock = Clock::new(&request, &inner.settings);
            match inner.planned(&request, &mut clock).await {
                Ok(planned) => {
                    let schema = answer::outward(planned.plan.schema().as_arrow(), request.dictionaries);
                    let parameters = crate::parameters::schema(&planned.plan)?;
                    // As a rule the answer is asked for next.
                    inner.kept.keep(request, planned);
                    Ok(Described { schema: Some(schema), parameters })
                }
                Err(Error::Unbound(parameters)) => Ok(Described {
                    schema: None,
                    parameters: crate::parameters::unknown(parameters.names.iter().map(String::as_str)),
                }),
                Err(error) => Err(error),
            }
        });
        let _query = AbortOnDrop(task.abort_handle());
        task.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
    }

    /// How busy the service is.
    pub fn load(&self) -> Load {
        let inner = &self.0;
        Load {
            running: inner.settings.running.max(1) - inner.turns.available_permits(),
            waiting: inner.waiting.load(Ordering::Relaxed),
            memory_bytes: inner.base().runtime_env().memory_pool.reserved(),
            answered: inner.done.answered.load(Ordering::Relaxed),
            failed: inner.done.failed.load(Ordering::Relaxed),
            rows: inner.done.rows.load(Ordering::Relaxed),
            time: Duration::from_micros(inner.done.micros.load(Ordering::Relaxed)),
        }
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> &Kept {
        &self.0.kept
    }

    fn runtime(&self) -> &Runtime {
        self.0.runtime.as_ref().expect("it is taken when the last clone is dropped")
    }

    /// Waits for this query's turn, in the order queries came.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let inner = &self.0;
        if let Ok(turn) = Arc::clone(&inner.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let waiting = Waiting::enter(&inner.waiting);
        if waiting.before >= inner.settings.waiting {
            return Err(Error::Busy(waiting.before));
        }
        match tokio::time::timeout(inner.settings.patience, Arc::clone(&inner.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(Error::Cancelled),
            Err(_) => Err(Error::Busy(inner.waiting.load(Ordering::Relaxed))),
        }
    }
}

/// Counts one that waits.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a query's answer goes.
struct Door {
    head: oneshot::Sender<Result<(SchemaRef, Seq)>>,
    rows: mpsc::Sender<Result<RecordBatch>>,
    end: Arc<End>,
}

pub(crate) struct Planned {
    state: SessionState,
    /// The position of the log that it stands at.
    pub(crate) seq: Seq,
    plan: LogicalPlan,
    /// Rows after which the answer ends, and whether that is the operator's limit.
    most: Option<(u64, bool)>,
}

impl Inner {
    fn base(&self) -> Arc<SessionState> {
        Arc::clone(&self.base).downcast().expect("it was made as one")
    }

    async fn view(&self, as_of: Option<Timestamp>) -> Result<View> {
        match as_of {
            None => Ok(self.engine.view()),
            Some(time) => Ok(self.engine.view_as_of(time).await?),
        }
    }

    async fn planned(&self, request: &Request, clock: &mut Clock) -> Result<Planned> {
        let deadline = clock.deadline();
        let planning = async {
            let view = self.view(request.as_of).await?;
            let seq = view.seq();
            if let Some(kept) = self.kept.take(request, seq) {
                return Ok(kept);
            }
            let statement = statement::parse(&request.sql, &request.parameters)?;
            let lake = Lake::new(self.base(), view, deadline);
            let state = session::over_all(&lake);
            let plan = statement::plan(&state, statement, request.parameters.values()).await?;
            self.limited(state, seq, plan, request.row_limit)
        };
        clock.run(planning).await?
    }

    /// One row more than the limit is computed, to know whether there are more.
    fn limited(&self, state: SessionState, seq: Seq, plan: LogicalPlan, wanted: Option<u64>) -> Result<Planned> {
        let most = match (wanted, self.settings.row_limit) {
            (Some(wanted), Some(allowed)) if wanted <= allowed => Some((wanted, false)),
            (_, Some(allowed)) => Some((allowed, true)),
            (Some(wanted), None) => Some((wanted, false)),
            (None, None) => None,
        };
        let is_rows =
            !matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_));
        let plan = match most {
            Some((most, _)) if is_rows => {
                let fetch = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
                LogicalPlanBuilder::from(plan).limit(0, Some(fetch))?.build()?
            }
            _ => plan,
        };
        Ok(Planned { state, seq, plan, most: most.filter(|_| is_rows) })
    }

    async fn answer(
        &self,
        mut planned: Planned,
        request: &Request,
        mut clock: Clock,
        Door { head, rows, end }: Door,
        noted: &mut Noted<'_>,
    ) {
        // The moment that now() stands for.
        planned.state.mark_start_execution();
        let started = clock
            .run(async {
                if reads_little(&planned.plan)? {
                    planned.state.config_mut().options_mut().execution.target_partitions = 1;
                }
                let physical = planned.state.create_physical_plan(&planned.plan).await?;
                Ok::<_, Error>(execute_stream(physical, planned.state.task_ctx())?)
            })
            .await
            .and_then(|started| started);
        let mut batches = match started {
            Ok(batches) => batches,
            Err(error) => return drop(head.send(Err(error))),
        };
        let schema = answer::promised(planned.plan.schema().as_arrow(), &batches.schema(), request.dictionaries);
        if head.send(Ok((Arc::clone(&schema), planned.seq))).is_err() {
            return;
        }
        let mut count = 0u64;
        let is_told = loop {
            let batch = match clock.run(batches.next()).await {
                Ok(None) => {
                    noted.is_whole = true;
                    break true;
                }
                Ok(Some(Ok(batch))) => {
                    let before = count;
                    count += batch.num_rows() as u64;
                    match planned.most {
                        Some((most, true)) if count > most => Err(Error::TooManyRows(most)),
                        Some((most, false)) if count > most => {
                            end.is_truncated.store(true, Ordering::Release);
                            let rest = usize::try_from(most - before).expect("less than the batch has");
                            answer::conform(&batch.slice(0, rest), &schema)
                        }
                        _ => answer::conform(&batch, &schema),
                    }
                }
                Ok(Some(Err(error))) => Err(error.into()),
                Err(error) => Err(error),
            };
            let (is_last, is_whole) = (batch.is_err() || end.is_truncated.load(Ordering::Relaxed), batch.is_ok());
            noted.rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            match rows.send_timeout(batch, self.settings.patience).await {
                Ok(()) if !is_last => {}
                Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                    tracing::debug!(sql = request.sql, "the reader of an answer takes nothing");
                    break rows.try_send(Err(Error::Abandoned(self.settings.patience))).is_ok();
                }
                Ok(()) => {
                    noted.is_whole = is_whole;
                    break true;
                }
                Err(mpsc::error::SendTimeoutError::Closed(_)) => break true,
            }
        };
        end.is_told.store(is_told, Ordering::Release);
    }
}

/// Whether all tables of `plan` together have so few rows that one thread is done before others have begun.
fn reads_little(plan: &LogicalPlan) -> Result<bool> {
    let mut rows = Some(0);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let table = source_as_provider(&scan.source).ok();
            let known = table.as_ref().and_then(|table| table.downcast_ref::<ViewTable>()).map(ViewTable::rows);
            rows = rows.zip(known).map(|(sum, rows)| sum + rows).filter(|rows| *rows <= FEW_ROWS);
        }
        Ok(if rows.is_some() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(rows.is_some())
}

/// The time a query has left; it runs only while the query does.
struct Clock {
    limit: Duration,
    left: Duration,
}

impl Clock {
    fn new(request: &Request, settings: &Settings) -> Self {
        let limit = request.time_limit.map_or(settings.time_limit, |wanted| wanted.min(settings.time_limit));
        Self { limit, left: limit }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.left
    }

    async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let started = Instant::now();
        let done = tokio::time::timeout(self.left, work).await.map_err(|_| Error::TimedOut(self.limit));
        self.left = self.left.saturating_sub(started.elapsed());
        done
    }
}
