//! `metric_envelope`: a long history in few rows, without losing a spike.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use runlake_tracking::{EnvelopeBucket, Span, envelope};
use runlake_types::rows::Run;
use runlake_types::{KeyBuilder, Point, RunId};

use super::{Arguments, Lake, Signature};
use crate::{Error, Result};

pub(super) static SIGNATURE: Signature = Signature {
    name: "metric_envelope",
    usage: "metric_envelope('<run id>', '<metric>', buckets [, from_step, to_step])",
};

/// Buckets of an answer.
const BUCKETS: i64 = 1_000_000;

/// The steps of a metric (or those from `from_step` to `to_step`, both included) cut into buckets of equal width, one row
/// each: first, last, smallest and greatest value with their steps, and how many points there are. Empty buckets are
/// left out; NaN counts, and is neither smallest nor greatest.
pub(super) async fn rows(lake: &Lake, arguments: &Arguments) -> Result<RecordBatch> {
    arguments.count(3..=5)?;
    let (run_id, key) = (arguments.text(0)?, arguments.text(1)?);
    let buckets = arguments.int(2)?.filter(|buckets| (1..=BUCKETS).contains(buckets));
    let buckets = buckets.ok_or_else(|| Error::Invalid(format!("buckets must be between 1 and {BUCKETS}")))?;
    let run: Option<Run> = lake.view.get(&KeyBuilder::default().text(run_id).build()).await?;
    if run.is_none() {
        return Err(Error::NotFound(format!("there is no run {run_id:?}")));
    }
    let points = lake.view.history(&RunId::from_stored(run_id), key).await?;
    let from = arguments.int(3)?.or_else(|| points.first().map(|point| point.step)).unwrap_or(0);
    let to = arguments.int(4)?.or_else(|| points.last().map(|point| point.step)).unwrap_or(from).max(from);
    let span = Span { from, to, buckets: u32::try_from(buckets).expect("it is below the limit above") };
    batch(&envelope(&points, &span))
}

fn batch(buckets: &[EnvelopeBucket]) -> Result<RecordBatch> {
    let value = |of: fn(&EnvelopeBucket) -> Option<Point>| -> ArrayRef {
        Arc::new(buckets.iter().map(|bucket| of(bucket).map(|point| point.value)).collect::<Float64Array>())
    };
    let step = |of: fn(&EnvelopeBucket) -> Option<Point>| -> ArrayRef {
        Arc::new(buckets.iter().map(|bucket| of(bucket).map(|point| point.step)).collect::<Int64Array>())
    };
    let count = |of: fn(&EnvelopeBucket) -> u64| -> ArrayRef {
        Arc::new(buckets.iter().map(|bucket| Some(of(bucket))).collect::<UInt64Array>())
    };
    let numbers: UInt32Array = buckets.iter().map(|bucket| Some(bucket.index)).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("bucket", Arc::new(numbers) as ArrayRef, false),
        ("first_step", step(|bucket| Some(bucket.first)), false),
        ("first", value(|bucket| Some(bucket.first)), false),
        ("last_step", step(|bucket| Some(bucket.last)), false),
        ("last", value(|bucket| Some(bucket.last)), false),
        ("min_step", step(|bucket| bucket.min), true),
        ("min", value(|bucket| bucket.min), true),
        ("max_step", step(|bucket| bucket.max), true),
        ("max", value(|bucket| bucket.max), true),
        ("count", count(|bucket| bucket.count), false),
        ("nan_count", count(|bucket| bucket.nan_count), false),
    ])?)
}
