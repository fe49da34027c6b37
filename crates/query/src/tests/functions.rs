//! Table functions.

use super::*;

async fn sweep() -> (Lake, Vec<String>) {
    let lake = Lake::open().await;
    let experiment = lake.experiment("vision/iris").await;
    let mut runs = Vec::new();
    for number in 0..3 {
        let run = lake.run_in(&experiment, &format!("run {number}")).await;
        lake.params(&run, &[("lr", &format!("0.{number}")), ("model", "svm"), ("seed", "007")]).await;
        lake.metrics(&run, "loss", (0..=number).map(|step| (step, step as f64))).await;
        if number == 1 {
            lake.flush().await;
        }
        runs.push(run);
    }
    lake.run_in("0", "elsewhere").await;
    (lake, runs)
}

#[tokio::test]
async fn runs_wide_has_a_column_for_everything() {
    let (lake, runs) = sweep().await;
    let sql = "SELECT run_name, \"params.lr\", \"params.model\", \"params.seed\", \"metrics.loss\" \
               FROM runs_wide('vision/iris') ORDER BY \"metrics.loss\" DESC";
    assert_eq!(lake.ask(sql).await, ["run 2|0.2|svm|007|2.0", "run 1|0.1|svm|007|1.0", "run 0|0.0|svm|007|0.0"]);
    assert_eq!(lake.ask("SELECT arrow_typeof(\"params.lr\") FROM runs_wide('vision/iris') LIMIT 1").await, ["Float64"]);
    assert_eq!(lake.ask("SELECT count(*) FROM runs_wide()").await, ["4"]);
    lake.tracking.delete_run(&runs[0]).await.expect("deleted");
    assert_eq!(lake.ask("SELECT count(*) FROM runs_wide('1')").await, ["2"], "by id, without deleted runs");
    let error = lake.refusal("SELECT * FROM runs_wide('vision/irises')").await;
    assert!(error.to_string().contains("did you mean \"vision/iris\"?"), "{error}");
    lake.experiment("empty").await;
    assert_eq!(lake.ask("SELECT count(*) FROM runs_wide('empty')").await, ["0"]);
}

#[tokio::test]
async fn compare_runs_tells_what_differs() {
    let (lake, runs) = sweep().await;
    let sql = format!(
        "SELECT kind, key, \"{a}\", \"{b}\" FROM compare_runs('{a}', '{b}') WHERE differs AND kind <> 'attribute' \
         AND key NOT LIKE 'mlflow.%'",
        a = runs[0],
        b = runs[2]
    );
    assert_eq!(lake.ask(&sql).await, ["param|lr|0.0|0.2", "metric|loss|0|2"]);
    let error = lake.refusal(&format!("SELECT * FROM compare_runs('{}', 'nobody')", runs[0])).await;
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    let error = lake.refusal(&format!("SELECT * FROM compare_runs('{}')", runs[0])).await;
    assert!(error.to_string().contains("compare_runs('<run id>'"), "{error}");
}

#[tokio::test]
async fn metric_envelope_keeps_spikes() {
    let lake = Lake::open().await;
    let run = lake.run_in("0", "r").await;
    lake.metrics(&run, "loss", (0..1000).map(|step| (step, if step == 777 { 99.0 } else { 1.0 }))).await;
    lake.flush().await;
    let sql = format!("SELECT bucket, first_step, last_step, max_step, max FROM metric_envelope('{run}', 'loss', 10)");
    let found = lake.ask(&sql).await;
    assert_eq!(found.len(), 10);
    assert_eq!(found[7], "7|700|799|777|99.0");
    let sql = format!("SELECT count(*), sum(count) FROM metric_envelope('{run}', 'loss', 5, 100, 199)");
    assert_eq!(lake.ask(&sql).await, ["5|100"]);
    assert_eq!(lake.ask(&format!("SELECT count(*) FROM metric_envelope('{run}', 'nothing', 5)")).await, ["0"]);
    for wrong in ["0", "-1", "1000001"] {
        lake.refusal(&format!("SELECT * FROM metric_envelope('{run}', 'loss', {wrong})")).await;
    }
}

#[tokio::test]
async fn lineage_is_edges() {
    let (lake, runs) = sweep().await;
    let sql = format!("SELECT * FROM lineage('run:{}')", runs[0]);
    assert_eq!(lake.ask(&sql).await, Vec::<String>::new());
    let error = lake.refusal("SELECT * FROM lineage('models:/Nobody/1')").await;
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    let error = lake.refusal("SELECT * FROM lineage('what is this')").await;
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    lake.refusal(&format!("SELECT * FROM lineage('run:{}', 'sideways')", runs[0])).await;
}
