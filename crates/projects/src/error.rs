//! What goes wrong in this crate, in a sentence for whoever typed the command.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a project was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command was not meant like that: an unknown entry point, a bad value, options that exclude each other.
    #[error("{0}")]
    Usage(String),
    /// A file of the project is wrong.
    #[error(transparent)]
    File(#[from] runlake_yaml::Error),
    /// The project could not be fetched.
    #[error("{0}")]
    Source(String),
    /// The environment could not be made; where its log is kept stands in the message.
    #[error("{message}")]
    Environment {
        /// What failed, and what to do.
        message: String,
        /// What the tools said.
        log: Option<PathBuf>,
    },
    /// Whoever was to run the project could not.
    #[error("{0}")]
    Backend(String),
    /// The tracking server refused or did not answer.
    #[error("{0}")]
    Server(String),
    /// A file or program of this machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::Environment { message: message.into(), log: None }
    }

    /// An error of the system, and what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }

    /// An error of the system at a path: `cannot read /a/b`.
    pub(crate) fn at(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("cannot {verb} {}", path.display()))
    }
}
