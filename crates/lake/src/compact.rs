//! Making few files of many: the rows stay the same, so the watermark does too.
//!
//! Facts: files of about the same size are merged, so that a row is rewritten only once per size class until it is in a
//! file of the target size. Points that were flushed twice become one. State: neighbours that are small become one file.

use std::sync::Arc;

use runlake_types::TableKind;
use tokio::sync::mpsc;

use crate::commit::{CommitKind, Outcome, Plan};
use crate::file::{DataFile, Written};
use crate::{Error, Table, merge};

mod sorted;

/// Files up to this size are of the smallest class.
const FIRST_CLASS_BYTES: u64 = 256 << 10;
/// How many times larger the files of the next class are.
const CLASS_FACTOR: u64 = 8;
/// Largest file that is sorted in memory.
const SORTED_IN_MEMORY_BYTES: u64 = 16 << 20;
/// Merged batches on their way to the encoder.
const BATCHES_IN_FLIGHT: usize = 2;

/// Which files one [`Table::compact`] takes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactPolicy {
    /// Facts: files of one size class before they are merged. State tables always merge small neighbours.
    pub min_files: usize,
    /// Files merged at once. Each needs a few decoded batches and one compressed row group (a few MiB) in memory.
    pub max_files: usize,
    /// Bytes of files merged at once.
    pub max_bytes: u64,
    /// Whether files of different size classes are merged too: for a thorough compaction on demand.
    pub across_classes: bool,
}

impl Default for CompactPolicy {
    fn default() -> Self {
        Self { min_files: 8, max_files: 12, max_bytes: 1 << 30, across_classes: false }
    }
}

impl CompactPolicy {
    /// Leaves as few files as one can get: what a person means who asks for compaction.
    pub fn thorough() -> Self {
        Self { min_files: 2, across_classes: true, ..Self::default() }
    }
}

/// What one [`Table::compact`] did. All zero: there was nothing worth doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Files that were replaced.
    pub files_before: usize,
    /// Files they were replaced by.
    pub files_after: usize,
    /// Rows before.
    pub rows_before: u64,
    /// Rows after: fewer where points had been flushed twice.
    pub rows_after: u64,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// Whether another call would find something to do.
    pub more: bool,
}

impl Table {
    /// Merges one set of small files, if there is one. Call again while the report says `more`. Appends go on meanwhile;
    /// merges wait.
    pub async fn compact(&self, policy: &CompactPolicy) -> Result<CompactReport, Error> {
        let _rewriting = self.rewriting().lock().await;
        let base = self.snapshot();
        let removes = self.choose(base.files(), policy);
        if removes.is_empty() {
            return Ok(CompactReport::default());
        }
        let adds = match self.id().kind() {
            TableKind::Facts => self.merge_facts(&removes).await?,
            TableKind::State => {
                let rows = merge::read_all(&base, &removes).await?;
                self.write(std::iter::once(Ok(rows))).await?
            }
        };
        let mut report = report(&removes, &adds);
        let plan = Plan { adds, removes, mark: None, kind: CommitKind::Compact };
        match self.commit(plan).await? {
            // Files that do not get fewer would be rewritten for ever.
            Outcome::Committed(snapshot) => {
                report.more =
                    report.files_after < report.files_before && !self.choose(snapshot.files(), policy).is_empty();
            }
            // Another tool was there first. What was written is left to vacuum.
            Outcome::Stale => report = CompactReport { more: true, ..CompactReport::default() },
        }
        Ok(report)
    }

    fn choose(&self, files: &[Arc<DataFile>], policy: &CompactPolicy) -> Vec<Arc<DataFile>> {
        let target = self.settings().target_bytes(self.id().kind());
        match self.id().kind() {
            TableKind::Facts => choose_facts(files, target, policy),
            TableKind::State => choose_state(files, target),
        }
    }

    async fn merge_facts(&self, inputs: &[Arc<DataFile>]) -> Result<Vec<Written>, Error> {
        let (merged, mut received) = mpsc::channel(BATCHES_IN_FLIGHT);
        let writing = self.write(std::iter::from_fn(move || received.blocking_recv()));
        let merging = async {
            if let Err(error) = sorted::merge(self.files(), inputs, &merged).await {
                // Fails only when the writer has failed already, and then it tells why.
                merged.send(Err(error)).await.ok();
            }
            drop(merged);
        };
        let (written, ()) = tokio::join!(writing, merging);
        written
    }
}

fn choose_facts(files: &[Arc<DataFile>], target: u64, policy: &CompactPolicy) -> Vec<Arc<DataFile>> {
    let small = || files.iter().filter(|file| file.size() < target / 2 && can_be_merged(file));
    let class_of = |file: &DataFile| if policy.across_classes { 0 } else { size_class(file.size()) };
    let mut classes: Vec<u32> = small().map(|file| class_of(file)).collect();
    classes.sort_unstable();
    classes.dedup();
    for class in classes {
        let mut bytes = 0;
        let fits = |file: &&Arc<DataFile>| {
            bytes += file.size();
            bytes <= policy.max_bytes
        };
        // The files come in the order of their first run: those taken together are near each other.
        let of_class = small().filter(|file| class_of(file) == class);
        let chosen: Vec<_> = of_class.take(policy.max_files).take_while(fits).cloned().collect();
        if chosen.len() >= policy.min_files.max(2) {
            return chosen;
        }
    }
    Vec::new()
}

/// Another tool's file has to be sorted first, which is done in memory.
fn can_be_merged(file: &DataFile) -> bool {
    file.is_sorted() || file.size() <= SORTED_IN_MEMORY_BYTES
}

fn size_class(bytes: u64) -> u32 {
    (bytes / FIRST_CLASS_BYTES).max(1).ilog(CLASS_FACTOR)
}

/// The first neighbours that fit into one file, or that overlap because another tool has written them.
fn choose_state(files: &[Arc<DataFile>], target: u64) -> Vec<Arc<DataFile>> {
    for (at, file) in files.iter().enumerate() {
        let mut chosen = vec![Arc::clone(file)];
        let mut range = file.range().clone();
        let mut bytes = file.weight();
        let mut tangled = !file.is_sorted();
        for next in &files[at + 1..] {
            let overlaps = range.overlaps(next.range());
            if !overlaps
                && (bytes + next.weight() > target || next.weight() >= target / 2 || file.weight() >= target / 2)
            {
                break;
            }
            tangled |= overlaps;
            bytes += next.weight();
            range = range.joined(next.range());
            chosen.push(Arc::clone(next));
        }
        if chosen.len() > 1 || tangled {
            return chosen;
        }
    }
    Vec::new()
}

fn report(removes: &[Arc<DataFile>], adds: &[Written]) -> CompactReport {
    CompactReport {
        files_before: removes.len(),
        files_after: adds.len(),
        rows_before: removes.iter().filter_map(|file| file.rows()).sum(),
        rows_after: adds.iter().map(|file| file.rows).sum(),
        bytes_before: removes.iter().map(|file| file.size()).sum(),
        bytes_after: adds.iter().map(|file| file.size).sum(),
        more: false,
    }
}

#[cfg(test)]
mod tests;
