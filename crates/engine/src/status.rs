//! Figures of a running engine, for the metrics page and the doctor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runlake_types::{Epoch, Seq};

/// Upper bounds of the append latency histogram, microseconds.
pub const APPEND_BUCKETS_MICROS: [u64; 12] =
    [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 51_200, 204_800, 819_200];

/// A reading of the engine's figures.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The writer's term; `None` when reading only.
    pub epoch: Option<Epoch>,
    /// Last position that is durable and visible.
    pub applied: Seq,
    /// Last position that table files hold.
    pub flushed: Seq,
    /// Bytes in memtables.
    pub memtable_bytes: u64,
    /// Bytes submitted and not durable yet.
    pub queued_bytes: u64,
    /// Bytes of log that no table has passed yet.
    pub wal_bytes: u64,
    /// Groups made durable.
    pub groups: u64,
    /// Writes made durable.
    pub writes: u64,
    /// Metric points made durable.
    pub points: u64,
    /// Bytes appended to the log.
    pub appended_bytes: u64,
    /// Appends to the log.
    pub appends: u64,
    /// Time spent in appends, in all.
    pub append_time: Duration,
    /// Appends no slower than each of [`APPEND_BUCKETS_MICROS`], cumulative.
    pub append_buckets: Vec<(u64, u64)>,
    /// Flushes that wrote something.
    pub flushes: u64,
    /// Flushes that failed and will be tried again.
    pub flush_failures: u64,
    /// Compactions that rewrote something.
    pub compactions: u64,
    /// Runs whose state is cached.
    pub cached_runs: u64,
    /// Runs in the search index; 0 before the first search.
    pub indexed_runs: u64,
    /// Why the engine stopped, if it did.
    pub failure: Option<String>,
}

/// Counters that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    groups: AtomicU64,
    writes: AtomicU64,
    points: AtomicU64,
    appended_bytes: AtomicU64,
    appends: AtomicU64,
    append_nanos: AtomicU64,
    append_buckets: [AtomicU64; APPEND_BUCKETS_MICROS.len()],
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) compactions: AtomicU64,
}

impl Counters {
    pub(crate) fn group(&self, writes: u64, points: u64) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes, Ordering::Relaxed);
        self.points.fetch_add(points, Ordering::Relaxed);
    }

    pub(crate) fn append(&self, took: Duration, bytes: usize) {
        self.appended_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.append_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let micros = took.as_micros();
        for (bucket, bound) in self.append_buckets.iter().zip(APPEND_BUCKETS_MICROS) {
            if micros <= u128::from(bound) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn fill(&self, status: &mut Status) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        status.groups = read(&self.groups);
        status.writes = read(&self.writes);
        status.points = read(&self.points);
        status.appended_bytes = read(&self.appended_bytes);
        status.appends = read(&self.appends);
        status.append_time = Duration::from_nanos(read(&self.append_nanos));
        status.append_buckets =
            APPEND_BUCKETS_MICROS.iter().copied().zip(self.append_buckets.iter().map(read)).collect();
        status.flushes = read(&self.flushes);
        status.flush_failures = read(&self.flush_failures);
        status.compactions = read(&self.compactions);
    }
}
