//! The table files as a plain Parquet scan.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::ObjectMeta;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;
use runlake_lake::{DataFile, Snapshot};
use runlake_types::{ColumnKind, Key, TableId};

use super::readers::Readers;
use super::unchanged::Unchanged;

/// How plans name the lake's store. It is registered with the runtime of the queries.
pub(crate) const STORE: &str = "runlake://lake/";

/// Some files of a table and what is wanted of them.
#[derive(Debug, Clone)]
pub(crate) struct FileScan<'a> {
    table: TableId,
    schema: &'a SchemaRef,
    files: Vec<Arc<DataFile>>,
    projection: Option<&'a Vec<usize>>,
    limit: Option<usize>,
    /// Whether the order of the rows is worth knowing.
    ordered: bool,
    readers: Arc<dyn ParquetFileReaderFactory>,
}

impl<'a> FileScan<'a> {
    pub(crate) fn new(
        snapshot: &Snapshot,
        schema: &'a SchemaRef,
        files: Vec<Arc<DataFile>>,
        projection: Option<&'a Vec<usize>>,
        limit: Option<usize>,
    ) -> Self {
        let readers = Arc::new(Readers(snapshot.clone()));
        Self { table: snapshot.table(), schema, files, projection, limit, ordered: false, readers }
    }

    /// Tells the order of the rows where it is known. Good for a few series; over a whole table DataFusion would group
    /// by it run after run, which takes twice the time of hashing.
    pub(crate) fn ordered(self, ordered: bool) -> Self {
        Self { ordered, ..self }
    }

    /// The columns that are wanted; `None`: all.
    pub(crate) fn projection(&self) -> Option<&Vec<usize>> {
        self.projection
    }

    /// The files for which `first` holds, and the others.
    pub(crate) fn split(self, first: impl Fn(&DataFile) -> bool) -> (Self, Self) {
        let (a, b) = self.files.iter().cloned().partition(|file| first(file));
        (Self { files: a, ..self.clone() }, Self { files: b, ..self })
    }

    /// Every row; `None` where there is no file.
    pub(crate) fn plain(&self) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.files.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.read(self.projection.cloned(), self.limit)?))
    }

    /// Every row whose key is none of `hidden`; `None` where there is no file.
    pub(crate) fn without(&self, hidden: Vec<Key>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let table = self.table;
        if self.files.is_empty() {
            return Ok(None);
        }
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = self.projection.unwrap_or(&all);
        let mut columns = wanted.clone();
        columns.extend((0..table.key_len()).filter(|column| !wanted.contains(column)));
        let keys = (0..table.key_len()).map(|column| {
            let place = columns.iter().position(|found| *found == column).expect("it was added above");
            Arc::new(Column::new(table.columns()[column].name, place)) as Arc<dyn PhysicalExpr>
        });
        let unchanged = Arc::new(Unchanged::new(keys.collect(), hidden));
        let filter = FilterExecBuilder::new(unchanged, self.read(Some(columns), None)?)
            .apply_projection(Some((0..wanted.len()).collect()))?
            .build()?;
        Ok(Some(Arc::new(filter)))
    }

    fn read(&self, projection: Option<Vec<usize>>, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let source =
            ParquetSource::new(Arc::clone(self.schema)).with_parquet_file_reader_factory(Arc::clone(&self.readers));
        let store = ObjectStoreUrl::parse(STORE)?;
        let files = self.files.iter().map(|file| partitioned(file, self.schema)).collect();
        let config = FileScanConfigBuilder::new(store, Arc::new(source))
            .with_file_group(FileGroup::new(files))
            .with_statistics(self.statistics())
            .with_output_ordering(self.order().into_iter().collect())
            .with_projection_indices(projection)?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The order of the rows: of one file only, as several would have to be read one after the other to keep it.
    fn order(&self) -> Option<LexOrdering> {
        let [file] = self.files.as_slice() else { return None };
        let columns = &self.table.columns()[..self.table.key_len()];
        // Floats are left out: whether NaN and zeros with a sign stand where DataFusion expects them is not worth it.
        let columns = columns.iter().take_while(|column| column.kind != ColumnKind::Float).enumerate();
        let by = |(place, column): (usize, &runlake_types::Column)| {
            PhysicalSortExpr::new_default(Arc::new(Column::new(column.name, place))).asc()
        };
        if self.ordered && file.is_sorted() { LexOrdering::new(columns.map(by)) } else { None }
    }

    fn statistics(&self) -> Statistics {
        let rows = self.files.iter().map(|file| file.rows()).sum::<Option<u64>>();
        let bytes = self.files.iter().map(|file| file.size()).sum::<u64>();
        statistics(self.schema, rows, bytes)
    }
}

fn partitioned(file: &DataFile, schema: &SchemaRef) -> PartitionedFile {
    // Files never change, so that any time will do to tell a cached footer from a stale one.
    let meta = ObjectMeta {
        location: file.location().clone(),
        last_modified: Default::default(),
        size: file.size(),
        e_tag: None,
        version: None,
    };
    PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics(schema, file.rows(), file.size())))
}

fn statistics(schema: &SchemaRef, rows: Option<u64>, bytes: u64) -> Statistics {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Statistics {
        num_rows: rows.map_or(Precision::Absent, |rows| Precision::Exact(count(rows))),
        total_byte_size: Precision::Inexact(count(bytes)),
        ..Statistics::new_unknown(schema)
    }
}
