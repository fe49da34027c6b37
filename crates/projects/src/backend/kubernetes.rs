//! A job of Kubernetes, by `kubectl`: made from a template, given to the cluster, watched to its end.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use runlake_yaml as yaml;
use serde_json::{Map, Value, json};

use super::{Ended, Job, Sink};
use crate::process::{self, End, Input};
use crate::tracking::{Cancel, Status, Stream};
use crate::{Error, Result};

/// How often the job's state is asked for.
const LOOK: Duration = Duration::from_secs(2);
/// So many times in a row the cluster may fail to answer.
const MOST_FAILURES: u32 = 5;
const KEYS: [&str; 5] = ["kube-context", "kube-job-template-path", "repository-uri", "image", "namespace"];

pub(super) fn run(job: &Job<'_>, sink: Sink<'_>) -> Result<Ended> {
    job.config.expect("kubernetes", &KEYS)?;
    let name = super::job_name(job);
    let manifest = manifest(job, &name)?;
    let folder = job.cache.job(&job.run.id)?;
    let file = folder.path.join("job.json");
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest is JSON");
    fs::write(&file, &text).map_err(Error::at("write", &file))?;
    let Some(program) = process::on_path("kubectl") else {
        return Err(Error::Backend(format!(
            "kubectl is not on the PATH, so the job was not started; its manifest is {0}: install kubectl \
             (https://kubernetes.io/docs/tasks/tools/), or give it to the cluster yourself with `kubectl create -f {0}`",
            file.display()
        )));
    };
    let mut cluster = Cluster { program, flags: Vec::new() };
    if let Some(context) = job.config.text("kube-context")? {
        cluster.flags.push(format!("--context={context}"));
    }
    let namespace = manifest.pointer("/metadata/namespace").and_then(Value::as_str);
    cluster.flags.extend(namespace.map(|namespace| format!("--namespace={namespace}")));
    let created = cluster.ask(&["create", "-f", &file.display().to_string()], job.cancel);
    let ended = created.and_then(|said| {
        sink(Stream::Error, format!("{said}\n").as_bytes());
        cluster.watch(&name, job.cancel, sink)
    });
    if matches!(ended, Err(Error::Cancelled)) {
        let _gone = cluster.ask(&["delete", "job", &name, "--ignore-not-found", "--wait=false"], &Cancel::default());
        return Ok(End::Cancelled.into());
    }
    ended
}

struct Cluster {
    program: std::path::PathBuf,
    flags: Vec<String>,
}

impl Cluster {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.flags).args(args);
        command
    }

    fn ask(&self, args: &[&str], cancel: &Cancel) -> Result<String> {
        process::answer(&mut self.command(args), cancel)?
            .map_err(|reason| Error::Backend(format!("kubectl {} failed: {reason}", args.first().unwrap_or(&""))))
    }

    /// Shows the job's output as soon as there is some, and waits for its end.
    fn watch(&self, name: &str, cancel: &Cancel, sink: Sink<'_>) -> Result<Ended> {
        let mut has_output = false;
        let mut failures = 0;
        loop {
            let answer = match self.ask(&["get", "job", name, "--output=json"], cancel) {
                Err(Error::Backend(_)) if failures < MOST_FAILURES => {
                    failures += 1;
                    thread::sleep(LOOK);
                    continue;
                }
                answer => answer?,
            };
            failures = 0;
            let state: Value = serde_json::from_str(&answer)
                .map_err(|error| Error::Backend(format!("kubectl answered what is no JSON: {error}")))?;
            let count = |key: &str| state.pointer(&format!("/status/{key}")).and_then(Value::as_u64).unwrap_or(0);
            let has_condition = |wanted: &str| {
                let conditions = state.pointer("/status/conditions").and_then(Value::as_array);
                conditions.is_some_and(|all| all.iter().any(|one| one["type"] == wanted && one["status"] == "True"))
            };
            let is_begun = count("active") + count("succeeded") + count("failed") > 0;
            if is_begun && !has_output {
                let logs = ["logs", "--follow", &format!("job/{name}")];
                // Fails while the container is being made.
                has_output = process::run(&mut self.command(&logs), Input::Nothing, cancel, |stream, bytes| {
                    if stream == Stream::Output {
                        sink(stream, bytes);
                    }
                })?
                .is_success();
            }
            if has_condition("Complete") {
                return Ok(End::Exit(0).into());
            }
            if has_condition("Failed") {
                let why = Some(format!("the job {name} failed; see kubectl describe job {name}"));
                return Ok(Ended { status: Status::Failed, why });
            }
            cancel.check()?;
            thread::sleep(LOOK);
        }
    }
}

/// The template with this run in it: names, image, command and variables of its first container.
fn manifest(job: &Job<'_>, name: &str) -> Result<Value> {
    let mut manifest = match job.config.text("kube-job-template-path")? {
        Some(path) => {
            let found = [job.here.join(path), job.project.directory.join(path)].into_iter().find(|path| path.is_file());
            let path = found.ok_or_else(|| Error::usage(format!("backend config: there is no job template {path}")))?;
            yaml::parse(&path.display().to_string(), &yaml::text(&path)?)?.to_json()
        }
        None => json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"backoffLimit": 0, "template": {"spec": {"containers": [{}], "restartPolicy": "Never"}}},
        }),
    };
    let named = match &job.project.needs {
        crate::spec::Needs::Docker(docker) => Some(docker),
        _ => None,
    };
    let Some(image) =
        job.config.text("image")?.or(job.config.text("repository-uri")?).or(named.map(|docker| docker.image.as_str()))
    else {
        return Err(Error::usage(
            "the backend kubernetes needs an image with the project's dependencies: name it as docker_env of the project, \
             or in the backend config as {\"image\": \"registry/name:tag\"}",
        ));
    };
    let mut variables: Vec<(String, String)> = job.variables.to_vec();
    for (name, value) in named.map(|docker| docker.environment.as_slice()).unwrap_or_default() {
        let value = value.clone().or_else(|| std::env::var(name).ok()).unwrap_or_default();
        variables.push((name.clone(), value));
    }
    let broken = |what: &str| Error::usage(format!("the job template is no Job of Kubernetes: {what}"));
    let root = manifest.as_object_mut().ok_or_else(|| broken("it is to be a map"))?;
    let metadata =
        filled(root, "metadata", json!({})).as_object_mut().ok_or_else(|| broken("its metadata is no map"))?;
    metadata.insert("name".to_owned(), json!(name));
    if let Some(namespace) = job.config.text("namespace")? {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let container = manifest.pointer_mut("/spec/template/spec/containers/0").and_then(Value::as_object_mut);
    let container = container.ok_or_else(|| broken("there is no container in spec.template.spec.containers"))?;
    container.insert("name".to_owned(), json!(name));
    container.insert("image".to_owned(), json!(image));
    container.insert("command".to_owned(), json!(["bash", "-c", job.command]));
    container.remove("args");
    let known = filled(container, "env", json!([]));
    let known = known.as_array_mut().ok_or_else(|| broken("the env of its container is no list"))?;
    known.retain(|entry| variables.iter().all(|(name, _)| entry["name"] != name.as_str()));
    known.extend(variables.iter().map(|(name, value)| json!({"name": name, "value": value})));
    Ok(manifest)
}

/// The value of a key, which is `otherwise` if there is none or it is empty.
fn filled<'a>(map: &'a mut Map<String, Value>, key: &str, otherwise: Value) -> &'a mut Value {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = otherwise;
    }
    value
}
