use runlake_types::rows::Lifecycle;
use runlake_types::{ExperimentId, ModelId, RunId, Timestamp};

use super::*;

/// Key, value, and name and digest of the dataset.
type Metric<'a> = (&'a str, f64, Option<(&'a str, &'a str)>);

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms).expect("in range")
}

fn model(id: &str, created_ms: i64, params: &[(&str, &str)], metrics: &[Metric<'_>]) -> LoggedModelInfo {
    let model_id = ModelId::from_stored(id);
    let experiment_id = ExperimentId::new(1);
    let metric = |(number, &(key, value, dataset)): (usize, &Metric<'_>)| LoggedModelMetric {
        model_id: model_id.clone(),
        key: key.to_owned(),
        timestamp: time(1),
        step: i64::try_from(number).expect("small"),
        run_id: RunId::from_stored("r"),
        experiment_id,
        value,
        dataset_name: dataset.map(|(name, _)| name.to_owned()),
        dataset_digest: dataset.map(|(_, digest)| digest.to_owned()),
    };
    let pairs: Vec<(String, String)> = params.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    LoggedModelInfo {
        model: LoggedModel {
            model_id: model_id.clone(),
            experiment_id,
            source_run_id: None,
            name: format!("model {id}"),
            model_type: (id == "m-1").then(|| "Agent".to_owned()),
            status: 2,
            status_message: None,
            artifact_uri: String::new(),
            lifecycle_stage: Lifecycle::Active,
            creation_time: time(created_ms),
            last_update_time: time(created_ms + 10),
        },
        params: pairs.clone(),
        tags: pairs,
        metrics: metrics.iter().enumerate().map(metric).collect(),
    }
}

fn some() -> Vec<LoggedModelInfo> {
    vec![
        model(
            "m-1",
            100,
            &[("lr", "0.01")],
            &[("acc", 0.5, Some(("train", "d1"))), ("acc", 0.9, Some(("test", "d2")))],
        ),
        model("m-2", 200, &[("lr", "0.1")], &[("acc", 0.7, Some(("train", "d3"))), ("nan", f64::NAN, None)]),
        model("m-3", 200, &[], &[]),
    ]
}

fn scope(name: &str, digest: Option<&str>) -> DatasetScope {
    DatasetScope { dataset_name: Some(name.to_owned()), dataset_digest: digest.map(str::to_owned) }
}

fn ids(filter: &str, datasets: &[DatasetScope]) -> String {
    let filter = match ModelFilter::parse(filter, datasets) {
        Ok(filter) => filter,
        Err(error) => return error.to_string(),
    };
    let found = some().into_iter().filter(|info| filter.matches(info)).map(|info| info.model.model_id.to_string());
    found.collect::<Vec<_>>().join(" ")
}

#[test]
fn filters() {
    let check = |filter: &str, expect: &str| assert_eq!(ids(filter, &[]), expect, "{filter}");
    check("", "m-1 m-2 m-3");
    check("name = 'model m-1'", "m-1");
    check("attributes.name LIKE 'model%'", "m-1 m-2 m-3");
    check("name IN ('model m-1', 'model m-3')", "m-1 m-3");
    check("model_id NOT IN ('m-1')", "m-2 m-3");
    check("model_id = m", "");
    check("experiment_id = 1", "m-1 m-2 m-3");
    check("status = 'READY'", "m-1 m-2 m-3");
    check("status = 'LOGGED_MODEL_READY' AND status != 'PENDING'", "m-1 m-2 m-3");
    check("model_type = 'Agent'", "m-1");
    check("model_type != 'Agent'", "");
    check("creation_time > 100", "m-2 m-3");
    check("creation_timestamp <= 100 OR last_updated_timestamp = 210", "m-1 m-2 m-3");
    check("params.lr = '0.1'", "m-2");
    check("params.lr = 0.1", "m-2");
    check("params.`lr` = \"0.1\"", "m-2");
    check("tags.lr ILIKE '0.%'", "m-1 m-2");
    check("params.lr != '0.1'", "m-1");
    check("NOT params.lr = '0.1'", "m-1");
    check("params.lr IS NULL", "m-3");
    check("metrics.acc > 0.6", "m-1 m-2");
    check("metrics.acc < 0.6", "m-1");
    check("metrics.acc BETWEEN 0.8 AND 1", "m-1");
    check("NOT metrics.acc > 0.8", "m-2");
    check("metrics.acc IS NULL", "m-3");
    check("metrics.nan != 0", "m-2");
    check("metrics.nan = 0 OR metrics.nan < 1", "");
    check("metrics.acc > 0.6 and (params.lr = '0.01' or name = 'x')", "m-1");
}

#[test]
fn datasets() {
    let check = |filter: &str, datasets: &[DatasetScope], expect: &str| {
        assert_eq!(ids(filter, datasets), expect, "{filter} on {datasets:?}");
    };
    let (train, test) = (scope("train", None), scope("test", Some("d2")));
    check("metrics.acc > 0.6", std::slice::from_ref(&train), "m-2");
    check("metrics.acc > 0.6", std::slice::from_ref(&test), "m-1");
    check("metrics.acc > 0.6", &[train.clone(), test.clone()], "m-1 m-2");
    check("metrics.acc > 0.6", &[scope("test", Some("d3"))], "");
    check("", std::slice::from_ref(&train), "m-1 m-2");
    check("", &[scope("train", Some(""))], "m-1 m-2");
    check("params.lr = '0.1'", std::slice::from_ref(&test), "");
    let needed = "`dataset_name` in the `datasets` clause must be specified.";
    check("", &[DatasetScope::default()], needed);
    check("", &[train, scope("", None)], needed);
}

#[test]
fn refused() {
    let check = |filter: &str, expect: &str| {
        let error = ModelFilter::parse(filter, &[]).expect_err(filter).to_string();
        assert!(error.starts_with(expect), "{filter}: {error}");
    };
    check(
        "metric.a > 1",
        "Invalid entity type: 'metric'. Expected one of ['attributes', 'metrics', 'params', 'tags'].",
    );
    check("foo = 'a'", "Invalid attribute key 'foo'");
    check("Foo", "Invalid filter string: 'Foo'. Invalid clause(s) in filter string: ");
    check("name = 'a' name = 'b'", "Invalid filter string: 'name = 'a' name = 'b''. ");
    check("metrics.a LIKE 1", "Invalid comparison operator for metrics.a: 'LIKE'. Expected one of ('<', ");
    check("metrics.a > 'x'", "Expected numeric value type for metrics.a. Found 'x'");
    check("metrics.`a b` IN ('x')", "Invalid comparison operator for metrics.a b: 'IN'. Expected one of ('<', ");
    check("metrics.a LIKE 'x'", "Invalid comparison operator for metrics.a: 'LIKE'.");
    check("params.a > '1'", "Invalid comparison operator for params.a: '>'. Expected one of ('=', ");
    check("name < 'a'", "Invalid comparison operator for attributes.name: '<'. Expected one of ('=', ");
    check("name IS NULL", "Invalid comparison operator for attributes.name: 'IS NULL'.");
    check("name IN ()", "While parsing a list in the query, expected a non-empty list");
}

fn by(field: &str, ascending: bool, dataset: Option<&str>) -> LoggedModelOrder {
    LoggedModelOrder {
        field_name: field.to_owned(),
        ascending,
        dataset_name: dataset.map(str::to_owned),
        dataset_digest: None,
    }
}

#[test]
fn order_and_pages() {
    let check = |order_by: &[LoggedModelOrder], expect: &str| {
        let order = ModelOrder::parse(order_by).unwrap_or_else(|error| panic!("{order_by:?}: {error}"));
        for limit in 1..=3 {
            let (mut ids, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = order.page(some(), after.as_ref(), limit);
                ids.extend(page.into_iter().map(|info| info.model.model_id.to_string()));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(ids.join(" "), expect, "{order_by:?} by {limit}");
        }
    };
    check(&[], "m-2 m-3 m-1");
    check(&[by("creation_timestamp", true, None)], "m-1 m-2 m-3");
    check(&[by("model_id", false, None)], "m-3 m-2 m-1");
    check(&[by("metrics.acc", true, None)], "m-2 m-1 m-3");
    check(&[by("metrics.acc", false, None)], "m-1 m-2 m-3");
    check(&[by("metrics.acc", true, Some("train"))], "m-1 m-2 m-3");
    check(&[by("metrics.`acc`", false, Some("test"))], "m-1 m-2 m-3");
    check(&[by("metrics.nan", true, None)], "m-2 m-3 m-1");
    check(&[by("model_type", true, None)], "m-1 m-2 m-3");
}

#[test]
fn refused_orders() {
    let check = |field: &str, expect: &str| {
        let error = ModelOrder::parse(&[by(field, true, None)]).expect_err(field).to_string();
        assert!(error.starts_with(expect), "{field}: {error}");
    };
    check("foo", "Invalid order by field name: foo");
    check("", "Invalid order by field name: ");
    check("params.lr", "Invalid order by field name: params.lr. Only metrics are supported.");
}

#[test]
fn of_points_at_the_same_step_and_time_the_first_run_counts() {
    let mut info = model("m-1", 1, &[], &[("acc", 1.0, None), ("acc", 2.0, None), ("acc", 3.0, None)]);
    for (metric, run) in info.metrics.iter_mut().zip(["b", "a", "c"]) {
        metric.step = 0;
        metric.run_id = RunId::from_stored(run);
    }
    let order = by("metrics.acc", true, None);
    assert_eq!(latest(&info.metrics, "acc", &order).map(|metric| metric.value), Some(2.0));
}
