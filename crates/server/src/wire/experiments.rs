//! Experiments.

use runlake_tracking::{CreateExperiment, ExperimentInfo, Page, SearchExperiments, ViewType};
use serde::Serialize;

use super::{Fields, Pair, optional_text, read_pairs};
use crate::error::Result;

impl Fields {
    /// `experiments/create`.
    pub(crate) fn create_experiment(&self) -> Result<CreateExperiment> {
        Ok(CreateExperiment {
            name: self.required_text("name")?,
            artifact_location: optional_text(self, "artifact_location")?,
            tags: read_pairs(self, "tags")?,
        })
    }

    /// `experiments/search`.
    pub(crate) fn search_experiments(&self) -> Result<SearchExperiments> {
        Ok(SearchExperiments {
            view_type: self.view_type("view_type"),
            max_results: self.int("max_results")?.unwrap_or_default(),
            order_by: self.texts("order_by")?,
            filter: optional_text(self, "filter")?,
            page_token: optional_text(self, "page_token")?,
        })
    }

    /// Which lifecycle stages a search looks at, by name or number.
    pub(super) fn view_type(&self, name: &str) -> ViewType {
        const NAMES: [&str; 3] = ["ACTIVE_ONLY", "DELETED_ONLY", "ALL"];
        let of_name = |text: &str| match text {
            "ACTIVE_ONLY" => Some(ViewType::ActiveOnly),
            "DELETED_ONLY" => Some(ViewType::DeletedOnly),
            "ALL" => Some(ViewType::All),
            _ => None,
        };
        self.member(name, of_name, &NAMES).unwrap_or_default()
    }
}

/// Answer of `experiments/create`.
#[derive(Debug, Serialize)]
pub(crate) struct ExperimentCreated {
    pub(crate) experiment_id: String,
}

/// Answer of `experiments/get` and `experiments/get-by-name`.
#[derive(Debug, Serialize)]
pub(crate) struct ExperimentAnswer<'a> {
    pub(crate) experiment: Experiment<'a>,
}

/// Answer of `experiments/search`.
#[derive(Debug, Serialize)]
pub(crate) struct ExperimentsAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    experiments: Vec<Experiment<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a, T: AsRef<ExperimentInfo>> From<&'a Page<T>> for ExperimentsAnswer<'a> {
    fn from(page: &'a Page<T>) -> Self {
        Self {
            experiments: page.items.iter().map(|item| item.as_ref().into()).collect(),
            next_page_token: page.next_page_token.as_deref(),
        }
    }
}

/// An experiment.
#[allow(clippy::struct_field_names, reason = "the names are MLflow's")]
#[derive(Debug, Serialize)]
pub(crate) struct Experiment<'a> {
    experiment_id: String,
    name: &'a str,
    artifact_location: &'a str,
    lifecycle_stage: &'static str,
    last_update_time: i64,
    creation_time: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
}

impl<'a> From<&'a ExperimentInfo> for Experiment<'a> {
    fn from(info: &'a ExperimentInfo) -> Self {
        let experiment = &info.experiment;
        Self {
            experiment_id: experiment.experiment_id.to_string(),
            name: &experiment.name,
            artifact_location: &experiment.artifact_location,
            lifecycle_stage: experiment.lifecycle_stage.as_str(),
            last_update_time: experiment.last_update_time.millis(),
            creation_time: experiment.creation_time.millis(),
            tags: Pair::list(&info.tags),
        }
    }
}
