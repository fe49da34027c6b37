//! CSV with a header. Cells are read as the signature's types, or as whole numbers, numbers, booleans or texts.

use arrow_array::RecordBatch;

use super::{Frame, Refused, Result, enforce};
use crate::json::Json;
use crate::signature::{Kind, Schema, Simple};

/// What pandas takes for an empty cell.
const EMPTY: [&str; 18] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan",
];

pub(super) fn read(body: &[u8], inputs: Option<&Schema>) -> Result<RecordBatch> {
    let unreadable =
        |problem: &dyn std::fmt::Display| Refused::bad(format!("the body is no CSV with a header: {problem}"));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(body);
    let names: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect(),
        Err(error) => return Err(unreadable(&error)),
    };
    if names.iter().all(String::is_empty) {
        return Err(unreadable(&"it is empty"));
    }
    let mut columns: Vec<Vec<Json>> = vec![Vec::new(); names.len()];
    let mut rows = 0;
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(&error))?;
        if record.len() > names.len() {
            return Err(unreadable(&format_args!(
                "row {rows} has {} values, and the header names {} columns",
                record.len(),
                names.len()
            )));
        }
        for (place, column) in columns.iter_mut().enumerate() {
            column.push(record.get(place).map_or(Json::Null, |cell| Json::Text(cell.to_owned())));
        }
        rows += 1;
    }
    if body.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err(unreadable(&"a quote is opened and never closed"));
    }
    for (name, column) in names.iter().zip(&mut columns) {
        let kind = match inputs {
            Some(Schema::Columns(columns)) => {
                columns.iter().find(|column| column.name.as_ref() == Some(name)).map(|column| &column.kind)
            }
            _ => None,
        };
        retype(column, kind);
    }
    let columns = columns.iter().map(|column| column.iter().collect()).collect();
    enforce(&Frame { names: Some(names), columns, rows, is_base64: false }, inputs)
}

/// Texts as what they say: as the signature has them, or as pandas would guess.
fn retype(column: &mut [Json], kind: Option<&Kind>) {
    let is_empty = |cell: &Json| matches!(cell, Json::Text(text) if EMPTY.contains(&text.as_str()));
    for cell in column.iter_mut().filter(|cell| is_empty(cell)) {
        *cell = Json::Null;
    }
    let text = |cell: &Json| if let Json::Text(text) = cell { Some(text.clone()) } else { None };
    let is_all = |test: &dyn Fn(&str) -> bool| column.iter().filter_map(text).all(|text| test(&text));
    let wanted = match kind {
        Some(Kind::Simple(simple)) => match simple {
            Simple::Integer | Simple::Long | Simple::Float | Simple::Double => Simple::Double,
            other => *other,
        },
        Some(_) => {
            for cell in column.iter_mut() {
                if let Json::Text(text) = cell
                    && let Ok(value) = Json::parse(text)
                {
                    *cell = value;
                }
            }
            return;
        }
        None if is_all(&|text| text.trim().parse::<f64>().is_ok()) => Simple::Double,
        None if is_all(&|text| matches!(text, "True" | "False" | "TRUE" | "FALSE" | "true" | "false")) => {
            Simple::Boolean
        }
        None => Simple::String,
    };
    if wanted != Simple::Double && wanted != Simple::Boolean {
        return;
    }
    for cell in column {
        let Json::Text(text) = &*cell else { continue };
        let text = text.trim();
        *cell = match (wanted, text.parse::<i64>(), text.parse::<f64>()) {
            (Simple::Double, Ok(number), _) => Json::Int(number),
            (Simple::Double, _, Ok(number)) => Json::Float(number),
            (Simple::Boolean, ..) if text.eq_ignore_ascii_case("true") => Json::Bool(true),
            (Simple::Boolean, ..) if text.eq_ignore_ascii_case("false") => Json::Bool(false),
            _ => continue,
        };
    }
}
