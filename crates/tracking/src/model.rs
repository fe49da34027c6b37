//! Requests and answers of this crate, in plain domain types: what MLflow means, without its wire format.
//!
//! Ids in requests are text as the caller sent it: this crate checks it and words the error. Times in requests are
//! milliseconds since the epoch, MLflow's unit; times in answers are [`Timestamp`]s.

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use runlake_engine::search::LatestPoint;
use runlake_types::rows::{Experiment, Lifecycle, LoggedModel, LoggedModelMetric, Run, RunStatus};
use runlake_types::{ExperimentId, ModelId, Point, RunId, Timestamp};

/// One page of a list, and where the next one starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Token of the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}

/// Key and value of a param or tag, borrowed from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyValue<'a> {
    /// The key.
    pub key: &'a str,
    /// The value; a caller who sends none means the empty text.
    pub value: &'a str,
}

/// Which lifecycle stages to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ViewType {
    /// Things in use.
    #[default]
    ActiveOnly,
    /// Soft-deleted things.
    DeletedOnly,
    /// Both.
    All,
}

impl ViewType {
    /// Whether things of this stage are looked at.
    pub(crate) fn takes(self, stage: Lifecycle) -> bool {
        match self {
            Self::ActiveOnly => stage == Lifecycle::Active,
            Self::DeletedOnly => stage == Lifecycle::Deleted,
            Self::All => true,
        }
    }
}

/// An experiment with its tags.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentInfo {
    /// The experiment.
    pub experiment: Experiment,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A new experiment.
#[derive(Debug, Clone, Default)]
pub struct CreateExperiment {
    /// Name; unique among all experiments, deleted ones too.
    pub name: String,
    /// Where artifacts go; `None` or empty: below the server's root.
    pub artifact_location: Option<String>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// A search over experiments.
#[derive(Debug, Clone, Default)]
pub struct SearchExperiments {
    /// Filter in MLflow's grammar.
    pub filter: Option<String>,
    /// Which lifecycle stages.
    pub view_type: ViewType,
    /// Rows of a page. MLflow has no default here: absent counts as 0 and is refused.
    pub max_results: i64,
    /// Sort clauses.
    pub order_by: Vec<String>,
    /// Where the page before ended.
    pub page_token: Option<String>,
}

/// A new run.
#[derive(Debug, Clone, Default)]
pub struct CreateRun {
    /// Its experiment.
    pub experiment_id: String,
    /// Who runs it.
    pub user_id: String,
    /// Name; else the tag `mlflow.runName`, else a random one.
    pub run_name: Option<String>,
    /// When it started; absent is 0, as MLflow has it.
    pub start_time: Option<i64>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// A change of a run's header: absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct UpdateRun {
    /// The run.
    pub run_id: String,
    /// New state.
    pub status: Option<RunStatus>,
    /// When it ended.
    pub end_time: Option<i64>,
    /// New name; empty is ignored.
    pub run_name: Option<String>,
}

/// Everything MLflow tells about a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInfo {
    /// The run.
    pub run: Run,
    /// Params by key.
    pub params: Vec<(String, String)>,
    /// Tags by key.
    pub tags: Vec<(String, String)>,
    /// Latest point of each metric, by key.
    pub metrics: Vec<LatestPoint>,
    /// Datasets that went in.
    pub dataset_inputs: Vec<DatasetInput>,
    /// Logged models that went in.
    pub model_inputs: Vec<ModelId>,
    /// Logged models that came out.
    pub model_outputs: Vec<ModelOutput>,
}

/// A search over runs.
#[derive(Debug, Clone, Default)]
pub struct SearchRuns {
    /// In these experiments; none means no runs.
    pub experiment_ids: Vec<String>,
    /// Filter, a superset of MLflow's grammar.
    pub filter: Option<String>,
    /// Which lifecycle stages.
    pub view_type: ViewType,
    /// Rows of a page; 1000 when absent.
    pub max_results: Option<i64>,
    /// Sort clauses.
    pub order_by: Vec<String>,
    /// Where the page before ended.
    pub page_token: Option<String>,
}

/// A metric point of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricInput<'a> {
    /// Key of the metric.
    pub key: Cow<'a, str>,
    /// Value; NaN and infinities are kept.
    pub value: f64,
    /// When it was measured.
    pub timestamp_ms: i64,
    /// Training step.
    pub step: i64,
    /// Logged model it belongs to.
    pub model_id: Option<Cow<'a, str>>,
    /// Name of the dataset it was measured on.
    pub dataset_name: Option<Cow<'a, str>>,
    /// Digest of that dataset.
    pub dataset_digest: Option<Cow<'a, str>>,
}

/// Metrics, params and tags of one run, logged together: all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct LogBatch<'a> {
    /// The run.
    pub run_id: &'a str,
    /// Points.
    pub metrics: &'a [MetricInput<'a>],
    /// Params.
    pub params: &'a [KeyValue<'a>],
    /// Tags.
    pub tags: &'a [KeyValue<'a>],
}

/// A dataset as a run saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetInfo {
    /// Name.
    pub name: String,
    /// Digest of its content.
    pub digest: String,
    /// Kind of source.
    pub source_type: String,
    /// The source, as the kind says.
    pub source: String,
    /// Schema, as text.
    pub schema: Option<String>,
    /// Profile, as text.
    pub profile: Option<String>,
}

/// A dataset that goes into a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetInput {
    /// The dataset.
    pub dataset: DatasetInfo,
    /// Tags of the use, such as `mlflow.data.context`.
    pub tags: Vec<(String, String)>,
}

/// A logged model that came out of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOutput {
    /// The model.
    pub model_id: ModelId,
    /// At which step.
    pub step: i64,
}

/// What went into a run.
#[derive(Debug, Clone, Default)]
pub struct LogInputs {
    /// The run.
    pub run_id: String,
    /// Datasets.
    pub datasets: Vec<DatasetInput>,
    /// Ids of logged models.
    pub models: Vec<String>,
}

/// What came out of a run.
#[derive(Debug, Clone, Default)]
pub struct LogOutputs {
    /// The run.
    pub run_id: String,
    /// Ids of logged models, with their step.
    pub models: Vec<(String, i64)>,
}

/// One dataset in use within an experiment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatasetSummary {
    /// The experiment.
    pub experiment_id: ExperimentId,
    /// Name of the dataset.
    pub name: String,
    /// Digest of the dataset.
    pub digest: String,
    /// The input's tag `mlflow.data.context`.
    pub context: Option<String>,
}

/// A request for the points of one metric of one run.
#[derive(Debug, Clone, Default)]
pub struct MetricHistory {
    /// The run.
    pub run_id: String,
    /// Key of the metric.
    pub metric_key: String,
    /// Points of a page; all of them when absent.
    pub max_results: Option<i64>,
    /// Where the page before ended.
    pub page_token: Option<String>,
}

/// A request for the points of one metric of many runs.
#[derive(Debug, Clone, Default)]
pub struct MetricHistoryBulk {
    /// The runs: 1 to 100.
    pub run_ids: Vec<String>,
    /// Key of the metric.
    pub metric_key: String,
    /// Points in all; 25,000 when absent, and at most.
    pub max_results: Option<i64>,
}

/// A request for a sample of the points of one metric of many runs.
#[derive(Debug, Clone, Default)]
pub struct MetricHistoryInterval {
    /// The runs: 1 to 100.
    pub run_ids: Vec<String>,
    /// Key of the metric.
    pub metric_key: String,
    /// First step; only together with the last one.
    pub start_step: Option<i64>,
    /// Last step.
    pub end_step: Option<i64>,
    /// Sampled steps, 1 to 2500; 2500 when absent.
    pub max_results: Option<i64>,
}

/// A point and the run it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPoint {
    /// The run.
    pub run_id: RunId,
    /// The point.
    pub point: Point,
}

/// A request for envelopes of one metric of many runs.
#[derive(Debug, Clone, Default)]
pub struct EnvelopeRequest {
    /// The runs: 1 to 100.
    pub run_ids: Vec<String>,
    /// Key of the metric.
    pub metric_key: String,
    /// Buckets the range of steps is cut into, 1 to 2500; 500 when absent.
    pub buckets: Option<i64>,
    /// First step; the smallest of all the runs when absent.
    pub from_step: Option<i64>,
    /// Last step, inclusive; the greatest of all the runs when absent.
    pub to_step: Option<i64>,
}

/// Envelopes of one metric over a range of steps, cut into buckets of equal width. No spike is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelopes {
    /// First step of the range, inclusive.
    pub from_step: i64,
    /// Last step of the range, inclusive.
    pub to_step: i64,
    /// For each run that has points there, in the order asked for.
    pub runs: Vec<RunEnvelope>,
}

/// The envelope of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnvelope {
    /// The run.
    pub run_id: RunId,
    /// Buckets that hold points, in order of steps.
    pub buckets: Vec<EnvelopeBucket>,
}

/// What is in one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvelopeBucket {
    /// Number of the bucket, from 0, in the range.
    pub index: u32,
    /// First point by (step, timestamp, value).
    pub first: Point,
    /// Last point.
    pub last: Point,
    /// A point of the smallest value; `None` when all are NaN.
    pub min: Option<Point>,
    /// A point of the greatest value; `None` when all are NaN.
    pub max: Option<Point>,
    /// Number of points.
    pub count: u64,
    /// How many of them are NaN.
    pub nan_count: u64,
}

/// State of a logged model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoggedModelStatus {
    /// Not said.
    Unspecified,
    /// Being uploaded.
    Pending,
    /// Usable.
    Ready,
    /// The upload failed.
    UploadFailed,
}

impl LoggedModelStatus {
    /// MLflow's number for it, as stored.
    pub const fn number(self) -> i64 {
        match self {
            Self::Unspecified => 0,
            Self::Pending => 1,
            Self::Ready => 2,
            Self::UploadFailed => 3,
        }
    }

    /// Back from [`Self::number`].
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Unspecified),
            1 => Some(Self::Pending),
            2 => Some(Self::Ready),
            3 => Some(Self::UploadFailed),
            _ => None,
        }
    }
}

/// A logged model with all that hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedModelInfo {
    /// The model; see [`LoggedModelStatus::from_number`] for its status.
    pub model: LoggedModel,
    /// Params by key.
    pub params: Vec<(String, String)>,
    /// Tags by key.
    pub tags: Vec<(String, String)>,
    /// Every metric point attached to it.
    pub metrics: Vec<LoggedModelMetric>,
}

/// A new logged model.
#[derive(Debug, Clone, Default)]
pub struct CreateLoggedModel {
    /// Its experiment.
    pub experiment_id: String,
    /// Name; a random one when absent.
    pub name: Option<String>,
    /// Kind of model.
    pub model_type: Option<String>,
    /// The run that made it.
    pub source_run_id: Option<String>,
    /// Params.
    pub params: Vec<(String, String)>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// A search over logged models.
#[derive(Debug, Clone, Default)]
pub struct SearchLoggedModels {
    /// In these experiments.
    pub experiment_ids: Vec<String>,
    /// Filter in MLflow's grammar.
    pub filter: Option<String>,
    /// Datasets that the metric conditions are restricted to.
    pub datasets: Vec<DatasetScope>,
    /// Rows of a page; 100 when absent.
    pub max_results: Option<i64>,
    /// Sort keys.
    pub order_by: Vec<LoggedModelOrder>,
    /// Where the page before ended.
    pub page_token: Option<String>,
}

/// A dataset that metric conditions are restricted to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetScope {
    /// Name; required.
    pub dataset_name: Option<String>,
    /// Digest; any when absent.
    pub dataset_digest: Option<String>,
}

/// A sort key of [`SearchLoggedModels`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedModelOrder {
    /// An attribute, or `metrics.<key>`.
    pub field_name: String,
    /// Smallest first; the default is true.
    pub ascending: bool,
    /// For a metric: measured on the dataset of this name.
    pub dataset_name: Option<String>,
    /// For a metric: measured on the dataset of this digest.
    pub dataset_digest: Option<String>,
}

/// Where the artifacts of a run or model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactPlace {
    /// At this path below the server's artifacts destination: `0/<run id>/artifacts`, no leading slash.
    Proxied(String),
    /// At this URI, which clients read and write themselves.
    Foreign(String),
}

/// How a lake is tracked.
#[derive(Debug, Clone)]
pub struct TrackingSettings {
    /// Root of the artifact locations of new experiments, such as `mlflow-artifacts:/` or `s3://bucket/path`.
    pub default_artifact_root: String,
    /// Cut param and tag values that are too long (with a warning in the log) rather than refuse them.
    pub truncate_long_values: bool,
    /// Schemes that an experiment's own artifact location may have although they name a host (`http`, `sftp`, …); refused
    /// by default, as MLflow 3.17 does, since a server that follows them connects wherever a caller says.
    pub allowed_artifact_schemes: Vec<String>,
}

impl Default for TrackingSettings {
    fn default() -> Self {
        Self {
            default_artifact_root: "mlflow-artifacts:/".into(),
            truncate_long_values: true,
            allowed_artifact_schemes: Vec::new(),
        }
    }
}

/// A time of a request, checked: milliseconds that still fit when stored as microseconds.
pub(crate) fn time_of(parameter: &str, millis: i64) -> crate::Result<Timestamp> {
    Timestamp::from_millis(millis).ok_or_else(|| {
        crate::Error::invalid(format!(
            "Invalid value {millis} for parameter '{parameter}' supplied: times are milliseconds since 1970, \
             and this one is beyond the range that can be stored."
        ))
    })
}
