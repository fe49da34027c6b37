//! A Parquet file in an object store, as the Parquet reader asks for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::FooterCache;
use crate::file::DataFile;
use crate::snapshot::Files;

/// Read from the end of a file at once: enough for footer and page index of most files.
const TAIL_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone)]
pub(super) struct ObjectReader {
    objects: Arc<dyn ObjectStore>,
    footers: Arc<FooterCache>,
    path: Path,
    size: u64,
}

impl ObjectReader {
    pub(super) fn new(files: &Files, file: &DataFile) -> Self {
        Self {
            objects: Arc::clone(&files.objects),
            footers: Arc::clone(&files.footers),
            path: file.location().clone(),
            size: file.size(),
        }
    }

    /// The footer with the page index, from the cache or the store.
    pub(super) async fn footer(&mut self) -> Result<Arc<ParquetMetaData>> {
        if let Some(footer) = self.footers.get(&self.path) {
            return Ok(footer);
        }
        let footer = Arc::new(self.read_footer().await?);
        self.footers.insert(&self.path, &footer);
        Ok(footer)
    }

    /// The footer as it is in the store now.
    pub(super) async fn read_footer(&mut self) -> Result<ParquetMetaData> {
        let size = self.size;
        let tail = usize::try_from(TAIL_BYTES.min(size)).expect("64 KiB fit");
        ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_prefetch_hint(Some(tail))
            .load_and_finish(&mut *self, size)
            .await
    }
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.objects.get_range(&self.path, range).map_err(external).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.objects.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
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
