//! What the server tells of itself.

use std::time::Duration;

use runlake_engine::{CompactSummary, FlushSummary, Status, VacuumSummary};
use serde::Serialize;

use super::Fields;
use crate::error::{ApiError, Result};

/// How long table files that no version names are kept when the caller does not say.
const DEFAULT_RETAIN: Duration = Duration::from_hours(7 * 24);

/// Answer of `server-info`, which newer clients ask once per server.
#[allow(clippy::struct_excessive_bools, reason = "the fields are MLflow's")]
#[derive(Debug, Serialize)]
pub(crate) struct ServerInfo {
    /// `SqlStore`: the one kind of store that clients expect every feature of.
    pub(crate) store_type: &'static str,
    pub(crate) workspaces_enabled: bool,
    pub(crate) trace_archival_enabled: bool,
    pub(crate) multipart_uploads_enabled: bool,
    pub(crate) multipart_downloads_enabled: bool,
    pub(crate) presigned_upload_run_id_supported: bool,
    pub(crate) presigned_upload_model_id_supported: bool,
    /// Version of runlake; MLflow's clients ignore it.
    pub(crate) runlake_version: &'static str,
}

/// Answer of `ui-telemetry`: none is collected.
#[allow(clippy::struct_field_names, reason = "the names are MLflow's")]
#[derive(Debug, Serialize)]
pub(crate) struct UiTelemetry {
    pub(crate) disable_ui_telemetry: bool,
    pub(crate) disable_ui_events: [&'static str; 0],
    pub(crate) ui_rollout_percentage: u8,
}

/// Answer of the lists that come with a fixed name and are empty here.
#[derive(Debug, Serialize)]
pub(crate) struct NoConfigs {
    pub(crate) configs: [(); 0],
}

/// Answer of `POST /api/runlake/flush`.
#[derive(Debug, Serialize)]
pub(crate) struct FlushAnswer {
    flushed: u64,
    generations: usize,
    points: usize,
    changes: usize,
}

impl From<FlushSummary> for FlushAnswer {
    fn from(summary: FlushSummary) -> Self {
        let FlushSummary { flushed, generations, points, changes } = summary;
        Self { flushed: flushed.0, generations, points, changes }
    }
}

/// Answer of `POST /api/runlake/compact`.
#[derive(Debug, Serialize)]
pub(crate) struct CompactAnswer {
    files_removed: u64,
    files_added: u64,
}

impl From<CompactSummary> for CompactAnswer {
    fn from(summary: CompactSummary) -> Self {
        let CompactSummary { files_removed, files_added } = summary;
        Self { files_removed, files_added }
    }
}

/// Answer of `POST /api/runlake/vacuum`.
#[derive(Debug, Serialize)]
pub(crate) struct VacuumAnswer {
    files_deleted: u64,
    bytes_deleted: u64,
    uploads_removed: u64,
    staging_files_removed: u64,
}

/// What unfinished uploads and cut-off writes left behind, cleared away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swept {
    pub(crate) uploads: u64,
    pub(crate) staging_files: u64,
}

impl VacuumAnswer {
    pub(crate) fn new(summary: VacuumSummary, swept: Swept) -> Self {
        let VacuumSummary { files_deleted, bytes_deleted } = summary;
        let Swept { uploads, staging_files } = swept;
        Self { files_deleted, bytes_deleted, uploads_removed: uploads, staging_files_removed: staging_files }
    }
}

/// Answer of `GET /api/runlake/status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusAnswer {
    version: &'static str,
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    applied: u64,
    flushed: u64,
    memtable_bytes: u64,
    queued_bytes: u64,
    wal_bytes: u64,
    points_written: u64,
    flushes: u64,
    flush_failures: u64,
    compactions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl From<Status> for StatusAnswer {
    fn from(status: Status) -> Self {
        Self {
            version: crate::VERSION,
            read_only: status.epoch.is_none(),
            epoch: status.epoch.map(|epoch| epoch.0),
            applied: status.applied.0,
            flushed: status.flushed.0,
            memtable_bytes: status.memtable_bytes,
            queued_bytes: status.queued_bytes,
            wal_bytes: status.wal_bytes,
            points_written: status.points,
            flushes: status.flushes,
            flush_failures: status.flush_failures,
            compactions: status.compactions,
            failure: status.failure,
        }
    }
}

impl Fields {
    /// `retain_seconds` of `POST /api/runlake/vacuum`.
    pub(crate) fn retain(&self) -> Result<Duration> {
        match self.int("retain_seconds")? {
            None => Ok(DEFAULT_RETAIN),
            Some(seconds) => u64::try_from(seconds).map(Duration::from_secs).map_err(|_| {
                ApiError::invalid(format!(
                    "Invalid value {seconds} for parameter 'retain_seconds' supplied: it is negative."
                ))
            }),
        }
    }
}
