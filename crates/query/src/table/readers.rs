//! Table files are read as the lake reads them: footers and small files from its memory.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet};
use futures::future::BoxFuture;
use runlake_lake::{FileReader, Snapshot};

/// Opens files of one version of a table.
#[derive(Debug)]
pub(super) struct Readers(pub(super) Snapshot);

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let meta = file.object_meta;
        let scanned = ParquetFileMetrics::new(partition, meta.location.as_ref(), metrics).bytes_scanned;
        Ok(Box::new(Reader { file: self.0.reader(meta.location, meta.size), scanned }))
    }
}

/// Counts for `EXPLAIN ANALYZE` what it reads.
struct Reader {
    file: FileReader,
    scanned: Count,
}

impl Reader {
    fn count(&self, range: &Range<u64>) {
        self.scanned.add(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX));
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, errors::Result<Bytes>> {
        self.count(&range);
        self.file.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, errors::Result<Vec<Bytes>>> {
        ranges.iter().for_each(|range| self.count(range));
        self.file.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, errors::Result<Arc<ParquetMetaData>>> {
        self.file.get_metadata(options)
    }
}
