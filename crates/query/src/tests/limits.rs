//! Rows, time, memory, turns.

use std::time::{Duration, Instant};

use futures::StreamExt as _;

use super::*;

/// Rows without end, as far as a test is concerned.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";

#[tokio::test]
async fn the_callers_limit_cuts_and_says_so() {
    let lake = Lake::open().await;
    let ask = async |limit| {
        let sql = "SELECT * FROM generate_series(1, 10)".to_owned();
        let mut answer =
            lake.queries.run(Request { sql, row_limit: Some(limit), ..Request::default() }).await.expect("runs");
        let mut rows = 0;
        while let Some(batch) = answer.next().await {
            rows += batch.expect("a batch").num_rows();
        }
        (rows, answer.is_truncated())
    };
    assert_eq!(ask(3).await, (3, true));
    assert_eq!(ask(10).await, (10, false));
    assert_eq!(ask(11).await, (10, false));
    assert_eq!(ask(0).await, (0, true));
}

#[tokio::test]
async fn the_operators_limit_refuses() {
    let lake = Lake::with(Settings { row_limit: Some(5), threads: 1, ..Settings::default() }).await;
    assert_eq!(lake.ask("SELECT * FROM generate_series(1, 5)").await.len(), 5);
    let error = lake.refusal("SELECT * FROM generate_series(1, 6)").await;
    assert!(matches!(error, Error::TooManyRows(5)), "{error}");
}

#[tokio::test]
async fn time_runs_out() {
    let lake = Lake::open().await;
    let started = Instant::now();
    let request = Request { time_limit: Some(Duration::from_millis(200)), ..Request::new(ENDLESS) };
    let error = lake.batches(request).await.expect_err("runs out");
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_idle(&lake).await;
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_running() {
    let lake = Lake::open().await;
    let answer = lake.queries.run(Request::new(ENDLESS)).await.expect("runs");
    assert_eq!(lake.queries.load().running, 1);
    drop(answer);
    assert_idle(&lake).await;
}

async fn assert_idle(lake: &Lake) {
    let started = Instant::now();
    while lake.queries.load().running > 0 || lake.queries.load().memory_bytes > 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "still running: {:?}", lake.queries.load());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_query_beyond_the_memory_fails_alone() {
    let settings = Settings {
        memory_bytes: 32 << 20,
        spill_bytes: 0,
        threads: 2,
        running: 4,
        waiting: 200,
        ..Settings::default()
    };
    let lake = Arc::new(Lake::with(settings).await);
    let heavy = "SELECT count(*) FROM (SELECT value % 5000000 AS k, array_agg(value) FROM generate_series(1, 5000000) GROUP BY 1)";
    let light = "SELECT sum(value) FROM generate_series(1, 1000)";
    let mut asked = Vec::new();
    for number in 0..40 {
        let lake = Arc::clone(&lake);
        asked.push(tokio::spawn(async move {
            let is_heavy = number % 20 == 0;
            (is_heavy, lake.batches(Request::new(if is_heavy { heavy } else { light })).await)
        }));
    }
    for query in asked {
        let (is_heavy, answered) = query.await.expect("no panic");
        match answered {
            Ok(rows) => {
                assert!(!is_heavy);
                assert_eq!(lines(&rows), ["500500"]);
            }
            Err(error) => assert!(is_heavy && matches!(error, Error::Resources(_)), "{error}"),
        }
    }
    assert_idle(&lake).await;
}

#[tokio::test]
async fn queries_wait_for_their_turn_and_too_many_are_refused() {
    let settings =
        Settings { running: 1, waiting: 1, patience: Duration::from_millis(300), threads: 1, ..Settings::default() };
    let lake = Arc::new(Lake::with(settings).await);
    let first = lake.queries.run(Request::new(ENDLESS)).await.expect("runs");
    let second = tokio::spawn({
        let lake = Arc::clone(&lake);
        async move { lake.batches(Request::new("SELECT 1")).await }
    });
    while lake.queries.load().waiting == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let third = lake.batches(Request::new("SELECT 1")).await.expect_err("refused");
    assert!(matches!(third, Error::Busy(_)), "{third}");
    drop(first);
    assert_eq!(lines(&second.await.expect("no panic").expect("has its turn")), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_counted() {
    let lake = Lake::open().await;
    assert_eq!(lake.ask("SELECT * FROM generate_series(1, 5)").await.len(), 5);
    lake.refusal("SELECT nothing").await;
    drop(lake.queries.run(Request::new(ENDLESS)).await.expect("begins"));
    assert_idle(&lake).await;
    let load = lake.queries.load();
    assert_eq!((load.answered, load.failed, load.rows), (1, 2, 5), "{load:?}");
    assert!(load.time > Duration::ZERO);
}
