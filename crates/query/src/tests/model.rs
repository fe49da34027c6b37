//! Random writes, flushes, compactions: SQL sees what a plain model says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Metric { run: usize, key: usize, step: i64, value: i32 },
    Tag { run: usize, key: usize, value: u8 },
    Untag { run: usize, key: usize },
    Flush,
    Compact,
    Look { run: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..4usize, 0..2usize, 0..40i64, -5..5i32)
            .prop_map(|(run, key, step, value)| Step::Metric { run, key, step, value }),
        4 => (0..4usize, 0..3usize, 0..3u8).prop_map(|(run, key, value)| Step::Tag { run, key, value }),
        2 => (0..4usize, 0..3usize).prop_map(|(run, key)| Step::Untag { run, key }),
        2 => Just(Step::Flush),
        1 => Just(Step::Compact),
        3 => (0..4usize).prop_map(|run| Step::Look { run }),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn sql_sees_what_was_written(steps in steps()) {
        tokio::runtime::Runtime::new().expect("starts").block_on(check(steps));
    }
}

async fn check(steps: Vec<Step>) {
    let lake = Lake::open().await;
    let mut runs = Vec::new();
    for number in 0..4 {
        runs.push(lake.run_in("0", &format!("r{number}")).await);
    }
    let mut points: BTreeSet<(usize, usize, i64, i32)> = BTreeSet::new();
    let mut tags: BTreeMap<(usize, usize), u8> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Metric { run, key, step, value } => {
                lake.metrics(&runs[run], &format!("m{key}"), [(step, f64::from(value))]).await;
                points.insert((run, key, step, value));
            }
            Step::Tag { run, key, value } => {
                lake.tags(&runs[run], &[(&format!("t{key}"), &value.to_string())]).await;
                tags.insert((run, key), value);
            }
            Step::Untag { run, key } => {
                let gone = lake.tracking.delete_tag(&runs[run], &format!("t{key}")).await;
                assert_eq!(gone.is_ok(), tags.remove(&(run, key)).is_some());
            }
            Step::Flush => lake.flush().await,
            Step::Compact => drop(lake.tracking.engine().compact().await.expect("compacts")),
            Step::Look { run } => {
                let sql = format!(
                    "SELECT key, value FROM tags WHERE run_id = '{}' AND key LIKE 't%' ORDER BY key",
                    runs[run]
                );
                let wanted: Vec<String> =
                    tags.range((run, 0)..(run + 1, 0)).map(|((_, key), value)| format!("t{key}|{value}")).collect();
                assert_eq!(lake.ask(&sql).await, wanted);
            }
        }
    }
    // A point that was sent again after a flush is there twice until files are compacted.
    let sql = "SELECT DISTINCT r.run_name, m.key, m.step, m.value FROM metrics m JOIN runs r USING (run_id) ORDER BY 1, 2, 3, 4";
    let wanted: Vec<String> =
        points.iter().map(|(run, key, step, value)| format!("r{run}|m{key}|{step}|{:.1}", f64::from(*value))).collect();
    assert_eq!(lake.ask(sql).await, wanted);
    let mut series: BTreeMap<(usize, usize), (i64, i64)> = BTreeMap::new();
    for (run, key, step, _) in &points {
        let (first, last) = series.entry((*run, *key)).or_insert((*step, *step));
        (*first, *last) = ((*first).min(*step), (*last).max(*step));
    }
    let sql = "SELECT r.run_name, m.key, m.first, m.last FROM \
               (SELECT run_id, key, min(step) AS first, max(step) AS last FROM metrics GROUP BY run_id, key) m \
               JOIN runs r USING (run_id) ORDER BY 1, 2";
    let wanted: Vec<String> =
        series.iter().map(|((run, key), (first, last))| format!("r{run}|m{key}|{first}|{last}")).collect();
    assert_eq!(lake.ask(sql).await, wanted);
    let sql = "SELECT r.run_name, m.key, m.step FROM (SELECT run_id, key, step FROM metrics \
               QUALIFY row_number() OVER (PARTITION BY run_id, key ORDER BY step DESC) <= 1) m \
               JOIN runs r USING (run_id) ORDER BY 1, 2";
    let wanted: Vec<String> = series.iter().map(|((run, key), (_, last))| format!("r{run}|m{key}|{last}")).collect();
    assert_eq!(lake.ask(sql).await, wanted);
    let sql =
        "SELECT r.run_name, t.key, t.value FROM tags t JOIN runs r USING (run_id) WHERE t.key LIKE 't%' ORDER BY 1, 2";
    let wanted: Vec<String> = tags.iter().map(|((run, key), value)| format!("r{run}|t{key}|{value}")).collect();
    assert_eq!(lake.ask(sql).await, wanted);
    let mut counts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    points.iter().for_each(|(run, key, ..)| *counts.entry((*run, *key)).or_default() += 1);
    let sql = "SELECT r.run_name, l.key, l.count FROM latest_metrics l JOIN runs r USING (run_id) ORDER BY 1, 2";
    let wanted: Vec<String> = counts.iter().map(|((run, key), count)| format!("r{run}|m{key}|{count}")).collect();
    assert_eq!(lake.ask(sql).await, wanted);
}
