//! What was made of objects lately, kept in memory, so that a second look at an object asks the store for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::path::Path;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Values made of the objects that were read last, within a budget of bytes. For objects that never change: nothing here is
/// ever stale.
#[derive(Debug)]
pub struct Recent<V> {
    budget_bytes: usize,
    inner: Mutex<Inner<V>>,
    found: AtomicU64,
    missed: AtomicU64,
}

#[derive(Debug)]
struct Inner<V> {
    entries: FxHashMap<Path, Entry<V>>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    bytes: usize,
    last_use: u64,
}

impl<V> Recent<V> {
    /// Keeps values of so many bytes together.
    pub fn new(budget_bytes: usize) -> Self {
        let inner = Inner { entries: FxHashMap::default(), bytes: 0, uses: 0 };
        Self { budget_bytes, inner: Mutex::new(inner), found: AtomicU64::new(0), missed: AtomicU64::new(0) }
    }

    /// The value of the object at `path`, if it is still kept.
    pub fn get(&self, path: &Path) -> Option<Arc<V>> {
        let mut inner = self.inner.lock();
        inner.uses += 1;
        let now = inner.uses;
        let Some(entry) = inner.entries.get_mut(path) else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        entry.last_use = now;
        self.found.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&entry.value))
    }

    /// Keeps the value of the object at `path`, which takes `bytes` of memory.
    pub fn insert(&self, path: &Path, value: Arc<V>, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.uses += 1;
        let entry = Entry { value, bytes, last_use: inner.uses };
        inner.bytes += bytes;
        if let Some(old) = inner.entries.insert(path.clone(), entry) {
            inner.bytes -= old.bytes;
        }
        if inner.bytes > self.budget_bytes {
            inner.shrink(self.budget_bytes / 4 * 3);
        }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// How often a value was there, and how often it was not.
    pub fn uses(&self) -> (u64, u64) {
        (self.found.load(Ordering::Relaxed), self.missed.load(Ordering::Relaxed))
    }
}

impl<V> Inner<V> {
    /// Drops what was not used for longest. Goes well below the budget, so that it is rarely called.
    fn shrink(&mut self, bytes: usize) {
        let mut by_use: Vec<_> = self.entries.iter().map(|(path, entry)| (entry.last_use, path.clone())).collect();
        by_use.sort_unstable();
        for (_, path) in by_use {
            if self.bytes <= bytes {
                break;
            }
            if let Some(entry) = self.entries.remove(&path) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let cache = Recent::new(400);
        let value = Arc::new("any");
        for n in 0..4 {
            cache.insert(&Path::from(format!("{n}")), Arc::clone(&value), 100);
        }
        assert!(cache.get(&Path::from("0")).is_some());
        cache.insert(&Path::from("4"), Arc::clone(&value), 100);
        assert!(cache.get(&Path::from("1")).is_none());
        assert!(cache.get(&Path::from("0")).is_some());
        assert!(cache.bytes() <= 400);
        assert_eq!(cache.uses(), (2, 1));
    }

    #[test]
    fn a_value_replaces_the_one_before_it() {
        let cache = Recent::new(400);
        for bytes in [300, 200] {
            cache.insert(&Path::from("a"), Arc::new(bytes), bytes);
        }
        assert_eq!((cache.bytes(), cache.get(&Path::from("a")).as_deref()), (200, Some(&200)));
    }
}
