//! Requests and answers as rows: one for each row that the model was given.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::ArrowError;

use super::LogSettings;
use crate::json::Json;
use crate::request::{DTYPE, Input, SHAPE};

/// Rows of one request that are kept.
const MOST_ROWS: usize = 1000;
/// Bytes of the inputs of a row, of its output, and of an error: half of what the table takes, as some bytes become two.
const MOST_BYTES: usize = 30_000;

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::serve) struct Row {
    pub(super) request_id: String,
    pub(super) row: i64,
    pub(super) time: i64,
    pub(super) model: String,
    pub(super) registered_model: Option<String>,
    pub(super) version: Option<i64>,
    pub(super) model_id: Option<String>,
    pub(super) is_shadow: bool,
    pub(super) status: i64,
    pub(super) latency_ms: f64,
    pub(super) inputs: Vec<(String, String)>,
    pub(super) output: Option<String>,
    pub(super) error: Option<String>,
}

/// The rows of a request.
pub(super) fn of(
    settings: &LogSettings,
    head: Row,
    input: Option<&Input>,
    outcome: Result<bytes::Bytes, String>,
) -> Vec<Row> {
    let inputs = input.map_or_else(|| vec![Vec::new()], |input| inputs(settings, input));
    let (mut outputs, error) = match outcome {
        Ok(answer) if settings.keeps_outputs => (outputs(&answer, inputs.len()), None),
        Ok(_) => (Vec::new(), None),
        Err(problem) => (Vec::new(), Some(shortened(problem))),
    };
    outputs.resize(inputs.len(), None);
    let rows = inputs.into_iter().zip(outputs).take(MOST_ROWS).enumerate();
    rows.map(|(at, (inputs, output))| Row {
        row: i64::try_from(at).unwrap_or(i64::MAX),
        inputs,
        output: output.filter(|output| output.len() <= MOST_BYTES),
        error: error.clone(),
        ..head.clone()
    })
    .collect()
}

fn shortened(text: String) -> String {
    if text.len() <= MOST_BYTES { text } else { text.chars().take(MOST_BYTES / 4).collect() }
}

type Values = Vec<(String, String)>;

fn inputs(settings: &LogSettings, input: &Input) -> Vec<Values> {
    let is_kept = |name: &str| !settings.redacts_inputs && !settings.redacted.contains(name);
    match input {
        Input::Frame(batch) => {
            let rows = batch.num_rows().min(MOST_ROWS);
            let mut all: Vec<Values> = vec![Vec::new(); rows];
            let options = FormatOptions::default();
            for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
                let Some(texts) = ArrayFormatter::try_new(array, &options).ok().filter(|_| is_kept(field.name()))
                else {
                    continue;
                };
                for (row, values) in all.iter_mut().enumerate().filter(|(row, _)| array.is_valid(*row)) {
                    add(values, field.name(), texts.value(row).to_string());
                }
            }
            all
        }
        Input::Tensors(batch) => tensors(batch, is_kept),
        Input::Arrays(text) | Input::Plain(text) => {
            let mut values = Vec::new();
            if is_kept("") && settings.redacted.is_empty() {
                add(&mut values, "inputs", text.clone());
            }
            vec![values]
        }
    }
}

fn add(values: &mut Values, name: &str, value: String) {
    let used: usize = values.iter().map(|(name, value)| name.len() + value.len()).sum();
    if used + name.len() + value.len() <= MOST_BYTES {
        values.push((name.to_owned(), value));
    }
}

/// Tensors of the same number of rows, cut into them.
fn tensors(batch: &RecordBatch, is_kept: impl Fn(&str) -> bool) -> Vec<Values> {
    let mut shapes = Vec::new();
    for field in batch.schema_ref().fields() {
        let text = field.metadata().get(SHAPE).map_or("[]", String::as_str);
        shapes.push(serde_json::from_str::<Vec<usize>>(text).unwrap_or_default());
    }
    let rows = shapes.first().and_then(|shape| shape.first().copied()).unwrap_or(1);
    let is_even = shapes.iter().all(|shape| shape.first() == Some(&rows));
    let mut all: Vec<Values> = vec![Vec::new(); if is_even { rows.min(MOST_ROWS) } else { 1 }];
    for (place, field) in batch.schema_ref().fields().iter().enumerate().filter(|(_, field)| is_kept(field.name())) {
        let name = if field.name().is_empty() { "inputs" } else { field.name().as_str() };
        let kind = field.metadata().get(DTYPE).map_or("", String::as_str);
        let bytes = batch.column(place).as_binary::<i64>().value(0);
        let shape = if is_even { &shapes[place][1..] } else { &shapes[place][..] };
        let step = bytes.len() / all.len().max(1).max(if is_even { rows } else { 1 });
        for (row, values) in all.iter_mut().enumerate() {
            let part = bytes.get(row * step..(row + 1) * step).unwrap_or_default();
            let mut text = String::new();
            let width = part.len() / shape.iter().product::<usize>().max(1);
            nested(part, kind, width, shape, &mut text);
            add(values, name, text);
        }
    }
    all
}

fn nested(bytes: &[u8], kind: &str, width: usize, shape: &[usize], out: &mut String) {
    let [length, rest @ ..] = shape else { return out.push_str(&number(bytes, kind)) };
    out.push('[');
    let step = rest.iter().product::<usize>() * width;
    for at in 0..*length {
        if at > 0 {
            out.push_str(", ");
        }
        nested(bytes.get(at * step..(at + 1) * step).unwrap_or_default(), kind, width, rest, out);
    }
    out.push(']');
}

/// A number of a tensor as text; its least byte comes first.
fn number(bytes: &[u8], kind: &str) -> String {
    let mut eight = [0; 8];
    for (to, from) in eight.iter_mut().zip(bytes) {
        *to = *from;
    }
    let [a, b, c, d, ..] = eight;
    let unsigned = u64::from_le_bytes(eight);
    // The highest bit of a shorter number is its sign.
    let spare = 64 - 8 * u32::try_from(bytes.len().clamp(1, 8)).unwrap_or(8);
    let signed = (unsigned << spare).cast_signed() >> spare;
    match kind {
        "float64" => Json::Float(f64::from_le_bytes(eight)).to_text(),
        "float32" => f32::from_le_bytes([a, b, c, d]).to_string(),
        "float16" => half::f16::from_le_bytes([a, b]).to_string(),
        "bool" => (a != 0).to_string(),
        kind if kind.starts_with('u') => unsigned.to_string(),
        _ => signed.to_string(),
    }
}

/// What of an answer belongs to which row, if that can be told; else the first row has all of it.
fn outputs(answer: &[u8], rows: usize) -> Vec<Option<String>> {
    let Some(answer) = std::str::from_utf8(answer).ok().and_then(|text| Json::parse(text).ok()) else {
        return Vec::new();
    };
    let predictions = answer.get("predictions").unwrap_or(&answer);
    let is_even = |value: &Json| matches!(value, Json::List(items) if items.len() == rows);
    match predictions {
        Json::List(items) if items.len() == rows => items.iter().map(|item| Some(item.to_text())).collect(),
        Json::Map(entries) if !entries.is_empty() && entries.iter().all(|(_, value)| is_even(value)) => (0..rows)
            .map(|row| {
                let of_row = entries.iter().filter_map(|(name, value)| match value {
                    Json::List(items) => Some((name.clone(), items[row].clone())),
                    _ => None,
                });
                Some(Json::Map(of_row.collect()).to_text())
            })
            .collect(),
        whole => vec![Some(whole.to_text())],
    }
}

/// Rows as the server takes them.
pub(super) fn batch(rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let text = |value: fn(&Row) -> Option<&str>| {
        let mut texts = StringBuilder::new();
        for row in rows {
            texts.append_option(value(row));
        }
        Arc::new(texts.finish()) as ArrayRef
    };
    let (mut numbers, mut versions, mut statuses) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut latencies, mut shadows) = (Float64Builder::new(), BooleanBuilder::new());
    let mut times = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut inputs = StringBuilder::new();
    for row in rows {
        numbers.append_value(row.row);
        versions.append_option(row.version);
        statuses.append_value(row.status);
        latencies.append_value(row.latency_ms);
        shadows.append_value(row.is_shadow);
        times.append_value(row.time);
        let entries = row.inputs.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let json = serde_json::Value::Object(entries.collect()).to_string();
        // Escapes may make it far longer; one row that is not taken would cost all of its batch.
        inputs.append_value(if json.len() <= 2 * MOST_BYTES { json.as_str() } else { "{}" });
    }
    let columns: [(&str, ArrayRef); 13] = [
        ("request_id", text(|row| Some(&row.request_id))),
        ("row", Arc::new(numbers.finish())),
        ("time", Arc::new(times.finish())),
        ("model", text(|row| Some(&row.model))),
        ("registered_model", text(|row| row.registered_model.as_deref())),
        ("version", Arc::new(versions.finish())),
        ("model_id", text(|row| row.model_id.as_deref())),
        ("is_shadow", Arc::new(shadows.finish())),
        ("status", Arc::new(statuses.finish())),
        ("latency_ms", Arc::new(latencies.finish())),
        ("inputs", Arc::new(inputs.finish())),
        ("output", text(|row| row.output.as_deref())),
        ("error", text(|row| row.error.as_deref())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
}
