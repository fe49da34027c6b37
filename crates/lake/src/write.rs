//! Writing Parquet files: encoded on a blocking thread, uploaded meanwhile, in pieces, so that a file is never whole in
//! memory. A file nobody commits is invisible; vacuum deletes it.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use runlake_types::{Cell, TableId, TableKind, records_from_batch};
use tokio::sync::mpsc;

use crate::error::Told as _;
use crate::file::{Written, key_cells, key_columns, weight};
use crate::read::Caches;
use crate::snapshot::Files;
use crate::{Error, LakeSettings};

mod properties;
mod series;
mod upload;

pub(crate) use series::Series;
use upload::{Piece, PieceSink};

/// Encoded pieces on their way to the store, besides the one being filled and those being sent.
const PIECES_IN_FLIGHT: usize = 2;
/// Rows after which the writer looks whether the file is full.
const FACTS_STEP_ROWS: usize = 64 << 10;
const STATE_STEP_ROWS: usize = 4 << 10;
/// Bytes in memory of such a step of state rows, unless a single row takes more.
const STATE_STEP_BYTES: u64 = 4 << 20;

/// Writes rows in the table's order to one or more files of about the target size, and makes them durable. Facts are cut
/// between series where possible, and a point identical to the one before it is left out.
pub(crate) async fn write_files<I>(files: &Files, settings: &LakeSettings, batches: I) -> Result<Vec<Written>, Error>
where
    I: Iterator<Item = Result<RecordBatch, Error>> + Send + 'static,
{
    let table = files.table;
    let (pieces, received) = mpsc::channel(PIECES_IN_FLIGHT);
    let mut encoder = Encoder::new(files.clone(), settings.clone(), pieces);
    let encoding = tokio::task::spawn_blocking(move || {
        for batch in batches {
            encoder.write(&batch?)?;
        }
        encoder.finish()
    });
    let (encoded, uploaded) = tokio::join!(encoding, upload::upload(files, received));
    // When the upload fails the encoder fails because of it: tell the cause.
    uploaded?;
    encoded.told(table, "write rows")?
}

#[derive(Debug)]
struct Encoder {
    files: Files,
    settings: LakeSettings,
    properties: WriterProperties,
    pieces: mpsc::Sender<Piece>,
    open: Option<Open>,
    written: Vec<Written>,
    /// The last row written, of facts.
    last: Option<RecordBatch>,
}

/// The file being written.
#[derive(Debug)]
struct Open {
    name: String,
    writer: ArrowWriter<PieceSink>,
    rows: usize,
    /// Bytes the rows of a state table take in memory. Facts are read in batches, never a file at a time.
    raw: u64,
    first: Vec<Cell>,
    last: RecordBatch,
}

impl Encoder {
    fn new(files: Files, settings: LakeSettings, pieces: mpsc::Sender<Piece>) -> Self {
        let properties = properties::of(files.table, settings.zstd_level);
        Self { files, settings, properties, pieces, open: None, written: Vec::new(), last: None }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.check(batch)?;
        let facts = self.files.table.kind() == TableKind::Facts;
        let mut start = 0;
        while start < batch.num_rows() {
            let mut rows = match self.files.table.kind() {
                TableKind::Facts => batch.slice(start, FACTS_STEP_ROWS.min(batch.num_rows() - start)),
                TableKind::State => state_step(batch, start),
            };
            start += rows.num_rows();
            if facts {
                rows = series::without_repeats(rows, self.last.as_ref()).told(self.files.table, "compare points")?;
                if rows.num_rows() == 0 {
                    continue;
                }
            }
            let cut = self.cut(&rows);
            if let Some(cut) = cut {
                self.write_rows(&rows.slice(0, cut))?;
                self.close()?;
            }
            let kept = cut.unwrap_or(0);
            self.write_rows(&rows.slice(kept, rows.num_rows() - kept))?;
            self.last = facts.then(|| rows.slice(rows.num_rows() - 1, 1));
        }
        Ok(())
    }

    /// The row of `rows` before which to begin a new file, if one is due.
    fn cut(&self, rows: &RecordBatch) -> Option<usize> {
        let table = self.files.table;
        let open = self.open.as_ref()?;
        let target = self.settings.target_bytes(table.kind());
        let size = u64::try_from(open.writer.bytes_written() + open.writer.in_progress_size()).unwrap_or(u64::MAX);
        let size = weight(size, open.raw);
        if size < target {
            return None;
        }
        if table.kind() == TableKind::State || size >= target * 2 {
            return Some(0);
        }
        Series::of(rows).first_other_than(&Series::of(&open.last))
    }

    fn write_rows(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(rows)?,
        };
        open.writer.write(rows).map_err(|source| self.failed(&open.name, source))?;
        open.rows += rows.num_rows();
        if self.files.table.kind() == TableKind::State {
            open.raw += raw_bytes(rows);
        }
        open.last = rows.slice(rows.num_rows() - 1, 1);
        self.open = Some(open);
        Ok(())
    }

    fn begin(&self, rows: &RecordBatch) -> Result<Open, Error> {
        let name = format!("part-{}.zstd.parquet", runlake_storage::nonce());
        let sink = PieceSink::new(self.pieces.clone(), self.files.root.clone().join(name.as_str()));
        // Without Arrow's own metadata every reader sees plain strings, also where dictionaries were written.
        let options = ArrowWriterOptions::new().with_properties(self.properties.clone()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(sink, self.files.table.schema(), options)
            .map_err(|source| self.failed(&name, source))?;
        let first = self.key_of(&rows.slice(0, 1))?;
        Ok(Open { name, writer, rows: 0, raw: 0, first, last: rows.slice(0, 1) })
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let footer = open.writer.finish().map_err(|source| self.failed(&open.name, source))?;
        let sink = open.writer.inner_mut();
        let size = sink.end().map_err(|error| self.failed(&open.name, error.into()))?;
        let location = sink.location().clone();
        self.written.push(Written {
            size,
            raw: open.raw,
            rows: open.rows as u64,
            last: self.key_of(&open.last)?,
            first: open.first,
            bounds: bounds(self.files.table, &footer),
            modified_millis: self.settings.clock.now().millis(),
            name: open.name,
        });
        remember(&self.files.caches, &location, footer);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Written>, Error> {
        self.close()?;
        Ok(self.written)
    }

    fn key_of(&self, row: &RecordBatch) -> Result<Vec<Cell>, Error> {
        let table = self.files.table;
        if table.kind() == TableKind::Facts {
            return Ok(Vec::new());
        }
        let records = records_from_batch(table, row)?;
        Ok(records.first().map(|record| key_cells(table, record)).unwrap_or_default())
    }

    fn check(&self, batch: &RecordBatch) -> Result<(), Error> {
        let table = self.files.table;
        let schema = table.schema();
        let names = |schema: &arrow_schema::Schema| {
            schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
        };
        if names(&schema) == names(batch.schema_ref()) {
            return Ok(());
        }
        Err(Error::Invalid { table, problem: format!("columns {:?} are not the table's", names(batch.schema_ref())) })
    }

    fn failed(&self, name: &str, source: ParquetError) -> Error {
        let file = self.files.root.clone().join(name).to_string();
        Error::Parquet { table: self.files.table, action: "write", file, source: Arc::new(source) }
    }
}

/// The next rows of `batch`, few enough to look at the size of the file in between.
fn state_step(batch: &RecordBatch, start: usize) -> RecordBatch {
    let mut rows = batch.slice(start, STATE_STEP_ROWS.min(batch.num_rows() - start));
    while rows.num_rows() > 1 && raw_bytes(&rows) > STATE_STEP_BYTES {
        rows = rows.slice(0, rows.num_rows() / 2);
    }
    rows
}

/// Bytes the rows take in memory.
fn raw_bytes(rows: &RecordBatch) -> u64 {
    let of_column = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
    rows.columns().iter().map(|column| of_column(column) as u64).sum()
}

/// Smallest and greatest value of the key columns, of all row groups. Long text may be shortened; it stays a bound.
fn bounds(table: TableId, footer: &ParquetMetaData) -> Vec<Option<(Cell, Cell)>> {
    let of_column = |column: usize| {
        footer
            .row_groups()
            .iter()
            .map(|group| bounds_of(group.column(column).statistics()?))
            .reduce(|a, b| Some(wider(a?, b?)))
            .flatten()
    };
    (0..key_columns(table).count()).map(of_column).collect()
}

fn bounds_of(statistics: &Statistics) -> Option<(Cell, Cell)> {
    let text = |bytes: Option<&[u8]>| Some(Cell::Text(std::str::from_utf8(bytes?).ok()?.into()));
    match statistics {
        Statistics::ByteArray(text_statistics) => {
            Some((text(text_statistics.min_bytes_opt())?, text(text_statistics.max_bytes_opt())?))
        }
        Statistics::Int64(numbers) => Some((Cell::Int(*numbers.min_opt()?), Cell::Int(*numbers.max_opt()?))),
        _ => None,
    }
}

fn wider(a: (Cell, Cell), b: (Cell, Cell)) -> (Cell, Cell) {
    let less = |a: &Cell, b: &Cell| match (a, b) {
        (Cell::Text(a), Cell::Text(b)) => a < b,
        (Cell::Int(a), Cell::Int(b)) => a < b,
        _ => false,
    };
    (if less(&b.0, &a.0) { b.0 } else { a.0 }, if less(&a.1, &b.1) { b.1 } else { a.1 })
}

/// Keeps the footer of a file that was just written, so that its first reader need not fetch it.
fn remember(caches: &Caches, location: &object_store::path::Path, footer: ParquetMetaData) {
    if footer.column_index().is_some() && footer.offset_index().is_some() {
        let bytes = footer.memory_size();
        caches.footers.insert(location, Arc::new(footer), bytes);
    }
}
