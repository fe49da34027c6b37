//! The log of a lake on an object store. See the crate's documentation for the protocol.
//!
//! An object holds one frame (data), no frame (a fence), or an end mark (a note). Its header says up to where the
//! tables hold everything (`trimmed`). Objects are deleted only when that is recorded in a durable object after them,
//! so a reader can tell deleted frames from lost ones whatever order deletions happen in: everything above the newest
//! object's `trimmed` must be there. A note exists to record it when no append is due, and to be the newest object,
//! which is never deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};
use runlake_storage::{PutNew, Store, names};
use runlake_types::{Clock, Epoch, Seq};

use crate::frame::{FRAME_LEN, HEADER_LEN, Header, Kind, frame_span, nonce_bytes};
use crate::{Error, Frame, Log as _, Replay, Settings, Writer};

mod keeper;
mod log;
mod open;
mod replay;

pub(crate) use replay::ObjectReplay;

/// Becomes the writer of the lake in `store`.
pub(crate) async fn open_writer(
    store: &Store,
    lake_id: &str,
    settings: &Settings,
    takeover: bool,
    clock: Arc<dyn Clock>,
) -> Result<Writer, Error> {
    let place = Place { store: store.clone(), lake_id: lake_id.to_owned() };
    let epoch = open::acquire(&place, settings, takeover, &*clock).await?;
    let fence = open::fence(&place, epoch, &*clock).await?;
    let (last, trimmed) = (fence.last, fence.trimmed);
    let replay = ObjectReplay::new(place.clone(), &fence.listed, last, trimmed);
    let log = log::ObjectLog::new(place, &fence, epoch, clock, settings)?;
    let last_seq = log.last_seq();
    Ok(Writer { log: Box::new(log), epoch, replay: Replay::object(replay), last_seq })
}

/// Reads the log in `store` beside whoever writes it.
pub(crate) async fn read_tail(store: &Store, lake_id: &str) -> Result<Replay, Error> {
    let place = Place { store: store.clone(), lake_id: lake_id.to_owned() };
    let (listed, newest) = place.frontier().await?;
    let (last, trimmed) = newest.map_or((Seq(0), Seq(0)), |newest| (newest.last(), newest.header.trimmed));
    Ok(Replay::object(ObjectReplay::new(place, &listed, last, trimmed)))
}

/// A log's place: where its objects are, and whose they must be.
#[derive(Debug, Clone)]
struct Place {
    store: Store,
    lake_id: String,
}

/// An object of the log as a listing shows it.
#[derive(Debug, Clone)]
struct Listed {
    number: u64,
    meta: ObjectMeta,
}

impl Listed {
    /// Whether this is a fence, which alone has no frame at all.
    fn is_fence(&self) -> bool {
        self.meta.size == HEADER_LEN as u64
    }
}

/// What an object holds.
#[derive(Debug)]
struct Content {
    header: Header,
    frame: Option<Frame>,
}

impl Content {
    /// The last frame of the log at this object.
    fn last(&self) -> Seq {
        self.frame.as_ref().map_or(self.header.prev_seq, |frame| frame.seq)
    }
}

impl Place {
    /// The objects of the log, ascending.
    async fn list(&self) -> Result<Vec<Listed>, Error> {
        let found: Result<Vec<ObjectMeta>, _> =
            self.store.objects().list(Some(&Path::from(names::WAL))).try_collect().await;
        let found = found.map_err(|error| Error::object(format!("list {}/", names::WAL), &self.store, error))?;
        let numbered =
            |meta: ObjectMeta| names::wal_object_number(&meta.location).map(|number| Listed { number, meta });
        let mut listed: Vec<Listed> = found.into_iter().filter_map(numbered).collect();
        listed.sort_unstable_by_key(|object| object.number);
        Ok(listed)
    }

    /// The objects, and what the newest holds.
    async fn frontier(&self) -> Result<(Vec<Listed>, Option<Content>), Error> {
        for _ in 0..TRIES {
            let listed = self.list().await?;
            let Some(newest) = listed.last() else { return Ok((listed, None)) };
            // The newest is deleted only when there is a newer one: then look again.
            if let Some(body) = self.get(newest.number).await? {
                let content = self.decode(newest.number, &body)?;
                return Ok((listed, Some(content)));
            }
        }
        let problem = "the listing names it, but it cannot be read, time and again";
        let name = self.list().await?.last().map_or(names::WAL.to_owned(), |newest| newest.meta.location.to_string());
        Err(Error::corrupt(&name, 0, problem))
    }

    async fn get(&self, number: u64) -> Result<Option<Bytes>, Error> {
        let name = names::wal_object(number);
        self.store.get_opt(&name).await.map_err(|error| Error::store(format!("read {name}"), error))
    }

    async fn put_new(&self, number: u64, body: Bytes) -> Result<PutNew, Error> {
        let name = names::wal_object(number);
        self.store.put_new(&name, body).await.map_err(|error| Error::store(format!("write {name}"), error))
    }

    fn decode(&self, number: u64, body: &Bytes) -> Result<Content, Error> {
        let name = names::wal_object(number);
        let header = Header::decode(body, name.as_ref(), number, &self.lake_id)?;
        let at = header.body as usize;
        if body.len() <= at {
            return Ok(Content { header, frame: None });
        }
        let damaged = |problem| Err(Error::corrupt(name.as_ref(), u64::from(header.body), problem));
        let Some(frame) = header.seal().decode(&body[at..]) else {
            return damaged("the check sum of the frame's header does not fit");
        };
        if body.len() != at + frame_span(frame.len) {
            return damaged("the object is longer or shorter than its frame");
        }
        if frame.kind == Kind::End {
            return Ok(Content { header, frame: None });
        }
        let payload = body.slice(at + FRAME_LEN..at + FRAME_LEN + frame.len);
        if crc32fast::hash(&payload) != frame.crc {
            return damaged("the check sum of the frame does not fit its payload");
        }
        Ok(Content { header, frame: Some(Frame { seq: frame.seq, payload }) })
    }

    /// The error of a writer of `epoch` who finds `body` at the number that was its own to write.
    fn foreign(&self, epoch: Epoch, number: u64, body: &Bytes) -> Error {
        match self.decode(number, body) {
            Ok(content) if content.header.epoch > epoch => Error::Fenced { epoch, newer: content.header.epoch },
            Ok(content) => {
                let problem = format!("epoch {} wrote it where epoch {epoch} was about to", content.header.epoch);
                Error::corrupt(names::wal_object(number).as_ref(), 0, problem)
            }
            Err(error) => error,
        }
    }
}

/// What the next object says about the log before it.
#[derive(Debug, Clone, Copy)]
struct Position {
    epoch: Epoch,
    number: u64,
    prev_seq: Seq,
    trimmed: Seq,
}

/// What an object is written for.
#[derive(Debug, Clone, Copy)]
enum Body<'a> {
    Data(Seq, &'a [u8]),
    Fence,
    Note,
}

fn encode(lake_id: &str, position: Position, body: Body<'_>, clock: &dyn Clock) -> Result<Bytes, Error> {
    let Position { epoch, number, prev_seq, trimmed } = position;
    let header = Header {
        body: u32::try_from(HEADER_LEN).expect("a header is short"),
        epoch,
        number,
        first_seq: if let Body::Data(seq, _) = body { seq } else { prev_seq.next() },
        prev_seq,
        prev_end: 0,
        trimmed,
        created: clock.now().micros(),
        nonce: nonce_bytes(&runlake_storage::nonce()),
        lake_id: lake_id.to_owned(),
    };
    let payload = if let Body::Data(_, payload) = body { payload } else { &[] };
    let mut bytes = Vec::with_capacity(HEADER_LEN + frame_span(payload.len()));
    bytes.extend_from_slice(&header.encode());
    match body {
        Body::Data(seq, payload) => header.seal().encode(Kind::Data, seq, payload, &mut bytes)?,
        Body::Note => header.seal().encode(Kind::End, prev_seq, &[], &mut bytes)?,
        Body::Fence => {}
    }
    Ok(bytes.into())
}

/// How often something that other processes keep changing is tried.
const TRIES: u32 = 1000;

/// Objects that may be deleted, each with the last frame it holds, oldest first.
type Deletable = VecDeque<(u64, Seq)>;

#[cfg(test)]
mod tests;
