//! `compare_runs`: what some runs have in common, and what differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use runlake_types::rows::{Param, Run, Tag};
use runlake_types::{KeyBuilder, RunId};

use super::{Arguments, Lake, Signature};
use crate::{Error, Result};

pub(super) static SIGNATURE: Signature =
    Signature { name: "compare_runs", usage: "compare_runs('<run id>', '<run id>', …)" };

/// Runs compared in one call.
const RUNS: usize = 100;

/// One row for each attribute, param, metric (its last value) and tag that any of the runs has: `kind`, `key`, a column
/// of text for each run, named by its id, and whether the values differ.
pub(super) async fn rows(lake: &Lake, arguments: &Arguments) -> Result<RecordBatch> {
    arguments.count(2..=RUNS)?;
    let ids = arguments.texts()?;
    for (at, id) in ids.iter().enumerate() {
        if ids[..at].contains(id) {
            return Err(Error::Invalid(format!("run {id} is given twice")));
        }
    }
    let mut found: BTreeMap<(u8, &'static str, String), Vec<Option<String>>> = BTreeMap::new();
    for (at, id) in ids.iter().enumerate() {
        for (order, kind, key, value) in of_run(lake, id).await? {
            found.entry((order, kind, key)).or_insert_with(|| vec![None; ids.len()])[at] = value;
        }
    }
    let kinds: StringArray = found.keys().map(|(_, kind, _)| Some(*kind)).collect();
    let keys: StringArray = found.keys().map(|(_, _, key)| Some(key.as_str())).collect();
    let differs: BooleanArray =
        found.values().map(|values| Some(values.windows(2).any(|pair| pair[0] != pair[1]))).collect();
    let mut fields = vec![Field::new("kind", DataType::Utf8, false), Field::new("key", DataType::Utf8, false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(kinds), Arc::new(keys)];
    for (at, id) in ids.iter().enumerate() {
        fields.push(Field::new(*id, DataType::Utf8, true));
        columns.push(Arc::new(found.values().map(|values| values[at].as_deref()).collect::<StringArray>()));
    }
    fields.push(Field::new("differs", DataType::Boolean, false));
    columns.push(Arc::new(differs));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

type Fact = (u8, &'static str, String, Option<String>);

async fn of_run(lake: &Lake, id: &str) -> Result<Vec<Fact>> {
    let view = &lake.view;
    let run: Option<Run> = view.get(&KeyBuilder::default().text(id).build()).await?;
    let run = run.ok_or_else(|| Error::NotFound(format!("there is no run {id:?}")))?;
    let run_id = RunId::from_stored(id);
    let mut facts: Vec<Fact> = Vec::new();
    let mut attribute = |key: &str, value: Option<String>| facts.push((0, "attribute", key.to_owned(), value));
    attribute("experiment_id", Some(run.experiment_id.to_string()));
    attribute("run_name", Some(run.run_name));
    attribute("status", Some(run.status.as_str().to_owned()));
    attribute("user_id", Some(run.user_id));
    let seconds = run.start_time.zip(run.end_time).map(|(start, end)| (end.micros() - start.micros()) as f64 / 1e6);
    attribute("duration_seconds", seconds.map(|seconds| seconds.to_string()));
    for param in view.of_run::<Param>(&run_id).await? {
        facts.push((1, "param", param.key, Some(param.value)));
    }
    for metric in view.latest(&run_id).await? {
        facts.push((2, "metric", metric.key, Some(metric.value.to_string())));
    }
    for tag in view.of_run::<Tag>(&run_id).await? {
        facts.push((3, "tag", tag.key, Some(tag.value)));
    }
    Ok(facts)
}
