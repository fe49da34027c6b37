//! Answers as bytes: what clients ask for that do not read Arrow from memory.

mod json;

use std::io::Write;
use std::mem;
use std::sync::Arc;

use arrow_csv::WriterBuilder;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{Error, Result};
use json::{Lines, Table};

/// Rows of a row group of Parquet: written out when it is full.
const GROUP_ROWS: usize = 256 * 1024;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Arrow IPC stream.
    Arrow,
    /// Arrow IPC stream, its buffers compressed with zstd.
    ArrowZstd,
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object: columns, rows as lists, and their count.
    Json,
    /// A JSON object for each row, one a line.
    JsonLines,
    /// Parquet, zstd.
    Parquet,
}

/// Writes batches of one schema. What is written so far is taken with [`Encoder::take`].
pub struct Encoder {
    out: Shared,
    schema: SchemaRef,
    kind: Kind,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

enum Kind {
    Arrow(StreamWriter<Shared>),
    Csv(Box<arrow_csv::Writer<Shared>>),
    Json(Table),
    JsonLines(Lines),
    Parquet(Box<ArrowWriter<Shared>>),
}

impl Encoder {
    /// An encoder for rows of `schema`.
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        let out = Shared::default();
        let kind = match format {
            Format::Arrow => Kind::Arrow(StreamWriter::try_new(out.clone(), schema)?),
            Format::ArrowZstd => {
                let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
                Kind::Arrow(StreamWriter::try_new_with_options(out.clone(), schema, options)?)
            }
            Format::Csv => {
                let mut writer = WriterBuilder::new().with_header(true).build(out.clone());
                // An answer without rows has its header all the same.
                writer.write(&flat(&RecordBatch::new_empty(Arc::clone(schema)))?)?;
                Kind::Csv(Box::new(writer))
            }
            Format::Json => Kind::Json(Table::begin(schema, &mut out.0.lock())),
            Format::JsonLines => Kind::JsonLines(Lines),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(out.clone(), Arc::clone(schema), Some(properties));
                Kind::Parquet(Box::new(writer.map_err(unwritable)?))
            }
        };
        Ok(Self { out, schema: Arc::clone(schema), kind })
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.kind {
            Kind::Arrow(writer) => writer.write(batch)?,
            Kind::Csv(writer) => writer.write(&flat(batch)?)?,
            Kind::Json(table) => table.rows(batch, &mut self.out.0.lock())?,
            Kind::JsonLines(lines) => lines.rows(batch, &mut self.out.0.lock())?,
            Kind::Parquet(writer) => writer.write(batch).map_err(unwritable)?,
        }
        Ok(())
    }

    /// The end. `truncated` says that there are more rows than were written, where the format can.
    pub fn finish(self, truncated: bool) -> Result<Vec<u8>> {
        match self.kind {
            Kind::Arrow(mut writer) => writer.finish()?,
            Kind::Csv(writer) => drop(writer),
            Kind::Json(table) => table.end(truncated, &mut self.out.0.lock()),
            Kind::JsonLines(_) => {}
            Kind::Parquet(writer) => drop(writer.close().map_err(unwritable)?),
        }
        Ok(mem::take(&mut self.out.0.lock()))
    }

    /// The bytes written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.out.0.lock())
    }
}

/// A buffer that a writer fills and we empty.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Nested columns as text, which CSV cannot hold otherwise.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let options = FormatOptions::default();
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            let texts = ArrayFormatter::try_new(column, &options)?;
            let texts: StringArray =
                (0..column.len()).map(|row| column.is_valid(row).then(|| texts.value(row).to_string())).collect();
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(Arc::new(texts));
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The type of a column in SQL's words.
pub fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INTEGER UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float16 | DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Dictionary(_, value) => type_name(value),
        other => other.to_string(),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unwritable(error: parquet::errors::ParquetError) -> Error {
    Error::Internal(format!("the answer cannot be written as Parquet: {error}"))
}

#[cfg(test)]
mod tests;
