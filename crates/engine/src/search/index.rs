//! The runs in columns.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use runlake_types::rows::{LatestMetric, Lifecycle, Param, Row as _, Run, RunInput, RunStatus, Tag};
use runlake_types::{ExperimentId, Key, KeyBuilder, Record, RunId, TableId, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use super::column::{MetricColumn, TextColumn};
use super::{Column, LatestPoint, MetricField, RunData};
use crate::latest::{self, Merged};
use crate::{Result, View};

/// Tag of a dataset input that says what it was used for (MLflow's name; the one such name the index knows).
const CONTEXT_TAG: &str = "mlflow.data.context";

/// All runs, numbered in the order they were met.
#[derive(Debug, Default)]
pub(crate) struct Index {
    runs: Vec<RunRow>,
    number_of: FxHashMap<RunId, u32>,
    /// Runs of each experiment by start time, oldest (or without one) first, then by descending id: read backwards it
    /// is the order every search ends with.
    experiments: FxHashMap<ExperimentId, Vec<u32>>,
    texts: Interner,
    pub(super) params: Columns<TextColumn>,
    pub(super) tags: Columns<TextColumn>,
    pub(super) metrics: Columns<MetricColumn>,
    datasets: FxHashMap<u32, Vec<DatasetInput>>,
}

/// A run, with texts that many runs share stored once.
#[derive(Debug, Clone)]
pub(super) struct RunRow {
    pub(super) run_id: RunId,
    pub(super) experiment_id: ExperimentId,
    pub(super) name: Box<str>,
    pub(super) user: Arc<str>,
    pub(super) status: RunStatus,
    pub(super) lifecycle: Lifecycle,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
    deleted: Option<Timestamp>,
    artifacts: ArtifactUri,
    parent: Option<Box<str>>,
}

/// Nearly every artifact URI is `<experiment's place>/<run id>/artifacts`.
#[derive(Debug, Clone)]
enum ArtifactUri {
    Usual(Arc<str>),
    Other(Box<str>),
}

/// A dataset that went into a run.
#[derive(Debug, Clone)]
pub(super) struct DatasetInput {
    id: Box<str>,
    pub(super) name: Box<str>,
    pub(super) digest: Box<str>,
    pub(super) context: Option<Box<str>>,
}

/// A metric whose parts may share points: only its history tells count and sum.
#[derive(Debug)]
pub(crate) struct Doubt {
    pub(crate) run_id: RunId,
    pub(crate) key: Arc<str>,
    pub(crate) merged: Merged,
}

/// Columns by key, in the order they were met.
#[derive(Debug, Default)]
pub(super) struct Columns<C> {
    columns: Vec<(Box<str>, C)>,
    position_of: FxHashMap<Box<str>, usize>,
}

impl<C: Default> Columns<C> {
    pub(super) fn get(&self, key: &str) -> Option<&C> {
        self.position_of.get(key).map(|at| &self.columns[*at].1)
    }

    pub(super) fn of(&mut self, key: &str) -> &mut C {
        let at = self.position(key);
        &mut self.columns[at].1
    }

    /// As [`Self::of`], for keys that come in about the same order again and again; `last` is where the one before was.
    pub(super) fn of_next(&mut self, key: &str, last: &mut usize) -> &mut C {
        let next = *last + 1;
        let at = match self.columns.get(next) {
            Some((name, _)) if **name == *key => next,
            _ => self.position(key),
        };
        *last = at;
        &mut self.columns[at].1
    }

    fn position(&mut self, key: &str) -> usize {
        if let Some(at) = self.position_of.get(key) {
            return *at;
        }
        let at = self.columns.len();
        self.columns.push((key.into(), C::default()));
        self.position_of.insert(key.into(), at);
        at
    }

    fn sorted(&self) -> Vec<(&str, &C)> {
        let mut columns: Vec<_> = self.columns.iter().map(|(key, column)| (key.as_ref(), column)).collect();
        columns.sort_unstable_by_key(|(key, _)| *key);
        columns
    }
}

#[derive(Debug, Default)]
struct Interner(FxHashSet<Arc<str>>);

impl Interner {
    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}

impl Index {
    /// Number of runs.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Makes room for that many runs.
    pub(super) fn reserve(&mut self, runs: usize) {
        self.runs.reserve(runs);
        self.number_of.reserve(runs);
    }

    /// As [`Self::number`], for runs that come in about the order they are numbered in; `last` is the one before.
    pub(super) fn next_number(&self, run_id: &str, last: &mut u32) -> Option<u32> {
        let next = *last + 1;
        let number = match self.runs.get(next as usize) {
            Some(run) if run.run_id.as_str() == run_id => next,
            _ => self.number(run_id)?,
        };
        *last = number;
        Some(number)
    }

    pub(super) fn run(&self, number: u32) -> &RunRow {
        &self.runs[number as usize]
    }

    pub(super) fn number(&self, run_id: &str) -> Option<u32> {
        self.number_of.get(run_id).copied()
    }

    /// Runs of an experiment in the order every search ends with: newest first, then by id.
    pub(super) fn of_experiment(&self, experiment_id: ExperimentId) -> impl Iterator<Item = u32> + '_ {
        self.experiments.get(&experiment_id).into_iter().flat_map(|runs| runs.iter().rev().copied())
    }

    pub(super) fn datasets(&self, run: u32) -> &[DatasetInput] {
        self.datasets.get(&run).map_or(&[], Vec::as_slice)
    }

    pub(super) fn metric(&self, run: u32, key: &str, field: MetricField) -> Option<f64> {
        self.metrics.get(key)?.field(run, field)
    }

    /// The texts of a param or tag column.
    pub(super) fn text_column(&self, column: &Column) -> Option<&TextColumn> {
        match column {
            Column::Param(key) => self.params.get(key),
            Column::Tag(key) => self.tags.get(key),
            Column::Attribute(_) | Column::Metric(..) => None,
        }
    }

    /// Adds a run, or replaces what is known of it. With `sort` its experiment's order is kept.
    pub(super) fn set_run(&mut self, run: &Run, sort: bool) -> u32 {
        let row = self.row_of(run);
        match self.number_of.entry(run.run_id.clone()) {
            Entry::Occupied(entry) => {
                let number = *entry.get();
                let old = std::mem::replace(&mut self.runs[number as usize], row);
                if old.start != run.start_time {
                    self.sort_experiment(run.experiment_id);
                }
                number
            }
            Entry::Vacant(entry) => {
                let number = u32::try_from(self.runs.len()).expect("fewer runs than u32 counts");
                entry.insert(number);
                self.runs.push(row);
                let order = self.experiments.entry(run.experiment_id).or_default();
                if sort {
                    let runs = &self.runs;
                    let at = order.partition_point(|other| sort_key(runs, *other) < sort_key(runs, number));
                    order.insert(at, number);
                } else {
                    order.push(number);
                }
                number
            }
        }
    }

    pub(super) fn sort_all(&mut self) {
        for order in self.experiments.values_mut() {
            order.sort_unstable_by(|a, b| sort_key(&self.runs, *a).cmp(&sort_key(&self.runs, *b)));
        }
    }

    fn sort_experiment(&mut self, experiment_id: ExperimentId) {
        if let Some(order) = self.experiments.get_mut(&experiment_id) {
            order.sort_unstable_by(|a, b| sort_key(&self.runs, *a).cmp(&sort_key(&self.runs, *b)));
        }
    }

    fn row_of(&mut self, run: &Run) -> RunRow {
        let usual = run
            .artifact_uri
            .strip_suffix("/artifacts")
            .and_then(|rest| rest.strip_suffix(run.run_id.as_str()))
            .map(|place| ArtifactUri::Usual(self.texts.intern(place)));
        RunRow {
            run_id: run.run_id.clone(),
            experiment_id: run.experiment_id,
            name: run.run_name.as_str().into(),
            user: self.texts.intern(&run.user_id),
            status: run.status,
            lifecycle: run.lifecycle_stage,
            start: run.start_time,
            end: run.end_time,
            deleted: run.deleted_time,
            artifacts: usual.unwrap_or_else(|| ArtifactUri::Other(run.artifact_uri.as_str().into())),
            parent: run.parent_run_id.as_deref().map(Into::into),
        }
    }

    pub(super) fn set_dataset(&mut self, run: u32, input: &RunInput) {
        let (Some(name), Some(digest)) = (&input.dataset_name, &input.dataset_digest) else {
            return;
        };
        let context = input.tags.iter().find(|(key, _)| key == CONTEXT_TAG).map(|(_, value)| value.as_str().into());
        let entry = DatasetInput {
            id: input.input_id.as_str().into(),
            name: name.as_str().into(),
            digest: digest.as_str().into(),
            context,
        };
        let inputs = self.datasets.entry(run).or_default();
        match inputs.iter_mut().find(|known| known.id == entry.id) {
            Some(known) => *known = entry,
            None => inputs.push(entry),
        }
    }

    /// A row of `latest_metrics` that a file holds.
    pub(crate) fn set_flushed(&mut self, row: &LatestMetric) {
        if let Some(run) = self.number(row.run_id.as_str()) {
            let runs = self.runs.len();
            self.metrics.of(&row.key).set_flushed(run, &latest::aggregate_of(row), runs);
        }
    }

    /// A metric whose points were folded anew.
    pub(crate) fn set_metric(&mut self, row: &LatestMetric) {
        if let Some(run) = self.number(row.run_id.as_str()) {
            let runs = self.runs.len();
            self.metrics.of(&row.key).set(run, &latest::aggregate_of(row), runs);
        }
    }

    /// Takes in all that the memtables of `view` hold of a run. Metrics whose parts may share points are left for the
    /// caller to look up.
    pub(crate) fn refresh(&mut self, view: &View, run_id: &RunId, doubts: &mut Vec<Doubt>) -> Result<()> {
        let prefix = KeyBuilder::default().text(run_id.as_str()).build();
        for table in [TableId::Runs, TableId::Params, TableId::Tags, TableId::RunInputs] {
            for memtable in view.memtables().rev() {
                let rows = memtable.state(table).into_iter().flat_map(|rows| rows.range(prefix.clone()..));
                for (key, row) in rows.take_while(|(key, _)| key.starts_with(&prefix)) {
                    self.set_row(table, key, run_id, row.as_deref())?;
                }
            }
        }
        let Some(run) = self.number(run_id.as_str()) else {
            return Ok(());
        };
        let mut fresh: FxHashMap<&Arc<str>, Merged> = FxHashMap::default();
        for (id, rows) in view.series_of_run(run_id) {
            match fresh.entry(&id.key) {
                Entry::Occupied(mut entry) => entry.get_mut().add(rows.aggregate()),
                Entry::Vacant(entry) => {
                    entry.insert(Merged::new(rows.experiment_id(), *rows.aggregate()));
                }
            }
        }
        let runs = self.runs.len();
        for (key, mut merged) in fresh {
            let column = self.metrics.of(key);
            if let Some(flushed) = column.flushed(run) {
                merged.add(&flushed);
            }
            column.set(run, &merged.aggregate, runs);
            if merged.inexact {
                doubts.push(Doubt { run_id: run_id.clone(), key: Arc::clone(key), merged });
            }
        }
        Ok(())
    }

    fn set_row(&mut self, table: TableId, key: &Key, run_id: &RunId, row: Option<&Record>) -> Result<()> {
        match (table, row) {
            (TableId::Runs, Some(row)) => {
                self.set_run(&Run::from_record(row)?, true);
            }
            (TableId::Params | TableId::Tags | TableId::RunInputs, row) => {
                let Some(run) = self.number(run_id.as_str()) else {
                    return Ok(());
                };
                self.set_row_of(table, key, run, row)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_row_of(&mut self, table: TableId, key: &Key, run: u32, row: Option<&Record>) -> Result<()> {
        let runs = self.runs.len();
        match (table, row) {
            (TableId::Params, Some(row)) => {
                let param = Param::from_record(row)?;
                self.params.of(&param.key).set(run, &param.value, runs);
            }
            (TableId::Tags, Some(row)) => {
                let tag = Tag::from_record(row)?;
                self.tags.of(&tag.key).set(run, &tag.value, runs);
            }
            (TableId::RunInputs, Some(row)) => self.set_dataset(run, &RunInput::from_record(row)?),
            (TableId::Params, None) => self.params.of(&key.text_column(1)).unset(run),
            (TableId::Tags, None) => self.tags.of(&key.text_column(1)).unset(run),
            _ => {}
        }
        Ok(())
    }

    /// The runs of a page with all that hangs on them.
    pub(super) fn assemble(&self, runs: &[u32]) -> Vec<RunData> {
        let mut page: Vec<RunData> = runs
            .iter()
            .map(|run| RunData {
                run: self.run(*run).to_run(),
                params: Vec::new(),
                tags: Vec::new(),
                metrics: Vec::new(),
            })
            .collect();
        for (key, column) in self.params.sorted() {
            for (data, run) in page.iter_mut().zip(runs) {
                data.params.extend(column.get(*run).map(|value| (key.to_owned(), value.to_owned())));
            }
        }
        for (key, column) in self.tags.sorted() {
            for (data, run) in page.iter_mut().zip(runs) {
                data.tags.extend(column.get(*run).map(|value| (key.to_owned(), value.to_owned())));
            }
        }
        for (key, column) in self.metrics.sorted() {
            for (data, run) in page.iter_mut().zip(runs) {
                data.metrics.extend(column.point(*run).map(|point| LatestPoint {
                    key: key.to_owned(),
                    step: point.step,
                    timestamp: point.timestamp,
                    value: point.value,
                }));
            }
        }
        page
    }
}

impl RunRow {
    pub(super) fn artifact_uri(&self) -> String {
        match &self.artifacts {
            ArtifactUri::Usual(place) => format!("{place}{}/artifacts", self.run_id),
            ArtifactUri::Other(uri) => uri.to_string(),
        }
    }

    fn to_run(&self) -> Run {
        Run {
            run_id: self.run_id.clone(),
            experiment_id: self.experiment_id,
            run_name: self.name.to_string(),
            user_id: self.user.to_string(),
            status: self.status,
            start_time: self.start,
            end_time: self.end,
            lifecycle_stage: self.lifecycle,
            deleted_time: self.deleted,
            artifact_uri: self.artifact_uri(),
            parent_run_id: self.parent.as_deref().map(str::to_owned),
        }
    }
}

fn sort_key(runs: &[RunRow], number: u32) -> (Option<Timestamp>, std::cmp::Reverse<&RunId>) {
    let run = &runs[number as usize];
    (run.start, std::cmp::Reverse(&run.run_id))
}
