//! What goes wrong in this crate, and how a door should tell it.

use runlake_types::{ErrorKind, SchemaError};

use crate::search::SearchError;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not done. The messages are MLflow's where clients are known to look at them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter is wrong; the message names it.
    #[error("{0}")]
    InvalidParameter(String),
    /// What was asked for does not exist (or is deleted, where that counts as absent).
    #[error("{0}")]
    NotFound(String),
    /// A name or id is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The thing is in a state that forbids the request.
    #[error("{0}")]
    InvalidState(String),
    /// A filter, sort clause or page token is wrong; the message points at the place.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A stored row does not read back.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] runlake_engine::Error),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidParameter(_) => ErrorKind::Invalid,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::InvalidState(_) => ErrorKind::Conflict,
            Self::Search(error) => error.kind(),
            Self::Schema(_) => ErrorKind::Corrupt,
            Self::Engine(error) => error.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidParameter(message.into())
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }
}
