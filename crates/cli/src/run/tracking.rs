//! A tracking server as projects need it, over MLflow's API: any MLflow server does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Client, RequestBuilder};
use runlake_projects::{Cancel, Error, NewRun, Result, Run, Status, Tracking};
use runlake_types::{Clock as _, SystemClock};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::Failure;
use crate::client::{Refused, Server};

/// A server that is away for a moment should not cost a run its end.
const PAUSES_SECONDS: [u64; 5] = [1, 2, 4, 8, 15];
/// Params and tags of one request, as MLflow allows.
const BATCH: usize = 100;
const ARTIFACTS: &str = "mlflow-artifacts/artifacts";
/// What cannot stand in a path as it is.
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

#[derive(Debug)]
pub(super) struct Remote {
    server: Server,
    /// Calls come from threads that may block.
    runtime: Handle,
    /// It has answered before, so that it is worth waiting for.
    is_known: AtomicBool,
    /// Somebody who wants to stop at once does not wait for it.
    cancel: Cancel,
}

#[derive(Debug, Deserialize)]
struct RunAnswer {
    run: WireRun,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RunsAnswer {
    runs: Vec<WireRun>,
    next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireRun {
    info: Info,
    #[serde(default)]
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Info {
    run_id: String,
    experiment_id: String,
    status: String,
    #[serde(default)]
    run_name: String,
    #[serde(default)]
    artifact_uri: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    params: Vec<Pair<String>>,
    tags: Vec<Pair<String>>,
    metrics: Vec<Pair<Value>>,
}

#[derive(Debug, Deserialize)]
struct Pair<T> {
    key: String,
    value: Option<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listing {
    files: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    path: String,
    #[serde(default)]
    is_dir: bool,
}

impl From<WireRun> for Run {
    fn from(wire: WireRun) -> Self {
        let texts = |pairs: Vec<Pair<String>>| {
            pairs.into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect()
        };
        Self {
            id: wire.info.run_id,
            experiment_id: wire.info.experiment_id,
            name: wire.info.run_name,
            status: Status::named(&wire.info.status),
            artifact_uri: wire.info.artifact_uri,
            tags: texts(wire.data.tags),
            params: texts(wire.data.params),
            metrics: wire.data.metrics.into_iter().filter_map(|pair| Some((pair.key, pair.value?.as_f64()?))).collect(),
        }
    }
}

impl Remote {
    pub(super) fn new(server: Server, runtime: Handle, cancel: Cancel) -> Self {
        Self { server, runtime, is_known: AtomicBool::new(false), cancel }
    }

    fn pause(&self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && !self.cancel.is_urgent() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Sends a request that may be sent twice, again if a server that was there is away.
    fn call(&self, path: &str, request: impl Fn(Client, &str) -> RequestBuilder) -> Result<Bytes, Refused> {
        self.send(path, true, request)
    }

    fn send(
        &self,
        path: &str,
        may_repeat: bool,
        request: impl Fn(Client, &str) -> RequestBuilder,
    ) -> Result<Bytes, Refused> {
        let mut pauses = PAUSES_SECONDS.into_iter();
        loop {
            let answer = self.runtime.block_on(self.server.mlflow(path, &request));
            let is_known = match &answer {
                Err(Refused::Away(_) | Refused::Lost(_)) => self.is_known.load(Ordering::SeqCst),
                _ => self.is_known.fetch_or(true, Ordering::SeqCst),
            };
            match (answer, pauses.next()) {
                (answer, _) if self.cancel.is_urgent() => return answer,
                (Err(Refused::Away(_)), Some(seconds)) if is_known => self.pause(seconds),
                (Err(Refused::Lost(_)), Some(seconds)) if is_known && may_repeat => self.pause(seconds),
                (answer, _) => return answer,
            }
        }
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Refused> {
        // What makes something would make it twice.
        let may_repeat = !path.ends_with("/create");
        let answer = self.send(&format!("mlflow/{path}"), may_repeat, |client, url| client.post(url).json(body))?;
        self.read(path, &answer)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Refused> {
        self.read(path, &self.call(&format!("mlflow/{path}"), |client, url| client.get(url).query(query))?)
    }

    fn read<T: DeserializeOwned>(&self, path: &str, answer: &[u8]) -> Result<T, Refused> {
        serde_json::from_slice(answer).map_err(|error| {
            Refused::Otherwise(Failure::new(format!(
                "{} answered {path} with what runlake does not understand ({error}); is it an MLflow server?",
                self.server.url()
            )))
        })
    }

    /// A file or folder below the artifacts of the server, as its artifact routes name it.
    fn fetch(&self, path: &str, into: &Path) -> Result<PathBuf> {
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let Some(target) = inside(into, name) else {
            return Err(Error::Server(format!("{path:?} is no name of an artifact that can be fetched")));
        };
        let listed: Listing = {
            let answer = self.call(ARTIFACTS, |client, url| client.get(url).query(&[("path", path)]));
            self.read(ARTIFACTS, &answer.map_err(server)?).map_err(server)?
        };
        if listed.files.is_empty() {
            let answer = self.call(&artifact(path), |client, url| client.get(url)).map_err(server)?;
            fs::write(&target, answer)
                .map_err(|source| Error::Io { what: format!("cannot write {}", target.display()), source })?;
            return Ok(target);
        }
        fs::create_dir_all(&target)
            .map_err(|source| Error::Io { what: format!("cannot make {}", target.display()), source })?;
        for file in listed.files {
            let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
            // A folder without files would be taken for a file.
            let _fetched = self
                .fetch(&format!("{}/{name}", path.trim_end_matches('/')), &target)
                .or_else(|error| if file.is_dir { Ok(target.clone()) } else { Err(error) })?;
        }
        Ok(target)
    }
}

/// A name in a folder that does not lead out of it.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    (!name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])).then(|| folder.join(name))
}

fn artifact(path: &str) -> String {
    format!("{ARTIFACTS}/{}", utf8_percent_encode(path, PATH))
}

fn server(refused: impl Into<Failure>) -> Error {
    Error::Server(refused.into().message)
}

/// The path that the artifact routes know a run's artifacts by, if the server itself keeps them.
fn served(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    Some(path.trim_matches('/'))
}

impl Tracking for Remote {
    fn uri(&self) -> &str {
        self.server.url()
    }

    fn experiment_named(&self, name: &str) -> Result<String> {
        let id = |answer: &Value, path: &str| answer.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let known: Result<Value, Refused> = self.get("experiments/get-by-name", &[("experiment_name", name)]);
        let found = match known {
            Ok(answer) if answer.pointer("/experiment/lifecycle_stage") == Some(&json!("deleted")) => {
                return Err(Error::Server(format!(
                    "the experiment {name:?} was deleted; restore it, or give another --experiment-name"
                )));
            }
            Ok(answer) => id(&answer, "/experiment/experiment_id"),
            Err(Refused::Absent(_)) => {
                let made: Value = self.post("experiments/create", &json!({"name": name})).map_err(server)?;
                id(&made, "/experiment_id")
            }
            Err(refused) => return Err(server(refused)),
        };
        found.ok_or_else(|| Error::Server(format!("{} tells no id of experiment {name:?}", self.server.url())))
    }

    fn create_run(&self, run: &NewRun) -> Result<Run> {
        let tags: Vec<Value> = run.tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        let mut body = json!({
            "experiment_id": run.experiment_id,
            "user_id": run.user,
            "start_time": SystemClock.now().millis(),
            "tags": tags,
        });
        if let Some(name) = &run.name {
            body["run_name"] = json!(name);
        }
        let answer: RunAnswer = self.post("runs/create", &body).map_err(server)?;
        Ok(answer.run.into())
    }

    fn run(&self, id: &str) -> Result<Option<Run>> {
        match self.get::<RunAnswer>("runs/get", &[("run_id", id)]) {
            Ok(answer) => Ok(Some(answer.run.into())),
            Err(Refused::Absent(_)) => Ok(None),
            Err(refused) => Err(server(refused)),
        }
    }

    fn children(&self, parent: &Run) -> Result<Vec<Run>> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut body = json!({
                "experiment_ids": [parent.experiment_id],
                "filter": format!("tags.`mlflow.parentRunId` = '{}'", parent.id),
                "order_by": ["start_time ASC"],
                "max_results": 1000,
            });
            if let Some(token) = &token {
                body["page_token"] = json!(token);
            }
            let page: RunsAnswer = self.post("runs/search", &body).map_err(server)?;
            all.extend(page.runs.into_iter().map(Run::from));
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    fn log(&self, run: &Run, params: &[(String, String)], tags: &[(String, String)]) -> Result {
        let wire = |pairs: &[(String, String)]| -> Vec<Value> {
            pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        };
        for (what, pairs) in [("params", params), ("tags", tags)] {
            for part in pairs.chunks(BATCH) {
                let body = json!({"run_id": run.id, what: wire(part)});
                let _empty: Value = self.post("runs/log-batch", &body).map_err(server)?;
            }
        }
        Ok(())
    }

    fn set_status(&self, run: &Run, status: Status) -> Result {
        let mut body = json!({"run_id": run.id, "status": status.name()});
        if status != Status::Running {
            body["end_time"] = json!(SystemClock.now().millis());
        }
        let _info: Value = self.post("runs/update", &body).map_err(server)?;
        Ok(())
    }

    fn upload(&self, run: &Run, path: &str, bytes: Vec<u8>) -> Result {
        let Some(root) = served(&run.artifact_uri) else {
            return Err(Error::Server(format!(
                "the artifacts of run {} are in {}, which only its own clients reach",
                run.id, run.artifact_uri
            )));
        };
        let bytes = Bytes::from(bytes);
        let _empty = self
            .call(&artifact(&format!("{root}/{path}")), |client, url| client.put(url).body(bytes.clone()))
            .map_err(server)?;
        Ok(())
    }

    fn download(&self, uri: &str, into: &Path) -> Result<PathBuf> {
        let unknown = || Error::Server(format!("{uri:?} names nothing that this server keeps"));
        let path = if let Some(rest) = uri.strip_prefix("runs:/") {
            let (id, path) = rest.split_once('/').ok_or_else(unknown)?;
            let run = self.run(id)?.ok_or_else(|| Error::Server(format!("{uri}: there is no run {id}")))?;
            format!("{}/{path}", served(&run.artifact_uri).ok_or_else(unknown)?)
        } else {
            served(uri).ok_or_else(unknown)?.to_owned()
        };
        self.fetch(&path, into).map_err(|error| Error::Server(format!("{uri} cannot be fetched: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_that_the_server_keeps() {
        for (uri, path) in [
            ("mlflow-artifacts:/1/r/artifacts", Some("1/r/artifacts")),
            ("mlflow-artifacts://host:5000/1/r", Some("1/r")),
            ("s3://b/1/r", None),
            ("/tmp/x", None),
        ] {
            assert_eq!(served(uri), path, "{uri}");
        }
        assert_eq!(artifact("a b/ü#?%"), "mlflow-artifacts/artifacts/a%20b/%C3%BC%23%3F%25");
    }

    #[test]
    fn fetched_files_stay_in_their_folder() {
        for name in ["", "..", ".", "a/b"] {
            assert_eq!(inside(Path::new("/x"), name), None, "{name}");
        }
        assert_eq!(inside(Path::new("/x"), "a"), Some(PathBuf::from("/x/a")));
    }
}
