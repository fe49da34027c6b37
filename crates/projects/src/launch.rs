//! A run of a project, from its address to its status.
//!
//! Nothing is told to the server before the project is here and its parameters are right. From then on there is a run, and
//! however it ends, the run says so: the command's exit status, a failure of ours (FAILED), somebody's wish (KILLED).

mod log;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use runlake_types::Clock;

use crate::backend::{Backend, Config, Ended, Job};
use crate::environment::{self, Cache, Manager, Prepared, Workshop};
use crate::parameters::{self, Parameters, Places};
use crate::source::{self, Source};
use crate::spec::{self, EntryPoint, Project};
use crate::tracking::{Cancel, Console, NewRun, Run, Status, Tracking};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// The way in if none is named.
pub const MAIN: &str = "main";
/// On each run: the way in.
pub(crate) const ENTRY_TAG: &str = "mlflow.project.entryPoint";
/// On runs of what git knows.
pub(crate) const COMMIT_TAG: &str = "mlflow.source.git.commit";
/// Where a run's output is kept.
pub const OUTPUT_ARTIFACT: &str = "logs/stdout.txt";
/// Where the output of an attempt to make an environment is kept.
pub const ENVIRONMENT_ARTIFACT: &str = "logs/environment.txt";
/// Set on runs of a working tree with changes that no commit has.
const DIRTY_TAG: &str = "runlake.source.dirty";

/// What is to be run.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The address of the project.
    pub uri: String,
    /// A branch, tag or commit of it.
    pub version: Option<String>,
    /// The way in; without it [`MAIN`], or that of the sweep that is resumed.
    pub entry_point: Option<String>,
    /// Names and values.
    pub parameters: Vec<(String, String)>,
    /// Where the run goes; without it to the parent's experiment, or to the default one.
    pub experiment: Option<Experiment>,
    /// Its name.
    pub run_name: Option<String>,
    /// A run that is there already, to be used instead of a new one.
    pub run_id: Option<String>,
    /// The run this one is part of.
    pub parent: Option<String>,
    /// Who runs the command; without it this machine.
    pub backend: Option<String>,
    /// What that is told.
    pub config: Config,
    /// Who makes the environment; without it whoever the project suggests.
    pub manager: Option<Manager>,
    /// Options for `docker run`.
    pub docker_args: Vec<(String, Option<String>)>,
    /// Whether an image with the project in it is made.
    pub build_image: bool,
    /// Where files are put that parameters name and that are elsewhere.
    pub storage: Option<PathBuf>,
    /// Who runs it.
    pub user: String,
}

impl Request {
    /// The way in.
    pub(crate) fn entry_point(&self) -> &str {
        self.entry_point.as_deref().unwrap_or(MAIN)
    }
}

/// An experiment by what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Experiment {
    /// Made if there is none.
    Name(String),
    /// As the server numbers them.
    Id(String),
}

/// What is around a launch.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// The server.
    pub tracking: &'a dyn Tracking,
    /// The terminal.
    pub console: &'a dyn Console,
    /// Where environments are kept.
    pub cache: &'a Cache,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Where the command was typed.
    pub here: &'a Path,
    /// More variables for the project's programs.
    pub variables: &'a [(String, String)],
    /// Likewise, but not to be written into any file or list of arguments.
    pub secrets: &'a [(String, String)],
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("here", &self.here).finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The run.
    pub run: Run,
    /// Its status.
    pub status: Status,
    /// Why, if not well.
    pub why: Option<String>,
}

/// A project that is here and can be run, once or often.
#[derive(Debug)]
pub struct Opened<'a> {
    host: Host<'a>,
    request: &'a Request,
    source: Source,
    project: Project,
    entry: EntryPoint,
    backend: Backend,
    manager: Manager,
    /// Made for the first run.
    environment: Mutex<Option<Arc<Prepared>>>,
}

/// Fetches and runs a project.
pub fn launch(request: &Request, host: Host<'_>) -> Result<Outcome> {
    let begun = Opened::of(request, host).and_then(|opened| {
        let parameters = opened.check(&request.parameters)?;
        let run = opened.begin(request.run_name.clone(), Vec::new())?;
        Ok((opened, run, parameters))
    });
    match begun {
        Ok((opened, run, parameters)) => {
            host.console.say(&format!("run {} ({}) of {}", run.id, run.name, opened.source.name));
            Ok(opened.execute(run, parameters, host.console))
        }
        Err(error) => {
            // A run that somebody made for us would otherwise wait forever.
            if let Some(id) = &request.run_id
                && let Ok(Some(run)) = host.tracking.run(id)
                && let Err(unset) = host.tracking.set_status(&run, status_of(&error))
            {
                host.console.say(&format!("warning: the status of run {id} could not be set: {unset}"));
            }
            Err(error)
        }
    }
}

fn status_of(error: &Error) -> Status {
    if matches!(error, Error::Cancelled) { Status::Killed } else { Status::Failed }
}

impl<'a> Opened<'a> {
    /// Fetches a project and looks whether it can be run as requested.
    pub fn of(request: &'a Request, host: Host<'a>) -> Result<Self> {
        let backend = Backend::named(request.backend.as_deref().unwrap_or("local"))?;
        let source = source::fetch(&request.uri, request.version.as_deref(), host.here, host.console, host.cancel)?;
        let project = spec::read(&source.directory)?;
        for warning in &project.warnings {
            host.console.say(&format!("warning: {warning}"));
        }
        let entry = project.entry_point(request.entry_point())?;
        let manager = environment::manager_of(&project, request.manager)?;
        Ok(Self { host, request, source, project, entry, backend, manager, environment: Mutex::new(None) })
    }

    /// Looks whether a run can have these parameters. Nothing is fetched yet.
    pub fn check(&self, given: &[(String, String)]) -> Result<Parameters> {
        let parameters = parameters::checked(self.request.entry_point(), &self.entry, given)?;
        // Whatever is wrong with the template is known before there is a run.
        let _command = parameters.command(&self.entry)?;
        Ok(parameters)
    }

    /// The commit that runs, if git knows.
    pub(crate) fn commit(&self) -> Option<&str> {
        self.source.version.commit.as_deref()
    }

    /// The parameters of the request.
    pub(crate) fn given(&self) -> &[(String, String)] {
        &self.request.parameters
    }

    /// Makes a run of it, or takes the one that was named.
    pub fn begin(&self, name: Option<String>, more: Vec<(String, String)>) -> Result<Run> {
        let tracking = self.host.tracking;
        let parent = match &self.request.parent {
            Some(id) => Some(tracking.run(id)?.ok_or_else(|| {
                Error::usage(format!(
                    "there is no run {id} on {}, of which this one is to be a part (MLFLOW_RUN_ID says so); unset it, or \
                     name the server it is on",
                    tracking.uri()
                ))
            })?),
            None => None,
        };
        let mut tags = self.tags();
        tags.extend(more);
        tags.extend(parent.iter().map(|parent| ("mlflow.parentRunId".to_owned(), parent.id.clone())));
        if let Some(id) = &self.request.run_id {
            let run = tracking.run(id)?;
            let run = run.ok_or_else(|| Error::usage(format!("there is no run {id} on {}", tracking.uri())))?;
            tracking.set_status(&run, Status::Running)?;
            tracking.log(&run, &[], &tags)?;
            return Ok(run);
        }
        let experiment_id = match (&self.request.experiment, &parent) {
            (Some(Experiment::Name(name)), _) => tracking.experiment_named(name)?,
            (Some(Experiment::Id(id)), _) => id.clone(),
            (None, Some(parent)) => parent.experiment_id.clone(),
            (None, None) => "0".to_owned(),
        };
        tracking.create_run(&NewRun { experiment_id, name, user: self.request.user.clone(), tags })
    }

    /// Makes a run that is part of another one.
    pub(crate) fn begin_part(&self, parent: &Run, name: String, more: Vec<(String, String)>) -> Result<Run> {
        let mut tags = self.tags();
        tags.extend(more);
        tags.push(("mlflow.parentRunId".to_owned(), parent.id.clone()));
        let experiment_id = parent.experiment_id.clone();
        self.host.tracking.create_run(&NewRun {
            experiment_id,
            name: Some(name),
            user: self.request.user.clone(),
            tags,
        })
    }

    /// What MLflow's own client says of a run of a project.
    fn tags(&self) -> Vec<(String, String)> {
        let version = &self.source.version;
        let mut tags: Vec<(&str, String)> = vec![
            ("mlflow.user", self.request.user.clone()),
            ("mlflow.source.name", self.source.name.clone()),
            ("mlflow.source.type", "PROJECT".to_owned()),
            (ENTRY_TAG, self.request.entry_point().to_owned()),
            ("mlflow.project.backend", self.backend.name().to_owned()),
        ];
        let known = [
            (COMMIT_TAG, &version.commit),
            ("mlflow.source.git.repoURL", &version.repository),
            ("mlflow.source.git.branch", &version.branch),
        ];
        tags.extend(known.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
        if version.is_dirty {
            tags.push((DIRTY_TAG, "true".to_owned()));
        }
        let is_made = self.backend.wants_environment() || self.request.manager.is_some();
        if self.manager == Manager::Docker || (is_made && self.manager != Manager::Local) {
            tags.push(("mlflow.project.env", self.manager.name().to_owned()));
        }
        tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Runs it, and says on the server how it ended.
    pub fn execute(&self, run: Run, parameters: Parameters, console: &dyn Console) -> Outcome {
        let ended = self.attempt(&run, parameters, console).unwrap_or_else(|error| {
            if let Error::Environment { log: Some(path), .. } = &error
                && let Ok(bytes) = std::fs::read(path)
                && let Err(error) = self.host.tracking.upload(&run, ENVIRONMENT_ARTIFACT, bytes)
            {
                console.say(&format!("warning: the log is not kept with the run: {error}"));
            }
            Ended { status: status_of(&error), why: Some(error.to_string()) }
        });
        let status = self.settled(&run, ended.status).unwrap_or_else(|error| {
            console.say(&format!("warning: the status of run {} could not be set: {error}", run.id));
            ended.status
        });
        if status == Status::Killed
            && let Err(error) = self.end_parts(&run)
        {
            console.say(&format!("warning: runs within run {} may still be called running: {error}", run.id));
        }
        let why = ended
            .why
            .or_else(|| (status != Status::Finished).then(|| format!("the program set it to {}", status.name())));
        Outcome { run, status, why: why.filter(|_| status != Status::Finished) }
    }

    /// Everything the run had started is gone, also who could have said so.
    fn end_parts(&self, run: &Run) -> Result {
        let tracking = self.host.tracking;
        for part in tracking.children(run)?.iter().filter(|part| part.status == Status::Running) {
            tracking.set_status(part, Status::Killed)?;
            self.end_parts(part)?;
        }
        Ok(())
    }

    /// A program that ended well may have set another status itself, which stays.
    fn settled(&self, run: &Run, status: Status) -> Result<Status> {
        if status == Status::Finished
            && let Some(now) = self.host.tracking.run(&run.id)?
            && now.status != Status::Running
        {
            return Ok(now.status);
        }
        self.host.tracking.set_status(run, status)?;
        Ok(status)
    }

    fn attempt(&self, run: &Run, parameters: Parameters, console: &dyn Console) -> Result<Ended> {
        let host = &self.host;
        host.tracking.log(run, &parameters.logged, &[])?;
        let fetched = Fetched::new(self.request.storage.as_deref(), &run.id);
        let fetch = |position: usize, uri: &str| fetched.fetch(position, uri, host);
        let places = Places { here: host.here, project: &self.project.directory, fetch: &fetch };
        let parameters = parameters.located(&self.entry, &places)?;
        let command = parameters.command(&self.entry)?;
        let environment = self.environment(console)?;
        let mut variables: Vec<(String, String)> = host.variables.to_vec();
        for (name, value) in [
            ("MLFLOW_TRACKING_URI", host.tracking.uri()),
            ("MLFLOW_RUN_ID", &run.id),
            ("MLFLOW_EXPERIMENT_ID", &run.experiment_id),
        ] {
            variables.push((name.to_owned(), value.to_owned()));
        }
        // Otherwise Python keeps back what it prints until there is much of it.
        if std::env::var_os("PYTHONUNBUFFERED").is_none() {
            variables.push(("PYTHONUNBUFFERED".to_owned(), "1".to_owned()));
        }
        let job = Job {
            run,
            project: &self.project,
            source: &self.source,
            entry_point: self.request.entry_point(),
            parameters: &parameters,
            command: &command,
            variables: &variables,
            secrets: host.secrets,
            environment: &environment,
            config: &self.request.config,
            docker_args: &self.request.docker_args,
            build_image: self.request.build_image,
            cache: host.cache,
            cancel: host.cancel,
            here: host.here,
        };
        console.say(&format!("$ {command}"));
        log::kept(run, host.tracking, console, |sink| self.backend.run(&job, sink))?
    }

    /// The environment, made once for all runs.
    fn environment(&self, console: &dyn Console) -> Result<Arc<Prepared>> {
        let host = &self.host;
        let mut known = self.environment.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = known.as_ref() {
            return Ok(Arc::clone(known));
        }
        let is_wanted = self.backend.wants_environment() || self.request.manager.is_some();
        let workshop = Workshop { cache: host.cache, console, cancel: host.cancel, clock: host.clock };
        let made = if is_wanted {
            environment::prepare(&self.project, self.request.manager, &workshop)?
        } else {
            Prepared::local()
        };
        Ok(Arc::clone(known.insert(Arc::new(made))))
    }
}

/// Files that parameters name and that are elsewhere.
struct Fetched {
    storage: Option<PathBuf>,
    run: String,
    temporary: Mutex<Option<tempfile::TempDir>>,
}

impl Fetched {
    fn new(storage: Option<&Path>, run: &str) -> Self {
        Self { storage: storage.map(Path::to_owned), run: run.to_owned(), temporary: Mutex::new(None) }
    }

    fn fetch(&self, position: usize, uri: &str, host: &Host<'_>) -> Result<PathBuf> {
        if !uri.starts_with("runs:/") && !uri.starts_with("mlflow-artifacts:/") {
            return Err(Error::usage(format!(
                "{uri:?} is not fetched: files come from this machine, runs:/ID/path or mlflow-artifacts:/path; fetch it \
                 first, or let the project take it as a uri"
            )));
        }
        let root = if let Some(storage) = &self.storage {
            host.here.join(storage).join(&self.run)
        } else {
            let mut temporary = self.temporary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if temporary.is_none() {
                let made = tempfile::Builder::new().prefix("runlake-inputs-").tempdir();
                *temporary = Some(made.map_err(Error::io("cannot make a temporary directory for inputs"))?);
            }
            temporary.as_ref().expect("it was just made").path().to_owned()
        };
        let folder = root.join(format!("param_{position}"));
        std::fs::create_dir_all(&folder).map_err(Error::at("make", &folder))?;
        host.console.say(&format!("fetching {uri}"));
        host.tracking.download(uri, &folder)
    }
}
