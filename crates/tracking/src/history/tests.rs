use super::*;
use crate::MetricInput;
use crate::testing::{Lake, metric, refusal};

fn at(step: i64, timestamp_ms: i64, value: f64) -> MetricInput<'static> {
    MetricInput { timestamp_ms, ..metric("m", step, value) }
}

fn steps(points: &[Point]) -> Vec<i64> {
    points.iter().map(|point| point.step).collect()
}

fn history_of(run_id: &str) -> MetricHistory {
    MetricHistory { run_id: run_id.into(), metric_key: "m".into(), ..MetricHistory::default() }
}

#[tokio::test]
async fn a_history_is_ordered_by_time_first() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    lake.metrics(&id, &[at(5, 1, 0.0), at(1, 2, 0.0), at(0, 2, 0.0), at(5, 1, 0.0), at(5, 1, -1.0)])
        .await
        .expect("logged");
    let page = lake.metric_history(&history_of(&id)).await.expect("read");
    assert_eq!(steps(&page.items), [5, 5, 0, 1]);
    assert_eq!((page.items[0].value, page.next_page_token), (-1.0, None));
    assert!(lake.metric_history(&history_of("nope")).await.expect("read").items.is_empty());
}

#[tokio::test]
async fn a_history_is_read_in_pages() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let points: Vec<_> = (0..6).map(|step| at(step, 7, if step == 2 { f64::NAN } else { 1.0 })).collect();
    lake.metrics(&id, &points).await.expect("logged");
    let mut request = MetricHistory { max_results: Some(2), ..history_of(&id) };
    let mut pages = Vec::new();
    loop {
        let page = lake.metric_history(&request).await.expect("read");
        pages.push(steps(&page.items));
        request.page_token = page.next_page_token;
        if request.page_token.is_none() {
            break;
        }
    }
    assert_eq!(pages, [[0, 1], [2, 3], [4, 5]]);
    request.page_token = Some("zz!".into());
    assert!(refusal(lake.metric_history(&request).await).starts_with("Invalid page token"));
    for bad in [0, -1] {
        request.max_results = Some(bad);
        assert_eq!(
            refusal(lake.metric_history(&request).await),
            format!("Invalid value {bad} for parameter 'max_results' supplied. It must be a positive integer.")
        );
    }
}

#[tokio::test]
async fn histories_of_many_runs_are_capped_together() {
    let lake = Lake::open().await;
    let mut ids = vec![lake.run("0").await, lake.run("0").await];
    for id in &ids {
        lake.metrics(id, &[at(0, 1, 0.0), at(1, 2, 0.0)]).await.expect("logged");
    }
    ids.extend(["nope".into(), ids[1].clone()]);
    ids.reverse();
    let mut request = MetricHistoryBulk { run_ids: ids, metric_key: "m".into(), max_results: None };
    let all = lake.metric_history_bulk(&request).await.expect("read");
    assert_eq!(all.len(), 4);
    assert!(all.windows(2).all(|pair| pair[0].run_id <= pair[1].run_id));
    request.max_results = Some(3);
    assert_eq!(lake.metric_history_bulk(&request).await.expect("read"), all[..3]);
    request.run_ids.clear();
    assert_eq!(
        refusal(lake.metric_history_bulk(&request).await),
        "GetMetricHistoryBulk request must specify at least one run_id."
    );
    request.run_ids = vec!["r".into(); 101];
    assert_eq!(
        refusal(lake.metric_history_bulk(&request).await),
        "GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received 101 run_ids."
    );
}

#[tokio::test]
async fn samples_come_run_by_run_as_asked_for() {
    let lake = Lake::open().await;
    let (ten, five) = (lake.run("0").await, lake.run("0").await);
    lake.metrics(&ten, &(0..10).map(|step| at(step, 1, 0.0)).collect::<Vec<_>>()).await.expect("logged");
    lake.metrics(&five, &(0..5).map(|step| at(step, 1, 0.0)).collect::<Vec<_>>()).await.expect("logged");
    let request = MetricHistoryInterval {
        run_ids: vec![ten.clone(), "nope".into(), five, ten],
        metric_key: "m".into(),
        max_results: Some(3),
        ..MetricHistoryInterval::default()
    };
    let found = lake.metric_history_interval(&request).await.expect("read");
    let found: Vec<i64> = found.iter().map(|found| found.point.step).collect();
    assert_eq!(found, [0, 4, 9, 0, 2, 4, 0, 4, 9]);
    let within = MetricHistoryInterval { start_step: Some(8), end_step: Some(20), ..request.clone() };
    assert_eq!(lake.metric_history_interval(&within).await.expect("read").len(), 4);
    for (change, message) in [
        (MetricHistoryInterval { max_results: Some(0), ..request.clone() }, "max_results must be between 1 and 2500."),
        (
            MetricHistoryInterval { start_step: Some(1), ..request.clone() },
            "If either start step or end step are specified, both must be specified.",
        ),
        (
            MetricHistoryInterval { start_step: Some(1), end_step: Some(0), ..request.clone() },
            "end_step must be greater than start_step. Found start_step=1 and end_step=0.",
        ),
        (MetricHistoryInterval::default(), "Missing value for required parameter 'run_ids'."),
    ] {
        assert_eq!(refusal(lake.metric_history_interval(&change).await), message);
    }
}

#[tokio::test]
async fn envelopes_span_all_runs_or_the_range_asked_for() {
    let lake = Lake::open().await;
    let (low, high) = (lake.run("0").await, lake.run("0").await);
    lake.metrics(&low, &[at(-10, 1, 1.0), at(-9, 1, 9.0), at(0, 1, f64::NAN)]).await.expect("logged");
    lake.metrics(&high, &[at(9, 1, 5.0)]).await.expect("logged");
    let request = EnvelopeRequest {
        run_ids: vec![high.clone(), "nope".into(), low.clone()],
        metric_key: "m".into(),
        buckets: Some(2),
        ..EnvelopeRequest::default()
    };
    let found = lake.metric_envelopes(&request).await.expect("read");
    assert_eq!((found.from_step, found.to_step), (-10, 9));
    let shown: Vec<_> = found.runs.iter().map(|run| (run.run_id.as_str(), run.buckets.len())).collect();
    assert_eq!(shown, [(high.as_str(), 1), (low.as_str(), 2)]);
    let bucket = &found.runs[1].buckets[0];
    assert_eq!((bucket.first.value, bucket.last.value, bucket.count), (1.0, 9.0, 2));
    assert_eq!(found.runs[1].buckets[1].min, None);
    let within = EnvelopeRequest { from_step: Some(-9), to_step: Some(-9), ..request.clone() };
    let found = lake.metric_envelopes(&within).await.expect("read");
    assert_eq!((found.runs.len(), found.runs[0].buckets[0].count), (1, 1));
    let crossed = EnvelopeRequest { from_step: Some(1), to_step: Some(0), ..request.clone() };
    assert!(refusal(lake.metric_envelopes(&crossed).await).starts_with("to_step must not be less"));
    let many = EnvelopeRequest { buckets: Some(2501), ..request };
    assert_eq!(refusal(lake.metric_envelopes(&many).await), "buckets must be between 1 and 2500.");
}
