//! Listing: depth first, each folder in the order of names.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::{Path, PathPart};
use object_store::{ListResult, ObjectMeta, Result};

use super::{Disk, blocking, failed, is_staging, read};

/// Objects fetched per hop to the blocking pool.
const CHUNK: usize = 1000;

/// All objects below `prefix`, or those of them after `offset`.
pub(super) fn stream(disk: Arc<Disk>, prefix: Path, offset: Option<Path>) -> BoxStream<'static, Result<ObjectMeta>> {
    let start = Entry { file: disk.folder_of(&prefix), location: prefix, folder: true };
    let walk = Walk { disk, offset, stack: vec![start], started: false };
    let chunks = futures::stream::try_unfold((walk, VecDeque::new()), |(mut walk, mut ready)| async move {
        if ready.is_empty() {
            (walk, ready) = blocking(move || walk.next_chunk().map(|chunk| (walk, chunk))).await?;
        }
        Ok(ready.pop_front().map(|meta| (meta, (walk, ready))))
    });
    chunks.boxed()
}

/// The objects and folders directly in `prefix`.
pub(super) fn one_level(disk: &Disk, prefix: &Path) -> Result<ListResult> {
    let mut result = ListResult { common_prefixes: vec![], objects: vec![] };
    for entry in entries(disk, &Entry { file: disk.folder_of(prefix), location: prefix.clone(), folder: true }, true)? {
        if entry.folder {
            result.common_prefixes.push(entry.location);
        } else if let Some(meta) = entry.meta() {
            result.objects.push(meta);
        }
    }
    Ok(result)
}

struct Walk {
    disk: Arc<Disk>,
    offset: Option<Path>,
    /// What is still to visit, the next one last.
    stack: Vec<Entry>,
    started: bool,
}

impl Walk {
    fn next_chunk(&mut self) -> Result<VecDeque<ObjectMeta>> {
        let mut chunk = VecDeque::new();
        while chunk.len() < CHUNK {
            let Some(entry) = self.stack.pop() else { break };
            if entry.folder {
                let first = !std::mem::replace(&mut self.started, true);
                self.stack.extend(entries(&self.disk, &entry, first)?.into_iter().rev());
            } else if self.offset.as_ref().is_none_or(|offset| entry.location > *offset) {
                chunk.extend(entry.meta());
            }
        }
        Ok(chunk)
    }
}

#[derive(Debug)]
struct Entry {
    file: PathBuf,
    location: Path,
    folder: bool,
}

impl Entry {
    /// `None` when it has gone since its folder was read.
    fn meta(self) -> Option<ObjectMeta> {
        let found = self.file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        read::meta(self.location, &found).ok()
    }
}

/// What is in a folder, sorted by name; nothing when it is not (or no longer) a folder. Files of names no object can
/// have, staging files, and links to folders or out of the root are left out.
fn entries(disk: &Disk, folder: &Entry, check: bool) -> Result<Vec<Entry>> {
    let nothing = |error: object_store::Error| match error {
        object_store::Error::NotFound { .. } => Ok(vec![]),
        other => Err(other),
    };
    if check && let Err(error) = disk.resolve(&folder.file) {
        return nothing(error);
    }
    let found = match std::fs::read_dir(&folder.file) {
        Ok(found) => found,
        Err(error) => return nothing(failed("read", &folder.file, error)),
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry.map_err(|error| failed("read", &folder.file, error))?;
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        let Some(part) = name.to_str().filter(|name| !is_staging(name)).and_then(|name| PathPart::parse(name).ok())
        else {
            continue;
        };
        let file = entry.path();
        if kind.is_dir() || kind.is_file() || disk.resolve(&file).is_ok_and(|real| real.is_file()) {
            entries.push(Entry { file, location: folder.location.clone().join(part), folder: kind.is_dir() });
        }
    }
    entries.sort_unstable_by(|one, other| one.location.as_ref().cmp(other.location.as_ref()));
    Ok(entries)
}
