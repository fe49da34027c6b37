//! What holds for all of it: nothing is lost on the way through files, and writes at once agree.

use runlake_types::ModelId;

use crate::testing::{Lake, metric, pair, refusal};
use crate::{
    CreateLoggedModel, DatasetInfo, DatasetInput, LogBatch, LogInputs, LogOutputs, LoggedModelStatus, MetricHistory,
    SearchRuns,
};

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn everything_comes_back_from_files() {
    let lake = Lake::open().await;
    let experiment = lake.experiment("a").await;
    let id = lake.run(&experiment).await;
    let points: Vec<_> =
        (0..500).map(|step| metric("m", step, f64::from(u32::try_from(step).expect("small")))).collect();
    lake.log_batch(LogBatch {
        run_id: &id,
        metrics: &points,
        params: &[pair("p", "1")],
        tags: &[pair("t", "1"), pair("gone", "1")],
    })
    .await
    .expect("logged");
    lake.delete_tag(&id, "gone").await.expect("deleted");
    let dataset = DatasetInfo { name: "d".into(), digest: "x".into(), ..DatasetInfo::default() };
    let inputs = LogInputs {
        run_id: id.clone(),
        datasets: vec![DatasetInput { dataset, tags: vec![("k".into(), "v".into())] }],
        models: Vec::new(),
    };
    lake.log_inputs(inputs).await.expect("logged");
    let model = CreateLoggedModel { experiment_id: experiment.clone(), ..CreateLoggedModel::default() };
    let model_id = lake.create_logged_model(model).await.expect("made").model.model_id.to_string();
    lake.log_outputs(LogOutputs { run_id: id.clone(), models: vec![(model_id.clone(), 7)] }).await.expect("logged");
    lake.finalize_logged_model(&model_id, LoggedModelStatus::Ready).await.expect("finalized");
    let run = lake.get_run(&id).await.expect("there");
    let model = lake.get_logged_model(&model_id, false).await.expect("there");

    lake.engine().flush().await.expect("flushed");
    assert_eq!(lake.get_run(&id).await.expect("there"), run);
    let lake = lake.reopened().await;
    assert_eq!(lake.get_run(&id).await.expect("there"), run);
    assert_eq!(lake.get_logged_model(&model_id, false).await.expect("there"), model);
    assert_eq!(run.model_outputs[0].model_id, ModelId::from_stored(&model_id));
    let request = MetricHistory { run_id: id.clone(), metric_key: "m".into(), ..MetricHistory::default() };
    assert_eq!(lake.metric_history(&request).await.expect("read").items.len(), 500);
    let all = SearchRuns { experiment_ids: vec![experiment], ..SearchRuns::default() };
    assert_eq!(lake.search_runs(&all).await.expect("searched").items, [run]);
    assert!(refusal(lake.log_param(&id, "p", "2").await).contains("already logged with value='1'"));
    assert_eq!(lake.experiment("b").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_values_of_a_param_logged_at_once_one_wins() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let values: Vec<String> = (0..16).map(|value| value.to_string()).collect();
    let writes = values.iter().map(|value| is_send(lake.log_param(&id, "p", value)));
    let done = futures::future::join_all(writes).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);
    let winner = done.iter().position(Result::is_ok).expect("one");
    let params = lake.get_run(&id).await.expect("there").params;
    assert_eq!(params, [("p".to_owned(), values[winner].clone())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_run_outlives_the_deletion_of_its_experiment() {
    let lake = Lake::open().await;
    let experiment = lake.experiment("a").await;
    let making = futures::future::join_all((0..50).map(|_| {
        let request = crate::CreateRun { experiment_id: experiment.clone(), ..crate::CreateRun::default() };
        lake.create_run(request)
    }));
    let (made, deleted) = tokio::join!(making, lake.delete_experiment(&experiment));
    deleted.expect("deleted");
    for run in made.into_iter().flatten() {
        let stage = lake.get_run(run.run.run_id.as_str()).await.expect("there").run.lifecycle_stage;
        assert_eq!(stage, runlake_types::rows::Lifecycle::Deleted);
    }
}
