//! `GET /api/runlake/metrics/envelope`: metrics of many runs reduced to what a chart of that width can show.
//!
//! `?run_ids=a&run_ids=b&metric_key=loss&buckets=500&from_step=0&to_step=99999&format=curves` (the last four optional).

use std::fmt::Write as _;

use runlake_tracking::{EnvelopeBucket, EnvelopeRequest, Envelopes, RunEnvelope};
use runlake_types::Point;
use serde::Serialize;

use super::{Double, Fields, clamped};
use crate::error::{ApiError, Result};

impl Fields {
    /// The request.
    pub(crate) fn envelope(&self) -> Result<EnvelopeRequest> {
        Ok(EnvelopeRequest {
            run_ids: self.required_texts("run_ids")?,
            metric_key: self.required_text("metric_key")?,
            buckets: self.int("buckets")?,
            from_step: self.int("from_step")?,
            to_step: self.int("to_step")?,
        })
    }

    /// The form of its answer.
    pub(crate) fn envelope_format(&self) -> Result<EnvelopeFormat> {
        match self.text("format")?.as_deref() {
            None | Some("" | "buckets") => Ok(EnvelopeFormat::Buckets),
            Some("curves") => Ok(EnvelopeFormat::Curves),
            Some(other) => Err(ApiError::invalid(format!(
                "Invalid value {other} for parameter 'format' supplied: it must be buckets or curves."
            ))),
        }
    }
}

/// How envelopes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EnvelopeFormat {
    /// Each bucket by itself.
    Buckets,
    /// The buckets' points in a row, as columns.
    Curves,
}

/// The answer, bucket by bucket.
#[derive(Debug, Serialize)]
pub(crate) struct EnvelopeAnswer<'a> {
    metric_key: &'a str,
    from_step: i64,
    to_step: i64,
    runs: Vec<RunAnswer<'a>>,
}

#[derive(Debug, Serialize)]
struct RunAnswer<'a> {
    run_id: &'a str,
    buckets: Vec<BucketAnswer>,
}

#[derive(Debug, Serialize)]
struct BucketAnswer {
    index: u32,
    count: u64,
    nan_count: u64,
    first: PointAnswer,
    last: PointAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<PointAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<PointAnswer>,
}

#[derive(Debug, Serialize)]
struct PointAnswer {
    step: i64,
    timestamp: i64,
    value: Double,
}

impl<'a> EnvelopeAnswer<'a> {
    /// Envelopes of the metric `key`.
    pub(crate) fn of(key: &'a str, envelopes: &'a Envelopes) -> Self {
        let run = |run: &'a RunEnvelope| RunAnswer {
            run_id: run.run_id.as_str(),
            buckets: run.buckets.iter().map(Into::into).collect(),
        };
        Self {
            metric_key: key,
            from_step: envelopes.from_step,
            to_step: envelopes.to_step,
            runs: envelopes.runs.iter().map(run).collect(),
        }
    }
}

impl From<&EnvelopeBucket> for BucketAnswer {
    fn from(bucket: &EnvelopeBucket) -> Self {
        Self {
            index: bucket.index,
            count: bucket.count,
            nan_count: bucket.nan_count,
            first: bucket.first.into(),
            last: bucket.last.into(),
            min: bucket.min.map(Into::into),
            max: bucket.max.map(Into::into),
        }
    }
}

impl From<Point> for PointAnswer {
    fn from(point: Point) -> Self {
        Self { step: point.step, timestamp: point.timestamp.millis(), value: Double(point.value) }
    }
}

/// The answer as curves, in less than half the bytes: of each run the points that its buckets name, in order and once, as
/// three columns, and how many points they stand for.
pub(crate) fn curves_answer(key: &str, envelopes: &Envelopes) -> Vec<u8> {
    let quoted = |text: &str| serde_json::to_string(text).expect("text is always JSON");
    let Envelopes { from_step, to_step, runs } = envelopes;
    let buckets: usize = runs.iter().map(|run| run.buckets.len()).sum();
    let mut answer = String::with_capacity(64 + runs.len() * 128 + buckets * 160);
    write!(answer, "{{\"metric_key\":{},\"from_step\":{from_step},\"to_step\":{to_step},\"runs\":[", quoted(key))
        .expect("writing to memory");
    for (index, run) in runs.iter().enumerate() {
        let points = points(&run.buckets);
        let comma = if index == 0 { "" } else { "," };
        let count: u64 = run.buckets.iter().map(|bucket| bucket.count).sum();
        write!(answer, "{comma}{{\"run_id\":{},\"count\":{count}", quoted(run.run_id.as_str()))
            .expect("writing to memory");
        column(&mut answer, "steps", &points, |out, point| write!(out, "{}", point.step));
        column(&mut answer, "timestamps", &points, |out, point| write!(out, "{}", point.timestamp.millis()));
        column(&mut answer, "values", &points, |out, point| match point.value {
            value if value.is_nan() => out.write_str("\"NaN\""),
            value => write!(out, "{:?}", clamped(value)),
        });
        answer.push('}');
    }
    answer.push_str("]}");
    answer.into_bytes()
}

fn points(buckets: &[EnvelopeBucket]) -> Vec<Point> {
    let mut points = Vec::with_capacity(buckets.len() * 4);
    for bucket in buckets {
        let start = points.len();
        points.extend([Some(bucket.first), bucket.min, bucket.max, Some(bucket.last)].into_iter().flatten());
        points[start..].sort_by(Point::file_order);
    }
    points.dedup();
    points
}

fn column(answer: &mut String, name: &str, points: &[Point], one: impl Fn(&mut String, &Point) -> std::fmt::Result) {
    write!(answer, ",\"{name}\":[").expect("writing to memory");
    for (index, point) in points.iter().enumerate() {
        if index > 0 {
            answer.push(',');
        }
        one(answer, point).expect("writing to memory");
    }
    answer.push(']');
}
