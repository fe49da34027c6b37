//! Somebody's own program: `runlake-backend-<name>`.
//!
//! It reads one JSON object, the job, from standard input, and runs it however it likes until it is done. What it writes on
//! standard output are JSON objects, one a line: `{"log": "text"}` for output of the job, and last
//! `{"result": "FINISHED" | "FAILED" | "KILLED", "message": …}`. What it writes on standard error is shown and kept like the job's output. To stop the job, its process group gets SIGINT, later SIGTERM.
//! Without a result its exit status counts. docs/project-backends.md is the same for its writers.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::json;

use super::{Ended, Job, Sink};
use crate::process::{self, End, Input};
use crate::spec::Needs;
use crate::tracking::{Status, Stream};
use crate::{Error, Result};

/// The version of what is written here.
const PROTOCOL: u32 = 1;
/// A line longer than this is no message.
const MOST_LINE: usize = 8 << 20;

#[derive(Debug, Default, Deserialize)]
struct Message {
    log: Option<String>,
    result: Option<String>,
    #[serde(rename = "message")]
    why: Option<String>,
}

pub(super) fn run(program: &Path, job: &Job<'_>, sink: Sink<'_>) -> Result<Ended> {
    let mut input = serde_json::to_vec(&described(job)).expect("a job is JSON");
    input.push(b'\n');
    let mut command = Command::new(program);
    command.current_dir(&job.project.directory).envs(job.variables.iter().chain(job.secrets).cloned());
    let lines = Mutex::new(Lines::default());
    let end = process::run(&mut command, Input::Bytes(input), job.cancel, |stream, bytes| match stream {
        Stream::Error => sink(stream, bytes),
        Stream::Output => lines.lock().expect("nobody panics with it").take(bytes, sink),
    })?;
    let mut lines = lines.into_inner().expect("nobody panics with it");
    lines.take(b"\n", sink);
    if end == End::Cancelled {
        return Ok(end.into());
    }
    let name = program.file_name().unwrap_or_default().display();
    match lines.result {
        Some((result, message)) => {
            let status = match result.as_str() {
                "FINISHED" => Status::Finished,
                "FAILED" => Status::Failed,
                "KILLED" => Status::Killed,
                other => {
                    return Err(Error::Backend(format!(
                        "{name} says {other:?} is the result; it is to be FINISHED, FAILED or KILLED"
                    )));
                }
            };
            let why = message.or_else(|| (status != Status::Finished).then(|| format!("{name} says {result}")));
            Ok(Ended { status, why: why.filter(|_| status != Status::Finished) })
        }
        None if end.is_success() => Ok(end.into()),
        None => Ok(Ended { status: Status::Failed, why: Some(format!("{name} {}", end.said())) }),
    }
}

/// The job as the program reads it.
fn described(job: &Job<'_>) -> serde_json::Value {
    let needs = match &job.project.needs {
        Needs::Nothing => json!({"kind": "none"}),
        Needs::PythonEnv(file) => json!({"kind": "python_env", "file": file}),
        Needs::Requirements(file) => json!({"kind": "requirements", "file": file}),
        Needs::UvLock => json!({"kind": "uv_lock"}),
        Needs::Conda(file) => json!({"kind": "conda_env", "file": file}),
        Needs::Docker(docker) => json!({
            "kind": "docker_env",
            "image": docker.image,
            "volumes": docker.volumes,
            "environment": docker.environment,
        }),
    };
    let pairs = |pairs: &[(String, String)]| -> serde_json::Map<String, serde_json::Value> {
        pairs.iter().map(|(key, value)| (key.clone(), json!(value))).collect()
    };
    json!({
        "protocol": PROTOCOL,
        "run": {"id": job.run.id, "name": job.run.name, "experiment_id": job.run.experiment_id, "artifact_uri": job.run.artifact_uri},
        "project": {
            "directory": job.project.directory,
            "name": job.project.name,
            "source": job.source.name,
            "commit": job.source.version.commit,
            "needs": needs,
        },
        "entry_point": job.entry_point,
        "parameters": pairs(job.parameters.values()),
        "command": format!("{}{}", job.environment.activation, job.command),
        "variables": pairs(job.variables),
        "environment": {
            "manager": job.environment.manager.name(),
            "directory": job.environment.directory,
            "variables": pairs(&job.environment.variables),
        },
        "config": job.config.json(),
    })
}

/// Messages as they come.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    result: Option<(String, Option<String>)>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], sink: Sink<'_>) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(&line, sink);
        }
        if self.rest.len() > MOST_LINE {
            let line = std::mem::take(&mut self.rest);
            sink(Stream::Output, &line);
        }
    }

    /// What is no message is output: a program that only prints is a backend as well.
    fn line(&mut self, line: &[u8], sink: Sink<'_>) {
        match serde_json::from_slice::<Message>(line) {
            Ok(Message { result: Some(result), why, .. }) => self.result = Some((result, why)),
            Ok(Message { log: Some(text), .. }) => sink(Stream::Output, text.as_bytes()),
            _ if line.iter().all(u8::is_ascii_whitespace) => {}
            _ => sink(Stream::Output, line),
        }
    }
}
