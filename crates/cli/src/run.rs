//! `runlake run`: an MLflow project, here or where a backend takes it.

mod tracking;

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use runlake_projects::backend::Config;
use runlake_projects::environment::Manager;
use runlake_projects::launch::{Experiment, Host, Request, launch};
use runlake_projects::sweep::{Plan, Sweep, Swept, sweep};
use runlake_projects::{Cancel, Console, Error, Status, Stream};
use runlake_types::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::Server;
use crate::environments::CacheArgs;
use crate::terminal::{complain, say};
use crate::{Failure, Result};
use tracking::Remote;

const EXAMPLES: &str = "\
Examples:
  runlake run .                                   entry point main of the project in this directory
  runlake run . -P alpha=0.5 -P data=train.csv    with parameters
  runlake run . -e train.py -P epochs=3           a script: python train.py --epochs 3
  runlake run git+https://host/repo#sub -v v1.2   from git, at a branch, tag or commit
  runlake run p.zip --experiment-name iris        from a zip file, into an experiment
  runlake run . --env-manager local               with the Python and packages that are there
  runlake run . --sweep lr=log:1e-4..1e-1 --sweep depth=2,4,8 --trials 20 --jobs 2
                                                  20 runs by chance, two at a time, in one run
  runlake run . --resume RUN_ID                   the rest of a sweep that was interrupted
  runlake run . -b script -c slurm.json           by a batch system

The run's status follows from how the command ends, and its output is kept as the artifact
logs/stdout.txt. Ctrl-C stops everything the project started, and marks the run KILLED.
docs/projects.md tells of environments, sweeps and backends.";

#[allow(clippy::doc_markdown, reason = "the comments are the help that terminals show")]
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// A directory, a git repository (git+https://…, ssh://…, git+file://…) or a zip file; #name takes a directory in it.
    #[arg(value_name = "PROJECT")]
    uri: String,

    /// The entry point, or a script of the project ending in .py or .sh [default: main].
    #[arg(long, short, value_name = "NAME")]
    entry_point: Option<String>,

    /// A branch, tag or commit of the project's git repository.
    #[arg(long, short = 'v', value_name = "VERSION")]
    version: Option<String>,

    /// A parameter. One that the entry point does not declare goes to its command as --NAME VALUE.
    #[arg(long = "param-list", visible_alias = "param", short = 'P', value_name = "NAME=VALUE")]
    params: Vec<String>,

    /// Name of the experiment, which is made if there is none [env: MLFLOW_EXPERIMENT_NAME].
    #[arg(long, value_name = "NAME", conflicts_with = "experiment_id")]
    experiment_name: Option<String>,

    /// Id of the experiment [env: MLFLOW_EXPERIMENT_ID].
    #[arg(long, value_name = "ID")]
    experiment_id: Option<String>,

    /// Name of the run.
    #[arg(long, value_name = "NAME")]
    run_name: Option<String>,

    /// Use this run instead of making one.
    #[arg(long, value_name = "RUN_ID", conflicts_with_all = ["sweep", "resume"])]
    run_id: Option<String>,

    /// Address of the tracking server [env: RUNLAKE_SERVER, MLFLOW_TRACKING_URI] [default: http://127.0.0.1:5000].
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// Who makes the environment: local (nobody: what is there), uv, virtualenv, conda, docker [default: what the project
    /// says; uv for Python packages].
    #[arg(long, value_name = "NAME")]
    env_manager: Option<Manager>,

    #[command(flatten)]
    cache: CacheArgs,

    /// Who runs the command: local, script (a template for a batch system), kubernetes, or NAME for a program
    /// runlake-backend-NAME on the PATH.
    #[arg(long, short, value_name = "NAME", default_value = "local")]
    backend: String,

    /// What the backend is told: a JSON object, or a file that holds one.
    #[arg(long, short = 'c', value_name = "FILE")]
    backend_config: Option<String>,

    /// An option for `docker run`, such as gpus=all or t.
    #[arg(long, short = 'A', value_name = "NAME[=VALUE]")]
    docker_args: Vec<String>,

    /// Build an image with the project in it, instead of mounting its directory.
    #[arg(long)]
    build_image: bool,

    /// Put files that parameters of type path name on the server (runs:/ID/path) into this folder.
    #[arg(long, value_name = "FOLDER")]
    storage_dir: Option<PathBuf>,

    /// Run once for each value: NAME=a,b,c, or NAME=LOW..HIGH with --trials (log: before a range goes by powers, /N behind
    /// it takes N points of it). Several make a grid.
    #[arg(long, value_name = "NAME=VALUES")]
    sweep: Vec<String>,

    /// Take so many points of the sweep by chance.
    #[arg(long, value_name = "COUNT", requires = "sweep")]
    trials: Option<usize>,

    /// What chance begins with: the same seed takes the same points.
    #[arg(long, value_name = "NUMBER", requires = "sweep", default_value_t = 0)]
    seed: u64,

    /// How many runs of a sweep at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,

    /// Run what a sweep that was interrupted has left.
    #[arg(long, value_name = "RUN_ID")]
    resume: Option<String>,
}

pub(crate) async fn run(args: RunArgs) -> Result {
    let cancel = Cancel::default();
    watch_signals(&cancel)?;
    let runtime = tokio::runtime::Handle::current();
    let work = move || Work::of(args, runtime, cancel)?.done();
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Failure::new(format!("the run broke off: {error}"))),
    }
}

/// Signals ask to stop; a second one is urgent.
fn watch_signals(cancel: &Cancel) -> Result {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(|error| Failure::new(format!("signals cannot be received: {error}")))?;
        let cancel = cancel.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                cancel.ask();
                complain(&"stopping the run; once more stops it at once");
            }
        });
    }
    Ok(())
}

/// Everything the command says, read.
struct Work {
    request: Request,
    sweep: Option<Sweep>,
    resume: Option<String>,
    jobs: usize,
    tracking: Remote,
    cache: runlake_projects::environment::Cache,
    cancel: Cancel,
    here: PathBuf,
    variables: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
}

impl Work {
    fn of(args: RunArgs, runtime: tokio::runtime::Handle, cancel: Cancel) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let here = std::env::current_dir()
            .map_err(|error| Failure::new(format!("the current directory cannot be read: {error}")))?;
        let server = Server::at(&address(args.server, variable))?;
        let variables = vec![("RUNLAKE_SERVER".to_owned(), server.url().to_owned())];
        let experiment = match (args.experiment_name, args.experiment_id) {
            (Some(name), _) => Some(Experiment::Name(name)),
            (None, Some(id)) => Some(Experiment::Id(id)),
            (None, None) => variable("MLFLOW_EXPERIMENT_NAME")
                .map(Experiment::Name)
                .or_else(|| variable("MLFLOW_EXPERIMENT_ID").map(Experiment::Id)),
        };
        let config = match &args.backend_config {
            Some(text) => Config::read(text, &here).map_err(failure)?,
            None => Config::default(),
        };
        let sweep = (!args.sweep.is_empty()).then(|| Sweep::new(args.sweep, args.trials, args.seed));
        let sweep = sweep.transpose().map_err(failure)?;
        let parent = variable("MLFLOW_RUN_ID").filter(|id| args.run_id.as_ref() != Some(id));
        let request = Request {
            uri: args.uri,
            version: args.version,
            entry_point: args.entry_point,
            parameters: pairs(&args.params)?,
            experiment,
            run_name: args.run_name,
            run_id: args.run_id,
            parent,
            backend: Some(args.backend),
            config,
            manager: args.env_manager,
            docker_args: args.docker_args.iter().map(|text| option(text)).collect(),
            build_image: args.build_image,
            storage: args.storage_dir,
            user: user(variable),
        };
        let (cache, jobs) = (args.cache.open()?, usize::from(args.jobs));
        let tracking = Remote::new(server, runtime, cancel.clone());
        // MLflow's clients know a token by another name.
        let secrets = match (variable("RUNLAKE_TOKEN"), variable("MLFLOW_TRACKING_TOKEN")) {
            (Some(token), None) => vec![("MLFLOW_TRACKING_TOKEN".to_owned(), token)],
            _ => Vec::new(),
        };
        Ok(Self { request, sweep, resume: args.resume, jobs, tracking, cache, cancel, here, variables, secrets })
    }

    fn done(&self) -> Result {
        let host = Host {
            tracking: &self.tracking,
            console: &Terminal,
            cache: &self.cache,
            cancel: &self.cancel,
            clock: &SystemClock,
            here: &self.here,
            variables: &self.variables,
            secrets: &self.secrets,
        };
        if self.sweep.is_none() && self.resume.is_none() {
            let outcome = launch(&self.request, host).map_err(failure)?;
            return ended("run", &outcome.run.id, outcome.status, outcome.why.as_deref());
        }
        let plan = Plan { sweep: self.sweep.as_ref(), resume: self.resume.as_deref(), jobs: self.jobs };
        let swept = sweep(&self.request, plan, host).map_err(failure)?;
        say(&table(&swept));
        let undone = swept.trials.iter().filter(|trial| trial.status != Some(Status::Finished)).count();
        let why = format!(
            "{undone} of {} trials did not end well; run them again with --resume {}",
            swept.trials.len(),
            swept.parent.id
        );
        ended("sweep", &swept.parent.id, swept.status, Some(&why))
    }
}

/// The server: as it was given, or as the environment has it, which runs inside of runs rely on.
fn address(given: Option<String>, variable: impl Fn(&str) -> Option<String>) -> String {
    let of_mlflow = || {
        let uri = variable("MLFLOW_TRACKING_URI")?;
        let uri = uri.strip_prefix("runlake://").map_or(uri.clone(), |host| format!("http://{host}"));
        uri.starts_with("http").then_some(uri)
    };
    given
        .or_else(|| variable("RUNLAKE_SERVER"))
        .or_else(of_mlflow)
        .unwrap_or_else(|| "http://127.0.0.1:5000".to_owned())
}

/// Who is logged in, as Python finds it out.
fn user(variable: impl Fn(&str) -> Option<String>) -> String {
    let named = ["LOGNAME", "USER", "LNAME", "USERNAME"].into_iter().find_map(variable);
    named.unwrap_or_else(|| {
        let output = std::process::Command::new("id").arg("-un").output();
        let name = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
        if name.is_empty() { "unknown".to_owned() } else { name }
    })
}

fn pairs(params: &[String]) -> Result<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for param in params {
        match param.split_once('=') {
            Some(("", _)) => {
                return Err(Failure::usage(format!("-P {param:?} has no name before the =")));
            }
            Some((name, _)) if pairs.iter().any(|(known, _)| known == name) => {
                return Err(Failure::usage(format!("-P gives {name} twice")));
            }
            Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
            None => return Err(Failure::usage(format!("-P {param:?} has no =; write it as NAME=VALUE"))),
        }
    }
    Ok(pairs)
}

fn option(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err has")]
fn failure(error: Error) -> Failure {
    let message = error.to_string();
    match error {
        Error::Usage(_) | Error::File(_) => Failure::usage(message),
        Error::Cancelled => Failure { message, code: 130 },
        _ => Failure::new(message),
    }
}

fn ended(what: &str, id: &str, status: Status, why: Option<&str>) -> Result {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    match status {
        Status::Finished => {
            complain(&format_args!("{what} {id} finished"));
            Ok(())
        }
        Status::Killed => Err(Failure { message: format!("{what} {id} was killed{why}"), code: 130 }),
        Status::Failed | Status::Running => Err(Failure::new(format!("{what} {id} failed{why}"))),
    }
}

/// The trials of a sweep, a line each.
fn table(swept: &Swept) -> String {
    let names: Vec<&str> =
        swept.trials.first().map_or(Vec::new(), |trial| trial.values.iter().map(|(name, _)| name.as_str()).collect());
    let mut rows =
        vec![["trial", "status"].into_iter().chain(names).chain(["run"]).map(str::to_owned).collect::<Vec<_>>()];
    for trial in &swept.trials {
        let mut row = vec![trial.number.to_string(), trial.status.map_or("not begun", Status::name).to_owned()];
        row.extend(trial.values.iter().map(|(_, value)| value.clone()));
        row.push(trial.run.clone().unwrap_or_default());
        rows.push(row);
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Where the command was typed.
struct Terminal;

impl Console for Terminal {
    fn say(&self, line: &str) {
        complain(&line);
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        // That nobody reads it is no reason to stop.
        let _unheard = match stream {
            Stream::Output => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
            Stream::Error => std::io::stderr().write_all(bytes),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_from_the_nearest_word() {
        let of = |given: Option<&str>, pairs: &[(&str, &str)]| {
            address(given.map(str::to_owned), |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(Some("http://a"), &[("RUNLAKE_SERVER", "http://b")]), "http://a");
        assert_eq!(of(None, &[("RUNLAKE_SERVER", "http://b"), ("MLFLOW_TRACKING_URI", "http://c")]), "http://b");
        assert_eq!(of(None, &[("MLFLOW_TRACKING_URI", "http://c")]), "http://c");
        assert_eq!(of(None, &[("MLFLOW_TRACKING_URI", "runlake://c:5")]), "http://c:5");
        assert_eq!(of(None, &[("MLFLOW_TRACKING_URI", "sqlite:///m.db")]), "http://127.0.0.1:5000");
    }

    #[test]
    fn parameters_have_a_name_and_a_value() {
        let pairs_of = |text: &[&str]| pairs(&text.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(pairs_of(&["a=1=2", "b="]).unwrap(), [("a".into(), "1=2".into()), ("b".into(), String::new())]);
        for bad in [&["a"][..], &["=1"], &["a=1", "a=2"]] {
            assert_eq!(pairs_of(bad).unwrap_err().code, 2, "{bad:?}");
        }
    }
}
