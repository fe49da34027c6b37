//! Folders whose own names are on the disk.
//!
//! A synced file in a folder that the disk does not know yet is lost with the folder. So the folder of every object is
//! made level by level, each level's parent synced, before anything is published in it, once per process and folder:
//! one that is found already there may have been made by a process that was cut off before it synced.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use object_store::Result;

use super::{Disk, Sync, failed, parent};
use crate::Error;

/// Bounds the memory of known folders; forgetting costs a sync per folder used again.
const KNOWN_LIMIT: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Folders {
    /// Folders that are durable from the root down.
    known: Mutex<HashSet<PathBuf>>,
    /// Held while folders are made, so that two that need the same one both wait for its sync.
    making: Mutex<()>,
}

impl Folders {
    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_known(&self, folder: &Path) -> bool {
        self.known().contains(folder)
    }

    /// Makes `folder` (which is textually below the root) durable, and checks that it really is inside.
    pub(super) fn ensure(&self, disk: &Disk, folder: &Path) -> Result<()> {
        if self.is_known(folder) {
            return Ok(());
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let mut levels: Vec<&Path> = folder.ancestors().take_while(|level| *level != disk.root).collect();
        levels.reverse();
        for level in levels {
            if !self.is_known(level) {
                make_level(disk, level)?;
                self.remember(level);
            }
        }
        Ok(())
    }

    fn remember(&self, folder: &Path) {
        let mut known = self.known();
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(folder.to_path_buf());
    }

    /// Forgets `folder`, what is above and what is below: somebody removed it.
    pub(super) fn forget(&self, folder: &Path) {
        self.known().retain(|known| !known.starts_with(folder) && !folder.starts_with(known));
    }

    /// Removes `folder` and the folders in it as far as they are empty. Does not follow links.
    pub(super) fn remove_empty(&self, root: &Path, folder: &Path) -> Result<()> {
        let real = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
        if !real || folder == root {
            return Ok(());
        }
        let entries = std::fs::read_dir(folder).map_err(|error| failed("read", folder, error))?;
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.remove_empty(root, &entry.path())?;
            }
        }
        self.forget(folder);
        match std::fs::remove_dir(folder) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
                Err(failed("delete", folder, error))
            }
            _ => Ok(()),
        }
    }
}

fn make_level(disk: &Disk, level: &Path) -> Result<()> {
    match std::fs::create_dir(level) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let real = disk.resolve(level)?;
            if !real.is_dir() {
                return Err(failed("make the folder", level, io::Error::from(io::ErrorKind::NotADirectory)));
            }
        }
        Err(error) => return Err(failed("make the folder", level, error)),
    }
    disk.sync.folder(parent(level)).map_err(|error| failed("sync the folder", parent(level), error))
}

/// Makes the root of a store with all that is missing above it, durably. Its path with links resolved.
pub(super) fn make_root(folder: &Path, sync: &dyn Sync) -> std::result::Result<PathBuf, Error> {
    let refused = |problem: &str, source: io::Error| Error::Folder {
        folder: folder.to_path_buf(),
        problem: format!("{problem} ({source})"),
        source,
    };
    let missing: Vec<&Path> = folder.ancestors().take_while(|level| !level.exists()).collect();
    for level in missing.into_iter().rev() {
        match std::fs::create_dir(level) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refused(explain(&error), error)),
        }
        sync.folder(parent(level)).map_err(|error| refused("its parent folder cannot be synced", error))?;
    }
    let real = folder.canonicalize().map_err(|error| refused(explain(&error), error))?;
    if !real.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(refused("it is a file; a lake needs a folder of its own", error));
    }
    // A folder one may not list is of no use, and the error should come now and name the folder.
    std::fs::read_dir(&real).map_err(|error| refused(explain(&error), error))?;
    Ok(real)
}

fn explain(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "no permission; give this user the right to read and write there",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        io::ErrorKind::NotADirectory => "something above it is a file, not a folder",
        _ => "the folder cannot be made or read",
    }
}
