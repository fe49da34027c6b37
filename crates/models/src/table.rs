//! An answer as a table: for files that are not JSON.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};

use crate::json::Json;
use crate::{Error, Result};

/// What single values stand under.
const PREDICTIONS: &str = "predictions";

/// What a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The answer as it is.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Parquet.
    Parquet,
    /// An Arrow stream.
    Arrow,
}

impl Format {
    /// By the ending of a file's name; JSON for all that are not known.
    pub fn of_ending(ending: Option<&str>) -> Self {
        match ending {
            Some("csv") => Self::Csv,
            Some("parquet") => Self::Parquet,
            Some("arrow" | "arrows") => Self::Arrow,
            _ => Self::Json,
        }
    }

    /// The bytes of a file for an answer of a model.
    pub fn write(self, answer: &[u8]) -> Result<Vec<u8>> {
        if self == Self::Json {
            return Ok(answer.to_vec());
        }
        let batch = of_answer(answer)?;
        let unwritable =
            |error: &dyn std::fmt::Display| Error::worker(format!("the answer cannot be written: {error}"));
        match self {
            Self::Json => Ok(answer.to_vec()),
            Self::Csv => csv(&batch).map_err(|error| unwritable(&error)),
            Self::Parquet => {
                let mut out = Vec::new();
                let mut write = || {
                    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut out, batch.schema(), None)?;
                    writer.write(&batch)?;
                    writer.close()
                };
                write().map_err(|error| unwritable(&error))?;
                Ok(out)
            }
            Self::Arrow => {
                let write = || {
                    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
                    writer.write(&batch)?;
                    writer.into_inner()
                };
                write().map_err(|error: arrow_schema::ArrowError| unwritable(&error))
            }
        }
    }
}

/// The Arrow stream of an Arrow file.
pub fn stream_of_file(file: Vec<u8>) -> Result<Vec<u8>> {
    let read = || {
        let reader = arrow_ipc::reader::FileReader::try_new(std::io::Cursor::new(file), None)?;
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &reader.schema())?;
        for batch in reader {
            writer.write(&batch?)?;
        }
        writer.into_inner()
    };
    read().map_err(|error: arrow_schema::ArrowError| Error::usage(format!("the Arrow file cannot be read: {error}")))
}

/// Rows of objects, single values, or an object of lists become columns.
pub fn of_answer(answer: &[u8]) -> Result<RecordBatch> {
    let bad = |problem: String| Error::worker(format!("the answer is no table: {problem}"));
    let text = std::str::from_utf8(answer).map_err(|error| bad(error.to_string()))?;
    let answer = Json::parse(text).map_err(bad)?;
    let predictions = answer.get(PREDICTIONS).unwrap_or(&answer);
    let columns = match predictions {
        Json::List(rows) if rows.iter().any(|row| matches!(row, Json::Map(_))) => of_records(rows),
        Json::List(values) => vec![(PREDICTIONS.to_owned(), values.iter().collect())],
        Json::Map(entries) => match of_lists(entries) {
            Some(columns) => columns,
            None => entries.iter().map(|(name, value)| (name.clone(), vec![value])).collect(),
        },
        single => vec![(PREDICTIONS.to_owned(), vec![single])],
    };
    let arrays = columns.into_iter().map(|(name, cells)| (name, array(&cells), true));
    RecordBatch::try_from_iter_with_nullable(arrays).map_err(|error| bad(error.to_string()))
}

type Columns<'a> = Vec<(String, Vec<&'a Json>)>;

fn of_records(rows: &[Json]) -> Columns<'_> {
    const ABSENT: &Json = &Json::Null;
    let mut columns: Columns<'_> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let alone = [(PREDICTIONS.to_owned(), row)];
        let entries: Vec<(&String, &Json)> = match row {
            Json::Map(entries) => entries.iter().map(|(name, value)| (name, value)).collect(),
            _ => alone.iter().map(|(name, value)| (name, *value)).collect(),
        };
        for (name, value) in entries {
            let place = columns.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                columns.push((name.clone(), vec![ABSENT; number]));
                columns.len() - 1
            });
            columns[place].1.resize(number, ABSENT);
            columns[place].1.push(value);
        }
    }
    for (_, cells) in &mut columns {
        cells.resize(rows.len(), ABSENT);
    }
    columns
}

fn of_lists(entries: &[(String, Json)]) -> Option<Columns<'_>> {
    let mut columns = Vec::with_capacity(entries.len());
    let mut length = None;
    for (name, value) in entries {
        let Json::List(items) = value else { return None };
        if *length.get_or_insert(items.len()) != items.len() {
            return None;
        }
        columns.push((name.clone(), items.iter().collect()));
    }
    Some(columns)
}

/// A column of the type that its values have; what has none is JSON.
fn array(cells: &[&Json]) -> ArrayRef {
    let all = |test: fn(&Json) -> bool| cells.iter().all(|cell| matches!(cell, Json::Null) || test(cell));
    if all(|cell| matches!(cell, Json::Int(_))) {
        let value = |cell: &&Json| if let Json::Int(number) = cell { Some(*number) } else { None };
        return Arc::new(cells.iter().map(value).collect::<Int64Array>());
    }
    if all(|cell| number(cell).is_some()) {
        return Arc::new(cells.iter().map(|cell| number(cell)).collect::<Float64Array>());
    }
    if all(|cell| matches!(cell, Json::Bool(_))) {
        let value = |cell: &&Json| if let Json::Bool(truth) = cell { Some(*truth) } else { None };
        return Arc::new(cells.iter().map(value).collect::<BooleanArray>());
    }
    if all(|cell| matches!(cell, Json::List(items) if items.iter().all(|item| number(item).is_some()))) {
        let mut lists = ListBuilder::new(Float64Builder::new());
        for cell in cells {
            if let Json::List(items) = cell {
                for item in items {
                    lists.values().append_option(number(item));
                }
            }
            lists.append(matches!(cell, Json::List(_)));
        }
        return Arc::new(lists.finish());
    }
    let text = |cell: &&Json| match cell {
        Json::Null => None,
        Json::Text(text) => Some(text.clone()),
        other => Some(other.to_text()),
    };
    Arc::new(cells.iter().map(text).collect::<StringArray>())
}

fn number(cell: &Json) -> Option<f64> {
    match cell {
        Json::Int(number) => Some(*number as f64),
        Json::Float(number) => Some(*number),
        _ => None,
    }
}

fn csv(batch: &RecordBatch) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let options = arrow_cast::display::FormatOptions::default();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names: Vec<&String> = batch.schema_ref().fields().iter().map(|field| field.name()).collect();
    writer.write_record(names)?;
    let columns = batch.columns().iter();
    let columns = columns
        .map(|array| arrow_cast::display::ArrayFormatter::try_new(array, &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        writer.write_record(columns.iter().map(|column| column.value(row).to_string()))?;
    }
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: &str) -> Vec<(String, String)> {
        let batch = of_answer(answer.as_bytes()).unwrap();
        let options = arrow_cast::display::FormatOptions::default().with_null("null");
        batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| {
                let texts = arrow_cast::display::ArrayFormatter::try_new(array, &options).unwrap();
                let cells: Vec<String> = (0..array.len()).map(|row| texts.value(row).to_string()).collect();
                (format!("{}: {}", field.name(), field.data_type()), cells.join(" "))
            })
            .collect()
    }

    #[test]
    fn every_form_of_an_answer_is_a_table() {
        for (answer, expected) in [
            (r#"{"predictions": [1, 2]}"#, vec![("predictions: Int64", "1 2")]),
            (r#"{"predictions": [1, NaN, null]}"#, vec![("predictions: Float64", "1.0 NaN null")]),
            (r#"{"predictions": [true, "x"]}"#, vec![("predictions: Utf8", "true x")]),
            (r#"{"predictions": [{"a": 1}, {"b": "x"}]}"#, vec![("a: Int64", "1 null"), ("b: Utf8", "null x")]),
            (
                r#"{"predictions": {"a": [1], "b": [[0.5, 1]]}}"#,
                vec![("a: Int64", "1"), ("b: List(Float64)", "[0.5, 1.0]")],
            ),
            (r#"{"predictions": {"a": 1, "b": {"c": 2}}}"#, vec![("a: Int64", "1"), ("b: Utf8", r#"{"c":2}"#)]),
            (r#""x""#, vec![("predictions: Utf8", "x")]),
        ] {
            let told = told(answer);
            let told: Vec<(&str, String)> = told.iter().map(|(a, b)| (a.as_str(), b.replace(": ", ":"))).collect();
            let expected: Vec<(&str, String)> = expected.into_iter().map(|(a, b)| (a, b.to_owned())).collect();
            assert_eq!(told, expected, "{answer}");
        }
        assert!(of_answer(b"{").is_err());
        let csv = Format::Csv.write(br#"{"predictions": [{"a": 1, "b": "x,y"}]}"#).unwrap();
        assert_eq!(String::from_utf8(csv).unwrap(), "a,b\n1,\"x,y\"\n");
    }
}
