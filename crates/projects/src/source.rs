//! Where projects come from: a local directory, a git repository, a zip file; each with `#subdirectory`.

mod archive;
mod git;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use url::Url;

use crate::parameters::file_of_url;
use crate::tracking::{Cancel, Console};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// A project that is here now.
#[derive(Debug)]
pub struct Source {
    /// Its directory.
    pub directory: PathBuf,
    /// What it is called: `mlflow.source.name`.
    pub name: String,
    /// Which version of it this is, if git knows.
    pub version: Version,
    /// Deleted with this.
    _fetched: Option<TempDir>,
}

/// What git says about a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// The commit: `mlflow.source.git.commit`.
    pub commit: Option<String>,
    /// Where the repository comes from, without secrets: `mlflow.source.git.repoURL`.
    pub repository: Option<String>,
    /// The branch that was asked for: `mlflow.source.git.branch`.
    pub branch: Option<String>,
    /// There are changes that no commit has.
    pub is_dirty: bool,
}

/// What a URI of a project says.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Local(PathBuf),
    Git(String),
    Zip(PathBuf),
}

/// Brings a project here. `version` is a branch, tag or commit; `here` is where relative paths begin.
pub fn fetch(uri: &str, version: Option<&str>, here: &Path, console: &dyn Console, cancel: &Cancel) -> Result<Source> {
    let (place, subdirectory) = split(uri);
    let git = git::Git { cancel };
    match read(place, here)? {
        Place::Zip(path) => {
            if version.is_some() {
                return Err(Error::usage(format!("{uri} is a zip file, which has no versions; leave --version out")));
            }
            console.say(&format!("fetching the project from {place}"));
            let folder = temporary()?;
            archive::unpack(&path, folder.path(), cancel)?;
            let directory = within(folder.path(), subdirectory, uri)?;
            let name = format!("{}{}", path.display(), hash(subdirectory));
            Ok(Source { directory, name, version: Version::default(), _fetched: Some(folder) })
        }
        Place::Git(url) => {
            let folder = temporary()?;
            console.say(&format!("fetching the project from {}", git::without_secrets(&url)));
            let version = git.clone(&url, version, folder.path())?;
            let directory = within(folder.path(), subdirectory, uri)?;
            let name = format!("{}{}", git::without_secrets(place), hash(subdirectory));
            Ok(Source { directory, name, version, _fetched: Some(folder) })
        }
        Place::Local(root) => local(uri, &root, subdirectory, version, &git, console),
    }
}

/// A directory of this machine. A version of it is taken from its repository: nobody's working tree is touched.
fn local(
    uri: &str,
    root: &Path,
    subdirectory: &str,
    version: Option<&str>,
    git: &git::Git<'_>,
    console: &dyn Console,
) -> Result<Source> {
    let directory = within(root, subdirectory, uri)?;
    let repository = git.repository(&directory)?;
    let Some(wanted) = version else {
        let (name, version) = match repository {
            Some(repository) => (repository.name(), git.describe(&repository)?),
            None => (directory.display().to_string(), Version::default()),
        };
        if version.is_dirty {
            console.say(&format!(
                "warning: {} has changes that are not committed: commit {} does not tell what runs",
                directory.display(),
                version.commit.as_deref().unwrap_or("(none)")
            ));
        }
        return Ok(Source { directory, name, version, _fetched: None });
    };
    let Some(repository) = repository else {
        return Err(Error::usage(format!(
            "{} is in no git repository, so there is no version {wanted} of it; leave --version out",
            directory.display()
        )));
    };
    let folder = temporary()?;
    let mut version = git.clone(&repository.root.display().to_string(), Some(wanted), folder.path())?;
    version.repository = git.origin(&repository)?.or(version.repository);
    let directory = within(folder.path(), &repository.inside, uri)?;
    Ok(Source { directory, name: repository.name(), version, _fetched: Some(folder) })
}

fn temporary() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("runlake-project-")
        .tempdir()
        .map_err(Error::io("cannot make a temporary directory for the project"))
}

/// What is before and behind the last `#`.
fn split(uri: &str) -> (&str, &str) {
    uri.rsplit_once('#').unwrap_or((uri, ""))
}

fn hash(subdirectory: &str) -> String {
    if subdirectory.is_empty() { String::new() } else { format!("#{subdirectory}") }
}

fn read(place: &str, here: &Path) -> Result<Place> {
    if place.is_empty() {
        return Err(Error::usage("the project has no address; give a directory, a git URL or a zip file"));
    }
    let is_zip = |path: &str| path.to_ascii_lowercase().ends_with(".zip");
    if let Some(url) = place.strip_prefix("git+") {
        return Ok(Place::Git(url.to_owned()));
    }
    if place.starts_with("file:") {
        let path = file_of_url(place).ok_or_else(|| {
            Error::usage(format!("{place} is no URL of a local file; write it as file:///absolute/path"))
        })?;
        return local_place(PathBuf::from(&path), is_zip(&path));
    }
    if let Some((scheme, _)) = place.split_once("://") {
        return match scheme {
            "http" | "https" if is_zip(place) => {
                Err(Error::usage(format!("{place}: zip files are read from this machine only; download it first")))
            }
            "http" | "https" | "ssh" | "git" => Ok(Place::Git(place.to_owned())),
            _ => Err(Error::usage(format!(
                "{place}: projects come from directories, zip files and git (git+https, https, ssh, file), not by {scheme}"
            ))),
        };
    }
    let path = here.join(place);
    // As `git clone` reads it: user@host:path, if there is no such file.
    let is_remote = place.split_once(':').is_some_and(|(host, _)| !host.contains('/') && host.contains('@'));
    if is_remote && !path.exists() {
        return Ok(Place::Git(place.to_owned()));
    }
    local_place(path, is_zip(place))
}

fn local_place(path: PathBuf, is_zip: bool) -> Result<Place> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            // A bare repository holds projects only inside.
            let is_bare =
                path.join("HEAD").is_file() && path.join("objects").is_dir() && !path.join("MLproject").exists();
            Ok(if is_bare { Place::Git(path.display().to_string()) } else { Place::Local(path) })
        }
        Ok(_) if is_zip => Ok(Place::Zip(path)),
        Ok(_) => Err(Error::usage(format!(
            "{} is a file; a project is a directory, a zip file or a git URL (for a script: runlake run DIRECTORY -e \
             script.py)",
            path.display()
        ))),
        Err(error) => Err(Error::usage(format!("there is no project at {}: {error}", path.display()))),
    }
}

/// The directory that is run, which may not lie outside of what was named.
fn within(root: &Path, subdirectory: &str, uri: &str) -> Result<PathBuf> {
    let missing = |error| Error::Source(format!("{uri}: there is no directory {subdirectory:?} in it: {error}"));
    let root = root.canonicalize().map_err(missing)?;
    let directory = root.join(subdirectory.trim_start_matches('/')).canonicalize().map_err(missing)?;
    if !directory.starts_with(&root) {
        return Err(Error::Source(format!(
            "{uri}: {subdirectory:?} leads out of the project, to {}; it is not run",
            directory.display()
        )));
    }
    if !directory.is_dir() {
        return Err(Error::Source(format!("{uri}: {subdirectory:?} is no directory")));
    }
    Ok(directory)
}

/// A URL without its user and password; anything else as it is.
fn bare(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.has_host() && (!url.username().is_empty() || url.password().is_some()) => {
            // The user of ssh is no secret, and it does not work without.
            let keeps_user = url.scheme() == "ssh";
            let _kept = url.set_password(None);
            if !keeps_user {
                let _kept = url.set_username("");
            }
            url.to_string()
        }
        _ => text.to_owned(),
    }
}
