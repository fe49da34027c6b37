//! What can go wrong with artifacts.

use runlake_types::ErrorKind;

use crate::ArtifactPath;

/// An error of artifacts. Its text can be shown to the client: it names files as the client did, and nothing else;
/// except for [`Error::Object`] and [`Error::Storage`], which repeat what the store said and may name places of the
/// server: see [`Error::for_clients`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a path of an artifact. The wording is MLflow's.
    #[error("Invalid path")]
    InvalidPath {
        /// What was given.
        path: String,
    },
    /// A folder was asked for as if it were a file.
    #[error("{path} is a folder, not a file; list it, and download the files in it")]
    IsFolder {
        /// The folder.
        path: ArtifactPath,
    },
    /// A file cannot have this name because of what is there already.
    #[error("{path} cannot be written: it is a folder, or something above it is a file, or a part of it is too long")]
    Obstructed {
        /// The file that was to be written.
        path: ArtifactPath,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// The body is longer than was allowed.
    #[error("{path} is too large: at most {limit} bytes are allowed")]
    TooLarge {
        /// The file that was to be written.
        path: ArtifactPath,
        /// The limit in bytes.
        limit: u64,
    },
    /// The asked range has no byte of the file.
    #[error("the asked range is outside of {path}, which has {size} bytes")]
    Range {
        /// The file.
        path: ArtifactPath,
        /// Its size in bytes.
        size: u64,
    },
    /// There is no upload of this id for this path: it never was, or it was completed or aborted.
    #[error("there is no upload {id} of {path}; it may have been completed or aborted")]
    NoUpload {
        /// The path given.
        path: ArtifactPath,
        /// The upload's id given.
        id: String,
    },
    /// The parts of an upload do not make a file.
    #[error("the parts of the upload of {path} do not fit: {problem}")]
    Parts {
        /// The file that was to be written.
        path: ArtifactPath,
        /// What is wrong with which part.
        problem: String,
    },
    /// The body broke off while it was read.
    #[error("the upload of {path} broke off: {source}")]
    Body {
        /// The file that was to be written.
        path: ArtifactPath,
        /// What the body said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error("cannot {operation} {path}: {source}")]
    Object {
        /// What was asked: `read`, `write`, ….
        operation: &'static str,
        /// The file or folder.
        path: ArtifactPath,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(Box<runlake_storage::Error>),
}

impl Error {
    /// What a client may read of this.
    pub fn for_clients(&self) -> String {
        match self {
            Self::Object { operation, path, .. } => format!("cannot {operation} '{path}': the artifact store failed"),
            Self::Storage(_) => "the artifact store failed".to_owned(),
            other => other.to_string(),
        }
    }

    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidPath { .. }
            | Self::Obstructed { .. }
            | Self::TooLarge { .. }
            | Self::Range { .. }
            | Self::Parts { .. }
            | Self::Body { .. } => ErrorKind::Invalid,
            Self::IsFolder { .. } | Self::NoUpload { .. } => ErrorKind::NotFound,
            Self::Object { source, .. } => runlake_storage::kind_of(source),
            Self::Storage(error) => error.kind(),
        }
    }
}

impl From<runlake_storage::Error> for Error {
    fn from(error: runlake_storage::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}
