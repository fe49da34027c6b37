//! The one place that commits to a table's Delta log.

use std::sync::Arc;

use deltalake_core::DeltaTable;
use deltalake_core::errors::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use runlake_types::{Seq, TableId};

use crate::error::Told as _;
use crate::file::{DataFile, Written};
use crate::snapshot::{Files, Snapshot};
use crate::table::Watermark;
use crate::{Error, LakeSettings, delta};

/// How often a commit is tried again when others were faster.
const ATTEMPTS: usize = 5;

/// What to commit.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) adds: Vec<Written>,
    pub(crate) removes: Vec<Arc<DataFile>>,
    /// What of the log the table holds afterwards; `None` when the rows stay the same.
    pub(crate) mark: Option<Watermark>,
    pub(crate) kind: CommitKind,
}

/// Why something is committed: told in the table's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitKind {
    Append,
    Merge,
    Compact,
}

/// How a commit ended that was not an error.
#[derive(Debug)]
pub(crate) enum Outcome {
    Committed(Arc<Snapshot>),
    /// A file that was to be removed is gone already: the rewrite must be planned again.
    Stale,
}

/// Commits to one table, and knows its newest version. There is one per table and process, behind a lock.
#[derive(Debug)]
pub(crate) struct Committer {
    files: Files,
    app_id: String,
    settings: LakeSettings,
    log: LogStoreRef,
    delta: DeltaTable,
    newest: Arc<Snapshot>,
}

impl Committer {
    /// Reads the table's newest version; none there is an empty one.
    pub(crate) async fn open(files: Files, app_id: String, settings: LakeSettings) -> Result<Self, Error> {
        let log = delta::log_store(&files.log_objects, &files.root);
        let newest = Arc::new(Snapshot::empty(files.clone()));
        let delta = DeltaTable::new(Arc::clone(&log));
        let mut committer = Self { files, app_id, settings, log, delta, newest };
        committer.refresh().await?;
        Ok(committer)
    }

    /// The newest version this process knows.
    pub(crate) fn newest(&self) -> &Arc<Snapshot> {
        &self.newest
    }

    /// The table as the Delta library sees it; without state while nothing was committed.
    pub(crate) fn delta(&self) -> &DeltaTable {
        &self.delta
    }

    pub(crate) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// Reads what others have committed since.
    pub(crate) async fn refresh(&mut self) -> Result<&Arc<Snapshot>, Error> {
        let table = self.table();
        if self.delta.version().is_some() && self.delta.update_state().await.is_err() {
            // The commits in between may have been cleaned up: start over from the newest checkpoint.
            self.delta.state = None;
        }
        if self.delta.state.is_none() {
            match self.delta.load().await {
                Err(DeltaTableError::NotATable(_)) if self.newest.version().is_none() => return Ok(&self.newest),
                other => other.told(table, "read the Delta log")?,
            }
        }
        // Compared with what was read last, not with what was known before: an earlier look may have been dropped half-way.
        if self.delta.version() != self.newest.version() {
            let state = self.delta.snapshot().told(table, "read the Delta log")?;
            delta::check(table, state)?;
            let watermark = watermark(table, state, &self.log, &self.app_id).await?;
            self.newest = Arc::new(self.newest.reread(state, watermark));
        }
        Ok(&self.newest)
    }

    /// Commits `plan` on top of the newest version, or says why not. After an error the outcome may be unknown (the store
    /// did not answer): the next look at the table tells.
    pub(crate) async fn commit(&mut self, plan: &Plan) -> Result<Outcome, Error> {
        let table = self.table();
        for attempt in 0..ATTEMPTS {
            if self.delta.version() != self.newest.version() {
                // An earlier look failed or was dropped half-way. Without this the table would be created anew, over a log
                // that was cleaned up, or the plan be committed to a version it was not made for.
                self.refresh().await?;
            }
            self.check_watermark(plan).await?;
            if !plan.removes.iter().all(|file| self.newest.is_live(file)) {
                return Ok(Outcome::Stale);
            }
            let error = match self.try_commit(plan).await {
                Ok(()) => return Ok(Outcome::Committed(Arc::clone(&self.newest))),
                Err(error) => error,
            };
            tracing::debug!(table = table.name(), attempt, %error, "commit did not succeed, reading the table again");
            self.refresh().await?;
            if self.has_landed(plan) {
                return Ok(Outcome::Committed(Arc::clone(&self.newest)));
            }
            if !was_overtaken(&error) {
                return Err(error);
            }
        }
        Err(Error::Contended { table, attempts: ATTEMPTS })
    }

    fn table(&self) -> TableId {
        self.files.table
    }

    async fn check_watermark(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(mark) = plan.mark else { return Ok(()) };
        if self.newest.watermark() != mark.expected {
            let found = self.refresh().await?.watermark();
            if found != mark.expected {
                return Err(Error::WatermarkMoved { table: self.table(), expected: mark.expected, found });
            }
        }
        Ok(())
    }

    /// Whether the newest version holds what `plan` wanted: names of files are never used twice.
    fn has_landed(&self, plan: &Plan) -> bool {
        if plan.adds.is_empty() {
            return plan.mark.is_some_and(|mark| self.newest.watermark() == mark.reached);
        }
        plan.adds.iter().all(|file| self.newest.has_name(&file.name))
    }

    async fn try_commit(&mut self, plan: &Plan) -> Result<(), Error> {
        let table = self.table();
        let (actions, operation) = self.actions(plan)?;
        let mut properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        if let Some(mark) = plan.mark {
            let now = self.settings.clock.now().millis();
            let transaction =
                Transaction::new_with_last_update(&self.app_id, version_of(table, mark.reached)?, Some(now));
            properties = properties.with_application_transaction(transaction);
        }
        let state = self.delta.state.as_ref().map(|state| state as &dyn TableReference);
        let committed = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(state, Arc::clone(&self.log), operation)
            .await
            .told(table, "commit")?;
        let watermark = plan.mark.map_or(self.newest.watermark(), |mark| mark.reached);
        self.newest = Arc::new(self.newest.committed(committed.version(), watermark, plan));
        self.delta.state = Some(committed.snapshot);
        Ok(())
    }

    fn actions(&self, plan: &Plan) -> Result<(Vec<Action>, DeltaOperation), Error> {
        let table = self.table();
        let now = self.settings.clock.now().millis();
        let data_change = plan.kind != CommitKind::Compact;
        let mut actions = Vec::with_capacity(plan.adds.len() + plan.removes.len() + 2);
        let mut operation = match plan.kind {
            CommitKind::Append => DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None },
            CommitKind::Merge => DeltaOperation::Update { predicate: None },
            CommitKind::Compact => DeltaOperation::Optimize { predicate: None, target_size: self.target_size() },
        };
        if let Some(state) = &self.delta.state {
            actions.extend(delta::evolved(table, state)?.map(Action::Metadata));
        } else {
            let (protocol, metadata) = delta::create(table, &self.settings)?;
            operation = DeltaOperation::Create {
                mode: SaveMode::Append,
                location: self.log.root_url().clone(),
                protocol: protocol.clone(),
                metadata: metadata.clone(),
            };
            actions.extend([Action::Protocol(protocol), Action::Metadata(metadata)]);
        }
        actions.extend(plan.removes.iter().map(|file| Action::Remove(file.remove(now, data_change))));
        actions.extend(plan.adds.iter().map(|file| Action::Add(DataFile::add_of(table, file, data_change))));
        Ok((actions, operation))
    }

    fn target_size(&self) -> i64 {
        i64::try_from(self.settings.target_bytes(self.table().kind())).unwrap_or(i64::MAX)
    }
}

pub(crate) async fn watermark(
    table: TableId,
    state: &DeltaTableState,
    log: &LogStoreRef,
    app_id: &str,
) -> Result<Seq, Error> {
    let version = state.transaction_version(log.as_ref(), app_id).await.told(table, "read the watermark")?;
    Ok(Seq(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0)))
}

fn version_of(table: TableId, seq: Seq) -> Result<i64, Error> {
    i64::try_from(seq.0).map_err(|_| Error::Invalid { table, problem: format!("log position {seq} is out of range") })
}

/// Whether a commit failed only because the log had moved on: then it can be tried on the new version.
fn was_overtaken(error: &Error) -> bool {
    let Error::Delta { source, .. } = error else { return false };
    matches!(
        source.as_ref(),
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::MaxCommitAttempts(_) | TransactionError::VersionAlreadyExists(_)
            }
    )
}

#[cfg(test)]
mod tests;
