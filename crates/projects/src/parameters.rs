//! The parameters of a run: what was given, what the entry point says, and what the command is told.

use std::path::{Path, PathBuf};

use crate::command::substituted;
use crate::shell::quote;
use crate::spec::{EntryPoint, Kind};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// All parameters of a run, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// As they were given or are by default: what the run logs. Declared ones first, in their order.
    pub logged: Vec<(String, String)>,
    /// As the command is told: paths are absolute.
    values: Vec<(String, String)>,
    /// The first ones of `values` that the entry point declares.
    declared: usize,
}

/// Where paths among the values may lie.
pub struct Places<'a> {
    /// Where the command was typed.
    pub here: &'a Path,
    /// Where the project is; paths by default may be in it.
    pub project: &'a Path,
    /// Fetches what is elsewhere, for the parameter at this position.
    pub fetch: &'a dyn Fn(usize, &str) -> Result<PathBuf>,
}

impl std::fmt::Debug for Places<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").field("here", &self.here).field("project", &self.project).finish_non_exhaustive()
    }
}

/// Checks what was given against what the entry point says: everything that is missing or of another type is named at
/// once. Does not look at paths yet.
pub fn checked(name: &str, entry: &EntryPoint, given: &[(String, String)]) -> Result<Parameters> {
    let of = |key: &str| given.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    let mut logged = Vec::new();
    let mut faults = Vec::new();
    for (key, parameter) in &entry.parameters {
        let Some(value) = of(key).or_else(|| parameter.default.clone()) else {
            faults.push(format!("{key} is missing (give it with -P {key}=VALUE)"));
            continue;
        };
        match parameter.kind {
            Kind::Int if !is_int(&value) => faults.push(format!("{key} is to be a whole number, and is {value:?}")),
            Kind::Float if value.trim().parse::<f64>().is_err() => {
                faults.push(format!("{key} is to be a number, and is {value:?}"));
            }
            _ => {}
        }
        logged.push((key.clone(), value));
    }
    if !faults.is_empty() {
        return Err(Error::usage(format!("parameters of entry point {name}: {}", faults.join("; "))));
    }
    let declared = logged.len();
    for (key, _) in given {
        if logged.iter().all(|(known, _)| known != key) {
            logged.push((key.clone(), of(key).unwrap_or_default()));
        }
    }
    Ok(Parameters { values: logged.clone(), logged, declared })
}

fn is_int(value: &str) -> bool {
    let digits = value.trim();
    let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

impl Parameters {
    /// Makes paths absolute, and has fetched what is elsewhere.
    pub fn located(mut self, entry: &EntryPoint, places: &Places<'_>) -> Result<Self> {
        let mut faults = Vec::new();
        for (position, (key, parameter)) in entry.parameters.iter().enumerate() {
            let value = &mut self.values[position].1;
            let found = match parameter.kind {
                Kind::Path => places.path(position, value),
                Kind::Uri if has_scheme(value) => continue,
                Kind::Uri => places.local(value),
                _ => continue,
            };
            match found {
                Ok(path) => *value = path,
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => faults.push(format!("{key}: {error}")),
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(Error::usage(format!("parameters: {}", faults.join("; ")))) }
    }

    /// The command line: values in the places of the template, then those it does not declare as `--key value`.
    pub fn command(&self, entry: &EntryPoint) -> Result<String> {
        let (declared, more) = self.values.split_at(self.declared);
        let value = |name: &str| declared.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let mut command = substituted(&entry.command, value)?;
        for (key, value) in more {
            if key.contains('\0') || value.contains('\0') {
                return Err(Error::usage(format!(
                    "parameter {key:?} has a NUL character, which no command line can hold"
                )));
            }
            command = format!("{command} --{} {}", quote(key), quote(value));
        }
        Ok(command)
    }

    /// Names and values as the command is told.
    pub fn values(&self) -> &[(String, String)] {
        &self.values
    }
}

impl Places<'_> {
    fn path(&self, position: usize, value: &str) -> Result<String> {
        match value.split_once(':') {
            Some(("file", _)) => {
                let path =
                    file_of_url(value).ok_or_else(|| Error::usage(format!("{value:?} is no URL of a local file")))?;
                self.local(&path)
            }
            Some(_) if has_scheme(value) => Ok((self.fetch)(position, value)?.display().to_string()),
            _ => self.local(value),
        }
    }

    /// An absolute path of something that is there.
    fn local(&self, value: &str) -> Result<String> {
        let candidates = [self.here.join(value), self.project.join(value)];
        match candidates.iter().find(|path| !value.is_empty() && path.exists()) {
            Some(path) => Ok(without_dots(path).display().to_string()),
            None => Err(Error::usage(format!(
                "there is no file or folder {value:?}, neither in {} nor in the project",
                self.here.display()
            ))),
        }
    }
}

/// `scheme:/…`, but not `C:` or `a:b`.
fn has_scheme(value: &str) -> bool {
    value.split_once(":/").is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// The path of a `file:` URL.
pub(crate) fn file_of_url(text: &str) -> Option<String> {
    let path = url::Url::parse(text).ok()?.to_file_path().ok()?;
    Some(path.to_str()?.to_owned())
}

/// Without `.` and `..`, as Python's `os.path.abspath`; links are not followed.
fn without_dots(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}
