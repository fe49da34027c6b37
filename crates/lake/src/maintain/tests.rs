use std::sync::Arc;

use runlake_storage::Store;
use runlake_types::{Clock as _, KeyBuilder, ManualClock, SystemClock, TableId};

use super::*;
use crate::LakeSettings;
use crate::testing::{Fault, FaultyStore, Verb, memory, next, open, put};

const DAY: Duration = Duration::from_hours(24);

async fn with_clock(store: &Store) -> (Table, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let settings = LakeSettings { clock: Arc::clone(&clock) as _, ..LakeSettings::default() };
    (Table::open(store, TableId::Params, "test", &settings).await.unwrap(), clock)
}

async fn parquet_files(store: &Store) -> usize {
    let listed: Vec<_> = store.objects().list(Some(&Path::from("tables/params"))).try_collect().await.unwrap();
    listed.iter().filter(|meta| meta.location.as_ref().ends_with(".zstd.parquet")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_deletes_only_what_is_old() {
    let store = memory().await;
    let faulty = FaultyStore::over(store.objects());
    let store = store.with_objects(Arc::clone(&faulty) as _);
    let (table, clock) = with_clock(&store).await;
    table.merge(vec![put("r", "a", "1")], next(&table)).await.unwrap();
    let old = table.merge(vec![put("r", "a", "2")], next(&table)).await.unwrap();
    faulty.plan(Verb::Put, "_delta_log", Fault::Refuse);
    table.merge(vec![put("r", "a", "never")], next(&table)).await.unwrap_err();
    assert_eq!(parquet_files(&store).await, 3);
    assert_eq!(table.vacuum(DAY).await.unwrap(), VacuumReport::default());

    clock.advance(25 * 3600 * 1_000_000);
    table.merge(vec![put("r", "a", "3")], next(&table)).await.unwrap();
    let report = table.vacuum(DAY).await.unwrap();
    assert_eq!((report.removed_files, report.uncommitted_files), (1, 1));
    assert_eq!(parquet_files(&store).await, 2);
    // Removed just now: a reader may still be at it.
    assert_eq!(old.records(&KeyBuilder::default().build()).await.unwrap().len(), 1);

    clock.advance(25 * 3600 * 1_000_000);
    let report = table.vacuum(DAY).await.unwrap();
    assert_eq!((report.removed_files, report.uncommitted_files), (1, 0));
    assert_eq!(table.vacuum(Duration::ZERO).await.unwrap(), VacuumReport::default());
    assert_eq!(table.snapshot().records(&KeyBuilder::default().build()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_come_when_due_and_let_the_log_be_cleaned() {
    let store = memory().await;
    let (table, clock) = with_clock(&store).await;
    assert!(!table.checkpoint_if_due().await.unwrap());
    let mut checkpoints = 0;
    for n in 0..35 {
        table.merge(vec![put("r", &format!("{n:02}"), "1")], next(&table)).await.unwrap();
        checkpoints += usize::from(table.checkpoint_if_due().await.unwrap());
    }
    assert_eq!(checkpoints, 3);
    assert_eq!(table.clean_log().await.unwrap(), 0);
    clock.advance(25 * 3600 * 1_000_000);
    assert!(table.clean_log().await.unwrap() >= 29);

    let reopened = open(&store, TableId::Params).await;
    for table in [table, reopened] {
        assert_eq!(table.snapshot().rows(), 35);
        assert!(table.snapshot().files()[0].is_sorted(), "tags survive the checkpoint");
        table.merge(vec![put("r", &format!("x{}", table.snapshot().watermark()), "1")], next(&table)).await.ok();
        table.refresh().await.unwrap();
    }
    assert_eq!(open(&store, TableId::Params).await.snapshot().rows(), 36);
}

/// A reader that slept while the log was cleaned up under it starts over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_behind_a_cleaned_log_catches_up() {
    let store = memory().await;
    let (table, clock) = with_clock(&store).await;
    table.merge(vec![put("r", "a", "1")], next(&table)).await.unwrap();
    let reader = open(&store, TableId::Params).await;
    for n in 0..5 {
        table.merge(vec![put("r", &format!("{n}"), "1")], next(&table)).await.unwrap();
    }
    table.checkpoint().await.unwrap();
    clock.advance(25 * 3600 * 1_000_000);
    assert!(table.clean_log().await.unwrap() > 0);
    assert_eq!(reader.refresh().await.unwrap().rows(), 6);
}
