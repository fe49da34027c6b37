//! Appending by creating objects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runlake_storage::{PutNew, names};
use runlake_types::{Clock, Epoch, Seq};
use tokio::runtime::Handle;

use super::keeper::Keeper;
use super::open::Fenced;
use super::{Body, Deletable, Place, Position, encode};
use crate::distance::Distance;
use crate::frame::frame_span;
use crate::{Error, Log, Settings};

/// A log in created objects. One PUT is under way at a time.
#[derive(Debug)]
pub(super) struct ObjectLog {
    place: Place,
    handle: Handle,
    epoch: Epoch,
    clock: Arc<dyn Clock>,
    linger: Duration,
    /// Number of the next object.
    next_number: u64,
    /// The last sequence number, by a frame or by a floor.
    last: Seq,
    /// The last frame in an object.
    written: Seq,
    /// Frames up to here are needed no more.
    trimmed: Seq,
    /// The same as the newest object says it.
    recorded: Seq,
    deletable: Deletable,
    distance: Distance,
    failed: Option<Error>,
    keeper: Option<Keeper>,
}

impl ObjectLog {
    pub(super) fn new(
        place: Place,
        fence: &Fenced,
        epoch: Epoch,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let handle = Handle::current();
        let mut distance = fence.distance();
        distance.trim(fence.trimmed);
        Ok(Self {
            keeper: Some(Keeper::start(place.clone(), handle.clone(), epoch, settings.lease / 3)?),
            place,
            handle,
            epoch,
            clock,
            linger: settings.object_linger,
            next_number: fence.number + 1,
            last: fence.last.max(fence.trimmed),
            written: fence.last,
            trimmed: fence.trimmed,
            recorded: fence.trimmed,
            deletable: fence.deletable(),
            distance,
            failed: None,
        })
    }

    fn try_append(&mut self, seq: Seq, payload: &[u8]) -> Result<(), Error> {
        if seq != self.last.next() {
            return Err(Error::OutOfOrder { expected: self.last.next(), got: seq });
        }
        self.put(Body::Data(seq, payload))?;
        self.distance.add(seq, frame_span(payload.len()) as u64);
        (self.last, self.written) = (seq, seq);
        self.deletable.push_back((self.next_number - 1, seq));
        self.sweep();
        Ok(())
    }

    fn try_delete(&mut self, seq: Seq) -> Result<(), Error> {
        self.trimmed = self.trimmed.max(seq.min(self.last));
        self.distance.trim(self.trimmed);
        if self.trimmed > self.recorded && self.deletable.iter().any(|(_, last)| *last <= self.trimmed) {
            self.put(Body::Note)?;
            self.deletable.push_back((self.next_number - 1, self.written));
        }
        self.sweep();
        Ok(())
    }

    /// Creates the next object.
    fn put(&mut self, body: Body<'_>) -> Result<(), Error> {
        let Some(keeper) = &self.keeper else { return Err(Error::Closed) };
        keeper.check()?;
        let (number, trimmed) = (self.next_number, self.trimmed);
        let position = Position { epoch: self.epoch, number, prev_seq: self.written, trimmed };
        let body = encode(&self.place.lake_id, position, body, &*self.clock)?;
        match self.handle.block_on(self.place.put_new(number, body))? {
            PutNew::Created => {
                self.next_number += 1;
                self.recorded = trimmed;
                keeper.appended();
                Ok(())
            }
            PutNew::Taken(body) => Err(self.place.foreign(self.epoch, number, &body)),
        }
    }

    /// Hands over the objects that hold nothing needed any more. The newest stays: it says where the log stands.
    fn sweep(&mut self) {
        let newest = self.next_number - 1;
        let goes = |(number, last): &&(u64, Seq)| *last <= self.recorded && *number < newest;
        while let Some((number, _)) = self.deletable.front().filter(goes).copied() {
            self.deletable.pop_front();
            if let Some(keeper) = &self.keeper {
                keeper.delete(number);
            }
        }
    }

    fn release(&self) -> Result<(), Error> {
        let name = names::writer_released(self.epoch.0);
        let put = self.handle.block_on(self.place.store.put_new(&name, Bytes::from(runlake_storage::nonce())));
        put.map(drop).map_err(|error| Error::store(format!("write {name}"), error))
    }

    fn check_failed(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl Log for ObjectLog {
    fn append(&mut self, seq: Seq, payload: &[u8]) -> Result<(), Error> {
        self.check_failed()?;
        self.try_append(seq, payload).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn delete_through(&mut self, seq: Seq) -> Result<(), Error> {
        self.check_failed()?;
        self.try_delete(seq).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn check(&mut self) -> Result<(), Error> {
        self.check_failed()?;
        let fenced = self.keeper.as_ref().map_or(Ok(()), Keeper::check);
        fenced.inspect_err(|error| self.failed = Some(error.clone()))
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
        self.linger
    }

    fn close(&mut self) -> Result<(), Error> {
        let failed = self.failed.replace(Error::Closed);
        if let Some(keeper) = self.keeper.take() {
            keeper.end();
        }
        match failed {
            None => self.release(),
            Some(Error::Closed) => Ok(()),
            Some(error) => Err(error),
        }
    }
}
