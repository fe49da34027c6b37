//! The thread `wal-keeper` of a writer on an object store: signs of life, a look for a newer claim, deletions.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use runlake_storage::names;
use runlake_types::Epoch;
use tokio::runtime::Handle;

use super::Place;
use crate::Error;

/// Objects deleted before looking at the clock again.
const BATCH: usize = 256;

/// The thread's handle. Dropping it tells the thread to end, but does not wait: the drop may happen on a thread that
/// drives the very requests it is waiting for.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    handle: Handle,
    epoch: Epoch,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    delete: VecDeque<u64>,
    /// An append since the last sign of life was one by itself.
    appended: bool,
    fenced: Option<Error>,
    stop: bool,
}

impl Keeper {
    pub(super) fn start(place: Place, handle: Handle, epoch: Epoch, every: Duration) -> Result<Self, Error> {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { place, handle, epoch, state, changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wal-keeper".to_owned())
            .spawn(move || for_thread.run(every))
            .map_err(|error| Error::io("start the thread wal-keeper", error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Fails once a newer claim was seen, or the thread is gone and nobody looks for one.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(fenced) = self.shared.state().fenced.clone() {
            return Err(fenced);
        }
        match &self.thread {
            Some(thread) if thread.is_finished() => {
                Err(Error::io("go on without the thread wal-keeper", io::Error::other("it broke down")))
            }
            _ => Ok(()),
        }
    }

    /// Says that an object was written just now.
    pub(super) fn appended(&self) {
        self.shared.state().appended = true;
    }

    /// Deletes object `number` when there is time.
    pub(super) fn delete(&self, number: u64) {
        self.shared.state().delete.push_back(number);
        self.shared.changed.notify_all();
    }

    /// Finishes the deletions and ends the thread.
    pub(super) fn end(mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ended = thread.join();
        }
    }

    fn stop(&self) {
        self.shared.state().stop = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self, every: Duration) {
        let mut due = Instant::now() + every;
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if !state.delete.is_empty() {
                let many = state.delete.len().min(BATCH);
                let numbers: Vec<u64> = state.delete.drain(..many).collect();
                drop(state);
                self.handle.block_on(self.delete(numbers));
            } else if state.stop || state.fenced.is_some() {
                return;
            } else if now < due {
                state = self.changed.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            } else {
                drop(state);
            }
            if Instant::now() >= due {
                self.handle.block_on(self.beat());
                due = Instant::now() + every;
            }
            state = self.state();
        }
    }

    /// Gives a sign of life unless an append just was one, and looks for a newer claim.
    async fn beat(&self) {
        let newer = Epoch(self.epoch.0 + 1);
        match self.place.store.get_opt(&names::writer_claim(newer.0)).await {
            Ok(None) => {}
            Ok(Some(_)) => {
                let error = Error::Fenced { epoch: self.epoch, newer };
                tracing::error!(%error, "this server no longer writes");
                self.state().fenced = Some(error);
                return;
            }
            Err(error) => tracing::warn!(%error, "cannot tell whether another server took the lake over"),
        }
        if std::mem::take(&mut self.state().appended) {
            return;
        }
        let name = names::writer_heartbeat(self.epoch.0);
        let body = Bytes::from(runlake_storage::nonce());
        if let Err(source) = self.place.store.objects().put(&name, body.into()).await {
            let error = Error::object(format!("write {name}"), &self.place.store, source);
            tracing::warn!(%error, "no sign of life could be given; another server may think this one is gone");
        }
    }

    async fn delete(&self, numbers: Vec<u64>) {
        let names = stream::iter(numbers).map(|number| Ok(names::wal_object(number))).boxed();
        let mut deleted = self.place.store.objects().delete_stream(names);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                // It is listed again at the next start, and deleted then.
                Err(error) => tracing::warn!(%error, "a log object that is no longer needed stays behind"),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
