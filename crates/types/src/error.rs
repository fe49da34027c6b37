//! What every crate's error boils down to at the doors.

/// What the caller should do about an error. Each crate's `Error` answers `kind()`; the doors (REST, Flight, CLI)
/// map a kind to their own status exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong; sending it again cannot help.
    Invalid,
    /// What was asked for does not exist.
    NotFound,
    /// A name or id is taken already.
    AlreadyExists,
    /// The thing is in a state that forbids the request (deleted, finished, locked).
    Conflict,
    /// The caller did not prove who they are.
    Unauthenticated,
    /// The caller may not do this.
    Denied,
    /// This server does not offer it.
    Unsupported,
    /// Too much at once: wait and send it again.
    Overloaded,
    /// A store or another process did not answer: send it again later.
    Unavailable,
    /// Stored bytes are not what was written. A human must look; nothing was destroyed.
    Corrupt,
    /// The engine is shutting down or was fenced by another writer.
    Closed,
    /// A fault of ours.
    Internal,
}

/// A batch or record that does not fit the schema of its table.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("table {table}: {problem}")]
pub struct SchemaError {
    /// The table whose schema was expected.
    pub table: &'static str,
    /// What did not fit, naming the column.
    pub problem: String,
}

impl SchemaError {
    pub(crate) fn new(table: &'static str, problem: impl Into<String>) -> Self {
        Self { table, problem: problem.into() }
    }
}
