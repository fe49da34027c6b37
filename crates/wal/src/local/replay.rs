//! Reading the segments in order, while a writer may append to, recycle and delete them.
//!
//! All but the newest segment end where the header of the next one says; anything but whole frames up to there is
//! damage. The newest ends at the first place that holds no frame, unless a later frame follows: then that place is
//! damage as well.
//!
//! A reader without the writer's role meets files that change under it. Two facts keep it honest: a name that
//! vanished never comes back, so "the file was still there, with its nonce, after I read" makes the read genuine; and
//! a writer removes only what the tables hold, so a vanished segment is skipped and [`LocalReplay::trimmed`] says up
//! to where. The reader stops at the end of the segment that was newest when it began: every write acknowledged
//! before then is behind it, and a writer that never rests cannot keep it for ever.

use std::collections::VecDeque;
use std::time::Duration;

use runlake_storage::names;
use runlake_types::Seq;

use super::segment::{Folder, SegmentReader, Step};
use crate::{Error, Frame};

/// Payload bytes gathered before a batch of frames is handed on.
const BATCH: usize = 1 << 20;
/// How often a listing that changed while it was read is tried again.
const TRIES: u32 = 50;

/// A segment to be read, and where it ends if that is known.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) number: u64,
    pub(super) limit: Option<Limit>,
}

/// The end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// Offset behind the last frame.
    pub(super) end: u64,
    /// Its sequence number.
    pub(super) last: Seq,
}

/// Reads frames out of the segments of a folder.
#[derive(Debug)]
pub(crate) struct LocalReplay {
    folder: Folder,
    plan: VecDeque<Planned>,
    current: Option<(SegmentReader, Option<Limit>)>,
    /// The newest segment when reading began; nothing beyond it is read.
    horizon: u64,
    trimmed: Seq,
}

impl LocalReplay {
    /// Reads exactly what `plan` says: for the writer, who knows every end.
    pub(super) fn planned(folder: Folder, plan: Vec<Planned>, trimmed: Seq) -> Self {
        let horizon = plan.last().map_or(0, |last| last.number);
        Self { folder, plan: plan.into(), current: None, horizon, trimmed }
    }

    /// Reads what is there now, beside a live writer.
    pub(super) fn tail(folder: Folder) -> Result<Self, Error> {
        let horizon = folder.numbers()?.last().copied().unwrap_or(0);
        let mut replay = Self { folder, plan: VecDeque::new(), current: None, horizon, trimmed: Seq(0) };
        replay.look(0)?;
        Ok(replay)
    }

    /// Frames up to here were gone before this replay could read them: the tables hold them.
    pub(crate) fn trimmed(&self) -> Seq {
        self.trimmed
    }

    /// Reads the next frames into `out`; none at the end of the log.
    pub(crate) fn read(&mut self, out: &mut VecDeque<Frame>) -> Result<(), Error> {
        let mut gathered = 0;
        while gathered < BATCH {
            if self.current.is_none() && !self.open_next()? {
                break;
            }
            let Some((segment, limit)) = &mut self.current else { continue };
            if limit.is_some_and(|limit| segment.offset >= limit.end) {
                self.current = None;
                continue;
            }
            match segment.step()? {
                Step::Frame(frame) => {
                    gathered += frame.payload.len() + 1;
                    out.push_back(frame);
                }
                Step::End if limit.is_none() => self.current = None,
                Step::End => self.settle("the log ends here, but a later file says that it went on")?,
                Step::Nothing(problem) => self.settle(problem)?,
            }
        }
        Ok(())
    }

    /// Opens the next planned segment; `false` when none is left.
    fn open_next(&mut self) -> Result<bool, Error> {
        while let Some(next) = self.plan.pop_front() {
            let opened = SegmentReader::open(&self.folder, next.number);
            let gone = || !self.folder.segment(next.number).try_exists().unwrap_or(true);
            match opened {
                Ok(Some(segment)) => {
                    self.current = Some((segment, next.limit));
                    return Ok(true);
                }
                Ok(None) => self.skip(next.number, next.limit)?,
                Err(_) if gone() => self.skip(next.number, next.limit)?,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Decides what it means that no frame stands where one could: end of the log, trimmed meanwhile, or damage.
    fn settle(&mut self, problem: &'static str) -> Result<(), Error> {
        let Some((mut segment, limit)) = self.current.take() else { return Ok(()) };
        let number = segment.header.number;
        if !self.folder.still_there(&segment.header)? {
            return self.skip(number, limit);
        }
        if limit.is_none() {
            // The writer may have gone on to another segment since this one was listed as the newest.
            if let Some(next) = self.folder.header(number + 1)? {
                segment.forget();
                let limit = Limit { end: next.prev_end, last: next.prev_seq };
                self.current = Some((segment, Some(limit)));
                return Ok(());
            }
            if segment.later_frame()?.is_none() {
                return Ok(());
            }
        }
        // Look once more at the very bytes: they may have been read before the writer wrote them.
        segment.forget();
        let at = segment.offset;
        let (again, there) = (segment.step()?, self.folder.still_there(&segment.header)?);
        match again {
            _ if !there => self.skip(number, limit),
            // The frame is whole now; read it again in its turn.
            Step::Frame(_) => {
                segment.offset = at;
                segment.expected = Seq(segment.expected.0 - 1);
                self.current = Some((segment, limit));
                Ok(())
            }
            _ => Err(Error::corrupt(&segment.name(), at, problem)),
        }
    }

    /// Goes on behind segment `number`, which the writer removed.
    fn skip(&mut self, number: u64, limit: Option<Limit>) -> Result<(), Error> {
        match limit {
            Some(limit) => {
                self.trimmed = self.trimmed.max(limit.last);
                Ok(())
            }
            None => self.look(number),
        }
    }

    /// Plans the segments after number `after`, up to the horizon.
    fn look(&mut self, after: u64) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            match self.try_look(after) {
                Ok(true) => return Ok(()),
                Err(error) if tries == TRIES => return Err(error),
                // A file vanished or appeared while the folder was read.
                Ok(false) | Err(_) if tries < TRIES => {}
                _ => return Err(self.hole(after)),
            }
            tries += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// One attempt at a consistent list; `false` when the folder changed while it was read.
    fn try_look(&mut self, after: u64) -> Result<bool, Error> {
        let numbers: Vec<u64> = self.folder.numbers()?.into_iter().filter(|number| *number > after).collect();
        let mut headers = Vec::with_capacity(numbers.len());
        for number in &numbers {
            let Some(header) = self.folder.header(*number)? else { return Ok(false) };
            headers.push(header);
        }
        if !numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
            return Ok(false);
        }
        if let Some(first) = headers.first() {
            self.trimmed = self.trimmed.max(first.prev_seq);
        }
        self.plan = plan(&headers, None).into_iter().filter(|planned| planned.number <= self.horizon).collect();
        Ok(true)
    }

    fn hole(&self, after: u64) -> Error {
        let numbers = self.folder.numbers().unwrap_or_default();
        let before = numbers.windows(2).find(|pair| pair[0] > after && pair[0] + 1 != pair[1]);
        missing(before.map_or(after, |pair| pair[0]) + 1)
    }
}

/// The segments of a writer: all ends known, `newest` being the end of the last.
pub(super) fn plan(headers: &[crate::frame::Header], newest: Option<Limit>) -> Vec<Planned> {
    let ends = headers.iter().skip(1).map(|next| Some(Limit { end: next.prev_end, last: next.prev_seq }));
    headers.iter().zip(ends.chain([newest])).map(|(header, limit)| Planned { number: header.number, limit }).collect()
}

/// The error for a segment that should be there and is not.
pub(super) fn missing(number: u64) -> Error {
    Error::corrupt(names::wal_segment(number).as_ref(), 0, "the file is missing, though older and newer ones exist")
}
