//! Opening a file and reading parts of it.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path as FsPath, PathBuf};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetRange, ObjectMeta, Result};

use super::{Disk, failed};

/// The open file of an object, its real path and what there is to know about it. A folder is not an object.
pub(super) fn open(disk: &Disk, location: Path) -> Result<(File, PathBuf, ObjectMeta)> {
    let path = disk.resolve(&disk.file_of(&location)?)?;
    let read = |error: io::Error| failed("read", &path, error);
    // Asked before opening, because opening a pipe waits for its other end.
    if !path.metadata().map_err(read)?.is_file() {
        return Err(read(io::Error::from(io::ErrorKind::NotFound)));
    }
    let file = File::open(&path).map_err(read)?;
    let found = file.metadata().map_err(read)?;
    let meta = meta(location, &found).map_err(read)?;
    Ok((file, path, meta))
}

pub(super) fn meta(location: Path, found: &Metadata) -> io::Result<ObjectMeta> {
    let last_modified = found.modified()?.into();
    Ok(ObjectMeta { location, last_modified, size: found.len(), e_tag: Some(etag(found)), version: None })
}

/// Changes whenever another file takes the name, or the file is written to.
pub(super) fn etag(found: &Metadata) -> String {
    format!("{:x}-{:x}-{:x}-{:x}", found.ino(), found.mtime(), found.mtime_nsec(), found.len())
}

/// The bytes a request means, of a file of `size` bytes.
pub(super) fn bounds(path: &FsPath, asked: Option<&GetRange>, size: u64) -> Result<Range<u64>> {
    let wrong = || Err(failed("read the asked range of", path, io::Error::from(io::ErrorKind::InvalidInput)));
    match asked {
        None => Ok(0..size),
        Some(GetRange::Bounded(range)) if range.start < range.end && range.start < size => {
            Ok(range.start..range.end.min(size))
        }
        Some(GetRange::Offset(start)) if *start < size => Ok(*start..size),
        Some(GetRange::Suffix(length)) => Ok(size.saturating_sub(*length)..size),
        Some(_) => wrong(),
    }
}

/// The bytes of one range, cut at the end of the file.
pub(super) fn range(file: &File, path: &FsPath, size: u64, asked: Range<u64>) -> Result<Bytes> {
    let range = bounds(path, Some(&GetRange::Bounded(asked)), size)?;
    let length = usize::try_from(range.end - range.start)
        .map_err(|_| failed("read", path, io::Error::from(io::ErrorKind::OutOfMemory)))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start).map_err(|error| failed("read", path, error))?;
    Ok(bytes.into())
}
