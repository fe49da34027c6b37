//! Records to Arrow and back.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, MapBuilder, MapFieldNames, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::DataType;

use crate::{Cell, Column, ColumnKind, Record, SchemaError, TableId};

/// Rows of `table` as one batch with the table's schema.
pub fn batch_from_records<'a, I>(table: TableId, records: I) -> Result<RecordBatch, SchemaError>
where
    I: IntoIterator<Item = &'a Record>,
    I::IntoIter: Clone,
{
    let records = records.into_iter();
    let rows = records.clone().count();
    RecordBatch::try_new_with_options(
        table.schema(),
        arrays_from_records(table, records)?,
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )
    .map_err(|error| SchemaError::new(table.name(), error.to_string()))
}

/// Rows of `table` as one array per column, without asking whether a column may be null.
#[allow(clippy::needless_pass_by_value, reason = "callers hand over the iterator they made for this")]
pub fn arrays_from_records<'a>(
    table: TableId,
    records: impl Iterator<Item = &'a Record> + Clone,
) -> Result<Vec<ArrayRef>, SchemaError> {
    table
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = records.clone().map(|record| record.cells().get(index).unwrap_or(&Cell::Null));
            array_from_cells(table, column, cells)
        })
        .collect()
}

fn array_from_cells<'a>(
    table: TableId,
    column: &Column,
    cells: impl Iterator<Item = &'a Cell>,
) -> Result<ArrayRef, SchemaError> {
    macro_rules! build {
        ($builder:expr, $variant:ident, $append:expr) => {{
            let mut builder = $builder;
            for cell in cells {
                match cell {
                    Cell::$variant(value) => $append(&mut builder, value),
                    Cell::Null => builder.append_null(),
                    other => return Err(mismatch(table, column, other)),
                }
            }
            Arc::new(builder.finish())
        }};
    }
    Ok(match column.kind {
        ColumnKind::Text => build!(StringBuilder::new(), Text, |b: &mut StringBuilder, v: &str| b.append_value(v)),
        ColumnKind::Int => build!(Int64Builder::new(), Int, |b: &mut Int64Builder, v: &i64| b.append_value(*v)),
        ColumnKind::Float => build!(Float64Builder::new(), Float, |b: &mut Float64Builder, v: &f64| b.append_value(*v)),
        ColumnKind::Bool => build!(BooleanBuilder::new(), Bool, |b: &mut BooleanBuilder, v: &bool| b.append_value(*v)),
        ColumnKind::Time => build!(
            TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            Int,
            |b: &mut TimestampMicrosecondBuilder, v: &i64| b.append_value(*v)
        ),
        ColumnKind::Map => {
            let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
            let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
            for cell in cells {
                let filled = match cell {
                    Cell::Map(entries) => {
                        for (key, value) in entries {
                            builder.keys().append_value(key);
                            builder.values().append_value(value);
                        }
                        true
                    }
                    Cell::Null => false,
                    other => return Err(mismatch(table, column, other)),
                };
                builder.append(filled).map_err(|error| SchemaError::new(table.name(), error.to_string()))?;
            }
            Arc::new(builder.finish())
        }
    })
}

fn mismatch(table: TableId, column: &Column, cell: &Cell) -> SchemaError {
    SchemaError::new(table.name(), format!("column {} is {:?}, not {cell:?}", column.name, column.kind))
}

/// Rows of a batch read from `table`'s files. Columns are found by name; one that the file does not have yet (it was
/// added later) reads as null, one that the table does not know is passed over.
pub fn records_from_batch(table: TableId, batch: &RecordBatch) -> Result<Vec<Record>, SchemaError> {
    let columns = table
        .columns()
        .iter()
        .map(|column| batch.column_by_name(column.name).map(|array| plain(table, column, array)).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    Ok((0..batch.num_rows())
        .map(|row| {
            let cells: Vec<Cell> = columns
                .iter()
                .zip(table.columns())
                .map(|(array, column)| match array {
                    Some(array) => cell_at(column.kind, array, row),
                    None => Cell::Null,
                })
                .collect();
            Record::new(cells)
        })
        .collect())
}

/// Casts away dictionaries, views and other widths that a reader or writer may have chosen.
fn plain(table: TableId, column: &Column, array: &ArrayRef) -> Result<ArrayRef, SchemaError> {
    let wanted = column.kind.data_type();
    if array.data_type() == &wanted || matches!(array.data_type(), DataType::Map(..)) {
        return Ok(Arc::clone(array));
    }
    arrow_cast::cast(array, &wanted)
        .map_err(|error| SchemaError::new(table.name(), format!("column {}: {error}", column.name)))
}

fn cell_at(kind: ColumnKind, array: &ArrayRef, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match kind {
        ColumnKind::Text => Cell::Text(array.as_string::<i32>().value(row).into()),
        ColumnKind::Int => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        ColumnKind::Float => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
        ColumnKind::Bool => Cell::Bool(array.as_boolean().value(row)),
        ColumnKind::Time => Cell::Int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        ColumnKind::Map => {
            let entries = array.as_map().value(row);
            let keys = entries.column(0).as_string::<i32>();
            let values = entries.column(1).as_string::<i32>();
            Cell::Map((0..entries.len()).map(|at| (keys.value(at).into(), values.value(at).into())).collect())
        }
    }
}
