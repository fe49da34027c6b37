//! What the tests of this crate share: rows and batches. The store that counts and fails is everybody's.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_schema::DataType;
use runlake_storage::{Store, StoreSettings};
use runlake_types::rows::Param;
use runlake_types::{ExperimentId, Key, Point, Record, Row as _, RunId, Seq, TableId, Timestamp};

use crate::{LakeSettings, Table, Watermark};

pub(crate) use runlake_testkit::{Counts, Fault, FaultyStore, Verb};

pub(crate) async fn memory() -> Store {
    Store::open("memory://", &StoreSettings::default()).await.unwrap()
}

pub(crate) async fn local(folder: &tempfile::TempDir) -> Store {
    Store::open(folder.path().to_str().unwrap(), &StoreSettings::default()).await.unwrap()
}

pub(crate) async fn open(store: &Store, table: TableId) -> Table {
    Table::open(store, table, "test", &LakeSettings::default()).await.unwrap()
}

pub(crate) fn mark(expected: u64, reached: u64) -> Watermark {
    Watermark { expected: Seq(expected), reached: Seq(reached) }
}

/// A flush that follows the newest one.
pub(crate) fn next(table: &Table) -> Watermark {
    let expected = table.snapshot().watermark();
    Watermark { expected, reached: expected.next() }
}

pub(crate) fn point(step: i64, value: f64) -> Point {
    Point { step, timestamp: Timestamp::from_micros(1_000_000 + step), value }
}

/// A batch of facts: points of series, as they are.
pub(crate) fn facts(rows: &[(&str, &str, Point)]) -> RecordBatch {
    let text = |column: fn(&(&str, &str, Point)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(column)))
    };
    let timestamps = rows.iter().map(|(_, _, point)| point.timestamp.micros());
    let nothing = || new_null_array(&DataType::Utf8, rows.len());
    let columns: Vec<ArrayRef> = vec![
        text(|(run, _, _)| (*run).to_owned()),
        text(|(_, key, _)| (*key).to_owned()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, _, point)| point.step))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(timestamps).with_timezone("UTC")),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, _, point)| point.value))),
        text(|_| "0".to_owned()),
        nothing(),
        nothing(),
        nothing(),
    ];
    RecordBatch::try_new(TableId::Metrics.schema(), columns).unwrap()
}

/// Points of one series, at steps.
pub(crate) fn series(run: &str, key: &str, steps: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<_> = steps.map(|step| (run, key, point(step, step as f64 / 4.0))).collect();
    facts(&rows)
}

pub(crate) fn param(run: &str, key: &str, value: &str) -> Param {
    Param {
        run_id: RunId::from_stored(run),
        key: key.to_owned(),
        experiment_id: ExperimentId::new(1),
        value: value.to_owned(),
    }
}

pub(crate) fn put(run: &str, key: &str, value: &str) -> (Key, Option<Arc<Record>>) {
    let param = param(run, key, value);
    (param.key(), Some(Arc::new(param.to_record())))
}

pub(crate) fn delete(run: &str, key: &str) -> (Key, Option<Arc<Record>>) {
    (param(run, key, "").key(), None)
}
