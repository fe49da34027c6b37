//! Merging sorted files of facts in a stream.
//!
//! Flushes cut a run's history by time, so a file usually holds many rows in a row that come before all others: they are
//! found by galloping and passed on as slices. Memory is a few batches per file.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_ord::sort::{SortColumn, lexsort_to_indices};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use runlake_types::TableId;
use tokio::sync::mpsc::Sender;

use crate::Error;
use crate::error::Told as _;
use crate::file::DataFile;
use crate::read::{self, Want};
use crate::snapshot::{BatchStream, Files};
use crate::write::Series;

/// Rows of an output batch, about.
const OUTPUT_ROWS: usize = 32 << 10;

/// Sends the rows of all `inputs`, which are sorted, in order. Ends early when nobody receives any more.
pub(super) async fn merge(
    files: &Files,
    inputs: &[Arc<DataFile>],
    output: &Sender<Result<RecordBatch, Error>>,
) -> Result<(), Error> {
    let opening = inputs.iter().map(|file| Cursor::open(files, file));
    let mut cursors: Vec<Cursor> = try_join_all(opening).await?.into_iter().flatten().collect();
    let mut slices = Vec::new();
    let mut rows = 0;
    while let Some(first) = smallest(&cursors, None) {
        let second = smallest(&cursors, Some(first));
        let until = match second {
            Some(second) => cursors[first].first_after(&cursors[second]),
            None => cursors[first].batch.num_rows(),
        };
        let cursor = &mut cursors[first];
        slices.push(cursor.batch.slice(cursor.row, until - cursor.row));
        rows += until - cursor.row;
        if !cursor.advance_to(until).await? {
            cursors.swap_remove(first);
        }
        if rows >= OUTPUT_ROWS {
            if !send(files.table, &mut slices, output).await? {
                return Ok(());
            }
            rows = 0;
        }
    }
    send(files.table, &mut slices, output).await?;
    Ok(())
}

async fn send(
    table: TableId,
    slices: &mut Vec<RecordBatch>,
    output: &Sender<Result<RecordBatch, Error>>,
) -> Result<bool, Error> {
    let batch = concat_batches(&table.schema(), slices.iter()).told(table, "merge rows")?;
    slices.clear();
    Ok(output.send(Ok(batch)).await.is_ok())
}

/// The cursor with the smallest row, but for `except`.
fn smallest(cursors: &[Cursor], except: Option<usize>) -> Option<usize> {
    let rest = (0..cursors.len()).filter(|at| Some(*at) != except);
    rest.min_by(|a, b| cursors[*a].compare(cursors[*a].row, &cursors[*b]))
}

/// A place in a sorted file. There is always a row under it.
struct Cursor {
    rest: BatchStream,
    batch: RecordBatch,
    series: Series,
    steps: Int64Array,
    timestamps: TimestampMicrosecondArray,
    values: Float64Array,
    row: usize,
}

impl Cursor {
    /// At the first row; `None` for a file without rows.
    async fn open(files: &Files, file: &DataFile) -> Result<Option<Self>, Error> {
        let mut rest = read::rows(files, file, None, &Want::default()).await?;
        if !file.is_sorted() {
            rest = sort(files.table, rest).await?;
        }
        Ok(next_rows(&mut rest).await?.map(|batch| Self::at_start(rest, batch)))
    }

    fn at_start(rest: BatchStream, batch: RecordBatch) -> Self {
        Self {
            rest,
            series: Series::of(&batch),
            steps: batch.column(2).as_primitive::<Int64Type>().clone(),
            timestamps: batch.column(3).as_primitive::<TimestampMicrosecondType>().clone(),
            values: batch.column(4).as_primitive::<Float64Type>().clone(),
            batch,
            row: 0,
        }
    }

    /// Goes on to `row`, if need be of the next batch; false at the end of the file.
    async fn advance_to(&mut self, row: usize) -> Result<bool, Error> {
        self.row = row;
        if row < self.batch.num_rows() {
            return Ok(true);
        }
        let Some(batch) = next_rows(&mut self.rest).await? else { return Ok(false) };
        let rest = std::mem::replace(&mut self.rest, Box::pin(futures::stream::empty()));
        *self = Self::at_start(rest, batch);
        Ok(true)
    }

    /// The first row that comes after the one under `other`. Rows that equal it do not.
    fn first_after(&self, other: &Self) -> usize {
        let end = self.batch.num_rows();
        let comes_before = |row: usize| self.compare(row, other).is_le();
        let (mut low, mut step) = (self.row, 1);
        while low < end && comes_before((low + step - 1).min(end - 1)) {
            low = (low + step).min(end);
            step *= 2;
        }
        let mut high = (low + step - 1).min(end);
        while low < high {
            let middle = usize::midpoint(low, high);
            if comes_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Order of a row against the one under `other`.
    fn compare(&self, row: usize, other: &Self) -> Ordering {
        let at = other.row;
        self.series
            .at(row)
            .cmp(&other.series.at(at))
            .then_with(|| self.steps.value(row).cmp(&other.steps.value(at)))
            .then_with(|| self.timestamps.value(row).cmp(&other.timestamps.value(at)))
            .then_with(|| self.values.value(row).total_cmp(&other.values.value(at)))
    }
}

/// The rows in the table's order. All of them are in memory.
async fn sort(table: TableId, rows: BatchStream) -> Result<BatchStream, Error> {
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    let sorting = move || {
        let rows = concat_batches(&table.schema(), &batches)?;
        let key = rows.columns()[..table.key_len()].iter();
        let key: Vec<_> = key.map(|values| SortColumn { values: Arc::clone(values), options: None }).collect();
        take_record_batch(&rows, &lexsort_to_indices(&key, None)?)
    };
    let sorted = tokio::task::spawn_blocking(sorting).await.told(table, "sort rows")?.told(table, "sort rows")?;
    Ok(Box::pin(futures::stream::once(std::future::ready(Ok(sorted)))))
}

async fn next_rows(batches: &mut BatchStream) -> Result<Option<RecordBatch>, Error> {
    while let Some(batch) = batches.try_next().await? {
        if batch.num_rows() > 0 {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}
