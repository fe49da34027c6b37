//! One segment file: its header, and its frames read one after the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::path::Path as Name;
use runlake_storage::names;
use runlake_types::Seq;

use crate::frame::{ALIGN, FRAME_LEN, FrameHeader, HEADER_LEN, Header, Kind, Seal, u64_at};
use crate::{Error, Frame};

/// Where the first frame of a segment begins. The header has a page of its own: it is never rewritten by an append.
pub(super) const BODY: u32 = 4096;
const CHUNK: usize = 1 << 20;

/// The folder of the segments.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) lake_id: String,
}

impl Folder {
    /// Path of the segment `number`.
    pub(super) fn segment(&self, number: u64) -> PathBuf {
        self.path.join(file_name(&names::wal_segment(number)))
    }

    /// Numbers of the segments there, ascending. No folder is an empty folder.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, Error> {
        let mut numbers = Vec::new();
        for name in self.file_names()? {
            numbers.extend(names::wal_segment_number(&Name::from_iter([names::WAL, name.as_str()])));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Names of all files there, in no order.
    pub(super) fn file_names(&self) -> Result<Vec<String>, Error> {
        let list = || -> io::Result<Vec<String>> {
            std::fs::read_dir(&self.path)?
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect()
        };
        match list() {
            Ok(names) => Ok(names),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io(format!("list {}", self.path.display()), error)),
        }
    }

    /// The header of segment `number`; `None` when there is no such file.
    pub(super) fn header(&self, number: u64) -> Result<Option<Header>, Error> {
        Ok(self.open(number)?.map(|(_, header)| header))
    }

    fn open(&self, number: u64) -> Result<Option<(File, Header)>, Error> {
        let path = self.segment(number);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format!("open {}", path.display()), error)),
        };
        let bytes = read_at(&file, &path, 0, HEADER_LEN)?;
        let header = Header::decode(&bytes, names::wal_segment(number).as_ref(), number, &self.lake_id)?;
        Ok(Some((file, header)))
    }

    /// Whether the file under the number of `header` still is the one `header` was read from. Once it is not, it never
    /// will be again: numbers only grow.
    pub(super) fn still_there(&self, header: &Header) -> Result<bool, Error> {
        match self.header(header.number) {
            Ok(Some(now)) => Ok(now.nonce == header.nonce),
            Ok(None) => Ok(false),
            // Opened before, overwritten after it was renamed away: look whether the name is gone.
            Err(error) => match self.segment(header.number).try_exists() {
                Ok(true) => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// Syncs the folder: created, renamed and removed names survive a power failure after this.
    pub(super) fn sync(&self) -> Result<(), Error> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::io(format!("sync {}", self.path.display()), error))
    }
}

/// The last part of an object's name.
pub(super) fn file_name(name: &Name) -> String {
    name.filename().unwrap_or_default().to_owned()
}

/// What stands where a frame should begin.
#[derive(Debug)]
pub(super) enum Step {
    /// The next frame, whole.
    Frame(Frame),
    /// The log was closed here.
    End,
    /// No frame: the end of what was written, a torn write, or damage.
    Nothing(&'static str),
}

/// Reads the frames of one segment in order.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: File,
    path: PathBuf,
    pub(super) header: Header,
    seal: Seal,
    /// Where the next frame begins.
    pub(super) offset: u64,
    /// Its sequence number.
    pub(super) expected: Seq,
    chunk: Bytes,
    chunk_start: u64,
}

impl SegmentReader {
    /// Opens segment `number`; `None` when there is no such file.
    pub(super) fn open(folder: &Folder, number: u64) -> Result<Option<Self>, Error> {
        let Some((file, header)) = folder.open(number)? else { return Ok(None) };
        Ok(Some(Self {
            file,
            path: folder.segment(number),
            seal: header.seal(),
            offset: u64::from(header.body),
            expected: header.first_seq,
            header,
            chunk: Bytes::new(),
            chunk_start: 0,
        }))
    }

    /// Reads what stands at `offset`, and moves past it when it is a frame.
    pub(super) fn step(&mut self) -> Result<Step, Error> {
        let Some(frame) = self.header_at(self.offset)? else { return Ok(Step::Nothing("no frame begins here")) };
        let expected = match frame.kind {
            Kind::Data => self.expected,
            Kind::End => Seq(self.expected.0.saturating_sub(1)),
        };
        if frame.seq != expected {
            return Ok(Step::Nothing("the frame here has another sequence number than it should"));
        }
        if frame.kind == Kind::End {
            return Ok(Step::End);
        }
        let payload = self.bytes_at(self.offset + FRAME_LEN as u64, frame.len)?;
        if payload.len() < frame.len || crc32fast::hash(&payload) != frame.crc {
            return Ok(Step::Nothing("the check sum of the frame here does not fit its payload"));
        }
        self.offset += frame.span();
        self.expected = self.expected.next();
        Ok(Step::Frame(Frame { seq: frame.seq, payload }))
    }

    /// Looks behind `offset` for a frame that was written after the one that should stand there. Since a frame is
    /// written only once the one before is on stable storage, finding one proves damage; finding none means that
    /// whatever stands at `offset` was never acknowledged.
    pub(super) fn later_frame(&mut self) -> Result<Option<u64>, Error> {
        self.forget();
        let mut at = self.offset + ALIGN as u64;
        loop {
            let block = self.bytes_at(at, CHUNK)?;
            if block.len() < FRAME_LEN {
                return Ok(None);
            }
            let most = self.expected.0.saturating_add((block.len() + CHUNK) as u64).saturating_add(at);
            for start in (0..=block.len() - FRAME_LEN).step_by(ALIGN) {
                let seq = u64_at(&block, start + 8);
                if (self.expected.0..most).contains(&seq) && self.seal.decode(&block[start..]).is_some() {
                    return Ok(Some(at + start as u64));
                }
            }
            // The last places, which had no room for a whole frame header, come again with the next block.
            at += (block.len() - FRAME_LEN) as u64 / ALIGN as u64 * ALIGN as u64 + ALIGN as u64;
        }
    }

    /// Drops what was read ahead: a live writer may have written there since.
    pub(super) fn forget(&mut self) {
        self.chunk = Bytes::new();
    }

    /// Name of the segment, relative to the lake.
    pub(super) fn name(&self) -> String {
        names::wal_segment(self.header.number).to_string()
    }

    /// Brings the segment to stable storage: frames of a crashed process may exist in the page cache only.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| Error::io(format!("sync {}", self.path.display()), error))
    }

    fn header_at(&mut self, at: u64) -> Result<Option<FrameHeader>, Error> {
        let bytes = self.bytes_at(at, FRAME_LEN)?;
        Ok(self.seal.decode(&bytes))
    }

    /// `len` bytes at `at`, fewer at the end of the file, from the chunk read ahead where it holds them.
    fn bytes_at(&mut self, at: u64, len: usize) -> Result<Bytes, Error> {
        let held = at.checked_sub(self.chunk_start).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = held.filter(|start| start.saturating_add(len) <= self.chunk.len()) {
            return Ok(self.chunk.slice(start..start + len));
        }
        self.chunk = read_at(&self.file, &self.path, at, len.max(CHUNK))?.into();
        self.chunk_start = at;
        Ok(self.chunk.slice(..len.min(self.chunk.len())))
    }
}

/// Up to `len` bytes at `at`; fewer only at the end of the file.
fn read_at(file: &File, path: &Path, at: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
