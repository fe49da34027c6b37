//! The file `MLmodel`, by which a folder is a model: what can load it, what it takes, what it needs.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::signature::{Param, Schema, Signature};
use crate::{Error, Result};
use runlake_yaml::{self as yaml, Node};

/// Its name in the model's folder.
pub const FILE: &str = "MLmodel";
const PYTHON: &str = "python_function";

/// An `MLmodel` file.
#[derive(Debug, Clone, PartialEq)]
pub struct MlModel {
    /// What can load the model, by name, with what each of them wants to know.
    pub flavors: Vec<(String, Value)>,
    /// What the model takes and gives.
    pub signature: Option<Signature>,
    /// `saved_input_example_info`.
    pub example: Option<Example>,
    /// The id of the logged model.
    pub model_id: Option<String>,
    /// The run that logged it.
    pub run_id: Option<String>,
    /// A number of its own for each saved model.
    pub uuid: Option<String>,
    /// The version of MLflow that wrote it.
    pub mlflow_version: Option<String>,
    /// When it was made, as it is written.
    pub created: Option<String>,
    /// The bytes of its files.
    pub size_bytes: Option<i64>,
    /// Everything else, as it was read.
    pub other: Map<String, Value>,
}

/// Where an input example is.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The file of the example.
    pub path: String,
    /// The file of the example as a request.
    pub request_path: Option<String>,
    /// The whole entry.
    pub info: Value,
}

/// What the flavor python_function says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Python {
    /// The module that loads the model.
    pub loader: String,
    /// The version of Python that saved it.
    pub version: Option<String>,
    /// The file that describes the environment for uv or virtualenv.
    pub virtualenv: Option<String>,
    /// The same for conda.
    pub conda: Option<String>,
}

impl MlModel {
    /// Reads the file of a model's folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::fetch(format!(
                "{} is no model: it has no file {FILE}; is it the folder that a flavor's save_model or log_model wrote?",
                folder.display()
            )),
            _ => Error::at("read", &path)(error),
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads the file's text; `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let root = yaml::parse(file, text)?;
        let mut model = Self {
            flavors: Vec::new(),
            signature: None,
            example: None,
            model_id: None,
            run_id: None,
            uuid: None,
            mlflow_version: None,
            created: None,
            size_bytes: None,
            other: Map::new(),
        };
        let entries = root.entries(file, "the file MLmodel")?;
        for (key, node) in entries {
            let name = key.text(file, "a key of MLmodel")?;
            let text = |what: &str| -> Result<Option<String>> {
                if node.is_null() { Ok(None) } else { Ok(Some(node.verbatim(file, what)?)) }
            };
            match name.as_str() {
                "flavors" => model.flavors = flavors(file, node)?,
                "signature" if !node.is_null() => model.signature = Some(signature(file, node)?),
                "saved_input_example_info" if !node.is_null() => model.example = Some(example(file, node)?),
                "signature" | "saved_input_example_info" => {}
                "model_id" => model.model_id = text("model_id")?,
                "run_id" => model.run_id = text("run_id")?,
                "model_uuid" => model.uuid = text("model_uuid")?,
                "mlflow_version" => model.mlflow_version = text("mlflow_version")?,
                "utc_time_created" => model.created = text("utc_time_created")?,
                "model_size_bytes" => match node.to_json() {
                    Value::Null => {}
                    value => {
                        model.size_bytes =
                            Some(value.as_i64().ok_or_else(|| node.error(file, "model_size_bytes is to be a number"))?);
                    }
                },
                _ => {
                    model.other.insert(name, node.to_json());
                }
            }
        }
        if model.flavors.is_empty() {
            return Err(root.error(file, "there are no flavors, so nothing can load this model").into());
        }
        Ok(model)
    }

    /// What Python loads the model with. A model without is served by nothing here, and the error names its flavors.
    pub fn python(&self) -> Result<Python> {
        let Some((_, flavor)) = self.flavors.iter().find(|(name, _)| name == PYTHON) else {
            let names: Vec<&str> = self.flavors.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::usage(format!(
                "the model has no flavor {PYTHON}, which scoring needs; it has {}",
                names.join(", ")
            )));
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        // Up to MLflow 2.0 `env` named the conda file alone.
        let env = &flavor["env"];
        Ok(Python {
            loader: text(&flavor["loader_module"]).unwrap_or_default(),
            version: text(&flavor["python_version"]),
            virtualenv: text(&env["virtualenv"]),
            conda: text(&env["conda"]).or_else(|| text(env)),
        })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut root = Map::new();
        root.insert("flavors".into(), Value::Object(self.flavors.iter().cloned().collect()));
        for (name, value) in [
            ("mlflow_version", &self.mlflow_version),
            ("model_id", &self.model_id),
            ("model_uuid", &self.uuid),
            ("run_id", &self.run_id),
            ("utc_time_created", &self.created),
        ] {
            if let Some(value) = value {
                root.insert(name.into(), value.as_str().into());
            }
        }
        if let Some(bytes) = self.size_bytes {
            root.insert("model_size_bytes".into(), bytes.into());
        }
        if let Some(example) = &self.example {
            root.insert("saved_input_example_info".into(), example.info.clone());
        }
        if let Some(signature) = &self.signature {
            let schema = |schema: &Option<Schema>| schema.as_ref().map(|schema| schema.to_json().to_string());
            let params = signature
                .params
                .as_ref()
                .map(|params| params.iter().map(Param::to_json).collect::<Value>().to_string());
            root.insert(
                "signature".into(),
                json!({"inputs": schema(&signature.inputs), "outputs": schema(&signature.outputs), "params": params}),
            );
        }
        root.extend(self.other.clone());
        let mut out = String::new();
        yaml::write(&mut out, &Value::Object(root), 0);
        out
    }

    /// The request that the model's input example is.
    pub fn example_request(&self, folder: &Path) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.example.as_ref().and_then(|example| example.request_path.as_deref()) else {
            return Ok(None);
        };
        let path = inside(folder, path)?;
        std::fs::read(&path).map(Some).map_err(Error::at("read", &path))
    }
}

/// A file of the model's folder, which a path of its `MLmodel` file may not leave.
pub(crate) fn inside(folder: &Path, path: &str) -> Result<PathBuf> {
    use std::path::Component;
    if !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Ok(folder.join(path));
    }
    Err(Error::fetch(format!("the model names the file {path:?}, which is not in its own folder")))
}

fn flavors(file: &str, node: &Node) -> Result<Vec<(String, Value)>> {
    node.entries(file, "flavors")?
        .iter()
        .map(|(name, value)| {
            value.entries(file, "a flavor")?;
            Ok((name.text(file, "the name of a flavor")?, value.to_json()))
        })
        .collect()
}

fn signature(file: &str, node: &Node) -> Result<Signature> {
    node.entries(file, "the signature")?;
    let part = |name: &str| node.get(name).filter(|part| !part.is_null());
    let schema = |name: &str| {
        part(name)
            .map(|part| {
                let text = part.text(file, name)?;
                Schema::parse(&text).map_err(|problem| part.error(file, format!("{name} of the signature {problem}")))
            })
            .transpose()
    };
    let params = part("params")
        .map(|part| {
            let text = part.text(file, "params")?;
            Param::parse_all(&text).map_err(|problem| part.error(file, format!("params of the signature {problem}")))
        })
        .transpose()?;
    Ok(Signature { inputs: schema("inputs")?, outputs: schema("outputs")?, params })
}

fn example(file: &str, node: &Node) -> Result<Example> {
    let Some(path) = node.get("artifact_path") else {
        return Err(node.error(file, "saved_input_example_info has no artifact_path").into());
    };
    let request_path = match node.get("serving_input_path").filter(|path| !path.is_null()) {
        Some(path) => Some(path.text(file, "serving_input_path")?),
        None => None,
    };
    Ok(Example { path: path.text(file, "artifact_path")?, request_path, info: node.to_json() })
}

#[cfg(test)]
mod tests;
