//! The `git` program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Version, bare};
use crate::process;
use crate::tracking::Cancel;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Git<'a> {
    pub(super) cancel: &'a Cancel,
}

/// A working tree, and where in it a directory lies.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) root: PathBuf,
    /// With slashes; empty for the root itself.
    pub(super) inside: String,
}

impl Repository {
    /// As MLflow names a directory of a repository.
    pub(super) fn name(&self) -> String {
        format!("file://{}{}", self.root.display(), super::hash(&self.inside))
    }
}

/// An address as it may be shown.
pub(super) fn without_secrets(url: &str) -> String {
    match url.strip_prefix("git+") {
        Some(rest) => format!("git+{}", bare(rest)),
        None => bare(url),
    }
}

impl Git<'_> {
    /// Brings one version of a repository into an empty directory.
    pub(super) fn clone(&self, url: &str, version: Option<&str>, into: &Path) -> Result<Version> {
        let refused =
            |text: &str| Error::usage(format!("{text:?} begins with a dash, which git would take for an option"));
        if url.starts_with('-') {
            return Err(refused(url));
        }
        match version {
            Some(version) if version.starts_with('-') => return Err(refused(version)),
            // A colon or plus would make it a rule on what is fetched into what.
            Some(version) if version.is_empty() || version.starts_with('+') || version.contains(':') => {
                return Err(Error::usage(format!("--version {version:?} is no branch, tag or commit")));
            }
            _ => {}
        }
        self.expect(into, &["init", "--quiet"])?;
        self.expect(into, &["remote", "add", "origin", url])?;
        let wanted = version.unwrap_or("HEAD");
        let commit = match self.ask(into, &["fetch", "--quiet", "--depth=1", "origin", wanted])? {
            Ok(_) => "FETCH_HEAD".to_owned(),
            Err(_) if version.is_some() => self.search(url, wanted, into)?,
            Err(reason) => return Err(unreachable(url, &reason)),
        };
        let checkout = ["-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", "--detach", &commit];
        self.expect(into, &checkout)?;
        let commit = self.expect(into, &["rev-parse", "HEAD"])?;
        let branch = match version {
            Some(name) => self.expect(into, &["ls-remote", "--heads", "origin", &format!("refs/heads/{name}")])?,
            None => String::new(),
        };
        Ok(Version {
            commit: Some(commit),
            repository: Some(bare(url)),
            branch: version.filter(|_| !branch.is_empty()).map(str::to_owned),
            is_dirty: false,
        })
    }

    /// A version that the other side does not give by its name, such as the beginning of a commit's.
    fn search(&self, url: &str, version: &str, into: &Path) -> Result<String> {
        let all = ["fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"];
        self.ask(into, &all)?.map_err(|reason| unreachable(url, &reason))?;
        for name in [format!("refs/remotes/origin/{version}"), format!("refs/tags/{version}"), version.to_owned()] {
            let commit = format!("{name}^{{commit}}");
            if let Ok(found) = self.ask(into, &["rev-parse", "--quiet", "--verify", &commit])? {
                return Ok(found);
            }
        }
        let names = self.ask(into, &["for-each-ref", "--format=%(refname)", "--count=20"])?.unwrap_or_default();
        let name = |text| ["refs/remotes/origin/", "refs/tags/"].iter().find_map(|kind| str::strip_prefix(text, kind));
        let names: Vec<&str> = names.lines().filter_map(name).filter(|name| *name != "HEAD").collect();
        Err(Error::Source(format!(
            "{} has no branch, tag or commit {version:?}; it has {}",
            bare(url),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )))
    }

    /// The working tree a directory is part of, if it is part of one.
    pub(super) fn repository(&self, directory: &Path) -> Result<Option<Repository>> {
        if process::on_path("git").is_none() {
            return Ok(None);
        }
        let Ok(answer) = self.ask(directory, &["rev-parse", "--show-toplevel", "--show-prefix"])? else {
            return Ok(None);
        };
        let mut lines = answer.lines();
        let root = PathBuf::from(lines.next().unwrap_or_default());
        let inside = lines.next().unwrap_or_default().trim_end_matches('/').to_owned();
        Ok(Some(Repository { root, inside }))
    }

    /// What runs there.
    pub(super) fn describe(&self, repository: &Repository) -> Result<Version> {
        let directory = repository.root.join(&repository.inside);
        let commit = self.ask(&directory, &["rev-parse", "--quiet", "--verify", "HEAD"])?.ok();
        let changes = self.ask(&directory, &["status", "--porcelain", "--untracked-files=normal", "--", "."])?;
        let is_dirty = commit.is_some() && changes.is_ok_and(|changes| !changes.is_empty());
        Ok(Version { commit, repository: self.origin(repository)?, branch: None, is_dirty })
    }

    pub(super) fn origin(&self, repository: &Repository) -> Result<Option<String>> {
        let answer = self.ask(&repository.root, &["config", "--get", "remote.origin.url"])?;
        Ok(answer.ok().filter(|url| !url.is_empty()).map(|url| bare(&url)))
    }

    fn expect(&self, directory: &Path, args: &[&str]) -> Result<String> {
        self.ask(directory, args)?
            .map_err(|reason| Error::Source(format!("git {} failed: {reason}", args.first().unwrap_or(&""))))
    }

    fn ask(&self, directory: &Path, args: &[&str]) -> Result<Result<String, String>> {
        let Some(git) = process::on_path("git") else {
            return Err(Error::Source(
                "projects from git need the git program, which is not on the PATH; install it, e.g. apt install git"
                    .into(),
            ));
        };
        let mut command = Command::new(git);
        command.args(args).current_dir(directory).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        // Set where we are run by a hook of another repository.
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"] {
            command.env_remove(variable);
        }
        // Nobody could answer its questions.
        if std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        }
        process::answer(&mut command, self.cancel)
    }
}

fn unreachable(url: &str, reason: &str) -> Error {
    Error::Source(format!(
        "the repository {} cannot be read: {}; is the address right, is there a network, and may you read it?",
        bare(url),
        reason.lines().next().unwrap_or_default()
    ))
}
