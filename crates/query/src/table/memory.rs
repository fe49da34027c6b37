//! Rows that no table file holds yet.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use runlake_engine::View;
use runlake_memtable::MemTable;
use runlake_types::{Record, RunId, TableId, arrays_from_records};

use super::prune::Wanted;
use crate::Error;

/// Rows made at a time.
const BATCH_ROWS: usize = 8192;

/// Rows of a state table.
pub(crate) fn state(
    table: TableId,
    schema: &SchemaRef,
    rows: Vec<Arc<Record>>,
    projection: Option<Vec<usize>>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let batches = rows
        .chunks(BATCH_ROWS)
        .map(|rows| {
            let arrays = arrays_from_records(table, rows.iter().map(Arc::as_ref)).map_err(Error::from)?;
            conform(schema, arrays)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(MemorySourceConfig::try_new_exec(&[batches], Arc::clone(schema), projection)?))
}

/// Metric points, a partition for each generation; those of a query that names runs are looked up.
pub(crate) fn points(
    view: &View,
    schema: &SchemaRef,
    wanted: &Wanted,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let runs = wanted.leading().map(|runs| runs.into_iter().map(RunId::from_stored).collect::<Vec<_>>());
    let generations = view.point_generations();
    if generations.is_empty() {
        return Ok(None);
    }
    let partitions = generations
        .into_iter()
        .map(|generation| {
            let points = Points { generation, runs: runs.clone(), schema: Arc::clone(schema) };
            Arc::new(points) as Arc<dyn PartitionStream>
        })
        .collect();
    let plan = StreamingTableExec::try_new(Arc::clone(schema), partitions, projection, [], false, limit)?;
    Ok(Some(Arc::new(plan)))
}

/// The points of a generation, made as they are read.
#[derive(Debug)]
struct Points {
    generation: Arc<MemTable>,
    runs: Option<Vec<RunId>>,
    schema: SchemaRef,
}

impl PartitionStream for Points {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let generation = Arc::clone(&self.generation);
        let batches: Box<dyn Iterator<Item = _> + Send> = match self.runs.clone() {
            Some(runs) => Box::new(MemTable::sorted_metrics_of(generation, runs, BATCH_ROWS)),
            None => Box::new(MemTable::sorted_metrics(generation, BATCH_ROWS)),
        };
        let batches = batches.flat_map(move |batch| -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
            let conformed = batch.map_err(Into::into).and_then(|batch| conform(&schema, batch.columns().to_vec()));
            match conformed {
                // A batch ends with a metric, and a metric may be long.
                Ok(batch) => Box::new(slices(batch).map(Ok)),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}

fn slices(batch: RecordBatch) -> impl Iterator<Item = RecordBatch> + Send {
    let rows = batch.num_rows();
    (0..rows).step_by(BATCH_ROWS).map(move |start| batch.slice(start, BATCH_ROWS.min(rows - start)))
}

fn conform(schema: &SchemaRef, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let columns = arrays
        .into_iter()
        .zip(schema.fields())
        .map(|(array, field)| match array.data_type() == field.data_type() {
            true => Ok(array),
            false => cast(&array, field.data_type()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
