//! Zip files, which may come from anybody: nothing is written outside of the folder, no link is made, and a small file
//! does not become an endless one.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use crate::tracking::Cancel;
use crate::{Error, Result};

const MOST_ENTRIES: u64 = 200_000;
const MOST_BYTES: u64 = 8 << 30;

/// Unpacks a zip file into an empty folder.
pub(super) fn unpack(path: &Path, into: &Path, cancel: &Cancel) -> Result {
    let refused = |problem: String| Error::Source(format!("the zip file {} cannot be used: {problem}", path.display()));
    let broken = |error: rawzip::Error| refused(error.to_string());
    let file = File::open(path).map_err(Error::at("read", path))?;
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(broken)?;
    let mut left = MOST_BYTES;
    let mut count = 0;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(broken)? {
        cancel.check()?;
        count += 1;
        if count > MOST_ENTRIES {
            return Err(refused(format!("it has more than {MOST_ENTRIES} entries")));
        }
        let raw = entry.file_path();
        let name = String::from_utf8_lossy(raw.as_ref()).into_owned();
        if !is_inside(&name) {
            return Err(refused(format!("its entry {name:?} leads out of the project")));
        }
        if entry.mode().is_symlink() {
            return Err(refused(format!("its entry {name:?} is a link; links are not unpacked")));
        }
        let target = into.join(&name);
        if target.components().eq(into.components()) {
            continue;
        }
        if entry.is_dir() {
            fs::create_dir_all(&target).map_err(Error::at("make", &target))?;
            continue;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(Error::at("make", parent))?;
        }
        let data = archive.get_entry(entry.wayfinder()).map_err(broken)?;
        let reader: Box<dyn Read> = match entry.compression_method() {
            CompressionMethod::STORE => Box::new(data.reader()),
            CompressionMethod::DEFLATE => Box::new(flate2::read::DeflateDecoder::new(data.reader())),
            method => {
                return Err(refused(format!("its entry {name:?} is packed by {method:?}, which is not read here")));
            }
        };
        let reader = Stoppable { inner: data.verifying_reader(reader), cancel };
        let mut reader = reader.take(left.saturating_add(1));
        let mut file = File::create_new(&target).map_err(Error::at("write", &target))?;
        let written = std::io::copy(&mut reader, &mut file)
            .map_err(|error| refused(format!("its entry {name:?} does not unpack: {error}")));
        cancel.check()?;
        let written = written?;
        left =
            left.checked_sub(written).ok_or_else(|| refused(format!("it unpacks to more than {MOST_BYTES} bytes")))?;
        if entry.mode().permissions() & 0o111 != 0 {
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).map_err(Error::at("write", &target))?;
        }
    }
    Ok(())
}

/// Ends when somebody wants to stop.
struct Stoppable<'a, R> {
    inner: R,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.cancel.is_asked() { Err(std::io::Error::other("stopped")) } else { self.inner.read(buffer) }
    }
}

/// Whether a name stays in its folder on any system.
fn is_inside(name: &str) -> bool {
    let is_absolute = name.starts_with('/') || name.get(1..2) == Some(":");
    let is_odd = name.is_empty() || name.contains(['\\', '\0']);
    !is_absolute && !is_odd && name.split('/').all(|part| part != "..")
}
