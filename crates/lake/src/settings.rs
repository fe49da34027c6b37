//! How tables are laid out and kept.

use std::sync::Arc;
use std::time::Duration;

use runlake_types::{Clock, SystemClock, TableKind};

/// How tables are laid out and kept. All sizes are bytes.
#[derive(Debug, Clone)]
pub struct LakeSettings {
    /// Size of a file of facts after compaction; a flush that is larger is split.
    pub facts_target_bytes: u64,
    /// Size of a file of a state table. Every flush rewrites the files it touches, so they are small.
    pub state_target_bytes: u64,
    /// Compression level of zstd: 1 writes fastest.
    pub zstd_level: i32,
    /// Commits after which [`crate::Table::checkpoint_if_due`] writes a checkpoint.
    pub checkpoint_interval: u64,
    /// How long commits that a checkpoint covers stay in the log: how far back [`crate::Table::as_of`] reaches. Each
    /// look at the log lists them. Files live longer, see [`crate::Table::vacuum`].
    pub log_retention: Duration,
    /// How long removed files are remembered in checkpoints, so that they can be deleted.
    pub tombstone_retention: Duration,
    /// Memory for the footers of Parquet files, all tables together.
    pub footer_cache_bytes: usize,
    /// Memory for small files, all tables together: they are fetched once and read from memory.
    pub small_file_cache_bytes: usize,
    /// Tells the time: of files, of removals, of what is old enough to delete.
    pub clock: Arc<dyn Clock>,
}

impl LakeSettings {
    /// The size files of such a table should have.
    pub(crate) fn target_bytes(&self, kind: TableKind) -> u64 {
        match kind {
            TableKind::Facts => self.facts_target_bytes,
            TableKind::State => self.state_target_bytes,
        }
    }
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self {
            facts_target_bytes: 128 << 20,
            state_target_bytes: 8 << 20,
            zstd_level: 1,
            checkpoint_interval: 10,
            log_retention: Duration::from_hours(24),
            tombstone_retention: Duration::from_hours(7 * 24),
            footer_cache_bytes: 64 << 20,
            small_file_cache_bytes: 64 << 20,
            clock: Arc::new(SystemClock),
        }
    }
}
