//! What can go wrong with a table, and what to do about it.

use std::sync::Arc;

use arrow_schema::ArrowError;
use deltalake_core::DeltaTableError;
use parquet::errors::ParquetError;
use runlake_types::{ErrorKind, SchemaError, Seq, TableId};

/// An operation on a Delta table that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The table holds another part of the log than the caller thought: cut the range again, from `found`.
    #[error("table {table} holds the log up to {found}, not {expected}: cut the range to flush again")]
    WatermarkMoved {
        /// The table.
        table: TableId,
        /// What the caller's range was cut on.
        expected: Seq,
        /// What the table's newest version says.
        found: Seq,
    },
    /// Other processes kept committing to the table.
    #[error(
        "table {table}: {attempts} commits in a row were overtaken by another writer; stop other tools that rewrite it"
    )]
    Contended {
        /// The table.
        table: TableId,
        /// How often it was tried.
        attempts: usize,
    },
    /// The table was changed by another tool in a way this version cannot handle.
    #[error("table {table} cannot be used: {problem}")]
    Unsupported {
        /// The table.
        table: TableId,
        /// What it needs that is not there.
        problem: String,
    },
    /// The log does not reach back to the time that was asked for.
    #[error(
        "table {table} cannot be read as it was then: its log reaches back to {since}; ask for a later time, or keep the \
         log longer (--time-travel)"
    )]
    TooOld {
        /// The table.
        table: TableId,
        /// When the first commit was made that is still there, RFC 3339.
        since: String,
    },
    /// The caller asked for something that makes no sense.
    #[error("table {table}: {problem}")]
    Invalid {
        /// The table.
        table: TableId,
        /// What was wrong.
        problem: String,
    },
    /// The object store failed.
    #[error("table {table}: cannot {action}: {source}")]
    Store {
        /// The table.
        table: TableId,
        /// What was being done.
        action: &'static str,
        /// The store's own words.
        source: Arc<object_store::Error>,
    },
    /// The Delta log could not be read or written.
    #[error("table {table}: cannot {action}: {source}")]
    Delta {
        /// The table.
        table: TableId,
        /// What was being done.
        action: &'static str,
        /// The Delta library's own words.
        source: Arc<DeltaTableError>,
    },
    /// A Parquet file could not be read or written.
    #[error("table {table}: cannot {action} {file}: {source}")]
    Parquet {
        /// The table.
        table: TableId,
        /// What was being done.
        action: &'static str,
        /// The file, relative to the lake.
        file: String,
        /// The Parquet library's own words.
        source: Arc<ParquetError>,
    },
    /// Columns do not have the types the table says.
    #[error("table {table}: {source}")]
    Arrow {
        /// The table.
        table: TableId,
        /// Arrow's own words.
        source: Arc<ArrowError>,
    },
    /// Rows do not fit the table.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A worker thread died or the runtime is shutting down.
    #[error("table {table}: a worker stopped before it was done: {problem}")]
    Worker {
        /// The table.
        table: TableId,
        /// What became of it.
        problem: String,
    },
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WatermarkMoved { .. } => ErrorKind::Conflict,
            Self::Contended { .. } => ErrorKind::Unavailable,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Invalid { .. } | Self::Schema(_) | Self::TooOld { .. } => ErrorKind::Invalid,
            Self::Store { source, .. } => kind_of_store(source),
            Self::Delta { source, .. } => kind_of_delta(source),
            Self::Parquet { source, .. } => match source.as_ref() {
                ParquetError::External(_) => ErrorKind::Unavailable,
                _ => ErrorKind::Corrupt,
            },
            Self::Arrow { .. } | Self::Worker { .. } => ErrorKind::Internal,
        }
    }
}

fn kind_of_store(error: &object_store::Error) -> ErrorKind {
    match runlake_storage::kind_of(error) {
        // The log names the object: nobody asked for something that does not exist.
        ErrorKind::NotFound => ErrorKind::Corrupt,
        other => other,
    }
}

fn kind_of_delta(error: &DeltaTableError) -> ErrorKind {
    match error {
        DeltaTableError::InvalidJsonLog { .. } | DeltaTableError::Parquet { .. } => ErrorKind::Corrupt,
        DeltaTableError::ObjectStore { source } => kind_of_store(source),
        DeltaTableError::KernelError(error) if error.to_string().starts_with("Unsupported") => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    }
}

/// Errors of the libraries, told with the table they happened on.
pub(crate) trait Told<T> {
    fn told(self, table: TableId, action: &'static str) -> Result<T, Error>;
}

impl<T> Told<T> for Result<T, object_store::Error> {
    fn told(self, table: TableId, action: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Store { table, action, source: Arc::new(source) })
    }
}

impl<T> Told<T> for Result<T, DeltaTableError> {
    fn told(self, table: TableId, action: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Delta { table, action, source: Arc::new(source) })
    }
}

impl<T> Told<T> for Result<T, ArrowError> {
    fn told(self, table: TableId, _action: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Arrow { table, source: Arc::new(source) })
    }
}

impl<T> Told<T> for Result<T, tokio::task::JoinError> {
    fn told(self, table: TableId, _action: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Worker { table, problem: error.to_string() })
    }
}
