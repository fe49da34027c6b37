//! From memtables to table files: the flusher, and the upkeep of the files.
//!
//! A flush writes the oldest generation: `latest_metrics` first, then everything else, each table in one commit that
//! carries the generation's last position; then one publish swaps the generation for the new snapshots, and the log is
//! told what it may forget. A crash in between leaves some tables ahead; replay skips for each table what it already
//! holds. `latest_metrics` is never behind `metrics`, since merging the same points into it twice is seen and mended
//! (see [`crate::latest`]), while a gap could not be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use runlake_lake::{CompactPolicy, Table, Watermark};
use runlake_memtable::MemTable;
use runlake_types::rows::{LatestMetric, Row as _};
use runlake_types::{ErrorKind, Seq, TableId, TableKind};
use tokio_util::sync::CancellationToken;

use crate::engine::Inner;
use crate::latest;
use crate::state::Snapshots;
use crate::{Error, Result, View};

/// Rows per batch handed to the Parquet writer.
const ROWS_PER_BATCH: usize = 128 * 1024;
/// Tables written side by side.
const TABLES_AT_ONCE: usize = 3;

/// How often a generation is tried when tables turn out to be further than was known: each of them may, once.
const FLUSH_ATTEMPTS: usize = 8;

/// What a flush did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlushSummary {
    /// Position that table files now hold.
    pub flushed: Seq,
    /// Generations written.
    pub generations: usize,
    /// Metric points written.
    pub points: usize,
    /// State rows written or deleted.
    pub changes: usize,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactSummary {
    /// Files read and replaced.
    pub files_removed: u64,
    /// Files written in their place.
    pub files_added: u64,
}

/// What a vacuum did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VacuumSummary {
    /// Files deleted.
    pub files_deleted: u64,
    /// Bytes freed.
    pub bytes_deleted: u64,
}

/// The flusher task: flushes by bytes, by age and by log length, and tries again when storage fails.
pub(crate) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let mut oldest = None;
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = inner.flush_wanted.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        if inner.unflushed_bytes() == 0 {
            oldest = None;
            continue;
        }
        let since = *oldest.get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() < inner.settings.flush_interval && !inner.flush_is_due() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        match flush_one(&inner).await {
            Ok(_) => {
                pause = Duration::ZERO;
                oldest = None;
            }
            Err(error) => {
                inner.counters.flush_failures.fetch_add(1, Ordering::Relaxed);
                pause = (pause * 2).clamp(Duration::from_millis(200), Duration::from_secs(30));
                tracing::error!(%error, retry_in = ?pause, "flush failed; nothing is lost, it will be tried again");
                if error.kind() == ErrorKind::Closed {
                    return;
                }
            }
        }
    }
}

/// Flushes until everything that was applied before the call is in table files.
pub(crate) async fn flush_all(inner: &Inner) -> Result<FlushSummary> {
    let goal = inner.state.applied();
    let mut summary = FlushSummary { flushed: inner.state.published(), ..FlushSummary::default() };
    // Once in any case: after a flush that a crash cut short, memory holds rows of tables that lag behind the position
    // which others have reached.
    while let Some(one) = flush_one(inner).await? {
        summary.flushed = one.flushed;
        summary.generations += one.generations;
        summary.points += one.points;
        summary.changes += one.changes;
        if inner.state.published() >= goal {
            break;
        }
    }
    Ok(summary)
}

/// Flushes the oldest generation, if there is one. One flush at a time.
async fn flush_one(inner: &Inner) -> Result<Option<FlushSummary>> {
    let _one_at_a_time = inner.flushing.lock().await;
    // Whoever took the lake over flushes from now on.
    if let Some(error) = inner.writer().and_then(|writer| writer.progress().failure())
        && error.kind() == ErrorKind::Closed
    {
        return Err(Error::Stopped(error.to_string().into()));
    }
    let Some(generation) = inner.state.freeze() else {
        return Ok(None);
    };
    for _ in 1..FLUSH_ATTEMPTS {
        match flush_generation(inner, &generation).await {
            Err(Error::Lake(error)) if matches!(*error, runlake_lake::Error::WatermarkMoved { .. }) => {
                // A commit of ours landed though its answer was an error, or one of the owner before us that was under
                // way. Either holds rows of the log we have too, so a table ahead is left alone and one behind goes on.
                tracing::debug!(%error, "a table is further than was known; looking at it again");
            }
            other => return other.map(Some),
        }
    }
    flush_generation(inner, &generation).await.map(Some)
}

async fn flush_generation(inner: &Inner, generation: &Arc<MemTable>) -> Result<FlushSummary> {
    let started = tokio::time::Instant::now();
    let latest = flush_latest(inner, generation).await?;
    let metrics = async {
        let table = inner.table(TableId::Metrics);
        if !generation.metrics().is_empty() && table.snapshot().watermark() < generation.through() {
            append_metrics(table, generation).await?;
        }
        Ok(())
    };
    let merges: Vec<_> = TableId::ALL
        .iter()
        .filter(|table| table.kind() == TableKind::State)
        .map(|table| flush_state(inner.table(*table), generation))
        .collect();
    let state = futures::stream::iter(merges).buffer_unordered(TABLES_AT_ONCE).collect::<Vec<_>>();
    // To its end even if one fails: what the others have written would be written again.
    let (metrics, state): (Result<()>, Vec<Result<usize>>) = futures::join!(metrics, state);
    metrics?;
    let rows = state.into_iter().sum::<Result<usize>>()?;
    let changes = rows + latest.as_ref().map_or(0, Vec::len);
    // The snapshots of that moment, not of one before the wait: a compaction may have finished meanwhile.
    let publish = || inner.state.publish(generation, newest_snapshots(inner));
    inner.search.publish(inner, latest.as_deref(), publish).await?;
    if let Some(writer) = inner.writer() {
        writer.delete_through(generation.through());
    }
    inner.budget.freed();
    inner.counters.flushes.fetch_add(1, Ordering::Relaxed);
    let points = generation.metrics().len();
    tracing::info!(seq = %generation.through(), points, changes, took = ?started.elapsed(), "flushed");
    Ok(FlushSummary { flushed: generation.through(), generations: 1, points, changes })
}

fn newest_snapshots(inner: &Inner) -> Snapshots {
    Snapshots::new(TableId::ALL.iter().map(|table| (*table, inner.table(*table).snapshot())))
}

async fn append_metrics(table: &Table, generation: &Arc<MemTable>) -> Result<()> {
    let batches = MemTable::sorted_metrics(Arc::clone(generation), ROWS_PER_BATCH);
    table.append_from(batches, mark(table, generation.through())).await?;
    Ok(())
}

async fn flush_state(table: &Table, generation: &MemTable) -> Result<usize> {
    let Some(rows) = generation.state(table.id()) else {
        return Ok(0);
    };
    if table.snapshot().watermark() >= generation.through() {
        return Ok(0);
    }
    let changes: Vec<_> = rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect();
    let count = changes.len();
    table.merge(changes, mark(table, generation.through())).await?;
    Ok(count)
}

/// Merges what the generation's points add up to into `latest_metrics`, and returns the merged rows: `None` when an
/// earlier attempt at this generation wrote them.
async fn flush_latest(inner: &Inner, generation: &Arc<MemTable>) -> Result<Option<Vec<LatestMetric>>> {
    let table = inner.table(TableId::LatestMetrics);
    if generation.metrics().is_empty() {
        return Ok(Some(Vec::new()));
    }
    if table.snapshot().watermark() >= generation.through() {
        return Ok(None);
    }
    let view = View::new(MemTable::clone(generation), Vec::new(), Arc::new(newest_snapshots(inner)));
    let rows = latest::changed(&view, None).await?;
    let changes = rows.iter().map(|row| (row.key(), Some(Arc::new(row.to_record())))).collect();
    table.merge(changes, mark(table, generation.through())).await?;
    Ok(Some(rows))
}

fn mark(table: &Table, reached: Seq) -> Watermark {
    Watermark { expected: table.snapshot().watermark(), reached }
}

/// The upkeep task: merges small files, writes checkpoints, deletes what nobody reads any more.
pub(crate) async fn upkeep(inner: Arc<Inner>, stop: CancellationToken) {
    let mut vacuumed = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(inner.settings.compact_interval) => {}
        }
        let vacuum_is_due = vacuumed.elapsed() >= inner.settings.vacuum_interval;
        let work = async {
            if let Err(error) = compact_all(&inner, &inner.settings.compaction).await {
                tracing::warn!(%error, "compaction failed; it will be tried again");
            }
            if vacuum_is_due && let Err(error) = vacuum_all(&inner, inner.settings.retain).await {
                tracing::warn!(%error, "vacuum failed; it will be tried again");
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = work => {}
        }
        if vacuum_is_due {
            vacuumed = tokio::time::Instant::now();
        }
    }
}

/// Compacts every table that gains from it, one after the other, and writes the checkpoints that are due.
pub(crate) async fn compact_all(inner: &Inner, policy: &CompactPolicy) -> Result<CompactSummary> {
    let mut summary = CompactSummary::default();
    for table in inner.lake.tables() {
        loop {
            let report = table.compact(policy).await?;
            if report.files_before == 0 {
                break;
            }
            inner.counters.compactions.fetch_add(1, Ordering::Relaxed);
            inner.state.publish_rewrite(table.id(), table.snapshot());
            tracing::info!(table = %table.id(), ?report, "compacted");
            summary.files_removed += report.files_before as u64;
            summary.files_added += report.files_after as u64;
            if !report.more {
                break;
            }
        }
        if table.checkpoint_if_due().await? {
            table.clean_log().await?;
        }
    }
    Ok(summary)
}

/// Deletes files that no snapshot of the last `retain` names.
pub(crate) async fn vacuum_all(inner: &Inner, retain: Duration) -> Result<VacuumSummary> {
    let mut summary = VacuumSummary::default();
    for table in inner.lake.tables() {
        let report = table.vacuum(retain).await?;
        summary.files_deleted += (report.removed_files + report.uncommitted_files) as u64;
        summary.bytes_deleted += report.bytes;
    }
    Ok(summary)
}
