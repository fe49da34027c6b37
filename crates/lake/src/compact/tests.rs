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
