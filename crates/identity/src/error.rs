//! What goes wrong in this crate, and how a door should tell it.

use runlake_types::{ErrorKind, SchemaError};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not done. No message tells whether a name exists to somebody who did not log in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The credentials are not right, whatever about them is not.
    #[error(
        "The credentials are not right, or no longer: check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or \
         MLFLOW_TRACKING_TOKEN. An administrator of this server can tell more."
    )]
    Unauthenticated,
    /// The token of the first set-up is not right.
    #[error(
        "The set-up token is not right, or was used. While there is no administrator, the server prints one at each \
         start."
    )]
    Setup,
    /// Too many wrong credentials before these, which were not looked at.
    #[error("Too many log-ins failed. Try again in {seconds} seconds.")]
    SlowDown {
        /// When the next attempt is looked at.
        seconds: u32,
    },
    /// More log-ins at once than can be checked.
    #[error("Too many log-ins at once. Try again in a few seconds.")]
    Busy,
    /// A parameter is wrong; the message names it.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The change would leave the lake in a state nobody wants.
    #[error("{0}")]
    Conflict(String),
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
            Self::Unauthenticated | Self::Setup => ErrorKind::Unauthenticated,
            Self::SlowDown { .. } | Self::Busy => ErrorKind::Overloaded,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Schema(_) => ErrorKind::Corrupt,
            Self::Engine(error) => error.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// What is answered where there is no such token.
    pub fn no_token(token_id: &str) -> Self {
        Self::NotFound(format!("There is no token {token_id:?}."))
    }

    pub(crate) fn no_user(name: &str) -> Self {
        Self::NotFound(format!("There is no user {name:?}."))
    }
}
