//! A process of this machine; in a container, if the project wants one.

use std::process::Command;

use super::{Ended, Job, Sink};
use crate::environment::Image;
use crate::process::{self, Input};
use crate::shell;
use crate::tracking::Cancel;
use crate::{Error, Result};

/// Where a project is in its container, as MLflow has it.
const INSIDE: &str = "/mlflow/projects/code";

pub(super) fn run(job: &Job<'_>, sink: Sink<'_>) -> Result<Ended> {
    if let Some(image) = &job.environment.image {
        return contained(image, job, sink);
    }
    let mut command = shell_command(&format!("{}{}", job.environment.activation, job.command));
    command.current_dir(&job.project.directory).envs(job.environment.variables.iter().cloned());
    command.env_remove("PYTHONHOME").env_remove("MLFLOW_EXPERIMENT_NAME");
    command.envs(job.variables.iter().chain(job.secrets).cloned());
    Ok(process::run(&mut command, Input::Nothing, job.cancel, sink)?.into())
}

/// bash, as MLflow has it; a plain shell where there is none.
fn shell_command(line: &str) -> Command {
    let program = process::on_path("bash").unwrap_or_else(|| "sh".into());
    let mut command = Command::new(program);
    command.arg("-c").arg(line);
    command
}

fn contained(image: &Image, job: &Job<'_>, sink: Sink<'_>) -> Result<Ended> {
    let name = super::job_name(job);
    let tag = if job.build_image { built(image, job, &name, sink)? } else { image.docker.image.clone() };
    let mut command = Command::new(&image.engine);
    command.args(docker_args(image, job, &name, &tag)).envs(job.secrets.iter().cloned());
    let end = process::run(&mut command, Input::Nothing, job.cancel, sink)?;
    if end == process::End::Cancelled {
        // The engine runs it, not the program that asked for it.
        let mut kill = Command::new(&image.engine);
        let _gone = process::answer(kill.args(["kill", &name]), &Cancel::default())?;
    }
    Ok(end.into())
}

fn docker_args(image: &Image, job: &Job<'_>, name: &str, tag: &str) -> Vec<String> {
    let mut args: Vec<String> = ["run", "--rm", "--name", name].map(str::to_owned).to_vec();
    if !job.build_image {
        args.extend(["--volume".to_owned(), format!("{}:{INSIDE}", job.project.directory.display())]);
    }
    args.extend(["--workdir".to_owned(), INSIDE.to_owned()]);
    for volume in &image.docker.volumes {
        args.extend(["--volume".to_owned(), volume.clone()]);
    }
    for (name, value) in &image.docker.environment {
        let setting = value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}"));
        args.extend(["--env".to_owned(), setting]);
    }
    // Secrets are taken over by name, so that no list of processes shows them.
    for secret in ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "RUNLAKE_TOKEN"] {
        if std::env::var_os(secret).is_some() || job.secrets.iter().any(|(name, _)| name == secret) {
            args.extend(["--env".to_owned(), secret.to_owned()]);
        }
    }
    for (name, value) in job.variables {
        args.extend(["--env".to_owned(), format!("{name}={value}")]);
    }
    let is_networked = job.docker_args.iter().any(|(name, _)| name == "network" || name == "net");
    let is_here = job.variables.iter().any(|(name, value)| {
        name == "MLFLOW_TRACKING_URI" && ["//127.", "//localhost", "//[::1]"].iter().any(|host| value.contains(host))
    });
    if is_here && !is_networked {
        args.extend(["--network".to_owned(), "host".to_owned()]);
    }
    for (name, value) in job.docker_args {
        let dashes = if name.chars().count() == 1 { "-" } else { "--" };
        args.push(format!("{dashes}{name}"));
        args.extend(value.clone());
    }
    args.extend([tag, "bash", "-c", job.command].map(str::to_owned));
    args
}

/// An image with the project in it.
fn built(image: &Image, job: &Job<'_>, name: &str, sink: Sink<'_>) -> Result<String> {
    let version = job.source.version.commit.as_deref().map_or("latest", |commit| commit.get(..7).unwrap_or(commit));
    let repository = name.rsplit_once('-').map_or(name, |(project, _)| project);
    let tag = format!("{repository}:{version}");
    let file = format!("FROM {}\nCOPY . {INSIDE}/\nWORKDIR {INSIDE}\n", image.docker.image);
    let mut build = Command::new(&image.engine);
    build.args(["build", "--tag", &tag, "--file", "-"]).arg(&job.project.directory);
    let end = process::run(&mut build, Input::Bytes(file.into_bytes()), job.cancel, sink)?;
    match end {
        process::End::Cancelled => Err(Error::Cancelled),
        end if end.is_success() => Ok(tag),
        end => {
            let line = shell::line([image.engine.to_string_lossy().as_ref(), "build"]);
            Err(Error::Backend(format!("the image of the project could not be built: {line} {}", end.said())))
        }
    }
}
