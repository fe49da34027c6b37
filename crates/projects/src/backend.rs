//! Who runs a command: this machine, a batch system, Kubernetes, or somebody's own program.

mod kubernetes;
mod local;
mod plugin;
mod script;

use std::path::{Path, PathBuf};

use runlake_yaml as yaml;
use serde_json::{Map, Value};

use crate::environment::{Cache, Prepared};
use crate::parameters::Parameters;
use crate::process::{self, End};
use crate::source::Source;
use crate::spec::Project;
use crate::tracking::{Cancel, Run, Status, Stream};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// What takes a run's output; also from several threads.
pub(crate) type Sink<'a> = &'a (dyn Fn(Stream, &[u8]) + Sync);

/// Who runs a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A process of this machine.
    Local,
    /// A script made of a template and given to a batch system, such as Slurm.
    Script,
    /// A job of Kubernetes.
    Kubernetes,
    /// The program `runlake-backend-<name>`.
    Plugin {
        /// The name.
        name: String,
        /// Where it is.
        program: PathBuf,
    },
}

/// Everything a backend may want to know of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) run: &'a Run,
    pub(crate) project: &'a Project,
    pub(crate) source: &'a Source,
    pub(crate) entry_point: &'a str,
    pub(crate) parameters: &'a Parameters,
    /// The command line, for bash.
    pub(crate) command: &'a str,
    /// Variables of the run, without those of the environment.
    pub(crate) variables: &'a [(String, String)],
    /// Variables that go to programs only as variables.
    pub(crate) secrets: &'a [(String, String)],
    pub(crate) environment: &'a Prepared,
    pub(crate) config: &'a Config,
    pub(crate) docker_args: &'a [(String, Option<String>)],
    pub(crate) build_image: bool,
    pub(crate) cache: &'a Cache,
    pub(crate) cancel: &'a Cancel,
    pub(crate) here: &'a Path,
}

/// How a run ended, and why if not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    pub(crate) why: Option<String>,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        let status = match end {
            End::Exit(0) => Status::Finished,
            End::Cancelled => Status::Killed,
            _ => Status::Failed,
        };
        Self { status, why: (status != Status::Finished).then(|| format!("the command {}", end.said())) }
    }
}

impl Backend {
    /// The backend of a name, which is there.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "local" => return Ok(Self::Local),
            "script" | "slurm" => return Ok(Self::Script),
            "kubernetes" => return Ok(Self::Kubernetes),
            _ => {}
        }
        let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let program = format!("runlake-backend-{name}");
        match process::on_path(&program) {
            Some(path) if is_word => Ok(Self::Plugin { name: name.to_owned(), program: path }),
            _ => Err(Error::usage(format!(
                "there is no backend {name:?}: known are local, script, kubernetes, and any program runlake-backend-NAME \
                 on the PATH; there is no {program}"
            ))),
        }
    }

    /// As it is written.
    pub fn name(&self) -> &str {
        match self {
            Self::Local => "local",
            Self::Script => "script",
            Self::Kubernetes => "kubernetes",
            Self::Plugin { name, .. } => name,
        }
    }

    /// Whether the project's environment is made here before.
    pub(crate) fn wants_environment(&self) -> bool {
        matches!(self, Self::Local | Self::Script)
    }

    /// Runs a job to its end.
    pub(crate) fn run(&self, job: &Job<'_>, sink: Sink<'_>) -> Result<Ended> {
        match self {
            Self::Local => local::run(job, sink),
            Self::Script => script::run(job, sink),
            Self::Kubernetes => kubernetes::run(job, sink),
            Self::Plugin { program, .. } => plugin::run(program, job, sink),
        }
    }
}

/// What `--backend-config` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config(Map<String, Value>);

impl Config {
    /// A JSON object, or the path of a file that holds one.
    pub fn read(text: &str, here: &Path) -> Result<Self> {
        let is_object = text.trim_start().starts_with('{');
        let path = here.join(text);
        let (name, json) = if is_object {
            ("--backend-config".to_owned(), text.to_owned())
        } else {
            (path.display().to_string(), std::fs::read_to_string(&path).map_err(Error::at("read", &path))?)
        };
        serde_json::from_str(&json).map(Self).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            yaml::Error::At { line, column, problem: format!("{error}; a JSON object is expected"), file: name }.into()
        })
    }

    /// A text of it.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Error::usage(format!("backend config: {key:?} is to be a text, and is {other}"))),
        }
    }

    /// A list of texts of it.
    pub(crate) fn words(&self, key: &str) -> Result<Option<Vec<String>>> {
        let wrong =
            |other: &Value| Error::usage(format!("backend config: {key:?} is to be a list of texts, not {other}"));
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong(item)))
                .collect::<Result<Vec<_>>>()
                .map(Some),
            Some(other) => Err(wrong(other)),
        }
    }

    /// Refuses what nobody reads.
    pub(crate) fn expect(&self, backend: &str, known: &[&str]) -> Result {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Error::usage(format!(
                "backend config: the backend {backend} knows no {key:?}; it knows {}",
                known.join(", ")
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn json(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

/// `{{name}}` in a text, replaced.
pub(crate) fn rendered(file: &str, template: &str, values: &[(&str, String)]) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let line = template[..template.len() - after.len()].matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let fault = |problem: String| yaml::Error::At { file: file.to_owned(), line, column, problem };
        let (name, following) = after.split_once("}}").ok_or_else(|| fault("this {{ has no }}".to_owned()))?;
        let value = values.iter().find(|(known, _)| *known == name.trim()).ok_or_else(|| {
            let known: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
            fault(format!("{{{{{name}}}}} is no name; there are {}", known.join(", ")))
        })?;
        out.push_str(before);
        out.push_str(&value.1);
        rest = following;
    }
    out.push_str(rest);
    Ok(out)
}

/// A name that batch systems and clusters accept.
pub(crate) fn job_name(job: &Job<'_>) -> String {
    let name = job.project.name.as_deref().unwrap_or(job.entry_point);
    let clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let clean = clean.trim_matches('-');
    let clean = if clean.is_empty() { "project" } else { clean };
    let id: String = job.run.id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("{}-{}", clean.chars().take(40).collect::<String>().trim_end_matches('-'), id.to_ascii_lowercase())
}
