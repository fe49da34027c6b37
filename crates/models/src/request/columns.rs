//! One column of a request as an Arrow array of the signature's type.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Frame, NAMELESS, Refused, Result};
use crate::json::Json;
use crate::signature::{Kind, Simple, Tensor};

/// In the metadata of a column whose texts are JSON: the model gets what they say.
pub(crate) const JSON_COLUMN: &str = "runlake.json";

type Built = (Field, ArrayRef);

/// A column of a kind. Errors name the column and its row, counted from zero.
pub(super) fn build(name: &str, kind: &Kind, cells: &[&Json], is_base64: bool) -> Result<Built> {
    let field = |data_type| Field::new(name, data_type, true);
    Ok(match kind {
        Kind::Simple(Simple::Boolean) => {
            let values: BooleanArray = each(name, cells, boolean)?.into_iter().map(Some).collect();
            (field(DataType::Boolean), Arc::new(values))
        }
        Kind::Simple(Simple::Integer) => {
            let read = |cell: &Json| {
                i32::try_from(whole(cell, "integer")?).map_err(|_| format!("{} is beyond 32 bits", cell.shown()))
            };
            (field(DataType::Int32), Arc::new(Int32Array::from(each(name, cells, read)?)))
        }
        Kind::Simple(Simple::Long) => {
            let read = |cell: &Json| whole(cell, "long");
            (field(DataType::Int64), Arc::new(Int64Array::from(each(name, cells, read)?)))
        }
        Kind::Simple(Simple::Float) => {
            #[allow(clippy::cast_possible_truncation, reason = "rounding to 32 bits is what a float column is")]
            let read = |cell: &Json| number(cell, "float").map(|number| number as f32);
            (field(DataType::Float32), Arc::new(Float32Array::from(each(name, cells, read)?)))
        }
        Kind::Simple(Simple::Double) => {
            let read = |cell: &Json| number(cell, "double");
            (field(DataType::Float64), Arc::new(Float64Array::from(each(name, cells, read)?)))
        }
        // What is no text stays what it is, as it does in MLflow.
        Kind::Simple(Simple::String) => text_column(name, cells),
        Kind::Simple(Simple::Binary) => {
            let mut values = BinaryBuilder::new();
            for value in each(name, cells, |cell| binary(cell, is_base64))? {
                values.append_value(value);
            }
            (field(DataType::Binary), Arc::new(values.finish()))
        }
        Kind::Simple(Simple::Datetime) => {
            let values = TimestampNanosecondArray::from(each(name, cells, datetime)?);
            (field(values.data_type_of()), Arc::new(values))
        }
        nested => {
            each(name, cells, |cell| fits(nested, cell))?;
            json_column(name, cells)
        }
    })
}

trait TypeOf {
    fn data_type_of(&self) -> DataType;
}

impl<T: arrow_array::Array> TypeOf for T {
    fn data_type_of(&self) -> DataType {
        self.data_type().clone()
    }
}

fn each<T>(name: &str, cells: &[&Json], read: impl Fn(&Json) -> Result<T, String>) -> Result<Vec<T>> {
    cells
        .iter()
        .enumerate()
        .map(|(row, cell)| read(cell).map_err(|problem| Refused::bad(format!("column {name:?}, row {row}: {problem}"))))
        .collect()
}

fn json_column(name: &str, cells: &[&Json]) -> Built {
    let metadata = HashMap::from([(JSON_COLUMN.to_owned(), "1".to_owned())]);
    let texts: StringArray = cells.iter().map(|cell| Some(cell.to_text())).collect();
    (Field::new(name, DataType::Utf8, true).with_metadata(metadata), Arc::new(texts))
}

fn text_column(name: &str, cells: &[&Json]) -> Built {
    let mut texts = Vec::with_capacity(cells.len());
    for cell in cells {
        match cell {
            Json::Text(text) => texts.push(text.as_str()),
            _ => return json_column(name, cells),
        }
    }
    (Field::new(name, DataType::Utf8, true), Arc::new(StringArray::from(texts)))
}

fn boolean(cell: &Json) -> Result<bool, String> {
    match cell {
        Json::Bool(truth) => Ok(*truth),
        Json::Int(0) => Ok(false),
        Json::Int(1) => Ok(true),
        Json::Float(number) if *number == 0.0 => Ok(false),
        Json::Float(number) if *number == 1.0 => Ok(true),
        Json::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Json::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(format!("{} is no boolean; send true or false", other.shown())),
    }
}

fn whole(cell: &Json, kind: &str) -> Result<i64, String> {
    let not = |why: &str| Err(format!("{} {why}, and the column is {kind}", cell.shown()));
    match cell {
        Json::Int(number) => Ok(*number),
        Json::Bool(truth) => Ok(i64::from(*truth)),
        Json::Text(text) => match text.trim().parse() {
            Ok(number) => Ok(number),
            Err(_) => not("is no whole number"),
        },
        Json::Float(number) if number.is_nan() => not("cannot stand in whole numbers"),
        Json::Float(number) if number.fract() != 0.0 => not("has a fraction that would be lost"),
        #[allow(clippy::cast_possible_truncation, reason = "within the range, as was just seen")]
        Json::Float(number) if number.abs() < 9.2e18 => Ok(*number as i64),
        Json::Float(_) | Json::Big(_) => not("is beyond 64 bits"),
        Json::Null => not("is missing: whole numbers have no empty value"),
        Json::List(_) | Json::Map(_) => not("is no whole number"),
    }
}

fn number(cell: &Json, kind: &str) -> Result<f64, String> {
    match cell {
        Json::Null => Ok(f64::NAN),
        Json::Bool(truth) => Ok(f64::from(u8::from(*truth))),
        Json::Int(number) => Ok(*number as f64),
        Json::Float(number) => Ok(*number),
        Json::Big(text) | Json::Text(text) => {
            text.trim().parse().map_err(|_| format!("{} is no number, and the column is {kind}", cell.shown()))
        }
        Json::List(_) | Json::Map(_) => Err(format!("{} is no number, and the column is {kind}", cell.shown())),
    }
}

/// Base64 as Python decodes it: what is not of its alphabet is skipped.
fn binary(cell: &Json, is_base64: bool) -> Result<Vec<u8>, String> {
    let Json::Text(text) = cell else { return Err(format!("{} is no text of base64", cell.shown())) };
    if !is_base64 {
        return Ok(text.as_bytes().to_vec());
    }
    let clean: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')).collect();
    STANDARD.decode(clean).map_err(|error| format!("{} is no base64: {error}", cell.shown()))
}

fn datetime(cell: &Json) -> Result<Option<i64>, String> {
    match cell {
        Json::Null => Ok(None),
        Json::Int(nanos) => Ok(Some(*nanos)),
        #[allow(clippy::cast_possible_truncation, reason = "a saturated time is out of any range")]
        Json::Float(nanos) if nanos.is_finite() => Ok(Some(*nanos as i64)),
        Json::Text(text) => datetime_text(text).map(Some),
        other => Err(format!("{} is no time", other.shown())),
    }
}

/// A time: ISO 8601 without a zone, `20200131`, or `01/31/2020`.
pub(super) fn datetime_text(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let unknown = || format!("{text:?} is no time; write it as 2020-01-31 or 2020-01-31T12:30:00");
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let iso = match text.as_bytes() {
        _ if !text.is_ascii() => return Err(unknown()),
        [_, _, b'/', _, _, b'/', ..] if text.len() == 10 => format!("{}-{}-{}", &text[6..], &text[..2], &text[3..5]),
        _ if text.len() == 8 && digits(text) => format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]),
        _ => text.to_owned(),
    };
    let clock = iso.get(10..).unwrap_or_default();
    if clock.contains(['Z', 'z', '+', '-']) {
        return Err(format!("{text:?} has a time zone, and the model takes times without; send UTC without its sign"));
    }
    let iso = if clock.len() == 6 { format!("{iso}:00") } else { iso };
    arrow_cast::parse::string_to_timestamp_nanos(&iso).map_err(|_| unknown())
}

/// Whether a value has the shape of a kind. The finer rules are the model's own.
fn fits(kind: &Kind, cell: &Json) -> Result<(), String> {
    match (kind, cell) {
        (Kind::Any, _) => Ok(()),
        (Kind::Array(items), Json::List(cells)) => cells.iter().enumerate().try_for_each(|(index, cell)| {
            if matches!(cell, Json::Null) {
                Ok(())
            } else {
                fits(items, cell).map_err(|problem| format!("item {index}: {problem}"))
            }
        }),
        (Kind::Map(values), Json::Map(entries)) => entries
            .iter()
            .try_for_each(|(key, value)| fits(values, value).map_err(|problem| format!("key {key:?}: {problem}"))),
        (Kind::Object(properties), Json::Map(entries)) => {
            if let Some((key, _)) = entries.iter().find(|(key, _)| properties.iter().all(|known| known.name != *key)) {
                return Err(format!("the key {key:?} is not among the properties of {kind}"));
            }
            properties.iter().try_for_each(|property| match entries.iter().find(|(key, _)| *key == property.name) {
                None if property.is_required => Err(format!("the property {:?} is missing", property.name)),
                Some((_, Json::Null)) if !property.is_required => Ok(()),
                None => Ok(()),
                Some((key, value)) => fits(&property.kind, value).map_err(|problem| format!("key {key:?}: {problem}")),
            })
        }
        (Kind::Simple(simple), cell) => {
            let is_fit = match simple {
                Simple::Boolean => matches!(cell, Json::Bool(_)),
                Simple::Integer | Simple::Long => matches!(cell, Json::Int(_)),
                Simple::Float | Simple::Double => matches!(cell, Json::Int(_) | Json::Float(_)),
                Simple::String | Simple::Binary => matches!(cell, Json::Text(_)),
                Simple::Datetime => matches!(cell, Json::Text(_) | Json::Int(_)),
            };
            if is_fit { Ok(()) } else { Err(format!("{} is no {kind}", cell.shown())) }
        }
        (kind, cell) => Err(format!("{} is {}, and the model takes {kind}", cell.shown(), cell.kind())),
    }
}

/// A table for a model that takes one tensor: columns of its type. Python does the rest.
pub(super) fn of_tensor(frame: &Frame<'_>, specs: &[Tensor]) -> Result<RecordBatch> {
    let simple = match specs {
        [Tensor { name: None, dtype, shape }] => {
            let width = frame.columns.len();
            if shape.len() == 2 && shape[1] != -1 && usize::try_from(shape[1]) != Ok(width) {
                return Err(Refused::schema(format!(
                    "the model takes a tensor of shape {shape:?}, and the table has {width} columns"
                )));
            }
            match dtype.as_str() {
                "float64" => Some(Simple::Double),
                "float32" => Some(Simple::Float),
                "int64" => Some(Simple::Long),
                "int32" => Some(Simple::Integer),
                "bool" => Some(Simple::Boolean),
                _ => None,
            }
        }
        _ => None,
    };
    let missing: Vec<&str> = specs
        .iter()
        .filter_map(|spec| spec.name.as_deref())
        .filter(|name| !frame.names.iter().flatten().any(|known| known == name))
        .collect();
    if !missing.is_empty() {
        return Err(Refused::schema(format!(
            "the model needs the tensors {missing:?}, which the table has no columns for"
        )));
    }
    let Some(simple) = simple.filter(|_| frame.columns.iter().flatten().all(|cell| cell.is_scalar())) else {
        return inferred(frame);
    };
    let built = frame
        .columns
        .iter()
        .enumerate()
        .map(|(place, cells)| build(&name_of(frame, place), &Kind::Simple(simple), cells, true));
    batch(built.collect::<Result<_>>()?, frame.rows, frame.names.is_none())
}

fn name_of(frame: &Frame<'_>, place: usize) -> String {
    frame.names.as_ref().map_or_else(|| place.to_string(), |names| names[place].clone())
}

/// A table for a model without a signature: each column of the type that its values have.
pub(super) fn inferred(frame: &Frame<'_>) -> Result<RecordBatch> {
    let kind_of = |cells: &[&Json]| {
        let all = |test: fn(&Json) -> bool| !cells.is_empty() && cells.iter().all(|cell| test(cell));
        if all(|cell| matches!(cell, Json::Int(_))) {
            Some(Simple::Long)
        } else if all(|cell| matches!(cell, Json::Bool(_))) {
            Some(Simple::Boolean)
        } else if all(|cell| matches!(cell, Json::Int(_) | Json::Float(_) | Json::Null))
            && !all(|cell| matches!(cell, Json::Null))
        {
            Some(Simple::Double)
        } else {
            None
        }
    };
    let built = frame.columns.iter().enumerate().map(|(place, cells)| {
        let name = name_of(frame, place);
        match kind_of(cells) {
            Some(simple) => build(&name, &Kind::Simple(simple), cells, true),
            None => Ok(text_column(&name, cells)),
        }
    });
    batch(built.collect::<Result<_>>()?, frame.rows, frame.names.is_none())
}

pub(super) fn batch(built: Vec<Built>, rows: usize, is_nameless: bool) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = built.into_iter().unzip();
    let mut schema = ArrowSchema::new(fields);
    if is_nameless {
        schema.metadata.insert(NAMELESS.to_owned(), "1".to_owned());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
        .map_err(|error| Refused::bad(format!("the columns make no table: {error}")))
}
