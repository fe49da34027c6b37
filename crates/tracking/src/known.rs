//! A bounded memory of ids that were seen to exist.

use parking_lot::Mutex;
use rustc_hash::FxHashSet;

/// Ids remembered before all are forgotten.
const MOST: usize = 50_000;

/// Ids known to exist, of things that are never removed. Forgetting one only costs a look.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<FxHashSet<Box<str>>>);

impl Known {
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.0.lock().contains(id)
    }

    pub(crate) fn insert(&self, id: &str) {
        let mut ids = self.0.lock();
        if ids.len() >= MOST {
            ids.clear();
        }
        ids.insert(id.into());
    }
}
