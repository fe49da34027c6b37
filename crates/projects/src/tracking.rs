//! What a launch needs of a tracking server, of a terminal, and of whoever may stop it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::Result;

/// A tracking server of MLflow's kind. Calls block; errors are [`crate::Error::Server`].
pub trait Tracking: Send + Sync {
    /// The address that programs of a project are given as `MLFLOW_TRACKING_URI`.
    fn uri(&self) -> &str;

    /// The id of the experiment of a name, which is made if there is none.
    fn experiment_named(&self, name: &str) -> Result<String>;

    /// Makes a run that is under way.
    fn create_run(&self, run: &NewRun) -> Result<Run>;

    /// The run of an id, if the server has it.
    fn run(&self, id: &str) -> Result<Option<Run>>;

    /// The runs whose parent is this one, oldest first.
    fn children(&self, parent: &Run) -> Result<Vec<Run>>;

    /// Logs params and sets tags.
    fn log(&self, run: &Run, params: &[(String, String)], tags: &[(String, String)]) -> Result;

    /// Sets the status of a run, and its end unless it is [`Status::Running`].
    fn set_status(&self, run: &Run, status: Status) -> Result;

    /// Stores an artifact of a run, in place of an earlier one.
    fn upload(&self, run: &Run, path: &str, bytes: Vec<u8>) -> Result;

    /// Fetches a file or folder of artifacts (`runs:/…`, `mlflow-artifacts:/…`) into a folder, and tells where it is.
    fn download(&self, uri: &str, into: &Path) -> Result<PathBuf>;
}

/// A run to be made.
#[derive(Debug, Clone, Default)]
pub struct NewRun {
    /// The experiment.
    pub experiment_id: String,
    /// Its name; without one the server finds one.
    pub name: Option<String>,
    /// Who runs it.
    pub user: String,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// A run of the server.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its experiment.
    pub experiment_id: String,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Where its artifacts are.
    pub artifact_uri: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its params.
    pub params: BTreeMap<String, String>,
    /// The last value of each metric.
    pub metrics: BTreeMap<String, f64>,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// Not done.
    #[default]
    Running,
    /// Done, and well.
    Finished,
    /// Done, and not well.
    Failed,
    /// Stopped by somebody.
    Killed,
}

impl Status {
    /// As MLflow writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }

    /// The status of a name; whatever waits or runs is running.
    pub fn named(name: &str) -> Self {
        match name {
            "FINISHED" => Self::Finished,
            "FAILED" => Self::Failed,
            "KILLED" => Self::Killed,
            _ => Self::Running,
        }
    }
}

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Whoever watches.
pub trait Console: Send + Sync {
    /// A line on what is going on.
    fn say(&self, line: &str);

    /// What a program wrote, in the pieces in which it came.
    fn write(&self, stream: Stream, bytes: &[u8]);
}

/// A wish to stop, shared by everybody. The second one is urgent.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicU8>);

impl Cancel {
    /// Asks to stop; asked again, at once.
    pub fn ask(&self) {
        let _earlier = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |asked| Some(asked.saturating_add(1)));
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// Whether somebody asked twice.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 1
    }

    /// An error if somebody asked.
    pub(crate) fn check(&self) -> Result {
        if self.is_asked() { Err(crate::Error::Cancelled) } else { Ok(()) }
    }
}
