//! Opening a lake: identity, tables, the writer's claim, replay of the log.

use std::sync::{Arc, OnceLock};

use runlake_lake::{Lake, Table};
use runlake_memtable::MemTable;
use runlake_storage::Store;
use runlake_types::{Clock, Epoch, Seq, TableId, WriteBatch};
use runlake_wal::Replay;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::engine::Inner;
use crate::search::SearchIndex;
use crate::state::{Snapshots, State};
use crate::status::Counters;
use crate::tasks::Tasks;
use crate::writer::Writer;
use crate::{Access, Error, Identity, Result, RunStates, Settings, codec, flush};

pub(crate) async fn open(store: Store, settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<Inner>> {
    match settings.access {
        Access::ReadOnly => open_reader(store, settings, clock).await,
        Access::Write => open_writer(store, settings, clock, false).await,
        Access::TakeOver => open_writer(store, settings, clock, true).await,
    }
}

async fn open_writer(store: Store, settings: Settings, clock: Arc<dyn Clock>, take_over: bool) -> Result<Arc<Inner>> {
    let identity = Identity::read_or_create(&store, clock.as_ref()).await?;
    // The claim comes first: whoever wrote before has made its last commit when the tables are read.
    let wal = runlake_wal::open_writer(&store, &identity.lake_id, &settings.wal, take_over, Arc::clone(&clock)).await?;
    let lake = Lake::open(&store, &identity.lake_id, &settings.lake).await?;
    let inner = assemble(store, settings, clock, identity, lake, Some(wal.epoch));
    let replayed = replay(&inner, wal.replay, true).await?;
    let last = wal.last_seq.max(replayed).max(inner.state.applied());
    let mut log = wal.log;
    log.set_floor(last);
    let writer = Writer::start(log, last, Arc::clone(&inner.state), Arc::clone(&inner.counters))?;
    inner.writer.set(Arc::new(writer)).map_err(|_| Error::Internal("a second writer".into()))?;
    inner.tasks.spawn("flusher", |stop| flush::run(Arc::clone(&inner), stop));
    inner.tasks.spawn("ownership", |stop| watch_ownership(Arc::clone(&inner), stop));
    inner.tasks.spawn("upkeep", |stop| flush::upkeep(Arc::clone(&inner), stop));
    Ok(inner)
}

async fn open_reader(store: Store, settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<Inner>> {
    let identity = Identity::read(&store).await?.ok_or_else(|| {
        Error::Identity(format!(
            "{} is not a lake: it has no lake.json; a read-only server cannot make one",
            store.url()
        ))
    })?;
    let lake = Lake::open(&store, &identity.lake_id, &settings.lake).await?;
    let inner = assemble(store, settings, clock, identity, lake, None);
    refresh(&inner).await?;
    inner.tasks.spawn("refresh", |stop| keep_fresh(Arc::clone(&inner), stop));
    Ok(inner)
}

fn assemble(
    store: Store,
    settings: Settings,
    clock: Arc<dyn Clock>,
    identity: Identity,
    lake: Lake,
    epoch: Option<Epoch>,
) -> Arc<Inner> {
    let snapshots = snapshots_of(&lake);
    // Tables without rows of the last flush stayed behind the others; the furthest one says what was flushed.
    let flushed = furthest(&snapshots);
    let state = Arc::new(State::new(MemTable::new(flushed), snapshots, flushed));
    Arc::new_cyclic(|inner| Inner {
        settings,
        store,
        clock,
        identity,
        lake,
        state,
        writer: OnceLock::new(),
        epoch,
        budget: Budget::default(),
        flush_wanted: tokio::sync::Notify::new(),
        flushing: tokio::sync::Mutex::default(),
        counters: Arc::new(Counters::default()),
        runs: RunStates::new(inner.clone()),
        search: SearchIndex::default(),
        tasks: Tasks::default(),
    })
}

fn snapshots_of(lake: &Lake) -> Snapshots {
    Snapshots::new(lake.tables().iter().map(|table| (table.id(), table.snapshot())))
}

fn furthest(snapshots: &Snapshots) -> Seq {
    TableId::ALL.iter().map(|table| snapshots.get(*table).watermark()).max().unwrap_or_default()
}

/// Applies what the log holds and tables do not. Returns the last position seen.
async fn replay(inner: &Arc<Inner>, mut frames: Replay, may_flush: bool) -> Result<Seq> {
    let mut last = Seq::default();
    // A flush is marked with the position of the furthest table at least: one before replay has got there would claim rows
    // that are still to come. Tables lag behind each other by one generation at most, so memory holds that much.
    let furthest = inner.state.published();
    while let Some(frame) = frames.next().await? {
        last = frame.seq;
        let missing = missing_rows(inner, frame.seq, codec::decode(&frame.payload)?);
        inner.state.replay(frame.seq, &missing);
        if may_flush && last >= furthest && inner.state.active_bytes() >= inner.settings.freeze_bytes() {
            flush::flush_all(inner).await?;
        }
    }
    Ok(last)
}

/// What of a group its tables do not hold yet: after a crash in the middle of a flush some are ahead of others.
fn missing_rows(inner: &Inner, seq: Seq, mut group: WriteBatch) -> WriteBatch {
    let holds = |table: TableId| inner.table(table).snapshot().watermark() >= seq;
    group.changes.retain(|change| !holds(change.table));
    if holds(TableId::Metrics) {
        group.metrics = runlake_types::MetricBatch::default();
    }
    group
}

/// Asks every so often whether the lake is still ours.
async fn watch_ownership(inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(inner.settings.wal.watch_interval) => {}
        }
        if let Some(writer) = inner.writer() {
            writer.check();
        }
    }
}

/// A reader's look for news, every so often.
async fn keep_fresh(inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(inner.settings.refresh_interval) => {}
        }
        if let Err(error) = refresh(&inner).await {
            tracing::warn!(%error, "cannot look for news in the lake; answering from the last look");
        }
    }
}

/// How often a reader looks again when a flush went on beside its look.
const LOOKS: usize = 32;

/// Reads the log's tail, then the tables: rows that moved from one to the other meanwhile are seen in both and counted
/// once by their position, never in neither.
async fn refresh(inner: &Arc<Inner>) -> Result<()> {
    let (groups, snapshots) = look(inner).await?;
    let flushed = furthest(&snapshots);
    let mut active = MemTable::new(Seq::default());
    for (seq, group) in groups {
        let missing = missing_rows(inner, seq, group);
        if !missing.is_empty() {
            active.apply(seq, std::slice::from_ref(&missing));
        }
        active.advance(seq);
    }
    active.advance(flushed);
    if inner.state.replace(active, snapshots, flushed) {
        inner.search.forget().await;
    }
    Ok(())
}

/// The groups of the log, and tables none of which is further than those groups and the tables before them: a flush that
/// is half done beside the look leaves tables ahead of others by rows that the tail, read before, may not hold.
async fn look(inner: &Arc<Inner>) -> Result<(Vec<(Seq, WriteBatch)>, Snapshots)> {
    let mut known = furthest(&snapshots_of(&inner.lake));
    for _ in 0..LOOKS {
        let mut frames = runlake_wal::read_tail(&inner.store, &inner.identity.lake_id).await?;
        let mut groups = Vec::new();
        while let Some(frame) = frames.next().await? {
            known = known.max(frame.seq);
            groups.push((frame.seq, codec::decode(&frame.payload)?));
        }
        futures::future::try_join_all(inner.lake.tables().iter().map(Table::refresh)).await?;
        let snapshots = snapshots_of(&inner.lake);
        let reached = furthest(&snapshots);
        if reached <= known {
            return Ok((groups, snapshots));
        }
        known = reached;
    }
    Err(Error::Moving { looks: LOOKS })
}
