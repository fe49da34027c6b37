//! What served models were asked and answered, in bulk.

use arrow_array::{Array as _, RecordBatch};
use runlake_types::rows::Inference;
use runlake_types::{Timestamp, WriteBatch};
use rustc_hash::FxHashSet;
use serde_json::Value;

use super::texts::{NONE, Texts};
use super::{Content, Refused, Rows, columns};
use crate::text;

/// Longest of each text.
const MOST_BYTES: usize = 1 << 16;
/// Memory of a row on its way beside its texts, which are there twice.
const ROW_BYTES: usize = 512;

/// Checked rows, in the order of the batch.
#[derive(Debug)]
pub(super) struct InferenceRows {
    rows: Vec<Inference>,
    registered: Vec<(Option<String>, usize)>,
}

pub(super) fn read(batch: &RecordBatch, now: Timestamp) -> Result<Rows, Refused> {
    let count = batch.num_rows();
    let ids = Texts::required(batch, "request_id")?;
    for (id, row) in &ids.distinct {
        check_id(id, *row)?;
    }
    let models = Texts::required(batch, "model")?;
    let [registered, model_ids, inputs, outputs, errors] =
        ["registered_model", "model_id", "inputs", "output", "error"].map(|name| Texts::optional(batch, name));
    let (registered, model_ids, inputs, outputs, errors) = (registered?, model_ids?, inputs?, outputs?, errors?);
    for (texts, name) in [(Some(&models), "model"), (registered.as_ref(), "registered_model")].into_iter().chain([
        (model_ids.as_ref(), "model_id"),
        (outputs.as_ref(), "output"),
        (errors.as_ref(), "error"),
    ]) {
        check_lengths(texts, name)?;
    }
    let numbers = columns::counts(columns::column(batch, "row"), count, "row")?;
    let versions = columns::counts(columns::column(batch, "version"), count, "version")?;
    let statuses = columns::counts(columns::column(batch, "status"), count, "status")?;
    let latencies = columns::required(batch, "latency_ms")?;
    if let Some(row) = (0..count).find(|row| latencies.is_null(*row) || statuses[*row] < 0) {
        return Err(Refused::invalid(row, "the status or the latency_ms is null"));
    }
    let latencies = columns::values(latencies)?;
    let times = columns::times(columns::column(batch, "time"), count, "time", now.micros())?;
    let shadows = columns::truths(columns::column(batch, "is_shadow"), count);
    let mut rows = Vec::with_capacity(count);
    for row in 0..count {
        let inputs = values(text_of(inputs.as_ref(), row), row)?;
        rows.push(Inference {
            request_id: ids.distinct[ids.codes[row] as usize].0.to_owned(),
            row: numbers[row].max(0),
            time: Timestamp::from_micros(times[row]),
            model: models.distinct[models.codes[row] as usize].0.to_owned(),
            registered_model: text_of(registered.as_ref(), row),
            version: (versions[row] >= 0).then_some(versions[row]),
            model_id: text_of(model_ids.as_ref(), row),
            is_shadow: shadows[row],
            status: statuses[row],
            latency_ms: latencies[row],
            inputs,
            output: text_of(outputs.as_ref(), row),
            error: text_of(errors.as_ref(), row),
        });
    }
    let mut seen = FxHashSet::default();
    let first = |(row, inference): (usize, &Inference)| {
        seen.insert(inference.registered_model.clone()).then(|| (inference.registered_model.clone(), row))
    };
    let registered = rows.iter().enumerate().filter_map(first).collect();
    let content = Content::Inferences(InferenceRows { rows, registered });
    Ok(Rows { count, runs: Vec::new(), homes: Vec::new(), content })
}

/// The entries of a JSON object: texts as they are, other values as JSON, null left out.
fn values(json: Option<String>, row: usize) -> Result<Vec<(String, String)>, Refused> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let entries: serde_json::Map<String, Value> = serde_json::from_str(&json)
        .map_err(|error| Refused::invalid(row, format!("the inputs are no JSON object: {error}")))?;
    let text = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    Ok(entries.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect())
}

fn check_id(id: &str, row: usize) -> Result<(), Refused> {
    let is_id = (1..=64).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_id {
        return Ok(());
    }
    let id = text::quoted(&id.chars().take(100).collect::<String>());
    Err(Refused::invalid(row, format!("{id} is no request_id, which has 1 to 64 letters, digits, _ and -")))
}

fn check_lengths(texts: Option<&Texts<'_>>, name: &str) -> Result<(), Refused> {
    let long = texts.and_then(|texts| texts.distinct.iter().find(|(text, _)| text.len() > MOST_BYTES));
    match long {
        None => Ok(()),
        Some((text, row)) => {
            Err(Refused::invalid(*row, format!("the {name} has {} bytes; it may have {MOST_BYTES}", text.len())))
        }
    }
}

fn text_of(texts: Option<&Texts<'_>>, row: usize) -> Option<String> {
    let texts = texts?;
    let code = texts.codes[row];
    (code != NONE).then(|| texts.distinct[code as usize].0.to_owned())
}

impl InferenceRows {
    pub(super) fn registered(&self) -> &[(Option<String>, usize)] {
        &self.registered
    }

    pub(super) fn bytes(&self) -> usize {
        let texts = |row: &Inference| {
            let inputs: usize = row.inputs.iter().map(|(name, value)| 64 + name.len() + value.len()).sum();
            row.model.len()
                + inputs
                + row.output.as_ref().map_or(0, String::len)
                + row.error.as_ref().map_or(0, String::len)
        };
        self.rows.iter().map(|row| ROW_BYTES + 2 * texts(row)).sum()
    }

    /// Adds the rows to a write. A row that was sent before is the same row again.
    pub(super) fn write(self, write: &mut WriteBatch) -> usize {
        for row in &self.rows {
            write.put(row);
        }
        0
    }
}
