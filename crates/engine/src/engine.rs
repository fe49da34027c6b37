//! The engine's handle and what it shares.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use runlake_lake::{CompactPolicy, Lake, Table};
use runlake_memtable::MemTable;
use runlake_storage::Store;
use runlake_types::{Clock, Epoch, Seq, TableId, Timestamp, WriteBatch};
use tokio::sync::Notify;

use crate::budget::Budget;
use crate::search::{RunPage, RunQuery, SearchIndex};
use crate::state::{Snapshots, State};
use crate::status::Counters;
use crate::tasks::Tasks;
use crate::writer::{Ticket, Writer};
use crate::{
    CompactSummary, Error, FlushSummary, Identity, Result, RunStates, Settings, Status, VacuumSummary, View, flush,
    open,
};

/// An open lake. Cloning shares it; [`Engine::close`] ends it.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) identity: Identity,
    pub(crate) lake: Lake,
    pub(crate) state: Arc<State>,
    /// Set once replay is over; never set when reading only.
    pub(crate) writer: OnceLock<Arc<Writer>>,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) budget: Budget,
    pub(crate) flush_wanted: Notify,
    /// Held by the one flush that is running.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) runs: RunStates,
    pub(crate) search: SearchIndex,
    pub(crate) tasks: Tasks,
}

impl Inner {
    pub(crate) fn table(&self, table: TableId) -> &Table {
        self.lake.table(table)
    }

    pub(crate) fn writer(&self) -> Option<&Arc<Writer>> {
        self.writer.get()
    }

    /// Bytes that no file holds yet, applied or still queued.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.state.unflushed_bytes() + self.writer().map_or(0, |writer| writer.progress().queued_bytes())
    }

    /// Why the engine stopped, if it did.
    fn failure(&self) -> Option<String> {
        let of_writer = self.writer().and_then(|writer| writer.progress().failure());
        of_writer.map(|error| error.to_string()).or_else(|| self.tasks.failure())
    }

    fn log_bytes(&self) -> u64 {
        self.writer().map_or(0, |writer| writer.progress().log_bytes())
    }

    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let unflushed = self.unflushed_bytes();
        // A single write larger than the limit passes when nothing else waits.
        (unflushed == 0 || unflushed + bytes <= self.settings.unflushed_limit())
            && self.log_bytes() <= self.settings.wal_limit.saturating_mul(4)
    }

    /// Whether a flush is due whatever the age of the oldest row.
    pub(crate) fn flush_is_due(&self) -> bool {
        self.state.active_bytes() >= self.settings.freeze_bytes()
            || self.log_bytes() >= self.settings.wal_limit
            || self.unflushed_bytes() >= self.settings.unflushed_limit()
    }

    pub(crate) fn wake_flusher(&self) {
        self.flush_wanted.notify_one();
    }
}

impl Engine {
    /// Opens the lake at `store`, or makes one in an empty place, and recovers what the log holds.
    ///
    /// # Errors
    /// Where the place is no lake, is of a newer format, belongs to another writer, or its log is damaged. Nothing is
    /// changed then.
    pub async fn open(store: Store, settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        open::open(store, settings, clock).await.map(Self)
    }

    /// Waits until there is room for `bytes` more, by memory and by log length.
    pub async fn admit(&self, bytes: usize) -> Result<()> {
        self.0.budget.admit(&self.0, bytes).await
    }

    /// Queues a write. Submits take effect in the order they are made; the ticket resolves when this one is durable and
    /// visible.
    pub fn submit(&self, batch: WriteBatch) -> Result<Ticket> {
        let ticket = self.0.writer().ok_or(Error::ReadOnly)?.submit(batch)?;
        if self.0.state.unflushed_bytes() >= self.0.settings.freeze_bytes() {
            self.0.wake_flusher();
        }
        Ok(ticket)
    }

    /// Admits, submits and waits.
    pub async fn write(&self, batch: WriteBatch) -> Result<Seq> {
        self.admit(batch.bytes()).await?;
        self.submit(batch)?.await
    }

    /// All tables at one position of the log, acknowledged writes included.
    pub fn view(&self) -> View {
        self.0.state.view()
    }

    /// Every table as its files were at `time`: as of the last flush before it. How far back that goes is a setting of
    /// the tables; an error tells.
    pub async fn view_as_of(&self, time: Timestamp) -> Result<View> {
        let tables = self.0.lake.tables().iter();
        let snapshots = tables.map(async |table| Ok::<_, Error>((table.id(), table.as_of(time).await?)));
        let snapshots = futures::future::try_join_all(snapshots).await?;
        let reached = snapshots.iter().map(|(_, snapshot)| snapshot.watermark()).max().unwrap_or_default();
        Ok(View::new(MemTable::new(reached), Vec::new(), Arc::new(Snapshots::new(snapshots))))
    }

    /// State of runs that are being written, for checks before a write.
    pub fn runs(&self) -> &RunStates {
        &self.0.runs
    }

    /// Runs that meet a query, in its order.
    pub async fn search_runs(&self, query: RunQuery) -> Result<RunPage> {
        self.0.search.search(&self.0, query).await
    }

    /// The clock the engine was opened with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The store the lake lives on.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What `lake.json` says.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Whether this engine only reads.
    pub fn is_read_only(&self) -> bool {
        self.0.epoch.is_none()
    }

    /// A reading of the engine's figures.
    pub fn status(&self) -> Status {
        let inner = &self.0;
        let mut status = Status {
            epoch: inner.epoch,
            applied: inner.state.applied(),
            flushed: inner.state.published(),
            memtable_bytes: inner.state.unflushed_bytes() as u64,
            queued_bytes: inner.writer().map_or(0, |writer| writer.progress().queued_bytes() as u64),
            wal_bytes: inner.log_bytes(),
            cached_runs: inner.runs.len() as u64,
            indexed_runs: inner.search.len() as u64,
            failure: inner.failure(),
            ..Status::default()
        };
        inner.counters.fill(&mut status);
        status
    }

    /// Brings the table files up to date with everything acknowledged before the call.
    pub async fn flush(&self) -> Result<FlushSummary> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        flush::flush_all(&self.0).await
    }

    /// Rewrites small files into large sorted ones, and writes checkpoints.
    pub async fn compact(&self) -> Result<CompactSummary> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        flush::compact_all(&self.0, &CompactPolicy::thorough()).await
    }

    /// Deletes table files that no version of the last `retain` names.
    pub async fn vacuum(&self, retain: Duration) -> Result<VacuumSummary> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        flush::vacuum_all(&self.0, retain).await
    }

    /// Ends the engine in order: background tasks, then the writer (which answers everything that was submitted), then a
    /// last flush, then the log. Call it once no more writes come.
    pub async fn close(&self) -> Result<()> {
        self.0.tasks.stop().await;
        let Some(writer) = self.0.writer() else {
            return Ok(());
        };
        let flushed = if writer.progress().failure().is_some() {
            Ok(FlushSummary::default())
        } else {
            writer.settle().await;
            flush::flush_all(&self.0).await
        };
        writer.close().await?;
        flushed.map(|_| ())
    }
}
