//! The queries that are being read, so that they can be cancelled by what their readers hold: a ticket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Queries by the id in their tickets. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<String, Entry>>>);

/// Several readers may share an id: those of the parts of one answer.
#[derive(Debug, Default)]
struct Entry {
    cancelled: CancellationToken,
    readers: usize,
}

/// A place among the running queries, held for as long as its answer is read.
#[derive(Debug)]
pub(super) struct Place {
    running: Running,
    id: String,
    /// Cancelled when somebody cancels the query.
    pub(super) cancelled: CancellationToken,
}

impl Running {
    /// Enters a reader.
    pub(super) fn enter(&self, id: &str) -> Place {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = running.entry(id.to_owned()).or_default();
        entry.readers += 1;
        Place { running: self.clone(), id: id.to_owned(), cancelled: entry.cancelled.clone() }
    }

    /// Cancels a query; whether anybody was reading it.
    pub(super) fn cancel(&self, id: &str) -> bool {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(id).inspect(|entry| entry.cancelled.cancel()).is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = running.get_mut(&self.id) {
            entry.readers -= 1;
            if entry.readers == 0 {
                running.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_readers_of_an_id_are_cancelled_and_nothing_is_kept() {
        let running = Running::default();
        let (one, two, other) = (running.enter("a"), running.enter("a"), running.enter("b"));
        drop(two);
        let two = running.enter("a");
        assert!(running.cancel("a"));
        assert!(one.cancelled.is_cancelled() && two.cancelled.is_cancelled() && !other.cancelled.is_cancelled());
        drop((one, two, other));
        assert!(!running.cancel("a") && !running.cancel("b"));
        assert!(running.0.lock().expect("no panic").is_empty());
    }
}
