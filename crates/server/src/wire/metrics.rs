//! Reading metric points.

use std::fmt::Write as _;

use runlake_tracking::{MetricHistory, MetricHistoryBulk, MetricHistoryInterval, Page, RunPoint};
use runlake_types::Point;
use serde::Serialize;

use super::{Double, Fields, clamped, optional_text};
use crate::error::{ApiError, Result};

impl Fields {
    /// `metrics/get-history`.
    pub(crate) fn metric_history(&self) -> Result<MetricHistory> {
        Ok(MetricHistory {
            run_id: self.run_id()?,
            metric_key: self.required_text("metric_key")?,
            page_token: optional_text(self, "page_token")?,
            max_results: self.int("max_results")?,
        })
    }

    /// `metrics/get-history-bulk`, whose parameters are plural by repetition: `run_id=a&run_id=b`.
    pub(crate) fn metric_history_bulk(&self) -> Result<MetricHistoryBulk> {
        let run_ids = self.texts("run_id")?;
        if run_ids.is_empty() {
            return Err(ApiError::invalid("GetMetricHistoryBulk request must specify at least one run_id."));
        }
        let Some(metric_key) = self.text("metric_key")? else {
            return Err(ApiError::invalid("GetMetricHistoryBulk request must specify a metric_key."));
        };
        Ok(MetricHistoryBulk { run_ids, metric_key, max_results: self.int("max_results")? })
    }

    /// `metrics/get-history-bulk-interval`.
    pub(crate) fn metric_history_interval(&self) -> Result<MetricHistoryInterval> {
        Ok(MetricHistoryInterval {
            run_ids: self.required_texts("run_ids")?,
            metric_key: self.required_text("metric_key")?,
            start_step: self.int("start_step")?,
            end_step: self.int("end_step")?,
            max_results: self.int("max_results")?,
        })
    }

    /// A list of texts that must be there.
    pub(super) fn required_texts(&self, name: &str) -> Result<Vec<String>> {
        if self.has(name) { self.texts(name) } else { Err(self.missing(name)) }
    }
}

/// Answer of `metrics/get-history`.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricPoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a> HistoryAnswer<'a> {
    /// The points of the metric `key`.
    pub(crate) fn of(key: &'a str, page: &'a Page<Point>) -> Self {
        Self {
            metrics: page.items.iter().map(|point| MetricPoint::of(key, point, None)).collect(),
            next_page_token: page.next_page_token.as_deref(),
        }
    }
}

/// Answer of `metrics/get-history-bulk-interval`.
#[derive(Debug, Serialize)]
pub(crate) struct IntervalAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricPoint<'a>>,
}

impl<'a> IntervalAnswer<'a> {
    /// Points of the metric `key`.
    pub(crate) fn of(key: &'a str, points: &'a [RunPoint]) -> Self {
        let point = |point: &'a RunPoint| MetricPoint::of(key, &point.point, Some(point.run_id.as_str()));
        Self { metrics: points.iter().map(point).collect() }
    }
}

#[derive(Debug, Serialize)]
struct MetricPoint<'a> {
    key: &'a str,
    value: Double,
    timestamp: i64,
    step: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
}

impl<'a> MetricPoint<'a> {
    fn of(key: &'a str, point: &Point, run_id: Option<&'a str>) -> Self {
        Self { key, value: Double(point.value), timestamp: point.timestamp.millis(), step: point.step, run_id }
    }
}

/// Answer of `metrics/get-history-bulk`. It is written by hand: its NaN is a bare token, which is no JSON, but what
/// that route sends and its readers (the web app, Python) take.
pub(crate) fn history_bulk_answer(key: &str, points: &[RunPoint]) -> Vec<u8> {
    let quoted = |text: &str| serde_json::to_string(text).expect("text is always JSON");
    let key = quoted(key);
    let mut answer = String::with_capacity(32 + points.len() * (96 + key.len()));
    answer.push_str("{\"metrics\":[");
    for (index, RunPoint { run_id, point }) in points.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let run_id = quoted(run_id.as_str());
        let (step, timestamp) = (point.step, point.timestamp.millis());
        write!(answer, "{comma}{{\"key\":{key},\"run_id\":{run_id},\"step\":{step},\"timestamp\":{timestamp},")
            .expect("writing to memory");
        if point.value.is_nan() {
            answer.push_str("\"value\":NaN}");
        } else {
            write!(answer, "\"value\":{:?}}}", clamped(point.value)).expect("writing to memory");
        }
    }
    answer.push_str("]}");
    answer.into_bytes()
}
