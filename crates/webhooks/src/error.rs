//! What goes wrong in this crate, and how a door should tell it.

use runlake_types::{ErrorKind, SchemaError};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not done. The messages are MLflow's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter is wrong; the message names it.
    #[error("{0}")]
    InvalidParameter(String),
    /// There is no such webhook.
    #[error("Webhook with ID {0} not found.")]
    NotFound(String),
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
            Self::Schema(_) => ErrorKind::Corrupt,
            Self::Engine(error) => error.kind(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidParameter(message.into())
    }
}
