use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, UInt32Type};
use proptest::prelude::*;
use runlake_types::rows::{Param, Row as _};
use runlake_types::{
    Attribution, Change, ExperimentId, MetricAggregate, MetricBatch, Point, RunId, Seq, Series, TableId, Timestamp,
    WriteBatch,
};

use crate::MemTable;

fn point(step: i64, value: f64) -> Point {
    Point { step, timestamp: Timestamp::from_micros(1000), value }
}

fn series(run: &str, key: &str, dataset: Option<&str>) -> Series {
    Series {
        run_id: RunId::from_stored(run),
        experiment_id: ExperimentId::new(1),
        key: key.into(),
        attribution: dataset
            .map(|name| Arc::new(Attribution { dataset_name: Some(name.into()), ..Attribution::default() })),
    }
}

fn points_of(table: &MemTable, run: &str, key: &str) -> Vec<(i64, f64)> {
    table
        .metrics()
        .of_key(&RunId::from_stored(run), key)
        .flat_map(|(_, rows)| rows.points().map(|p| (p.step, p.value)))
        .collect()
}

#[test]
fn a_clone_never_sees_a_later_write() {
    let mut table = MemTable::default();
    let mut batch = WriteBatch::default();
    let loss = batch.metrics.add_series(series("r", "loss", None));
    for step in 0..1000 {
        batch.metrics.push(loss, point(step, 0.5));
    }
    table.apply(Seq(1), std::slice::from_ref(&batch));
    let before = table.clone();
    let mut later = WriteBatch::default();
    let loss = later.metrics.add_series(series("r", "loss", None));
    later.metrics.push(loss, point(1000, 0.1));
    later.changes.push(Change::put(&Param {
        run_id: RunId::from_stored("r"),
        key: "lr".into(),
        experiment_id: ExperimentId::new(1),
        value: "1".into(),
    }));
    table.apply(Seq(2), std::slice::from_ref(&later));
    assert_eq!(before.metrics().len(), 1000);
    assert!(before.state(TableId::Params).is_none());
    assert_eq!(table.metrics().len(), 1001);
    assert_eq!(table.state(TableId::Params).map(imbl::OrdMap::len), Some(1));
    assert_eq!(table.through(), Seq(2));
}

#[test]
fn a_deletion_stays_to_hide_older_rows() {
    let param = Param {
        run_id: RunId::from_stored("r"),
        key: "lr".into(),
        experiment_id: ExperimentId::new(1),
        value: "1".into(),
    };
    let mut table = MemTable::default();
    let mut batch = WriteBatch::default();
    batch.put(&param).delete(TableId::Params, param.key());
    table.apply(Seq(1), std::slice::from_ref(&batch));
    assert_eq!(table.state(TableId::Params).and_then(|rows| rows.get(&param.key())), Some(&None));
}

#[test]
fn the_same_point_counts_once() {
    let mut table = MemTable::default();
    for seq in 1..=2 {
        let mut batch = WriteBatch::default();
        let loss = batch.metrics.add_series(series("r", "loss", None));
        batch.metrics.push(loss, point(1, f64::NAN));
        batch.metrics.push(loss, point(1, f64::NAN));
        table.apply(Seq(seq), std::slice::from_ref(&batch));
    }
    assert_eq!(table.metrics().len(), 1);
}

#[test]
fn batches_are_sorted_and_weave_attributions() {
    let mut batch = MetricBatch::default();
    let train = batch.add_series(series("r", "acc", Some("train")));
    let test = batch.add_series(series("r", "acc", Some("test")));
    let other = batch.add_series(series("q", "acc", None));
    for step in [2, 0, 1] {
        batch.push(train, point(step, 1.0));
        batch.push(test, point(step, 2.0));
        batch.push(other, point(step, 3.0));
    }
    let mut table = MemTable::default();
    table.apply_metrics(&batch);
    let batches: Vec<_> =
        MemTable::sorted_metrics(Arc::new(table.clone()), 4).map(|batch| batch.expect("builds")).collect();
    let mut rows = Vec::new();
    for batch in &batches {
        let runs = batch.column(0).as_dictionary::<UInt32Type>();
        let runs = runs.downcast_dict::<arrow_array::StringArray>().expect("text");
        let steps = batch.column(2).as_primitive::<Int64Type>();
        let values = batch.column(4).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            use arrow_array::ArrayAccessor as _;
            rows.push((runs.value(row).to_owned(), steps.value(row), values.value(row).to_bits()));
        }
    }
    assert_eq!(rows.len(), 9);
    assert!(rows.is_sorted(), "{rows:?}");
}

proptest! {
    #[test]
    fn a_table_holds_what_a_set_holds(
        batches in prop::collection::vec(
            prop::collection::vec((0usize..3, 0usize..2, -3i64..40, -2i8..3), 0..400), 1..4)
    ) {
        let mut table = MemTable::default();
        let mut model: BTreeMap<(String, String), BTreeSet<(i64, i8)>> = BTreeMap::new();
        for (seq, points) in batches.iter().enumerate() {
            let mut batch = WriteBatch::default();
            let mut known = BTreeMap::new();
            for (run, key, step, value) in points {
                let (run, key) = (format!("r{run}"), format!("k{key}"));
                let index = *known
                    .entry((run.clone(), key.clone()))
                    .or_insert_with(|| batch.metrics.add_series(series(&run, &key, None)));
                batch.metrics.push(index, point(*step, f64::from(*value)));
                model.entry((run, key)).or_default().insert((*step, *value));
            }
            table.apply(Seq(seq as u64 + 1), std::slice::from_ref(&batch));
        }
        prop_assert_eq!(table.metrics().len(), model.values().map(BTreeSet::len).sum::<usize>());
        for ((run, key), points) in &model {
            let expected: Vec<_> = points.iter().map(|(step, value)| (*step, f64::from(*value))).collect();
            prop_assert_eq!(points_of(&table, run, key), expected.clone());
            let run_id = RunId::from_stored(run);
            let (_, rows) = table.metrics().of_key(&run_id, key).next().expect("is there");
            let whole = MetricAggregate::of_all(expected.iter().map(|(step, value)| point(*step, *value)));
            prop_assert_eq!(Some(*rows.aggregate()), whole);
        }
    }
}
