use std::collections::BTreeMap;

use deltalake_core::kernel::transaction::{CommitBuilder, TableReference};
use deltalake_core::protocol::DeltaOperation;
use proptest::prelude::*;
use runlake_types::{Point, RunId, Seq, TableId};

use super::*;
use crate::LakeSettings;
use crate::testing::{facts, memory, next, open, point, put, series};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_flushes_become_one_sorted_file() {
    let store = memory().await;
    let table = open(&store, TableId::Metrics).await;
    // Two runs that log at the same time; every flush repeats the last point of the one before.
    for flush in 0..10_i64 {
        let steps = (flush * 100 - 1).max(0)..(flush + 1) * 100;
        let batches = ["a", "b"].map(|run| series(run, "loss", steps.clone()));
        table.append(batches.into(), next(&table)).await.unwrap();
    }
    let before = table.snapshot();
    assert_eq!((before.files().len(), before.rows()), (10, 2018));
    let report = table.compact(&CompactPolicy::default()).await.unwrap();
    assert_eq!((report.files_before, report.files_after), (10, 1));
    assert_eq!((report.rows_before, report.rows_after, report.more), (2018, 2000, false));
    let after = table.snapshot();
    assert_eq!((after.files().len(), after.rows(), after.watermark()), (1, 2000, Seq(10)));
    for run in ["a", "b"] {
        let run = RunId::from_stored(run);
        let points = after.points(&run, "loss").await.unwrap();
        assert!(points.is_sorted_by(|a, b| a.file_order(b).is_lt()));
        assert_eq!(points.len(), 1000);
        assert_eq!(before.points(&run, "loss").await.unwrap(), points);
    }
    assert_eq!(table.compact(&CompactPolicy::default()).await.unwrap(), CompactReport::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_that_interleave_come_out_in_order() {
    let store = memory().await;
    let table = open(&store, TableId::Metrics).await;
    let strange = [f64::NAN, f64::NEG_INFINITY, -0.0, 0.0, f64::INFINITY, -f64::NAN];
    let mut all = Vec::new();
    for flush in 0..5_i64 {
        let mut rows: Vec<(&str, &str, Point)> = (0..2000)
            .map(|n| ("r", if n < 1000 { "a" } else { "b" }, point(n * 5 + flush, n as f64)))
            .chain(strange.map(|value| ("r", "c", point(7, value))))
            .collect();
        rows.sort_by(|a, b| (a.1).cmp(b.1).then(a.2.file_order(&b.2)));
        table.append(vec![facts(&rows)], next(&table)).await.unwrap();
        all.extend(rows);
    }
    table.compact(&CompactPolicy::thorough()).await.unwrap();
    assert_eq!(table.snapshot().files().len(), 1);
    for key in ["a", "b", "c"] {
        let mut wanted: Vec<Point> = all.iter().filter(|row| row.1 == key).map(|row| row.2).collect();
        wanted.sort_by(Point::file_order);
        wanted.dedup();
        assert_eq!(table.snapshot().points(&RunId::from_stored("r"), key).await.unwrap(), wanted);
    }
    assert_eq!(table.snapshot().rows(), 10_006);
}

/// Another tool rewrote the table without keeping rows in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_other_tools_are_sorted_on_the_way() {
    let store = memory().await;
    let table = open(&store, TableId::Metrics).await;
    table.append(vec![series("r", "a", 0..10)], next(&table)).await.unwrap();
    let rows: Vec<_> = (0..50).rev().map(|n| ("r", if n % 2 == 0 { "a" } else { "b" }, point(n, 0.5))).collect();
    let written = table.write(std::iter::once(Ok(facts(&rows)))).await.unwrap();
    let mut add = DataFile::add_of(TableId::Metrics, &written[0], true);
    add.tags = None;
    let log = crate::delta::log_store(store.objects(), &table.files().root);
    let mut delta = deltalake_core::DeltaTable::new(Arc::clone(&log));
    delta.load().await.unwrap();
    let operation =
        DeltaOperation::Write { mode: deltalake_core::protocol::SaveMode::Append, partition_by: None, predicate: None };
    let commit = CommitBuilder::default().with_actions(vec![add.into()]);
    commit.build(Some(delta.snapshot().unwrap() as &dyn TableReference), log, operation).await.unwrap();

    table.refresh().await.unwrap();
    assert_eq!(table.compact(&CompactPolicy::thorough()).await.unwrap().files_before, 2);
    let snapshot = table.snapshot();
    assert!(snapshot.files().len() == 1 && snapshot.files()[0].is_sorted());
    for (key, points) in [("a", 34), ("b", 25)] {
        let found = snapshot.points(&RunId::from_stored("r"), key).await.unwrap();
        assert_eq!(found.len(), points);
        assert!(found.is_sorted_by(|a, b| a.file_order(b).is_lt()));
    }
    assert_eq!(snapshot.rows(), 59);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_neighbours_of_a_state_table_become_one() {
    let store = memory().await;
    let small = LakeSettings { state_target_bytes: 100, ..LakeSettings::default() };
    let table = Table::open(&store, TableId::Params, "test", &small).await.unwrap();
    for run in ["a", "b", "c", "d"] {
        table.merge(vec![put(run, "k", "v")], next(&table)).await.unwrap();
    }
    assert_eq!(table.snapshot().files().len(), 4);
    assert_eq!(table.compact(&CompactPolicy::default()).await.unwrap(), CompactReport::default());
    let table = open(&store, TableId::Params).await;
    let report = table.compact(&CompactPolicy::default()).await.unwrap();
    assert_eq!((report.files_before, report.files_after, report.rows_after), (4, 1, 4));
    assert!(table.snapshot().files()[0].is_sorted());
}

#[test]
fn size_classes_grow_by_a_factor() {
    let classes = [0, 1 << 10, 256 << 10, (2 << 20) - 1, 2 << 20, 16 << 20, 127 << 20].map(size_class);
    assert_eq!(classes, [0, 0, 0, 0, 1, 2, 2]);
}

/// Run, key, step and value of a point; few of each, so that points repeat.
type Row = (u8, u8, i64, u8);

fn flushes() -> impl Strategy<Value = Vec<(Vec<Row>, bool)>> {
    let row = (0u8..3, 0u8..3, -3i64..20, 0u8..4);
    prop::collection::vec((prop::collection::vec(row, 1..60), any::<bool>()), 1..8)
}

async fn live(flushes: Vec<(Vec<Row>, bool)>, target: u64) {
    let values = [f64::NAN, 0.0, -0.0, 1.5];
    let names = ["a", "b", "c"];
    let store = memory().await;
    let settings = LakeSettings { facts_target_bytes: target, ..LakeSettings::default() };
    let table = Table::open(&store, TableId::Metrics, "test", &settings).await.unwrap();
    let mut model: BTreeMap<(&str, &str), Vec<Point>> = BTreeMap::new();
    for (rows, compact) in flushes {
        let named = |(run, key, step, value): Row| {
            (names[usize::from(run)], names[usize::from(key)], point(step, values[usize::from(value)]))
        };
        let mut rows: Vec<_> = rows.into_iter().map(named).collect();
        rows.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| a.2.file_order(&b.2)));
        for (run, key, point) in &rows {
            model.entry((run, key)).or_default().push(*point);
        }
        // In two batches, as the memtable may hand it over.
        let half = rows.len() / 2;
        table.append(vec![facts(&rows[..half]), facts(&rows[half..])], next(&table)).await.unwrap();
        if compact {
            let policy = CompactPolicy { max_files: 3, ..CompactPolicy::thorough() };
            table.compact(&policy).await.unwrap();
        }
        let snapshot = table.snapshot();
        for run in names {
            for key in names {
                let mut wanted = model.get(&(run, key)).cloned().unwrap_or_default();
                wanted.sort_by(Point::file_order);
                wanted.dedup();
                assert_eq!(snapshot.points(&RunId::from_stored(run), key).await.unwrap(), wanted);
            }
        }
    }
    let policy = CompactPolicy::thorough();
    while table.compact(&policy).await.unwrap().more {}
    if table.snapshot().files().len() == 1 {
        let distinct = model.into_values().map(|mut points| {
            points.sort_by(Point::file_order);
            points.dedup();
            points.len() as u64
        });
        assert_eq!(table.snapshot().rows(), distinct.sum::<u64>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_point_is_lost_or_changed(flushes in flushes(), target in prop::sample::select(vec![1u64, 4000, 1 << 20])) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(live(flushes, target));
    }
}
