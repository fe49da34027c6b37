//! What the tables of a lake remember of their files. Files never change, so nothing is ever stale.

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use runlake_storage::Recent;

use crate::LakeSettings;

/// A file of so many bytes is small: it is fetched whole and kept, as asking for parts of it costs as much.
pub(super) const SMALL_BYTES: u64 = 1 << 20;

/// Shared by all tables of a lake.
#[derive(Debug)]
pub(crate) struct Caches {
    /// Footers, with their page indexes.
    pub(crate) footers: Recent<ParquetMetaData>,
    /// Small files, whole.
    pub(crate) small: Recent<Bytes>,
}

impl Caches {
    pub(crate) fn new(settings: &LakeSettings) -> Self {
        Self { footers: Recent::new(settings.footer_cache_bytes), small: Recent::new(settings.small_file_cache_bytes) }
    }
}
