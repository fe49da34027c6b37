//! Queryable rows that no table file holds yet.
//!
//! A [`MemTable`] is one generation: everything that became durable after one flush was cut and before the next one is.
//! The engine's writer applies groups to the active generation; the flusher freezes it and writes it to table files.
//! All of it is made of persistent collections, so that a reader's snapshot (`clone`) costs a few reference counts and
//! never sees a later write: that is half of the consistent cut, the other half being the tables' watermarks.
//!
//! The crate knows nothing of logs, files or tasks.

mod metrics;
mod points;
mod series;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use imbl::OrdMap;
use metrics::SortedBatches;
use runlake_types::{Change, Key, Record, RunId, Seq, TableId, WriteBatch};
use std::sync::Arc;

pub use metrics::{MetricTable, SeriesId};
pub use series::SeriesRows;

/// Rows of a state table by key; `None` marks a deletion that hides rows of older generations and files.
pub type StateRows = OrdMap<Key, Option<Arc<Record>>>;

/// One generation of rows of all tables.
#[derive(Clone, Default)]
pub struct MemTable {
    through: Seq,
    state: Vec<StateRows>,
    metrics: MetricTable,
    state_bytes: usize,
}

impl MemTable {
    /// An empty generation that follows everything up to `through`.
    pub fn new(through: Seq) -> Self {
        Self { through, ..Self::default() }
    }

    /// Applies what became durable at `seq`, in parts. Changes are applied in order.
    ///
    /// # Panics
    /// In debug builds, if `seq` does not come after everything applied before.
    pub fn apply(&mut self, seq: Seq, parts: &[WriteBatch]) {
        debug_assert!(seq > self.through, "{seq} after {}", self.through);
        for part in parts {
            self.metrics.insert(&part.metrics);
            part.changes.iter().for_each(|change| self.apply_change(change));
        }
        self.through = seq;
    }

    /// Applies one change of a state table without moving [`Self::through`]: replay of a table that a crash left behind
    /// the others.
    pub fn apply_change(&mut self, change: &Change) {
        let index = change.table as usize;
        if self.state.len() <= index {
            self.state.resize_with(index + 1, OrdMap::new);
        }
        self.state_bytes += change.bytes();
        if let Some(Some(old)) = self.state[index].insert(change.key.clone(), change.row.clone()) {
            self.state_bytes = self.state_bytes.saturating_sub(old.bytes());
        }
    }

    /// Applies points alone, for the same purpose as [`Self::apply_change`].
    pub fn apply_metrics(&mut self, batch: &runlake_types::MetricBatch) {
        self.metrics.insert(batch);
    }

    /// Says that everything up to `seq` has been applied or was of no concern here.
    pub fn advance(&mut self, seq: Seq) {
        self.through = self.through.max(seq);
    }

    /// The last position applied.
    pub fn through(&self) -> Seq {
        self.through
    }

    /// Changed rows of a state table, in key order; `None` when it has none.
    pub fn state(&self, table: TableId) -> Option<&StateRows> {
        self.state.get(table as usize).filter(|rows| !rows.is_empty())
    }

    /// Metric points.
    pub fn metrics(&self) -> &MetricTable {
        &self.metrics
    }

    /// The metric points of a frozen generation as batches for a table file: sorted by the table's order, text
    /// dictionary-encoded, about `rows` rows each. Made as they are asked for, so that few are in memory.
    pub fn sorted_metrics(
        generation: Arc<Self>,
        rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static {
        SortedBatches::new(generation, rows)
    }

    /// The same, of some runs only, which ascend.
    pub fn sorted_metrics_of(
        generation: Arc<Self>,
        runs: Vec<RunId>,
        rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static {
        SortedBatches::of_runs(generation, runs, rows)
    }

    /// Memory the rows take, roughly: what the budget counts.
    pub fn bytes(&self) -> usize {
        self.state_bytes + self.metrics.bytes()
    }

    /// Whether there is nothing to flush.
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty() && self.state.iter().all(OrdMap::is_empty)
    }
}

impl std::fmt::Debug for MemTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemTable")
            .field("through", &self.through)
            .field("points", &self.metrics.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
