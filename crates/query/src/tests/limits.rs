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

#[tokio::test]
async fn groups_that_do_not_fit_are_put_together_later() {
    let settings = Settings { memory_bytes: 2 << 20, threads: 1, ..Settings::default() };
    let lake = Lake::with(settings).await;
    let keys: Vec<String> = (0..20_000).map(|number| format!("{:060}", number)).collect();
    for name in ["a", "b"] {
        let run = lake.run_in("0", name).await;
        for keys in keys.chunks(1000) {
            let metrics: Vec<_> = keys.iter().map(|key| point(key, 0.5)).collect();
            lake.log(LogBatch { run_id: &run, metrics: &metrics, params: &[], tags: &[] }).await;
        }
        lake.flush().await;
    }
    let counted = "SELECT key, count(*) AS points FROM metrics GROUP BY key";
    let sums = lake.ask(&format!("SELECT count(*), min(points), max(points) FROM ({counted})")).await;
    assert_eq!(sums, ["20000|2|2"]);
    let analyzed = lake.ask(&format!("EXPLAIN ANALYZE {counted}")).await.join("\n");
    let line = analyzed.lines().find(|line| line.contains("SeriesAggregateExec")).expect("grouped by series");
    assert!(!line.contains("output_rows=20.00 K"), "it held all groups: {line}");
    assert_idle(&lake).await;
}

#[tokio::test]
async fn functions_that_make_much_of_little_are_bounded() {
    let lake = Lake::open().await;
    for sql in [
        "SELECT length(repeat('x', 2000000000))",
        "SELECT length(repeat(t, n)) FROM (SELECT 'abc' AS t, value * 100000000 AS n FROM generate_series(1, 9))",
        "SELECT length(lpad('x', 1000000000))",
        "SELECT length(rpad('x', 1000000000, 'y'))",
        "SELECT cardinality(array_repeat(1, 1000000000))",
        "SELECT cardinality(array_resize([1], 1000000000))",
        "SELECT cardinality(array_repeat(array_repeat(1, 16000), 16000))",
        "SELECT cardinality(range(0, 9000000000))",
        "SELECT cardinality(range(9000000000))",
        "SELECT cardinality(generate_series(9000000000, 0, -2))",
    ] {
        let error = lake.refusal(sql).await;
        assert!(matches!(&error, Error::Resources(told) if told.contains("at most 268435456")), "{sql}: {error}");
    }
    let fine = "SELECT length(repeat('ab', 1000)), lpad('x', 3, '-'), rpad('x', 3), cardinality(list_repeat(1, 9)), \
                cardinality(array_resize([1], 5)), range(0, 10, 3), generate_series(3), length(repeat(NULL, 5)), repeat('x', -1)";
    assert_eq!(lake.ask(fine).await, ["2000|--x|x  |9|5|[0, 3, 6, 9]|[0, 1, 2, 3]|-|"]);
    let days = "SELECT cardinality(range(DATE '2026-01-01', DATE '2026-01-08', INTERVAL '1 day'))";
    assert_eq!(lake.ask(days).await, ["7"]);
}
