//! Many runs as Arrow batches, in the columns of bulk ingest.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::ArrowError;

use crate::runs::Made;

/// Points of one batch at most.
const MOST_POINTS: usize = 1 << 18;

/// See the module.
#[derive(Debug)]
pub struct Batch {
    /// For the target `runs`.
    pub runs: RecordBatch,
    /// For `params`.
    pub params: RecordBatch,
    /// For `tags`.
    pub tags: RecordBatch,
    /// For `metrics`.
    pub metrics: Vec<RecordBatch>,
    /// What it was made of, without the curves.
    pub made: Vec<Made>,
}

impl Batch {
    /// Of runs whose experiments have these ids.
    pub fn of(mut made: Vec<Made>, experiment_ids: &[String]) -> Result<Self, ArrowError> {
        let runs = RecordBatch::try_from_iter([
            ("run_id", texts(made.iter().map(|run| run.run_id.as_str()))),
            ("experiment_id", texts(made.iter().map(|run| experiment_ids[run.experiment].as_str()))),
            ("run_name", texts(made.iter().map(|run| run.name.as_str()))),
            ("user_id", texts(made.iter().map(|run| run.user))),
            ("status", texts(made.iter().map(|run| run.status.as_str()))),
            ("start_time", times(made.iter().map(|run| Some(run.start_ms)))),
            ("end_time", times(made.iter().map(|run| run.end_ms))),
            (
                "parent_run_id",
                Arc::new(made.iter().map(|run| run.parent.as_deref()).collect::<StringArray>()) as ArrayRef,
            ),
        ])?;
        let params = pairs(&made, |run| &run.params)?;
        let tags = pairs(&made, |run| &run.tags)?;
        let mut metrics = Vec::new();
        let mut from = 0;
        while from < made.len() {
            let mut points = 0;
            let fit = made[from..].iter().take_while(|run| {
                points += run.points();
                points <= MOST_POINTS
            });
            let to = from + fit.count().max(1);
            let points = points_of(&made[from..to])?;
            // A single run may have more than fit.
            let starts = (0..points.num_rows()).step_by(MOST_POINTS);
            metrics.extend(starts.map(|at| points.slice(at, MOST_POINTS.min(points.num_rows() - at))));
            from = to;
        }
        for run in &mut made {
            run.series = Vec::new();
        }
        Ok(Self { runs, params, tags, metrics, made })
    }

    /// Points of all runs.
    pub fn points(&self) -> usize {
        self.metrics.iter().map(RecordBatch::num_rows).sum()
    }
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(texts.map(Some).collect::<StringArray>())
}

fn times(times: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(times.collect::<TimestampMillisecondArray>())
}

fn pairs(made: &[Made], of: impl Fn(&Made) -> &Vec<(&'static str, String)>) -> Result<RecordBatch, ArrowError> {
    let all = || made.iter().flat_map(|run| of(run).iter().map(move |pair| (run, pair)));
    RecordBatch::try_from_iter([
        ("run_id", texts(all().map(|(run, _)| run.run_id.as_str()))),
        ("key", texts(all().map(|(_, (key, _))| *key))),
        ("value", texts(all().map(|(_, (_, value))| value.as_str()))),
    ])
}

fn points_of(made: &[Made]) -> Result<RecordBatch, ArrowError> {
    let count = made.iter().map(Made::points).sum();
    let (mut runs, mut keys) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut values, mut steps, mut stamps) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    let mut names: Vec<&'static str> = Vec::new();
    for (number, run) in (0_i32..).zip(made) {
        for series in &run.series {
            let key = names.iter().position(|name| *name == series.key).unwrap_or_else(|| {
                names.push(series.key);
                names.len() - 1
            });
            let key = i32::try_from(key).unwrap_or(i32::MAX);
            for (step, value) in &series.points {
                runs.push(number);
                keys.push(key);
                values.push(*value);
                steps.push(*step);
                stamps.push(run.time_ms(*step));
            }
        }
    }
    let named = |codes: Vec<i32>, names: ArrayRef| -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(DictionaryArray::try_new(Int32Array::from(codes), names)?))
    };
    RecordBatch::try_from_iter([
        ("run_id", named(runs, texts(made.iter().map(|run| run.run_id.as_str())))?),
        ("key", named(keys, texts(names.into_iter()))?),
        ("value", Arc::new(Float64Array::from(values)) as ArrayRef),
        ("step", Arc::new(Int64Array::from(steps))),
        ("timestamp", Arc::new(TimestampMillisecondArray::from(stamps))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Runs, Scale};

    #[test]
    fn no_batch_is_larger_than_ingest_takes_and_no_point_is_lost() {
        let made: Vec<Made> = Runs::new(Scale { runs: 3, points: 400_000, seed: 3 }).collect();
        let points: usize = made.iter().map(Made::points).sum();
        let ids = ["1", "2", "3"].map(str::to_owned);
        let batch = Batch::of(made, &ids).expect("a batch");
        assert!(batch.metrics.len() > 3 && batch.metrics.iter().all(|part| part.num_rows() <= MOST_POINTS));
        assert_eq!((batch.points(), batch.runs.num_rows()), (points, 3));
        assert!(batch.made.iter().all(|run| run.series.is_empty()));
    }
}
