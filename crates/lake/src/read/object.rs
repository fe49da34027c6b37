//! A Parquet file in an object store, as the Parquet reader asks for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::Caches;
use super::caches::SMALL_BYTES;
use crate::file::DataFile;
use crate::snapshot::Files;

/// Read from the end of a file at once: enough for footer and page index of most files.
const TAIL_BYTES: u64 = 64 << 10;

/// Reads parts of one file of a table. Footers and small files are remembered by the lake.
#[derive(Debug, Clone)]
pub struct FileReader {
    objects: Arc<dyn ObjectStore>,
    caches: Arc<Caches>,
    path: Path,
    size: u64,
    /// Whether what the lake remembers will do.
    remembered: bool,
}

impl FileReader {
    pub(super) fn new(files: &Files, file: &DataFile) -> Self {
        Self::at(files, file.location().clone(), file.size())
    }

    pub(crate) fn at(files: &Files, path: Path, size: u64) -> Self {
        Self { objects: Arc::clone(&files.objects), caches: Arc::clone(&files.caches), path, size, remembered: true }
    }

    /// The footer with the page index, from the cache or the store.
    pub(super) async fn footer(&mut self) -> Result<Arc<ParquetMetaData>> {
        if let Some(footer) = self.caches.footers.get(&self.path) {
            return Ok(footer);
        }
        let footer = Arc::new(self.load_footer().await?);
        let bytes = footer.memory_size();
        self.caches.footers.insert(&self.path, Arc::clone(&footer), bytes);
        Ok(footer)
    }

    /// The footer as it is in the store now.
    pub(super) async fn read_footer(&self) -> Result<ParquetMetaData> {
        Self { remembered: false, ..self.clone() }.load_footer().await
    }

    async fn load_footer(&mut self) -> Result<ParquetMetaData> {
        let size = self.size;
        let tail = usize::try_from(TAIL_BYTES.min(size)).expect("64 KiB fit");
        ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_prefetch_hint(Some(tail))
            .load_and_finish(&mut *self, size)
            .await
    }

    /// The whole of a small file.
    async fn whole(&self) -> Result<Arc<Bytes>> {
        if let Some(bytes) = self.caches.small.get(&self.path) {
            return Ok(bytes);
        }
        let bytes = Arc::new(self.objects.get_range(&self.path, 0..self.size).await.map_err(external)?);
        self.caches.small.insert(&self.path, Arc::clone(&bytes), bytes.len());
        Ok(bytes)
    }

    fn is_small(&self) -> bool {
        self.remembered && self.size <= SMALL_BYTES
    }
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            if self.is_small() {
                return part(&*self.whole().await?, &range);
            }
            self.objects.get_range(&self.path, range).await.map_err(external)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            if self.is_small() {
                let whole = self.whole().await?;
                return ranges.iter().map(|range| part(&whole, range)).collect();
            }
            self.objects.get_ranges(&self.path, &ranges).await.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        self.footer().boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// A part of a file, which a broken footer may place outside of it.
fn part(whole: &Bytes, range: &Range<u64>) -> Result<Bytes> {
    let place = |end: u64| usize::try_from(end).ok().filter(|end| *end <= whole.len());
    match (place(range.start), place(range.end)) {
        (Some(start), Some(end)) if start <= end => Ok(whole.slice(start..end)),
        _ => Err(ParquetError::EOF(format!("bytes {range:?} of a file of {}", whole.len()))),
    }
}
