//! Nothing is changed by SQL, and what is wrong is told.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn what_would_change_something_is_refused() {
    let lake = Lake::open().await;
    lake.run_in("0", "r").await;
    for sql in [
        "DELETE FROM runs",
        "UPDATE runs SET run_name = 'x'",
        "INSERT INTO runs SELECT * FROM runs",
        "DROP TABLE runs",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE OR REPLACE VIEW runs AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE SCHEMA s",
        "CREATE DATABASE d",
        "COPY runs TO '/tmp/runs.csv'",
        "COPY (SELECT 1) TO '/tmp/one.parquet' STORED AS PARQUET",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "BEGIN",
        "COMMIT",
        "TRUNCATE TABLE runs",
        "EXPLAIN DELETE FROM runs",
        "EXPLAIN ANALYZE INSERT INTO runs SELECT * FROM runs",
        "EXPLAIN COPY runs TO '/tmp/runs.csv'",
        "WITH x AS (SELECT 1) INSERT INTO runs SELECT * FROM runs",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "GRANT ALL ON runs TO me",
        "ALTER TABLE runs ADD COLUMN x INT",
        "ANALYZE TABLE runs",
        "MERGE INTO runs USING runs r ON true WHEN MATCHED THEN DELETE",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * INTO t FROM runs",
    ] {
        lake.refusal(sql).await;
    }
    assert_eq!(lake.ask("SELECT run_name FROM runs").await, ["r"]);
    let told = lake.refusal("DROP TABLE runs").await;
    assert!(matches!(told, Error::ReadOnly { .. }) && told.to_string().contains("only reads"), "{told}");
}

#[tokio::test]
async fn mistakes_are_told_with_their_place_or_the_nearest_name() {
    let lake = Lake::open().await;
    for (sql, wanted) in [
        ("SELEC 1", "Line: 1"),
        ("SELECT *\nFROM runs WHERE", "EOF"),
        ("SELECT * FROM run", "did you mean runs"),
        ("SELECT * FROM metric", "metrics"),
        ("SELECT * FROM zzz", "there are"),
        ("SELECT * FROM mlflow.runs", "runs_latest"),
        ("SELECT * FROM other.public.runs", "no database"),
        ("SELECT * FROM nowhere.runs", "no schema"),
        ("SELECT run_nam FROM runs", "run_name"),
        ("SELECT nofunction(1)", "nofunction"),
        ("", "no statement"),
        (" ; ", "no statement"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT $1", "$1"),
        ("SELECT 1 / 0", "ivide by zero"),
        ("SELECT CAST('x' AS INT)", "x"),
        ("SELECT * FROM nofunction(1)", "nofunction"),
    ] {
        let told = lake.refusal(sql).await;
        assert!(matches!(told, Error::Invalid(_) | Error::NotFound(_)), "{sql}: {told:?}");
        assert!(told.to_string().contains(wanted), "{sql}: {told}");
    }
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    lake.refusal(&deep).await;
    lake.refusal(&format!("SELECT '{}'", "x".repeat(2 << 20))).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever pieces of SQL are put together: the lake stays as it is, and nothing panics.
    #[test]
    fn no_statement_changes_anything(words in prop::collection::vec(0..WORDS.len(), 1..14)) {
        let sql = words.into_iter().map(|word| WORDS[word]).collect::<Vec<_>>().join(" ");
        with_lake(async |lake| {
            let before = lake.tracking.engine().view().seq();
            let request = Request { sql: sql.clone(), row_limit: Some(10), ..Request::default() };
            let answered = lake.batches(request).await;
            assert!(!matches!(answered, Err(Error::Internal(ref told)) if told.contains("panic")), "{sql}: {answered:?}");
            assert_eq!(lake.tracking.engine().view().seq(), before, "{sql}");
            assert_eq!(lake.ask("SELECT count(*) FROM runs").await, ["1"], "{sql}");
        });
    }
}

const WORDS: &[&str] = &[
    "SELECT",
    "INSERT INTO",
    "UPDATE",
    "DELETE FROM",
    "DROP TABLE",
    "CREATE TABLE",
    "COPY",
    "SET",
    "runs",
    "params",
    "*",
    "run_id",
    "FROM",
    "WHERE",
    "=",
    "1",
    "'x'",
    "(",
    ")",
    ",",
    "WITH x AS",
    "EXPLAIN",
    "ANALYZE",
    "VALUES",
    "TO",
    "'/tmp/never.csv'",
    "AS",
    "SELECT 1",
    "SELECT * FROM runs",
    "UNION ALL",
    "$1",
    "?",
    ";",
    "NULL",
    "count(*)",
    "runs_wide()",
    "lineage('run:x')",
    "LIMIT 1",
    "ORDER BY 1",
    "BEGIN",
    "SHOW",
    "TABLES",
    "DESCRIBE",
    "\"",
];

/// One lake for all cases: opening one takes longer than a case.
fn with_lake<T>(test: impl AsyncFnOnce(&Lake) -> T) -> T {
    use std::sync::OnceLock;
    static RUNTIME: OnceLock<(tokio::runtime::Runtime, Lake)> = OnceLock::new();
    let (runtime, lake) = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().expect("starts");
        let lake = runtime.block_on(async {
            let lake = Lake::open().await;
            lake.run_in("0", "r").await;
            lake
        });
        (runtime, lake)
    });
    runtime.block_on(test(lake))
}

#[tokio::test]
async fn long_chains_are_answered_or_refused() {
    let lake = Lake::open().await;
    let chain = |links: usize, first: &str, link: &str| format!("SELECT {first}{}", link.repeat(links));
    // As long as is taken, of links that the optimizer cannot do away with at once.
    let run = lake.run_in("0", "r").await;
    lake.metrics(&run, "m", [(1, 0.5)]).await;
    for (first, link, links) in [
        ("step", "+step", 1_900),
        ("run_id", "||run_id", 1_900),
        ("step", "::BIGINT", 900),
        ("step=0", " OR step=1", 900),
        ("step", " IS NULL", 900),
    ] {
        let sql = format!("{} FROM metrics", chain(links, first, link));
        let rows = lake.batches(Request::new(sql)).await.unwrap_or_else(|error| panic!("{link}: {error}"));
        assert_eq!(lines(&rows).len(), 1, "{link}");
    }
    assert_eq!(lake.ask(&format!("{} FROM metrics", chain(150, "1", " UNION ALL SELECT 1"))).await.len(), 151);
    // Longer ones, up to the longest statement there may be.
    for (first, link) in
        [("1", "+1"), ("1=1", " OR 1=1"), ("1", "::INT"), ("1", "-  -1"), ("'a'", "||'a'"), ("1", " IS NULL")]
    {
        for links in [2_100, 1_000_000 / link.len()] {
            let error = lake.batches(Request::new(chain(links, first, link))).await.expect_err(link);
            assert!(error.to_string().contains("operators; "), "{link}: {error}");
        }
    }
    for (first, link) in [("1", " UNION ALL SELECT 1"), ("1 FROM runs", " CROSS JOIN runs"), ("1 FROM runs", ", runs")]
    {
        let error = lake.refusal(&chain(250, first, link)).await;
        assert!(error.to_string().contains("tables"), "{link}: {error}");
    }
    let values = (0..20_000).map(|number| format!("'{number}'")).collect::<Vec<_>>().join(",");
    assert_eq!(lake.ask(&format!("SELECT count(*) FROM runs WHERE run_id IN ({values})")).await, ["0"]);
}
