//! What can go wrong in the engine.

use std::sync::Arc;

use runlake_types::{ErrorKind, SchemaError};

/// Result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine. Cheap to clone, since one failure answers everybody who waits.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The write-ahead log.
    #[error(transparent)]
    Wal(Arc<runlake_wal::Error>),
    /// The Delta tables.
    #[error(transparent)]
    Lake(Arc<runlake_lake::Error>),
    /// The object store.
    #[error(transparent)]
    Storage(Arc<runlake_storage::Error>),
    /// Stored rows that do not fit their table.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A WAL frame that cannot be decoded though its checksum is right.
    #[error(
        "the write-ahead log holds a frame this version cannot read ({0}); was the lake written by a newer runlake?"
    )]
    Frame(String),
    /// `lake.json` is missing its place, broken or from the future.
    #[error("{0}")]
    Identity(String),
    /// Writers wait for memory or for the flusher, and waited long enough.
    #[error(
        "the server is busy writing to storage: {waiting_bytes} bytes wait to be flushed; send the request again in a few seconds"
    )]
    Overloaded {
        /// Unflushed bytes at that time.
        waiting_bytes: usize,
    },
    /// A reader's look was overtaken by flushes of the writer, again and again.
    #[error("the server that writes flushed during each of {looks} looks at the lake; try again when it is less busy")]
    Moving {
        /// How often was looked.
        looks: usize,
    },
    /// A write to an engine that was opened for reading.
    #[error("this server reads the lake only (--read-only); send writes to the server that owns the lake")]
    ReadOnly,
    /// The engine stopped, and this is the first failure.
    #[error("the engine has stopped and takes no more writes: {0}")]
    Stopped(Arc<str>),
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Who holds the lake, if that is why it could not be opened.
    pub fn holder(&self) -> Option<String> {
        match self {
            Self::Wal(error) => match error.as_ref() {
                runlake_wal::Error::Owned { lake, owner, note } => {
                    Some(format!("the lake at {lake} belongs to another server: {owner}{note}"))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Wal(error) => error.kind(),
            Self::Lake(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Schema(_) | Self::Internal(_) => ErrorKind::Internal,
            Self::Frame(_) => ErrorKind::Corrupt,
            Self::Identity(_) => ErrorKind::Invalid,
            Self::Overloaded { .. } | Self::Moving { .. } => ErrorKind::Overloaded,
            Self::ReadOnly => ErrorKind::Denied,
            Self::Stopped(_) => ErrorKind::Closed,
        }
    }
}

impl From<runlake_wal::Error> for Error {
    fn from(error: runlake_wal::Error) -> Self {
        Self::Wal(Arc::new(error))
    }
}

impl From<runlake_lake::Error> for Error {
    fn from(error: runlake_lake::Error) -> Self {
        Self::Lake(Arc::new(error))
    }
}

impl From<runlake_storage::Error> for Error {
    fn from(error: runlake_storage::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
}
