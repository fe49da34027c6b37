//! A script made of a template, and given to a batch system by a program that waits for its end, such as
//! `sbatch --wait`: its exit status is the run's.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Ended, Job, Sink, rendered};
use crate::process::{self, Input};
use crate::shell::quote;
use crate::tracking::{Cancel, Stream};
use crate::{Error, Result};

const TEMPLATE: &str = "\
#!/bin/bash
#SBATCH --job-name={{name}}
#SBATCH --output={{output}}
{{environment}}
cd {{directory}} || exit
{{command}}
";
/// How often the job's own output is looked at.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn run(job: &Job<'_>, sink: Sink<'_>) -> Result<Ended> {
    job.config.expect("script", &["template", "submit", "cancel", "output"])?;
    if job.environment.image.is_some() {
        return Err(Error::usage(
            "the backend script runs no docker images; use --env-manager local, and name the image in the template",
        ));
    }
    let folder = job.cache.job(&job.run.id)?;
    let output = folder.path.join("job.out");
    let output = job.config.text("output")?.map_or(output.clone(), |text| job.here.join(text));
    let script = folder.path.join("job.sh");
    let text = text(job, &output)?;
    fs::write(&script, text).map_err(Error::at("write", &script))?;
    let script = script.display().to_string();
    let words = |key: &str, otherwise: &[&str], id: &str| -> Result<Vec<String>> {
        let words = job.config.words(key)?;
        let words = words.unwrap_or_else(|| otherwise.iter().map(|word| (*word).to_owned()).collect());
        Ok(words.iter().map(|word| word.replace("{script}", &script).replace("{job}", id)).collect())
    };
    let submit = words("submit", &["sbatch", "--wait", "--parsable", "{script}"], "")?;
    let mut command = program(&submit, "submit")?;
    command.current_dir(&folder.path).envs(job.variables.iter().chain(job.secrets).cloned());
    if output.is_file() {
        // What an earlier job wrote is not this one's.
        File::create(&output).map_err(Error::at("write", &output))?;
    }
    let first_line = Mutex::new(String::new());
    let is_done = AtomicBool::new(false);
    let end = thread::scope(|scope| {
        scope.spawn(|| follow(&output, &is_done, sink));
        let end = process::run(&mut command, Input::Nothing, job.cancel, |stream, bytes| {
            let mut line = first_line.lock().expect("nobody panics with it");
            if stream == Stream::Output && !line.contains('\n') {
                line.push_str(&String::from_utf8_lossy(bytes));
            }
            sink(stream, bytes);
        });
        is_done.store(true, Ordering::SeqCst);
        end
    })?;
    if end == process::End::Cancelled {
        let line = first_line.into_inner().expect("nobody panics with it");
        // `sbatch --parsable` writes the job, or the job and the cluster.
        let id = line.lines().next().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        let cancel = words("cancel", &["scancel", "{job}"], &id)?;
        if !id.is_empty() && process::on_path(&cancel[0]).is_some() {
            let _told = process::answer(&mut program(&cancel, "cancel")?, &Cancel::default())?;
        }
    }
    Ok(end.into())
}

fn text(job: &Job<'_>, output: &Path) -> Result<String> {
    let (name, template) = match job.config.text("template")? {
        Some(path) => {
            let found = [job.here.join(path), job.project.directory.join(path)].into_iter().find(|path| path.is_file());
            let path = found.ok_or_else(|| Error::usage(format!("backend config: there is no template {path}")))?;
            let text = fs::read_to_string(&path).map_err(Error::at("read", &path))?;
            (path.display().to_string(), text)
        }
        None => ("the template".to_owned(), TEMPLATE.to_owned()),
    };
    let exports: Vec<String> = job
        .environment
        .variables
        .iter()
        .chain(job.variables)
        .map(|(name, value)| format!("export {name}={}", quote(value)))
        .collect();
    rendered(
        &name,
        &template,
        &[
            ("name", super::job_name(job)),
            ("run_id", job.run.id.clone()),
            ("experiment_id", job.run.experiment_id.clone()),
            ("directory", quote(&job.project.directory.display().to_string())),
            ("entry_point", quote(job.entry_point)),
            ("environment", exports.join("\n")),
            ("output", output.display().to_string()),
            ("command", format!("{}{}", job.environment.activation, job.command)),
        ],
    )
}

fn program(words: &[String], key: &str) -> Result<Command> {
    let [program, args @ ..] = words else {
        return Err(Error::usage(format!(
            "backend config: {key:?} is an empty list; name a program and its arguments"
        )));
    };
    if process::on_path(program).is_none() && !Path::new(program).is_file() {
        return Err(Error::Backend(format!(
            "the backend script starts jobs with {program}, which is not on the PATH; name another program in the backend \
             config: {{\"{key}\": [\"program\", \"{{script}}\"]}}"
        )));
    }
    let mut command = Command::new(program);
    command.args(args);
    Ok(command)
}

/// Hands on what the job writes into its file, until it is done.
fn follow(path: &Path, is_done: &AtomicBool, sink: Sink<'_>) {
    let mut seen = 0;
    loop {
        let is_last = is_done.load(Ordering::SeqCst);
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(seen))?;
            file.read_to_end(&mut bytes)
        });
        if let Ok(length @ 1..) = read {
            seen += length as u64;
            sink(Stream::Output, &bytes);
        }
        if is_last {
            return;
        }
        thread::sleep(LOOK);
    }
}
