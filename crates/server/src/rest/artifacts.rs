//! Artifacts: the server's destination folder (`mlflow-artifacts/…`), and the artifacts of a run or logged model.
//!
//! A run whose artifact URI is `mlflow-artifacts:/…` has its files below the destination, and clients send and fetch
//! them here. With another kind of root, clients go to that place themselves; the server then lists and reads it, but
//! only if it is the root the server was started with: it does not follow a URI that somebody gave an experiment.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use runlake_artifacts::{Access, ArtifactPath, Artifacts, Entry};
use runlake_tracking::{ArtifactPlace, uri};

use super::download::send;
use crate::app::App;
use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::wire::{
    Empty, FileAnswer, FilesAnswer, PresignedAnswer, PresignedUrl, PresignedUrlAnswer, VersionName, json,
};

/// Bytes that the web app may upload at once.
const UI_UPLOAD_LIMIT: usize = 10 << 20;
/// Seconds a presigned URL is good for when the caller does not say.
const PRESIGNED_SECONDS: i64 = 900;
/// Clouds sign for seven days at most.
const PRESIGNED_SECONDS_LIMIT: i64 = 7 * 24 * 3600;

const NO_PRESIGNED_UPLOAD: &str = "Presigned upload is not supported for the current artifact repository";
const NO_PRESIGNED_DOWNLOAD: &str = "Multipart download is not supported for the current artifact repository";

pub(super) async fn list_destination(mut call: Call) -> Result<Response> {
    let folder = folder_of(call.fields().await?.text("path")?.as_deref())?;
    let files = call.app.artifacts().list(&folder).await?;
    Ok(json(&FilesAnswer { root_uri: None, files: files.into_iter().map(|entry| file(entry, None)).collect() }))
}

pub(super) async fn download(call: Call) -> Result<Response> {
    send(call.app.artifacts(), &path_of(&call)?, call.headers()).await
}

pub(super) async fn upload(mut call: Call) -> Result<Response> {
    refuse_if_read_only(&call)?;
    let path = file_of(&call.param("path")?)?;
    let artifacts = call.app.artifacts().clone();
    artifacts.put(&path, call.chunks(), None).await?;
    Ok(json(&Empty {}))
}

/// Of a file or folder. A slash at the end is how stock clients name the folder of all artifacts (`mlflow gc`).
pub(super) async fn delete(call: Call) -> Result<Response> {
    refuse_if_read_only(&call)?;
    call.app.artifacts().delete(&path_of(&call)?).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn presigned(call: Call) -> Result<Response> {
    let path = path_of(&call)?;
    let artifacts = call.app.artifacts();
    let Some(url) = artifacts.presigned_url(&path, Access::Read, seconds(PRESIGNED_SECONDS)?).await? else {
        return Err(ApiError::not_implemented(NO_PRESIGNED_DOWNLOAD));
    };
    let file_size = artifacts.get(&path, None).await?.map(|(meta, _)| meta.size);
    Ok(json(&PresignedAnswer { url: url.to_string(), headers: BTreeMap::new(), file_size }))
}

pub(super) async fn list_run(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let place = Place::of_run(&call.app, &fields.run_id()?).await?;
    place.list(fields.text("path")?.as_deref()).await
}

pub(super) async fn list_model(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let place = Place::of_model(&call.app, &call.param("model_id")?).await?;
    place.list(fields.text("artifact_directory_path")?.as_deref()).await
}

pub(super) async fn download_of_run(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let path = ArtifactPath::parse(&fields.required_text("path")?)?;
    let place = Place::of_run(&call.app, &fields.run_id()?).await?;
    send(&place.artifacts, &place.folder.join(&path), call.headers()).await
}

pub(super) async fn download_of_model(mut call: Call) -> Result<Response> {
    let path = ArtifactPath::parse(&call.fields().await?.required_text("artifact_file_path")?)?;
    let place = Place::of_model(&call.app, &call.param("model_id")?).await?;
    send(&place.artifacts, &place.folder.join(&path), call.headers()).await
}

/// How the web app shows a file of a registered version.
pub(super) async fn download_of_version(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let VersionName { name, version } = fields.version_name()?;
    let path = ArtifactPath::parse(&fields.required_text("path")?)?;
    let version = call.app.registry().get_version(&name, &version).await?;
    let place = Place::of_source(&call.app, version.download_uri()).await?;
    send(&place.artifacts, &place.folder.join(&path), call.headers()).await
}

/// How the web app uploads a file to a run.
pub(super) async fn upload_to_run(mut call: Call) -> Result<Response> {
    let query = call.query();
    let required = |name: &str| match query.text(name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(ApiError::invalid(format!("Request must specify {name}."))),
    };
    let (run_id, path) = (required("run_uuid")?, required("path")?);
    let path = file_of(&path)?;
    let too_large = |error: ApiError| match error.status() {
        http::StatusCode::PAYLOAD_TOO_LARGE => ApiError::invalid("Artifact size is too large. Max size is 10MB."),
        _ => error,
    };
    let data = call.bytes(UI_UPLOAD_LIMIT).await.map_err(too_large)?;
    if data.is_empty() {
        return Err(ApiError::invalid("Request must specify data."));
    }
    refuse_if_read_only(&call)?;
    let place = Place::of_run(&call.app, &run_id).await?;
    let body = futures::stream::iter([Ok::<_, ApiError>(data)]);
    place.artifacts.put(&place.folder.join(&path), body, None).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn presigned_download(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.presigned_url()?;
    let run_id =
        request.run_id.as_deref().ok_or_else(|| ApiError::invalid("Missing value for required parameter 'run_id'."))?;
    let place = Place::of_run(&call.app, run_id).await?;
    presigned_url(&place, &request, Access::Read, NO_PRESIGNED_DOWNLOAD).await
}

pub(super) async fn presigned_upload(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.presigned_url()?;
    refuse_if_read_only(&call)?;
    let place = match (&request.run_id, &request.model_id) {
        (Some(run_id), None) => Place::of_run(&call.app, run_id).await?,
        (None, Some(model_id)) => Place::of_model(&call.app, model_id).await?,
        _ => return Err(ApiError::invalid("Exactly one of run_id and model_id must be provided.")),
    };
    presigned_url(&place, &request, Access::Write, NO_PRESIGNED_UPLOAD).await
}

async fn presigned_url(place: &Place, request: &PresignedUrl, access: Access, refusal: &str) -> Result<Response> {
    let path = match access {
        Access::Read => ArtifactPath::parse(&request.path)?,
        Access::Write => file_of(&request.path)?,
    };
    let path = place.folder.join(&path);
    let expires_in = seconds(request.expiration.unwrap_or(PRESIGNED_SECONDS))?;
    match place.artifacts.presigned_url(&path, access, expires_in).await? {
        Some(url) => {
            Ok(json(&PresignedUrlAnswer { presigned_url: url.to_string(), headers: BTreeMap::new(), file_size: None }))
        }
        None => Err(ApiError::not_implemented(refusal)),
    }
}

fn seconds(expiration: i64) -> Result<Duration> {
    match u64::try_from(expiration) {
        Ok(seconds @ 1..) if expiration <= PRESIGNED_SECONDS_LIMIT => Ok(Duration::from_secs(seconds)),
        _ => Err(ApiError::invalid(format!(
            "expiration must be between 1 and {PRESIGNED_SECONDS_LIMIT} seconds (got {expiration})."
        ))),
    }
}

/// Where the files of a run or model are, as this server reaches them.
struct Place {
    uri: String,
    artifacts: Artifacts,
    folder: ArtifactPath,
}

impl Place {
    async fn of_run(app: &App, run_id: &str) -> Result<Self> {
        Self::of_uri(app, app.tracking().get_run(run_id).await?.run.artifact_uri)
    }

    async fn of_model(app: &App, model_id: &str) -> Result<Self> {
        Self::of_uri(app, app.tracking().get_logged_model(model_id, false).await?.model.artifact_uri)
    }

    /// Where the files of a version are: an artifact URI, or a folder of a run.
    async fn of_source(app: &App, source: &str) -> Result<Self> {
        let Some(in_run) = source.strip_prefix("runs:/") else {
            return Self::of_uri(app, source.to_owned());
        };
        let (run_id, folder) = in_run.trim_start_matches('/').split_once('/').unwrap_or((in_run, ""));
        let place = Self::of_run(app, run_id).await?;
        Ok(Self { folder: place.folder.join(&folder_of(Some(folder))?), ..place })
    }

    fn of_uri(app: &App, uri: String) -> Result<Self> {
        if let ArtifactPlace::Proxied(path) = ArtifactPlace::of_uri(&uri) {
            return Ok(Self { folder: folder_of(Some(&path))?, artifacts: app.artifacts().clone(), uri });
        }
        if let Some((root, artifacts)) = app.foreign_artifacts()
            && let Some(path) = uri.strip_prefix(root.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'))
        {
            return Ok(Self { folder: folder_of(Some(path))?, artifacts: artifacts.clone(), uri });
        }
        let is_place = uri.contains("://") || matches!(uri::scheme(&uri).as_str(), "" | "file");
        let advice = if is_place && Artifacts::can_be_at(&uri) {
            ", or start the server with that place as --default-artifact-root"
        } else {
            ""
        };
        Err(ApiError::not_implemented(format!(
            "These artifacts are at {uri}, which this server does not serve. Read them with a client that can reach \
             that place{advice}."
        )))
    }

    /// Answers with what is in the folder `path` of this place.
    async fn list(self, path: Option<&str>) -> Result<Response> {
        let below = folder_of(path)?;
        let entries = self.artifacts.list(&self.folder.join(&below)).await?;
        let files = entries.into_iter().map(|entry| file(entry, Some(&below))).collect();
        Ok(json(&FilesAnswer { root_uri: Some(self.uri), files }))
    }
}

/// A line of a listing, its path seen from where `below` is.
fn file(entry: Entry, below: Option<&ArtifactPath>) -> FileAnswer {
    let path = match below {
        Some(below) if !below.is_root() => format!("{below}/{}", entry.name),
        _ => entry.name,
    };
    FileAnswer { path, is_dir: entry.is_dir, file_size: (!entry.is_dir).then_some(entry.size) }
}

/// A folder; none or an empty text is the root.
pub(super) fn folder_of(path: Option<&str>) -> Result<ArtifactPath> {
    match path {
        None | Some("") => Ok(ArtifactPath::root()),
        Some(path) => Ok(ArtifactPath::parse(path)?),
    }
}

fn path_of(call: &Call) -> Result<ArtifactPath> {
    Ok(ArtifactPath::parse(&call.param("path")?)?)
}

/// The path of a file to be written. One that ends with a slash has lost its name on the way: clients cut a URL at an
/// unescaped `#`, and writing the folder's own name would make it a file for good.
pub(super) fn file_of(path: &str) -> Result<ArtifactPath> {
    let parsed = ArtifactPath::parse(path)?;
    match path.rsplit('/').next() {
        None | Some("" | ".") => Err(ApiError::invalid(format!(
            "Invalid path: {path:?} names a folder, not a file to write. Was the file's name lost from the URL? A '#' \
             cannot be part of one."
        ))),
        Some(_) => Ok(parsed),
    }
}

pub(super) fn refuse_if_read_only(call: &Call) -> Result<()> {
    if call.app.engine().is_read_only() { Err(runlake_engine::Error::ReadOnly.into()) } else { Ok(()) }
}
