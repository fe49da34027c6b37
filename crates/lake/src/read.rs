//! Reading rows of one file: only the row groups and pages that may hold what is wanted.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
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

mod caches;
mod object;
mod prune;

pub(crate) use caches::Caches;
pub use object::FileReader;
use prune::Selected;
pub(crate) use prune::{TimeSpan, Want};

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
    let footer = FileReader::new(files, file).footer().await.map_err(tell(table, file))?;
    let batches = open(files, file, TextAs::Plain, &names, prune::select(&footer, table, wanted)).await?;
    let told = tell(table, file);
    let rows = batches
        .map_err(told)
        .and_then(move |batch| std::future::ready(conform(&schema, &batch).told(table, "read rows")));
    Ok(Box::pin(rows))
}

/// How many rows the footer of `file` speaks of, as it is in the store now.
pub(crate) async fn footer_rows(files: &Files, file: &DataFile) -> Result<u64, ParquetError> {
    let footer = FileReader::new(files, file).read_footer().await?;
    Ok(u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0))
}

/// The points of one series in `file`, in file order; a point may come twice. Between two times (microseconds, both
/// inclusive) if they are given, and then points outside of them may be among them: whole pages are read.
pub(crate) async fn points(
    files: &Files,
    file: &DataFile,
    series: [&str; 2],
    times: Option<(i64, i64)>,
) -> Result<Vec<Point>, Error> {
    let wanted = wanted(series, times);
    if !file.is_sorted() {
        return foreign_points(files, file, series, &wanted).await;
    }
    let footer = FileReader::new(files, file).footer().await.map_err(tell(files.table, file))?;
    let pages = prune::select_series(&footer, files.table, &wanted);
    let mixed = mixed_points(files, file, series, pages.mixed).await?;
    if pages.pure.is_empty() {
        return Ok(mixed);
    }
    let mut points: Vec<Point> = Vec::with_capacity(pages.pure.rows().row_count() + mixed.len());
    let mut behind = 0;
    let mut batches = open(files, file, TextAs::Plain, &POINT, Some(pages.pure)).await?;
    while let Some(batch) = batches.try_next().await.map_err(tell(files.table, file))? {
        let columns = PointColumns::of(batch.columns());
        if points.is_empty() && batch.num_rows() > 0 {
            // Mixed pages are those a series begins and ends in.
            behind = mixed.partition_point(|point| point.file_order(&columns.point(0)).is_lt());
            points.extend_from_slice(&mixed[..behind]);
        }
        points.extend((0..batch.num_rows()).map(|row| columns.point(row)));
    }
    points.extend_from_slice(&mixed[behind..]);
    Ok(points)
}

/// A series in a file: the points of pages it shares with others, and the rows that are its own, unread.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) mixed: Vec<Point>,
    pub(crate) own: Option<OwnRows>,
}

/// Rows of a file that are all of one series, in file order.
#[derive(Debug)]
pub(crate) struct OwnRows {
    pub(crate) rows: usize,
    /// No row has an earlier or a later step.
    pub(crate) steps: (i64, i64),
    selected: Selected,
}

/// What `file` holds of a series, most of it unread; `None` where the file does not tell.
pub(crate) async fn outline(files: &Files, file: &DataFile, series: [&str; 2]) -> Result<Option<Outline>, Error> {
    if !file.is_sorted() {
        return Ok(None);
    }
    let wanted = wanted(series, None);
    let footer = FileReader::new(files, file).footer().await.map_err(tell(files.table, file))?;
    let pages = prune::select_series(&footer, files.table, &wanted);
    let mixed = mixed_points(files, file, series, pages.mixed).await?;
    if pages.pure.is_empty() {
        return Ok(Some(Outline { mixed, own: None }));
    }
    let steps = prune::steps_of_pure(&footer, files.table, &wanted);
    let rows = pages.pure.rows().row_count();
    Ok(steps.map(|steps| Outline { mixed, own: Some(OwnRows { rows, steps, selected: pages.pure }) }))
}

/// The points at some numbers, which ascend, among a series' own rows.
pub(crate) async fn points_at(
    files: &Files,
    file: &DataFile,
    own: &OwnRows,
    numbers: &[usize],
) -> Result<Vec<Point>, Error> {
    let mut batches = open(files, file, TextAs::Plain, &POINT, Some(own.selected.only(numbers))).await?;
    let mut points = Vec::with_capacity(numbers.len());
    while let Some(batch) = batches.try_next().await.map_err(tell(files.table, file))? {
        let columns = PointColumns::of(batch.columns());
        points.extend((0..batch.num_rows()).map(|row| columns.point(row)));
    }
    Ok(points)
}

/// The points of one series in pages that hold others as well.
async fn mixed_points(files: &Files, file: &DataFile, series: [&str; 2], pages: Selected) -> Result<Vec<Point>, Error> {
    let mut points = Vec::new();
    if !pages.is_empty() {
        let columns = ["run_id", "key", "step", "timestamp", "value"];
        let mut batches = open(files, file, TextAs::Dictionary, &columns, Some(pages)).await?;
        while let Some(batch) = batches.try_next().await.map_err(tell(files.table, file))? {
            collect_points(&batch, series, &mut points);
        }
    }
    Ok(points)
}

/// When the points of a series were logged, by pieces of `file`; empty if it holds none.
pub(crate) async fn time_spans(files: &Files, file: &DataFile, series: [&str; 2]) -> Result<Vec<TimeSpan>, Error> {
    let footer = FileReader::new(files, file).footer().await.map_err(tell(files.table, file))?;
    Ok(prune::time_spans(&footer, files.table, &wanted(series, None)))
}

fn wanted(series: [&str; 2], times: Option<(i64, i64)>) -> Want {
    let series = Want::rows(&series);
    match times {
        Some((since, until)) => series.between(since, until),
        None => series,
    }
}

/// The columns of a point, in the table's order.
const POINT: [&str; 3] = ["step", "timestamp", "value"];

struct PointColumns<'a> {
    steps: &'a [i64],
    timestamps: &'a [i64],
    values: &'a [f64],
}

impl<'a> PointColumns<'a> {
    /// Of the columns [`POINT`].
    fn of(columns: &'a [ArrayRef]) -> Self {
        Self {
            steps: columns[0].as_primitive::<Int64Type>().values(),
            timestamps: columns[1].as_primitive::<TimestampMicrosecondType>().values(),
            values: columns[2].as_primitive::<Float64Type>().values(),
        }
    }

    fn point(&self, row: usize) -> Point {
        Point {
            step: self.steps[row],
            timestamp: Timestamp::from_micros(self.timestamps[row]),
            value: self.values[row],
        }
    }
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
    let columns = PointColumns::of(&batch.columns()[2..]);
    let is = |wanted: &[bool], index: i32| usize::try_from(index).is_ok_and(|index| wanted[index]);
    for row in 0..batch.num_rows() {
        if is(&wanted_runs, runs.value(row)) && is(&wanted_keys, keys.value(row)) {
            points.push(columns.point(row));
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
        let columns = PointColumns::of(&batch.columns()[2..]);
        let found = (0..batch.num_rows()).filter(|row| runs.value(*row) == series[0] && keys.value(*row) == series[1]);
        points.extend(found.map(|row| columns.point(row)));
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
    selected: Option<Selected>,
) -> Result<ParquetRecordBatchStream<FileReader>, Error> {
    let mut reader = FileReader::new(files, file);
    let opened = async {
        let footer = reader.footer().await?;
        let metadata = typed(footer, text)?;
        let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS);
        if let Some(selected) = selected {
            builder = builder.with_row_selection(selected.rows()).with_row_groups(selected.row_groups);
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
