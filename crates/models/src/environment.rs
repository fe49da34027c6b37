//! The environment of a model: its Python and packages, made once by uv and kept by what they are made from.
//!
//! `environments/<hash>` is an environment, whole as soon as it has the file `ready`; `<hash>.lock` is held by whoever makes
//! it; `<hash>.log` is what making it said.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ring::digest::{Context, SHA256};
use runlake_yaml as yaml;

use crate::fetch::hex;
use crate::mlmodel::inside;
use crate::{Error, MlModel, Result};

/// What the worker needs beside the model's own packages.
const WORKER_NEEDS: &str = "pyarrow";
const READY: &str = "ready";
const TAIL_LINES: usize = 15;

/// What an environment is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The version of Python.
    pub python: Option<String>,
    /// Packages that building others needs.
    pub build: Vec<String>,
    /// Packages, as pip writes them.
    pub packages: Vec<String>,
}

impl Needs {
    /// What a model says it needs.
    pub fn of(model: &MlModel, folder: &Path) -> Result<Self> {
        let python = model.python()?;
        let mut needs = Self { python: python.version.clone(), ..Self::default() };
        let requirements = folder.join("requirements.txt");
        if let Some(file) = &python.virtualenv {
            let path = inside(folder, file)?;
            let name = path.display().to_string();
            let root = yaml::parse(&name, &fs::read_to_string(&path).map_err(Error::at("read", &path))?)?;
            if let Some(version) = root.get("python").filter(|version| !version.is_null()) {
                needs.python = Some(version.verbatim(&name, "python")?);
            }
            let list = |key: &str| -> Result<Vec<String>> {
                let Some(node) = root.get(key) else { return Ok(Vec::new()) };
                node.items(&name, key)?.iter().map(|item| Ok(item.text(&name, key)?)).collect()
            };
            needs.build = list("build_dependencies")?;
            for line in list("dependencies")? {
                match line.strip_prefix("-r ") {
                    Some(file) => needs.packages.extend(lines(&inside(folder, file.trim())?)?),
                    None => needs.packages.push(line),
                }
            }
        } else if requirements.is_file() {
            needs.packages = lines(&requirements)?;
        } else {
            return Err(Error::Environment(format!(
                "the model in {} says nothing of its packages: it has neither python_env.yaml nor requirements.txt; use \
                 --env-manager local with a --python that has them",
                folder.display()
            )));
        }
        Ok(needs)
    }

    fn hash(&self) -> String {
        let mut context = Context::new(&SHA256);
        let all = [self.python.iter().cloned().collect(), self.build.clone(), self.packages.clone()];
        context.update(format!("2 {WORKER_NEEDS} {all:?}").as_bytes());
        hex(&context.finish().as_ref()[..16])
    }
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(Error::at("read", path))?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

/// The Python of an environment for these needs: found below `cache`, or made, which `say` tells of.
pub fn prepare(needs: &Needs, cache: &Path, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let root = cache.join("environments");
    fs::create_dir_all(&root).map_err(Error::at("make", &root))?;
    let hash = needs.hash();
    let place = root.join(&hash);
    let python = place.join("bin/python");
    if place.join(READY).is_file() {
        return Ok(python);
    }
    let lock = root.join(format!("{hash}.lock"));
    let lock = File::create(&lock).map_err(Error::at("make", &lock))?;
    lock.lock().map_err(Error::io("cannot lock the environment"))?;
    if place.join(READY).is_file() {
        return Ok(python);
    }
    // Without the file it is what a crash left.
    if place.exists() {
        fs::remove_dir_all(&place).map_err(Error::at("remove", &place))?;
    }
    say(&format!(
        "making the model's environment (Python {}, {} packages) in {}",
        needs.python.as_deref().unwrap_or("of this machine"),
        needs.packages.len(),
        place.display()
    ));
    let log = root.join(format!("{hash}.log"));
    let made = make(needs, &place, &python, &log, say);
    if made.is_err() && place.exists() {
        fs::remove_dir_all(&place).map_err(Error::at("remove", &place))?;
    }
    made?;
    let ready = place.join(READY);
    fs::write(&ready, needs.packages.join("\n")).map_err(Error::at("write", &ready))?;
    Ok(python)
}

fn make(needs: &Needs, place: &Path, python: &Path, log: &Path, say: &dyn Fn(&str)) -> Result {
    let mut output = File::create(log).map_err(Error::at("write", log))?;
    let venv = |version: Option<&str>| {
        let mut command = uv();
        command.args(["venv", "--quiet", "--no-project"]);
        if let Some(version) = version {
            command.args(["--python", version]);
        }
        command.arg(place);
        command
    };
    let exact = step(venv(needs.python.as_deref()), "no Python could be found or fetched", log, &mut output);
    if let Err(error) = exact {
        // A Python of the same minor version reads the same files.
        let minor = needs.python.as_deref().and_then(|version| version.rsplit_once('.').map(|(minor, _)| minor));
        let Some(minor) = minor.filter(|minor| minor.contains('.')) else { return Err(error) };
        say(&format!("Python {} cannot be had; taking any {minor}", needs.python.as_deref().unwrap_or_default()));
        step(venv(Some(minor)), "no Python could be found or fetched", log, &mut output)?;
    }
    let worker = [WORKER_NEEDS.to_owned()];
    let has_arrow = needs.packages.iter().any(|line| line.starts_with(WORKER_NEEDS));
    for packages in [&needs.build[..], &needs.packages[..], if has_arrow { &[] } else { &worker[..] }] {
        if packages.is_empty() {
            continue;
        }
        let file = place.join("runlake-requirements.txt");
        fs::write(&file, packages.join("\n")).map_err(Error::at("write", &file))?;
        let mut install = uv();
        install.args(["pip", "install", "--no-progress", "--python"]).arg(python).arg("--requirement").arg(&file);
        step(install, "packages could not be installed", log, &mut output)?;
    }
    Ok(())
}

fn uv() -> Command {
    let mut command = Command::new("uv");
    for variable in ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"] {
        command.env_remove(variable);
    }
    command
}

fn step(mut command: Command, what: &str, log: &Path, output: &mut File) -> Result {
    let _unkept = writeln!(output, "$ {command:?}");
    let handle = |file: &File| file.try_clone().map(Stdio::from).map_err(Error::at("write", log));
    command.stdin(Stdio::null()).stdout(handle(output)?).stderr(handle(output)?);
    let status = command.status().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::Environment(
            "uv, which makes environments, is not installed; install it with `pip install uv`, or use --env-manager local \
             with a --python that has the model's packages"
                .to_owned(),
        ),
        _ => Error::io("uv does not run")(error),
    })?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    let tail = all[all.len().saturating_sub(TAIL_LINES)..].join("\n");
    Err(Error::Environment(format!("{what} (all of it is in {}):\n{tail}", log.display())))
}
