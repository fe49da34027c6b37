//! `inputs` and `instances` of a model that takes tensors: lists of lists become one run of bytes each.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, LargeBinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use half::f16;

use super::{Input, Refused, Result};
use crate::json::Json;
use crate::signature::{DTYPES, Tensor};

/// In the metadata of a tensor's column: numpy's name of the type, and the shape as a JSON list.
pub(crate) const DTYPE: &str = "runlake.dtype";
pub(crate) const SHAPE: &str = "runlake.shape";

pub(super) fn read(form: &str, content: &Json, specs: &[Tensor]) -> Result<Input> {
    let is_known = |spec: &Tensor| DTYPES.iter().any(|(name, _)| *name == spec.dtype);
    let is_list = matches!(content, Json::List(rows) if !matches!(rows.first(), Some(Json::Map(_))));
    if let [spec] = specs
        && (spec.name.is_none() || is_list)
    {
        if matches!(content, Json::Map(_) | Json::Null) {
            return Err(Refused::bad(format!(
                "{form} is {}, and the model takes one tensor without a name; send the lists themselves",
                content.kind()
            )));
        }
        if !is_known(spec) {
            return Ok(Input::Arrays(content.to_text()));
        }
        return batch(&[(spec, content)]);
    }
    let by_name = match content {
        Json::List(rows) if form == "instances" && matches!(rows.first(), Some(Json::Map(_))) => by_name(rows)?,
        other => other.clone(),
    };
    if !matches!(by_name, Json::Map(_)) {
        let names: Vec<&str> = specs.iter().filter_map(|spec| spec.name.as_deref()).collect();
        return Err(Refused::schema(format!("{form} has no names, and the model takes the tensors {names:?}")));
    }
    let mut given = Vec::new();
    let mut missing = Vec::new();
    for spec in specs {
        let name = spec.name.as_deref().unwrap_or_default();
        match by_name.get(name) {
            Some(value) => given.push((spec, value)),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        return Err(Refused::schema(format!("the model needs the tensors {missing:?}, which were not sent")));
    }
    if !specs.iter().all(is_known) {
        let entries = given.into_iter().map(|(spec, value)| (spec.name.clone().unwrap_or_default(), value.clone()));
        return Ok(Input::Arrays(Json::Map(entries.collect()).to_text()));
    }
    batch(&given)
}

/// Rows of objects as one object of lists.
pub(super) fn by_name(rows: &[Json]) -> Result<Json> {
    let mut lists: Vec<(String, Vec<Json>)> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let Json::Map(entries) = row else {
            return Err(Refused::bad(format!("row {number} of instances is {}, and row 0 is an object", row.kind())));
        };
        for (name, value) in entries {
            match lists.iter_mut().find(|(known, _)| known == name) {
                Some((_, list)) => list.push(value.clone()),
                None => lists.push((name.clone(), vec![value.clone()])),
            }
        }
        if let Some((name, list)) = lists.iter().find(|(_, list)| list.len() != number + 1) {
            return Err(Refused::bad(format!(
                "up to row {number} of instances {name:?} stands {} times; every row is to have the same keys",
                list.len()
            )));
        }
    }
    Ok(Json::Map(lists.into_iter().map(|(name, list)| (name, Json::List(list))).collect()))
}

fn batch(given: &[(&Tensor, &Json)]) -> Result<Input> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (spec, value) in given {
        let called = spec.name.as_deref().map_or("the tensor".to_owned(), |name| format!("the tensor {name:?}"));
        let bad = |problem: String| Refused::bad(format!("{called}: {problem}"));
        let mut shape = Vec::new();
        let mut value_of_first = *value;
        while let Json::List(items) = value_of_first {
            shape.push(items.len());
            match items.first() {
                Some(first) => value_of_first = first,
                None => break,
            }
        }
        let fits = shape.len() == spec.shape.len()
            && shape.iter().zip(&spec.shape).all(|(have, want)| *want == -1 || i64::try_from(*have) == Ok(*want));
        let mut bytes = Vec::new();
        fill(value, &shape, &spec.dtype, &mut bytes).map_err(bad)?;
        if !fits {
            return Err(Refused::schema(format!(
                "{called} has the shape {shape:?}, and the model takes {:?} (-1 is any length)",
                spec.shape
            )));
        }
        let metadata = HashMap::from([
            (DTYPE.to_owned(), spec.dtype.clone()),
            (SHAPE.to_owned(), serde_json::json!(shape).to_string()),
        ]);
        let name = spec.name.clone().unwrap_or_default();
        fields.push(Field::new(name, DataType::LargeBinary, false).with_metadata(metadata));
        arrays.push(Arc::new(LargeBinaryArray::from_vec(vec![&bytes])));
    }
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays)
        .map(Input::Tensors)
        .map_err(|error| Refused::bad(format!("the tensors make no batch: {error}")))
}

fn fill(value: &Json, shape: &[usize], dtype: &str, out: &mut Vec<u8>) -> Result<(), String> {
    match (value, shape) {
        (Json::List(items), [length, rest @ ..]) => {
            if items.len() != *length {
                return Err(format!("its lists have different lengths: {length} and {}", items.len()));
            }
            items.iter().try_for_each(|item| fill(item, rest, dtype, out))
        }
        (Json::List(_), []) | (_, [_, ..]) => Err("its lists are nested to different depths".to_owned()),
        (value, []) => put(value, dtype, out),
    }
}

/// One value, with the least byte first. A whole number that the type cannot hold is refused.
#[allow(clippy::cast_possible_truncation, reason = "rounding is what a shorter float is")]
fn put(value: &Json, dtype: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let shown = || format!("{} is no {dtype}", value.shown());
    if dtype.starts_with("float") {
        let number = match value {
            Json::Null => f64::NAN,
            Json::Bool(truth) => f64::from(u8::from(*truth)),
            Json::Int(number) => *number as f64,
            Json::Float(number) => *number,
            Json::Big(text) | Json::Text(text) => text.trim().parse().map_err(|_| shown())?,
            _ => return Err(shown()),
        };
        match dtype {
            "float16" => out.extend(f16::from_f64(number).to_le_bytes()),
            "float32" => out.extend((number as f32).to_le_bytes()),
            _ => out.extend(number.to_le_bytes()),
        }
        return Ok(());
    }
    let number: i128 = match value {
        Json::Bool(truth) => i128::from(*truth),
        Json::Int(number) => i128::from(*number),
        Json::Float(number) if number.fract() == 0.0 && number.abs() < 1e19 => *number as i128,
        // MLflow cuts fractions off here.
        Json::Float(number) if number.is_finite() => {
            return Err(format!("{} has a fraction that would be lost", value.shown()));
        }
        Json::Big(text) | Json::Text(text) => text.trim().parse().map_err(|_| shown())?,
        _ => return Err(shown()),
    };
    let beyond = |_| format!("{} is beyond {dtype}", value.shown());
    match dtype {
        "bool" => out.push(u8::from(number != 0)),
        "int8" => out.extend(i8::try_from(number).map_err(beyond)?.to_le_bytes()),
        "int16" => out.extend(i16::try_from(number).map_err(beyond)?.to_le_bytes()),
        "int32" => out.extend(i32::try_from(number).map_err(beyond)?.to_le_bytes()),
        "int64" => out.extend(i64::try_from(number).map_err(beyond)?.to_le_bytes()),
        "uint8" => out.push(u8::try_from(number).map_err(beyond)?),
        "uint16" => out.extend(u16::try_from(number).map_err(beyond)?.to_le_bytes()),
        "uint32" => out.extend(u32::try_from(number).map_err(beyond)?.to_le_bytes()),
        _ => out.extend(u64::try_from(number).map_err(beyond)?.to_le_bytes()),
    }
    Ok(())
}
