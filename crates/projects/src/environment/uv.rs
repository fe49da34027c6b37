//! uv, which is fetched if it is not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::{self, Key, Making};
use super::requirements::PythonEnv;
use super::{Manager, Prepared, Workshop, activated, python, step};
use crate::process;
use crate::{Error, Result};

/// An environment of a Python and packages.
pub(super) fn prepare(env: &PythonEnv, workshop: &Workshop<'_>) -> Result<Prepared> {
    let mut key = Key::new(Manager::Uv, env.summary());
    env.identify(&mut key)?;
    let held = workshop.cache.ensure(&key, workshop, |directory, making| {
        let uv = program(workshop, making)?;
        let place = directory.join("env");
        let mut venv = Command::new(&uv);
        venv.args(["venv", "--quiet", "--no-project"]);
        if let Some(version) = &env.python {
            venv.args(["--python", version]);
        }
        step(venv.arg(&place), "the Python environment could not be made", workshop, making)?;
        for (name, lines) in [("build.txt", &env.build), ("requirements.txt", &env.packages)] {
            if lines.is_empty() {
                continue;
            }
            let file = directory.join(name);
            fs::write(&file, PythonEnv::lines(lines, &env.directory)).map_err(Error::at("write", &file))?;
            let mut install = Command::new(&uv);
            install.args(["pip", "install", "--no-progress", "--python"]).arg(place.join("bin/python"));
            step(install.arg("--requirement").arg(&file), "packages could not be installed", workshop, making)?;
        }
        Ok(())
    })?;
    Ok(of(held))
}

/// The environment of a `uv.lock`: exactly what stands in it, but for the project itself, whose directory may be gone
/// when the next run finds the environment.
pub(super) fn prepare_lock(project: &Path, workshop: &Workshop<'_>) -> Result<Prepared> {
    let mut key = Key::new(Manager::Uv, "uv.lock");
    for name in ["pyproject.toml", "uv.lock", ".python-version"] {
        match fs::read(project.join(name)) {
            Ok(bytes) => key.add_bytes(name, &bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::at("read", &project.join(name))(error)),
        }
    }
    let held = workshop.cache.ensure(&key, workshop, |directory, making| {
        let mut sync = Command::new(program(workshop, making)?);
        sync.args(["sync", "--frozen", "--no-install-project", "--no-progress", "--project"])
            .arg(project)
            .env("UV_PROJECT_ENVIRONMENT", directory.join("env"));
        step(&mut sync, "what uv.lock says could not be installed", workshop, making)
    })?;
    let mut prepared = of(held);
    // The project's own packages are imported from where they are.
    let sources = project.join("src");
    if sources.is_dir() {
        let rest = std::env::var("PYTHONPATH").map(|rest| format!(":{rest}")).unwrap_or_default();
        prepared.variables.push(("PYTHONPATH".to_owned(), format!("{}{rest}", sources.display())));
    }
    Ok(prepared)
}

fn of(held: cache::Held) -> Prepared {
    let directory = held.directory.join("env");
    Prepared {
        variables: activated(&directory),
        manager: Manager::Uv,
        directory: Some(directory),
        activation: String::new(),
        image: None,
        _held: Some(held),
    }
}

/// uv as it is on the PATH, or our own, or fetched from PyPI to be our own.
fn program(workshop: &Workshop<'_>, making: &mut Making) -> Result<PathBuf> {
    if let Some(found) = process::on_path("uv") {
        return Ok(found);
    }
    let tools = workshop.cache.tools();
    let (home, uv) = (tools.join("uv"), tools.join("uv/bin/uv"));
    if uv.is_file() {
        return Ok(uv);
    }
    fs::create_dir_all(&tools).map_err(Error::at("make", &tools))?;
    let mut making = making.under(cache::lock_file(&tools.join("uv.lock"), true, workshop)?)?;
    if uv.is_file() {
        return Ok(uv);
    }
    workshop.console.say("fetching uv from PyPI");
    let new = tools.join("uv.new");
    cache::remove(&new)?;
    let fetched = fetch(&new, workshop, &mut making).and_then(|()| {
        cache::remove(&home)?;
        fs::rename(&new, &home).map_err(Error::at("make", &home))
    });
    fetched.map(|()| uv).map_err(|error| {
        let _absent = cache::remove(&new);
        match error {
            Error::Cancelled => Error::Cancelled,
            error => Error::environment(format!(
                "uv is not installed and could not be fetched from PyPI: {error}; install it with `pip install uv` or \
                 `curl -LsSf https://astral.sh/uv/install.sh | sh`, or use --env-manager virtualenv or local"
            )),
        }
    })
}

fn fetch(into: &Path, workshop: &Workshop<'_>, making: &mut Making) -> Result {
    let Some(python) = python::find(None, workshop.cancel)? else { return Err(python::missing(None)) };
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--target"]).arg(into);
    step(pip.arg("uv"), "pip could not fetch it", workshop, making)
}
