//! Python's own `venv`, and pip.

use std::fs;
use std::process::Command;

use super::cache::Key;
use super::requirements::PythonEnv;
use super::{Manager, Prepared, Workshop, activated, python, step};
use crate::{Error, Result};

pub(super) fn prepare(env: &PythonEnv, workshop: &Workshop<'_>) -> Result<Prepared> {
    let mut key = Key::new(Manager::Virtualenv, env.summary());
    env.identify(&mut key)?;
    let held = workshop.cache.ensure(&key, workshop, |directory, making| {
        let found = python::find(env.python.as_deref(), workshop.cancel)?;
        let python = found.ok_or_else(|| python::missing(env.python.as_deref()))?;
        let place = directory.join("env");
        let mut venv = Command::new(python);
        venv.args(["-m", "venv"]).arg(&place);
        step(
            &mut venv,
            "the Python environment could not be made (on Debian it takes `apt install python3-venv`)",
            workshop,
            making,
        )?;
        for (name, lines) in [("build.txt", &env.build), ("requirements.txt", &env.packages)] {
            if lines.is_empty() {
                continue;
            }
            let file = directory.join(name);
            fs::write(&file, PythonEnv::lines(lines, &env.directory)).map_err(Error::at("write", &file))?;
            let mut install = Command::new(place.join("bin/python"));
            install.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement"]);
            step(install.arg(&file), "packages could not be installed", workshop, making)?;
        }
        Ok(())
    })?;
    let directory = held.directory.join("env");
    Ok(Prepared {
        variables: activated(&directory),
        manager: Manager::Virtualenv,
        directory: Some(directory),
        activation: String::new(),
        image: None,
        _held: Some(held),
    })
}
