//! Bulk writes: Arrow batches of metric points, params or tags of any number of runs, of new runs, or of
//! what served models answered, each batch all or nothing.
//!
//! A batch goes two steps. [`Rows::read`] looks at it alone: its columns, their types, keys, lengths, times; it knows
//! nothing of the lake. The door then asks which runs and models it is about, and whether the caller may write to them.
//! [`Tracking::ingest`] checks the rows against the runs, under the locks of all of them, and queues one write; the
//! answer, an [`Ingested`], resolves when that is durable and visible. So a stream of batches can have several under way.
//!
//! A batch may have a name. One whose name was written before is answered like the first and not written again.

mod columns;
mod ids;
mod inferences;
mod metrics;
mod pairs;
mod runs;
mod texts;

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use futures::{StreamExt as _, stream};
use runlake_engine::{RunEntry, RunGuard};
use runlake_types::rows::IngestedBatch;
use runlake_types::{ErrorKind, ExperimentId, RunId, Timestamp, WriteBatch};
use rustc_hash::FxHashSet;

use crate::runs::{SMALL_WRITE_BYTES, check_active, no_run};
use crate::{Error, Result, Tracking, text, validate};

pub use ids::BatchId;
pub(crate) use ids::BatchIds;

use ids::{Claimed, Fate};
use inferences::InferenceRows;
use metrics::MetricRows;
use pairs::PairRows;
use runs::RunRows;
use texts::Texts;

/// Runs loaded at a time.
const RUN_LOADS: usize = 32;
/// Rows of one batch at most.
pub const MOST_ROWS: usize = 1 << 20;

/// What rows can be sent in bulk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Metric points.
    Metrics,
    /// Params.
    Params,
    /// Tags.
    Tags,
    /// Runs that are not there yet.
    Runs,
    /// What served models were asked and answered.
    InferenceLog,
}

impl Target {
    /// The table of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "metrics" => Some(Self::Metrics),
            "params" => Some(Self::Params),
            "tags" => Some(Self::Tags),
            "runs" => Some(Self::Runs),
            "inference_log" => Some(Self::InferenceLog),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Params => "params",
            Self::Tags => "tags",
            Self::Runs => "runs",
            Self::InferenceLog => "inference_log",
        }
    }

    /// Whether batches of this schema can be read at all; [`Rows::read`] says the same of each.
    pub fn check_schema(self, schema: &Schema) -> Result<()> {
        columns::check(self, schema)
    }
}

/// A batch that was not taken, nothing of it written.
#[derive(Debug)]
pub struct Refused {
    /// The row that is to blame, from 0, where one is.
    pub row: Option<usize>,
    /// What is wrong.
    pub error: Error,
}

impl Refused {
    /// What the sender should do about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    fn at(row: usize, error: Error) -> Self {
        Self { row: Some(row), error }
    }

    fn invalid(row: usize, message: impl Into<String>) -> Self {
        Self::at(row, Error::invalid(message))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "row {row}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { row: None, error }
    }
}

impl From<runlake_engine::Error> for Refused {
    fn from(error: runlake_engine::Error) -> Self {
        Error::from(error).into()
    }
}

/// A run that a batch is about.
#[derive(Debug, Clone)]
pub struct NamedRun {
    /// Its id, as given.
    pub run_id: RunId,
    /// The first row about it.
    pub row: usize,
}

/// What a batch says of the experiment of a run.
#[derive(Debug, Clone, Copy)]
struct Home {
    /// Number of the run in the batch.
    run: u32,
    experiment: ExperimentId,
    row: usize,
}

/// A batch whose contents are in order, as far as they can be judged without the lake.
#[derive(Debug)]
pub struct Rows {
    count: usize,
    runs: Vec<NamedRun>,
    homes: Vec<Home>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Metrics(MetricRows),
    Params(PairRows),
    Tags(PairRows),
    Runs(RunRows),
    Inferences(InferenceRows),
}

impl Content {
    fn models(&self) -> &[(String, usize)] {
        match self {
            Self::Metrics(rows) => rows.models(),
            Self::Params(_) | Self::Tags(_) | Self::Runs(_) | Self::Inferences(_) => &[],
        }
    }
}

impl Rows {
    /// Reads a batch for `target`. Points without a time are given `now`; values that are too long are cut where
    /// `cut` says so, and refused elsewhere.
    pub fn read(target: Target, batch: &RecordBatch, now: Timestamp, cut: bool) -> Result<Self, Refused> {
        columns::check(target, batch.schema_ref())?;
        if batch.num_rows() > MOST_ROWS {
            return Err(Error::invalid(format!(
                "a batch has at most {MOST_ROWS} rows, and this one {}; send several",
                batch.num_rows()
            ))
            .into());
        }
        match target {
            Target::Metrics => metrics::read(batch, now),
            Target::Params => pairs::read(batch, pairs::Kind::Param, cut),
            Target::Tags => pairs::read(batch, pairs::Kind::Tag, cut),
            Target::Runs => runs::read(batch, now, cut),
            Target::InferenceLog => inferences::read(batch, now),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The runs it is about, each once; none that it makes.
    pub fn runs(&self) -> &[NamedRun] {
        &self.runs
    }

    /// The logged models that points are attached to, each once, with the first row that names it.
    pub fn models(&self) -> impl Iterator<Item = (&str, usize)> {
        self.content.models().iter().map(|(model, row)| (model.as_str(), *row))
    }

    /// The experiments that it makes runs in, each with the first row that names it.
    pub fn experiments(&self) -> &[(ExperimentId, usize)] {
        match &self.content {
            Content::Runs(rows) => rows.experiments(),
            Content::Metrics(_) | Content::Params(_) | Content::Tags(_) | Content::Inferences(_) => &[],
        }
    }

    /// The registered models whose answers it tells of, each once, with the first row that does; `None` stands for models
    /// that are not registered.
    pub fn registered(&self) -> &[(Option<String>, usize)] {
        match &self.content {
            Content::Inferences(rows) => rows.registered(),
            Content::Metrics(_) | Content::Params(_) | Content::Tags(_) | Content::Runs(_) => &[],
        }
    }

    /// Bytes the write will take, roughly.
    pub fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Metrics(rows) => rows.bytes(),
            Content::Params(rows) | Content::Tags(rows) => rows.bytes(),
            Content::Runs(rows) => rows.bytes(),
            Content::Inferences(rows) => rows.bytes(),
        };
        SMALL_WRITE_BYTES + content
    }
}

/// A batch that was taken and is on its way to the log.
#[derive(Debug)]
pub struct Ingested {
    rows: usize,
    fate: Option<Fate>,
    ids: Option<(Tracking, BatchId)>,
}

impl Ingested {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns when the rows are durable and visible. It may be dropped while it waits, and asked again.
    pub async fn durable(&mut self) -> Result<()> {
        if let Some(fate) = &mut self.fate {
            let outcome = fate.await;
            // Not to be asked again once it has answered.
            self.fate = None;
            if let Some((tracking, id)) = self.ids.take() {
                tracking.inner.batch_ids.settled(&id);
            }
            outcome?;
        }
        Ok(())
    }
}

impl Tracking {
    /// Queues a batch: all of it or none. `id` is the name its sender gave it.
    ///
    /// The batch is durable and visible only when the answer's [`Ingested::durable`] says so. The checks of a later call
    /// already see what this one wrote.
    pub async fn ingest(&self, rows: Rows, id: Option<BatchId>) -> Result<Ingested, Refused> {
        let engine = &self.inner.engine;
        if engine.is_read_only() {
            return Err(runlake_engine::Error::ReadOnly.into());
        }
        let count = rows.len();
        let claim = match id {
            None => None,
            Some(id) => match self.claim(id.clone()).await? {
                Claimed::New(claim) => Some(claim),
                Claimed::Written(fate) => {
                    let ids = fate.is_some().then(|| (self.clone(), id));
                    return Ok(Ingested { rows: count, fate, ids });
                }
            },
        };
        engine.admit(rows.bytes()).await?;
        let Rows { runs, homes, content, .. } = match rows.content {
            Content::Runs(rows) => return self.make_runs(rows, claim).await,
            _ => rows,
        };
        let entries = self.entries(&runs).await?;
        self.check_models_of(&content).await?;
        let ticket = {
            let mut write = WriteBatch::default();
            let (mut guards, guard_of) = lock(&entries);
            for (run, at) in runs.iter().zip(&guard_of) {
                check_active(&guards[*at].run).map_err(|error| Refused::at(run.row, error))?;
            }
            check_homes(&homes, &guards, &guard_of)?;
            if let Some(claim) = &claim {
                let (user_name, batch_id) = claim.name();
                let rows = i64::try_from(count).unwrap_or(i64::MAX);
                write.put(&IngestedBatch { user_name, batch_id, time: self.now(), rows });
            }
            let written = match content {
                Content::Metrics(points) => points.write(&mut guards, &guard_of, &mut write),
                Content::Params(params) => params.write_params(&mut guards, &guard_of, &mut write)?,
                Content::Tags(tags) => tags.write_tags(&mut guards, &guard_of, &mut write),
                Content::Inferences(rows) => rows.write(&mut write),
                // They went their own way above.
                Content::Runs(_) => 0,
            };
            let ticket = engine.submit(write)?;
            for guard in &mut guards {
                guard.joined(&ticket, written / entries.len().max(1));
            }
            ticket
        };
        let fate = Fate::of(ticket);
        let ids = claim.map(|claim| (self.clone(), claim.submitted(fate.clone())));
        Ok(Ingested { rows: count, fate: Some(fate), ids })
    }

    /// The states of the runs, in the order of the batch.
    async fn entries(&self, runs: &[NamedRun]) -> Result<Vec<Arc<RunEntry>>, Refused> {
        let states = self.inner.engine.runs();
        let mut loads =
            stream::iter(runs.iter().map(|run| states.get(&run.run_id)).collect::<Vec<_>>()).buffered(RUN_LOADS);
        let mut entries = Vec::with_capacity(runs.len());
        while let Some(entry) = loads.next().await {
            let run = &runs[entries.len()];
            entries.push(entry?.ok_or_else(|| Refused::at(run.row, no_run(run.run_id.as_str())))?);
        }
        Ok(entries)
    }

    async fn check_models_of(&self, content: &Content) -> Result<(), Refused> {
        // Collected before the first await, so that the future is `Send` for callers of any lifetime.
        let models: Vec<(String, usize)> = content.models().to_vec();
        for (model_id, row) in models {
            self.check_model(&model_id).await.map_err(|error| Refused::at(row, error))?;
        }
        Ok(())
    }
}

/// The runs that rows name, in the order in which they do.
fn runs_of(run_ids: &Texts<'_>) -> Result<Vec<NamedRun>, Refused> {
    let read = |(text, row): &(&str, usize)| match validate::run_id(text) {
        Ok(run_id) => Ok(NamedRun { run_id, row: *row }),
        Err(error) => Err(Refused::at(*row, error)),
    };
    run_ids.distinct.iter().map(read).collect()
}

/// The experiments that texts name, in their order.
fn experiments_of(given: &Texts<'_>) -> Result<Vec<ExperimentId>, Refused> {
    given.distinct.iter().map(|(text, row)| experiment(text, *row)).collect()
}

fn experiment(text: &str, row: usize) -> Result<ExperimentId, Refused> {
    ExperimentId::parse(text).map_err(|_| {
        let why = format!("Invalid experiment ID {}. Experiment ID must be a valid integer.", text::quoted(text));
        Refused::invalid(row, why)
    })
}

/// What rows say of the experiments of their runs, each saying once.
fn homes_of(batch: &RecordBatch, run_ids: &Texts<'_>) -> Result<Vec<Home>, Refused> {
    let Some(given) = Texts::optional(batch, "experiment_id")? else { return Ok(Vec::new()) };
    // The empty text, which stands for none, is not asked for below.
    let read = |(text, row): &(&str, usize)| {
        if text.is_empty() { Ok(ExperimentId::DEFAULT) } else { experiment(text, *row) }
    };
    let experiments = given.distinct.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut seen: FxHashSet<(u32, u32)> = FxHashSet::default();
    let mut homes = Vec::new();
    let mut last = None;
    for (row, pair) in run_ids.codes.iter().copied().zip(given.codes.iter().copied()).enumerate() {
        if last == Some(pair) || pair.1 == texts::NONE {
            continue;
        }
        last = Some(pair);
        if seen.insert(pair) {
            homes.push(Home { run: pair.0, experiment: experiments[pair.1 as usize], row });
        }
    }
    Ok(homes)
}

/// That the batch's word for the experiments of runs is right.
fn check_homes(homes: &[Home], guards: &[RunGuard<'_>], guard_of: &[usize]) -> Result<(), Refused> {
    for home in homes {
        let run = &guards[guard_of[home.run as usize]].run;
        if run.experiment_id != home.experiment {
            let (id, own, other) = (&run.run_id, run.experiment_id, home.experiment);
            let message = format!("the run {id} is in experiment {own}, not in {other}");
            return Err(Refused::invalid(home.row, message));
        }
    }
    Ok(())
}

/// Locks all runs, in the order of their ids: whoever locks several does so, and nobody waits in a circle. Returns the
/// guards, and for each entry the place of its guard.
fn lock(entries: &[Arc<RunEntry>]) -> (Vec<RunGuard<'_>>, Vec<usize>) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_unstable_by(|a, b| entries[*a].run_id().cmp(entries[*b].run_id()));
    let mut guard_of = vec![0; entries.len()];
    let mut guards = Vec::with_capacity(entries.len());
    for (place, entry) in order.into_iter().enumerate() {
        guard_of[entry] = place;
        guards.push(entries[entry].lock());
    }
    (guards, guard_of)
}

#[cfg(test)]
mod tests;
