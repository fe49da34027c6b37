//! System errors as errors of an object store.

use std::io;
use std::path::{Path, PathBuf};

use object_store::Error;

const STORE: &str = "local files";

#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
struct Failure {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("{} leads out of the lake through a symbolic link; put the data itself into the lake's folder", path.display())]
struct Escape {
    path: PathBuf,
}

/// A failed system call, sorted by what it means for an object.
pub(super) fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    let kind = source.kind();
    let shown = path.display().to_string();
    let source = Box::new(Failure { doing, path: path.to_path_buf(), source });
    match kind {
        io::ErrorKind::NotFound => Error::NotFound { path: shown, source },
        // Something above is a file: an object below it cannot exist.
        io::ErrorKind::NotADirectory if matches!(doing, "read" | "delete" | "copy") => {
            Error::NotFound { path: shown, source }
        }
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: shown, source },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path: shown, source },
        _ => Error::Generic { store: STORE, source },
    }
}

pub(super) fn escaped(path: &Path) -> Error {
    let source = Box::new(Escape { path: path.to_path_buf() });
    Error::PermissionDenied { path: path.display().to_string(), source }
}

pub(super) fn unsupported(operation: &str, by: &dyn std::fmt::Display) -> Error {
    Error::NotImplemented { operation: operation.into(), implementer: by.to_string() }
}

/// Whether local files could not do it: a full disk, a failed sync. Unlike a network, a disk leaves no doubt about
/// what became of a write.
pub(crate) fn is_local_failure(error: &Error) -> bool {
    match error {
        Error::Generic { store, .. } => *store == STORE,
        Error::NotFound { source, .. } => source.is::<Failure>(),
        _ => false,
    }
}
