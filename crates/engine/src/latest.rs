//! `latest_metrics`: state derived from the facts.
//!
//! The table holds the aggregate of all flushed points of a series, a memtable the aggregate of its own points. Both merge
//! exactly where they share no point, which their ranges of (step, timestamp) tell in nearly every case. Where ranges
//! overlap (a batch sent twice, points out of order) the history decides: it is read and folded anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use runlake_types::rows::LatestMetric;
use runlake_types::{ExperimentId, MetricAggregate, Point, RunId, Timestamp};

use crate::{Result, View};

/// Runs whose flushed rows are read together.
const RUNS_AT_ONCE: usize = 4096;

/// What the points of one metric add up to, as far as it is known without its history.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub(crate) experiment_id: ExperimentId,
    pub(crate) aggregate: MetricAggregate,
    /// Parts may share points, so count and sum are only bounds.
    pub(crate) inexact: bool,
}

impl Merged {
    pub(crate) fn new(experiment_id: ExperimentId, aggregate: MetricAggregate) -> Self {
        Self { experiment_id, aggregate, inexact: false }
    }

    pub(crate) fn add(&mut self, aggregate: &MetricAggregate) {
        self.inexact |= self.aggregate.may_share_points(aggregate);
        self.aggregate = self.aggregate.merged(aggregate);
    }
}

pub(crate) async fn of_run(view: &View, run_id: &RunId) -> Result<Vec<LatestMetric>> {
    let flushed = view.of_run::<LatestMetric>(run_id).await?;
    let mut metrics: BTreeMap<Arc<str>, Merged> = flushed
        .into_iter()
        .map(|row| (row.key.as_str().into(), Merged::new(row.experiment_id, aggregate_of(&row))))
        .collect();
    for (id, rows) in view.series_of_run(run_id) {
        match metrics.get_mut(&id.key) {
            Some(merged) => merged.add(rows.aggregate()),
            None => {
                metrics.insert(Arc::clone(&id.key), Merged::new(rows.experiment_id(), *rows.aggregate()));
            }
        }
    }
    let mut latest = Vec::with_capacity(metrics.len());
    for (key, merged) in metrics {
        latest.push(exact(view, run_id, &key, merged).await?);
    }
    Ok(latest)
}

/// The rows of those metrics that have points in memory, of some runs, which ascend, or of all; in key order.
pub(crate) async fn changed(view: &View, of: Option<&[RunId]>) -> Result<Vec<LatestMetric>> {
    let mut runs: Vec<RunId> = match of {
        Some(runs) => runs.to_vec(),
        None => view.memtables().flat_map(|table| table.metrics().series()).map(|(id, _)| id.run_id.clone()).collect(),
    };
    runs.sort_unstable();
    runs.dedup();
    let mut rows = Vec::new();
    for runs in runs.chunks(RUNS_AT_ONCE) {
        changed_at_once(view, runs, &mut rows).await?;
    }
    Ok(rows)
}

async fn changed_at_once(view: &View, runs: &[RunId], rows: &mut Vec<LatestMetric>) -> Result<()> {
    let mut flushed = view.of_runs::<LatestMetric>(runs).await?.into_iter().peekable();
    for run_id in runs {
        let mut fresh: BTreeMap<&str, Merged> = BTreeMap::new();
        for (id, series) in view.series_of_run(run_id) {
            match fresh.get_mut(&*id.key) {
                Some(merged) => merged.add(series.aggregate()),
                None => {
                    fresh.insert(&id.key, Merged::new(series.experiment_id(), *series.aggregate()));
                }
            }
        }
        while let Some(row) = flushed.next_if(|row| row.run_id == *run_id) {
            if let Some(merged) = fresh.get_mut(row.key.as_str()) {
                merged.add(&aggregate_of(&row));
            }
        }
        for (key, merged) in fresh {
            rows.push(exact(view, run_id, key, merged).await?);
        }
    }
    Ok(())
}

/// The row of a metric, from its history where the parts may share points.
pub(crate) async fn exact(view: &View, run_id: &RunId, key: &str, merged: Merged) -> Result<LatestMetric> {
    let aggregate = if merged.inexact {
        MetricAggregate::of_all(view.history(run_id, key).await?).unwrap_or(merged.aggregate)
    } else {
        merged.aggregate
    };
    Ok(row_of(run_id, key, merged.experiment_id, &aggregate))
}

fn row_of(run_id: &RunId, key: &str, experiment_id: ExperimentId, aggregate: &MetricAggregate) -> LatestMetric {
    LatestMetric {
        run_id: run_id.clone(),
        key: key.to_owned(),
        experiment_id,
        step: aggregate.last.step,
        timestamp: aggregate.last.timestamp,
        value: aggregate.last.value,
        min: aggregate.min.map(|(value, _)| value),
        min_step: aggregate.min.map(|(_, step)| step),
        max: aggregate.max.map(|(value, _)| value),
        max_step: aggregate.max.map(|(_, step)| step),
        sum: aggregate.sum,
        count: i64::try_from(aggregate.count).unwrap_or(i64::MAX),
    }
}

/// Where the first point of a stored aggregate was is not stored, so it may overlap whatever comes before its last one.
pub(crate) const UNKNOWN_FIRST: (i64, Timestamp) = (i64::MIN, Timestamp::from_micros(i64::MIN));

/// The aggregate a row stands for.
pub(crate) fn aggregate_of(row: &LatestMetric) -> MetricAggregate {
    MetricAggregate {
        last: Point { step: row.step, timestamp: row.timestamp, value: row.value },
        first: UNKNOWN_FIRST,
        min: row.min.zip(row.min_step),
        max: row.max.zip(row.max_step),
        sum: row.sum,
        count: u64::try_from(row.count).unwrap_or(0),
    }
}
