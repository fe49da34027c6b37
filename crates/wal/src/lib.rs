//! The write-ahead log of a lake: what was acknowledged and no table holds yet.
//!
//! # What it promises
//!
//! [`Log::append`] has made a frame durable when it returns; frames come back in order, each exactly as it was
//! appended ([`Replay`]); one writer at a time, and a writer that was superseded cannot append any more. A payload is
//! bytes to the log. It decides neither what is in it nor when it may be deleted; the engine says so by
//! [`Log::delete_through`].
//!
//! # Two logs
//!
//! **Local files** (`local`): segments `wal/<number>.seg`, filled with zeros ahead of time, each append one positioned
//! write and one `fdatasync`. A writer never appends to a segment of an earlier one: it opens the next, whose header says
//! where the log before it ends. So the end of every segment but the newest is known, and only there can a write have
//! been torn: what follows the last whole frame was never acknowledged and is passed over. A damaged frame with a later
//! one behind it is damage, not a tear: [`Error::Corrupt`]. (Damage to the very last frame cannot be told from a tear
//! unless the log was closed in good order, which leaves a mark.) Opening changes no segment; the first append makes one.
//!
//! **Objects** (`object`): each append creates `wal/<number>.wal` with put-if-absent. Numbers are consecutive and named
//! by nothing else, so two writers fight for one name and only one can win.
//!
//! # One writer
//!
//! Each server that opens a lake for writing claims the next epoch, `writer/<epoch>.json`; the highest epoch owns the lake.
//!
//! * On local files the owner also holds the lock on `writer/lock`. A second server finds it locked and is refused with
//!   the owner's name. With `takeover` it claims the next epoch and waits for the lock: the old owner looks for a newer
//!   claim before every append and once a second, stops writing and lets go. A process that hangs never lets go; the new
//!   one says so and gives up after [`Settings::takeover_wait`].
//! * On objects there is no lock. The new writer claims an epoch, then puts an empty object, the fence, at the next free
//!   number. The old writer's next append meets it and fails with [`Error::Fenced`], however late it comes: fences are
//!   kept for a week. To be polite a server refuses to start without `takeover` while the owner seems alive: its claim
//!   has not been released (a clean close creates `writer/<epoch>.released`), and its claim, its heartbeat or the newest
//!   object of the log is younger than [`Settings::lease`] by the store's own clock.
//!
//! # Numbers
//!
//! Sequence numbers are the caller's, and consecutive. The log remembers the last one for as long as it exists: the
//! newest segment or object is never deleted, and its header names the last frame before it. Where even that may be lost
//! (the folder `wal/` was removed), the caller passes the position its tables reached to [`Log::set_floor`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use runlake_storage::Store;
use runlake_types::{Clock, Epoch, Seq};

mod claim;
mod distance;
mod error;
mod frame;
mod local;
mod object;
mod replay;

pub use error::{Error, Owner};
pub use replay::{Frame, Replay};

/// Writes the log. Calls block, so it lives on a thread of its own, never on one that drives async tasks.
///
/// After an error of [`Self::append`] what the log holds is uncertain, so every later call gives the same error.
pub trait Log: Send + fmt::Debug {
    /// Appends a frame; it is durable when this returns. `seq` follows [`Self::last_seq`].
    fn append(&mut self, seq: Seq, payload: &[u8]) -> Result<(), Error>;

    /// Says that frames up to `seq` are no longer needed: the tables hold them durably. Deletion itself happens in the
    /// background. A number past the last frame means all of them.
    fn delete_through(&mut self, seq: Seq) -> Result<(), Error>;

    /// Whether appends are still possible; tells an idle writer that it was fenced. Cheap, asks no remote store.
    fn check(&mut self) -> Result<(), Error>;

    /// The log continues behind `seq` even if its own last frame is older, because tables already hold later writes (the
    /// log's files were lost). Says nothing about which frames are still needed.
    fn set_floor(&mut self, seq: Seq);

    /// The last sequence number: of the last frame, or the floor if that is higher.
    fn last_seq(&self) -> Seq;

    /// Bytes of frames that may not be deleted yet: how far the tables lag behind.
    fn bytes(&self) -> u64;

    /// How long to gather writes before an append, because appends are slow or cost money.
    fn linger(&self) -> Duration;

    /// Ends writing and gives the lake free for another server at once. Dropping a log without this is what a crash
    /// does: safe, but on objects others then wait for the lease to run out.
    fn close(&mut self) -> Result<(), Error>;
}

/// How the log works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Size of a local segment, default 64 MiB. Larger frames get a segment of their own.
    pub segment_bytes: u64,
    /// Empty local segments kept for later use, default 2.
    pub recycled_segments: usize,
    /// How often an idle local writer looks whether another took over, default 1 s.
    pub watch_interval: Duration,
    /// How long a local takeover waits for the old owner to let go, default 10 s.
    pub takeover_wait: Duration,
    /// Objects: how long writes gather before a PUT, default 100 ms. Bounds the number of PUTs.
    pub object_linger: Duration,
    /// Objects: without a sign of life for this long an owner counts as gone, default 30 s. It gives one three times as
    /// often.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            recycled_segments: 2,
            watch_interval: Duration::from_secs(1),
            takeover_wait: Duration::from_secs(10),
            object_linger: Duration::from_millis(100),
            lease: Duration::from_secs(30),
        }
    }
}

/// A log opened for writing.
#[derive(Debug)]
pub struct Writer {
    /// Appends to the log.
    pub log: Box<dyn Log>,
    /// The epoch that was claimed.
    pub epoch: Epoch,
    /// The frames that were there. Read it to the end before anything is deleted past what was read.
    pub replay: Replay,
    /// The last sequence number the log knows of; 0 for a new log. The next append has the one after it.
    pub last_seq: Seq,
}

impl Writer {
    /// Raises [`Self::last_seq`] to what the tables hold. See [`Log::set_floor`].
    pub fn set_floor(&mut self, seq: Seq) {
        self.log.set_floor(seq);
        self.last_seq = self.log.last_seq();
    }
}

/// Becomes the writer of a lake. With `takeover` an owner that is still there is fenced off.
///
/// Damage found here ([`Error::Corrupt`]) or while replaying leaves every file of the log as it was.
pub async fn open_writer(
    store: &Store,
    lake_id: &str,
    settings: &Settings,
    takeover: bool,
    clock: Arc<dyn Clock>,
) -> Result<Writer, Error> {
    debug_assert!(frame::lake_id_fits(lake_id), "lake ids are short");
    match store.local_root() {
        Some(root) => local::open_writer(store, root, lake_id, settings, takeover, clock).await,
        None => object::open_writer(store, lake_id, settings, takeover, clock).await,
    }
}

/// Reads the log without becoming its writer, while another process may write it. Sees every frame that was
/// acknowledged before the call; may see some that were after.
pub async fn read_tail(store: &Store, lake_id: &str) -> Result<Replay, Error> {
    match store.local_root() {
        Some(root) => local::read_tail(root, lake_id).await,
        None => object::read_tail(store, lake_id).await,
    }
}

#[cfg(test)]
mod tests;
