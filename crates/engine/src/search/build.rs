//! Building the index from table files and memtables.

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch, StringArray};
use futures::TryStreamExt as _;
use runlake_types::rows::{LatestMetric, Row, Run, RunInput};
use runlake_types::{RunId, TableId, records_from_batch};

use super::Index;
use crate::{Error, Result, View, latest};

/// Builds the index of everything in `view`.
pub(crate) async fn build(view: &View) -> Result<Index> {
    let started = std::time::Instant::now();
    let mut index = Index::default();
    each_row(view, |run: &Run| {
        index.set_run(run, false);
    })
    .await?;
    index.sort_all();
    each_text(view, TableId::Params, |run_id, key, value| {
        if let Some(run) = index.number(run_id) {
            let runs = index.len();
            index.params.of(key).set(run, value, runs);
        }
    })
    .await?;
    each_text(view, TableId::Tags, |run_id, key, value| {
        if let Some(run) = index.number(run_id) {
            let runs = index.len();
            index.tags.of(key).set(run, value, runs);
        }
    })
    .await?;
    each_row(view, |row: &LatestMetric| index.set_flushed(row)).await?;
    each_row(view, |input: &RunInput| {
        if let Some(run) = index.number(&input.run_id) {
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

/// Calls `each` with run, key and value for the rows of the files of `table`, without an allocation per row.
async fn each_text(view: &View, table: TableId, mut each: impl FnMut(&RunId, &str, &str)) -> Result<()> {
    let mut batches = std::pin::pin!(view.snapshot(table).scan(Some(&["run_id", "key", "value"])));
    let mut current: Option<RunId> = None;
    while let Some(batch) = batches.try_next().await? {
        let run_ids = text(&batch, "run_id")?;
        let keys = text(&batch, "key")?;
        let values = text(&batch, "value")?;
        for row in 0..batch.num_rows() {
            let run_id = run_ids.value(row);
            if current.as_ref().is_none_or(|known| known.as_str() != run_id) {
                current = Some(RunId::from_stored(run_id));
            }
            let value = if values.is_null(row) { "" } else { values.value(row) };
            if let Some(run_id) = &current {
                each(run_id, keys.value(row), value);
            }
        }
    }
    Ok(())
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| Error::Internal(format!("the scan has no text column {name}")))
}
