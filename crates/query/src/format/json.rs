//! JSON. Numbers that JSON does not have are texts: "NaN", "Infinity", "-Infinity".

use std::sync::Arc;

use arrow_json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use datafusion::arrow::array::{Array, AsArray as _, PrimitiveArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type, Schema};
use datafusion::arrow::error::ArrowError;
use serde_json::json;

use super::type_name;
use crate::Result;

/// `{"columns": […], "rows": [[…], …], "row_count": n, "truncated": false}`
pub(super) struct Table {
    rows: u64,
}

impl Table {
    pub(super) fn begin(schema: &Schema, out: &mut Vec<u8>) -> Self {
        let columns =
            schema.fields().iter().map(|field| json!({"name": field.name(), "type": type_name(field.data_type())}));
        let columns: serde_json::Value = columns.collect();
        out.extend(format!("{{\"columns\":{columns},\"rows\":[").into_bytes());
        Self { rows: 0 }
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let (schema, options) = (batch.schema(), options());
        let mut columns = encoders(&schema, batch, &options)?;
        for row in 0..batch.num_rows() {
            out.extend(if self.rows == 0 { &b"["[..] } else { b",[" });
            for (at, column) in columns.iter_mut().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                cell(column, row, out);
            }
            out.push(b']');
            self.rows += 1;
        }
        Ok(())
    }

    pub(super) fn end(self, truncated: bool, out: &mut Vec<u8>) {
        out.extend(format!("],\"row_count\":{},\"truncated\":{truncated}}}", self.rows).into_bytes());
    }
}

/// One object a line; columns without a value are null.
pub(super) struct Lines;

impl Lines {
    pub(super) fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let (schema, options) = (batch.schema(), options());
        let names: Vec<String> =
            schema.fields().iter().map(|field| serde_json::Value::from(field.name().as_str()).to_string()).collect();
        let mut columns = encoders(&schema, batch, &options)?;
        for row in 0..batch.num_rows() {
            out.push(b'{');
            for (at, (column, name)) in columns.iter_mut().zip(&names).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend(name.as_bytes());
                out.push(b':');
                cell(column, row, out);
            }
            out.extend(b"}\n");
        }
        Ok(())
    }
}

fn cell(column: &mut NullableEncoder<'_>, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        out.extend(b"null");
    } else {
        column.encode(row, out);
    }
}

fn encoders<'a>(
    schema: &'a Schema,
    batch: &'a RecordBatch,
    options: &'a EncoderOptions,
) -> Result<Vec<NullableEncoder<'a>>> {
    let columns = schema.fields().iter().zip(batch.columns());
    Ok(columns.map(|(field, column)| make_encoder(field, column, options)).collect::<Result<_, _>>()?)
}

fn options() -> EncoderOptions {
    EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(Floats))
}

/// Writes floats with all their digits, and those JSON does not know as texts.
#[derive(Debug)]
struct Floats;

impl EncoderFactory for Floats {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder> = match array.data_type() {
            DataType::Float64 => Box::new(Doubles(array.as_primitive())),
            DataType::Float32 => Box::new(Singles(array.as_primitive())),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Doubles<'a>(&'a PrimitiveArray<Float64Type>);

impl Encoder for Doubles<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        number(self.0.value(row), out);
    }
}

struct Singles<'a>(&'a PrimitiveArray<Float32Type>);

impl Encoder for Singles<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = self.0.value(row);
        match serde_json::Number::from_f64(f64::from(value)) {
            // The shortest text that is this single, not that double.
            Some(_) => out.extend(value.to_string().into_bytes()),
            None => number(f64::from(value), out),
        }
    }
}

fn number(value: f64, out: &mut Vec<u8>) {
    match serde_json::Number::from_f64(value) {
        Some(number) => out.extend(number.to_string().into_bytes()),
        None if value.is_nan() => out.extend(b"\"NaN\""),
        None if value > 0.0 => out.extend(b"\"Infinity\""),
        None => out.extend(b"\"-Infinity\""),
    }
}
