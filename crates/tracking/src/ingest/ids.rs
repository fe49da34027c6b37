//! Names of batches: what was written under one is not written again.
//!
//! A name is a row of `ingested_batches`, written together with the batch's own rows, so that both survive a crash or
//! neither does. In memory there is a number for each name that is remembered (a name that has none is new, which costs
//! no look at files), and the batches that are under way: who sends one of those again waits for its fate.

use std::future::Future;
use std::hash::BuildHasher as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Shared;
use parking_lot::Mutex;
use runlake_engine::Ticket;
use runlake_types::rows::{IngestedBatch, Row as _};
use runlake_types::{Key, KeyBuilder, Seq, TableId, Timestamp, WriteBatch};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::watch;

use crate::{Error, Result, Tracking, text};

/// How long a name is remembered at least.
const REMEMBERED: Duration = Duration::from_hours(7 * 24);
/// How often names that are older are looked for.
const SWEEP_EVERY: Duration = Duration::from_hours(6);
/// Names that one sweep forgets at most: it is part of somebody's call.
const SWEPT_AT_ONCE: usize = 20_000;
/// Names that have a number in memory at most; with more of them, each batch costs a look at files.
const MOST_NUMBERS: usize = 4 << 20;
/// Characters of a name.
const CHARS: usize = 64;

/// The name a sender gave a batch, which is theirs alone: other users' names are others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchId {
    user: Box<str>,
    id: Box<str>,
}

impl BatchId {
    /// The name `id` of `user`: 1 to 64 letters, digits, `_` and `-`.
    pub fn parse(user: &str, id: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if id.is_empty() || id.len() > CHARS || !id.bytes().all(fits) {
            let shown: String = id.chars().take(CHARS).collect();
            return Err(Error::invalid(format!(
                "the batch_id {} is not 1 to {CHARS} letters (a to z, A to Z), digits, '_' and '-'",
                text::quoted(&shown)
            )));
        }
        Ok(Self { user: user.into(), id: id.into() })
    }

    fn key(&self) -> Key {
        KeyBuilder::default().text(&self.user).text(&self.id).build()
    }
}

/// What is to become of a queued write. Clones wait for the same.
#[derive(Debug, Clone)]
pub(super) struct Fate(Shared<Ticket>);

impl Fate {
    pub(super) fn of(ticket: Ticket) -> Self {
        Self(ticket.shared())
    }
}

impl Future for Fate {
    type Output = runlake_engine::Result<Seq>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(context)
    }
}

/// A batch that is under way.
#[derive(Debug)]
enum UnderWay {
    /// It is being checked; the other end goes away when that is over.
    Checked(watch::Receiver<()>),
    /// It is on its way to the log.
    Queued(Fate),
}

/// The names of the batches of a lake.
#[derive(Debug, Default)]
pub(crate) struct BatchIds {
    under_way: Mutex<FxHashMap<BatchId, UnderWay>>,
    remembered: Mutex<Option<Remembered>>,
    /// Held by who reads the names.
    reading: tokio::sync::Mutex<()>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug)]
struct Remembered {
    /// A number for each name; `None` when there are too many, or they are being read.
    numbers: Option<FxHashSet<u64>>,
    /// Those that came while they were being read.
    meanwhile: FxHashSet<u64>,
    is_being_read: bool,
    next_sweep: Timestamp,
}

impl BatchIds {
    /// Whether a name may be one that is remembered.
    fn may_know(&self, id: &BatchId) -> bool {
        let number = self.number(&id.key());
        let remembered = self.remembered.lock();
        let numbers = remembered.as_ref().and_then(|remembered| remembered.numbers.as_ref());
        numbers.is_none_or(|numbers| numbers.contains(&number))
    }

    fn remember(&self, id: &BatchId) {
        let number = self.number(&id.key());
        let mut remembered = self.remembered.lock();
        let Some(remembered) = remembered.as_mut() else { return };
        if remembered.is_being_read {
            remembered.meanwhile.insert(number);
        }
        if let Some(known) = &mut remembered.numbers {
            known.insert(number);
            if known.len() > MOST_NUMBERS {
                remembered.numbers = None;
            }
        }
    }

    fn number(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key.as_bytes())
    }

    /// The write of a batch came to its end.
    pub(crate) fn settled(&self, id: &BatchId) {
        self.under_way.lock().remove(id);
    }
}

/// What became of the wish to write under a name.
pub(super) enum Claimed {
    /// Nobody did yet: go on.
    New(Claim),
    /// It was written, or will be when its fate comes true.
    Written(Option<Fate>),
}

/// The right to write a batch of this name. Dropped, somebody else may.
#[derive(Debug)]
pub(super) struct Claim {
    tracking: Tracking,
    id: BatchId,
    is_queued: bool,
    /// Its end wakes those who wait for the outcome of the checks.
    _waiting: watch::Sender<()>,
}

impl Claim {
    /// User and name.
    pub(super) fn name(&self) -> (String, String) {
        (self.id.user.to_string(), self.id.id.to_string())
    }

    /// The batch is queued: from now on its name is taken.
    pub(super) fn submitted(mut self, fate: Fate) -> BatchId {
        let ids = &self.tracking.inner.batch_ids;
        ids.remember(&self.id);
        ids.under_way.lock().insert(self.id.clone(), UnderWay::Queued(fate));
        self.is_queued = true;
        self.id.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_queued {
            self.tracking.inner.batch_ids.settled(&self.id);
        }
    }
}

impl Tracking {
    /// Claims a name, once nobody else does.
    pub(super) async fn claim(&self, id: BatchId) -> Result<Claimed> {
        let ids = &self.inner.batch_ids;
        self.read_batch_ids().await?;
        let claim = loop {
            let mut others = {
                let mut under_way = ids.under_way.lock();
                match under_way.get(&id) {
                    Some(UnderWay::Queued(fate)) => return Ok(Claimed::Written(Some(fate.clone()))),
                    Some(UnderWay::Checked(others)) => others.clone(),
                    None => {
                        let (sender, receiver) = watch::channel(());
                        under_way.insert(id.clone(), UnderWay::Checked(receiver));
                        break Claim { tracking: self.clone(), id, is_queued: false, _waiting: sender };
                    }
                }
            };
            // Nothing is ever sent: this ends when the other claim does.
            let _ended = others.changed().await;
        };
        if ids.may_know(&claim.id) && self.inner.engine.view().get::<IngestedBatch>(&claim.id.key()).await?.is_some() {
            return Ok(Claimed::Written(None));
        }
        Ok(Claimed::New(claim))
    }

    /// Reads the names that are remembered, the first time and every few hours, and forgets the old ones.
    async fn read_batch_ids(&self) -> Result<()> {
        let ids = &self.inner.batch_ids;
        let is_due = || ids.remembered.lock().as_ref().is_none_or(|remembered| remembered.next_sweep <= self.now());
        if !is_due() {
            return Ok(());
        }
        let _reading = ids.reading.lock().await;
        if !is_due() {
            return Ok(());
        }
        let now = self.now();
        let old = now.earlier_by(REMEMBERED);
        // What is queued from here on is noted apart: the view below may not show it.
        let reading =
            Remembered { numbers: None, meanwhile: FxHashSet::default(), is_being_read: true, next_sweep: now };
        *ids.remembered.lock() = Some(reading);
        let mut numbers: FxHashSet<u64> = ids.under_way.lock().keys().map(|id| ids.number(&id.key())).collect();
        let mut forgotten = WriteBatch::default();
        for row in self.inner.engine.view().scan::<IngestedBatch>(&KeyBuilder::default().build()).await? {
            if row.time < old && forgotten.changes.len() < SWEPT_AT_ONCE {
                forgotten.delete(TableId::IngestedBatches, row.key());
            } else {
                numbers.insert(ids.number(&row.key()));
            }
        }
        if !forgotten.is_empty() {
            tracing::debug!(batches = forgotten.changes.len(), "names of old batches are forgotten");
            self.inner.engine.submit(forgotten)?.await?;
        }
        let next_sweep = Timestamp::from_micros(
            now.micros().saturating_add(i64::try_from(SWEEP_EVERY.as_micros()).unwrap_or(i64::MAX)),
        );
        let mut remembered = ids.remembered.lock();
        numbers.extend(remembered.take().into_iter().flat_map(|remembered| remembered.meanwhile));
        *remembered = Some(Remembered {
            numbers: (numbers.len() <= MOST_NUMBERS).then_some(numbers),
            meanwhile: FxHashSet::default(),
            is_being_read: false,
            next_sweep,
        });
        Ok(())
    }
}
