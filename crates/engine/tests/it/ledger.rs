//! Numbered writes, and what was said to whoever made them.

use std::collections::{BTreeMap, BTreeSet};

use runlake_engine::{Engine, Error, Result, View};
use runlake_types::rows::{Param, Tag};
use runlake_types::{ExperimentId, Point, RunId, Series, TableId, Timestamp, WriteBatch};

const EXPERIMENT: ExperimentId = ExperimentId::new(1);

/// Number of a write among those of its writer.
pub(crate) type Step = u64;

pub(crate) fn run_id(writer: u8) -> RunId {
    RunId::from_stored(&format!("{writer:032x}"))
}

fn param(step: Step) -> String {
    format!("p{step:06}")
}

/// Write `step` of `writer`: a point, a param of its own, and a tag that is overwritten. Whoever sees one sees all three.
pub(crate) fn batch(writer: u8, step: Step) -> WriteBatch {
    let mut batch = WriteBatch::default();
    let (run_id, experiment_id, value) = (run_id(writer), EXPERIMENT, step.to_string());
    batch.put(&Param { run_id: run_id.clone(), key: param(step), experiment_id, value: value.clone() });
    batch.put(&Tag { run_id: run_id.clone(), key: "last".into(), experiment_id, value });
    let series = batch.metrics.add_series(Series { run_id, experiment_id, key: "m".into(), attribution: None });
    let micros = i64::try_from(step).expect("is small");
    batch.metrics.push(series, Point { step: micros, timestamp: Timestamp::from_micros(micros), value: step as f64 });
    batch
}

/// The steps of `writer` that `view` shows, ascending. Fails the test when the tables contradict each other.
pub(crate) async fn seen(view: &View, writer: u8) -> Result<Vec<Step>> {
    let run_id = run_id(writer);
    let points = view.history(&run_id, "m").await?;
    let params = view.of_run::<Param>(&run_id).await?;
    let tags = view.of_run::<Tag>(&run_id).await?;
    let latest = view.latest(&run_id).await?;
    let steps: Vec<Step> = points.iter().map(|point| u64::try_from(point.step).expect("is not negative")).collect();
    assert!(steps.is_sorted_by(|a, b| a < b), "points come twice: {steps:?}");
    assert_eq!(
        params.into_iter().map(|row| row.key).collect::<Vec<_>>(),
        steps.iter().copied().map(param).collect::<Vec<_>>(),
        "params and points differ"
    );
    let last = steps.last().map(Step::to_string);
    assert_eq!(tags.into_iter().map(|row| row.value).collect::<Vec<_>>(), last.into_iter().collect::<Vec<_>>());
    assert_eq!(latest.len(), usize::from(!steps.is_empty()), "one metric, one row");
    for row in latest {
        assert_eq!(usize::try_from(row.count).expect("counts"), steps.len(), "latest_metrics and metrics differ");
        assert!((row.sum - steps.iter().sum::<Step>() as f64).abs() < 1e-6, "a sum of {} for {steps:?}", row.sum);
        assert_eq!(Some(row.step), points.last().map(|point| point.step));
    }
    Ok(steps)
}

/// What became of a writer's steps, as far as it was told.
#[derive(Debug, Default)]
struct Told {
    next: Step,
    acknowledged: BTreeSet<Step>,
    /// Neither acknowledged nor surely refused.
    unknown: BTreeSet<Step>,
}

/// What became of the steps of all writers.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeMap<u8, Told>);

impl Ledger {
    /// The first step that `writer` has not tried yet.
    pub(crate) fn next(&self, writer: u8) -> Step {
        self.0.get(&writer).map_or(0, |told| told.next)
    }

    /// Takes in the answers to the steps of `writer`, from [`Self::next`] on.
    pub(crate) fn note(&mut self, writer: u8, answers: Vec<Result<()>>) {
        let told = self.0.entry(writer).or_default();
        for answer in answers {
            match answer {
                Ok(()) => {
                    told.acknowledged.insert(told.next);
                }
                // These say that the write was not even begun.
                Err(Error::Stopped(_) | Error::Overloaded { .. }) => {}
                Err(_) => {
                    told.unknown.insert(told.next);
                }
            }
            told.next += 1;
        }
    }

    /// Whether every step was acknowledged or surely refused.
    pub(crate) fn is_certain(&self) -> bool {
        self.0.values().all(|told| told.unknown.is_empty())
    }

    /// Acknowledged writes are there, refused ones are not, the others are there wholly or not at all. From now on those
    /// count as acknowledged or refused.
    pub(crate) async fn settle(&mut self, view: &View) {
        for (writer, told) in &mut self.0 {
            let found: BTreeSet<Step> = seen(view, *writer).await.expect("reads").into_iter().collect();
            let lost: Vec<_> = told.acknowledged.difference(&found).collect();
            assert!(lost.is_empty(), "writer {writer}: acknowledged and lost: {lost:?}");
            let revenants: Vec<_> =
                found.iter().filter(|step| !told.acknowledged.contains(step) && !told.unknown.contains(step)).collect();
            assert!(revenants.is_empty(), "writer {writer}: refused and there: {revenants:?}");
            told.acknowledged = found;
            told.unknown.clear();
        }
    }

    /// The table files hold every write once, and nothing else. To be asked after a flush.
    pub(crate) fn check_files(&self, view: &View) {
        let writes: usize = self.0.values().map(|told| told.acknowledged.len()).sum();
        let writers = self.0.values().filter(|told| !told.acknowledged.is_empty()).count();
        let wanted = [
            (TableId::Metrics, writes),
            (TableId::Params, writes),
            (TableId::Tags, writers),
            (TableId::LatestMetrics, writers),
        ];
        for (table, rows) in wanted {
            assert_eq!(view.snapshot(table).rows(), rows as u64, "rows in the files of {table}");
        }
    }
}

/// Makes `count` writes one after the other, and stops after the first that fails.
pub(crate) async fn write_steps(engine: &Engine, writer: u8, from: Step, count: u64) -> Vec<Result<()>> {
    let mut answers = Vec::new();
    for step in from..from + count {
        let answer = engine.write(batch(writer, step)).await.map(drop);
        let failed = answer.is_err();
        answers.push(answer);
        if failed {
            break;
        }
    }
    answers
}
