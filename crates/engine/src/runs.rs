//! State of runs that are being written, for checks before a write.
//!
//! A service locks the entry of a run, checks its write against the state, submits it and notes the change, and waits for
//! the acknowledgement without the lock. So the state may hold writes that are not durable yet: it serves checks only;
//! answers come from a [`View`](crate::View). An entry stays as long as a write of it is under way; the others are kept
//! up to a bound and loaded again when needed.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use runlake_types::rows::{Param, Row as _, Run, Tag};
use runlake_types::{Change, KeyBuilder, RunId, WriteBatch};
use rustc_hash::FxHashMap;

use crate::engine::Inner;
use crate::writer::{Ticket, Writer};
use crate::{Error, Result, View};

const SHARDS: usize = 16;
/// Entries of a shard before idle ones are dropped.
const SHARD_ENTRIES: usize = 2048;

/// Memory of an entry beside its params and tags, and of each of these beside its text.
const ENTRY_BYTES: usize = 600;
const TEXT_BYTES: usize = 64;

/// What a write to a run is checked against.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    /// The run.
    pub run: Run,
    /// Its params.
    pub params: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl RunState {
    /// Memory it takes, roughly.
    fn bytes(&self) -> usize {
        let texts = self.params.iter().chain(&self.tags);
        ENTRY_BYTES + texts.map(|(key, value)| TEXT_BYTES + key.len() + value.len()).sum::<usize>()
    }
}

/// A run's state behind its lock.
#[derive(Debug)]
pub struct RunEntry {
    run_id: RunId,
    state: Mutex<Slot>,
    used: AtomicBool,
    writer: Option<Arc<Writer>>,
    size: Size,
}

/// Memory of an entry, roughly: what it was loaded with, and what was written since. Part of the sum of all.
#[derive(Debug)]
struct Size {
    bytes: AtomicUsize,
    all: Arc<AtomicUsize>,
}

impl Size {
    fn new(bytes: usize, all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes: AtomicUsize::new(bytes), all: Arc::clone(all) }
    }

    fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Size {
    fn drop(&mut self) {
        self.all.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Slot {
    state: RunState,
    /// Number of the last submit that concerned this run.
    submitted: u64,
}

impl RunEntry {
    /// Which run it is, known without its lock.
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// Locks the run. Not to be held across an await.
    pub fn lock(&self) -> RunGuard<'_> {
        self.used.store(true, Ordering::Relaxed);
        RunGuard { slot: self.state.lock(), writer: self.writer.as_ref(), size: &self.size }
    }

    fn is_idle(&self) -> bool {
        match (self.state.try_lock(), &self.writer) {
            (Some(slot), Some(writer)) => writer.is_applied(slot.submitted),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// A locked run.
#[derive(Debug)]
pub struct RunGuard<'a> {
    slot: MutexGuard<'a, Slot>,
    writer: Option<&'a Arc<Writer>>,
    size: &'a Size,
}

impl RunGuard<'_> {
    /// Queues a write that concerns this run. The caller then notes the change in the state.
    pub fn submit(&mut self, batch: WriteBatch) -> Result<Ticket> {
        let written = batch.changes.iter().map(Change::bytes).sum();
        let ticket = self.writer.ok_or(Error::ReadOnly)?.submit(batch)?;
        self.size.grow(written);
        self.slot.submitted = ticket.number();
        Ok(ticket)
    }

    /// Notes that a write submitted elsewhere (many runs in one write) concerns this run, whose state grew by `bytes`.
    /// Whoever locks several runs does so in the order of their ids.
    pub fn joined(&mut self, ticket: &Ticket, bytes: usize) {
        self.size.grow(bytes);
        self.slot.submitted = self.slot.submitted.max(ticket.number());
    }
}

impl Deref for RunGuard<'_> {
    type Target = RunState;

    fn deref(&self) -> &RunState {
        &self.slot.state
    }
}

impl DerefMut for RunGuard<'_> {
    fn deref_mut(&mut self) -> &mut RunState {
        &mut self.slot.state
    }
}

#[derive(Debug, Default)]
struct Shard {
    entries: FxHashMap<RunId, Arc<RunEntry>>,
    /// How many times entries were dropped: one that was loaded meanwhile may be older than what was dropped.
    evictions: u64,
}

/// The states of the runs that are being written.
#[derive(Debug)]
pub struct RunStates {
    shards: Vec<Mutex<Shard>>,
    /// Bytes of all entries.
    bytes: Arc<AtomicUsize>,
    inner: Weak<Inner>,
}

impl RunStates {
    pub(crate) fn new(inner: Weak<Inner>) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), bytes: Arc::default(), inner }
    }

    /// The entry of a run, loaded if need be; `None` when there is no such run.
    pub async fn get(&self, run_id: &RunId) -> Result<Option<Arc<RunEntry>>> {
        loop {
            let evictions = {
                let shard = self.shard(run_id).lock();
                if let Some(entry) = shard.entries.get(run_id) {
                    return Ok(Some(Arc::clone(entry)));
                }
                shard.evictions
            };
            let inner = self.inner.upgrade().ok_or_else(|| Error::Stopped("it was closed".into()))?;
            let Some(state) = load(&inner.state.view(), run_id).await? else {
                return Ok(None);
            };
            let mut shard = self.shard(run_id).lock();
            // Somebody else may have loaded it meanwhile, and written to it: theirs stays. If theirs was dropped again,
            // what was loaded here may lack what they wrote.
            if shard.entries.contains_key(run_id) || shard.evictions == evictions {
                return Ok(Some(self.enter(&mut shard, state)));
            }
        }
    }

    /// Enters a run that was just made. An entry that is there already stays.
    pub fn insert(&self, state: RunState) -> Arc<RunEntry> {
        let mut shard = self.shard(&state.run.run_id).lock();
        self.enter(&mut shard, state)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn enter(&self, shard: &mut Shard, state: RunState) -> Arc<RunEntry> {
        let inner = self.inner.upgrade();
        let limit = inner.as_ref().map_or(usize::MAX, |inner| inner.settings.run_states_limit());
        if shard.entries.len() >= SHARD_ENTRIES {
            shard.evict();
        }
        if self.bytes.load(Ordering::Relaxed) > limit {
            // Used a moment ago or not: the second sweep finds them all unused.
            shard.evict();
            shard.evict();
        }
        let size = Size::new(state.bytes(), &self.bytes);
        let entry = shard.entries.entry(state.run.run_id.clone()).or_insert_with(|| {
            Arc::new(RunEntry {
                run_id: state.run.run_id.clone(),
                state: Mutex::new(Slot { state, submitted: 0 }),
                used: AtomicBool::new(true),
                writer: inner.and_then(|inner| inner.writer().cloned()),
                size,
            })
        });
        Arc::clone(entry)
    }

    fn shard(&self, run_id: &RunId) -> &Mutex<Shard> {
        use std::hash::BuildHasher as _;
        let hash = rustc_hash::FxBuildHasher.hash_one(run_id);
        &self.shards[usize::try_from(hash >> 56).unwrap_or(0) % SHARDS]
    }
}

impl Shard {
    /// Drops entries nobody holds, nobody writes to and nobody used since the last time.
    fn evict(&mut self) {
        self.evictions += 1;
        self.entries.retain(|_, entry| {
            let recently = entry.used.swap(false, Ordering::Relaxed);
            recently || Arc::strong_count(entry) > 1 || !entry.is_idle()
        });
    }
}

async fn load(view: &View, run_id: &RunId) -> Result<Option<RunState>> {
    let key = KeyBuilder::default().text(run_id.as_str()).build();
    let Some(run) = view.get::<Run>(&key).await? else {
        return Ok(None);
    };
    debug_assert_eq!(run.key(), key);
    let params = view.scan::<Param>(&key).await?.into_iter().map(|param| (param.key, param.value)).collect();
    let tags = view.scan::<Tag>(&key).await?.into_iter().map(|tag| (tag.key, tag.value)).collect();
    Ok(Some(RunState { run, params, tags }))
}
