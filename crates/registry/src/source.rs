//! Where a version comes from.
//!
//! A source is an artifact URI, a run (`runs:/…`), a logged model (`models:/m-…`) or another version (`models:/Name/3`,
//! `models:/Name@champion`). Whoever may read a version may read its files, so a source must not open what its caller
//! names no right to: a local path, or one that this server proxies, must lie in the folder of a run or logged model;
//! and what it names itself must be what the request names (as in MLflow 3.17, which also wants the request to repeat
//! it).

use runlake_engine::View;
use runlake_tracking::{ArtifactPlace, uri};
use runlake_types::rows::{Lifecycle, LoggedModel, Run};
use runlake_types::{ExperimentId, KeyBuilder};

use crate::versions::{version_info, version_row};
use crate::{Error, Registry, Result, VersionInfo, names};

/// Sources that MLflow's clients give a prompt, which has no files.
const PROMPT_SOURCES: [&str; 2] = ["dummy-source", "prompt-template"];

/// A checked source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// As asked for, with an alias, a stage or `latest` replaced by the number it means.
    pub(crate) source: String,
    /// Where the files are, if the source is a version or logged model.
    pub(crate) storage_location: Option<String>,
    pub(crate) run_id: Option<String>,
    /// Experiment of the run, if it is there.
    pub(crate) experiment_id: Option<ExperimentId>,
    pub(crate) model_id: Option<String>,
    /// Experiment of the logged model.
    pub(crate) model_experiment_id: Option<ExperimentId>,
}

impl Registry {
    /// Checks a source and finds out what it names.
    pub(crate) async fn origin(
        &self,
        source: &str,
        run_id: Option<String>,
        model_id: Option<String>,
        is_prompt: bool,
    ) -> Result<Origin> {
        let given = |id: Option<String>| id.filter(|id| !id.is_empty());
        let mut origin =
            Origin { source: source.to_owned(), run_id: given(run_id), model_id: given(model_id), ..Origin::default() };
        let view = self.view();
        let named = if is_prompt {
            check_prompt(source)?;
            None
        } else {
            self.follow(&view, &mut origin).await?
        };
        if let Some(model_id) = &origin.model_id {
            let model = logged_model(&view, model_id).await?;
            let model =
                model.ok_or_else(|| Error::not_found(format!("Logged model with ID '{model_id}' not found.")))?;
            origin.model_experiment_id = Some(model.experiment_id);
            if named.is_some() && model.source_run_id.is_some() && named != model.source_run_id {
                return Err(not_of_model(source));
            }
            origin.run_id = origin.run_id.or(model.source_run_id);
        }
        if let Some(run_id) = &origin.run_id {
            origin.experiment_id = run(&view, run_id).await?.map(|run| run.experiment_id);
        }
        Ok(origin)
    }

    /// Enters what the source names. Returns the run it names.
    async fn follow(&self, view: &View, origin: &mut Origin) -> Result<Option<String>> {
        let source = origin.source.clone();
        match uri::scheme(&source).as_str() {
            "models" => return self.follow_model(view, origin).await,
            "" | "file" => return check_local(view, origin).await.map(|()| None),
            _ => {}
        }
        if let Some(scheme) = uri::foreign_scheme(&source, self.inner.tracking.settings()) {
            return Err(Error::invalid(format!(
                "'source' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other than the \
                 tracking server's configured artifact storage, so the server would connect to the host named in the \
                 URI. Start the server with '{scheme}' among its --allowed-artifact-schemes to allow it."
            )));
        }
        if uri::has_dots(source.split(['?', '#']).next().unwrap_or_default()) || source.contains('\0') {
            return Err(not_absolute(&source));
        }
        if uri::scheme(&source) == "runs" {
            return follow_run(origin);
        }
        match ArtifactPlace::of_uri(&source) {
            ArtifactPlace::Proxied(path) => check_proxied(view, origin, &path).await,
            ArtifactPlace::Foreign(_) => Ok(None),
        }
    }

    /// `models:/m-…`, `models:/Name/version`, `models:/Name/Stage`, `models:/Name/latest`, `models:/Name@alias`.
    async fn follow_model(&self, view: &View, origin: &mut Origin) -> Result<Option<String>> {
        let source = origin.source.clone();
        let path = uri::path(&source).trim_start_matches('/');
        let (name, by_alias, rest) = match path.rfind(['/', '@']) {
            Some(at) => (&path[..at], path[at..].starts_with('@'), &path[at + 1..]),
            None if path.starts_with("m-") => return self.follow_logged_model(view, origin, path).await,
            None => return Err(not_of_model(&source)),
        };
        if name.is_empty() || rest.is_empty() || name.contains('/') {
            return Err(not_of_model(&source));
        }
        let version = if by_alias {
            self.version_by_alias(name, rest).await?
        } else if rest.bytes().all(|byte| byte.is_ascii_digit()) {
            crate::models::model_row(view, name).await?;
            let version = version_row(view, name, names::version(rest)?).await?;
            version_info(view, version).await?
        } else if names::is_latest(rest) {
            self.version_by_alias(name, rest).await?
        } else {
            let latest = self.latest_versions(name, &[rest]).await?;
            latest.into_iter().next_back().ok_or_else(|| {
                Error::not_found(format!("No versions of model with name '{name}' and stage '{rest}' found"))
            })?
        };
        let VersionInfo { version: of, .. } = &version;
        origin.source = format!("models:/{name}/{}", of.version);
        origin.storage_location = Some(version.download_uri().to_owned());
        let contradicts = |given: &Option<String>, is: &Option<String>| given.is_some() && is.is_some() && given != is;
        if contradicts(&origin.run_id, &of.run_id) {
            return Err(not_of_run(&source));
        }
        if contradicts(&origin.model_id, &of.model_id) {
            return Err(not_of_model(&source));
        }
        origin.run_id = origin.run_id.take().or_else(|| of.run_id.clone());
        origin.model_id = origin.model_id.take().or_else(|| of.model_id.clone());
        Ok(of.run_id.clone())
    }

    async fn follow_logged_model(&self, view: &View, origin: &mut Origin, model_id: &str) -> Result<Option<String>> {
        if origin.model_id.as_ref().is_some_and(|given| given != model_id) {
            return Err(not_of_model(&origin.source));
        }
        let model = logged_model(view, model_id).await?;
        let model = model.ok_or_else(|| Error::not_found(format!("Logged model with ID '{model_id}' not found.")))?;
        origin.storage_location = Some(model.artifact_uri);
        origin.model_id = Some(model_id.to_owned());
        Ok(None)
    }
}

/// A prompt has no files, and a source that names some would open them to whoever may read the prompt.
fn check_prompt(source: &str) -> Result<()> {
    if PROMPT_SOURCES.contains(&source) {
        return Ok(());
    }
    Err(Error::invalid(format!("Invalid prompt source: '{source}'. Prompt sources must use an MLflow placeholder.")))
}

/// `runs:/<run id>/<path>`. The run need not be known: it may be on another server.
fn follow_run(origin: &mut Origin) -> Result<Option<String>> {
    let path = uri::path(&origin.source).trim_start_matches('/');
    let run_id = path.split('/').next().unwrap_or_default();
    if run_id.is_empty() {
        return Err(not_absolute(&origin.source));
    }
    match &origin.run_id {
        Some(given) if given != run_id => Err(not_of_run(&origin.source)),
        _ => {
            origin.run_id = Some(run_id.to_owned());
            Ok(origin.run_id.clone())
        }
    }
}

/// A path that this server proxies must lie in the folder of the run or logged model named by the request, or of one
/// that the path itself names.
async fn check_proxied(view: &View, origin: &mut Origin, path: &str) -> Result<Option<String>> {
    let parts: Vec<&str> = path.split('/').collect();
    let named_model = parts.iter().skip_while(|part| **part != "models").nth(1);
    if let Some(model_id) = origin.model_id.as_deref().or(named_model.copied())
        && let Some(model) = logged_model(view, model_id).await?
        && is_below(path, &model.artifact_uri)
    {
        let of_run = origin.run_id.is_none() || origin.run_id == model.source_run_id;
        if origin.model_id.is_some() || of_run {
            origin.model_id = Some(model_id.to_owned());
            return Ok(None);
        }
    }
    let at_artifacts = parts.iter().rposition(|part| *part == "artifacts");
    let named_run = at_artifacts.and_then(|at| parts.get(at.checked_sub(1)?));
    let Some(run_id) = origin.run_id.as_deref().or(named_run.copied()) else {
        return Err(not_of_run(&origin.source));
    };
    match run(view, run_id).await? {
        Some(run) if is_below(path, &run.artifact_uri) => {
            origin.run_id = Some(run.run_id.to_string());
            Ok(origin.run_id.clone())
        }
        _ => Err(not_of_run(&origin.source)),
    }
}

/// Whether a proxied path is a proxied folder, or in it.
fn is_below(path: &str, folder: &str) -> bool {
    let ArtifactPlace::Proxied(folder) = ArtifactPlace::of_uri(folder) else { return false };
    path.strip_prefix(&*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path of the server's own machine must lie in the folder of the run or logged model that the request names.
async fn check_local(view: &View, origin: &Origin) -> Result<()> {
    let folder = match (&origin.model_id, &origin.run_id) {
        (Some(model_id), _) => logged_model(view, model_id).await?.map(|model| model.artifact_uri),
        (None, Some(run_id)) => match run(view, run_id).await? {
            Some(run) => Some(run.artifact_uri),
            None => return Err(not_of_run(&origin.source)),
        },
        (None, None) => None,
    };
    let is_local = |folder: &String| matches!(uri::scheme(folder).as_str(), "" | "file");
    let path = uri::path(&origin.source);
    let is_inside = folder.filter(is_local).is_some_and(|folder| {
        let inside = path.strip_prefix(uri::path(&folder).trim_end_matches('/'));
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if is_inside && !uri::has_dots(path) && !path.contains('\0') {
        return Ok(());
    }
    let by = if origin.model_id.is_some() { "model_id" } else { "run_id" };
    Err(Error::invalid(format!(
        "Invalid model version source: '{}'. To use a local path as a model version source, the {by} request parameter \
         has to be specified and the local path has to be contained within the artifact directory of the run \
         specified by the {by}.",
        origin.source
    )))
}

async fn logged_model(view: &View, model_id: &str) -> Result<Option<LoggedModel>> {
    let model = view.get::<LoggedModel>(&KeyBuilder::default().text(model_id).build()).await?;
    Ok(model.filter(|model| model.lifecycle_stage == Lifecycle::Active))
}

async fn run(view: &View, run_id: &str) -> Result<Option<Run>> {
    Ok(view.get::<Run>(&KeyBuilder::default().text(run_id).build()).await?)
}

fn not_absolute(source: &str) -> Error {
    Error::invalid(format!(
        "Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, \
         objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references \
         present. Please provide an absolute path."
    ))
}

fn not_of_run(source: &str) -> Error {
    Error::invalid(format!(
        "Invalid model version source: '{source}'. The run_id request parameter must identify the resource that \
         contains the source."
    ))
}

fn not_of_model(source: &str) -> Error {
    Error::invalid(format!(
        "Invalid model version source: '{source}'. The model_id request parameter must identify the resource that \
         contains the source."
    ))
}
