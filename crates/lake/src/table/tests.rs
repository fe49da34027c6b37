use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, RecordBatch};
use futures::TryStreamExt as _;
use runlake_types::{KeyBuilder, Point, Row as _, RunId, Timestamp, rows::Param};

use super::*;
use crate::testing::{delete, facts, local, mark, memory, next, open, param, point, put, series};

async fn stores() -> Vec<(Store, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    vec![(memory().await, None), (local(&folder).await, Some(folder))]
}

async fn points(table: &Table, run: &str, key: &str) -> Vec<Point> {
    table.snapshot().points(&RunId::from_stored(run), key).await.unwrap()
}

async fn params(table: &Table, prefix: &Key) -> Vec<Param> {
    let rows = table.snapshot().records(prefix).await.unwrap();
    rows.iter().map(|(_, record)| Param::from_record(record).unwrap()).collect()
}

fn everything() -> Key {
    KeyBuilder::default().build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_are_appended_and_found_again() {
    for (store, _folder) in stores().await {
        let table = open(&store, TableId::Metrics).await;
        assert_eq!((table.snapshot().version(), table.snapshot().watermark()), (None, Seq(0)));
        assert!(points(&table, "r1", "loss").await.is_empty());

        let first = vec![series("r1", "acc", 0..10), series("r1", "loss", 0..10)];
        table.append(first, mark(0, 5)).await.unwrap();
        table.append(vec![series("r1", "loss", 5..20), series("r2", "loss", 0..3)], mark(5, 9)).await.unwrap();

        for table in [table, open(&store, TableId::Metrics).await] {
            let snapshot = table.snapshot();
            assert_eq!((snapshot.version(), snapshot.watermark()), (Some(1), Seq(9)));
            assert_eq!((snapshot.rows(), snapshot.files().len()), (38, 2));
            let steps: Vec<_> = points(&table, "r1", "loss").await.iter().map(|point| point.step).collect();
            assert_eq!(steps, (0..20).collect::<Vec<_>>());
            assert_eq!(points(&table, "r1", "acc").await.len(), 10);
            assert_eq!(points(&table, "r2", "loss").await[2], point(2, 0.5));
            assert!(points(&table, "r2", "acc").await.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dictionaries_are_written_as_text_and_repeats_once() {
    let store = memory().await;
    let table = open(&store, TableId::Metrics).await;
    let plain = facts(&[
        ("r", "a", point(1, 1.0)),
        ("r", "a", point(1, 1.0)),
        ("r", "a", point(1, f64::NAN)),
        ("r", "b", point(1, f64::NAN)),
        ("r", "b", point(1, f64::NAN)),
    ]);
    let mut columns = plain.columns().to_vec();
    for column in [0, 1] {
        let dictionary: DictionaryArray<Int32Type> = plain.column(column).as_string::<i32>().iter().collect();
        columns[column] = Arc::new(dictionary);
    }
    let encoded =
        RecordBatch::try_from_iter(plain.schema().fields().iter().map(|field| field.name().clone()).zip(columns));
    let snapshot = table.append(vec![encoded.unwrap(), facts(&[("r", "b", point(1, f64::NAN))])], next(&table)).await;
    assert_eq!(snapshot.unwrap().rows(), 3);
    assert_eq!(points(&table, "r", "a").await, [point(1, 1.0), point(1, f64::NAN)]);
    let batches: Vec<_> = table.snapshot().scan(Some(&["key", "value"])).try_collect().await.unwrap();
    assert_eq!(batches[0].num_columns(), 2);
    assert_eq!(batches[0].column(0).as_string::<i32>().value(2), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_set_replaced_and_deleted() {
    for (store, _folder) in stores().await {
        let table = open(&store, TableId::Params).await;
        let first = vec![put("r1", "a", "1"), put("r1", "b", "2"), put("r2", "a", "3")];
        table.merge(first, mark(0, 1)).await.unwrap();
        let second =
            vec![put("r0", "z", "0"), put("r1", "b", "9"), delete("r1", "c"), delete("r2", "a"), put("r3", "a", "4")];
        table.merge(second, mark(1, 2)).await.unwrap();
        let wanted = [param("r0", "z", "0"), param("r1", "a", "1"), param("r1", "b", "9"), param("r3", "a", "4")];
        for table in [table, open(&store, TableId::Params).await] {
            assert_eq!(params(&table, &everything()).await, wanted);
            assert_eq!(params(&table, &KeyBuilder::default().text("r1").build()).await, wanted[1..3]);
            assert_eq!(params(&table, &KeyBuilder::default().text("r1").text("b").build()).await, wanted[2..3]);
            assert!(params(&table, &KeyBuilder::default().text("r").build()).await.is_empty());
            assert_eq!(table.snapshot().watermark(), Seq(2));
            assert_eq!(table.snapshot().files().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_everything_leaves_an_empty_table() {
    let store = memory().await;
    let table = open(&store, TableId::Params).await;
    table.merge(vec![put("r", "a", "1")], next(&table)).await.unwrap();
    let snapshot = table.merge(vec![delete("r", "a")], next(&table)).await.unwrap();
    assert!(snapshot.files().is_empty());
    table.merge(vec![delete("r", "a")], next(&table)).await.unwrap();
    assert_eq!(open(&store, TableId::Params).await.snapshot().watermark(), Seq(3));
    table.merge(vec![put("r", "b", "1")], next(&table)).await.unwrap();
    assert_eq!(params(&table, &everything()).await, [param("r", "b", "1")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_snapshot_keeps_reading() {
    let store = memory().await;
    let table = open(&store, TableId::Params).await;
    let old = table.merge(vec![put("r", "a", "1")], next(&table)).await.unwrap();
    table.merge(vec![put("r", "a", "2")], next(&table)).await.unwrap();
    let rows = old.records(&everything()).await.unwrap();
    assert_eq!(Param::from_record(&rows[0].1).unwrap().value, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_of_another_range_is_told_where_the_table_is() {
    let store = memory().await;
    let table = open(&store, TableId::Params).await;
    let other = open(&store, TableId::Params).await;
    table.merge(vec![put("r", "a", "1")], mark(0, 7)).await.unwrap();
    for flush in [mark(0, 7), mark(0, 9), mark(3, 9)] {
        let error = other.merge(vec![put("r", "a", "2")], flush).await.unwrap_err();
        assert!(matches!(error, Error::WatermarkMoved { found: Seq(7), .. }), "{error}");
    }
    other.merge(vec![put("r", "a", "2")], mark(7, 8)).await.unwrap();
    assert_eq!(table.refresh().await.unwrap().watermark(), Seq(8));
    assert_eq!(params(&table, &everything()).await, [param("r", "a", "2")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused() {
    let store = memory().await;
    let table = open(&store, TableId::Params).await;
    let metrics = open(&store, TableId::Metrics).await;
    let kinds = [
        table.merge(vec![put("r", "b", "1"), put("r", "a", "1")], mark(0, 1)).await.unwrap_err().kind(),
        table.merge(vec![put("r", "a", "1")], mark(1, 1)).await.unwrap_err().kind(),
        table.append(vec![], mark(0, 1)).await.unwrap_err().kind(),
        metrics.append(vec![RecordBatch::new_empty(TableId::Params.schema())], mark(0, 1)).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [runlake_types::ErrorKind::Invalid; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_flushes_are_cut_between_series() {
    let store = memory().await;
    let settings = LakeSettings { facts_target_bytes: 64 << 10, ..LakeSettings::default() };
    let table = Table::open(&store, TableId::Metrics, "test", &settings).await.unwrap();
    let batches: Vec<_> = (0..40).map(|run| series(&format!("r{run:02}"), "loss", 0..10_000)).collect();
    let snapshot = table.append(batches, next(&table)).await.unwrap();
    assert_eq!(snapshot.rows(), 400_000);
    assert!(snapshot.files().len() > 2, "{}", snapshot.files().len());
    for pair in snapshot.files().windows(2) {
        assert!(pair[0].bounds(0).unwrap().1 < pair[1].bounds(0).unwrap().0);
    }
    assert_eq!(points(&table, "r17", "loss").await.len(), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_files_are_split_and_stay_apart() {
    let store = memory().await;
    let settings = LakeSettings { state_target_bytes: 32 << 10, ..LakeSettings::default() };
    let table = Table::open(&store, TableId::Params, "test", &settings).await.unwrap();
    let rows = |from: usize, to: usize| -> Vec<_> {
        (from..to).map(|n| put(&format!("r{n:06}"), "key", &runlake_storage::nonce())).collect()
    };
    table.merge(rows(0, 20_000), next(&table)).await.unwrap();
    table.merge(rows(30_000, 32_000), next(&table)).await.unwrap();
    table.merge(rows(20_000, 21_000), next(&table)).await.unwrap();
    let snapshot = table.snapshot();
    assert_eq!(snapshot.rows(), 23_000);
    assert!(snapshot.files().len() > 5);
    for pair in snapshot.files().windows(2) {
        assert!(!pair[0].range().overlaps(pair[1].range()));
    }
    let untouched = snapshot.files()[0].clone();
    let found = params(&table, &KeyBuilder::default().text("r020500").build()).await;
    assert_eq!(found.len(), 1);
    table.merge(vec![put("r019999", "key", "new")], next(&table)).await.unwrap();
    assert_eq!(table.snapshot().files()[0].location(), untouched.location());
    assert_eq!(table.snapshot().rows(), 23_000);
    assert_eq!(params(&table, &everything()).await.len(), 23_000);
}

/// Statistics leave NaN out and cannot hold infinity, so that a filter over them would lose rows: there are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubles_have_no_statistics_and_come_back_as_they_were() {
    let store = memory().await;
    let table = open(&store, TableId::Metrics).await;
    let strange = [f64::NEG_INFINITY, -0.0, 0.0, f64::MIN_POSITIVE / 2.0, 0.1 + 0.2, f64::INFINITY, f64::NAN];
    let rows: Vec<_> = strange.iter().map(|value| ("r", "k", point(1, *value))).collect();
    table.append(vec![facts(&rows)], next(&table)).await.unwrap();
    let found = points(&table, "r", "k").await;
    let bits = |values: &mut dyn Iterator<Item = f64>| values.map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&mut found.iter().map(|point| point.value)), bits(&mut strange.into_iter()));

    let snapshot = table.snapshot();
    let footer = table.files().caches.footers.get(snapshot.files()[0].location()).unwrap();
    for column in footer.row_group(0).columns() {
        let is_value = column.column_path().string() == "value";
        assert_eq!(column.statistics().is_none(), is_value, "{}", column.column_path());
    }
    let log = store.get_opt(&"tables/metrics/_delta_log/00000000000000000000.json".into()).await.unwrap().unwrap();
    let add = std::str::from_utf8(&log).unwrap().lines().find(|line| line.starts_with(r#"{"add""#)).unwrap();
    assert!(add.contains("run_id") && !add.contains("value"), "{add}");
}

const RUNS: [&str; 10] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"];

/// A point look-up fetches pages, not files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_reads_little_of_a_large_file() {
    let store = memory().await;
    let faulty = crate::testing::FaultyStore::over(store.objects());
    let store = store.with_objects(Arc::clone(&faulty) as _);
    let table = open(&store, TableId::Metrics).await;
    let noisy = |step: i64| {
        let mixed = (step.cast_unsigned() ^ 0x9E37_79B9).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB);
        point(step, f64::from_bits(0x3FF0_0000_0000_0000 | (mixed >> 12)))
    };
    let run = |run: usize| -> Vec<_> { (0..30_000).map(|step| (RUNS[run], "loss", noisy(step))).collect() };
    let batches: Vec<_> = (0..RUNS.len()).map(|at| facts(&run(at))).collect();
    table.append(batches, next(&table)).await.unwrap();
    let reopened = open(&store, TableId::Metrics).await;
    faulty.take_counts();
    assert_eq!(points(&reopened, "r5", "loss").await.len(), 30_000);
    let first = faulty.take_counts();
    assert!(first.gets <= 2, "footer and pages: {first:?}");
    assert!(first.bytes < reopened.snapshot().bytes() / 4, "{first:?} of {}", reopened.snapshot().bytes());
    assert!(points(&reopened, "r5", "accuracy").await.is_empty());
    assert_eq!(faulty.take_counts().bytes, 0, "no file holds that key");
}

#[test]
fn all_of_it_can_be_used_from_any_task() {
    fn anywhere<T: Send + Sync + Clone>() {}
    fn sent<T: Send>(_: impl FnOnce(&'static Table) -> T) {}
    anywhere::<Table>();
    anywhere::<crate::Lake>();
    anywhere::<Snapshot>();
    sent(|table| table.append(Vec::new(), mark(0, 1)));
    sent(|table| table.merge(Vec::new(), mark(0, 1)));
    sent(|table| async move { table.compact(&crate::CompactPolicy::default()).await });
    sent(|table| table.vacuum(std::time::Duration::ZERO));
    sent(Table::refresh);
}

/// A table with a long series between two others, in two files that follow one another, and then one that overlaps.
async fn long_series() -> Table {
    let table = open(&memory().await, TableId::Metrics).await;
    for (at, steps) in [0..70_000, 70_000..150_000].into_iter().enumerate() {
        let at = at as u64;
        let batches = vec![series("r", "before", 0..5000), series("r", "loss", steps), series("s", "after", 0..5000)];
        table.append(batches, mark(at, at + 1)).await.unwrap();
    }
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_points_are_those_of_the_whole_series() {
    let table = long_series().await;
    let all = points(&table, "r", "loss").await;
    assert_eq!(all.len(), 150_000);
    let newer: Vec<Point> = (150_000..150_100).map(|step| point(step, 0.5)).collect();
    let expected = [all.clone(), newer.clone()].concat();
    let run = RunId::from_stored("r");
    let numbered = table.snapshot().numbered(&run, "loss", newer).await.unwrap().expect("nothing overlaps");
    assert_eq!((numbered.len(), numbered.steps()), (150_100, Some((0, 150_099))));
    for stride in [1, 7, 997, 40_000] {
        let numbers: Vec<usize> = (0..numbered.len()).step_by(stride).collect();
        let wanted: Vec<Point> = numbers.iter().map(|number| expected[*number]).collect();
        assert_eq!(numbered.points_at(&numbers).await.unwrap(), wanted, "every {stride}th");
    }
    // What overlaps cannot be numbered unread: a point may be in both.
    assert!(table.snapshot().numbered(&run, "loss", vec![point(149_999, 0.5)]).await.unwrap().is_none());
    table.append(vec![series("r", "loss", 69_000..71_000)], mark(2, 3)).await.unwrap();
    assert!(table.snapshot().numbered(&run, "loss", Vec::new()).await.unwrap().is_none());
    let none = table.snapshot().numbered(&run, "none", Vec::new()).await.unwrap().expect("nothing overlaps");
    assert!(none.is_empty() && none.steps().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_since_a_time_are_complete_up_to_the_time_told() {
    let table = long_series().await;
    table.append(vec![series("r", "loss", 60_000..90_000)], mark(2, 3)).await.unwrap();
    let all = points(&table, "r", "loss").await;
    let run = RunId::from_stored("r");
    for (since, count) in [(0, 1), (0, 25_000), (69_990, 25_000), (100_000, 7), (149_990, 25_000), (500_000, 3)] {
        let since = all.get(since).map_or(Timestamp::from_micros(i64::MAX), |point| point.timestamp);
        let (found, until) = table.snapshot().points_since(&run, "loss", since, count).await.unwrap();
        let within = |point: &&Point| point.timestamp >= since && until.is_none_or(|until| point.timestamp <= until);
        let found: Vec<&Point> = found.iter().filter(within).collect();
        let wanted: Vec<&Point> = all.iter().filter(within).collect();
        assert_eq!(found, wanted, "{count} points since {since:?}");
        assert!(until.is_none() || found.len() < all.len(), "everything was read for {count} points");
    }
}
