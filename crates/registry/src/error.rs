//! What goes wrong in this crate, and how a door should tell it.

use runlake_tracking::search::SearchError;
use runlake_types::{ErrorKind, SchemaError};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not done. The messages are MLflow's where clients are known to look at them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter is wrong; the message names it.
    #[error("{0}")]
    InvalidParameter(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The caller may not do this, or not by themselves.
    #[error("{0}")]
    Denied(String),
    /// The thing is in a state that forbids the request.
    #[error("{0}")]
    InvalidState(String),
    /// Said by the runs and logged models a version is made of.
    #[error(transparent)]
    Tracking(#[from] runlake_tracking::Error),
    /// A stored row does not read back.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] runlake_engine::Error),
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidParameter(_) => ErrorKind::Invalid,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Denied(_) => ErrorKind::Denied,
            Self::InvalidState(_) => ErrorKind::Conflict,
            Self::Tracking(error) => error.kind(),
            Self::Schema(_) => ErrorKind::Corrupt,
            Self::Engine(error) => error.kind(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidParameter(message.into())
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        Self::Tracking(error.into())
    }
}
