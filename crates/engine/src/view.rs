//! A consistent cut: all tables at one position of the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use runlake_lake::NumberedSeries;
use runlake_memtable::{MemTable, SeriesId, SeriesRows, StateRows};
use runlake_types::rows::LatestMetric;
use runlake_types::{Key, KeyBuilder, Point, Record, Row, RunId, Seq, TableId, Timestamp};

use crate::state::Snapshots;
use crate::{Result, TablesState, latest};

/// All tables at one position of the log. Cheap to take and to clone; holds memtables and files alive while it lives.
#[derive(Debug, Clone)]
pub struct View {
    active: MemTable,
    frozen: Vec<Arc<MemTable>>,
    snapshots: Arc<Snapshots>,
}

impl View {
    pub(crate) fn new(active: MemTable, frozen: Vec<Arc<MemTable>>, snapshots: Arc<Snapshots>) -> Self {
        Self { active, frozen, snapshots }
    }

    /// The position of the log this view stands at.
    pub fn seq(&self) -> Seq {
        self.active.through()
    }

    /// Table files of `table` in this view.
    pub fn snapshot(&self, table: TableId) -> &Arc<runlake_lake::Snapshot> {
        self.snapshots.get(table)
    }

    /// Memtables above the files, newest first.
    pub fn memtables(&self) -> impl DoubleEndedIterator<Item = &MemTable> {
        std::iter::once(&self.active).chain(self.frozen.iter().rev().map(Arc::as_ref))
    }

    /// Where some state tables stand in this view.
    pub fn tables_state(&self, tables: &[TableId]) -> TablesState {
        TablesState::of(self, tables)
    }

    /// The row under `key`.
    pub async fn get<R: Row>(&self, key: &Key) -> Result<Option<R>> {
        for memtable in self.memtables() {
            if let Some(row) = memtable.state(R::TABLE).and_then(|rows| rows.get(key)) {
                return row.as_deref().map(R::from_record).transpose().map_err(Into::into);
            }
        }
        let records = self.snapshot(R::TABLE).records(key).await?;
        records
            .iter()
            .find(|(found, _)| found == key)
            .map(|(_, record)| R::from_record(record))
            .transpose()
            .map_err(Into::into)
    }

    /// The rows whose key starts with `prefix`, in key order. An empty prefix takes the whole table.
    pub async fn scan<R: Row>(&self, prefix: &Key) -> Result<Vec<R>> {
        self.scan_all(std::slice::from_ref(prefix)).await
    }

    /// The rows of one run in a table that is keyed by run first.
    pub async fn of_run<R: Row>(&self, run_id: &RunId) -> Result<Vec<R>> {
        self.of_runs(std::slice::from_ref(run_id)).await
    }

    /// The rows of some runs in a table that is keyed by run first, in key order. Each file is read once for all.
    pub async fn of_runs<R: Row>(&self, run_ids: &[RunId]) -> Result<Vec<R>> {
        let mut prefixes: Vec<Key> = run_ids.iter().map(run_prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        self.scan_all(&prefixes).await
    }

    /// As [`Self::scan`], of several prefixes that ascend and of which none starts with another. Each file is read once
    /// for all.
    pub async fn scan_all<R: Row>(&self, prefixes: &[Key]) -> Result<Vec<R>> {
        let files = self.snapshot(R::TABLE).records_of(prefixes).await?;
        self.overlay(R::TABLE, prefixes, files).iter().map(|row| R::from_record(row).map_err(Into::into)).collect()
    }

    fn overlay(&self, table: TableId, prefixes: &[Key], files: Vec<(Key, Record)>) -> Vec<Arc<Record>> {
        let mut changed: BTreeMap<&Key, Option<&Arc<Record>>> = BTreeMap::new();
        for rows in self.memtables().filter_map(|memtable| memtable.state(table)) {
            for prefix in prefixes {
                for (key, row) in rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(prefix)) {
                    changed.entry(key).or_insert(row.as_ref());
                }
            }
        }
        if changed.is_empty() {
            return files.into_iter().map(|(_, record)| Arc::new(record)).collect();
        }
        let mut merged = Vec::with_capacity(files.len() + changed.len());
        let mut changed = changed.into_iter().peekable();
        for (key, record) in files {
            while let Some((_, row)) = changed.next_if(|(next, _)| **next < key) {
                merged.extend(row.cloned());
            }
            match changed.next_if(|(next, _)| **next == key) {
                Some((_, row)) => merged.extend(row.cloned()),
                None => merged.push(Arc::new(record)),
            }
        }
        merged.extend(changed.filter_map(|(_, row)| row.cloned()));
        merged
    }

    /// Rows of a state table that were changed since its files were written, in key order; `None` where a row was deleted.
    /// Those whose key starts with one of `prefixes`, which ascend and of which none starts with another.
    pub fn changed(&self, table: TableId, prefixes: &[Key]) -> Vec<(Key, Option<Arc<Record>>)> {
        let mut generations = self.memtables().filter_map(|memtable| memtable.state(table));
        let Some(newest) = generations.next() else { return Vec::new() };
        let within = |rows: &StateRows| -> Vec<(Key, Option<Arc<Record>>)> {
            let of = |prefix: &Key| {
                let prefix = prefix.clone();
                rows.range(prefix.clone()..)
                    .take_while(move |(key, _)| key.starts_with(&prefix))
                    .map(|(key, row)| (key.clone(), row.clone()))
            };
            prefixes.iter().flat_map(of).collect()
        };
        let mut changed = within(newest);
        for rows in generations {
            // A stable sort leaves the newer of two equal keys first.
            changed.extend(within(rows));
            changed.sort_by(|(a, _), (b, _)| a.cmp(b));
            changed.dedup_by(|(a, _), (b, _)| a == b);
        }
        changed
    }

    /// The metric points above the files, one generation after the other, oldest first.
    pub fn point_generations(&self) -> Vec<Arc<MemTable>> {
        let active = Arc::new(self.active.clone());
        self.frozen.iter().cloned().chain([active]).filter(|generation| !generation.metrics().is_empty()).collect()
    }

    /// For each metric of a run, by key: its last point, extremes, sum and count, identical points counted once.
    pub async fn latest(&self, run_id: &RunId) -> Result<Vec<LatestMetric>> {
        latest::of_run(self, run_id).await
    }

    /// The rows of `latest_metrics` that points in memory have changed, in key order: of some runs, or of all.
    pub async fn changed_latest(&self, of: Option<&[RunId]>) -> Result<Vec<LatestMetric>> {
        latest::changed(self, of).await
    }

    /// Every point of a metric of a run, by (step, timestamp, value); identical points once.
    pub async fn history(&self, run_id: &RunId, key: &str) -> Result<Vec<Point>> {
        let points = self.snapshot(TableId::Metrics).points(run_id, key).await?;
        Ok(self.with_memory(points, run_id, key, |_| true))
    }

    /// Points of a metric of a run from `since` on, about `count` of them if there are as many, and the time up to which
    /// they are complete; `None`: to the end. In the order of [`Self::history`]; others may be among them.
    pub async fn history_since(
        &self,
        run_id: &RunId,
        key: &str,
        since: Timestamp,
        count: usize,
    ) -> Result<(Vec<Point>, Option<Timestamp>)> {
        let (points, until) = self.snapshot(TableId::Metrics).points_since(run_id, key, since, count).await?;
        let wanted = |point: &Point| point.timestamp >= since && until.is_none_or(|until| point.timestamp <= until);
        Ok((self.with_memory(points, run_id, key, wanted), until))
    }

    /// The same points, numbered and for the most part unread; `None` where files and memory have steps in common, so
    /// that only [`Self::history`] tells which point is which.
    pub async fn numbered_history(&self, run_id: &RunId, key: &str) -> Result<Option<NumberedSeries>> {
        let newer = self.with_memory(Vec::new(), run_id, key, |_| true);
        Ok(self.snapshot(TableId::Metrics).numbered(run_id, key, newer).await?)
    }

    fn with_memory(
        &self,
        mut points: Vec<Point>,
        run_id: &RunId,
        key: &str,
        wanted: impl Fn(&Point) -> bool,
    ) -> Vec<Point> {
        let from_files = points.len();
        for memtable in self.memtables().rev() {
            for (_, rows) in memtable.metrics().of_key(run_id, key) {
                points.extend(rows.points().filter(|point| wanted(point)));
            }
        }
        if points.len() > from_files && !points.is_sorted_by(|a, b| a.file_order(b).is_lt()) {
            points.sort_by(Point::file_order);
            points.dedup();
        }
        points
    }

    /// The series of a run that are in memory, oldest generation first.
    pub(crate) fn series_of_run<'a>(
        &'a self,
        run_id: &'a RunId,
    ) -> impl Iterator<Item = (&'a SeriesId, &'a SeriesRows)> {
        self.memtables().rev().flat_map(move |memtable| memtable.metrics().of_run(run_id))
    }
}

fn run_prefix(run_id: &RunId) -> Key {
    KeyBuilder::default().text(run_id.as_str()).build()
}
