//! From a hidden file to an object, in one step.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use object_store::{PutResult, Result};

use super::{Disk, create_new, escaped, failed, parent, read};

/// A folder may be removed again and again while we try to put something into it; not this often.
const ATTEMPTS: usize = 16;

/// A hidden file beside the place of an object. Removed on drop unless it was published.
#[derive(Debug)]
pub(super) struct Staged {
    hidden: PathBuf,
    place: PathBuf,
    file: File,
    /// Whether `hidden` is still there.
    pending: bool,
}

impl Staged {
    /// An empty file on its way to `place`.
    pub(super) fn new(disk: &Disk, place: PathBuf) -> Result<Self> {
        let (hidden, file) = beside(disk, &place, create_new)?;
        Ok(Self { hidden, place, file, pending: true })
    }

    /// A second name of `source`, or where there are none a copy, on its way to `place`.
    pub(super) fn link(disk: &Disk, source: &Path, place: PathBuf) -> Result<Self> {
        let open = |hidden: &Path| {
            match std::fs::hard_link(source, hidden) {
                Err(error) if lacks_links(&error) => std::fs::copy(source, hidden).map(drop)?,
                linked => linked?,
            }
            File::open(hidden)
        };
        let (hidden, file) = beside(disk, &place, open)?;
        Ok(Self { hidden, place, file, pending: true })
    }

    /// Writes to the file.
    pub(super) fn write(&mut self, body: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        body(&mut self.file).map_err(|error| failed("write", &self.place, error))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Syncs the body and gives it its name, which must be free.
    pub(super) fn publish_new(mut self, disk: &Disk) -> Result<PutResult> {
        self.sync_body(disk)?;
        match std::fs::hard_link(&self.hidden, &self.place) {
            Ok(()) => self.discard(),
            Err(error) if lacks_links(&error) => {
                rename_new(&self.hidden, &self.place).map_err(|error| failed("create", &self.place, error))?;
                self.pending = false;
            }
            Err(error) => return Err(failed("create", &self.place, error)),
        }
        self.sync_name(disk).inspect_err(|_| {
            // It must not be seen by those who will be told that it is there while the disk may not know it.
            let _ = std::fs::remove_file(&self.place);
        })
    }

    /// Syncs the body and gives it its name, whoever had it.
    pub(super) fn publish_over(mut self, disk: &Disk) -> Result<PutResult> {
        self.sync_body(disk)?;
        std::fs::rename(&self.hidden, &self.place).map_err(|error| failed("write", &self.place, error))?;
        // A rename between two names of one file does nothing, so the hidden name may still be there.
        self.discard();
        self.sync_name(disk)
    }

    fn sync_body(&self, disk: &Disk) -> Result<()> {
        disk.sync.file(&self.file).map_err(|error| failed("sync", &self.place, error))
    }

    fn sync_name(&self, disk: &Disk) -> Result<PutResult> {
        let folder = parent(&self.place);
        disk.sync.folder(folder).map_err(|error| failed("sync the folder", folder, error))?;
        // Somebody removed the folder and somebody else made it again while we were on our way.
        if folder != disk.root && !disk.folders.is_known(folder) {
            disk.folders.ensure(disk, folder)?;
        }
        let found = self.file.metadata().map_err(|error| failed("read", &self.place, error))?;
        Ok(PutResult { e_tag: Some(read::etag(&found)), version: None })
    }

    fn discard(&mut self) {
        if std::mem::take(&mut self.pending) {
            let _ = std::fs::remove_file(&self.hidden);
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Makes a hidden file beside `place` with `make`, and the folder it needs.
fn beside(disk: &Disk, place: &Path, make: impl Fn(&Path) -> io::Result<File>) -> Result<(PathBuf, File)> {
    let folder = parent(place);
    let mut attempt = 1;
    loop {
        if folder != disk.root {
            disk.folders.ensure(disk, folder)?;
            if !folder.canonicalize().map_or(true, |real| real.starts_with(&disk.root)) {
                return Err(escaped(folder));
            }
        }
        let hidden = folder.join(format!("#{}", digits()));
        match make(&hidden) {
            Ok(file) => return Ok((hidden, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                disk.folders.forget(folder);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => {}
            Err(error) => return Err(failed("write", place, error)),
        }
        attempt += 1;
    }
}

fn digits() -> u64 {
    u64::from_str_radix(&crate::nonce()[..16], 16).expect("a nonce is hex digits")
}

/// Some file systems (FAT, a few network and FUSE ones) have no hard links.
fn lacks_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

/// A rename that refuses to replace: the other way to publish a new name in one step.
#[cfg(target_os = "linux")]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(target_os = "linux"))]
fn rename_new(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this file system has no hard links; a lake needs them"))
}
