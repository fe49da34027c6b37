//! Finding a model by its URI, and its files: from a folder, a store, or through a tracking server.
//!
//! What is fetched is kept in `models/<hash of its files>` below the cache, under names that lead nowhere else; where it came
//! from is remembered with the listing and the `MLmodel` file it had, so that the next fetch of the same asks only for those.

use std::fs;
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Response};
use ring::digest::{Context, SHA256};
use runlake_storage::{Store, StoreSettings};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::mlmodel::FILE;
use crate::{Error, Result};

const MOST_FILES: usize = 10_000;
const MOST_DEPTH: usize = 32;
/// What stands in a path as it is.
pub(crate) const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// A tracking server, and how to prove oneself to it: a client that says so with each request.
#[derive(Debug, Clone)]
pub struct Tracking {
    /// Its address.
    pub url: String,
    /// With the credentials as headers.
    pub client: Client,
}

/// A model that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where its files are: a folder, `mlflow-artifacts:/…`, or an address of a store.
    pub location: String,
    /// The registered model and its version.
    pub version: Option<(String, String)>,
}

/// Where a URI `models:/…` points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// A version by its number.
    Version(String, String),
    /// The version that has an alias.
    Alias(String, String),
    /// The newest version of a stage.
    Stage(String, String),
    /// The newest version.
    Latest(String),
    /// A logged model.
    Id(String),
}

impl Registered {
    /// Reads what follows `models:/`.
    pub fn parse(uri: &str) -> Result<Self> {
        let rest = uri.strip_prefix("models:").map(|rest| rest.trim_start_matches('/')).unwrap_or(uri);
        let unknown = || {
            Error::usage(format!(
                "{uri:?} names no model; write models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/STAGE, \
                 models:/NAME/latest or models:/m-ID"
            ))
        };
        let decoded = percent_encoding::percent_decode_str(rest).decode_utf8().map_err(|_| unknown())?;
        if let Some((name, rest)) = decoded.rsplit_once('/') {
            if name.is_empty() || rest.is_empty() || name.contains('/') {
                return Err(unknown());
            }
            let name = name.to_owned();
            return Ok(if rest.eq_ignore_ascii_case("latest") {
                Self::Latest(name)
            } else if rest.chars().all(|c| c.is_ascii_digit()) {
                Self::Version(name, rest.to_owned())
            } else {
                Self::Stage(name, rest.to_owned())
            });
        }
        match decoded.rsplit_once('@') {
            Some((name, alias)) if !name.is_empty() && !alias.is_empty() => Ok(Self::Alias(name.into(), alias.into())),
            None if decoded.starts_with("m-") => Ok(Self::Id(decoded.into_owned())),
            _ => Err(unknown()),
        }
    }

    /// Whether another version may be there tomorrow.
    pub fn can_move(&self) -> bool {
        matches!(self, Self::Alias(..) | Self::Stage(..) | Self::Latest(_))
    }
}

impl Tracking {
    pub(crate) async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}/api/2.0/mlflow{path}", self.url);
        let response = self.client.get(&url).query(query).send().await.map_err(|error| self.away(&error))?;
        read(&url, response).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/api/2.0/mlflow{path}", self.url);
        let response = self.client.post(&url).json(body).send().await.map_err(|error| self.away(&error))?;
        read(&url, response).await
    }

    pub(crate) fn away(&self, error: &reqwest::Error) -> Error {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Error::fetch(format!(
            "the server at {} did not answer: {text}; is it running, and is --server right?",
            self.url
        ))
    }

    /// Where a model's files are.
    pub async fn find(&self, uri: &str) -> Result<Found> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if uri.starts_with("models:") {
            return self.registered(&Registered::parse(uri)?).await;
        }
        if let Some(rest) = uri.strip_prefix("runs:") {
            let rest = rest.trim_start_matches('/');
            let Some((run, path)) = rest.split_once('/').filter(|(run, path)| !run.is_empty() && !path.is_empty())
            else {
                return Err(Error::usage(format!("{uri:?} names no model; write runs:/RUN_ID/PATH")));
            };
            let answer = self.ask("/runs/get", &[("run_id", run)]).await?;
            let info = &answer["run"]["info"];
            let location = text(&info["artifact_uri"]).unwrap_or_default();
            let place = joined(&location, path);
            if self.list(&place).await.is_ok_and(|files| files.iter().any(|(name, _)| name == FILE)) {
                return Ok(Found { location: place, version: None });
            }
            // MLflow 3 keeps a run's models beside its files.
            let filter = format!("source_run_id = '{run}' AND name = '{}'", path.replace('\'', "''"));
            let body = json!({"experiment_ids": [info["experiment_id"]], "filter": filter, "max_results": 1});
            let answer = self.post("/logged-models/search", &body).await?;
            return match text(&answer["models"][0]["info"]["artifact_uri"]) {
                Some(location) => Ok(Found { location, version: None }),
                None => Err(Error::fetch(format!(
                    "the run {run} has no model {path:?}: neither a file {path}/{FILE} nor a logged model of that name"
                ))),
            };
        }
        Ok(Found { location: uri.to_owned(), version: None })
    }

    async fn registered(&self, model: &Registered) -> Result<Found> {
        let version = match model {
            Registered::Id(id) => {
                let answer = self.ask(&format!("/logged-models/{id}"), &[]).await?;
                let location = answer["model"]["info"]["artifact_uri"].as_str().unwrap_or_default().to_owned();
                return Ok(Found { location, version: None });
            }
            Registered::Version(name, version) => {
                self.ask("/model-versions/get", &[("name", name), ("version", version)]).await?["model_version"].take()
            }
            Registered::Alias(name, alias) => {
                self.ask("/registered-models/alias", &[("name", name), ("alias", alias)]).await?["model_version"].take()
            }
            Registered::Stage(name, stage) => {
                let body = json!({"name": name, "stages": [stage]});
                self.post("/registered-models/get-latest-versions", &body).await?["model_versions"][0].take()
            }
            Registered::Latest(name) => {
                let body = json!({"name": name});
                let mut answer = self.post("/registered-models/get-latest-versions", &body).await?;
                let number = |version: &Value| version["version"].as_str().and_then(|text| text.parse::<u64>().ok());
                let all = answer["model_versions"].as_array_mut().map(std::mem::take).unwrap_or_default();
                all.into_iter().max_by_key(number).unwrap_or_default()
            }
        };
        let (Some(name), Some(number)) = (version["name"].as_str(), version["version"].as_str()) else {
            return Err(Error::fetch(format!("there is no such version of a registered model: {model:?}")));
        };
        let query = [("name", name), ("version", number)];
        let answer = self.ask("/model-versions/get-download-uri", &query).await?;
        let mut location = answer["artifact_uri"].as_str().unwrap_or_default().to_owned();
        // The source of a version may itself be the URI of a run's or logged model.
        if location.starts_with("models:") || location.starts_with("runs:") {
            location = Box::pin(self.find(&location)).await?.location;
        }
        Ok(Found { location, version: Some((name.to_owned(), number.to_owned())) })
    }

    /// The files below an `mlflow-artifacts:` place, with their sizes.
    async fn list(&self, location: &str) -> Result<Vec<(String, u64)>> {
        if !location.starts_with("mlflow-artifacts:") {
            return Store::open(location, &StoreSettings::default()).await.map(|_| Vec::new()).map_err(storage);
        }
        let root = artifact_path(location)?;
        let mut open = vec![(String::new(), 0)];
        let mut files = Vec::new();
        while let Some((folder, depth)) = open.pop() {
            let path = joined(&root, &folder);
            let url = format!("{}/api/2.0/mlflow-artifacts/artifacts", self.url);
            let query = [("path", path.as_str())];
            let response = self.client.get(&url).query(&query).send().await.map_err(|error| self.away(&error))?;
            let answer = read(&url, response).await?;
            for entry in answer["files"].as_array().into_iter().flatten() {
                let name = entry["path"].as_str().unwrap_or_default();
                let name = name.rsplit('/').next().unwrap_or_default();
                let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                if entry["is_dir"].as_bool().unwrap_or(false) {
                    if depth >= MOST_DEPTH {
                        return Err(Error::fetch(format!(
                            "the model's folders stand in each other too deeply: {path}"
                        )));
                    }
                    open.push((path, depth + 1));
                } else {
                    let size = &entry["file_size"];
                    let size = size.as_u64().or_else(|| size.as_str()?.parse().ok()).unwrap_or_default();
                    files.push((path, size));
                }
                if files.len() + open.len() > MOST_FILES {
                    return Err(Error::fetch(format!("the model has more than {MOST_FILES} files")));
                }
            }
        }
        Ok(files)
    }
}

pub(crate) async fn read(url: &str, response: Response) -> Result<Value> {
    let status = response.status();
    let body = response.bytes().await.map_err(|error| Error::fetch(format!("{url} was cut off: {error}")))?;
    let answer: Option<Value> = serde_json::from_slice(&body).ok();
    if status.is_success() {
        return answer.ok_or_else(|| Error::fetch(format!("{url} answered what is no JSON; is it a tracking server?")));
    }
    let said = answer.and_then(|answer| answer["message"].as_str().map(str::to_owned));
    Err(Error::fetch(format!("{url} refused: {}", said.unwrap_or_else(|| format!("status {status}")))))
}

fn storage(error: runlake_storage::Error) -> Error {
    Error::fetch(error.to_string())
}

fn joined(root: &str, rest: &str) -> String {
    if rest.is_empty() { root.to_owned() } else { format!("{}/{rest}", root.trim_end_matches('/')) }
}

/// The path of `mlflow-artifacts:/a/b` or `mlflow-artifacts://host/a/b`.
pub(crate) fn artifact_path(location: &str) -> Result<String> {
    let rest = location.strip_prefix("mlflow-artifacts:").unwrap_or(location);
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    let path = path.trim_matches('/');
    if path.split('/').any(|part| part == "..") {
        return Err(Error::usage(format!("{location:?} leaves its own place")));
    }
    Ok(path.to_owned())
}

/// The model's folder on this machine: where it is, or where it was fetched to below `cache`.
pub async fn folder(found: &Found, tracking: Option<&Tracking>, cache: &Path) -> Result<PathBuf> {
    let location = found.location.as_str();
    if location.starts_with("mlflow-artifacts:") {
        let Some(tracking) = tracking else {
            return Err(Error::usage(format!("{location} is fetched through a server; give its --server")));
        };
        let files = tracking.list(location).await?;
        return fetch(location, files, cache, &Source::Server(tracking, artifact_path(location)?)).await;
    }
    let local = location.strip_prefix("file://").unwrap_or(location);
    let is_local = !local.contains("://");
    if is_local && !Path::new(local).is_dir() {
        return Err(Error::usage(format!(
            "{location:?} is no model: no folder of that name is there, and it does not begin with models:/ or runs:/"
        )));
    }
    if is_local {
        return fs::canonicalize(local).map_err(Error::at("open", Path::new(local)));
    }
    let store = Store::open(location, &StoreSettings::default()).await.map_err(storage)?;
    let listed = store.objects().list(None).take(MOST_FILES + 1).try_collect::<Vec<_>>().await;
    let listed = listed.map_err(|error| Error::fetch(format!("{location} cannot be listed: {error}")))?;
    if listed.len() > MOST_FILES {
        return Err(Error::fetch(format!("{location} has more than {MOST_FILES} files")));
    }
    let files = listed.into_iter().map(|object| (object.location.to_string(), object.size)).collect();
    fetch(location, files, cache, &Source::Store(store)).await
}

enum Source<'a> {
    Server(&'a Tracking, String),
    Store(Store),
}

impl Source<'_> {
    /// Writes a file; its digest.
    async fn copy(&self, path: &str, size: u64, to: &Path) -> Result<Vec<u8>> {
        let cut = |error: &dyn std::fmt::Display| Error::fetch(format!("{path} was cut off: {error}"));
        let mut chunks = match self {
            Self::Server(tracking, root) => {
                let whole = joined(root, path);
                let encoded = utf8_percent_encode(&whole, PATH);
                let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{encoded}", tracking.url);
                let response = tracking.client.get(&url).send().await.map_err(|error| tracking.away(&error))?;
                if !response.status().is_success() {
                    return Err(Error::fetch(format!("{url} refused: status {}", response.status())));
                }
                response.bytes_stream().map_err(|error| error.to_string()).boxed()
            }
            Self::Store(store) => {
                let path = object_store::path::Path::parse(path).map_err(|error| cut(&error))?;
                let object = store.objects().get(&path).await.map_err(|error| cut(&error))?;
                object.into_stream().map_err(|error| error.to_string()).boxed()
            }
        };
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(Error::at("make", parent))?;
        }
        let mut file = tokio::fs::File::create_new(to).await.map_err(Error::at("write", to))?;
        let mut context = Context::new(&SHA256);
        let mut written = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| cut(&error))?;
            written += chunk.len() as u64;
            if written > size {
                return Err(Error::fetch(format!("{path} has more than the {size} bytes that were told of it")));
            }
            context.update(&chunk);
            file.write_all(&chunk).await.map_err(Error::at("write", to))?;
        }
        file.flush().await.map_err(Error::at("write", to))?;
        if written < size {
            return Err(Error::fetch(format!("{path} ended after {written} of {size} bytes")));
        }
        Ok(context.finish().as_ref().to_vec())
    }
}

async fn fetch(location: &str, mut files: Vec<(String, u64)>, cache: &Path, source: &Source<'_>) -> Result<PathBuf> {
    files.sort();
    for (path, _) in &files {
        check(path)?;
    }
    if !files.iter().any(|(path, _)| path == FILE) {
        return Err(Error::fetch(format!("{location} is no model: it has no file {FILE}")));
    }
    let (root, known) = (cache.join("models"), cache.join("sources"));
    for folder in [&root, &known] {
        fs::create_dir_all(folder).map_err(Error::at("make", folder))?;
    }
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(&root).map_err(Error::at("write", &root))?;
    let size_of = |wanted: &str| files.iter().find(|(path, _)| path == wanted).map_or(0, |(_, size)| *size);
    let described = source.copy(FILE, size_of(FILE), &new.path().join(FILE)).await?;
    let mut context = Context::new(&SHA256);
    context.update(format!("{location}\n{files:?}\n{}", hex(&described)).as_bytes());
    let note = known.join(hex(&context.finish().as_ref()[..16]));
    if let Ok(name) = fs::read_to_string(&note)
        && root.join(&name).join(FILE).is_file()
    {
        return Ok(root.join(name));
    }
    let mut context = Context::new(&SHA256);
    for (path, size) in &files {
        let digest = match path.as_str() {
            FILE => described.clone(),
            _ => source.copy(path, *size, &new.path().join(path)).await?,
        };
        context.update(format!("{path}\0{}\n", hex(&digest)).as_bytes());
    }
    let name = hex(&context.finish().as_ref()[..16]);
    let place = root.join(&name);
    match fs::rename(new.path(), &place) {
        Ok(()) => drop(new.keep()),
        // The same files came from elsewhere, or at the same time.
        Err(_) if place.join(FILE).is_file() => {}
        Err(error) => return Err(Error::at("make", &place)(error)),
    }
    fs::write(&note, &name).map_err(Error::at("write", &note))?;
    Ok(place)
}

/// Refuses a path that could lead out of the folder it is written to.
fn check(path: &str) -> Result {
    let is_good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    if path.len() <= 1024 && path.split('/').all(is_good) && path.split('/').count() <= MOST_DEPTH {
        return Ok(());
    }
    Err(Error::fetch(format!("the model has a file {path:?}, a path that is not written; nothing was fetched")))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_registered_models_are_told_apart() {
        let of = |uri: &str| Registered::parse(uri).unwrap();
        assert_eq!(of("models:/a/3"), Registered::Version("a".into(), "3".into()));
        assert_eq!(of("models:/a@champion"), Registered::Alias("a".into(), "champion".into()));
        assert_eq!(of("models:/a/Production"), Registered::Stage("a".into(), "Production".into()));
        assert_eq!(of("models:/a/latest"), Registered::Latest("a".into()));
        assert_eq!(of("models:/m-0f"), Registered::Id("m-0f".into()));
        assert_eq!(of("models:/with%20space/1"), Registered::Version("with space".into(), "1".into()));
        for bad in ["models:/", "models:/a", "models:/a/", "models:/@x", "models:/a@", "models:/a/b/c"] {
            let error = Registered::parse(bad).unwrap_err().to_string();
            assert!(error.contains("models:/NAME@ALIAS"), "{bad}: {error}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["../x", "a/../b", "/etc/passwd", "a//b", "", ".", "a\\b", "a\0b", "a/"] {
            assert!(check(path).is_err(), "{path:?}");
        }
        assert!(check("artifacts/python_model.pkl").is_ok());
        assert!(artifact_path("mlflow-artifacts:/1/../2").is_err());
        assert_eq!(artifact_path("mlflow-artifacts://host:5000/1/m").unwrap(), "1/m");
    }
}
