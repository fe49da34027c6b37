//! Earlier versions of a table.

use std::sync::Arc;

use deltalake_core::DeltaTable;
use futures::TryStreamExt as _;
use object_store::ObjectMeta;
use runlake_types::Timestamp;

use crate::commit::watermark;
use crate::delta;
use crate::error::Told as _;
use crate::snapshot::Snapshot;
use crate::{Error, Table};

impl Table {
    /// The version that was the newest at `time`, as far as the log reaches back: commits stay for
    /// [`crate::LakeSettings::log_retention`], files for as long as [`Table::vacuum`] leaves them.
    pub async fn as_of(&self, time: Timestamp) -> Result<Arc<Snapshot>, Error> {
        let empty = || Arc::new(Snapshot::empty(self.files().clone()));
        let commits = self.commits().await?;
        let Some((first, since)) = commits.first().map(|(version, meta)| (*version, meta.last_modified)) else {
            return Ok(empty());
        };
        let until = commits.partition_point(|(_, meta)| meta.last_modified.timestamp_micros() <= time.micros());
        let Some(last) = until.checked_sub(1) else {
            return if first == 0 {
                Ok(empty())
            } else {
                Err(Error::TooOld { table: self.id(), since: since.to_rfc3339() })
            };
        };
        let newest = self.snapshot();
        let version = commits[last].0;
        if newest.version() == Some(version) {
            return Ok(newest);
        }
        let log = delta::log_store(&self.files().log_objects, &self.files().root);
        let mut table = DeltaTable::new(Arc::clone(&log));
        // The first commits may be there without the checkpoint they stand on.
        if let Err(error) = table.load_version(version).await {
            tracing::debug!(table = self.id().name(), version, %error, "an earlier version cannot be read");
            return Err(Error::TooOld { table: self.id(), since: since.to_rfc3339() });
        }
        let state = table.snapshot().told(self.id(), "read the Delta log")?;
        delta::check(self.id(), state)?;
        let watermark = watermark(self.id(), state, &log, self.app_id()).await?;
        Ok(Arc::new(newest.reread(state, watermark)))
    }

    /// The commits that are in the log, by version.
    async fn commits(&self) -> Result<Vec<(u64, ObjectMeta)>, Error> {
        let log = self.files().root.clone().join("_delta_log");
        let listed: Vec<ObjectMeta> =
            self.files().objects.list(Some(&log)).try_collect().await.told(self.id(), "list the log")?;
        let version = |meta: &ObjectMeta| meta.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok();
        let mut commits: Vec<_> = listed.into_iter().filter_map(|meta| Some((version(&meta)?, meta))).collect();
        commits.sort_unstable_by_key(|(version, _)| *version);
        Ok(commits)
    }
}
