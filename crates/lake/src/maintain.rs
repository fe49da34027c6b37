//! Keeping a table cheap to open and its folder small: checkpoints, log clean-up, vacuum. None of it changes a row, and
//! none of it is part of a commit, where it could fail after the commit is durable.

use std::time::Duration;

use deltalake_core::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use rustc_hash::FxHashMap;

use crate::error::Told as _;
use crate::{Error, Table};

/// A file that is in no version may still be on its way into one: it is left alone for this long at least.
const UPLOAD_TIME: Duration = Duration::from_hours(1);

/// What [`Table::vacuum`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VacuumReport {
    /// Files deleted that an earlier version had.
    pub removed_files: usize,
    /// Files deleted that were written but never committed.
    pub uncommitted_files: usize,
    /// Their size.
    pub bytes: u64,
}

impl Table {
    /// Writes a checkpoint of the newest version: opening the table then reads it and only later commits.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let committer = self.committer().lock().await;
        if committer.delta().version().is_none() {
            return Ok(());
        }
        create_checkpoint(committer.delta(), None).await.told(self.id(), "write a checkpoint")
    }

    /// Writes a checkpoint if there were enough commits since the last one; whether it did.
    pub async fn checkpoint_if_due(&self) -> Result<bool, Error> {
        let Some(newest) = self.snapshot().version() else { return Ok(false) };
        let commits = match self.checkpoint_version().await? {
            Some(last) => newest.saturating_sub(last),
            None => newest + 1,
        };
        let due = commits >= self.settings().checkpoint_interval;
        if due {
            self.checkpoint().await?;
        }
        Ok(due)
    }

    /// Deletes commits from the log that a checkpoint covers and that are older than the log retention; how many.
    pub async fn clean_log(&self) -> Result<usize, Error> {
        let Some(newest) = self.snapshot().version() else { return Ok(0) };
        let committer = self.committer().lock().await;
        let cutoff = self.millis_ago(self.settings().log_retention);
        cleanup_expired_logs_for(newest, committer.log().as_ref(), cutoff, None)
            .await
            .told(self.id(), "clean up the log")
    }

    /// Deletes files that were removed from the table longer than `retain` ago, and files that were written that long ago
    /// and never committed. Snapshots older than `retain` then cannot be read any more; live files are never touched.
    pub async fn vacuum(&self, retain: Duration) -> Result<VacuumReport, Error> {
        let (removed, listed) = {
            // No commit may come between looking at the log and at the folder.
            let mut committer = self.committer().lock().await;
            committer.refresh().await?;
            self.publish(&committer);
            let Ok(state) = committer.delta().snapshot() else { return Ok(VacuumReport::default()) };
            let removed: FxHashMap<String, i64> = state
                .all_tombstones(committer.log().as_ref())
                .map_ok(|tombstone| (tombstone.path().into_owned(), tombstone.deletion_timestamp().unwrap_or(0)))
                .try_collect()
                .await
                .told(self.id(), "read what was removed")?;
            (removed, self.list_files().await?)
        };
        let live = self.snapshot();
        let mut report = VacuumReport::default();
        let mut doomed = Vec::new();
        for (name, meta) in listed {
            if live.has_name(&name) {
                continue;
            }
            let is_old = match removed.get(&name) {
                Some(since) => *since <= self.millis_ago(retain),
                None => meta.last_modified.timestamp_millis() <= self.millis_ago(retain.max(UPLOAD_TIME)),
            };
            if is_old {
                report.removed_files += usize::from(removed.contains_key(&name));
                report.uncommitted_files += usize::from(!removed.contains_key(&name));
                report.bytes += meta.size;
                doomed.push(Ok(meta.location));
            }
        }
        self.delete(doomed).await?;
        Ok(report)
    }

    async fn delete(&self, doomed: Vec<object_store::Result<Path>>) -> Result<(), Error> {
        let mut deleting = self.files().objects.delete_stream(futures::stream::iter(doomed).boxed());
        while let Some(result) = deleting.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                failed => drop(failed.told(self.id(), "delete a file")?),
            }
        }
        Ok(())
    }

    /// The Parquet files in the table's folder, by their name in the log.
    async fn list_files(&self) -> Result<Vec<(String, ObjectMeta)>, Error> {
        let root = &self.files().root;
        let listed: Vec<ObjectMeta> =
            self.files().objects.list(Some(root)).try_collect().await.told(self.id(), "list the files")?;
        let name_of = |location: &Path| -> Option<String> {
            let name: Path = location.prefix_match(root)?.collect();
            let is_data = name.as_ref().ends_with(".parquet") && !name.as_ref().starts_with("_delta_log/");
            is_data.then(|| name.to_string())
        };
        Ok(listed.into_iter().filter_map(|meta| Some((name_of(&meta.location)?, meta))).collect())
    }

    /// The version of the newest checkpoint.
    async fn checkpoint_version(&self) -> Result<Option<u64>, Error> {
        let hint = self.files().root.clone().join("_delta_log").join("_last_checkpoint");
        let read = async { self.files().objects.get(&hint).await?.bytes().await };
        match read.await {
            Ok(bytes) => {
                let hint: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
                Ok(hint.and_then(|hint| hint["version"].as_u64()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).told(self.id(), "read the newest checkpoint"),
        }
    }

    fn millis_ago(&self, duration: Duration) -> i64 {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.settings().clock.now().millis().saturating_sub(millis)
    }
}

#[cfg(test)]
mod tests;
