//! What can go wrong with the log, and what to do about it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use runlake_storage::Store;
use runlake_types::{Epoch, ErrorKind, Seq};

/// An error of the write-ahead log. Cheap to clone: a log that failed once answers every later call with the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Another server holds the lake.
    #[error(
        "the lake at {lake} belongs to another server: {owner}{note}. \
         Stop that server, or start this one with --takeover to fence it off"
    )]
    Owned {
        /// URL of the lake.
        lake: String,
        /// Who holds it.
        owner: Owner,
        /// How long to wait if that server is in fact gone; empty where the lock shows it is alive.
        note: String,
    },
    /// This server held the lake until another one took it over.
    #[error(
        "another server took this lake over: it holds epoch {newer}, this server's epoch is {epoch}. \
         Nothing more is written here; stop this server and send requests to the other one"
    )]
    Fenced {
        /// Epoch of this writer.
        epoch: Epoch,
        /// Epoch of the writer that took over.
        newer: Epoch,
    },
    /// A takeover was announced, but the old owner did not let go of the lock.
    #[error(
        "the server that holds the lake at {lake} did not give it up within {waited:?}: {owner}. \
         It seems to hang; end that process and start again"
    )]
    Unresponsive {
        /// URL of the lake.
        lake: String,
        /// Who holds it.
        owner: Owner,
        /// How long this server waited.
        waited: Duration,
    },
    /// Stored bytes are not what was written. Nothing was changed or deleted.
    #[error(
        "{file} is damaged at byte {offset}: {problem}. Nothing was changed. Bring the file back from a copy of the \
         lake, or move it and every later file of its folder away to open the lake without the writes they hold"
    )]
    Corrupt {
        /// File or object, relative to the lake.
        file: String,
        /// Position in it, in bytes.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// Written by a newer runlake.
    #[error("{file} has format {found}, this runlake reads up to format {known}: use a newer runlake")]
    Newer {
        /// File or object, relative to the lake.
        file: String,
        /// Its format version.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
    /// A file of another lake.
    #[error("{file} belongs to lake {found}, this is lake {expected}: move the file back to where it came from")]
    WrongLake {
        /// File or object, relative to the lake.
        file: String,
        /// Lake id in its header.
        found: String,
        /// Id of the lake that was opened.
        expected: String,
    },
    /// The caller appended a sequence number that does not follow the last one. A fault of ours.
    #[error("append of sequence number {got}, but the log continues at {expected}")]
    OutOfOrder {
        /// The number that must come next.
        expected: Seq,
        /// The number that was given.
        got: Seq,
    },
    /// A payload past what one frame can hold.
    #[error("a group of {bytes} bytes does not fit into one log frame (limit {limit} bytes): write smaller batches")]
    TooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The most a frame holds.
        limit: usize,
    },
    /// The log was closed.
    #[error("the log is closed: open the lake again to write")]
    Closed,
    /// The operating system refused.
    #[error("cannot {action}: {source}. Check the disk, its free space and the permissions, then start again")]
    Io {
        /// What was tried, with the path.
        action: String,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// The object store refused or did not answer.
    #[error("cannot {action}: {source}")]
    Store {
        /// What was tried, with the object's name.
        action: String,
        /// Why it failed.
        source: Arc<runlake_storage::Error>,
    },
    /// The object store refused a listing, an overwrite or a deletion, or did not answer.
    #[error("cannot {action} in {lake}: {source}")]
    Object {
        /// What was tried, with the object's name.
        action: String,
        /// URL of the lake.
        lake: String,
        /// Why it failed.
        source: Arc<object_store::Error>,
    },
}

/// Who holds a lake for writing, as its claim says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its epoch.
    pub epoch: Epoch,
    /// Process id on `host`.
    pub pid: u32,
    /// Host name.
    pub host: String,
    /// When it claimed the lake, RFC 3339, UTC.
    pub since: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, pid, host, since } = self;
        write!(f, "process {pid} on host {host} since {since} (epoch {epoch})")
    }
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Owned { .. } => ErrorKind::Conflict,
            Self::Fenced { .. } | Self::Closed => ErrorKind::Closed,
            Self::Unresponsive { .. } | Self::Io { .. } => ErrorKind::Unavailable,
            Self::Corrupt { .. } | Self::WrongLake { .. } => ErrorKind::Corrupt,
            Self::Newer { .. } => ErrorKind::Unsupported,
            Self::OutOfOrder { .. } => ErrorKind::Internal,
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Store { source, .. } => source.kind(),
            Self::Object { source, .. } => runlake_storage::kind_of(source),
        }
    }

    pub(crate) fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source: Arc::new(source) }
    }

    pub(crate) fn store(action: impl Into<String>, source: runlake_storage::Error) -> Self {
        Self::Store { action: action.into(), source: Arc::new(source) }
    }

    pub(crate) fn object(action: impl Into<String>, store: &Store, source: object_store::Error) -> Self {
        Self::Object { action: action.into(), lake: store.url().to_string(), source: Arc::new(source) }
    }

    pub(crate) fn corrupt(file: &str, offset: u64, problem: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, problem: problem.into() }
    }
}
