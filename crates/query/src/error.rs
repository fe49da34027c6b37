//! What can go wrong with a query.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use runlake_types::{ErrorKind, SchemaError};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no SQL, names what is not there, or cannot be computed.
    #[error("{0}")]
    Invalid(String),
    /// A parameter decides what columns the answer has, and has no value.
    #[error("{}", .0.message)]
    Unbound(Unbound),
    /// The statement would change something.
    #[error(
        "{statement} is refused: SQL only reads here (SELECT, WITH, EXPLAIN, SHOW, DESCRIBE); the lake is written by the \
         MLflow API and by Arrow Flight"
    )]
    ReadOnly {
        /// What the statement is.
        statement: String,
    },
    /// Something the query names is not there.
    #[error("{0}")]
    NotFound(String),
    /// The query needs more memory or disk than there is for queries.
    #[error("the query needs more memory than it may have: {0}; narrow it down, or raise --query-memory")]
    Resources(String),
    /// The query ran out of time.
    #[error("the query was stopped after {0:?}: narrow it down, or raise --query-timeout")]
    TimedOut(Duration),
    /// The answer has more rows than the operator allows.
    #[error("the answer has more than {0} rows, the most this server gives: add a LIMIT or a WHERE")]
    TooManyRows(u64),
    /// Too many queries.
    #[error("{0} queries wait already: send it again in a few seconds")]
    Busy(usize),
    /// Nobody read the answer.
    #[error("the query was stopped: its reader took nothing for {0:?}")]
    Abandoned(Duration),
    /// The query was cancelled.
    #[error("the query was cancelled")]
    Cancelled,
    /// The lake.
    #[error(transparent)]
    Engine(#[from] runlake_engine::Error),
    /// The store, or bytes in it.
    #[error("the lake could not be read: {0}")]
    Storage(String),
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

/// See [`Error::Unbound`].
#[derive(Debug)]
pub struct Unbound {
    pub(crate) message: String,
    /// All parameters of the statement.
    pub(crate) names: Vec<String>,
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Unbound(_) | Self::ReadOnly { .. } | Self::TooManyRows(_) => ErrorKind::Invalid,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Resources(_) | Self::Busy(_) => ErrorKind::Overloaded,
            Self::TimedOut(_) | Self::Abandoned(_) | Self::Cancelled => ErrorKind::Conflict,
            Self::Engine(error) => error.kind(),
            Self::Storage(_) => ErrorKind::Unavailable,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

/// Our own errors travel through DataFusion as external ones, and come out as they went in.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        // It comes as one of several errors, and by its text alone.
        if error.to_string().contains("max_temp_directory_size") {
            return Self::Resources("the disk space for queries is used up".to_owned());
        }
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => (*inner).into(),
            DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(error) => error.into(),
                Err(shared) => of_shared(&shared),
            },
            DataFusionError::Collection(mut errors) if !errors.is_empty() => errors.swap_remove(0).into(),
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(inner) => Self::Internal(inner.to_string()),
            },
            DataFusionError::ArrowError(inner, _) => match *inner {
                ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(inner) => (*inner).into(),
                    Err(inner) => match inner.downcast::<Self>() {
                        Ok(ours) => *ours,
                        Err(inner) => Self::Internal(inner.to_string()),
                    },
                },
                ArrowError::IoError(text, _) => Self::Storage(text),
                ArrowError::ParquetError(text) => Self::Storage(text),
                // Casts that overflow, divisions by zero: values the query does not fit.
                inner => Self::Invalid(plain(&inner.to_string())),
            },
            other => by_variant(&other),
        }
    }
}

/// An error that several tasks hold: it cannot be taken apart, only told.
fn of_shared(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(Error::Resources(text)) => Error::Resources(text.clone()),
            Some(ours) => Error::Invalid(ours.to_string()),
            None => Error::Internal(inner.to_string()),
        },
        root => by_variant(root),
    }
}

fn by_variant(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::SQL(inner, _) => Error::Invalid(plain(&inner.to_string())),
        DataFusionError::ResourcesExhausted(text) => Error::Resources(first_line(text)),
        DataFusionError::ParquetError(inner) => Error::Storage(inner.to_string()),
        DataFusionError::ObjectStore(inner) => Error::Storage(inner.to_string()),
        DataFusionError::IoError(inner) => Error::Storage(inner.to_string()),
        DataFusionError::Internal(text) => Error::Internal(first_line(text)),
        DataFusionError::ExecutionJoin(inner) => Error::Internal(inner.to_string()),
        other => Error::Invalid(plain(&other.message())),
    }
}

/// The sentence without the library's prefixes and backtrace.
fn plain(text: &str) -> String {
    let mut text = text.trim();
    for prefix in [
        "sql parser error: ",
        "SQL error: ",
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "This feature is not implemented: ",
        "Optimizer rule ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text.split("\n\nbacktrace:").next().unwrap_or(text).trim_end().to_owned()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
