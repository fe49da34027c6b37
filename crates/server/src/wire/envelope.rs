//! `GET /api/runlake/metrics/envelope`: metrics of many runs reduced to what a chart of that width can show.
//!
//! `?run_ids=a&run_ids=b&metric_key=loss&buckets=500&from_step=0&to_step=99999` (the last three optional).

use runlake_tracking::{EnvelopeBucket, EnvelopeRequest, Envelopes, RunEnvelope};
use runlake_types::Point;
use serde::Serialize;

use super::{Double, Fields};
use crate::error::Result;

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
}

/// The answer.
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
