//! A Delta table of the lake: what the engine flushes to and reads from.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use object_store::ObjectStore;
use parking_lot::RwLock;
use runlake_storage::{Store, names};
use runlake_types::{Key, Record, Seq, TableId, TableKind};
use tokio::sync::Mutex;

use crate::commit::{CommitKind, Committer, Outcome, Plan};
use crate::error::Told as _;
use crate::file::Written;
use crate::log_reads::LogReads;
use crate::read::Caches;
use crate::snapshot::{Files, Snapshot};
use crate::write::write_files;
use crate::{Error, LakeSettings, merge};

/// How often a rewrite is planned again because other tools rewrote the same files.
const REWRITES: usize = 5;

/// The part of the log a flush covers: the table held it up to `expected`, and will hold it up to `reached`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// What the flushed range was cut on: the snapshot's watermark then.
    pub expected: Seq,
    /// The last position the flush covers.
    pub reached: Seq,
}

/// One Delta table. Cloning is cheap; all clones share the committer and the newest snapshot.
#[derive(Debug, Clone)]
pub struct Table {
    inner: Arc<Inner>,
}

/// What the tables of a lake share.
#[derive(Debug)]
pub(crate) struct Shared {
    log_objects: Arc<dyn ObjectStore>,
    caches: Arc<Caches>,
}

impl Shared {
    pub(crate) fn new(store: &Store, settings: &LakeSettings) -> Self {
        Self { log_objects: LogReads::over(store.objects()), caches: Arc::new(Caches::new(settings)) }
    }
}

#[derive(Debug)]
struct Inner {
    files: Files,
    app_id: String,
    settings: LakeSettings,
    committer: Mutex<Committer>,
    /// Held by whoever rewrites files, so that two rewrites do not undo each other's work. Appends do not need it.
    rewriting: Mutex<()>,
    newest: RwLock<Arc<Snapshot>>,
}

impl Table {
    /// Opens `table` of the lake in `store`, with a footer cache of its own; see [`crate::Lake`] for all tables at once.
    /// A table that nothing was committed to yet is an empty one; its first commit creates it.
    pub async fn open(store: &Store, table: TableId, lake_id: &str, settings: &LakeSettings) -> Result<Self, Error> {
        Self::open_with(store, table, lake_id, settings, &Shared::new(store, settings)).await
    }

    pub(crate) async fn open_with(
        store: &Store,
        table: TableId,
        lake_id: &str,
        settings: &LakeSettings,
        shared: &Shared,
    ) -> Result<Self, Error> {
        let root = names::table_root(table.name());
        let files = Files {
            table,
            objects: Arc::clone(store.objects()),
            log_objects: Arc::clone(&shared.log_objects),
            root,
            caches: Arc::clone(&shared.caches),
        };
        let app_id = format!("runlake-{lake_id}");
        let committer = Committer::open(files.clone(), app_id.clone(), settings.clone()).await?;
        let newest = RwLock::new(Arc::clone(committer.newest()));
        let inner = Inner {
            files,
            app_id,
            settings: settings.clone(),
            committer: Mutex::new(committer),
            rewriting: Mutex::new(()),
            newest,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Which table this is.
    pub fn id(&self) -> TableId {
        self.inner.files.table
    }

    /// The newest version this process knows. Costs nothing.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.newest.read())
    }

    /// Reads what other processes have committed. For readers, and after an error that left open what was committed.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, Error> {
        let mut committer = self.inner.committer.lock().await;
        committer.refresh().await?;
        Ok(self.publish(&committer))
    }

    /// Facts: adds rows, sorted in the table's order across all batches, in one commit. Text columns may be plain or
    /// dictionaries of any index type. Large input becomes several files, cut between series.
    ///
    /// Nothing is visible before the commit. After an error (other than [`Error::WatermarkMoved`]) ask [`Self::refresh`]
    /// whether its watermark is `mark.reached`.
    pub async fn append(&self, sorted: Vec<RecordBatch>, mark: Watermark) -> Result<Arc<Snapshot>, Error> {
        self.append_from(sorted.into_iter().map(Ok), mark).await
    }

    /// As [`Self::append`], taking the batches one by one, on the thread that encodes them: they are never all in memory.
    pub async fn append_from<I>(&self, sorted: I, mark: Watermark) -> Result<Arc<Snapshot>, Error>
    where
        I: Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
    {
        self.check(TableKind::Facts, mark)?;
        self.check_watermark(mark).await?;
        let table = self.id();
        let adds = self.write(sorted.map(move |batch| batch.told(table, "take rows"))).await?;
        match self.commit(Plan { adds, removes: Vec::new(), mark: Some(mark), kind: CommitKind::Append }).await? {
            Outcome::Committed(snapshot) => Ok(snapshot),
            Outcome::Stale => unreachable!("an append removes no file"),
        }
    }

    /// State: sets and deletes rows, in one commit that rewrites the files they fall into. `changes` are sorted by key,
    /// each key once; `None` deletes, and deleting what is not there is fine.
    ///
    /// As [`Self::append`] otherwise.
    pub async fn merge(
        &self,
        changes: Vec<(Key, Option<Arc<Record>>)>,
        mark: Watermark,
    ) -> Result<Arc<Snapshot>, Error> {
        self.check(TableKind::State, mark)?;
        if !changes.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(self.invalid("the changes are not sorted by key, each key once"));
        }
        let changes: Arc<[_]> = changes.into();
        let _rewriting = self.inner.rewriting.lock().await;
        for _ in 0..REWRITES {
            self.check_watermark(mark).await?;
            let base = self.snapshot();
            let (adds, removes) = merge::rewrite(&base, &self.inner.settings, &changes).await?;
            let plan = Plan { adds, removes, mark: Some(mark), kind: CommitKind::Merge };
            if let Outcome::Committed(snapshot) = self.commit(plan).await? {
                return Ok(snapshot);
            }
        }
        Err(Error::Contended { table: self.id(), attempts: REWRITES })
    }

    pub(crate) async fn write<I>(&self, batches: I) -> Result<Vec<Written>, Error>
    where
        I: Iterator<Item = Result<RecordBatch, Error>> + Send + 'static,
    {
        write_files(&self.inner.files, &self.inner.settings, batches).await
    }

    pub(crate) async fn commit(&self, plan: Plan) -> Result<Outcome, Error> {
        let mut committer = self.inner.committer.lock().await;
        let outcome = committer.commit(&plan).await;
        self.publish(&committer);
        outcome
    }

    pub(crate) fn settings(&self) -> &LakeSettings {
        &self.inner.settings
    }

    pub(crate) fn files(&self) -> &Files {
        &self.inner.files
    }

    /// Name of the application transaction that carries the watermark.
    pub(crate) fn app_id(&self) -> &str {
        &self.inner.app_id
    }

    pub(crate) fn committer(&self) -> &Mutex<Committer> {
        &self.inner.committer
    }

    pub(crate) fn rewriting(&self) -> &Mutex<()> {
        &self.inner.rewriting
    }

    pub(crate) fn publish(&self, committer: &Committer) -> Arc<Snapshot> {
        let newest = Arc::clone(committer.newest());
        *self.inner.newest.write() = Arc::clone(&newest);
        newest
    }

    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Error {
        Error::Invalid { table: self.id(), problem: problem.into() }
    }

    fn check(&self, kind: TableKind, mark: Watermark) -> Result<(), Error> {
        if self.id().kind() != kind {
            return Err(self.invalid(format!("this is not a table of {kind:?}")));
        }
        if mark.reached <= mark.expected {
            let problem = format!("a flush from {} to {} covers nothing", mark.expected, mark.reached);
            return Err(self.invalid(problem));
        }
        Ok(())
    }

    /// Fails early, before files are written in vain. The commit checks again.
    async fn check_watermark(&self, mark: Watermark) -> Result<(), Error> {
        let mut found = self.snapshot().watermark();
        if found != mark.expected {
            found = self.refresh().await?.watermark();
        }
        if found == mark.expected {
            return Ok(());
        }
        Err(Error::WatermarkMoved { table: self.id(), expected: mark.expected, found })
    }
}

#[cfg(test)]
mod tests;
