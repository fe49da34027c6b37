//! The lock that makes one process the writer of a local lake, and letting go of it when another took over.
//!
//! Every step that changes the log (an append, a renamed or deleted segment) runs under [`Lock::hold`]. A thread looks
//! once a second for a claim of a newer epoch; when there is one, no new step begins, the lock is given back when the
//! steps under way have ended, and every later step fails with [`Error::Fenced`]. So the new writer, which waits for the lock, never meets a
//! late write of the old one.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use runlake_storage::names;
use runlake_types::Epoch;

use crate::Error;

/// Tries to lock the lake under `root`; `None` when another process (or another log of this one) holds it.
pub(super) fn try_lock(root: &Path) -> Result<Option<File>, Error> {
    let path = root.join(names::WRITER_LOCK);
    let failed = |error| Error::io(format!("lock {}", path.display()), error);
    std::fs::create_dir_all(root.join(names::WRITER)).map_err(failed)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The lock as the log and its threads share it.
#[derive(Debug)]
pub(super) struct Lock {
    state: Mutex<State>,
    epoch: Epoch,
    newer_claim: PathBuf,
}

#[derive(Debug)]
struct State {
    /// Locked while it is open; `None` once given back.
    file: Option<File>,
    /// Steps under way.
    holders: usize,
    /// No new step may begin.
    leaving: bool,
}

/// A step that changes the log: the lock is not given back before it ends.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a Lock);

impl Lock {
    pub(super) fn new(file: File, root: &Path, epoch: Epoch) -> Self {
        let newer_claim = root.join(names::writer_claim(epoch.0 + 1).as_ref());
        let state = Mutex::new(State { file: Some(file), holders: 0, leaving: false });
        Self { state, epoch, newer_claim }
    }

    /// Begins a step. Fails once a newer writer has claimed the lake; never waits.
    pub(super) fn hold(&self) -> Result<Held<'_>, Error> {
        {
            let mut state = self.state();
            if state.leaving {
                return Err(self.fenced());
            }
            state.holders += 1;
        }
        let held = Held(self);
        match self.newer_claim.try_exists() {
            Ok(false) => Ok(held),
            Ok(true) => {
                self.release();
                Err(self.fenced())
            }
            Err(error) => Err(Error::io(format!("look for {}", self.newer_claim.display()), error)),
        }
    }

    /// Gives the lock back: now, or when the last step under way ends.
    pub(super) fn release(&self) {
        let mut state = self.state();
        state.leaving = true;
        if state.holders == 0 {
            state.file = None;
        }
    }

    fn fenced(&self) -> Error {
        Error::Fenced { epoch: self.epoch, newer: Epoch(self.epoch.0 + 1) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.holders -= 1;
        if state.leaving && state.holders == 0 {
            state.file = None;
        }
    }
}

/// The thread that notices a takeover while nothing is written. Ends with its owner.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(lock: &Arc<Lock>, every: Duration) -> Result<Self, Error> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (lock, signal) = (Arc::clone(lock), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("wal-watch".to_owned())
            .spawn(move || watch(&lock, &signal, every))
            .map_err(|error| Error::io("start the thread wal-watch", error))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

fn watch(lock: &Lock, (stop, changed): &(Mutex<bool>, Condvar), every: Duration) {
    let mut stopped = stop.lock().unwrap_or_else(PoisonError::into_inner);
    while !*stopped {
        stopped = changed.wait_timeout(stopped, every).unwrap_or_else(PoisonError::into_inner).0;
        match lock.hold().map(drop) {
            Err(error @ Error::Fenced { .. }) => {
                tracing::error!(%error, "this server no longer writes");
                return;
            }
            // Looking again in a moment is the best that can be done; an append would meet the error itself.
            Err(error) => tracing::warn!(%error, "cannot tell whether another server took the lake over"),
            Ok(()) => {}
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ended = thread.join();
        }
    }
}
