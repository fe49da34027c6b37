//! What a command needs to run: found in the cache, or made.

mod cache;
mod conda;
mod docker;
mod python;
mod requirements;
mod uv;
mod virtualenv;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use runlake_types::Clock;

use crate::process::{self, End, Input};
use crate::shell;
use crate::spec::{Needs, Project};
use crate::tracking::{Cancel, Console, Stream};
use crate::{Error, Result};

pub use cache::{Cache, Cached};
pub(crate) use cache::{Held, Making};
pub(crate) use docker::Image;
use requirements::PythonEnv;

#[cfg(test)]
mod tests;

/// Who makes environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Nobody: what is there is used.
    Local,
    /// uv.
    Uv,
    /// Python's `venv`, and pip.
    Virtualenv,
    /// conda, mamba or micromamba.
    Conda,
    /// docker or podman.
    Docker,
}

impl Manager {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Uv => "uv",
            Self::Virtualenv => "virtualenv",
            Self::Conda => "conda",
            Self::Docker => "docker",
        }
    }
}

impl FromStr for Manager {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Local, Self::Uv, Self::Virtualenv, Self::Conda, Self::Docker];
        all.into_iter().find(|manager| manager.name() == text).ok_or_else(|| {
            format!("{text:?} is no environment manager; there are local, uv, virtualenv, conda, docker")
        })
    }
}

/// An environment that is there, and stays as long as this is held.
#[derive(Debug)]
pub struct Prepared {
    /// Who made it.
    pub manager: Manager,
    /// Where it is, if it is a directory.
    pub directory: Option<PathBuf>,
    /// Variables its programs are to have.
    pub variables: Vec<(String, String)>,
    /// What a shell is to do before the command.
    pub(crate) activation: String,
    pub(crate) image: Option<Image>,
    _held: Option<Held>,
}

impl Prepared {
    /// What is there already.
    pub(crate) fn local() -> Self {
        Self {
            manager: Manager::Local,
            directory: None,
            variables: Vec::new(),
            activation: String::new(),
            image: None,
            _held: None,
        }
    }
}

/// What is to be made.
#[derive(Debug)]
enum Recipe {
    Local,
    /// By uv or virtualenv.
    Python(Manager, PythonEnv),
    UvLock,
    Conda(PathBuf),
    Docker(crate::spec::Docker),
}

/// Everything an environment is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workshop<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) console: &'a dyn Console,
    pub(crate) cancel: &'a Cancel,
    pub(crate) clock: &'a dyn Clock,
}

impl std::fmt::Debug for dyn Console + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Console")
    }
}

/// Who will make a project's environment, without making it.
pub fn manager_of(project: &Project, wanted: Option<Manager>) -> Result<Manager> {
    Ok(match recipe(project, wanted, &mut |_| {})? {
        Recipe::Local => Manager::Local,
        Recipe::Python(manager, _) => manager,
        Recipe::UvLock => Manager::Uv,
        Recipe::Conda(_) => Manager::Conda,
        Recipe::Docker(_) => Manager::Docker,
    })
}

/// Finds or makes the environment of a project.
pub(crate) fn prepare(project: &Project, wanted: Option<Manager>, workshop: &Workshop<'_>) -> Result<Prepared> {
    match recipe(project, wanted, &mut |warning| workshop.console.say(warning))? {
        Recipe::Local => Ok(Prepared::local()),
        Recipe::Python(Manager::Virtualenv, env) => virtualenv::prepare(&env, workshop),
        Recipe::Python(_, env) => uv::prepare(&env, workshop),
        Recipe::UvLock => uv::prepare_lock(&project.directory, workshop),
        Recipe::Conda(file) => conda::prepare(&file, workshop),
        Recipe::Docker(docker) => docker::prepare(&docker, workshop),
    }
}

fn recipe(project: &Project, wanted: Option<Manager>, warn: &mut dyn FnMut(&str)) -> Result<Recipe> {
    let name = wanted.map_or("", Manager::name);
    let mismatch = |needs: &str| {
        let directory = project.directory.display();
        Err(Error::usage(format!("--env-manager {name} does not fit the project in {directory}, which {needs}")))
    };
    Ok(match (wanted, &project.needs) {
        (Some(Manager::Local), _) | (None, Needs::Nothing) => Recipe::Local,
        (None | Some(Manager::Docker), Needs::Docker(docker)) => Recipe::Docker(docker.clone()),
        (_, Needs::Docker(_)) => return mismatch("wants a docker image (docker_env)"),
        (Some(Manager::Docker), _) => return mismatch("names no docker image (docker_env)"),
        (None | Some(Manager::Conda), Needs::Conda(file)) => Recipe::Conda(file.clone()),
        (Some(Manager::Conda), _) => return mismatch("has no conda environment (conda_env)"),
        (Some(Manager::Uv | Manager::Virtualenv), Needs::Conda(file)) => {
            let env = requirements::of_conda(file, warn)?;
            Recipe::Python(wanted.unwrap_or(Manager::Uv), env)
        }
        (None | Some(Manager::Uv), Needs::UvLock) => Recipe::UvLock,
        (Some(Manager::Virtualenv), Needs::UvLock) => return mismatch("has a uv.lock"),
        (_, Needs::PythonEnv(file)) => {
            Recipe::Python(wanted.unwrap_or(Manager::Uv), requirements::of_python_env(file)?)
        }
        (_, Needs::Requirements(file)) => Recipe::Python(wanted.unwrap_or(Manager::Uv), requirements::of_file(file)),
        (_, Needs::Nothing) => Recipe::Python(wanted.unwrap_or(Manager::Uv), PythonEnv::empty(&project.directory)),
    })
}

/// A step of making an environment: what the program writes is shown (beside the project's own output) and kept. `what`
/// goes into the error.
pub(crate) fn step(command: &mut Command, what: &str, workshop: &Workshop<'_>, making: &mut Making) -> Result {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let line = shell::line(words.iter().map(String::as_str));
    let _unkept = writeln!(making.log, "$ {line}");
    // What the caller's own environment sets is not meant for this one.
    for variable in ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "PIP_TARGET", "PIP_PREFIX"] {
        if command.get_envs().all(|(name, _)| name != variable) {
            command.env_remove(variable);
        }
    }
    let end = process::run(command, Input::File(making.lock()?), workshop.cancel, |_, bytes| {
        let _unkept = making.log.write_all(bytes);
        workshop.console.write(Stream::Error, bytes);
    })?;
    match end {
        End::Cancelled => Err(Error::Cancelled),
        end if end.is_success() => Ok(()),
        end => Err(Error::environment(format!("{what}: {} {}", words[0], end.said()))),
    }
}

/// The variables of a virtual environment.
fn activated(environment: &Path) -> Vec<(String, String)> {
    vec![
        ("VIRTUAL_ENV".to_owned(), environment.display().to_string()),
        ("PATH".to_owned(), path_with(&environment.join("bin"))),
    ]
}

/// The search path with a folder before the others.
fn path_with(folder: &Path) -> String {
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", folder.display())
}
