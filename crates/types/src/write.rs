//! What a write is on its way down: metric points and changed rows that become durable and visible together.

use crate::{Key, MetricBatch, Record, Row, TableId};

/// Position in the log of a lake. Each group of writes that became durable together has one; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Term of a writer. Each server that opens a lake for writing claims the next one; only the highest may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One row of a state table set or deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The state table.
    pub table: TableId,
    /// Primary key of the row.
    pub key: Key,
    /// The new row, or `None` to delete the one under `key`. Boxed cells are shared by WAL, memtable and readers.
    pub row: Option<std::sync::Arc<Record>>,
}

impl Change {
    /// Sets a row: inserts it, or replaces the one with its key.
    pub fn put<R: Row>(row: &R) -> Self {
        Self { table: R::TABLE, key: row.key(), row: Some(std::sync::Arc::new(row.to_record())) }
    }

    /// Deletes the row under `key`; no row there is fine.
    pub fn delete(table: TableId, key: Key) -> Self {
        Self { table, key, row: None }
    }

    /// Heap bytes this change holds, roughly.
    pub fn bytes(&self) -> usize {
        std::mem::size_of::<Self>() + self.key.as_bytes().len() + self.row.as_ref().map_or(0, |row| row.bytes())
    }
}

/// A write: all of it becomes durable and visible at one [`Seq`], or none of it does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriteBatch {
    /// Points for the `metrics` facts (and, derived from them, `latest_metrics`).
    pub metrics: MetricBatch,
    /// Changes of state tables, in order: a later change of a key wins.
    pub changes: Vec<Change>,
}

impl WriteBatch {
    /// Adds one changed row.
    pub fn put<R: Row>(&mut self, row: &R) -> &mut Self {
        self.changes.push(Change::put(row));
        self
    }

    /// Adds one deletion.
    pub fn delete(&mut self, table: TableId, key: Key) -> &mut Self {
        self.changes.push(Change::delete(table, key));
        self
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty() && self.changes.is_empty()
    }

    /// Memory this write takes until it is flushed, roughly: what back-pressure counts.
    pub fn bytes(&self) -> usize {
        self.metrics.bytes() + self.changes.iter().map(Change::bytes).sum::<usize>()
    }
}
