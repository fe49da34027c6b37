//! Why a report cannot be built at all.

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The report is written wrongly, or asked for with wrong values: the message says where and what to do.
    #[error("{0}")]
    Invalid(String),
    /// Nobody answers its questions.
    #[error("{0}")]
    Unanswered(String),
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}
