//! Reading objects in order, a few ahead at a time.

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use runlake_storage::names;
use runlake_types::Seq;

use super::{Content, Listed, Place};
use crate::{Error, Frame};

/// Objects read at once.
const AHEAD: usize = 8;

/// Reads the frames of the objects a listing showed.
pub(crate) struct ObjectReplay {
    place: Place,
    objects: BoxStream<'static, (u64, Result<Option<Bytes>, Error>)>,
    /// An object that was read and still has to be looked at: a future dropped half-way loses nothing.
    held: Option<Content>,
    /// The next frame expected.
    next: Seq,
    /// The last frame there must be.
    last: Seq,
    trimmed: Seq,
}

impl fmt::Debug for ObjectReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { next, last, trimmed, .. } = self;
        write!(f, "ObjectReplay {{ next: {next}, last: {last}, trimmed: {trimmed} }}")
    }
}

impl ObjectReplay {
    /// Reads the frames after `trimmed` up to `last` from the objects `listed`.
    pub(super) fn new(place: Place, listed: &[Listed], last: Seq, trimmed: Seq) -> Self {
        let numbers: Vec<u64> = listed.iter().filter(|listed| !listed.is_fence()).map(|listed| listed.number).collect();
        let from = place.clone();
        let objects = stream::iter(numbers)
            .map(move |number| {
                let place = from.clone();
                async move { (number, place.get(number).await) }
            })
            .buffered(AHEAD)
            .boxed();
        Self { place, objects, held: None, next: trimmed.next(), last, trimmed }
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if self.held.is_none() {
                match self.objects.next().await {
                    None if self.next > self.last => return Ok(None),
                    None => {
                        self.pass_gap(self.last, self.trimmed).await?;
                        continue;
                    }
                    // Deleted since it was listed. Whether it may be is decided by what comes after it.
                    Some((_, Ok(None))) => continue,
                    Some((number, Ok(Some(body)))) => self.held = Some(self.place.decode(number, &body)?),
                    Some((_, Err(error))) => return Err(error),
                }
            }
            let Some(content) = &self.held else { continue };
            let (recorded, before) = (content.header.trimmed, content.header.prev_seq);
            let seq = content.frame.as_ref().map(|frame| frame.seq).filter(|seq| *seq >= self.next);
            // Numbers between `before` and `seq` were skipped by a floor; only up to `before` there ever were frames.
            if seq.is_some() && before >= self.next {
                self.pass_gap(before, recorded).await?;
            }
            let frame = self.held.take().and_then(|content| content.frame);
            // A frame below `next` is a leftover that the tables hold.
            if let (Some(seq), Some(frame)) = (seq, frame) {
                self.next = seq.next();
                return Ok(Some(frame));
            }
        }
    }

    /// Frames up to here are left out, because the tables hold them.
    pub(crate) fn trimmed(&self) -> Seq {
        self.trimmed
    }

    /// Goes on behind `through`, if the log says that the tables hold everything up to there.
    async fn pass_gap(&mut self, through: Seq, mut recorded: Seq) -> Result<(), Error> {
        if recorded < through {
            let newest = self.place.frontier().await?.1;
            recorded = newest.map_or(recorded, |newest| newest.header.trimmed.max(recorded));
        }
        if recorded < through {
            let problem = format!("the objects of frames {} to {through} are missing", self.next.max(recorded.next()));
            return Err(Error::corrupt(names::WAL, 0, problem));
        }
        self.trimmed = self.trimmed.max(through);
        self.next = self.next.max(through.next());
        Ok(())
    }
}
