use runlake_types::{ErrorKind, MetricBatch};

use super::*;
use crate::runs::RUN_NAME;
use crate::testing::{Lake, metric, pair, refusal, value};
use crate::{CreateLoggedModel, TrackingSettings};

#[tokio::test]
async fn a_batch_is_read_back() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let metrics = [metric("loss", 0, 3.0), metric("loss", 2, 1.0), metric("acc", -1, f64::NAN), metric("loss", 1, 2.0)];
    let params = [pair("lr", "0.1"), pair("é", "")];
    let tags = [pair("t", "1"), pair("t", "2"), pair(RUN_NAME, "renamed"), pair(PARENT_RUN_ID, "p")];
    lake.log_batch(LogBatch { run_id: &id, metrics: &metrics, params: &params, tags: &tags }).await.expect("logged");
    let run = lake.get_run(&id).await.expect("there");
    assert_eq!(run.params, [("lr".into(), "0.1".into()), ("é".into(), String::new())]);
    assert_eq!((value(&run.tags, "t"), value(&run.tags, RUN_NAME)), (Some("2"), Some("renamed")));
    assert_eq!((run.run.run_name.as_str(), run.run.parent_run_id.as_deref()), ("renamed", Some("p")));
    let latest: Vec<_> = run.metrics.iter().map(|latest| (latest.key.as_str(), latest.step)).collect();
    assert_eq!(latest, [("acc", -1), ("loss", 2)]);
    assert!(run.metrics[0].value.is_nan());
}

#[tokio::test]
async fn a_refused_batch_leaves_nothing() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    lake.params(&id, &[pair("p", "it's"), pair("q", "1\n2")]).await.expect("logged");
    let metrics = [metric("m", 1, 1.0)];
    let params = [pair("new", "1"), pair("p", "o\"ther"), pair("q", "both ' \"")];
    let tags = [pair("t", "1")];
    let refused = lake.log_batch(LogBatch { run_id: &id, metrics: &metrics, params: &params, tags: &tags }).await;
    assert_eq!(
        refusal(refused),
        format!(
            "Changing param values is not allowed. Params were already logged='[{{'key': 'p', 'old_value': \"it's\", \
             'new_value': 'o\"ther'}}, {{'key': 'q', 'old_value': '1\\n2', 'new_value': 'both \\' \"'}}]' for run \
             ID='{id}'."
        )
    );
    let run = lake.get_run(&id).await.expect("there");
    assert_eq!((run.params.len(), run.metrics.len(), value(&run.tags, "t")), (2, 0, None));
}

#[tokio::test]
async fn params_are_written_once() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    lake.log_param(&id, "p", "1").await.expect("logged");
    lake.log_param(&id, "p", "1").await.expect("the same again");
    lake.params(&id, &[pair("p", "1")]).await.expect("the same again");
    assert_eq!(
        refusal(lake.log_param(&id, "p", "2").await),
        format!(
            "Changing param values is not allowed. Param with key='p' was already logged with value='1' for run \
             ID='{id}'. Attempted logging new value '2'."
        )
    );
    let long = "x".repeat(6001);
    lake.log_param(&id, "long", &long).await.expect("cut");
    lake.log_param(&id, "long", &long[..6000]).await.expect("compared as cut");
    assert!(refusal(lake.params(&id, &[pair("d", "1"), pair("d", "1")]).await).contains("submitted: ['d']"));
}

#[tokio::test]
async fn long_values_are_refused_where_the_server_says_so() {
    let settings = TrackingSettings { truncate_long_values: false, ..TrackingSettings::default() };
    let lake = Lake::open_with(settings).await;
    let id = lake.run("0").await;
    assert_eq!(
        refusal(lake.log_param(&id, "p", &"x".repeat(6001)).await),
        "'Param value' exceeds the maximum length of 6000 characters"
    );
    assert_eq!(
        refusal(lake.tags(&id, &[pair("t", &"x".repeat(8001))]).await),
        "'tags[0].value' exceeds the maximum length of 8000 characters"
    );
}

#[tokio::test]
async fn contents_are_checked_before_sizes_and_sizes_before_doubles() {
    let lake = Lake::open().await;
    let keys: Vec<String> = (0..101).map(|n| format!("p{n}")).collect();
    let mut params: Vec<KeyValue<'_>> = keys.iter().map(|key| pair(key, "1")).collect();
    params[1] = params[0];
    assert!(refusal(lake.params("nope", &params).await).contains("at most 100 params. Got 101 params."));
    assert!(refusal(lake.params("nope", &params[..3]).await).contains("['p0']"));
    params[100] = pair("a!b", "1");
    assert!(refusal(lake.params("nope", &params).await).contains("'params[100].key'"));
    assert_eq!(refusal(lake.params("nope", &params[2..4]).await), "Run with id=nope not found");
    assert_eq!(
        refusal(lake.params("bad id!", &params).await),
        "Invalid value \"bad id!\" for parameter 'run_id' supplied."
    );
}

#[tokio::test]
async fn points_are_checked_in_order() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let mut late = metric("ok", 1, 5.0);
    late.timestamp_ms = -1;
    let long = "k".repeat(251);
    let bad = [metric("ok", 1, 1.0), late.clone(), metric("a!b", 1, 1.0)];
    assert!(
        refusal(lake.metrics(&id, &bad).await)
            .starts_with("Invalid value -1 for parameter 'metrics[1].timestamp' supplied: metric 'ok' (value=5.0).")
    );
    assert!(refusal(lake.metrics(&id, &bad[2..]).await).contains("'metrics[0].name'"));
    assert_eq!(
        refusal(lake.metrics(&id, &[metric(&long, 1, 1.0)]).await),
        "'Metric name' exceeds the maximum length of 250 characters"
    );
    assert!(refusal(lake.log_metric(&id, late).await).contains("parameter 'timestamp'"));
    assert!(refusal(lake.log_metric(&id, metric("a//b", 1, 1.0)).await).contains("parameter 'name'"));
    assert_eq!(refusal(lake.log_metric("bad id", metric("a", 1, 1.0)).await), "Run with id=bad id not found");
}

#[test]
fn series_are_told_apart_and_known_again() {
    let mut on_model = metric("a", 2, 1.0);
    on_model.model_id = Some("m-1".into());
    let mut unsaid = metric("a", 3, 1.0);
    unsaid.model_id = Some("".into());
    let inputs = [metric("a", 1, 1.0), on_model, unsaid, metric("b", 1, 1.0), metric("a", 4, 1.0)];
    let points = Points::check(&inputs, |_| Path::Top).expect("fine");
    assert_eq!(points.index, [0, 1, 0, 2, 0]);
    assert_eq!(points.series.len(), 3);
}

#[tokio::test]
async fn tags_with_a_meaning_change_the_run() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    lake.set_tag(&id, RUN_NAME, "n").await.expect("set");
    lake.set_tag(&id, RUN_NAME, "").await.expect("passed over");
    lake.set_tag(&id, PARENT_RUN_ID, "p").await.expect("set");
    let run = lake.get_run(&id).await.expect("there");
    assert_eq!((run.run.run_name.as_str(), value(&run.tags, RUN_NAME)), ("n", Some("n")));
    assert_eq!(run.run.parent_run_id.as_deref(), Some("p"));
    lake.delete_tag(&id, PARENT_RUN_ID).await.expect("deleted");
    lake.delete_tag(&id, RUN_NAME).await.expect("deleted");
    let run = lake.get_run(&id).await.expect("there");
    assert_eq!((run.run.run_name.as_str(), run.run.parent_run_id), ("n", None));
    assert!(run.tags.is_empty());
    assert_eq!(refusal(lake.delete_tag(&id, "t").await), format!("No tag with name: t in run with id {id}"));
}

#[tokio::test]
async fn points_of_a_model_are_kept_with_it() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let mut point = metric("m", 3, f64::NAN);
    point.model_id = Some("m-none".into());
    let unknown = lake.log_metric(&id, point.clone()).await.expect_err("no such model");
    assert_eq!(
        (unknown.kind(), unknown.to_string().as_str()),
        (ErrorKind::Invalid, "Logged model with ID 'm-none' not found.")
    );
    assert_eq!(refusal(lake.log_metric("nope", point.clone()).await), "Run with id=nope not found");
    let model = lake
        .create_logged_model(CreateLoggedModel { experiment_id: "0".into(), ..CreateLoggedModel::default() })
        .await
        .expect("made");
    let model_id = model.model.model_id.to_string();
    point.model_id = Some(model_id.as_str().into());
    point.dataset_name = Some("d".into());
    lake.log_metric(&id, point.clone()).await.expect("logged");
    point.value = 2.0;
    point.step = 4;
    lake.metrics(&id, &[point]).await.expect("logged");
    let metrics = lake.get_logged_model(&model_id, false).await.expect("there").metrics;
    assert_eq!(metrics.iter().map(|metric| metric.step).collect::<Vec<_>>(), [3, 4]);
    assert!(metrics[0].value.is_nan());
    assert_eq!((metrics[1].dataset_name.as_deref(), metrics[1].dataset_digest.as_deref()), (Some("d"), None));
    assert_eq!(metrics[1].run_id.as_str(), id);
    assert_eq!(lake.get_run(&id).await.expect("there").metrics[0].step, 4);
}

#[tokio::test]
async fn the_history_of_models_grows() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let model = format!(
        r#"{{"run_id": "{id}", "artifact_path": "m", "utc_time_created": "2020-01-01", "model_uuid": "u", "extra": 5,
            "flavors": {{"python_function": {{"a": 1, "config": {{"x": 1}}}}, "odd": "text"}}}}"#
    );
    lake.log_model(&id, &model).await.expect("logged");
    lake.log_model(&id, &model).await.expect("logged");
    let run = lake.get_run(&id).await.expect("there");
    let history: Vec<Value> =
        serde_json::from_str(value(&run.tags, LOGGED_MODELS).expect("there")).expect("a list of objects");
    let expected: Value = serde_json::json!({
        "run_id": id, "artifact_path": "m", "utc_time_created": "2020-01-01", "model_uuid": "u",
        "flavors": {"python_function": {"a": 1}, "odd": "text"}
    });
    assert_eq!(history, [expected.clone(), expected]);
    assert_eq!(refusal(lake.log_model(&id, "{").await), "Malformed model info. \n { \n is not a valid JSON.");
    assert_eq!(
        refusal(lake.log_model(&id, r#"{"flavors": 1, "run_id": "r"}"#).await),
        "Model json is missing mandatory fields: {'artifact_path', 'utc_time_created'}"
    );
    assert!(lake.log_model(&id, "[]").await.is_err());
}

#[test]
fn a_write_holds_each_series_once() {
    let keys: Vec<String> = (0..4).map(|n| format!("k{n}")).collect();
    let inputs: Vec<MetricInput<'_>> =
        (0..1000).map(|at| metric(&keys[at % 4], i64::try_from(at).expect("small"), 1.0)).collect();
    let points = Points::check(&inputs, |_| Path::Top).expect("fine");
    let run = Run {
        run_id: RunId::from_stored("r"),
        experiment_id: runlake_types::ExperimentId::DEFAULT,
        run_name: String::new(),
        user_id: String::new(),
        status: runlake_types::rows::RunStatus::Running,
        start_time: None,
        end_time: None,
        lifecycle_stage: runlake_types::rows::Lifecycle::Active,
        deleted_time: None,
        artifact_uri: String::new(),
        parent_run_id: None,
    };
    let mut write = WriteBatch::default();
    points.write(&run, &mut write);
    let metrics: &MetricBatch = &write.metrics;
    assert_eq!((metrics.len(), metrics.series().len(), write.changes.len()), (1000, 4, 0));
}
