//! `MLproject`: what a project is called, what it needs, and how it can be entered.

use std::path::{Path, PathBuf};

use crate::{Error, Result};
use runlake_yaml::{self as yaml, Node};

#[cfg(test)]
mod tests;

/// The file's name, in any case.
const FILE: &str = "MLproject";

/// A project as its directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Where it is.
    pub directory: PathBuf,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What its commands need.
    pub needs: Needs,
    /// By name, in the order of the file.
    pub entry_points: Vec<(String, EntryPoint)>,
    /// What is odd about the file, and was passed over.
    pub warnings: Vec<String>,
}

/// What a project says that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// Nothing is said.
    Nothing,
    /// `python_env`: this file, in the form of MLflow's `python_env.yaml`.
    PythonEnv(PathBuf),
    /// `requirements.txt`, where nothing else is said.
    Requirements(PathBuf),
    /// `pyproject.toml` and `uv.lock`, where nothing else is said.
    UvLock,
    /// `conda_env`: this file.
    Conda(PathBuf),
    /// `docker_env`.
    Docker(Docker),
}

/// `docker_env`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Docker {
    /// The image, with its tag.
    pub image: String,
    /// As `docker run --volume` takes them.
    pub volumes: Vec<String>,
    /// Variables: with a value, or taken over from outside.
    pub environment: Vec<(String, Option<String>)>,
}

/// A way into a project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryPoint {
    /// In the order of the file.
    pub parameters: Vec<(String, Parameter)>,
    /// The command, with a `{placeholder}` for each parameter it uses.
    pub command: String,
}

/// A parameter of an entry point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameter {
    /// What its values are.
    pub kind: Kind,
    /// The value if none is given; without one it must be given.
    pub default: Option<String>,
}

/// What the values of a parameter are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Any text.
    #[default]
    String,
    /// A number.
    Float,
    /// A whole number.
    Int,
    /// A file or folder, which is fetched if it is elsewhere, and handed over as an absolute path.
    Path,
    /// A URI, handed over as it is; or a local path, which must exist and is made absolute.
    Uri,
}

/// Reads the project in a directory.
pub fn read(directory: &Path) -> Result<Project> {
    let Some(path) = file_named(directory, FILE)? else {
        let needs = found(directory);
        let directory = directory.to_owned();
        return Ok(Project { directory, name: None, needs, entry_points: Vec::new(), warnings: Vec::new() });
    };
    let text = yaml::text(&path)?;
    Reader { file: &path.display().to_string(), directory, warnings: Vec::new() }.project(&text)
}

impl Project {
    /// The entry point of a name, or what a script of that name would be.
    pub fn entry_point(&self, name: &str) -> Result<EntryPoint> {
        if let Some((_, entry)) = self.entry_points.iter().find(|(known, _)| known == name) {
            return Ok(entry.clone());
        }
        let runner = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("py") => "python".to_owned(),
            Some("sh") => {
                std::env::var("SHELL").ok().filter(|shell| !shell.is_empty()).unwrap_or_else(|| "bash".into())
            }
            _ => return Err(self.unknown(name)),
        };
        let script = self.directory.join(name);
        let (root, real) = (self.directory.canonicalize(), script.canonicalize());
        match (root, real) {
            (Ok(root), Ok(real)) if real.starts_with(&root) && real.is_file() => {}
            (Ok(_), Ok(real)) if real.is_file() => {
                return Err(Error::usage(format!("the script {name} leads out of the project, to {}", real.display())));
            }
            _ => return Err(self.unknown(name)),
        }
        let words = [runner.as_str(), name];
        let command = crate::shell::line(words).replace('{', "{{").replace('}', "}}");
        Ok(EntryPoint { parameters: Vec::new(), command })
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.entry_points.iter().map(|(known, _)| known.as_str()).collect();
        let known = match known.as_slice() {
            [] => "it names none".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        // As an archive of a repository has it.
        let inside = match folders_with(&self.directory, FILE).as_slice() {
            [folder] if self.entry_points.is_empty() => {
                format!("; there is a project in {folder}: add #{folder} to the address")
            }
            _ => String::new(),
        };
        Error::usage(format!(
            "the project has no entry point {name:?} ({known}), nor a script of that name ending in .py or .sh; choose \
             one with --entry-point{inside}"
        ))
    }
}

/// The path of a file by its name in any case.
fn file_named(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let entries = std::fs::read_dir(directory).map_err(Error::at("read the project directory", directory))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|known| known.eq_ignore_ascii_case(name)) && path.is_file())
        .collect();
    // The exact spelling goes first.
    found.sort_by_key(|path| path.file_name().is_none_or(|known| known != name));
    Ok(found.into_iter().next())
}

/// The folders in a folder that hold a file of this name.
fn folders_with(directory: &Path, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.path().join(name).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// What files say about a project that says nothing itself.
fn found(directory: &Path) -> Needs {
    let is_there = |name: &str| directory.join(name).is_file();
    if is_there("pyproject.toml") && is_there("uv.lock") {
        Needs::UvLock
    } else if is_there("python_env.yaml") {
        Needs::PythonEnv(directory.join("python_env.yaml"))
    } else if is_there("conda.yaml") {
        Needs::Conda(directory.join("conda.yaml"))
    } else if is_there("requirements.txt") {
        Needs::Requirements(directory.join("requirements.txt"))
    } else {
        Needs::Nothing
    }
}

struct Reader<'a> {
    file: &'a str,
    directory: &'a Path,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn project(mut self, text: &str) -> Result<Project> {
        let root = yaml::parse(self.file, text)?;
        self.expect_keys(&root, "the file", &["name", "conda_env", "python_env", "docker_env", "entry_points"])?;
        let name = self.optional(&root, "name")?.map(|node| node.text(self.file, "name")).transpose()?;
        let needs = self.needs(&root)?;
        let mut entry_points = Vec::new();
        if let Some(node) = self.optional(&root, "entry_points")? {
            for (name, value) in node.entries(self.file, "entry_points")? {
                let name = name.text(self.file, "the name of an entry point")?;
                let entry = self.entry_point(&name, value)?;
                put(&mut entry_points, name, entry);
            }
        }
        let directory = self.directory.to_owned();
        Ok(Project { directory, name, needs, entry_points, warnings: self.warnings })
    }

    /// Tells keys that nobody reads, which MLflow passes over as well.
    fn expect_keys(&mut self, node: &Node, what: &str, known: &[&str]) -> Result {
        for (key, _) in node.entries(self.file, what)? {
            let name = key.text(self.file, "a key")?;
            if !known.contains(&name.as_str()) {
                self.warnings.push(format!(
                    "{}, line {}: {what} has the key {name:?}, which means nothing here (known: {})",
                    self.file,
                    key.line,
                    known.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The value of a key, unless it is empty.
    fn optional<'a>(&self, node: &'a Node, key: &str) -> Result<Option<&'a Node>> {
        let _is_map = node.entries(self.file, "this")?;
        Ok(node.get(key).filter(|value| !value.is_null()))
    }

    fn needs(&mut self, root: &Node) -> Result<Needs> {
        let given: Vec<(&str, &Node)> = ["conda_env", "python_env", "docker_env"]
            .into_iter()
            .filter_map(|key| Some((key, root.get(key).filter(|value| !value.is_null())?)))
            .collect();
        match given.as_slice() {
            [] => Ok(found(self.directory)),
            [("docker_env", node)] => Ok(Needs::Docker(self.docker(node)?)),
            [(key, node)] => {
                let name = node.text(self.file, key)?;
                let path = self.directory.join(&name);
                if !path.is_file() {
                    return Err(node
                        .error(self.file, format!("{key} names the file {name}, which is not there"))
                        .into());
                }
                Ok(if *key == "conda_env" { Needs::Conda(path) } else { Needs::PythonEnv(path) })
            }
            [(first, _), (second, node), ..] => Err(node
                .error(self.file, format!("{second} is given beside {first}; a project has one environment"))
                .into()),
        }
    }

    fn docker(&mut self, node: &Node) -> Result<Docker> {
        self.expect_keys(node, "docker_env", &["image", "volumes", "environment"])?;
        let Some(image) = self.optional(node, "image")? else {
            return Err(node.error(self.file, "docker_env names no image").into());
        };
        let mut docker = Docker { image: image.text(self.file, "image")?, ..Docker::default() };
        if let Some(volumes) = self.optional(node, "volumes")? {
            for volume in volumes.items(self.file, "volumes")? {
                docker.volumes.push(volume.text(self.file, "a volume")?);
            }
        }
        if let Some(variables) = self.optional(node, "environment")? {
            for variable in variables.items(self.file, "environment")? {
                docker.environment.push(self.variable(variable)?);
            }
        }
        Ok(docker)
    }

    /// `NAME`, which is taken over, or `[NAME, value]`.
    fn variable(&self, node: &Node) -> Result<(String, Option<String>)> {
        if let Some(name) = node.python_text() {
            return Ok((name, None));
        }
        match node.items(self.file, "a variable")? {
            [name, value] => {
                Ok((name.text(self.file, "a variable's name")?, Some(value.text(self.file, "a variable's value")?)))
            }
            _ => Err(node.error(self.file, "a variable is NAME, to take it over, or [NAME, value]").into()),
        }
    }

    fn entry_point(&mut self, name: &str, node: &Node) -> Result<EntryPoint> {
        self.expect_keys(node, &format!("entry point {name}"), &["parameters", "command"])?;
        let Some(command) = self.optional(node, "command")? else {
            return Err(node.error(self.file, format!("entry point {name} has no command")).into());
        };
        let mut entry =
            EntryPoint { parameters: Vec::new(), command: command.text(self.file, "command")?.trim().to_owned() };
        if let Some(parameters) = self.optional(node, "parameters")? {
            for (key, value) in parameters.entries(self.file, "parameters")? {
                let key = key.text(self.file, "the name of a parameter")?;
                let parameter = self.parameter(&key, value)?;
                put(&mut entry.parameters, key, parameter);
            }
        }
        Ok(entry)
    }

    /// `{type: float, default: 1}`, or the type alone.
    fn parameter(&mut self, name: &str, node: &Node) -> Result<Parameter> {
        let (kind, default) = if let Some(kind) = node.python_text() {
            (Some((kind, node)), None)
        } else {
            self.expect_keys(node, &format!("parameter {name}"), &["type", "default"])?;
            let kind = self.optional(node, "type")?.map(|kind| Ok::<_, Error>((kind.text(self.file, "type")?, kind)));
            let default = self.optional(node, "default")?;
            (kind.transpose()?, default.map(|value| value.python_text().unwrap_or_else(|| value.python_repr())))
        };
        let kind = match kind {
            None => Kind::String,
            Some((kind, node)) => match kind.as_str() {
                "string" | "str" => Kind::String,
                "float" => Kind::Float,
                "int" => Kind::Int,
                "path" => Kind::Path,
                "uri" => Kind::Uri,
                other => {
                    self.warnings.push(format!(
                        "{}, line {}: parameter {name} is of the type {other:?}, which is none (string, float, int, \
                         path, uri); it is taken as a string",
                        self.file, node.line
                    ));
                    Kind::String
                }
            },
        };
        Ok(Parameter { kind, default })
    }
}

/// The last one of a name counts, at the first one's place.
fn put<T>(list: &mut Vec<(String, T)>, name: String, value: T) {
    match list.iter_mut().find(|(known, _)| *known == name) {
        Some(entry) => entry.1 = value,
        None => list.push((name, value)),
    }
}
