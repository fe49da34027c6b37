//! Bodies that are tables already: Arrow streams and Parquet files. Columns are cast where no value changes.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Refused, Result, columns, places};
use crate::signature::{Kind, Schema, Simple};

/// A body that says little may unfold to much: the bytes that its columns may have.
const MOST_BYTES: usize = 1 << 30;
/// And the rows.
const MOST_ROWS: usize = 10_000_000;

pub(super) fn stream(body: &[u8], inputs: Option<&Schema>) -> Result<RecordBatch> {
    walk(body).map_err(|problem| unreadable("Arrow stream", &problem))?;
    let reader = arrow_ipc::reader::StreamReader::try_new(Cursor::new(body), None)
        .map_err(|error| unreadable("Arrow stream", &error))?;
    let schema = reader.schema();
    gather("Arrow stream", schema, reader, inputs)
}

/// Looks at every message before any memory is taken for it: a few bytes may claim to be gigabytes.
fn walk(body: &[u8]) -> Result<(), String> {
    let mut rest = body;
    let word = |rest: &[u8]| rest.get(..4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    while let Some(mut length) = word(rest) {
        rest = &rest[4..];
        if length == u32::MAX {
            length = word(rest).ok_or("it ends within a message")?;
            rest = &rest[4..];
        }
        if length == 0 {
            return Ok(());
        }
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        let header = rest.get(..length).ok_or("it ends within a message")?;
        let message = arrow_ipc::root_as_message(header).map_err(|error| error.to_string())?;
        let batch = match message.header_as_dictionary_batch() {
            Some(dictionary) => dictionary.data(),
            None => message.header_as_record_batch(),
        };
        if let Some(batch) = batch {
            if batch.compression().is_some() {
                return Err("its buffers are compressed; send them as they are".to_owned());
            }
            let is_many = |rows: i64| usize::try_from(rows).map_or(true, |rows| rows > MOST_ROWS);
            if is_many(batch.length())
                || batch.nodes().is_some_and(|nodes| nodes.iter().any(|node| is_many(node.length())))
            {
                return Err(format!("it claims to have more than {MOST_ROWS} rows"));
            }
        }
        let body = usize::try_from(message.bodyLength()).map_err(|error| error.to_string())?;
        rest = rest[length..].get(body..).ok_or("it ends within a batch")?;
    }
    Ok(())
}

pub(super) fn parquet(body: &[u8], inputs: Option<&Schema>) -> Result<RecordBatch> {
    let bad = |error: &dyn std::fmt::Display| unreadable("Parquet file", error);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(body)).map_err(|error| bad(&error))?;
    let rows = builder.metadata().file_metadata().num_rows();
    if usize::try_from(rows).map_or(true, |rows| rows > MOST_ROWS) {
        return Err(too_much());
    }
    let told: i64 = builder.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
    if usize::try_from(told).map_or(true, |told| told > MOST_BYTES) {
        return Err(too_much());
    }
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().map_err(|error| bad(&error))?;
    gather("Parquet file", schema, reader, inputs)
}

fn unreadable(what: &str, problem: &dyn std::fmt::Display) -> Refused {
    Refused::bad(format!("the body is no {what} that can be read: {problem}"))
}

fn too_much() -> Refused {
    Refused {
        status: 413,
        code: "BAD_REQUEST",
        message: format!("the body unfolds to more than {MOST_BYTES} bytes or {MOST_ROWS} rows"),
    }
}

fn gather(
    what: &str,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    inputs: Option<&Schema>,
) -> Result<RecordBatch> {
    let mut all = Vec::new();
    let mut bytes = 0;
    for batch in batches {
        let batch = batch.map_err(|error| unreadable(what, &error))?;
        bytes += batch.get_array_memory_size();
        if bytes > MOST_BYTES {
            return Err(too_much());
        }
        all.push(batch);
    }
    let batch = arrow_select::concat::concat_batches(&schema, &all).map_err(|error| unreadable(what, &error))?;
    enforce(&batch, inputs)
}

fn enforce(batch: &RecordBatch, inputs: Option<&Schema>) -> Result<RecordBatch> {
    let plain = |name: &str, array: &ArrayRef| (Field::new(name, array.data_type().clone(), true), Arc::clone(array));
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let Some(Schema::Columns(wanted)) = inputs else {
        let built = names.iter().zip(batch.columns()).map(|(name, array)| plain(name, array));
        return columns::batch(built.collect(), batch.num_rows(), false);
    };
    let mut built = Vec::new();
    for (column, place) in places(Some(&names), names.len(), wanted)? {
        let name = column.name.as_deref().unwrap_or(&names[place]);
        let array = batch.column(place);
        built.push(match &column.kind {
            Kind::Simple(simple) => {
                let array =
                    fitted(array, *simple).map_err(|problem| Refused::bad(format!("column {name:?}: {problem}")))?;
                plain(name, &array)
            }
            _ => plain(name, array),
        });
    }
    columns::batch(built, batch.num_rows(), false)
}

/// The array as a simple type, if that changes no value.
fn fitted(array: &ArrayRef, simple: Simple) -> Result<ArrayRef, String> {
    let target = match simple {
        Simple::Boolean => DataType::Boolean,
        Simple::Integer => DataType::Int32,
        Simple::Long => DataType::Int64,
        Simple::Float => DataType::Float32,
        Simple::Double => DataType::Float64,
        Simple::String => DataType::Utf8,
        Simple::Binary => DataType::Binary,
        Simple::Datetime => DataType::Timestamp(TimeUnit::Nanosecond, None),
    };
    let have = array.data_type();
    let is_exact = matches!(simple, Simple::Integer | Simple::Long | Simple::Boolean);
    if is_exact && array.null_count() > 0 {
        let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or_default();
        return Err(format!("row {row} is empty, and {} has no empty value", simple.name()));
    }
    if matches!(have, DataType::Timestamp(_, Some(_))) && simple == Simple::Datetime {
        return Err("its times have a time zone, and the model takes times without".to_owned());
    }
    let is_other_kind = match simple {
        Simple::String => {
            !matches!(have, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..))
        }
        Simple::Binary => !matches!(
            have,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        _ => have.is_nested(),
    };
    if is_other_kind {
        return Err(format!("it is {have}, and the model takes {}", simple.name()));
    }
    if is_exact && have.is_floating() {
        let numbers = arrow_cast::cast(array, &DataType::Float64).map_err(|error| error.to_string())?;
        let numbers = numbers.as_primitive::<Float64Type>();
        if let Some(row) = numbers.iter().position(|number| number.is_none_or(|number| number.fract() != 0.0)) {
            return Err(format!("row {row} has a value that is not whole, and the model takes {}", simple.name()));
        }
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, &target, &options)
        .map_err(|error| format!("it is {have}, and cannot be cast to {}: {error}", simple.name()))
}
