//! A consistent cut: all tables at one position of the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use runlake_memtable::{MemTable, SeriesId, SeriesRows};
use runlake_types::rows::LatestMetric;
use runlake_types::{Key, KeyBuilder, Point, Record, Row, RunId, Seq, TableId};

use crate::state::Snapshots;
use crate::{Result, latest};

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
        let files = self.snapshot(R::TABLE).records(prefix).await?;
        self.overlay(R::TABLE, prefix, files).iter().map(|row| R::from_record(row).map_err(Into::into)).collect()
    }

    /// The rows of one run in a table that is keyed by run first.
    pub async fn of_run<R: Row>(&self, run_id: &RunId) -> Result<Vec<R>> {
        self.scan(&KeyBuilder::default().text(run_id.as_str()).build()).await
    }

    fn overlay(&self, table: TableId, prefix: &Key, files: Vec<(Key, Record)>) -> Vec<Arc<Record>> {
        let mut changed: BTreeMap<&Key, Option<&Arc<Record>>> = BTreeMap::new();
        for memtable in self.memtables() {
            let rows = memtable.state(table).into_iter().flat_map(|rows| rows.range(prefix.clone()..));
            for (key, row) in rows.take_while(|(key, _)| key.starts_with(prefix)) {
                changed.entry(key).or_insert(row.as_ref());
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

    /// For each metric of a run, by key: its last point, extremes, sum and count, identical points counted once.
    pub async fn latest(&self, run_id: &RunId) -> Result<Vec<LatestMetric>> {
        latest::of_run(self, run_id).await
    }

    /// Every point of a metric of a run, by (step, timestamp, value); identical points once.
    pub async fn history(&self, run_id: &RunId, key: &str) -> Result<Vec<Point>> {
        let mut points = self.snapshot(TableId::Metrics).points(run_id, key).await?;
        let from_files = points.len();
        for memtable in self.memtables().rev() {
            for (_, rows) in memtable.metrics().of_key(run_id, key) {
                points.extend(rows.points());
            }
        }
        if points.len() > from_files && !points.is_sorted_by(|a, b| a.file_order(b).is_lt()) {
            points.sort_by(Point::file_order);
            points.dedup();
        }
        Ok(points)
    }

    /// The series of a run that are in memory, oldest generation first.
    pub(crate) fn series_of_run<'a>(
        &'a self,
        run_id: &'a RunId,
    ) -> impl Iterator<Item = (&'a SeriesId, &'a SeriesRows)> {
        self.memtables().rev().flat_map(move |memtable| memtable.metrics().of_run(run_id))
    }
}
