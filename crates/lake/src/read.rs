//! Reading rows of one file: only the row groups and pages that may hold what is wanted.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use runlake_types::{Point, TableId, Timestamp};

use crate::Error;
use crate::error::Told as _;
use crate::file::DataFile;
use crate::snapshot::{BatchStream, Files};

mod footers;
mod object;
mod prune;

pub(crate) use footers::FooterCache;
use object::ObjectReader;
pub(crate) use prune::Want;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// Rows of `file` with the table's columns (or those of them in `columns`). Rows that are not wanted may be among them:
/// whole pages are read.
pub(crate) async fn rows(
    files: &Files,
    file: &DataFile,
    columns: Option<&[String]>,
    wanted: &Want,
) -> Result<BatchStream, Error> {
    let table = files.table;
    let schema = projected(table, columns);
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let batches = open(files, file, TextAs::Plain, &names, wanted).await?;
    let told = tell(table, file);
    let rows = batches
        .map_err(told)
        .and_then(move |batch| std::future::ready(conform(&schema, &batch).told(table, "read rows")));
    Ok(Box::pin(rows))
}

/// The points of one series in `file`, in file order.
pub(crate) async fn points(files: &Files, file: &DataFile, series: [&str; 2]) -> Result<Vec<Point>, Error> {
    let wanted = Want::rows(&series);
    if !file.is_sorted() {
        return foreign_points(files, file, series, &wanted).await;
    }
    let columns = ["run_id", "key", "step", "timestamp", "value"];
    let mut batches = open(files, file, TextAs::Dictionary, &columns, &wanted).await?;
    let mut points = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(tell(files.table, file))? {
        collect_points(&batch, series, &mut points);
    }
    Ok(points)
}

fn collect_points(batch: &RecordBatch, series: [&str; 2], points: &mut Vec<Point>) {
    let matching = |column: usize, text: &str| {
        let array = batch.column(column).as_dictionary::<Int32Type>();
        let values = array.values().as_string::<i32>();
        let wanted: Vec<bool> = values.iter().map(|value| value == Some(text)).collect();
        (array.keys().clone(), wanted)
    };
    let (runs, wanted_runs) = matching(0, series[0]);
    let (keys, wanted_keys) = matching(1, series[1]);
    if !wanted_runs.contains(&true) || !wanted_keys.contains(&true) {
        return;
    }
    let steps = batch.column(2).as_primitive::<Int64Type>().values();
    let timestamps = batch.column(3).as_primitive::<TimestampMicrosecondType>().values();
    let values = batch.column(4).as_primitive::<Float64Type>().values();
    let is = |wanted: &[bool], index: i32| usize::try_from(index).is_ok_and(|index| wanted[index]);
    for row in 0..batch.num_rows() {
        if is(&wanted_runs, runs.value(row)) && is(&wanted_keys, keys.value(row)) {
            points.push(Point {
                step: steps[row],
                timestamp: Timestamp::from_micros(timestamps[row]),
                value: values[row],
            });
        }
    }
}

/// As [`points`], of a file whose columns another tool may have typed its own way.
async fn foreign_points(files: &Files, file: &DataFile, series: [&str; 2], wanted: &Want) -> Result<Vec<Point>, Error> {
    let columns = ["run_id", "key", "step", "timestamp", "value"].map(str::to_owned);
    let mut batches = rows(files, file, Some(&columns), wanted).await?;
    let mut points = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let text = |column: usize| batch.column(column).as_string::<i32>();
        let (runs, keys): (&StringArray, &StringArray) = (text(0), text(1));
        let steps = batch.column(2).as_primitive::<Int64Type>();
        let timestamps = batch.column(3).as_primitive::<TimestampMicrosecondType>();
        let values = batch.column(4).as_primitive::<Float64Type>();
        let found = (0..batch.num_rows()).filter(|row| runs.value(*row) == series[0] && keys.value(*row) == series[1]);
        points.extend(found.map(|row| Point {
            step: steps.value(row),
            timestamp: Timestamp::from_micros(timestamps.value(row)),
            value: values.value(row),
        }));
    }
    Ok(points)
}

/// How text columns are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextAs {
    Plain,
    /// As the file has it: such a column is compared once per distinct text instead of once per row.
    Dictionary,
}

async fn open(
    files: &Files,
    file: &DataFile,
    text: TextAs,
    columns: &[&str],
    wanted: &Want,
) -> Result<ParquetRecordBatchStream<ObjectReader>, Error> {
    let mut reader = ObjectReader::new(files, file);
    let opened = async {
        let footer = reader.footer().await?;
        let selected = prune::select(&footer, files.table, wanted);
        let metadata = typed(footer, text)?;
        let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS);
        if let Some(selected) = selected {
            builder = builder.with_row_groups(selected.row_groups).with_row_selection(selected.rows);
        }
        builder.build()
    };
    opened.await.map_err(tell(files.table, file))
}

fn typed(footer: Arc<ParquetMetaData>, text: TextAs) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(Arc::clone(&footer), options.clone())?;
    if text == TextAs::Plain {
        return Ok(plain);
    }
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = plain.schema().fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), dictionary.clone(), field.is_nullable()),
        _ => field.as_ref().clone(),
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    ArrowReaderMetadata::try_new(footer, options.with_schema(Arc::new(schema)))
}

fn projected(table: TableId, columns: Option<&[String]>) -> SchemaRef {
    let Some(columns) = columns else { return table.schema() };
    let fields =
        table.schema().fields().iter().filter(|field| columns.contains(field.name())).cloned().collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

/// The batch with the columns of `schema`: other types are cast, columns the file does not have are null.
fn conform(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
        Some(array) => arrow_cast::cast(array, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn tell(table: TableId, file: &DataFile) -> impl Fn(ParquetError) -> Error + Send + Sync + 'static {
    let file = file.location().to_string();
    move |source| Error::Parquet { table, action: "read", file: file.clone(), source: Arc::new(source) }
}
