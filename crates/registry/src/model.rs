//! Requests and answers of this crate, in plain domain types.

use runlake_types::rows::{ModelVersion, RegisteredModel};

pub use runlake_types::rows::{RegistryAction, RegistryEvent, Stage, VersionStatus};

/// Tag that makes a registered model, or a version of it, a prompt.
pub const IS_PROMPT: &str = "mlflow.prompt.is_prompt";

/// A registered model with what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The model.
    pub model: RegisteredModel,
    /// Tags by key.
    pub tags: Vec<(String, String)>,
    /// Aliases by name, with the version each means.
    pub aliases: Vec<(String, i64)>,
    /// The latest version of each stage that has any, by rising number.
    pub latest_versions: Vec<VersionInfo>,
}

/// A model version with what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionInfo {
    /// The version.
    pub version: ModelVersion,
    /// Tags by key.
    pub tags: Vec<(String, String)>,
    /// Aliases of the version.
    pub aliases: Vec<String>,
}

impl VersionInfo {
    /// Where its files are: never a reference to another version or model, though perhaps one to a run.
    pub fn download_uri(&self) -> &str {
        self.version.storage_location.as_deref().unwrap_or(&self.version.source)
    }
}

/// A new registered model.
#[derive(Debug, Clone, Default)]
pub struct CreateModel {
    /// Name; no `/` and no `:`.
    pub name: String,
    /// Description; empty is none.
    pub description: Option<String>,
    /// Tags; of a key given twice the last value counts.
    pub tags: Vec<(String, String)>,
}

/// A new version of a registered model.
#[derive(Debug, Clone, Default)]
pub struct CreateVersion {
    /// The model.
    pub name: String,
    /// Where its files are: an artifact URI, `runs:/…` or `models:/…`.
    pub source: String,
    /// The run that made it. What `source` says need not be said again.
    pub run_id: Option<String>,
    /// The logged model it is.
    pub model_id: Option<String>,
    /// A link to the run on another server.
    pub run_link: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Tags; of a key given twice the last value counts.
    pub tags: Vec<(String, String)>,
}

/// A search over registered models, or over versions.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Filter in MLflow's grammar.
    pub filter: Option<String>,
    /// Rows of a page; when absent 100 models or 10,000 versions.
    pub max_results: Option<i64>,
    /// Sort clauses.
    pub order_by: Vec<String>,
    /// Where the page before ended.
    pub page_token: Option<String>,
}
