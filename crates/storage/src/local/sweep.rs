//! Clearing away what a crash left behind.

use std::fs::DirEntry;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use object_store::Result;

use super::{failed, is_staging};

/// Removes the staging files below `folder` that were last written before `before`. How many. Follows no links.
pub(super) fn sweep(folder: &Path, before: SystemTime) -> Result<u64> {
    let mut swept = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| failed("read", &folder, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed("read", &folder, error))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if is_left(&entry, before) && std::fs::remove_file(entry.path()).is_ok() {
                swept += 1;
            }
        }
    }
    Ok(swept)
}

fn is_left(entry: &DirEntry, before: SystemTime) -> bool {
    entry.file_name().to_str().is_some_and(is_staging)
        && entry.metadata().and_then(|found| found.modified()).is_ok_and(|written| written < before)
}
