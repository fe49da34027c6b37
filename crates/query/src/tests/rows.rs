//! What is read: files, memory, both.

use runlake_testkit::FaultyStore;
use runlake_types::TableId;

use super::*;
use crate::{Parameters, Value};

#[tokio::test]
async fn rows_are_the_same_in_memory_in_files_and_in_both() {
    let lake = Lake::open().await;
    let run = lake.run_in("0", "r").await;
    lake.metrics(&run, "loss", (0..10).map(|step| (step, 10.0 - step as f64))).await;
    lake.metrics(&run, "acc", [(0, f64::NAN), (1, f64::INFINITY), (2, f64::NEG_INFINITY)]).await;
    lake.params(&run, &[("lr", "0.1"), ("name", "a\0b")]).await;
    let questions = [
        "SELECT key, count(*), min(step), max(step) FROM metrics GROUP BY key ORDER BY key",
        "SELECT step, value FROM metrics WHERE key = 'acc' ORDER BY step",
        "SELECT key, value, experiment_id FROM params ORDER BY key",
        "SELECT key, count, step FROM latest_metrics ORDER BY key",
        "SELECT run_name, status FROM runs",
        "SELECT count(*) FROM metrics",
        "SELECT count(*) FROM metrics WHERE value > 5",
    ];
    let mut in_memory = Vec::new();
    for sql in questions {
        in_memory.push(lake.ask(sql).await);
    }
    assert_eq!(in_memory[0], ["acc|3|0|2", "loss|10|0|9"]);
    assert_eq!(in_memory[1], ["0|NaN", "1|inf", "2|-inf"]);
    // NaN is greater than every number in SQL here, as it is in PostgreSQL.
    assert_eq!(in_memory[6], ["7"]);
    lake.flush().await;
    for (sql, wanted) in questions.iter().zip(&in_memory) {
        assert_eq!(&lake.ask(sql).await, wanted, "in files: {sql}");
    }
    lake.metrics(&run, "loss", [(10, 0.5)]).await;
    assert_eq!(lake.ask(questions[0]).await, ["acc|3|0|2", "loss|11|0|10"]);
    assert_eq!(
        lake.ask("SELECT key, count, step, value FROM latest_metrics WHERE key = 'loss'").await,
        ["loss|11|10|0.5"]
    );
}

#[tokio::test]
async fn what_memory_changed_or_deleted_hides_rows_of_files() {
    let lake = Lake::open().await;
    let (a, b) = (lake.run_in("0", "a").await, lake.run_in("0", "b").await);
    lake.tags(&a, &[("color", "red"), ("size", "1")]).await;
    lake.tags(&b, &[("color", "blue")]).await;
    lake.flush().await;
    lake.tags(&a, &[("color", "green")]).await;
    lake.tracking.delete_tag(&a, "size").await.expect("deleted");
    let tags = "SELECT r.run_name, t.key, t.value FROM tags t JOIN runs r USING (run_id) \
                WHERE t.key NOT LIKE 'mlflow.%' ORDER BY 1, 2";
    assert_eq!(lake.ask(tags).await, ["a|color|green", "b|color|blue"]);
    assert_eq!(lake.ask("SELECT count(*) FROM tags WHERE key = 'size'").await, ["0"]);
    let one = format!("SELECT value FROM tags WHERE run_id = '{a}' AND key = 'color'");
    assert_eq!(lake.ask(&one).await, ["green"]);
    lake.tracking.delete_run(&b).await.expect("deleted");
    assert_eq!(lake.ask("SELECT run_name, lifecycle_stage FROM runs ORDER BY 1").await, ["a|active", "b|deleted"]);
    lake.flush().await;
    assert_eq!(lake.ask(tags).await, ["a|color|green", "b|color|blue"]);
}

#[tokio::test]
async fn parameters_are_bound() {
    let lake = Lake::open().await;
    let run = lake.run_in("0", "it's; DROP TABLE runs").await;
    let ask = async |sql: &str, parameters| {
        let request = Request { sql: sql.into(), parameters, ..Request::default() };
        lines(&lake.batches(request).await.unwrap_or_else(|error| panic!("{sql}: {error}")))
    };
    let name = || Value::Text("it's; DROP TABLE runs".into());
    assert_eq!(
        ask("SELECT run_id FROM runs WHERE run_name = $1", Parameters::in_order([name()])).await,
        [run.as_str()]
    );
    assert_eq!(ask("SELECT run_id FROM runs WHERE run_name = ?", Parameters::in_order([name()])).await, [run.as_str()]);
    let named = Parameters::by_name([("wanted".to_owned(), name())]);
    assert_eq!(ask("SELECT run_id FROM runs WHERE run_name = $wanted", named).await, [run.as_str()]);
    assert_eq!(ask("SELECT $1 + 1", Parameters::in_order([Value::Int(2)])).await, ["3"]);
    let wide = "SELECT run_name FROM runs_wide($1)";
    assert_eq!(ask(wide, Parameters::in_order([Value::Text("Default".into())])).await, ["it's; DROP TABLE runs"]);
}

#[tokio::test]
async fn a_statement_is_described_without_being_run() {
    let lake = Lake::open().await;
    let sql = "SELECT run_id, value FROM metrics WHERE step > $2 AND key = $1";
    let described = lake.queries.describe(Request::new(sql)).await.expect("described");
    let schema = described.schema.expect("no parameter decides it");
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["run_id", "value"]);
    let parameters: Vec<_> =
        described.parameters.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect();
    assert_eq!(parameters, ["$1: Utf8", "$2: Int64"]);
    let described = lake.queries.describe(Request::new("SELECT * FROM runs_wide(?) WHERE user_id = ?")).await;
    let described = described.expect("described as far as it goes");
    assert!(described.schema.is_none());
    let names: Vec<_> = described.parameters.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["$1", "$2"]);
}

#[tokio::test]
async fn a_plan_is_used_once_and_never_hides_a_write() {
    let lake = Lake::open().await;
    let request = || Request::new("SELECT count(*) FROM runs_wide('Default')");
    let ask = async || lines(&lake.batches(request()).await.expect("rows"));
    lake.run_in("0", "first").await;
    lake.queries.describe(request()).await.expect("described");
    assert_eq!(lake.queries.kept().len(), 1);
    assert_eq!(ask().await, ["1"]);
    assert_eq!(lake.queries.kept().len(), 0, "it was taken");
    assert_eq!(lake.ask("SELECT now() > TIMESTAMP '2020-01-01'").await, ["true"]);
    lake.queries.describe(request()).await.expect("described");
    lake.run_in("0", "second").await;
    assert_eq!(ask().await, ["2"], "what was written since is there");
    for number in 0..10 {
        lake.queries.describe(Request::new(format!("SELECT {number}"))).await.expect("described");
    }
    assert!(lake.queries.kept().len() < 10, "few are kept");
}

#[tokio::test]
async fn the_catalog_lists_what_may_be_seen() {
    let lake = Lake::open().await;
    let tables = lake.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'").await;
    for hidden in ["users", "tokens", "webhooks", "webhook_deliveries", "role_grants"] {
        assert!(!tables.iter().any(|name| name == hidden), "{hidden} is listed");
        let error = lake.refusal(&format!("SELECT * FROM {hidden}")).await;
        assert!(matches!(error, Error::NotFound(_)), "{error}");
    }
    for shown in ["runs", "metrics", "registry_events", "model_versions", "inference_log"] {
        assert!(tables.iter().any(|name| name == shown), "{shown} is not listed");
        lake.ask(&format!("SELECT * FROM {shown}")).await;
    }
    for view in ["experiments_latest", "runs_latest", "run_metrics_history"] {
        lake.ask(&format!("SELECT * FROM mlflow.{view}")).await;
    }
    assert!(!lake.ask("SHOW TABLES").await.is_empty());
    assert!(lake.ask("DESCRIBE runs").await[0].starts_with("run_id|"));
    assert!(!lake.ask("EXPLAIN ANALYZE SELECT count(*) FROM metrics").await.is_empty());
}

#[tokio::test]
async fn views_of_elsewhere_hold_everything_of_a_run() {
    let lake = Lake::open().await;
    let run = lake.run_in("0", "r").await;
    lake.params(&run, &[("lr", "0.1")]).await;
    lake.metrics(&run, "loss", [(0, 2.0), (1, 1.0)]).await;
    let found =
        lake.ask("SELECT run_name, params['lr'], aggregated_metrics[1]['min_value'] FROM mlflow.runs_latest").await;
    assert_eq!(found, ["r|0.1|1.0"]);
}

#[tokio::test]
async fn earlier_states_can_be_asked_for() {
    let lake = Lake::open().await;
    let clock = lake.tracking.engine().clock().clone();
    let before = clock.now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let run = lake.run_in("0", "first").await;
    lake.flush().await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let between = clock.now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    lake.run_in("0", "second").await;
    lake.tracking.delete_run(&run).await.expect("deleted");
    lake.flush().await;
    let at = async |time| {
        let sql = "SELECT run_name, lifecycle_stage FROM runs ORDER BY 1".to_owned();
        lines(&lake.batches(Request { sql, as_of: Some(time), ..Request::default() }).await.expect("read"))
    };
    assert_eq!(at(before).await, Vec::<String>::new());
    assert_eq!(at(between).await, ["first|active"]);
    assert_eq!(at(clock.now()).await, ["first|deleted", "second|active"]);
}

#[tokio::test]
async fn small_files_are_fetched_once() {
    let store = Store::open("memory://", &StoreSettings::default()).await.expect("opens");
    let counted = FaultyStore::over(store.objects());
    let lake = Lake::over(store.with_objects(Arc::clone(&counted) as _), Settings::default()).await;
    let experiment = lake.experiment("e").await;
    let run = lake.run_in(&experiment, "r").await;
    lake.metrics(&run, "m", (0..100).map(|step| (step, 0.5))).await;
    lake.flush().await;
    counted.take_counts();
    let sql = format!("SELECT sum(value) FROM metrics WHERE run_id = '{run}'");
    for most in [1, 0] {
        lake.ask(&sql).await;
        let counts = counted.take_counts();
        assert!(counts.gets <= most && counts.lists == 0, "{counts:?}");
    }
}

#[tokio::test]
async fn footers_are_read_once() {
    let store = Store::open("memory://", &StoreSettings::default()).await.expect("opens");
    let counted = FaultyStore::over(store.objects());
    let lake = Lake::over(store.with_objects(Arc::clone(&counted) as _), Settings::default()).await;
    let run = lake.run_in("0", "r").await;
    // Digits that do not compress: the file is not small.
    let noise = |step: i64| {
        let mixed = (step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        f64::from_bits(0x3ff0_0000_0000_0000 | ((mixed ^ (mixed >> 32)) >> 12))
    };
    lake.metrics(&run, "m", (0..200_000).map(|step| (step, noise(step)))).await;
    lake.flush().await;
    let file = lake.tracking.engine().view().snapshot(TableId::Metrics).bytes();
    assert!(file > 1 << 20, "{file} bytes");
    counted.take_counts();
    let sql = format!("SELECT sum(value) FROM metrics WHERE run_id = '{run}'");
    // The writer left the footer; the column that is filtered by, and the one that is asked for.
    for _ in 0..2 {
        lake.ask(&sql).await;
        let counts = counted.take_counts();
        assert!((1..=2).contains(&counts.gets) && counts.lists == 0, "{counts:?}");
    }
}

#[tokio::test]
async fn facts_are_grouped_series_after_series() {
    let lake = Lake::with(Settings { threads: 2, ..Settings::default() }).await;
    let mut runs = Vec::new();
    for number in 0..3 {
        let run = lake.run_in("0", &format!("r{number}")).await;
        for key in ["acc", "a name that does not fit into a view"] {
            lake.metrics(&run, key, (0..=number).map(|step| (step, step as f64))).await;
        }
        runs.push(run);
        if number < 2 {
            lake.flush().await;
        }
    }
    let by_key =
        "SELECT key, count(*), sum(value), max(step) FILTER (WHERE value < 2) FROM metrics GROUP BY key ORDER BY key";
    assert_eq!(lake.ask(by_key).await, ["a name that does not fit into a view|6|4.0|1", "acc|6|4.0|1"]);
    let by_both = "SELECT run_name, key, count(*) FROM (SELECT run_id, key FROM metrics WHERE step > 0) JOIN runs USING (run_id) \
                   WHERE key = 'acc' GROUP BY 1, 2 ORDER BY 1";
    assert_eq!(lake.ask(by_both).await, ["r1|acc|1", "r2|acc|2"]);
    runs.sort_unstable();
    let of_runs = "SELECT run_id, count(*) FROM metrics WHERE key = 'acc' AND step < 1 GROUP BY run_id ORDER BY 1";
    let distinct = "SELECT count(DISTINCT run_id) FROM metrics";
    assert_eq!(lake.ask(distinct).await, ["3"]);
    assert_eq!(lake.ask(of_runs).await, runs.iter().map(|run| format!("{run}|1")).collect::<Vec<_>>());
    assert_eq!(lake.ask("SELECT key, count(*) FROM metrics WHERE step > 100 GROUP BY key").await, Vec::<String>::new());
    for sql in [by_key, of_runs, distinct] {
        let plan = lake.ask(&format!("EXPLAIN {sql}")).await.join("\n");
        assert!(plan.contains("SeriesAggregateExec"), "{plan}");
    }
    // Params are no facts, and a number is no text.
    for sql in ["SELECT key, count(*) FROM params GROUP BY key", "SELECT step, count(*) FROM metrics GROUP BY step"] {
        let plan = lake.ask(&format!("EXPLAIN {sql}")).await.join("\n");
        assert!(!plan.contains("SeriesAggregateExec"), "{plan}");
    }
}

#[tokio::test]
async fn few_rows_take_one_thread() {
    let lake = Lake::with(Settings { threads: 2, ..Settings::default() }).await;
    let run = lake.run_in("0", "r").await;
    lake.params(&run, &[("lr", "0.1"), ("depth", "3")]).await;
    let params = "EXPLAIN SELECT value, count(*) FROM params GROUP BY value";
    assert!(!lake.ask(params).await.join("\n").contains("RepartitionExec"));
    lake.metrics(&run, "m", (0..100_001).map(|step| (step, 0.5))).await;
    let metrics = "EXPLAIN SELECT step, count(*) FROM metrics GROUP BY step";
    assert!(lake.ask(metrics).await.join("\n").contains("RepartitionExec"));
    // How many rows a function gives is not known.
    let series = "EXPLAIN SELECT value, count(*) FROM generate_series(1, 3) GROUP BY value";
    assert!(lake.ask(series).await.join("\n").contains("RepartitionExec"));
}

#[tokio::test]
async fn extremes_by_group_are_those_without_groups() {
    let lake = Lake::with(Settings { threads: 2, ..Settings::default() }).await;
    let run = lake.run_in("0", "r").await;
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let series = [
        ("after", vec![5.0, nan, 1.0], "NaN|1.0"),
        ("before", vec![nan, 5.0], "NaN|5.0"),
        ("low", vec![-inf, -inf], "-inf|-inf"),
        ("high", vec![inf], "inf|inf"),
        ("both", vec![0.0, inf, -inf], "inf|-inf"),
        ("nothing", vec![nan, -nan], "NaN|NaN"),
    ];
    for (key, values, _) in &series {
        lake.metrics(&run, key, (0..).zip(values.iter().copied())).await;
    }
    let grouped = "SELECT key, max(value), min(value) FROM metrics GROUP BY key ORDER BY key";
    let filtered =
        "SELECT key, max(value) FILTER (WHERE step > 100 AND value < 9) FROM metrics GROUP BY key ORDER BY key LIMIT 1";
    for place in ["memory", "files"] {
        let mut wanted = Vec::new();
        for (key, _, extremes) in &series {
            let sql = format!("SELECT max(value), min(value) FROM metrics WHERE key = '{key}'");
            assert_eq!(lake.ask(&sql).await, [*extremes], "{key} in {place}");
            wanted.push(format!("{key}|{extremes}"));
        }
        wanted.sort_unstable();
        assert_eq!(lake.ask(grouped).await, wanted, "in {place}");
        assert_eq!(lake.ask(filtered).await, ["after|-"], "in {place}");
        let wide = "SELECT v, max(x), min(x), max(y) FROM (VALUES ('a', 1.5, 1), ('a', 'NaN'::DOUBLE, 2), ('b', NULL, 3)) t(v, x, y) GROUP BY v ORDER BY v";
        assert_eq!(lake.ask(wide).await, ["a|NaN|1.5|2", "b|-|-|3"]);
        let narrow = "SELECT v, max(x::FLOAT), min(x::FLOAT) FROM (VALUES ('a', 1.5), ('a', 'NaN'::DOUBLE), ('a', 0.5)) t(v, x) GROUP BY v";
        assert_eq!(lake.ask(narrow).await, ["a|NaN|0.5"]);
        let most = "SELECT key, max(value) AS most FROM metrics GROUP BY key ORDER BY most DESC, key LIMIT 4";
        assert_eq!(lake.ask(most).await, ["after|NaN", "before|NaN", "nothing|NaN", "both|inf"], "in {place}");
        lake.flush().await;
    }
}

#[tokio::test]
async fn no_row_of_a_window_is_no_row() {
    let lake = Lake::open().await;
    let run = lake.run_in("0", "r").await;
    lake.metrics(&run, "m", (0..9).map(|step| (step, 0.5))).await;
    for (kind, most, wanted) in
        [("row_number", "< 1", 0), ("rank", "<= 0", 0), ("rank", "< 0", 0), ("row_number", "<= 2", 2)]
    {
        let sql = format!(
            "SELECT run_id, step, value FROM metrics QUALIFY {kind}() OVER (PARTITION BY run_id ORDER BY step DESC) {most}"
        );
        assert_eq!(lake.ask(&sql).await.len(), wanted, "{sql}");
    }
    let plan = lake
        .ask("EXPLAIN SELECT run_id, step, value FROM metrics QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY step) < 3")
        .await;
    assert!(plan.join("\n").contains("PartitionedTopKExec"), "{plan:?}");
}

#[tokio::test]
async fn question_marks_are_numbered_as_they_are_written() {
    let lake = Lake::open().await;
    let sql = "SELECT value FROM generate_series(1, 20) ORDER BY value OFFSET ? LIMIT ?".to_owned();
    let parameters = Parameters::in_order([Value::Int(5), Value::Int(2)]);
    let request = Request { sql, parameters, ..Request::default() };
    assert_eq!(lines(&lake.batches(request).await.expect("answers")), ["6", "7"]);
}
