//! Columns of a batch by name, cast to what the tables hold.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};

use super::{Refused, Target};
use crate::{Error, Result, text};

/// What a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Integer,
    Time,
    Truth,
}

/// A column that batches may have.
struct Known {
    name: &'static str,
    kind: Kind,
    is_required: bool,
}

const fn known(name: &'static str, kind: Kind, is_required: bool) -> Known {
    Known { name, kind, is_required }
}

const METRICS: &[Known] = &[
    known("run_id", Kind::Text, true),
    known("key", Kind::Text, true),
    known("value", Kind::Number, true),
    known("step", Kind::Integer, false),
    known("timestamp", Kind::Time, false),
    known("model_id", Kind::Text, false),
    known("dataset_name", Kind::Text, false),
    known("dataset_digest", Kind::Text, false),
    known("experiment_id", Kind::Text, false),
];
const PAIRS: &[Known] = &[
    known("run_id", Kind::Text, true),
    known("key", Kind::Text, true),
    known("value", Kind::Text, true),
    known("experiment_id", Kind::Text, false),
];

const RUNS: &[Known] = &[
    known("run_id", Kind::Text, true),
    known("experiment_id", Kind::Text, true),
    known("run_name", Kind::Text, false),
    known("user_id", Kind::Text, false),
    known("status", Kind::Text, false),
    known("start_time", Kind::Time, false),
    known("end_time", Kind::Time, false),
    known("parent_run_id", Kind::Text, false),
];

const INFERENCES: &[Known] = &[
    known("request_id", Kind::Text, true),
    known("row", Kind::Integer, false),
    known("time", Kind::Time, false),
    known("model", Kind::Text, true),
    known("registered_model", Kind::Text, false),
    known("version", Kind::Integer, false),
    known("model_id", Kind::Text, false),
    known("is_shadow", Kind::Truth, false),
    known("status", Kind::Integer, true),
    known("latency_ms", Kind::Number, true),
    known("inputs", Kind::Text, false),
    known("output", Kind::Text, false),
    known("error", Kind::Text, false),
];

const fn columns_of(target: Target) -> &'static [Known] {
    match target {
        Target::Metrics => METRICS,
        Target::Params | Target::Tags => PAIRS,
        Target::Runs => RUNS,
        Target::InferenceLog => INFERENCES,
    }
}

/// Whether batches of this schema can be read: no column is unknown, missing, there twice, or of a type that does not do.
pub(super) fn check(target: Target, schema: &Schema) -> Result<()> {
    let columns = columns_of(target);
    for (at, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            let name = text::quoted(&shortened(name));
            return Err(Error::invalid(format!(
                "{} have no column {name}; they have {}",
                target.name(),
                names.join(", ")
            )));
        };
        if schema.fields()[..at].iter().any(|earlier| earlier.name() == name) {
            return Err(Error::invalid(format!("the column '{name}' is there twice")));
        }
        if let Some(fit) = column.kind.refuses(field.data_type(), column.is_required) {
            let given = shortened(&field.data_type().to_string());
            return Err(Error::invalid(format!("the column '{name}' is of type {given}; it takes {fit}")));
        }
    }
    match columns.iter().find(|column| column.is_required && schema.index_of(column.name).is_err()) {
        None => Ok(()),
        Some(column) => Err(Error::invalid(format!("{} need the column '{}'", target.name(), column.name))),
    }
}

/// Names in messages come from callers.
fn shortened(name: &str) -> String {
    const MOST: usize = 200;
    match name.char_indices().nth(MOST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

impl Kind {
    /// What the column takes, if it does not take this type.
    fn refuses(self, given: &DataType, is_required: bool) -> Option<&'static str> {
        if *given == DataType::Null && !is_required {
            return None;
        }
        let (fits, takes) = match self {
            Self::Text => (is_text(given), "text (Utf8, LargeUtf8, Utf8View, or a dictionary of them)"),
            Self::Number => (given.is_integer() || given.is_floating(), "an integer or floating-point type"),
            Self::Integer => (given.is_integer(), "an integer type"),
            Self::Time => (
                given.is_integer() || matches!(given, DataType::Timestamp(..)),
                "a timestamp of any unit, or an integer: milliseconds since 1970",
            ),
            Self::Truth => (*given == DataType::Boolean, "a boolean"),
        };
        (!fits).then_some(takes)
    }
}

fn is_text(given: &DataType) -> bool {
    let is_plain = |given: &DataType| matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match given {
        DataType::Dictionary(_, values) => is_plain(values),
        plain => is_plain(plain),
    }
}

/// The column called `name`, unless it is absent or holds nothing but nulls by its type.
pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a ArrayRef> {
    batch.column_by_name(name).filter(|array| *array.data_type() != DataType::Null)
}

/// A column that must be there, which [`check`] has seen to.
pub(super) fn required<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    column(batch, name).ok_or_else(|| Error::invalid(format!("the column '{name}' is missing")))
}

/// Calls `$with::<T>` for the type of a primitive array; `None` where it is none of those listed.
macro_rules! by_type {
    ($array:expr, $with:ident, $arg:expr, [$($kind:pat => $native:ty),+ $(,)?]) => {
        match $array.data_type() {
            $($kind => $array.as_primitive_opt::<$native>().map(|array| $with::<$native>(array, $arg)),)+
            _ => None,
        }
    };
}

/// Values of points: any number, none of them null.
pub(super) fn values(array: &ArrayRef) -> Result<Vec<f64>, Refused> {
    if let Some(row) = first_null(array) {
        return Err(Refused::invalid(row, "the value is null; a value that is not a number is NaN"));
    }
    fn all<T: ArrowPrimitiveType<Native: AsF64>>(array: &arrow_array::PrimitiveArray<T>, (): ()) -> Vec<f64> {
        array.values().iter().map(|value| value.as_f64()).collect()
    }
    let values = by_type!(array, all, (), [
        DataType::Float64 => Float64Type,
        DataType::Float32 => Float32Type,
        DataType::Float16 => Float16Type,
        DataType::Int8 => Int8Type,
        DataType::Int16 => Int16Type,
        DataType::Int32 => Int32Type,
        DataType::Int64 => Int64Type,
        DataType::UInt8 => UInt8Type,
        DataType::UInt16 => UInt16Type,
        DataType::UInt32 => UInt32Type,
        DataType::UInt64 => UInt64Type,
    ]);
    values.ok_or_else(|| unreadable("value"))
}

/// Steps of points: any integer, 0 where there is none.
pub(super) fn steps(array: Option<&ArrayRef>, rows: usize) -> Result<Vec<i64>, Refused> {
    match array {
        None => Ok(vec![0; rows]),
        Some(array) => integers(array, "step", 0),
    }
}

/// Integers that count from 0: -1 where there is none.
pub(super) fn counts(array: Option<&ArrayRef>, rows: usize, name: &str) -> Result<Vec<i64>, Refused> {
    let Some(array) = array else { return Ok(vec![-1; rows]) };
    let counts = integers(array, name, -1)?;
    let is_given = |row: usize| array.is_valid(row);
    match counts.iter().enumerate().find(|(row, count)| **count < 0 && is_given(*row)) {
        None => Ok(counts),
        Some((row, count)) => Err(Refused::invalid(row, format!("the {name} is {count}; it counts from 0"))),
    }
}

/// Truth values, `false` where there is none.
pub(super) fn truths(array: Option<&ArrayRef>, rows: usize) -> Vec<bool> {
    match array.and_then(|array| array.as_boolean_opt()) {
        None => vec![false; rows],
        Some(array) => (0..rows).map(|row| array.is_valid(row) && array.value(row)).collect(),
    }
}

/// Times: a timestamp of any unit, or milliseconds; `absent` where there is none. As microseconds.
pub(super) fn times(array: Option<&ArrayRef>, rows: usize, name: &str, absent: i64) -> Result<Vec<i64>, Refused> {
    let Some(array) = array else { return Ok(vec![absent; rows]) };
    let (mut times, micros_of): (Vec<i64>, fn(i64) -> Option<i64>) = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            (raw::<TimestampSecondType>(array, name)?, |time| time.checked_mul(1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (raw::<TimestampMillisecondType>(array, name)?, |time| time.checked_mul(1000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => (raw::<TimestampMicrosecondType>(array, name)?, Some),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (raw::<TimestampNanosecondType>(array, name)?, |time| Some(time.div_euclid(1000)))
        }
        _ => (integers(array, name, -1)?, |time| time.checked_mul(1000)),
    };
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    for (row, time) in times.iter_mut().enumerate() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            *time = absent;
            continue;
        }
        let given = *time;
        *time = match micros_of(given) {
            Some(micros) if micros >= 0 => micros,
            _ => return Err(bad_time(row, name, given)),
        };
    }
    Ok(times)
}

fn bad_time(row: usize, name: &str, given: i64) -> Refused {
    let why = if given < 0 {
        "Timestamp must be a nonnegative long (64-bit integer) "
    } else {
        "Timestamp must be in milliseconds since 1970, and at most 9223372036854775."
    };
    Refused::at(row, crate::validate::invalid_value(name, &given.to_string(), why))
}

fn raw<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, name: &str) -> Result<Vec<i64>, Refused> {
    let array = array.as_primitive_opt::<T>().ok_or_else(|| unreadable(name))?;
    Ok(array.values().to_vec())
}

/// Integers, `absent` where there is none.
fn integers(array: &ArrayRef, name: &str, absent: i64) -> Result<Vec<i64>, Refused> {
    fn all<T: ArrowPrimitiveType<Native: Into<i64>>>(
        array: &arrow_array::PrimitiveArray<T>,
        absent: i64,
    ) -> Result<Vec<i64>, usize> {
        let mut all: Vec<i64> = array.values().iter().map(|value| (*value).into()).collect();
        if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
            for (_, value) in all.iter_mut().enumerate().filter(|(row, _)| nulls.is_null(*row)) {
                *value = absent;
            }
        }
        Ok(all)
    }
    fn unsigned<T: ArrowPrimitiveType<Native = u64>>(
        array: &arrow_array::PrimitiveArray<T>,
        absent: i64,
    ) -> Result<Vec<i64>, usize> {
        let value = |row: usize| if array.is_null(row) { Ok(absent) } else { i64::try_from(array.value(row)) };
        (0..array.len()).map(|row| value(row).map_err(|_| row)).collect()
    }
    let read = match array.data_type() {
        DataType::UInt64 => array.as_primitive_opt::<UInt64Type>().map(|array| unsigned(array, absent)),
        _ => by_type!(array, all, absent, [
            DataType::Int8 => Int8Type,
            DataType::Int16 => Int16Type,
            DataType::Int32 => Int32Type,
            DataType::Int64 => Int64Type,
            DataType::UInt8 => UInt8Type,
            DataType::UInt16 => UInt16Type,
            DataType::UInt32 => UInt32Type,
        ]),
    };
    read.ok_or_else(|| unreadable(name))?
        .map_err(|row| Refused::invalid(row, format!("the {name} is larger than {}", i64::MAX)))
}

fn unreadable(name: &str) -> Refused {
    Error::invalid(format!("the column '{name}' is of a type that cannot be read")).into()
}

fn first_null(array: &ArrayRef) -> Option<usize> {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0)?;
    (0..array.len()).find(|row| nulls.is_null(*row))
}

/// A number as a double, the nearest one.
trait AsF64: Copy {
    fn as_f64(self) -> f64;
}

macro_rules! as_f64 {
    ($($native:ty: $cast:expr),+ $(,)?) => {$(
        impl AsF64 for $native {
            fn as_f64(self) -> f64 {
                let cast: fn($native) -> f64 = $cast;
                cast(self)
            }
        }
    )+};
}

as_f64! {
    f64: |value| value,
    f32: f64::from,
    half::f16: f64::from,
    i8: f64::from,
    i16: f64::from,
    i32: f64::from,
    i64: |value| value as f64,
    u8: f64::from,
    u16: f64::from,
    u32: f64::from,
    u64: |value| value as f64,
}
