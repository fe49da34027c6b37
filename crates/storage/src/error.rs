//! What can go wrong with a store.

use std::path::PathBuf;

use object_store::path::Path;
use runlake_types::ErrorKind;
use url::Url;

/// An error of a store. Its text says what was asked, what was wrong and, where that is known, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The location cannot be a store: not a URL of a known kind, no bucket, not a folder.
    #[error("cannot open {location:?}: {problem}")]
    Location {
        /// What was given, without credentials.
        location: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A local folder cannot be used.
    #[error("cannot open {}: {problem}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed to do something.
    #[error("{operation} {path} in {store}: {source}")]
    Object {
        /// What was asked: `read`, `create`, ….
        operation: &'static str,
        /// The object.
        path: Path,
        /// The store's URL.
        store: Url,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store lets two creates of one name succeed, so two writers could overwrite each other.
    #[error(
        "{store} does not honour conditional writes ({problem}): two servers could overwrite each other's data; \
         use a store that supports If-None-Match: * on PUT, or switch that support on"
    )]
    NoConditionalPut {
        /// The store's URL.
        store: Url,
        /// What it did instead.
        problem: String,
    },
    /// A task of ours was cancelled or panicked.
    #[error("{operation} in {store} was interrupted: {source}")]
    Interrupted {
        /// What was asked.
        operation: &'static str,
        /// The store's URL.
        store: Url,
        /// What happened to the task.
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Location { .. } => ErrorKind::Invalid,
            Self::Folder { source, .. } => kind_of_io(source),
            Self::Object { source, .. } => kind_of(source),
            Self::NoConditionalPut { .. } => ErrorKind::Unsupported,
            Self::Interrupted { .. } => ErrorKind::Internal,
        }
    }
}

/// What the caller should do about an error of an object store.
pub fn kind_of(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => ErrorKind::NotFound,
        E::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        E::Precondition { .. } | E::NotModified { .. } => ErrorKind::Conflict,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::Denied,
        E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => ErrorKind::Invalid,
        E::NotSupported { .. } | E::NotImplemented { .. } => ErrorKind::Unsupported,
        E::JoinError { .. } => ErrorKind::Internal,
        other => io_source(other).map_or(ErrorKind::Unavailable, kind_of_io),
    }
}

fn kind_of_io(error: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::AlreadyExists => ErrorKind::AlreadyExists,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::NotADirectory | Io::IsADirectory | Io::InvalidFilename | Io::InvalidInput => ErrorKind::Invalid,
        Io::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    }
}

/// The system error at the root of a store's error, if it came from local files.
fn io_source(error: &object_store::Error) -> Option<&std::io::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}
