//! What goes wrong in this crate, in a sentence for whoever typed the command.

use std::path::Path;

/// Result of this crate.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why something could not be done with a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command was not meant like that: a URI that is none, options that exclude each other.
    #[error("{0}")]
    Usage(String),
    /// A file of the model is wrong.
    #[error(transparent)]
    File(#[from] runlake_yaml::Error),
    /// The model could not be found or fetched.
    #[error("{0}")]
    Fetch(String),
    /// The environment could not be made.
    #[error("{0}")]
    Environment(String),
    /// The model could not be loaded, or not score.
    #[error("{0}")]
    Worker(String),
    /// A file or program of this machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn fetch(message: impl Into<String>) -> Self {
        Self::Fetch(message.into())
    }

    pub(crate) fn worker(message: impl Into<String>) -> Self {
        Self::Worker(message.into())
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
