//! How many bytes of the log are still needed.

use std::collections::VecDeque;

use runlake_types::Seq;

/// Bytes of neighbouring frames share a mark, so that small frames do not make the list long.
const MARK: u64 = 256 << 10;

/// Counts the bytes of frames that no table holds yet.
#[derive(Debug, Default)]
pub(crate) struct Distance {
    /// Last sequence number and bytes of a few neighbouring frames, oldest first.
    marks: VecDeque<(Seq, u64)>,
    bytes: u64,
}

impl Distance {
    /// Counts the frame `seq`, or all frames up to it.
    pub(crate) fn add(&mut self, seq: Seq, bytes: u64) {
        self.bytes += bytes;
        match self.marks.back_mut() {
            Some((last, held)) if *held + bytes <= MARK => (*last, *held) = (seq, *held + bytes),
            _ => self.marks.push_back((seq, bytes)),
        }
    }

    /// Frames up to `seq` are needed no more.
    pub(crate) fn trim(&mut self, seq: Seq) {
        while let Some((_, bytes)) = self.marks.front().filter(|(last, _)| *last <= seq) {
            self.bytes -= bytes;
            self.marks.pop_front();
        }
    }

    /// Bytes still needed, up to 256 KiB too many.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
