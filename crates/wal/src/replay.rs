//! Frames on their way out of the log.

use std::collections::VecDeque;

use bytes::Bytes;
use runlake_types::Seq;
use tokio::task::JoinHandle;

use crate::Error;
use crate::local::LocalReplay;
use crate::object::ObjectReplay;

/// What one append wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its position in the log.
    pub seq: Seq,
    /// What was appended.
    pub payload: Bytes,
}

/// Reads the frames of a log in the order of their sequence numbers. Holds a few frames at a time, never the whole log.
///
/// Consecutive frames have consecutive numbers, except where the log was trimmed: there the tables hold what is
/// missing. That happens at the start; below a floor ([`crate::Log::set_floor`]); and in [`crate::read_tail`] when the
/// writer trims while this reads. [`Self::trimmed`] says up to where.
#[derive(Debug)]
pub struct Replay {
    source: Source,
    ready: VecDeque<Frame>,
}

#[derive(Debug)]
enum Source {
    Local(LocalState),
    Object(Box<ObjectReplay>),
}

/// The reader, what it read, and how that went.
type Batch = (Box<LocalReplay>, VecDeque<Frame>, Result<(), Error>);

/// A batch is read on a thread that may block; the reader goes there and comes back.
#[derive(Debug)]
enum LocalState {
    Here(Box<LocalReplay>),
    Away(JoinHandle<Batch>, Seq),
    Ended(Seq),
    Failed(Error),
}

impl Replay {
    pub(crate) fn local(replay: LocalReplay) -> Self {
        Self { source: Source::Local(LocalState::Here(Box::new(replay))), ready: VecDeque::new() }
    }

    pub(crate) fn object(replay: ObjectReplay) -> Self {
        Self { source: Source::Object(Box::new(replay)), ready: VecDeque::new() }
    }

    /// The next frame; `None` at the end of the log. A future dropped half-way loses nothing.
    pub async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            match &mut self.source {
                Source::Object(replay) => return replay.next().await,
                Source::Local(LocalState::Ended(_)) => return Ok(None),
                Source::Local(LocalState::Failed(error)) => return Err(error.clone()),
                Source::Local(state) => self.ready = state.read().await,
            }
        }
    }

    /// Frames up to here are left out, because the tables hold them. Final once [`Self::next`] has answered `None`.
    ///
    /// A reader beside a live writer must use table snapshots that were taken after the replay ended, or at least hold
    /// everything up to here; else it reads the log again.
    pub fn trimmed(&self) -> Seq {
        match &self.source {
            Source::Local(LocalState::Here(replay)) => replay.trimmed(),
            Source::Local(LocalState::Away(_, trimmed) | LocalState::Ended(trimmed)) => *trimmed,
            Source::Local(LocalState::Failed(_)) => Seq(0),
            Source::Object(replay) => replay.trimmed(),
        }
    }
}

impl LocalState {
    /// Reads a batch. The state is never left half-way, wherever this is dropped.
    async fn read(&mut self) -> VecDeque<Frame> {
        if let Self::Here(replay) = self {
            let trimmed = replay.trimmed();
            let Self::Here(mut replay) = std::mem::replace(self, Self::Ended(trimmed)) else { return VecDeque::new() };
            let task = tokio::task::spawn_blocking(move || {
                let mut frames = VecDeque::new();
                let read = replay.read(&mut frames);
                (replay, frames, read)
            });
            *self = Self::Away(task, trimmed);
        }
        let Self::Away(task, _) = self else { return VecDeque::new() };
        let (state, frames) = match task.await {
            Ok((_, frames, Err(error))) => (Self::Failed(error), frames),
            Ok((replay, frames, Ok(()))) if frames.is_empty() => (Self::Ended(replay.trimmed()), frames),
            Ok((replay, frames, Ok(()))) => (Self::Here(replay), frames),
            Err(error) => (Self::Failed(Error::io("read the log", error.into())), VecDeque::new()),
        };
        *self = state;
        frames
    }
}
