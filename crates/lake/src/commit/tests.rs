use std::task::Poll;

use deltalake_core::kernel::Add;
use runlake_storage::Store;
use runlake_types::{ErrorKind, Key, KeyBuilder, Row as _, RunId, rows::Param};

use super::*;
use crate::testing::{Counts, Fault, FaultyStore, Verb, delete, mark, memory, next, open, param, put, series};
use crate::{CompactPolicy, Table};

fn everything() -> Key {
    KeyBuilder::default().build()
}

async fn params(table: &Table) -> Vec<Param> {
    let rows = table.snapshot().records(&everything()).await.unwrap();
    rows.iter().map(|(_, record)| Param::from_record(record).unwrap()).collect()
}

/// What Delta's library itself does when `loser` was built on the version before `winner`: the reason for the committer's
/// rules. If one of these changes in a newer version, look at the rules again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_as_the_delta_library_decides_them() {
    use Race::{Append, Optimize, Update};
    let expected = [
        // Rows would be doubled:
        (Optimize, Optimize, true),
        (Optimize, Update, true),
        // The append is not seen, but nothing is lost:
        (Append, Update, true),
        (Append, Append, true),
        (Append, Optimize, true),
        (Update, Update, false),
        (Update, Optimize, false),
        (Update, Append, false),
    ];
    let mut found = Vec::new();
    for (winner, loser, _) in expected {
        found.push((winner, loser, race(winner, loser, 15).await));
        assert!(!race(winner, loser, 0).await, "{winner:?} then {loser:?} without retries");
    }
    assert_eq!(found, expected);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Race {
    Append,
    Update,
    Optimize,
}

/// Whether `loser` commits after `winner` did.
async fn race(winner: Race, loser: Race, retries: usize) -> bool {
    let store = memory().await;
    let table = open(&store, TableId::Params).await;
    table.merge(vec![put("r", "a", "1")], next(&table)).await.unwrap();
    let file = Arc::clone(&table.snapshot().files()[0]);
    let log = delta::log_store(store.objects(), &table.files().root);
    let mut delta = DeltaTable::new(Arc::clone(&log));
    delta.load().await.unwrap();
    let mut outcomes = Vec::new();
    for (at, kind) in [winner, loser].into_iter().enumerate() {
        let change = kind != Race::Optimize;
        let add =
            Action::Add(Add { path: format!("part-{at}.parquet"), size: 1, data_change: change, ..Add::default() });
        let remove = Action::Remove(file.remove(0, change));
        let (actions, operation) = match kind {
            Race::Append => {
                (vec![add], DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None })
            }
            Race::Update => (vec![remove, add], DeltaOperation::Update { predicate: None }),
            Race::Optimize => (vec![remove, add], DeltaOperation::Optimize { predicate: None, target_size: 1 }),
        };
        let state = delta.snapshot().unwrap();
        let commit = CommitBuilder::from(CommitProperties::default().with_max_retries(retries)).with_actions(actions);
        outcomes.push(commit.build(Some(state as &dyn TableReference), Arc::clone(&log), operation).await.is_ok());
    }
    assert!(outcomes[0]);
    outcomes[1]
}

/// Two processes on one table, the second behind: whatever they do, each row is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_of_ours_doubles_or_loses_a_row() {
    for compaction_first in [true, false] {
        let store = memory().await;
        let first = open(&store, TableId::Metrics).await;
        for steps in [0..10, 10..20, 20..30] {
            first.append(vec![series("r", "loss", steps)], next(&first)).await.unwrap();
        }
        let behind = open(&store, TableId::Metrics).await;
        if compaction_first {
            assert_eq!(first.compact(&CompactPolicy::thorough()).await.unwrap().files_before, 3);
        } else {
            first.append(vec![series("r", "loss", 30..40)], next(&first)).await.unwrap();
        }
        let report = behind.compact(&CompactPolicy::thorough()).await.unwrap();
        assert_eq!(report.files_before, if compaction_first { 0 } else { 3 });
        let points = first.refresh().await.unwrap().points(&RunId::from_stored("r"), "loss").await.unwrap();
        assert_eq!(points.len(), if compaction_first { 30 } else { 40 });
        assert_eq!(first.snapshot().rows(), points.len() as u64);
        assert_eq!(first.snapshot().watermark(), behind.snapshot().watermark());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_behind_a_compaction_is_planned_again() {
    let store = memory().await;
    let settings = LakeSettings { state_target_bytes: 600, ..LakeSettings::default() };
    let table = Table::open(&store, TableId::Params, "test", &settings).await.unwrap();
    table.merge(vec![put("a", "k", "1")], next(&table)).await.unwrap();
    table.merge(vec![put("z", "k", "1")], next(&table)).await.unwrap();
    assert_eq!(table.snapshot().files().len(), 2);
    let behind = open(&store, TableId::Params).await;
    let other = open(&store, TableId::Params).await;
    assert_eq!(other.compact(&CompactPolicy::default()).await.unwrap().files_before, 2);
    behind.merge(vec![put("a", "k", "2"), put("b", "k", "1")], next(&behind)).await.unwrap();
    assert_eq!(params(&behind).await, [param("a", "k", "2"), param("b", "k", "1"), param("z", "k", "1")]);
}

async fn faulty() -> (Store, Arc<FaultyStore>) {
    let store = memory().await;
    let faulty = FaultyStore::over(store.objects());
    (store.with_objects(Arc::clone(&faulty) as _), faulty)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_has_landed_once() {
    let (store, faulty) = faulty().await;
    let metrics = open(&store, TableId::Metrics).await;
    let table = open(&store, TableId::Params).await;
    for n in 0..3 {
        faulty.plan(Verb::Put, "_delta_log", Fault::LoseAnswer);
        metrics.append(vec![series("r", "loss", n..n + 1)], next(&metrics)).await.unwrap();
        faulty.plan(Verb::Put, "_delta_log", Fault::LoseAnswer);
        table.merge(vec![put("r", &format!("k{n}"), "1")], next(&table)).await.unwrap();
        assert_eq!(metrics.snapshot().rows(), table.snapshot().rows());
        assert_eq!(metrics.snapshot().version(), u64::try_from(n).ok());
    }
    faulty.plan(Verb::Put, "_delta_log", Fault::LoseAnswer);
    metrics.compact(&CompactPolicy::thorough()).await.unwrap();
    faulty.plan(Verb::Put, "_delta_log", Fault::LoseAnswer);
    let all = vec![delete("r", "k0"), delete("r", "k1"), delete("r", "k2")];
    table.merge(all, next(&table)).await.unwrap();
    let metrics = open(&store, TableId::Metrics).await.snapshot();
    assert_eq!((metrics.rows(), metrics.files().len(), metrics.watermark()), (3, 1, Seq(3)));
    let table = open(&store, TableId::Params).await.snapshot();
    assert_eq!((table.rows(), table.watermark()), (0, Seq(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_leaves_nothing_visible_and_can_be_repeated() {
    let (store, faulty) = faulty().await;
    let table = open(&store, TableId::Params).await;
    table.merge(vec![put("r", "a", "1")], next(&table)).await.unwrap();
    for part in ["_delta_log", ".parquet"] {
        faulty.plan(Verb::Put, part, Fault::Refuse);
        let flush = next(&table);
        let error = table.merge(vec![put("r", "a", "2")], flush).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        for table in [table.clone(), open(&store, TableId::Params).await] {
            assert_eq!(params(&table).await, [param("r", "a", "1")]);
            assert_eq!(table.snapshot().watermark(), flush.expected);
        }
    }
    table.merge(vec![put("r", "a", "2")], next(&table)).await.unwrap();
    assert_eq!(params(&table).await, [param("r", "a", "2")]);
}

/// The commit is durable, then reading it back fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_after_the_commit_is_no_failure() {
    let (store, faulty) = faulty().await;
    let table = open(&store, TableId::Params).await;
    table.merge(vec![put("r", "a", "1")], next(&table)).await.unwrap();
    faulty.plan(Verb::Get, "00000000000000000001.json", Fault::Refuse);
    table.merge(vec![put("r", "a", "2")], next(&table)).await.unwrap();
    assert_eq!(table.snapshot().version(), Some(1));
    assert_eq!(params(&table).await, [param("r", "a", "2")]);
}

/// What a commit and an opening ask of the store. If an update of the Delta library asks for more, it shows here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_bounded() {
    let (store, faulty) = faulty().await;
    let table = open(&store, TableId::Params).await;
    for n in 0..60 {
        table.merge(vec![put("r", &format!("{n}"), "1")], next(&table)).await.unwrap();
        if n % 10 == 9 {
            table.checkpoint().await.unwrap();
        }
    }
    table.merge(vec![put("r", "x", "1")], next(&table)).await.unwrap();
    faulty.take_counts();
    table.merge(vec![put("r", "y", "1")], next(&table)).await.unwrap();
    let commit = faulty.take_counts();
    open(&store, TableId::Params).await;
    let opening = faulty.take_counts();
    table.refresh().await.unwrap();
    let refresh = faulty.take_counts();
    let within = |found: Counts, gets, puts, lists| {
        found.gets <= gets && found.puts <= puts && found.lists <= lists && found.listed <= 8
    };
    assert!(within(commit, 1, 2, 2), "{commit:?}");
    assert!(within(opening, 4, 0, 1), "{opening:?}");
    assert!(within(refresh, 1, 0, 1), "{refresh:?}");
}

/// Whoever waited for a flush goes away in the middle of it, wherever it can, while somebody else has committed: the next
/// flush makes up for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_dropped_anywhere_leaves_nothing_behind() {
    let changes = vec![put("r", "a", "new"), put("r", "b", "new")];
    let flush = async |table: &Table| {
        let expected = table.snapshot().watermark();
        if expected >= Seq(2) {
            return Ok(());
        }
        table.merge(changes.clone(), Watermark { expected, reached: Seq(2) }).await.map(drop)
    };
    for polls in 1.. {
        let store = memory().await;
        let (table, other) = (open(&store, TableId::Params).await, open(&store, TableId::Params).await);
        other.merge(vec![put("r", "a", "old")], mark(0, 1)).await.unwrap();
        let dropped = {
            let mut flushed = Box::pin(async { while flush(&table).await.is_err() {} });
            let mut left = polls;
            std::future::poll_fn(|context| {
                left -= 1;
                match flushed.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(false),
                    Poll::Pending if left == 0 => Poll::Ready(true),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        if !dropped {
            assert!(polls > 5, "it went through in {polls} steps");
            break;
        }
        while let Err(error) = flush(&table).await {
            assert!(matches!(error, Error::WatermarkMoved { .. }), "{error}");
        }
        for table in [table, open(&store, TableId::Params).await] {
            let wanted = [param("r", "a", "new"), param("r", "b", "new")];
            assert_eq!(params(&table).await, wanted, "dropped at step {polls}");
        }
    }
}

/// One request of a table's life fails, or its answer is lost: every request in turn. The caller does what the engine
/// does: after an error it looks whether the flush has landed, and repeats it if not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_request_fails_each_row_is_there_once() {
    for fault in [Fault::Refuse, Fault::LoseAnswer] {
        for nth in 0.. {
            let (store, faulty) = faulty().await;
            faulty.plan_after(nth, fault.clone());
            live_through_a_fault(&store).await;
            if faulty.is_pending() {
                assert!(nth > 60, "only {nth} requests were made");
                break;
            }
        }
    }
}

async fn live_through_a_fault(store: &Store) {
    let opened = |table| async move {
        let settings = LakeSettings::default();
        match Table::open(store, table, "test", &settings).await {
            Ok(opened) => opened,
            Err(_) => Table::open(store, table, "test", &settings).await.unwrap(),
        }
    };
    let (metrics, table) = (opened(TableId::Metrics).await, opened(TableId::Params).await);
    for n in 0..4_i64 {
        let flush = next(&metrics);
        while metrics.append(vec![series("r", "loss", n * 5..n * 5 + 5)], flush).await.is_err() {
            if refreshed(&metrics).await.watermark() == flush.reached {
                break;
            }
        }
        let flush = next(&table);
        let changes = vec![put("r", "a", &n.to_string()), put("r", &format!("b{n}"), "1")];
        while table.merge(changes.clone(), flush).await.is_err() {
            if refreshed(&table).await.watermark() == flush.reached {
                break;
            }
        }
        if n == 2 {
            metrics.compact(&CompactPolicy::thorough()).await.ok();
            table.checkpoint().await.ok();
        }
    }
    for metrics in [metrics, opened(TableId::Metrics).await] {
        let points = metrics.snapshot().points(&RunId::from_stored("r"), "loss").await;
        let points = match points {
            Ok(points) => points,
            Err(_) => metrics.snapshot().points(&RunId::from_stored("r"), "loss").await.unwrap(),
        };
        assert_eq!((points.len(), metrics.snapshot().rows(), metrics.snapshot().watermark()), (20, 20, Seq(4)));
    }
    for table in [table, opened(TableId::Params).await] {
        let rows = match table.snapshot().records(&everything()).await {
            Ok(rows) => rows,
            Err(_) => table.snapshot().records(&everything()).await.unwrap(),
        };
        let rows: Vec<_> = rows.iter().map(|(_, record)| Param::from_record(record).unwrap()).collect();
        let rest = (0..4).map(|n| param("r", &format!("b{n}"), "1"));
        assert_eq!(rows, std::iter::once(param("r", "a", "3")).chain(rest).collect::<Vec<_>>());
        assert_eq!(table.snapshot().watermark(), Seq(4));
    }
}

async fn refreshed(table: &Table) -> Arc<Snapshot> {
    match table.refresh().await {
        Ok(snapshot) => snapshot,
        Err(_) => table.refresh().await.unwrap(),
    }
}

/// A look at the table that failed half way must not make the next commit create the table anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cleaned_log_is_never_begun_again() {
    let (store, faulty) = faulty().await;
    let clock = Arc::new(runlake_types::ManualClock::new(runlake_types::Clock::now(&runlake_types::SystemClock)));
    let settings = LakeSettings { clock: Arc::clone(&clock) as _, ..LakeSettings::default() };
    let table = Table::open(&store, TableId::Params, "test", &settings).await.unwrap();
    for n in 0..3 {
        table.merge(vec![put("r", &n.to_string(), "1")], next(&table)).await.unwrap();
    }
    table.checkpoint().await.unwrap();
    clock.advance(25 * 3600 * 1_000_000);
    assert_eq!(table.clean_log().await.unwrap(), 2);
    for _ in 0..2 {
        faulty.plan(Verb::List, "_delta_log", Fault::Refuse);
    }
    table.refresh().await.unwrap_err();
    assert_eq!(table.snapshot().rows(), 3);
    table.merge(vec![put("r", "4", "1")], next(&table)).await.unwrap();
    assert_eq!(open(&store, TableId::Params).await.snapshot().rows(), 4);
    assert_eq!(store.get_opt(&"tables/params/_delta_log/00000000000000000000.json".into()).await.unwrap(), None);
}
