//! What Python packages a project wants, from the files that say so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Key;
use crate::{Error, Result};
use runlake_yaml::{self as yaml, Node};

/// Files that requirement files name in turn.
const MOST_FILES: usize = 100;
/// Files of a local package whose contents decide whether an environment is still right.
const MOST_SOURCES: usize = 20_000;

/// A Python, and packages for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PythonEnv {
    /// `3.11` or `3.11.4`; without it, the one that is found.
    pub(super) python: Option<String>,
    /// Lines of a requirements file that are installed first.
    pub(super) build: Vec<String>,
    /// Lines of a requirements file.
    pub(super) packages: Vec<String>,
    /// Where relative paths in those begin.
    pub(super) directory: PathBuf,
}

impl PythonEnv {
    pub(super) fn empty(directory: &Path) -> Self {
        Self { python: None, build: Vec::new(), packages: Vec::new(), directory: directory.to_owned() }
    }

    /// For a person.
    pub(super) fn summary(&self) -> String {
        let python = self.python.as_deref().map_or_else(|| "python".to_owned(), |version| format!("python {version}"));
        let names: Vec<&str> = self.packages.iter().map(String::as_str).take(4).collect();
        let more = if self.packages.len() > names.len() { ", …" } else { "" };
        if names.is_empty() { python } else { format!("{python}, {}{more}", names.join(", ")) }
    }

    /// Adds everything that decides what the environment will be.
    pub(super) fn identify(&self, key: &mut Key) -> Result {
        key.add("python", self.python.as_deref().unwrap_or_default());
        let mut seen = BTreeSet::new();
        for line in self.build.iter().chain(&self.packages) {
            identify_line(line, &self.directory, key, &mut seen)?;
        }
        Ok(())
    }

    /// Lines as they can stand in a file anywhere.
    pub(super) fn lines(lines: &[String], directory: &Path) -> String {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| match reference(line) {
                Some((option, path)) => format!("{option}{}\n", directory.join(path).display()),
                None => format!("{line}\n"),
            })
            .collect();
        lines.concat()
    }
}

/// `python_env.yaml`.
pub(super) fn of_python_env(path: &Path) -> Result<PythonEnv> {
    let file = path.display().to_string();
    let text = yaml::text(path)?;
    let mut env = PythonEnv::empty(path.parent().unwrap_or(Path::new(".")));
    if text.trim().is_empty() {
        return Ok(env);
    }
    let root = yaml::parse(&file, &text)?;
    let list = |key: &str| -> Result<Vec<String>> {
        let Some(node) = root.get(key) else { return Ok(Vec::new()) };
        node.items(&file, key)?.iter().map(|item| Ok(item.verbatim(&file, "a dependency")?)).collect()
    };
    let _is_map = root.entries(&file, "the file")?;
    env.python = match root.get("python").filter(|node| !node.is_null()) {
        Some(node) => Some(node.verbatim(&file, "python")?),
        None => None,
    };
    env.build = list("build_dependencies")?;
    env.packages = list("dependencies")?;
    Ok(env)
}

/// `requirements.txt`.
pub(super) fn of_file(path: &Path) -> PythonEnv {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    PythonEnv { packages: vec![format!("-r {name}")], ..PythonEnv::empty(path.parent().unwrap_or(Path::new("."))) }
}

/// What uv or pip can make of a conda environment: its Python and what it has from pip.
pub(super) fn of_conda(path: &Path, warn: &mut dyn FnMut(&str)) -> Result<PythonEnv> {
    let file = path.display().to_string();
    let text = yaml::text(path)?;
    let root = yaml::parse(&file, &text)?;
    let mut env = PythonEnv::empty(path.parent().unwrap_or(Path::new(".")));
    let mut left_out = Vec::new();
    let items: &[Node] = match root.get("dependencies") {
        Some(node) => node.items(&file, "dependencies")?,
        None => &[],
    };
    for item in items {
        if let Some(pip) = item.get("pip") {
            for package in pip.items(&file, "pip")? {
                env.packages.push(package.verbatim(&file, "a dependency")?);
            }
            continue;
        }
        let package = item.verbatim(&file, "a dependency")?;
        let package = package.rsplit("::").next().unwrap_or_default();
        let name: String = package.chars().take_while(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
        match name.as_str() {
            "python" => {
                let version = package["python".len()..].trim().trim_start_matches('=').to_owned();
                env.python = Some(version).filter(|version| !version.is_empty());
            }
            // conda's `pip=23` is pip's `pip==23`.
            "pip" => env.build.push(match package.strip_prefix("pip=").filter(|version| !version.starts_with('=')) {
                Some(version) => format!("pip=={version}"),
                None => package.to_owned(),
            }),
            _ => left_out.push(package.to_owned()),
        }
    }
    if !left_out.is_empty() {
        warn(&format!(
            "warning: {file}: packages of conda are left out: {}; use --env-manager conda to have them",
            left_out.join(", ")
        ));
    }
    Ok(env)
}

/// A line that names a file or folder: the text before the path, and the path.
fn reference(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    for option in ["-r", "--requirement", "-c", "--constraint", "-e", "--editable"] {
        if let Some(rest) = line.strip_prefix(option) {
            let path = rest.trim_start_matches([' ', '=', '\t']);
            let is_option = rest.len() != path.len() || !option.starts_with("--");
            let is_local = !path.contains("://") && !path.is_empty();
            return (is_option && is_local).then(|| (format!("{option} "), path));
        }
    }
    let is_path = line.starts_with("./") || line.starts_with("../") || line == "." || line == "..";
    is_path.then_some((String::new(), line))
}

/// A requirement file counts by its contents, a local package by all of its files.
fn identify_line(line: &str, directory: &Path, key: &mut Key, seen: &mut BTreeSet<PathBuf>) -> Result {
    let line = line.split(" #").next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    key.add("line", line);
    let Some((option, path)) = reference(line) else { return Ok(()) };
    // `./package[extra]`
    let path = directory.join(path.split('[').next().unwrap_or_default());
    if !seen.insert(path.clone()) || seen.len() > MOST_FILES {
        return Ok(());
    }
    if option.starts_with("-r") || option.starts_with("-c") || option.starts_with("--r") || option.starts_with("--c") {
        let text = fs::read_to_string(&path).map_err(Error::at("read the requirements", &path))?;
        let parent = path.parent().unwrap_or(Path::new(".")).to_owned();
        for line in text.lines() {
            identify_line(line, &parent, key, seen)?;
        }
        return Ok(());
    }
    key.add("place", &path.display().to_string());
    let mut files = Vec::new();
    sources(&path, &mut files)?;
    files.sort();
    for file in files {
        key.add("source", &file.display().to_string());
        key.add_bytes("bytes", &fs::read(&file).map_err(Error::at("read", &file))?);
    }
    Ok(())
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(folder).map_err(Error::at("read the package", folder))?.filter_map(Result::ok) {
        let name = entry.file_name();
        let is_hidden = name.to_string_lossy().starts_with('.') || name == "__pycache__";
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_hidden => sources(&entry.path(), files)?,
            Ok(kind) if kind.is_file() && !is_hidden => files.push(entry.path()),
            _ => {}
        }
        if files.len() > MOST_SOURCES {
            return Err(Error::environment(format!("the package in {} has too many files", folder.display())));
        }
    }
    Ok(())
}
