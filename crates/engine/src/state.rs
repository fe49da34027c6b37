//! What is true now: the active memtable, the frozen ones on their way to files, and the files.
//!
//! One lock guards them together, held only to apply a group, to freeze, to publish or to take a [`View`]; none of these
//! waits for I/O. That is what makes a view consistent: it never sees half a group, nor a row both in memory and in a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use runlake_lake::Snapshot;
use runlake_memtable::MemTable;
use runlake_types::{RunId, Seq, TableId, WriteBatch};

use crate::View;

/// Runs noted for the search index before their list is made distinct, or given up.
const TOUCHED_MAX: usize = 1 << 20;

/// The published snapshot of every table.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots(Vec<Option<Arc<Snapshot>>>);

impl Snapshots {
    pub(crate) fn new(tables: impl IntoIterator<Item = (TableId, Arc<Snapshot>)>) -> Self {
        let mut snapshots = Self(Vec::new());
        for (table, snapshot) in tables {
            snapshots.set(table, snapshot);
        }
        snapshots
    }

    fn set(&mut self, table: TableId, snapshot: Arc<Snapshot>) {
        let index = table as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = Some(snapshot);
    }

    /// For each table the later version of these and `others`.
    fn or_newer(mut self, others: &Self) -> Self {
        for (snapshot, other) in self.0.iter_mut().zip(&others.0) {
            if let (Some(mine), Some(other)) = (&snapshot, other)
                && other.version() > mine.version()
            {
                *snapshot = Some(Arc::clone(other));
            }
        }
        self
    }

    pub(crate) fn get(&self, table: TableId) -> &Arc<Snapshot> {
        self.0.get(table as usize).and_then(Option::as_ref).expect("the engine opens every table")
    }
}

/// Shared by the writer, the flusher and every reader.
#[derive(Debug)]
pub(crate) struct State {
    parts: RwLock<Parts>,
    /// Bytes in all memtables, readable without the lock.
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct Parts {
    active: MemTable,
    /// Oldest first.
    frozen: Vec<Arc<MemTable>>,
    snapshots: Arc<Snapshots>,
    /// Everything up to here is in files, as far as readers are concerned.
    published: Seq,
    /// Runs that were written to since the search index looked; `None` while there is no index.
    touched: Option<Vec<RunId>>,
}

impl Parts {
    fn note(&mut self, group: &WriteBatch) {
        let Some(touched) = &mut self.touched else {
            return;
        };
        for series in group.metrics.series() {
            if touched.last() != Some(&series.run_id) {
                touched.push(series.run_id.clone());
            }
        }
        for change in &group.changes {
            if matches!(change.table, TableId::Runs | TableId::Params | TableId::Tags | TableId::RunInputs) {
                let run_id = RunId::from_stored(&change.key.leading_text());
                if touched.last() != Some(&run_id) {
                    touched.push(run_id);
                }
            }
        }
        if touched.len() > TOUCHED_MAX {
            touched.sort_unstable();
            touched.dedup();
            if touched.len() > TOUCHED_MAX / 2 {
                // More runs than it pays to bring up to date one by one: the next search builds the index anew.
                self.touched = None;
            }
        }
    }
}

impl State {
    pub(crate) fn new(active: MemTable, snapshots: Snapshots, published: Seq) -> Self {
        let bytes = AtomicUsize::new(active.bytes());
        let parts = Parts { active, frozen: Vec::new(), snapshots: Arc::new(snapshots), published, touched: None };
        Self { parts: RwLock::new(parts), bytes }
    }

    /// Makes a durable group visible, all its parts at once.
    pub(crate) fn apply(&self, seq: Seq, group: &[WriteBatch]) {
        self.change_active(|parts| {
            parts.active.apply(seq, group);
            group.iter().for_each(|part| parts.note(part));
        });
    }

    /// Brings back a group that was durable before this process started, or what its tables lack of it. Some of the log
    /// may lie before the furthest table.
    pub(crate) fn replay(&self, seq: Seq, missing: &WriteBatch) {
        self.change_active(|parts| {
            parts.active.apply_metrics(&missing.metrics);
            missing.changes.iter().for_each(|change| parts.active.apply_change(change));
            parts.active.advance(seq);
        });
    }

    fn change_active(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.write();
        let before = parts.active.bytes();
        change(&mut parts);
        let after = parts.active.bytes();
        // Under the lock: a flush must not count off what was not counted yet.
        if after >= before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
        drop(parts);
    }

    /// A consistent cut of everything.
    pub(crate) fn view(&self) -> View {
        let parts = self.parts.read();
        View::new(parts.active.clone(), parts.frozen.clone(), Arc::clone(&parts.snapshots))
    }

    /// A view, from whose position on runs that are written to are noted.
    pub(crate) fn start_tracking(&self) -> View {
        let mut parts = self.parts.write();
        parts.touched = Some(Vec::new());
        View::new(parts.active.clone(), parts.frozen.clone(), Arc::clone(&parts.snapshots))
    }

    /// Whether there is anything for the search index to take in.
    pub(crate) fn has_touched(&self) -> bool {
        self.parts.read().touched.as_ref().is_none_or(|touched| !touched.is_empty())
    }

    /// The runs that were written to since the last call, and a view that shows what was written. `None` when too many
    /// were, or nobody noted them.
    pub(crate) fn take_touched(&self) -> Option<(View, Vec<RunId>)> {
        let mut parts = self.parts.write();
        let mut touched = std::mem::take(parts.touched.as_mut()?);
        let view = View::new(parts.active.clone(), parts.frozen.clone(), Arc::clone(&parts.snapshots));
        drop(parts);
        touched.sort_unstable();
        touched.dedup();
        Some((view, touched))
    }

    /// Bytes that no file holds yet.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the memtable that is being filled.
    pub(crate) fn active_bytes(&self) -> usize {
        self.parts.read().active.bytes()
    }

    /// The last position applied.
    pub(crate) fn applied(&self) -> Seq {
        self.parts.read().active.through()
    }

    /// Position up to which everything is in files.
    pub(crate) fn published(&self) -> Seq {
        self.parts.read().published
    }

    /// The generation to flush next: the oldest frozen one, or the active one frozen now. `None` when there is nothing.
    pub(crate) fn freeze(&self) -> Option<Arc<MemTable>> {
        let mut parts = self.parts.write();
        if let Some(oldest) = parts.frozen.first() {
            return Some(Arc::clone(oldest));
        }
        if parts.active.is_empty() {
            return None;
        }
        let next = MemTable::new(parts.active.through());
        let frozen = Arc::new(std::mem::replace(&mut parts.active, next));
        parts.frozen.push(Arc::clone(&frozen));
        Some(frozen)
    }

    /// Swaps a flushed generation for the snapshots that hold it.
    pub(crate) fn publish(&self, flushed: &Arc<MemTable>, snapshots: Snapshots) {
        let mut parts = self.parts.write();
        parts.frozen.retain(|generation| !Arc::ptr_eq(generation, flushed));
        // A compaction may have published its files since these snapshots were taken.
        parts.snapshots = Arc::new(snapshots.or_newer(&parts.snapshots));
        parts.published = flushed.through();
        drop(parts);
        self.bytes.fetch_sub(flushed.bytes(), Ordering::Relaxed);
    }

    /// Swaps in a table's rewritten files (same rows). Not if they hold rows of a generation that is still in memory: the
    /// flush that wrote those will publish them.
    pub(crate) fn publish_rewrite(&self, table: TableId, snapshot: Arc<Snapshot>) {
        let mut parts = self.parts.write();
        let is_newer = snapshot.version() > parts.snapshots.get(table).version();
        if is_newer && snapshot.watermark() <= parts.published {
            let mut snapshots = Snapshots::clone(&parts.snapshots);
            snapshots.set(table, snapshot);
            parts.snapshots = Arc::new(snapshots);
        }
    }

    /// Replaces everything: a read-only engine that looked for news. Whether there was any; the search index stays
    /// current where there was none, though the rows may have moved to other files.
    pub(crate) fn replace(&self, active: MemTable, snapshots: Snapshots, published: Seq) -> bool {
        let bytes = active.bytes();
        let mut parts = self.parts.write();
        let is_news = parts.active.through() != active.through();
        let touched = if is_news { None } else { parts.touched.take() };
        *parts = Parts { active, frozen: Vec::new(), snapshots: Arc::new(snapshots), published, touched };
        self.bytes.store(bytes, Ordering::Relaxed);
        is_news
    }
}
