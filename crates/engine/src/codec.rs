//! A group of writes as the payload of one WAL frame, and back.
//!
//! A payload is a format byte and sections. A section is a kind byte, a length (u32, little-endian) and an Arrow IPC stream
//! with its schema, so that columns are found by name when a newer version reads an older log:
//! * `0`: the series of the metric points;
//! * `1`: the points, which refer to series by row number;
//! * `255`: the same of a batch of many points, not as an Arrow stream but packed (see [`packed`]);
//! * `table number`: changed rows of a state table, with the key in `__key` and deletions marked in `__deleted`.

mod packed;

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use runlake_types::{Cell, Change, Key, MetricBatch, Record, TableId, WriteBatch, records_from_batch};

use crate::{Error, Result};

const FORMAT: u8 = 1;
const SERIES: u8 = 0;
const POINTS: u8 = 1;
const PACKED: u8 = 255;
/// From so many points on they are packed: fewer are not worth two ways to read them.
pub(crate) const PACKED_POINTS: usize = 1024;
const KEY: &str = "__key";
const DELETED: &str = "__deleted";

/// Appends a group, in parts, as a payload to `out`.
pub(crate) fn encode(parts: &[WriteBatch], out: &mut Vec<u8>) -> Result<()> {
    out.push(FORMAT);
    parts.iter().try_for_each(|part| encode_part(part, out))
}

fn encode_part(group: &WriteBatch, out: &mut Vec<u8>) -> Result<()> {
    if group.metrics.len() >= PACKED_POINTS {
        section(out, SERIES, &group.metrics.series_to_arrow()?)?;
        framed(out, PACKED, |out| {
            packed::encode(&group.metrics, out);
            Ok(())
        })?;
    } else if !group.metrics.is_empty() {
        let (series, points) = group.metrics.to_arrow()?;
        section(out, SERIES, &series)?;
        section(out, POINTS, &points)?;
    }
    for table in TableId::ALL {
        let changes: Vec<&Change> = group.changes.iter().filter(|change| change.table == *table).collect();
        if !changes.is_empty() {
            section(out, *table as u8, &changes_to_arrow(*table, &changes)?)?;
        }
    }
    Ok(())
}

/// The group back from its payload. Changes of different tables may come back in another order, those of one table do not.
pub(crate) fn decode(payload: &[u8]) -> Result<WriteBatch> {
    let (format, mut rest) = payload.split_first().ok_or_else(|| broken("it is empty"))?;
    if *format != FORMAT {
        return Err(broken(format!("format {format}")));
    }
    let mut group = WriteBatch::default();
    let mut series = None;
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk::<4>().ok_or_else(|| broken("a section is cut short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (body, after) = after.split_at_checked(length).ok_or_else(|| broken("a section is cut short"))?;
        rest = after;
        if *kind == PACKED {
            let series = series.take().ok_or_else(|| broken("points without series"))?;
            let points = packed::decode(MetricBatch::series_from_arrow(&series)?, body)?;
            if group.metrics.is_empty() {
                group.metrics = points;
            } else {
                group.metrics.append(&points);
            }
            continue;
        }
        let batch = read_stream(body)?;
        match *kind {
            SERIES => series = Some(batch),
            POINTS => {
                let series = series.take().ok_or_else(|| broken("points without series"))?;
                group.metrics.append(&MetricBatch::from_arrow(&series, &batch)?);
            }
            number => {
                let table = TableId::from_number(number).ok_or_else(|| broken(format!("unknown table {number}")))?;
                changes_from_arrow(table, &batch, &mut group.changes)?;
            }
        }
    }
    Ok(group)
}

fn section(out: &mut Vec<u8>, kind: u8, batch: &RecordBatch) -> Result<()> {
    framed(out, kind, |out| {
        let mut writer = StreamWriter::try_new(out, &batch.schema()).map_err(unwritable)?;
        writer.write(batch).map_err(unwritable)?;
        writer.finish().map_err(unwritable)
    })
}

fn framed(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    out.push(kind);
    let length_at = out.len();
    out.extend([0; 4]);
    write(out)?;
    let length = u32::try_from(out.len() - length_at - 4)
        .map_err(|_| Error::Internal("a group of writes is larger than 4 GiB".into()))?;
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn read_stream(body: &[u8]) -> Result<RecordBatch> {
    let mut reader = StreamReader::try_new(body, None).map_err(|error| broken(error.to_string()))?;
    match reader.next() {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(error)) => Err(broken(error.to_string())),
        None => Err(broken("a section has no batch")),
    }
}

fn changes_to_arrow(table: TableId, changes: &[&Change]) -> Result<RecordBatch> {
    let gone = Record::new(vec![Cell::Null; table.columns().len()]);
    let rows = changes.iter().map(|change| change.row.as_deref().unwrap_or(&gone));
    let rows = nullable_batch(table, rows)?;
    let keys = BinaryArray::from_iter_values(changes.iter().map(|change| change.key.as_bytes()));
    let deleted: BooleanArray = changes.iter().map(|change| Some(change.row.is_none())).collect();
    let mut fields: Vec<Field> = rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(KEY, arrow_schema::DataType::Binary, false));
    fields.push(Field::new(DELETED, arrow_schema::DataType::Boolean, false));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(keys) as ArrayRef);
    columns.push(Arc::new(deleted));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(unwritable)
}

/// Deleted rows have no values, so every column may be null here.
fn nullable_batch<'a>(table: TableId, rows: impl Iterator<Item = &'a Record> + Clone) -> Result<RecordBatch> {
    let arrays = runlake_types::arrays_from_records(table, rows)?;
    let fields: Vec<Field> =
        table.columns().iter().map(|column| Field::new(column.name, column.kind.data_type(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(unwritable)
}

fn changes_from_arrow(table: TableId, batch: &RecordBatch, changes: &mut Vec<Change>) -> Result<()> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| broken(format!("{table} has no column {name}")));
    let keys = column(KEY)?.as_binary_opt::<i32>().ok_or_else(|| broken("keys are not binary"))?;
    let deleted = column(DELETED)?.as_boolean_opt().ok_or_else(|| broken("deletions are not boolean"))?;
    for (at, record) in records_from_batch(table, batch)?.into_iter().enumerate() {
        changes.push(Change {
            table,
            key: Key::from_bytes(keys.value(at)),
            row: (!deleted.value(at)).then(|| Arc::new(record)),
        });
    }
    Ok(())
}

fn broken(problem: impl Into<String>) -> Error {
    Error::Frame(problem.into())
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unwritable(error: arrow_schema::ArrowError) -> Error {
    Error::Internal(format!("a group of writes cannot be encoded: {error}"))
}

#[cfg(test)]
mod tests;
