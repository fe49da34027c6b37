//! What an operator can set.

use std::time::Duration;

use runlake_lake::{CompactPolicy, LakeSettings};

/// How to open a lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Own it: refuse when another writer does.
    #[default]
    Write,
    /// Own it: take it over from another writer, who is fenced.
    TakeOver,
    /// Read it only; any number of readers beside one writer.
    ReadOnly,
}

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to open the lake.
    pub access: Access,
    /// Bytes that buffers and caches may take together.
    pub memory_budget: usize,
    /// Rows wait at most this long for a table file.
    pub flush_interval: Duration,
    /// WAL bytes after which a flush starts, however little memory is used.
    pub wal_limit: u64,
    /// How long a writer waits for room before it is told to come back.
    pub admit_timeout: Duration,
    /// How often a read-only engine looks for news.
    pub refresh_interval: Duration,
    /// How often small files are looked for.
    pub compact_interval: Duration,
    /// Which small files are then merged.
    pub compaction: CompactPolicy,
    /// How often files that newer ones replaced are looked for.
    pub vacuum_interval: Duration,
    /// How long such files are kept, for readers of older versions.
    pub retain: Duration,
    /// Settings of the log.
    pub wal: runlake_wal::Settings,
    /// Settings of the tables.
    pub lake: LakeSettings,
}

impl Settings {
    /// With logs of the tables that reach back so far; as they are where nothing is given.
    #[must_use]
    pub fn with_time_travel(mut self, reach: Option<Duration>) -> Self {
        if let Some(reach) = reach {
            self.lake.log_retention = reach;
        }
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access: Access::Write,
            memory_budget: 512 << 20,
            flush_interval: Duration::from_mins(1),
            wal_limit: 1 << 30,
            admit_timeout: Duration::from_secs(20),
            refresh_interval: Duration::from_secs(2),
            compact_interval: Duration::from_secs(30),
            compaction: CompactPolicy::default(),
            vacuum_interval: Duration::from_hours(1),
            retain: Duration::from_hours(7 * 24),
            wal: runlake_wal::Settings::default(),
            lake: LakeSettings::default(),
        }
    }
}

impl Settings {
    /// Memtable bytes at which a flush starts: small beside the budget, so that one generation can fill while another is
    /// written.
    pub(crate) fn freeze_bytes(&self) -> usize {
        (self.memory_budget / 8).max(1 << 20)
    }

    /// Bytes of run states at which idle ones are dropped.
    pub(crate) fn run_states_limit(&self) -> usize {
        self.memory_budget / 8
    }

    /// Unflushed bytes at which writers wait.
    pub(crate) fn unflushed_limit(&self) -> usize {
        self.memory_budget / 2
    }
}
