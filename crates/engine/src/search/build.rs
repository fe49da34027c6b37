//! Building the index from table files and memtables.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, PrimitiveArray, RecordBatch, StringArray};
use futures::{StreamExt as _, TryStreamExt as _};
use runlake_types::rows::{Row, Run, RunInput};
use runlake_types::{MetricAggregate, Point, RunId, TableId, Timestamp, records_from_batch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Index;
use super::column::{MetricColumn, TextColumn};
use super::index::Columns;
use crate::{Error, Result, View, latest};

/// Builds the index of everything in `view`.
pub(crate) async fn build(view: &View) -> Result<Index> {
    let started = std::time::Instant::now();
    let mut index = Index::default();
    index.reserve(usize::try_from(view.snapshot(TableId::Runs).rows()).unwrap_or(0));
    each_row(view, |run: &Run| {
        index.set_run(run, false);
    })
    .await?;
    index.sort_all();
    let mut params = Decoding::start(view, TableId::Params, &TEXT);
    let mut tags = Decoding::start(view, TableId::Tags, &TEXT);
    let mut latest = Decoding::start(view, TableId::LatestMetrics, &LATEST);
    let mut last = (0, 0);
    while let Some(batch) = params.next().await? {
        each_text(&index.numbers_of(&batch, &mut last.0)?, &batch, &mut index.params, &mut last.1)?;
    }
    while let Some(batch) = tags.next().await? {
        each_text(&index.numbers_of(&batch, &mut last.0)?, &batch, &mut index.tags, &mut last.1)?;
    }
    while let Some(batch) = latest.next().await? {
        each_metric(&index.numbers_of(&batch, &mut last.0)?, &batch, &mut index.metrics, &mut last.1)?;
    }
    each_row(view, |input: &RunInput| {
        if let Some(run) = index.number(input.run_id.as_str()) {
            index.set_dataset(run, input);
        }
    })
    .await?;
    take_in_memtables(view, &mut index).await?;
    tracing::info!(runs = index.len(), took = ?started.elapsed(), "search index built");
    Ok(index)
}

async fn take_in_memtables(view: &View, index: &mut Index) -> Result<()> {
    let mut doubts = Vec::new();
    for run_id in runs_in_memory(view) {
        index.refresh(view, &run_id, &mut doubts)?;
    }
    for doubt in doubts {
        let row = latest::exact(view, &doubt.run_id, &doubt.key, doubt.merged).await?;
        index.set_metric(&row);
    }
    Ok(())
}

/// Every run that a memtable has a row of.
fn runs_in_memory(view: &View) -> Vec<RunId> {
    let mut runs = Vec::new();
    for memtable in view.memtables() {
        runs.extend(memtable.metrics().series().map(|(id, _)| id.run_id.clone()));
        for table in [TableId::Runs, TableId::Params, TableId::Tags, TableId::RunInputs] {
            let rows = memtable.state(table).into_iter().flat_map(|rows| rows.keys());
            runs.extend(rows.map(|key| RunId::from_stored(&key.leading_text())));
        }
        runs.sort_unstable();
        runs.dedup();
    }
    runs
}

/// Calls `each` for the rows of the files of `R`'s table.
async fn each_row<R: Row>(view: &View, mut each: impl FnMut(&R)) -> Result<()> {
    let mut batches = std::pin::pin!(view.snapshot(R::TABLE).scan(None));
    while let Some(batch) = batches.try_next().await? {
        for record in records_from_batch(R::TABLE, &batch)? {
            each(&R::from_record(&record)?);
        }
    }
    Ok(())
}

/// Columns of params and tags.
const TEXT: [&str; 3] = ["run_id", "key", "value"];
/// Columns of `latest_metrics` that the index holds.
const LATEST: [&str; 9] = ["run_id", "key", "step", "timestamp", "value", "min", "max", "sum", "count"];
/// Decoded batches that wait to be taken in.
const BATCHES_AHEAD: usize = 4;

/// Files of a table being decoded by a task of their own, while what came before is taken in.
struct Decoding {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl Decoding {
    fn start(view: &View, table: TableId, columns: &[&str]) -> Self {
        let mut scan = view.snapshot(table).scan(Some(columns));
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(batch) = scan.next().await {
                if sender.send(batch.map_err(Into::into)).await.is_err() {
                    return;
                }
            }
        });
        Self { batches, _task: task }
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.batches.recv().await.transpose()
    }
}

impl Index {
    /// Numbers of the runs of some rows, which come in run order. Rows of runs the index does not know have none.
    fn numbers_of(&self, batch: &RecordBatch, last: &mut u32) -> Result<Numbers> {
        let run_ids = text(batch, "run_id")?;
        let mut numbers = Vec::with_capacity(run_ids.len());
        let mut current: Option<(&str, Option<u32>)> = None;
        for row in 0..run_ids.len() {
            let run_id = run_ids.value(row);
            let number = match current {
                Some((known, number)) if known == run_id => number,
                _ => self.next_number(run_id, last),
            };
            current = Some((run_id, number));
            numbers.push(number);
        }
        Ok(Numbers { numbers, runs: self.len() })
    }
}

struct Numbers {
    /// Of each row.
    numbers: Vec<Option<u32>>,
    /// How many runs there are.
    runs: usize,
}

impl Numbers {
    fn rows(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.numbers.iter().enumerate().filter_map(|(row, number)| Some((row, (*number)?)))
    }
}

fn each_text(
    numbers: &Numbers,
    batch: &RecordBatch,
    columns: &mut Columns<TextColumn>,
    last_key: &mut usize,
) -> Result<()> {
    let (keys, values) = (text(batch, "key")?, text(batch, "value")?);
    for (row, run) in numbers.rows() {
        let value = if values.is_null(row) { "" } else { values.value(row) };
        columns.of_next(keys.value(row), last_key).set(run, value, numbers.runs);
    }
    Ok(())
}

fn each_metric(
    numbers: &Numbers,
    batch: &RecordBatch,
    columns: &mut Columns<MetricColumn>,
    last_key: &mut usize,
) -> Result<()> {
    let keys = text(batch, "key")?;
    let steps = column::<Int64Type>(batch, "step")?;
    let timestamps = column::<TimestampMicrosecondType>(batch, "timestamp")?;
    let values = column::<Float64Type>(batch, "value")?;
    let (mins, maxs) = (column::<Float64Type>(batch, "min")?, column::<Float64Type>(batch, "max")?);
    let sums = column::<Float64Type>(batch, "sum")?;
    let counts = column::<Int64Type>(batch, "count")?;
    // The step of an extreme is not in the index.
    let extreme = |of: &PrimitiveArray<Float64Type>, row: usize| of.is_valid(row).then(|| (of.value(row), i64::MAX));
    for (row, run) in numbers.rows() {
        let last = Point {
            step: steps.value(row),
            timestamp: Timestamp::from_micros(timestamps.value(row)),
            value: values.value(row),
        };
        let aggregate = MetricAggregate {
            last,
            first: latest::UNKNOWN_FIRST,
            min: extreme(mins, row),
            max: extreme(maxs, row),
            sum: sums.value(row),
            count: u64::try_from(counts.value(row)).unwrap_or(0),
        };
        columns.of_next(keys.value(row), last_key).load(run, &aggregate, numbers.runs);
    }
    Ok(())
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| Error::Internal(format!("the scan has no text column {name}")))
}

fn column<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    column.ok_or_else(|| Error::Internal(format!("the scan has no column {name} of the expected type")))
}
