//! Footers of Parquet files in memory, so that a second look at a file asks the store only for rows.

use std::sync::Arc;

use parking_lot::Mutex;
use parquet::file::metadata::ParquetMetaData;
use rustc_hash::FxHashMap;

use object_store::path::Path;

/// Footers of the files read last, all tables of a lake together. Files never change, so nothing is ever stale.
#[derive(Debug)]
pub(crate) struct FooterCache {
    budget_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    footers: FxHashMap<Path, Entry>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    footer: Arc<ParquetMetaData>,
    bytes: usize,
    last_use: u64,
}

impl FooterCache {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, inner: Mutex::default() }
    }

    pub(crate) fn get(&self, path: &Path) -> Option<Arc<ParquetMetaData>> {
        let mut inner = self.inner.lock();
        inner.uses += 1;
        let now = inner.uses;
        let entry = inner.footers.get_mut(path)?;
        entry.last_use = now;
        Some(Arc::clone(&entry.footer))
    }

    pub(crate) fn insert(&self, path: &Path, footer: &Arc<ParquetMetaData>) {
        let bytes = footer.memory_size();
        let mut inner = self.inner.lock();
        inner.uses += 1;
        let entry = Entry { footer: Arc::clone(footer), bytes, last_use: inner.uses };
        inner.bytes += bytes;
        if let Some(old) = inner.footers.insert(path.clone(), entry) {
            inner.bytes -= old.bytes;
        }
        if inner.bytes > self.budget_bytes {
            inner.shrink(self.budget_bytes / 4 * 3);
        }
    }
}

impl Inner {
    /// Drops what was not used for longest. Goes well below the budget, so that it is rarely called.
    fn shrink(&mut self, bytes: usize) {
        let mut by_use: Vec<_> = self.footers.iter().map(|(path, entry)| (entry.last_use, path.clone())).collect();
        by_use.sort_unstable();
        for (_, path) in by_use {
            if self.bytes <= bytes {
                break;
            }
            if let Some(entry) = self.footers.remove(&path) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::metadata::FileMetaData;
    use parquet::schema::types::{SchemaDescriptor, Type};

    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let root = Type::group_type_builder("schema").build().expect("valid");
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
        let footer = Arc::new(ParquetMetaData::new(FileMetaData::new(1, 0, None, None, schema, None), Vec::new()));
        let one = footer.memory_size();
        let cache = FooterCache::new(one * 4);
        for n in 0..4 {
            cache.insert(&Path::from(format!("{n}")), &footer);
        }
        assert!(cache.get(&Path::from("0")).is_some());
        cache.insert(&Path::from("4"), &footer);
        assert!(cache.get(&Path::from("1")).is_none());
        assert!(cache.get(&Path::from("0")).is_some());
        assert!(cache.inner.lock().bytes <= one * 4);
    }
}
