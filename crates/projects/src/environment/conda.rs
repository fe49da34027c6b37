//! conda, mamba or micromamba: whichever is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Key;
use super::{Manager, Prepared, Workshop, path_with, step};
use crate::process;
use crate::{Error, Result};

/// What packages bring along to be done when their environment is entered.
const ACTIVATION: &str =
    "for script in \"$CONDA_PREFIX\"/etc/conda/activate.d/*.sh; do [ -r \"$script\" ] && . \"$script\"; done; ";

pub(super) fn prepare(file: &Path, workshop: &Workshop<'_>) -> Result<Prepared> {
    let text = fs::read(file).map_err(Error::at("read", file))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut key = Key::new(Manager::Conda, name);
    key.add_bytes("file", &text);
    // What it installs by pip may stand in files of its own.
    let env = super::requirements::of_conda(file, &mut |_| {})?;
    env.identify(&mut key)?;
    let held = workshop.cache.ensure(&key, workshop, |directory, making| {
        let program = program()?;
        let is_micro = program.file_name().is_some_and(|name| name == "micromamba");
        let mut create = Command::new(program);
        if is_micro {
            create.args(["create", "--yes", "--quiet"]);
        } else {
            create.args(["env", "create", "--quiet"]);
        }
        create.arg("--prefix").arg(directory.join("env")).arg("--file").arg(file);
        step(&mut create, "the conda environment could not be made", workshop, making)
    })?;
    let directory = held.directory.join("env");
    let prefix = directory.display().to_string();
    Ok(Prepared {
        variables: vec![
            ("CONDA_PREFIX".to_owned(), prefix.clone()),
            ("CONDA_DEFAULT_ENV".to_owned(), prefix),
            ("PATH".to_owned(), path_with(&directory.join("bin"))),
        ],
        manager: Manager::Conda,
        directory: Some(directory),
        activation: ACTIVATION.to_owned(),
        image: None,
        _held: Some(held),
    })
}

fn program() -> Result<PathBuf> {
    let home = std::env::var_os("MLFLOW_CONDA_HOME").map(|home| PathBuf::from(home).join("bin/conda"));
    let named = std::env::var_os("CONDA_EXE").or_else(|| std::env::var_os("MAMBA_EXE")).map(PathBuf::from);
    let found = ["micromamba", "mamba", "conda"].into_iter().find_map(process::on_path);
    home.into_iter().chain(named).find(|path| path.is_file()).or(found).ok_or_else(|| {
        Error::environment(
            "the project has a conda environment, and there is no conda, mamba or micromamba; install micromamba with \
             `curl -Ls https://micro.mamba.pm/api/micromamba/linux-64/latest | tar -xj bin/micromamba`, or use \
             --env-manager uv, which installs its pip packages only"
                .to_owned(),
        )
    })
}
