//! Looking at sorted facts by series, without caring whether text came as plain strings or as a dictionary.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, DataType};

const STEP: usize = 2;
const TIMESTAMP: usize = 3;
const VALUE: usize = 4;

/// Run and key of the rows of a batch of facts.
#[derive(Debug)]
pub(crate) struct Series {
    columns: [Text; 2],
    rows: usize,
}

#[derive(Debug)]
struct Text {
    /// Position of each row's text in `values`; `None` when it is the row's own.
    indices: Option<Vec<usize>>,
    values: StringArray,
}

impl Series {
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        Self { columns: [Text::of(batch.column(0)), Text::of(batch.column(1))], rows: batch.num_rows() }
    }

    /// Run and key of a row.
    pub(crate) fn at(&self, row: usize) -> [&str; 2] {
        [self.columns[0].at(row), self.columns[1].at(row)]
    }

    /// The first row that belongs to another series than the first row of `before`.
    pub(crate) fn first_other_than(&self, before: &Self) -> Option<usize> {
        let series = before.at(0);
        let same = partition_point(self.rows, |row| self.at(row) == series);
        (same < self.rows).then_some(same)
    }
}

impl Text {
    fn of(array: &ArrayRef) -> Self {
        match array.as_any_dictionary_opt() {
            Some(dictionary) => {
                Self { indices: Some(dictionary.normalized_keys()), values: plain(dictionary.values()) }
            }
            None => Self { indices: None, values: plain(array) },
        }
    }

    fn at(&self, row: usize) -> &str {
        self.values.value(self.indices.as_ref().map_or(row, |indices| indices[row]))
    }
}

fn plain(array: &ArrayRef) -> StringArray {
    if array.data_type() == &DataType::Utf8 {
        return array.as_string::<i32>().clone();
    }
    let cast = arrow_cast::cast(array, &DataType::Utf8).expect("text columns hold some kind of text");
    cast.as_string::<i32>().clone()
}

/// `rows` (sorted facts) without those identical to the row before them; `last` is the row before the first.
pub(super) fn without_repeats(rows: RecordBatch, last: Option<&RecordBatch>) -> Result<RecordBatch, ArrowError> {
    let steps = rows.column(STEP).as_primitive::<Int64Type>().values();
    let timestamps = rows.column(TIMESTAMP).as_primitive::<TimestampMicrosecondType>().values();
    let values = rows.column(VALUE).as_primitive::<Float64Type>().values();
    let same_numbers = |row: usize| {
        steps[row] == steps[row - 1]
            && timestamps[row] == timestamps[row - 1]
            && values[row].to_bits() == values[row - 1].to_bits()
    };
    let suspects: Vec<usize> = (1..rows.num_rows()).filter(|row| same_numbers(*row)).collect();
    let continues = last.is_some_and(|last| is_same_point(last, &rows));
    if suspects.is_empty() && !continues {
        return Ok(rows);
    }
    let series = Series::of(&rows);
    let repeats: Vec<usize> = suspects.into_iter().filter(|row| series.at(*row) == series.at(*row - 1)).collect();
    if repeats.is_empty() && !continues {
        return Ok(rows);
    }
    let mut keep = vec![true; rows.num_rows()];
    keep[0] = !continues;
    for row in repeats {
        keep[row] = false;
    }
    arrow_select::filter::filter_record_batch(&rows, &BooleanArray::new(BooleanBuffer::from(keep), None))
}

fn is_same_point(last: &RecordBatch, rows: &RecordBatch) -> bool {
    let number = |batch: &RecordBatch| {
        (
            batch.column(STEP).as_primitive::<Int64Type>().value(0),
            batch.column(TIMESTAMP).as_primitive::<TimestampMicrosecondType>().value(0),
            batch.column(VALUE).as_primitive::<Float64Type>().value(0).to_bits(),
        )
    };
    number(last) == number(rows) && Series::of(&last.slice(0, 1)).at(0) == Series::of(&rows.slice(0, 1)).at(0)
}

/// The first of `0..len` for which `holds` is false; it must hold for a prefix.
fn partition_point(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
