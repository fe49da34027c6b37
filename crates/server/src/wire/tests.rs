use runlake_tracking::{
    DatasetInfo, DatasetInput, EnvelopeBucket, Envelopes, ExperimentInfo, LatestPoint, ModelOutput, Page, RunEnvelope,
    RunInfo, RunPoint,
};
use runlake_types::rows::{self, Lifecycle, RunStatus};
use runlake_types::{ExperimentId, ModelId, Point, RunId, Timestamp};
use serde_json::json;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn as_json(answer: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(answer).unwrap()
}

fn run() -> RunInfo {
    let run_id = RunId::from_stored("r1");
    let experiment_id = ExperimentId::new(3);
    RunInfo {
        run: rows::Run {
            run_id: run_id.clone(),
            experiment_id,
            run_name: "calm-owl-1".into(),
            user_id: String::new(),
            status: RunStatus::Running,
            start_time: Some(at(5)),
            end_time: None,
            lifecycle_stage: Lifecycle::Active,
            deleted_time: None,
            artifact_uri: "mlflow-artifacts:/3/r1/artifacts".into(),
            parent_run_id: None,
        },
        params: vec![],
        tags: vec![],
        metrics: vec![],
        dataset_inputs: vec![],
        model_inputs: vec![],
        model_outputs: vec![],
    }
}

#[test]
fn an_empty_run_leaves_out_its_lists_but_not_their_holders() {
    assert_eq!(
        as_json(&RunAnswer { run: (&run()).into() }),
        json!({"run": {
            "info": {
                "run_id": "r1", "run_uuid": "r1", "experiment_id": "3", "run_name": "calm-owl-1", "user_id": "",
                "status": "RUNNING", "start_time": 5, "artifact_uri": "mlflow-artifacts:/3/r1/artifacts",
                "lifecycle_stage": "active"
            },
            "data": {}, "inputs": {}, "outputs": {}
        }})
    );
}

#[test]
fn a_full_run_answers_everything() {
    let mut run = run();
    run.run.end_time = Some(at(9));
    run.run.status = RunStatus::Finished;
    run.params = vec![("lr".into(), String::new())];
    run.tags = vec![("a".into(), "b".into())];
    let metric = |key: &str, value| LatestPoint { key: key.into(), step: 0, timestamp: at(1), value };
    run.metrics = vec![metric("inf", f64::NEG_INFINITY), metric("nan", f64::NAN), metric("one", 1.0)];
    run.dataset_inputs = vec![DatasetInput {
        dataset: DatasetInfo {
            name: "d".into(),
            digest: "g".into(),
            source_type: "local".into(),
            source: "s".into(),
            schema: None,
            profile: Some("{}".into()),
        },
        tags: vec![("mlflow.data.context".into(), "train".into())],
    }];
    run.model_inputs = vec![ModelId::from_stored("m-0")];
    run.model_outputs = vec![ModelOutput { model_id: ModelId::from_stored("m-1"), step: 0 }];
    let answer = as_json(&Run::from(&run));
    assert_eq!(answer["info"]["end_time"], 9);
    assert_eq!(
        answer["data"],
        json!({
            "metrics": [
                {"key": "inf", "value": f64::MIN, "timestamp": 1, "step": 0},
                {"key": "nan", "value": "NaN", "timestamp": 1, "step": 0},
                {"key": "one", "value": 1.0, "timestamp": 1, "step": 0}
            ],
            "params": [{"key": "lr", "value": ""}],
            "tags": [{"key": "a", "value": "b"}]
        })
    );
    assert_eq!(
        answer["inputs"],
        json!({
            "dataset_inputs": [{
                "tags": [{"key": "mlflow.data.context", "value": "train"}],
                "dataset": {"name": "d", "digest": "g", "source_type": "local", "source": "s", "profile": "{}"}
            }],
            "model_inputs": [{"model_id": "m-0"}]
        })
    );
    assert_eq!(answer["outputs"], json!({"model_outputs": [{"model_id": "m-1", "step": 0}]}));
}

#[test]
fn empty_pages_are_empty_objects() {
    let runs = Page { items: vec![], next_page_token: None };
    assert_eq!(as_json(&RunsAnswer::from(&runs)), json!({}));
    let points = Page { items: vec![], next_page_token: None };
    assert_eq!(as_json(&HistoryAnswer::of("k", &points)), json!({}));
    let experiments: Page<std::sync::Arc<ExperimentInfo>> = Page { items: vec![], next_page_token: Some("t".into()) };
    assert_eq!(as_json(&ExperimentsAnswer::from(&experiments)), json!({"next_page_token": "t"}));
    assert_eq!(as_json(&Empty {}), json!({}));
}

#[test]
fn an_experiment_answers_its_id_as_text() {
    let info = ExperimentInfo {
        experiment: rows::Experiment {
            experiment_id: ExperimentId::DEFAULT,
            name: "Default".into(),
            artifact_location: "mlflow-artifacts:/0".into(),
            lifecycle_stage: Lifecycle::Deleted,
            creation_time: at(1),
            last_update_time: at(2),
        },
        tags: [("k".to_owned(), "v".to_owned())].into(),
    };
    assert_eq!(
        as_json(&ExperimentAnswer { experiment: (&info).into() }),
        json!({"experiment": {
            "experiment_id": "0", "name": "Default", "artifact_location": "mlflow-artifacts:/0",
            "lifecycle_stage": "deleted", "creation_time": 1, "last_update_time": 2,
            "tags": [{"key": "k", "value": "v"}]
        }})
    );
}

#[test]
fn a_bulk_history_has_bare_nans() {
    let point =
        |value| RunPoint { run_id: RunId::from_stored("r"), point: Point { step: -1, timestamp: at(2), value } };
    let points = [point(f64::NAN), point(f64::INFINITY), point(1.0), point(1e-7)];
    let expected = r#"{"metrics":[{"key":"a\"b","run_id":"r","step":-1,"timestamp":2,"value":NaN},"#.to_owned()
        + r#"{"key":"a\"b","run_id":"r","step":-1,"timestamp":2,"value":1.7976931348623157e308},"#
        + r#"{"key":"a\"b","run_id":"r","step":-1,"timestamp":2,"value":1.0},"#
        + r#"{"key":"a\"b","run_id":"r","step":-1,"timestamp":2,"value":1e-7}]}"#;
    assert_eq!(String::from_utf8(history_bulk_answer("a\"b", &points)).unwrap(), expected);
    assert_eq!(history_bulk_answer("k", &[]), b"{\"metrics\":[]}");
}

#[test]
fn folders_have_no_size() {
    let files = FilesAnswer {
        root_uri: None,
        files: vec![
            FileAnswer { path: "d".into(), is_dir: true, file_size: None },
            FileAnswer { path: "d/x".into(), is_dir: false, file_size: Some(0) },
        ],
    };
    assert_eq!(
        as_json(&files),
        json!({"files": [{"path": "d", "is_dir": true}, {"path": "d/x", "is_dir": false, "file_size": 0}]})
    );
}

#[test]
fn a_search_reads_all_its_fields() {
    let fields = Fields::from_json(
        br#"{"experiment_ids": ["1", "2"], "filter": "metrics.a > 1", "run_view_type": "ALL", "max_results": "7",
             "order_by": ["metrics.a DESC"], "page_token": "", "someday": {}}"#,
    );
    let request = fields.search_runs().unwrap();
    assert_eq!(request.experiment_ids, ["1", "2"]);
    assert_eq!(request.view_type, runlake_tracking::ViewType::All);
    assert_eq!((request.max_results, request.page_token), (Some(7), None));
    let error = Fields::from_json(br#"{"experiment_ids": "5"}"#).search_runs().unwrap_err();
    assert!(error.message().starts_with("Invalid value \"5\" for parameter 'experiment_ids' supplied"));
}

#[test]
fn curves_hold_the_points_of_the_buckets_once_and_in_order() {
    let point = |step, value| Point { step, timestamp: at(1000 + step), value };
    let bucket = |index, points: [Point; 4]| EnvelopeBucket {
        index,
        first: points[0],
        last: points[3],
        min: Some(points[1]),
        max: Some(points[2]),
        count: 10,
        nan_count: 0,
    };
    let falling = bucket(0, [point(0, 9.0), point(7, -1.0), point(0, 9.0), point(9, 0.5)]);
    let flat = bucket(1, [point(10, 2.0); 4]);
    let mut lost = bucket(2, [point(20, f64::NAN); 4]);
    (lost.min, lost.max) = (None, None);
    let runs = vec![
        RunEnvelope { run_id: RunId::from_stored("r1"), buckets: vec![falling, flat, lost] },
        RunEnvelope { run_id: RunId::from_stored("r2"), buckets: vec![] },
    ];
    let answer = curves_answer("a\"b", &Envelopes { from_step: 0, to_step: 29, runs });
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap(),
        json!({"metric_key": "a\"b", "from_step": 0, "to_step": 29, "runs": [
            {"run_id": "r1", "count": 30, "steps": [0, 7, 9, 10, 20], "timestamps": [1000, 1007, 1009, 1010, 1020],
             "values": [9.0, -1.0, 0.5, 2.0, "NaN"]},
            {"run_id": "r2", "count": 0, "steps": [], "timestamps": [], "values": []},
        ]})
    );
}
