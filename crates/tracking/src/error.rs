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

/// MLflow's name for what went wrong: the meaning only, each door has its own spelling and status for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `INVALID_PARAMETER_VALUE`.
    InvalidParameterValue,
    /// `RESOURCE_DOES_NOT_EXIST`.
    ResourceDoesNotExist,
    /// `RESOURCE_ALREADY_EXISTS`.
    ResourceAlreadyExists,
    /// `INVALID_STATE`.
    InvalidState,
    /// `PERMISSION_DENIED`.
    PermissionDenied,
    /// `NOT_IMPLEMENTED`.
    NotImplemented,
    /// `REQUEST_LIMIT_EXCEEDED`.
    RequestLimitExceeded,
    /// `TEMPORARILY_UNAVAILABLE`.
    TemporarilyUnavailable,
    /// `INTERNAL_ERROR`.
    InternalError,
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

    /// MLflow's name for it.
    pub fn code(&self) -> ErrorCode {
        match self.kind() {
            ErrorKind::Invalid => ErrorCode::InvalidParameterValue,
            ErrorKind::NotFound => ErrorCode::ResourceDoesNotExist,
            ErrorKind::AlreadyExists => ErrorCode::ResourceAlreadyExists,
            ErrorKind::Conflict => ErrorCode::InvalidState,
            ErrorKind::Denied => ErrorCode::PermissionDenied,
            ErrorKind::Unsupported => ErrorCode::NotImplemented,
            ErrorKind::Overloaded => ErrorCode::RequestLimitExceeded,
            ErrorKind::Unavailable | ErrorKind::Closed => ErrorCode::TemporarilyUnavailable,
            ErrorKind::Corrupt | ErrorKind::Internal => ErrorCode::InternalError,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidParameter(message.into())
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }
}
