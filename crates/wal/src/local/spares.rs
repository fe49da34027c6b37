//! Segments made ready ahead of time.
//!
//! An append into a file whose blocks exist and were written costs a third of one that makes the file grow, so a
//! segment is filled with zeros before its first use. The thread `wal-spares` keeps one such file ready, and takes back
//! the segments that are no longer needed: a few become spares by a rename, the rest are deleted. Frames left in a
//! recycled file do not fit the nonce of its next life.
//!
//! Order matters for what a power failure may leave behind. Segments go oldest first, each rename or removal synced
//! before the next, so that the segments that exist are always a run of numbers without a hole. And a recycled file is
//! on offer only when its rename is on stable storage: else its old name could come back with its new content.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use object_store::path::Path as Name;
use runlake_storage::names;
use runlake_types::Epoch;

use super::lock::Lock;
use super::segment::{Folder, file_name};
use crate::Error;

/// Written at once when a file is filled.
const BLOCK: usize = 1 << 20;
/// Ending of a spare that is not filled yet.
const UNFINISHED: &str = "unfinished";

/// Hands out files of full size.
#[derive(Debug)]
pub(super) struct Spares {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    folder: Folder,
    lock: Arc<Lock>,
    bytes: u64,
    keep: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<PathBuf>,
    retired: VecDeque<PathBuf>,
    wanted: bool,
    failed: Option<Error>,
    next: u64,
    stop: bool,
}

impl Spares {
    /// Starts the thread. `bytes` is the size of a segment, `keep` the most files kept. Nothing is written
    /// before the first [`Self::want`]. Names carry the epoch: a fenced writer may still be filling one of its own.
    pub(super) fn start(
        folder: Folder,
        (lock, epoch): (Arc<Lock>, Epoch),
        bytes: u64,
        keep: usize,
    ) -> Result<Self, Error> {
        let next = epoch.0 << 32;
        let state = Mutex::new(State { ready: found(&folder, bytes)?, next, ..State::default() });
        let shared = Arc::new(Shared { folder, lock, bytes, keep, state, changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wal-spares".to_owned())
            .spawn(move || for_thread.run())
            .map_err(|error| Error::io("start the thread wal-spares", error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has a file made ready unless there is one.
    pub(super) fn want(&self) {
        self.shared.state().wanted = true;
        self.shared.changed.notify_all();
    }

    /// A file of full size if one is ready now.
    pub(super) fn try_take(&self) -> Option<PathBuf> {
        self.shared.state().ready.pop()
    }

    /// A file of full size; waits until it is ready. An attempt that failed while nobody waited (a disk that was full
    /// for a while) is tried once more.
    pub(super) fn take(&self) -> Result<PathBuf, Error> {
        let mut state = self.shared.state();
        state.failed = None;
        loop {
            if let Some(path) = state.ready.pop() {
                return Ok(path);
            }
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            state.wanted = true;
            self.shared.changed.notify_all();
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes a file of `bytes` here and now.
    pub(super) fn make(&self, bytes: u64) -> Result<PathBuf, Error> {
        let path = self.shared.new_path();
        make(&path, bytes, || false)?;
        Ok(path)
    }

    /// Takes back a segment that holds nothing anybody needs.
    pub(super) fn retire(&self, segment: PathBuf) {
        self.shared.state().retired.push_back(segment);
        self.shared.changed.notify_all();
    }
}

impl Spares {
    /// Ends the thread and removes the files that are ready: a lake at rest takes no more room than its rows. What cannot
    /// be removed is found at the next start.
    pub(super) fn discard(mut self) {
        self.end();
        for spare in self.shared.state().ready.drain(..) {
            let _left = std::fs::remove_file(spare);
        }
    }

    fn end(&mut self) {
        self.shared.state().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ended = thread.join();
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state();
        loop {
            if let Some(path) = state.retired.pop_front() {
                let recycle = state.ready.len() < self.keep;
                drop(state);
                self.take_back(&path, recycle);
            } else if state.stop {
                return;
            } else if state.wanted && state.ready.is_empty() && state.failed.is_none() {
                drop(state);
                self.prepare();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.state();
        }
    }

    fn prepare(&self) {
        let path = self.new_path();
        let made = make(&path, self.bytes, || self.state().stop);
        let mut state = self.state();
        match made {
            Ok(true) => state.ready.push(path),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot prepare the next log segment; trying again when it is needed");
                state.failed = Some(error);
            }
        }
        state.wanted = false;
        self.changed.notify_all();
    }

    fn take_back(&self, segment: &Path, recycle: bool) {
        let path = self.new_path();
        let done = self.lock.hold().and_then(|_held| {
            let full = std::fs::metadata(segment).is_ok_and(|meta| meta.len() == self.bytes);
            if recycle && full {
                std::fs::rename(segment, &path)
                    .map_err(|error| Error::io(format!("recycle {}", segment.display()), error))?;
                self.folder.sync()?;
                self.state().ready.push(path);
                self.changed.notify_all();
                return Ok(());
            }
            std::fs::remove_file(segment).map_err(|error| Error::io(format!("delete {}", segment.display()), error))?;
            self.folder.sync()
        });
        if let Err(error) = done {
            // What is left over is read again at the next start, and deleted then: harmless, but worth knowing.
            tracing::warn!(%error, "a log segment that is no longer needed stays behind");
        }
    }

    fn new_path(&self) -> PathBuf {
        let mut state = self.state();
        state.next += 1;
        self.folder.path.join(file_name(&names::wal_spare(state.next)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The spares an earlier process left; those of another size, or not filled to the end, are removed.
fn found(folder: &Folder, bytes: u64) -> Result<Vec<PathBuf>, Error> {
    let mut ready = Vec::new();
    for file in folder.file_names()? {
        let path = folder.path.join(&file);
        let unfinished = path.extension().is_some_and(|ending| ending == UNFINISHED);
        let spare = names::wal_spare_number(&Name::from_iter([names::WAL, file.as_str()])).is_some();
        if spare && std::fs::metadata(&path).is_ok_and(|meta| meta.len() == bytes) {
            ready.push(path);
        } else if unfinished || spare {
            std::fs::remove_file(&path).map_err(|error| Error::io(format!("delete {}", path.display()), error))?;
        }
    }
    Ok(ready)
}

/// Makes a synced file of zeros; `false` when `stop` said so before the end.
fn make(path: &Path, bytes: u64, stop: impl Fn() -> bool) -> Result<bool, Error> {
    let staged = path.with_extension(UNFINISHED);
    let filled = || -> io::Result<bool> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&staged)?;
        let block = vec![0; BLOCK];
        let mut left = bytes;
        while left > 0 {
            if stop() {
                return Ok(false);
            }
            let now = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            file.write_all(&block[..now])?;
            left -= now as u64;
        }
        file.sync_all()?;
        std::fs::rename(&staged, path)?;
        Ok(true)
    };
    filled().map_err(|error| Error::io(format!("fill {} with {bytes} bytes of zeros", path.display()), error))
}
