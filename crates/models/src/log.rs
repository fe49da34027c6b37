//! Saving a model without Python: a graph becomes a model that MLflow's own flavor loads, too.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use percent_encoding::utf8_percent_encode;
use runlake_types::{Clock as _, SystemClock, unique_id};
use serde_json::{Map, Value, json};

use crate::fetch::{PATH, Tracking, artifact_path, read};
use crate::mlmodel::{FILE, MlModel};
use crate::signature::Signature;
use crate::{Error, Result};

const DATA: &str = "model.onnx";
/// What MLflow's flavor needs to load it.
const PACKAGES: [&str; 3] = ["mlflow", "onnx", "onnxruntime"];
/// The Python that it is loaded in, elsewhere: any that these packages are made for.
const PYTHON: &str = "3.11";

/// A graph to save.
#[derive(Debug)]
pub struct NewModel<'a> {
    /// Its file.
    pub file: &'a Path,
    /// What the graph takes and gives.
    pub signature: Signature,
    /// The model's name in its experiment.
    pub name: &'a str,
    /// The run it belongs to.
    pub run_id: &'a str,
    /// The registered model that it is to be a version of.
    pub registered: Option<&'a str>,
}

/// A model that was saved.
#[derive(Debug)]
pub struct Logged {
    /// Its id.
    pub model_id: String,
    /// The version it became.
    pub version: Option<String>,
}

impl Tracking {
    /// Saves a graph as a logged model of a run.
    pub async fn log(&self, new: &NewModel<'_>) -> Result<Logged> {
        let data = std::fs::read(new.file).map_err(Error::at("read", new.file))?;
        let run = self.ask("/runs/get", &[("run_id", new.run_id)]).await?;
        let experiment = text(&run["run"]["info"]["experiment_id"])?;
        let body = json!({"experiment_id": experiment, "name": new.name, "source_run_id": new.run_id});
        let made = self.post("/logged-models", &body).await?;
        let info = &made["model"]["info"];
        let (id, place) = (text(&info["model_id"])?, text(&info["artifact_uri"])?);
        let uploaded = self.upload(&place, &files(new, &id, data)).await;
        let status = if uploaded.is_ok() { "LOGGED_MODEL_READY" } else { "LOGGED_MODEL_UPLOAD_FAILED" };
        let settled = self.patch(&format!("/logged-models/{id}"), &json!({"model_id": id, "status": status})).await;
        uploaded.and(settled)?;
        let outputs = json!({"run_id": new.run_id, "models": [{"model_id": id, "step": 0}]});
        self.post("/runs/outputs", &outputs).await?;
        let version = match new.registered {
            Some(name) => Some(self.register(name, &id, new.run_id).await?),
            None => None,
        };
        Ok(Logged { model_id: id, version })
    }

    /// Makes the next version of a registered model, which is made if it is not there.
    async fn register(&self, name: &str, model_id: &str, run_id: &str) -> Result<String> {
        if self.ask("/registered-models/get", &[("name", name)]).await.is_err() {
            self.post("/registered-models/create", &json!({"name": name})).await?;
        }
        let source = format!("models:/{model_id}");
        let body = json!({"name": name, "source": source, "run_id": run_id, "model_id": model_id});
        let made = self.post("/model-versions/create", &body).await?;
        text(&made["model_version"]["version"])
    }

    /// Writes files below an `mlflow-artifacts:` place; `MLmodel` last, by which a folder is a model.
    async fn upload(&self, place: &str, files: &[(String, Vec<u8>)]) -> Result {
        if !place.starts_with("mlflow-artifacts:") {
            return Err(Error::fetch(format!("{place} is not written through the server, which alone is known here")));
        }
        let root = artifact_path(place)?;
        for (name, bytes) in files {
            let whole = format!("{root}/{name}");
            let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{}", self.url, utf8_percent_encode(&whole, PATH));
            let sent = self.client.put(&url).body(bytes.clone()).send().await;
            read(&url, sent.map_err(|error| self.away(&error))?).await?;
        }
        Ok(())
    }

    /// Replaces files of a model that the server keeps.
    pub async fn write(&self, place: &str, files: &[(String, Vec<u8>)]) -> Result {
        self.upload(place, files).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Result {
        let url = format!("{}/api/2.0/mlflow{path}", self.url);
        let response = self.client.patch(&url).json(body).send().await.map_err(|error| self.away(&error))?;
        read(&url, response).await.map(drop)
    }
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| Error::fetch("the server's answer lacks an id; is it MLflow 3's?"))
}

/// The files of the model's folder.
fn files(new: &NewModel<'_>, model_id: &str, data: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let environment = json!({"conda": "conda.yaml", "virtualenv": "python_env.yaml"});
    let since = u64::try_from(SystemClock.now().micros()).unwrap_or_default();
    let created = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(since)).to_string();
    let own = json!({"code": null, "data": DATA, "onnx_session_options": null, "providers": ["CPUExecutionProvider"]});
    let python = json!({"data": DATA, "env": environment, "loader_module": "mlflow.onnx", "python_version": PYTHON});
    let mut model = MlModel {
        flavors: vec![("onnx".to_owned(), own), ("python_function".to_owned(), python)],
        signature: Some(new.signature.clone()),
        example: None,
        model_id: Some(model_id.to_owned()),
        run_id: Some(new.run_id.to_owned()),
        uuid: Some(unique_id().replace('-', "")),
        mlflow_version: None,
        created: Some(created.trim_end_matches('Z').replace('T', " ")),
        size_bytes: None,
        other: Map::from_iter([("artifact_path".to_owned(), json!(format!("models:/{model_id}")))]),
    };
    let lines = |indent: &str| PACKAGES.map(|package| format!("{indent}- {package}\n")).concat();
    let pip = lines("    ");
    let mut files = vec![
        (DATA.to_owned(), data),
        ("requirements.txt".to_owned(), PACKAGES.map(|package| format!("{package}\n")).concat().into_bytes()),
        (
            "python_env.yaml".to_owned(),
            format!("python: '{PYTHON}'\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n")
                .into_bytes(),
        ),
        (
            "conda.yaml".to_owned(),
            format!(
                "channels:\n- conda-forge\ndependencies:\n- python={PYTHON}\n- pip\n- pip:\n{pip}name: mlflow-env\n"
            )
            .into_bytes(),
        ),
    ];
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    model.size_bytes = i64::try_from(bytes).ok();
    files.push((FILE.to_owned(), model.to_text().into_bytes()));
    files
}
