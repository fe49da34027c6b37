//! Appending to segments.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runlake_types::{Clock, Epoch, Seq};

use super::lock::{Lock, Watch};
use super::replay::Limit;
use super::segment::{BODY, Folder};
use super::spares::Spares;
use crate::distance::Distance;
use crate::frame::{FRAME_LEN, Header, Kind, MAX_PAYLOAD, Seal, frame_span, nonce_bytes};
use crate::{Error, Log};

/// The first segment after opening, if no file is ready: small, so that a start takes milliseconds.
const FIRST: u64 = 1 << 20;
/// The segment that a clean close leaves behind: its header and the end mark.
const LAST: u64 = 2 * BODY as u64;
/// The buffer for appends shrinks to this after a larger payload.
const KEEP_BUFFER: usize = 4 << 20;

/// A log in appended files.
#[derive(Debug)]
pub(super) struct LocalLog {
    folder: Folder,
    epoch: Epoch,
    clock: Arc<dyn Clock>,
    segment_bytes: u64,
    /// Segments that are written no more, oldest first, each with its last sequence number.
    sealed: VecDeque<(u64, Seq)>,
    current: Option<Current>,
    /// Number of the next segment.
    next_number: u64,
    /// The last sequence number, by a frame or by a floor.
    last: Seq,
    /// The last frame in the files.
    written: Limit,
    /// Frames up to here are needed no more.
    trimmed: Seq,
    distance: Distance,
    buffer: Vec<u8>,
    failed: Option<Error>,
    /// The threads; none once closed. They end before the lock is given back: fields drop in this order.
    helpers: Option<(Spares, Watch)>,
    lock: Arc<Lock>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    file: File,
    path: PathBuf,
    seal: Seal,
    offset: u64,
    size: u64,
}

/// What is in the folder when the log is opened.
#[derive(Debug)]
pub(super) struct Found {
    /// Segments with their last sequence numbers, oldest first.
    pub(super) segments: VecDeque<(u64, Seq)>,
    /// Where the log ends.
    pub(super) newest: Limit,
    /// Frames up to here are not there any more.
    pub(super) gone: Seq,
    /// Frames up to here are needed no more.
    pub(super) trimmed: Seq,
    pub(super) distance: Distance,
}

impl LocalLog {
    pub(super) fn new(
        folder: Folder,
        found: Found,
        (lock, epoch): (Arc<Lock>, Epoch),
        clock: Arc<dyn Clock>,
        settings: &crate::Settings,
    ) -> Result<Self, Error> {
        let segment_bytes = settings.segment_bytes.max(u64::from(BODY) * 2);
        let held = (Arc::clone(&lock), epoch);
        let spares = Spares::start(folder.clone(), held, segment_bytes, settings.recycled_segments)?;
        Ok(Self {
            helpers: Some((spares, Watch::start(&lock, settings.watch_interval)?)),
            lock,
            folder,
            epoch,
            clock,
            segment_bytes,
            next_number: found.segments.back().map_or(1, |(number, _)| number + 1),
            sealed: found.segments,
            current: None,
            last: found.newest.last.max(found.trimmed),
            written: found.newest,
            trimmed: found.trimmed,
            distance: found.distance,
            buffer: Vec::new(),
            failed: None,
        })
    }

    fn try_append(&mut self, seq: Seq, payload: &[u8]) -> Result<(), Error> {
        if seq != self.last.next() {
            return Err(Error::OutOfOrder { expected: self.last.next(), got: seq });
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD });
        }
        let lock = Arc::clone(&self.lock);
        let _held = lock.hold()?;
        // The end mark of a clean close always finds room.
        let need = (frame_span(payload.len()) + FRAME_LEN) as u64;
        let fits = self.current.as_ref().is_some_and(|current| current.offset + need <= current.size);
        if !fits || self.written.last != self.last {
            self.roll(seq, need)?;
        }
        let current = self.current.as_mut().expect("a segment was opened above");
        self.buffer.clear();
        current.seal.encode(Kind::Data, seq, payload, &mut self.buffer)?;
        current.write(&self.buffer)?;
        self.written = Limit { end: current.offset, last: seq };
        self.last = seq;
        self.distance.add(seq, self.buffer.len() as u64);
        self.buffer.shrink_to(KEEP_BUFFER);
        Ok(())
    }

    /// Opens the next segment, with room for `need` bytes of frames, for the frame `first`.
    fn roll(&mut self, first: Seq, need: u64) -> Result<(), Error> {
        let Some((spares, _)) = &self.helpers else { return Err(Error::Closed) };
        let room = u64::from(BODY) + need;
        let spare = if room > self.segment_bytes {
            spares.make(room)?
        } else if self.current.is_some() {
            spares.take()?
        } else {
            match spares.try_take() {
                Some(path) => path,
                None => spares.make(FIRST.max(room).min(self.segment_bytes))?,
            }
        };
        self.go_on_in(&spare, first)?;
        if let Some((spares, _)) = &self.helpers {
            spares.want();
        }
        Ok(())
    }

    /// Makes `spare` the segment that is written, from the frame `first` on.
    fn go_on_in(&mut self, spare: &Path, first: Seq) -> Result<(), Error> {
        let current = self.open_segment(first, spare)?;
        self.next_number += 1;
        if let Some(before) = self.current.replace(current) {
            self.sealed.push_back((before.number, self.written.last));
        }
        self.retire();
        Ok(())
    }

    /// Leaves a log of which nothing is needed as one small segment: the next start has nothing to read, and a lake at
    /// rest takes no room for what it once wrote.
    fn shed(&mut self) -> Result<(), Error> {
        let Some((spares, _)) = &self.helpers else { return Ok(()) };
        let newest = match (&self.current, self.sealed.back()) {
            (Some(current), _) => current.size,
            // Written by an earlier process, and nothing since.
            (None, Some((number, _))) => std::fs::metadata(self.folder.segment(*number)).map_or(0, |meta| meta.len()),
            (None, None) => 0,
        };
        if self.trimmed < self.written.last || newest <= FIRST {
            return Ok(());
        }
        let small = spares.make(LAST)?;
        self.go_on_in(&small, self.last.next())
    }

    fn open_segment(&self, first_seq: Seq, spare: &Path) -> Result<Current, Error> {
        let number = self.next_number;
        let header = Header {
            body: BODY,
            epoch: self.epoch,
            number,
            first_seq,
            prev_seq: self.written.last,
            prev_end: self.written.end,
            trimmed: self.trimmed,
            created: self.clock.now().micros(),
            nonce: nonce_bytes(&runlake_storage::nonce()),
            lake_id: self.folder.lake_id.clone(),
        };
        let failed = |error| Error::io(format!("open the log segment {}", spare.display()), error);
        let file = OpenOptions::new().read(true).write(true).open(spare).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut page = header.encode().to_vec();
        page.resize(BODY as usize, 0);
        file.write_all_at(&page, 0).and_then(|()| file.sync_data()).map_err(failed)?;
        let path = self.folder.segment(number);
        std::fs::rename(spare, &path).map_err(|error| Error::io(format!("create {}", path.display()), error))?;
        self.folder.sync()?;
        Ok(Current { number, file, path, seal: header.seal(), offset: u64::from(BODY), size })
    }

    /// Hands over the segments that hold nothing needed any more. The newest stays: it says where the log stands.
    fn retire(&mut self) {
        let Some((spares, _)) = &self.helpers else { return };
        let keep = usize::from(self.current.is_none());
        while self.sealed.len() > keep && self.sealed.front().is_some_and(|(_, last)| *last <= self.trimmed) {
            if let Some((number, _)) = self.sealed.pop_front() {
                spares.retire(self.folder.segment(number));
            }
        }
    }

    fn try_close(&mut self) -> Result<(), Error> {
        let lock = Arc::clone(&self.lock);
        let _held = lock.hold()?;
        self.shed()?;
        if let Some(current) = &mut self.current {
            self.buffer.clear();
            current.seal.encode(Kind::End, self.written.last, &[], &mut self.buffer)?;
            current.write(&self.buffer)?;
        }
        Ok(())
    }

    fn check_failed(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl Current {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all_at(bytes, self.offset)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| Error::io(format!("append to {}", self.path.display()), error))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

impl Log for LocalLog {
    fn append(&mut self, seq: Seq, payload: &[u8]) -> Result<(), Error> {
        self.check_failed()?;
        self.try_append(seq, payload).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn delete_through(&mut self, seq: Seq) -> Result<(), Error> {
        self.check_failed()?;
        self.trimmed = self.trimmed.max(seq.min(self.last));
        self.distance.trim(self.trimmed);
        self.retire();
        Ok(())
    }

    fn check(&mut self) -> Result<(), Error> {
        self.check_failed()?;
        self.lock.hold().map(drop).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn set_floor(&mut self, seq: Seq) {
        self.last = self.last.max(seq);
    }

    fn last_seq(&self) -> Seq {
        self.last
    }

    fn bytes(&self) -> u64 {
        self.distance.bytes()
    }

    fn linger(&self) -> Duration {
        Duration::ZERO
    }

    fn close(&mut self) -> Result<(), Error> {
        let closed = match self.failed.replace(Error::Closed) {
            None => self.try_close(),
            Some(Error::Closed) => Ok(()),
            Some(error) => Err(error),
        };
        if let Some((spares, _)) = self.helpers.take()
            && closed.is_ok()
        {
            spares.discard();
        }
        self.lock.release();
        closed
    }
}
