//! Reading metric points: whole histories, samples, envelopes.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use runlake_engine::View;
use runlake_types::{Point, RunId, Timestamp, limits};

use crate::envelope::{Span, envelope, steps_within};
use crate::sample::{sample, sampled_numbers};
use crate::search::TokenScope;
use crate::{
    EnvelopeRequest, Envelopes, Error, MetricHistory, MetricHistoryBulk, MetricHistoryInterval, Page, Result,
    RunEnvelope, RunPoint, Tracking, validate,
};

/// Histories read at a time.
const READS: usize = 8;
/// Points of several histories that may stay in memory while their common range is found.
const KEPT_POINTS: usize = 4_000_000;
/// Points from which on it pays to read only the sampled ones.
const NUMBERED_FROM: usize = 50_000;
/// Buckets of an envelope when the caller does not say.
const BUCKETS: i64 = 500;

impl Tracking {
    /// A page of the points of one metric of one run, by (timestamp, step, value). No such run or key: no points.
    pub async fn metric_history(&self, request: &MetricHistory) -> Result<Page<Point>> {
        let limit = match request.max_results {
            None => usize::MAX,
            Some(count) => usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
                Error::invalid(format!(
                    "Invalid value {count} for parameter 'max_results' supplied. It must be a positive integer."
                ))
            })?,
        };
        let scope = TokenScope::history(&request.run_id, &request.metric_key);
        let after = scope.point(request.page_token.as_deref())?;
        let run_id = RunId::from_stored(&request.run_id);
        let view = self.inner.engine.view();
        let mut count = limit.saturating_add(1);
        loop {
            // A page in the middle of a long history costs its own length: only what was logged about then is read.
            let since = after.map_or(Timestamp::from_micros(i64::MIN), |after| after.timestamp);
            let (mut points, until) = view.history_since(&run_id, &request.metric_key, since, count).await?;
            points.retain(|point| {
                let comes_after = after.as_ref().is_none_or(|after| time_order(point, after).is_gt());
                comes_after && until.is_none_or(|until| point.timestamp <= until)
            });
            sort_by_time(&mut points);
            if points.len() <= limit && until.is_some() {
                // Points of the time of the last page's end, or flushed twice, were among those counted.
                count = count.saturating_mul(2);
                continue;
            }
            let more = points.len() > limit;
            points.truncate(limit);
            let next_page_token = points.last().filter(|_| more).map(|last| scope.point_token(last));
            return Ok(Page { items: points, next_page_token });
        }
    }

    /// Points of one metric of many runs, by run id, then (timestamp, step, value). Unknown runs are left out.
    pub async fn metric_history_bulk(&self, request: &MetricHistoryBulk) -> Result<Vec<RunPoint>> {
        let (given, most) = (request.run_ids.len(), limits::HISTORY_BULK_RUNS);
        if given == 0 {
            return Err(Error::invalid("GetMetricHistoryBulk request must specify at least one run_id."));
        }
        if given > most {
            return Err(Error::invalid(format!(
                "GetMetricHistoryBulk request cannot specify more than {most} run_ids. Received {given} run_ids."
            )));
        }
        let limit = match request.max_results {
            None => limits::HISTORY_PAGE_POINTS,
            Some(count) => usize::try_from(count)
                .map_err(|_| validate::invalid_value("max_results", &count.to_string(), "It must not be negative."))?
                .min(limits::HISTORY_PAGE_POINTS),
        };
        let view = self.inner.engine.view();
        let mut found = Vec::new();
        for run_id in request.run_ids.iter().collect::<BTreeSet<_>>() {
            let room = limit - found.len();
            if room == 0 {
                break;
            }
            let points = self.by_time(&view, run_id, &request.metric_key).await?;
            found.extend(of_run(run_id, points.into_iter().take(room)));
        }
        Ok(found)
    }

    /// A sample of the points of one metric of many runs, run by run; see [`sample`](crate::sample).
    pub async fn metric_history_interval(&self, request: &MetricHistoryInterval) -> Result<Vec<RunPoint>> {
        check_runs("GetMetricHistoryBulkInterval", &request.run_ids)?;
        check_key(&request.metric_key)?;
        let most = limits::HISTORY_INTERVAL_POINTS;
        let max_results = match request.max_results {
            None => most,
            Some(count) => usize::try_from(count)
                .ok()
                .filter(|count| (1..=most).contains(count))
                .ok_or_else(|| Error::invalid(format!("max_results must be between 1 and {most}.")))?,
        };
        let range = match (request.start_step, request.end_step) {
            (None, None) => i64::MIN..=i64::MAX,
            (Some(start), Some(end)) if start <= end => start..=end,
            (Some(start), Some(end)) => {
                return Err(Error::invalid(format!(
                    "end_step must be greater than start_step. Found start_step={start} and end_step={end}."
                )));
            }
            _ => {
                let why = "If either start step or end step are specified, both must be specified.";
                return Err(Error::invalid(why));
            }
        };
        let view = self.inner.engine.view();
        let (view, key, range) = (&view, request.metric_key.as_str(), &range);
        let reads: Vec<_> = request
            .run_ids
            .iter()
            .map(|run_id| async move {
                let points = sampled(view, run_id, key, range, max_results).await?;
                Ok::<_, Error>(of_run(run_id, points).collect())
            })
            .collect();
        let samples: Vec<Vec<RunPoint>> = stream::iter(reads).buffered(READS).try_collect().await?;
        Ok(samples.into_iter().flatten().collect())
    }

    /// Per run and bucket of steps the first, last, smallest and greatest point.
    pub async fn metric_envelopes(&self, request: &EnvelopeRequest) -> Result<Envelopes> {
        check_runs("Metric envelope", &request.run_ids)?;
        check_key(&request.metric_key)?;
        let most = limits::HISTORY_INTERVAL_POINTS;
        let buckets = request.buckets.unwrap_or(BUCKETS);
        let buckets = u32::try_from(buckets)
            .ok()
            .filter(|count| (1..=most).contains(&(*count as usize)))
            .ok_or_else(|| Error::invalid(format!("buckets must be between 1 and {most}.")))?;
        if let (Some(from), Some(to)) = (request.from_step, request.to_step)
            && from > to
        {
            return Err(Error::invalid(format!(
                "to_step must not be less than from_step. Found from_step={from} and to_step={to}."
            )));
        }
        let view = self.inner.engine.view();
        let mut kept = Kept::default();
        let (from, to) = match (request.from_step, request.to_step) {
            (Some(from), Some(to)) => (from, to),
            (from, to) => {
                let (first, last) = kept.fill(&view, request).await?;
                let (from, to) = (from.unwrap_or(first), to.unwrap_or(last));
                (from, to.max(from))
            }
        };
        let span = Span { from, to, buckets };
        let mut runs = Vec::new();
        for (at, run_id) in request.run_ids.iter().enumerate() {
            let points = match kept.take(at) {
                Some(points) => points,
                None => history(&view, run_id, &request.metric_key).await?,
            };
            let buckets = envelope(&points, &span);
            if !buckets.is_empty() {
                runs.push(RunEnvelope { run_id: RunId::from_stored(run_id), buckets });
            }
        }
        Ok(Envelopes { from_step: from, to_step: to, runs })
    }

    async fn by_time(&self, view: &View, run_id: &str, key: &str) -> Result<Vec<Point>> {
        let mut points = history(view, run_id, key).await?;
        sort_by_time(&mut points);
        Ok(points)
    }
}

/// Histories read to find their common range, as far as they may stay.
#[derive(Default)]
struct Kept {
    histories: Vec<Option<Vec<Point>>>,
}

impl Kept {
    /// Reads the histories; returns the first and last step there is (0 and 0 where there is none).
    async fn fill(&mut self, view: &View, request: &EnvelopeRequest) -> Result<(i64, i64)> {
        let mut ends: Option<(i64, i64)> = None;
        let mut points_kept = 0;
        for run_id in &request.run_ids {
            let points = history(view, run_id, &request.metric_key).await?;
            if let (Some(first), Some(last)) = (points.first(), points.last()) {
                let (from, to) = ends.unwrap_or((first.step, last.step));
                ends = Some((from.min(first.step), to.max(last.step)));
            }
            let stays = points_kept + points.len() <= KEPT_POINTS;
            points_kept += if stays { points.len() } else { 0 };
            self.histories.push(stays.then_some(points));
        }
        Ok(ends.unwrap_or_default())
    }

    fn take(&mut self, at: usize) -> Option<Vec<Point>> {
        self.histories.get_mut(at).and_then(Option::take)
    }
}

async fn history(view: &View, run_id: &str, key: &str) -> Result<Vec<Point>> {
    Ok(view.history(&RunId::from_stored(run_id), key).await?)
}

/// A sample of the points of one metric between two steps. Of a long history only what is taken is read, if that can be
/// told: nearly always, when all of it is asked for.
async fn sampled(
    view: &View,
    run_id: &str,
    key: &str,
    range: &RangeInclusive<i64>,
    wanted: usize,
) -> Result<Vec<Point>> {
    if let Some(series) = view.numbered_history(&RunId::from_stored(run_id), key).await?
        && series.len() >= NUMBERED_FROM
        && series.steps().is_some_and(|(first, last)| range.contains(&first) && range.contains(&last))
    {
        let numbers = sampled_numbers(series.len(), wanted);
        return Ok(series.points_at(&numbers).await.map_err(runlake_engine::Error::from)?);
    }
    let points = history(view, run_id, key).await?;
    Ok(sample(steps_within(&points, *range.start(), *range.end()), wanted))
}

fn of_run(run_id: &str, points: impl IntoIterator<Item = Point>) -> impl Iterator<Item = RunPoint> {
    let run_id = RunId::from_stored(run_id);
    points.into_iter().map(move |point| RunPoint { run_id: run_id.clone(), point })
}

fn sort_by_time(points: &mut [Point]) {
    if !points.is_sorted_by(|a, b| time_order(a, b).is_le()) {
        points.sort_unstable_by(time_order);
    }
}

/// MLflow's order of a history: by timestamp, then step, then value, NaN as a 0 after the others.
fn time_order(a: &Point, b: &Point) -> Ordering {
    (a.timestamp, a.step).cmp(&(b.timestamp, b.step)).then_with(|| value_order(a, b))
}

/// By value, NaN as a 0 after the others; total.
pub(crate) fn value_order(a: &Point, b: &Point) -> Ordering {
    let number = |point: &Point| if point.value.is_nan() { 0.0 } else { point.value };
    let (x, y) = (number(a), number(b));
    let by_number = x.partial_cmp(&y).unwrap_or(Ordering::Equal);
    by_number.then_with(|| a.value.is_nan().cmp(&b.value.is_nan())).then_with(|| a.value.total_cmp(&b.value))
}

fn check_runs(request: &str, run_ids: &[String]) -> Result<()> {
    let (given, most) = (run_ids.len(), limits::HISTORY_BULK_RUNS);
    if given == 0 {
        return Err(Error::invalid("Missing value for required parameter 'run_ids'."));
    }
    if given > most {
        return Err(Error::invalid(format!(
            "{request} request must specify at most {most} run_ids. Received {given} run_ids."
        )));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("Missing value for required parameter 'metric_key'."));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
