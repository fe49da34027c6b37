//! Registered models and their versions.

use runlake_registry::{CreateModel, CreateVersion, ModelInfo, Search, VersionInfo};
use runlake_tracking::Page;
use runlake_types::rows::RegistryEvent;
use serde::Serialize;

use super::{Fields, Pair, optional_text, read_pairs};
use crate::error::Result;

/// A version, as requests name one.
#[derive(Debug)]
pub(crate) struct VersionName {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Fields {
    /// `registered-models/create`.
    pub(crate) fn create_registered_model(&self) -> Result<CreateModel> {
        Ok(CreateModel {
            name: self.required_text("name")?,
            tags: read_pairs(self, "tags")?,
            description: optional_text(self, "description")?,
        })
    }

    /// `model-versions/create`.
    pub(crate) fn create_model_version(&self) -> Result<CreateVersion> {
        Ok(CreateVersion {
            name: self.required_text("name")?,
            source: self.required_text("source")?,
            run_id: optional_text(self, "run_id")?,
            tags: read_pairs(self, "tags")?,
            run_link: optional_text(self, "run_link")?,
            description: optional_text(self, "description")?,
            model_id: optional_text(self, "model_id")?,
        })
    }

    /// The version a request is about.
    pub(crate) fn version_name(&self) -> Result<VersionName> {
        Ok(VersionName { name: self.required_text("name")?, version: self.required_text("version")? })
    }

    /// `registered-models/search` and `model-versions/search`.
    pub(crate) fn search_registry(&self) -> Result<Search> {
        Ok(Search {
            filter: optional_text(self, "filter")?,
            max_results: self.int("max_results")?,
            order_by: self.texts("order_by")?,
            page_token: optional_text(self, "page_token")?,
        })
    }
}

/// Answer of the routes of one registered model.
#[derive(Debug, Serialize)]
pub(crate) struct RegisteredModelAnswer<'a> {
    pub(crate) registered_model: RegisteredModel<'a>,
}

/// Answer of `registered-models/search`.
#[derive(Debug, Serialize)]
pub(crate) struct RegisteredModelsAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    registered_models: Vec<RegisteredModel<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a> From<&'a Page<ModelInfo>> for RegisteredModelsAnswer<'a> {
    fn from(page: &'a Page<ModelInfo>) -> Self {
        Self {
            registered_models: page.items.iter().map(Into::into).collect(),
            next_page_token: page.next_page_token.as_deref(),
        }
    }
}

/// Answer of the routes of one version.
#[derive(Debug, Serialize)]
pub(crate) struct ModelVersionAnswer<'a> {
    pub(crate) model_version: ModelVersion<'a>,
}

/// Answer of the routes of many versions.
#[derive(Debug, Serialize)]
pub(crate) struct ModelVersionsAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_versions: Vec<ModelVersion<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a> From<&'a [VersionInfo]> for ModelVersionsAnswer<'a> {
    fn from(versions: &'a [VersionInfo]) -> Self {
        Self { model_versions: versions.iter().map(Into::into).collect(), next_page_token: None }
    }
}

impl<'a> From<&'a Page<VersionInfo>> for ModelVersionsAnswer<'a> {
    fn from(page: &'a Page<VersionInfo>) -> Self {
        Self { next_page_token: page.next_page_token.as_deref(), ..page.items.as_slice().into() }
    }
}

/// Answer of `model-versions/get-download-uri`.
#[derive(Debug, Serialize)]
pub(crate) struct DownloadUri<'a> {
    pub(crate) artifact_uri: &'a str,
}

/// A registered model.
#[derive(Debug, Serialize)]
pub(crate) struct RegisteredModel<'a> {
    name: &'a str,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    latest_versions: Vec<ModelVersion<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<Alias<'a>>,
}

/// An alias and the version it means.
#[derive(Debug, Serialize)]
struct Alias<'a> {
    alias: &'a str,
    version: String,
}

impl<'a> From<&'a ModelInfo> for RegisteredModel<'a> {
    fn from(info: &'a ModelInfo) -> Self {
        Self {
            name: &info.model.name,
            creation_timestamp: info.model.creation_time.millis(),
            last_updated_timestamp: info.model.last_update_time.millis(),
            description: info.model.description.as_deref(),
            latest_versions: info.latest_versions.iter().map(Into::into).collect(),
            tags: Pair::of_pairs(&info.tags),
            aliases: info
                .aliases
                .iter()
                .map(|(alias, version)| Alias { alias, version: version.to_string() })
                .collect(),
        }
    }
}

/// A version. Its number is text, as in MLflow's protobuf.
#[derive(Debug, Serialize)]
pub(crate) struct ModelVersion<'a> {
    name: &'a str,
    version: String,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    current_stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    source: &'a str,
    run_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
    run_link: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
}

impl<'a> From<&'a VersionInfo> for ModelVersion<'a> {
    fn from(info: &'a VersionInfo) -> Self {
        let version = &info.version;
        Self {
            name: &version.name,
            version: version.version.to_string(),
            creation_timestamp: version.creation_time.millis(),
            last_updated_timestamp: version.last_update_time.millis(),
            user_id: version.user_id.as_deref(),
            current_stage: version.current_stage.as_str(),
            description: version.description.as_deref(),
            source: &version.source,
            run_id: version.run_id.as_deref().unwrap_or_default(),
            status: version.status.as_str(),
            status_message: version.status_message.as_deref(),
            tags: Pair::of_pairs(&info.tags),
            run_link: version.run_link.as_deref().unwrap_or_default(),
            aliases: info.aliases.iter().map(String::as_str).collect(),
            model_id: version.model_id.as_deref(),
        }
    }
}

/// Answer of `/api/runlake/registry/history`.
#[derive(Debug, Serialize)]
pub(crate) struct RegistryHistory<'a> {
    events: Vec<Event<'a>>,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "event_id")]
    id: &'a str,
    time: i64,
    action: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

impl<'a> From<&'a [RegistryEvent]> for RegistryHistory<'a> {
    fn from(events: &'a [RegistryEvent]) -> Self {
        let event = |event: &'a RegistryEvent| Event {
            id: event.event_id.as_str(),
            time: event.time.millis(),
            action: event.action.as_str(),
            name: &event.name,
            actor: event.actor.as_deref(),
            version: event.version.map(|version| version.to_string()),
            subject: event.subject.as_deref(),
            old_value: event.old_value.as_deref(),
            new_value: event.new_value.as_deref(),
            comment: event.comment.as_deref(),
        };
        Self { events: events.iter().map(event).collect() }
    }
}
