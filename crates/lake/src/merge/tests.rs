use std::collections::BTreeMap;

use proptest::prelude::*;
use runlake_types::{Row as _, rows::Param};

use super::*;
use crate::testing::{delete, memory, next, open, put};
use crate::{CompactPolicy, Table};

/// One step of a table's life: rows set (true) or deleted, then perhaps a compaction.
type Step = (Vec<(u8, u8, bool)>, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0u8..12, 0u8..4, prop::bool::weighted(0.7));
    prop::collection::vec((prop::collection::vec(change, 0..40), any::<bool>()), 1..8)
}

async fn live(steps: Vec<Step>, target: u64) {
    let store = memory().await;
    let settings = LakeSettings { state_target_bytes: target, ..LakeSettings::default() };
    let table = Table::open(&store, TableId::Params, "test", &settings).await.unwrap();
    let mut model: BTreeMap<(String, String), String> = BTreeMap::new();
    for (n, (changes, compact)) in steps.into_iter().enumerate() {
        let changes: BTreeMap<_, _> =
            changes.into_iter().map(|(run, key, set)| ((format!("r{run:02}"), format!("k{key}")), set)).collect();
        let mut batch = Vec::new();
        for ((run, key), set) in changes {
            if set {
                batch.push(put(&run, &key, &n.to_string()));
                model.insert((run, key), n.to_string());
            } else {
                batch.push(delete(&run, &key));
                model.remove(&(run, key));
            }
        }
        table.merge(batch, next(&table)).await.unwrap();
        if compact {
            while table.compact(&CompactPolicy::default()).await.unwrap().more {}
        }
        let rows = table.snapshot().records(&KeyBuilder::default().build()).await.unwrap();
        let found: Vec<_> = rows.iter().map(|(_, record)| Param::from_record(record).unwrap()).collect();
        let found: Vec<_> = found.into_iter().map(|row| ((row.run_id.to_string(), row.key), row.value)).collect();
        assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>());
        for pair in table.snapshot().files().windows(2) {
            assert!(!pair[0].range().overlaps(pair[1].range()));
        }
    }
    let reopened = Table::open(&store, TableId::Params, "test", &settings).await.unwrap();
    assert_eq!(reopened.snapshot().rows(), model.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_state_table_is_a_sorted_map(steps in steps(), target in prop::sample::select(vec![1u64, 900, 1 << 20])) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(live(steps, target));
    }
}

#[test]
fn galloping_finds_every_row() {
    let rows: Vec<_> = (0..100).map(|n| put(&format!("r{:03}", n * 2), "k", "v").1.unwrap()).collect();
    let batch = batch_from_records(TableId::Params, rows.iter().map(AsRef::as_ref)).unwrap();
    let keys = RowKeys::of(TableId::Params, &batch);
    for from in [0, 1, 7, 50, 99, 100] {
        for n in 0..205 {
            let key = put(&format!("r{n:03}"), "k", "v").0;
            let wanted = (from..100).find(|row| keys.at(*row) >= key).unwrap_or(100);
            assert_eq!(keys.first_not_before(from, &key), wanted, "{from} {n}");
        }
    }
}

#[test]
fn a_file_that_outgrows_the_target_is_halved() {
    let file = |size: i64, rows: u64| {
        let stats = serde_json::json!({"numRecords": rows}).to_string();
        let add = deltalake_core::kernel::Add { size, stats: Some(stats), ..Default::default() };
        Arc::new(DataFile::from_add(TableId::Params, &"t".into(), add))
    };
    assert_eq!(even_split(&[], 1000, 100), 100);
    assert_eq!(even_split(&[file(100, 1000)], 1200, 100), 125);
    assert_eq!(even_split(&[file(100, 1000)], 1300, 100), 65 + 4);
    assert_eq!(even_split(&[file(50, 500), file(50, 500)], 10_000, 100), 100 + 6);
}

/// Text that compresses a thousandfold must not pile up in one file: a merge holds its rows in memory, and Arrow counts
/// the text of a batch in 31 bits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_bounded_by_what_their_rows_take_in_memory() {
    let store = memory().await;
    let table = open(&store, TableId::Params).await;
    let long = "x".repeat(8000);
    for flush in 0..4_u64 {
        let mut changes: Vec<_> = (0..6000).map(|row| put(&format!("r{flush}{row:05}"), "k", &long)).collect();
        // Some of the rows there are already change too.
        changes.extend((0..flush).map(|before| put(&format!("r{before}00007"), "k", "short")));
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        table.merge(changes, next(&table)).await.unwrap();
        let snapshot = table.snapshot();
        for file in snapshot.files() {
            // 8000 rows of 8 KB: 64 MB.
            assert!(file.rows().unwrap() <= 11_000, "{} rows in {} bytes", file.rows().unwrap(), file.size());
        }
        assert_eq!(snapshot.rows(), 6000 * (flush + 1));
    }
    let report = table.compact(&CompactPolicy::thorough()).await.unwrap();
    assert!(!report.more, "{report:?}");
    let rows = table.snapshot().records(&runlake_types::KeyBuilder::default().text("r000007").build()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(table.snapshot().rows(), 24_000);
    assert!(table.snapshot().files().len() <= 5, "{} files", table.snapshot().files().len());
}
