//! Runs.

use runlake_tracking::{CreateRun, LatestPoint, Page, RunInfo as RunParts, SearchRuns, UpdateRun};
use runlake_types::rows::{Run as RunRow, RunStatus};
use serde::Serialize;

use super::{DatasetInputAnswer, Double, Fields, Pair, optional_text, read_pairs};
use crate::error::Result;

impl Fields {
    /// `runs/create`.
    pub(crate) fn create_run(&self) -> Result<CreateRun> {
        Ok(CreateRun {
            experiment_id: self.required_text("experiment_id")?,
            start_time: self.int("start_time")?,
            run_name: optional_text(self, "run_name")?,
            user_id: self.text("user_id")?.unwrap_or_default(),
            tags: read_pairs(self, "tags")?,
        })
    }

    /// `runs/update`. A status that is none is ignored, as MLflow does.
    pub(crate) fn update_run(&self) -> Result<UpdateRun> {
        const NAMES: [&str; 5] = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];
        Ok(UpdateRun {
            run_id: self.run_id()?,
            end_time: self.int("end_time")?,
            status: self.member("status", RunStatus::parse, &NAMES),
            run_name: self.text("run_name")?,
        })
    }

    /// `runs/search`.
    pub(crate) fn search_runs(&self) -> Result<SearchRuns> {
        Ok(SearchRuns {
            experiment_ids: self.texts("experiment_ids")?,
            filter: optional_text(self, "filter")?,
            max_results: self.int("max_results")?,
            order_by: self.texts("order_by")?,
            view_type: self.view_type("run_view_type"),
            page_token: optional_text(self, "page_token")?,
        })
    }
}

/// Answer of `runs/create` and `runs/get`.
#[derive(Debug, Serialize)]
pub(crate) struct RunAnswer<'a> {
    pub(crate) run: Run<'a>,
}

/// Answer of `runs/update`.
#[derive(Debug, Serialize)]
pub(crate) struct RunUpdated<'a> {
    pub(crate) run_info: RunInfo<'a>,
}

/// Answer of `runs/search`.
#[derive(Debug, Serialize)]
pub(crate) struct RunsAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Run<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a> From<&'a Page<RunParts>> for RunsAnswer<'a> {
    fn from(page: &'a Page<RunParts>) -> Self {
        Self { runs: page.items.iter().map(Into::into).collect(), next_page_token: page.next_page_token.as_deref() }
    }
}

/// A run with everything it holds.
#[derive(Debug, Serialize)]
pub(crate) struct Run<'a> {
    info: RunInfo<'a>,
    data: RunData<'a>,
    inputs: RunInputs<'a>,
    outputs: RunOutputs<'a>,
}

impl<'a> From<&'a RunParts> for Run<'a> {
    fn from(parts: &'a RunParts) -> Self {
        Self {
            info: (&parts.run).into(),
            data: RunData {
                metrics: parts.metrics.iter().map(Into::into).collect(),
                params: Pair::of_pairs(&parts.params),
                tags: Pair::of_pairs(&parts.tags),
            },
            inputs: RunInputs {
                dataset_inputs: parts.dataset_inputs.iter().map(Into::into).collect(),
                model_inputs: parts.model_inputs.iter().map(|id| ModelInput { model_id: id.as_str() }).collect(),
            },
            outputs: RunOutputs {
                model_outputs: parts
                    .model_outputs
                    .iter()
                    .map(|output| ModelOutput { model_id: output.model_id.as_str(), step: output.step })
                    .collect(),
            },
        }
    }
}

/// The header of a run. It tells its id twice, as old clients look for `run_uuid`.
#[derive(Debug, Serialize)]
pub(crate) struct RunInfo<'a> {
    run_uuid: &'a str,
    run_id: &'a str,
    experiment_id: String,
    run_name: &'a str,
    user_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    artifact_uri: &'a str,
    lifecycle_stage: &'static str,
}

impl<'a> From<&'a RunRow> for RunInfo<'a> {
    fn from(run: &'a RunRow) -> Self {
        Self {
            run_uuid: run.run_id.as_str(),
            run_id: run.run_id.as_str(),
            experiment_id: run.experiment_id.to_string(),
            run_name: &run.run_name,
            user_id: &run.user_id,
            status: run.status.as_str(),
            start_time: run.start_time.map(runlake_types::Timestamp::millis),
            end_time: run.end_time.map(runlake_types::Timestamp::millis),
            artifact_uri: &run.artifact_uri,
            lifecycle_stage: run.lifecycle_stage.as_str(),
        }
    }
}

#[derive(Debug, Serialize)]
struct RunData<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<LastMetric<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
}

#[derive(Debug, Serialize)]
struct LastMetric<'a> {
    key: &'a str,
    value: Double,
    timestamp: i64,
    step: i64,
}

impl<'a> From<&'a LatestPoint> for LastMetric<'a> {
    fn from(metric: &'a LatestPoint) -> Self {
        Self { key: &metric.key, value: Double(metric.value), timestamp: metric.timestamp.millis(), step: metric.step }
    }
}

#[derive(Debug, Serialize)]
struct RunInputs<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dataset_inputs: Vec<DatasetInputAnswer<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_inputs: Vec<ModelInput<'a>>,
}

#[derive(Debug, Serialize)]
struct RunOutputs<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_outputs: Vec<ModelOutput<'a>>,
}

#[derive(Debug, Serialize)]
struct ModelInput<'a> {
    model_id: &'a str,
}

#[derive(Debug, Serialize)]
struct ModelOutput<'a> {
    model_id: &'a str,
    step: i64,
}
