//! Logged models of MLflow 3.

use runlake_tracking::{
    CreateLoggedModel, DatasetScope, LoggedModelInfo, LoggedModelOrder, LoggedModelStatus, Page, SearchLoggedModels,
};
use runlake_types::rows::LoggedModelMetric;
use serde::Serialize;

use super::{Double, Fields, Pair, optional_text, read_pairs};
use crate::error::{ApiError, Result};

/// Names of the states, in the order of their numbers from 1.
const STATUS_NAMES: [&str; 3] = ["LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"];

impl Fields {
    /// `POST logged-models`.
    pub(crate) fn create_logged_model(&self) -> Result<CreateLoggedModel> {
        Ok(CreateLoggedModel {
            experiment_id: self.required_text("experiment_id")?,
            name: optional_text(self, "name")?,
            model_type: optional_text(self, "model_type")?,
            source_run_id: optional_text(self, "source_run_id")?,
            params: read_pairs(self, "params")?,
            tags: read_pairs(self, "tags")?,
        })
    }

    /// State in `PATCH logged-models/{id}`; `model_id` must be in the body as well.
    pub(crate) fn finalize_logged_model(&self) -> Result<LoggedModelStatus> {
        self.required_text("model_id")?;
        if !self.has("status") {
            return Err(self.missing("status"));
        }
        let of_name = |name: &str| {
            let position = STATUS_NAMES.iter().position(|known| *known == name)?;
            LoggedModelStatus::from_number(i64::try_from(position).ok()? + 1)
        };
        self.member("status", of_name, &STATUS_NAMES).ok_or_else(|| {
            ApiError::invalid(format!(
                "Invalid value for parameter 'status' supplied. It must be one of {}.",
                STATUS_NAMES.join(", ")
            ))
        })
    }

    /// `PATCH logged-models/{id}/tags`.
    pub(crate) fn tags(&self) -> Result<Vec<(String, String)>> {
        read_pairs(self, "tags")
    }

    /// `POST logged-models/{id}/params`.
    pub(crate) fn params(&self) -> Result<Vec<(String, String)>> {
        read_pairs(self, "params")
    }

    /// `POST logged-models/search`.
    pub(crate) fn search_logged_models(&self) -> Result<SearchLoggedModels> {
        let scope = |fields: &Self| {
            Ok(DatasetScope {
                dataset_name: optional_text(fields, "dataset_name")?,
                dataset_digest: optional_text(fields, "dataset_digest")?,
            })
        };
        let order = |fields: &Self| {
            Ok(LoggedModelOrder {
                field_name: fields.text("field_name")?.unwrap_or_default(),
                ascending: fields.boolean("ascending")?.unwrap_or(true),
                dataset_name: optional_text(fields, "dataset_name")?,
                dataset_digest: optional_text(fields, "dataset_digest")?,
            })
        };
        Ok(SearchLoggedModels {
            experiment_ids: self.required_texts("experiment_ids")?,
            filter: optional_text(self, "filter")?,
            datasets: self.objects("datasets")?.iter().map(scope).collect::<Result<_>>()?,
            max_results: self.int("max_results")?,
            order_by: self.objects("order_by")?.iter().map(order).collect::<Result<_>>()?,
            page_token: optional_text(self, "page_token")?,
        })
    }
}

/// Answer of the routes of one logged model.
#[derive(Debug, Serialize)]
pub(crate) struct ModelAnswer<'a> {
    pub(crate) model: LoggedModel<'a>,
}

/// Answer of `logged-models/search`.
#[derive(Debug, Serialize)]
pub(crate) struct ModelsAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<LoggedModel<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a> From<&'a Page<LoggedModelInfo>> for ModelsAnswer<'a> {
    fn from(page: &'a Page<LoggedModelInfo>) -> Self {
        Self { models: page.items.iter().map(Into::into).collect(), next_page_token: page.next_page_token.as_deref() }
    }
}

/// A logged model.
#[derive(Debug, Serialize)]
pub(crate) struct LoggedModel<'a> {
    info: Info<'a>,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
struct Info<'a> {
    model_id: &'a str,
    experiment_id: String,
    name: &'a str,
    creation_timestamp_ms: i64,
    last_updated_timestamp_ms: i64,
    artifact_uri: &'a str,
    status: &'static str,
    model_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_run_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<ModelMetric<'a>>,
}

#[derive(Debug, Serialize)]
struct ModelMetric<'a> {
    key: &'a str,
    value: Double,
    timestamp: i64,
    step: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_digest: Option<&'a str>,
    model_id: &'a str,
    run_id: &'a str,
}

impl<'a> From<&'a LoggedModelInfo> for LoggedModel<'a> {
    fn from(parts: &'a LoggedModelInfo) -> Self {
        let model = &parts.model;
        Self {
            info: Info {
                model_id: model.model_id.as_str(),
                experiment_id: model.experiment_id.to_string(),
                name: &model.name,
                creation_timestamp_ms: model.creation_time.millis(),
                last_updated_timestamp_ms: model.last_update_time.millis(),
                artifact_uri: &model.artifact_uri,
                status: status_name(model.status),
                model_type: model.model_type.as_deref().unwrap_or_default(),
                source_run_id: model.source_run_id.as_deref(),
                status_message: model.status_message.as_deref(),
                tags: Pair::of_pairs(&parts.tags),
            },
            data: Data {
                params: Pair::of_pairs(&parts.params),
                metrics: parts.metrics.iter().map(Into::into).collect(),
            },
        }
    }
}

impl<'a> From<&'a LoggedModelMetric> for ModelMetric<'a> {
    fn from(metric: &'a LoggedModelMetric) -> Self {
        Self {
            key: &metric.key,
            value: Double(metric.value),
            timestamp: metric.timestamp.millis(),
            step: metric.step,
            dataset_name: metric.dataset_name.as_deref(),
            dataset_digest: metric.dataset_digest.as_deref(),
            model_id: metric.model_id.as_str(),
            run_id: metric.run_id.as_str(),
        }
    }
}

/// MLflow's name of a stored status.
pub(super) fn status_name(number: i64) -> &'static str {
    let name = usize::try_from(number - 1).ok().and_then(|index| STATUS_NAMES.get(index));
    name.copied().unwrap_or("LOGGED_MODEL_STATUS_UNSPECIFIED")
}
