//! A random sequence of operations against a plain model: answers are the same before and after flush, compaction,
//! restart and take-over.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use runlake_engine::search::{Column, LifecycleFilter, MetricField, NumberOp, OrderBy, Predicate, RunQuery, TextOp};
use runlake_engine::{Access, Engine};
use runlake_types::rows::{Lifecycle, Param, Row as _, Run, RunStatus, Tag};
use runlake_types::{ExperimentId, KeyBuilder, Point, RunId, Series, TableId, Timestamp, WriteBatch};

use crate::place::{self, Kind, Place, on_every_store, open};

const EXPERIMENT: ExperimentId = ExperimentId::new(1);

#[derive(Debug, Clone)]
enum Op {
    CreateRun(u8),
    Param { run: u8, key: u8, value: u8 },
    Tag { run: u8, key: u8, value: Option<u8> },
    Points { run: u8, key: u8, points: Vec<(i8, u8, i8)> },
    Flush,
    Compact,
    Reopen,
    TakeOver,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0u8..5).prop_map(Op::CreateRun),
        3 => (0u8..5, 0u8..3, 0u8..4).prop_map(|(run, key, value)| Op::Param { run, key, value }),
        3 => (0u8..5, 0u8..3, prop::option::of(0u8..4)).prop_map(|(run, key, value)| Op::Tag { run, key, value }),
        6 => (0u8..5, 0u8..2, prop::collection::vec((-2i8..6, 0u8..2, -2i8..3), 1..8))
            .prop_map(|(run, key, points)| Op::Points { run, key, points }),
        2 => Just(Op::Flush),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
        1 => Just(Op::TakeOver),
    ];
    prop::collection::vec(op, 1..30)
}

#[derive(Debug, Default, Clone)]
struct ModelRun {
    params: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    metrics: BTreeMap<String, Vec<Point>>,
}

fn run_id(run: u8) -> RunId {
    RunId::from_stored(&format!("{run:032x}"))
}

fn run_row(run: u8) -> Run {
    Run {
        run_id: run_id(run),
        experiment_id: EXPERIMENT,
        run_name: format!("run-{run}"),
        user_id: "somebody".into(),
        status: RunStatus::Running,
        start_time: (run != 3).then(|| Timestamp::from_micros(i64::from(run % 2) * 1000)),
        end_time: None,
        lifecycle_stage: Lifecycle::Active,
        deleted_time: None,
        artifact_uri: format!("mlflow-artifacts:/1/{}/artifacts", run_id(run)),
        parent_run_id: None,
    }
}

fn point((step, time, value): (i8, u8, i8)) -> Point {
    let value = if value == 2 { f64::NAN } else { f64::from(value) };
    Point { step: step.into(), timestamp: Timestamp::from_micros(time.into()), value }
}

struct World {
    place: Place,
    engine: Engine,
    model: BTreeMap<u8, ModelRun>,
}

impl World {
    async fn new(kind: Kind) -> Self {
        let place = kind.place().await;
        let engine = open(&place.store, Access::Write).await;
        Self { place, engine, model: BTreeMap::new() }
    }

    async fn apply(&mut self, op: &Op) {
        match op {
            Op::CreateRun(run) => {
                self.write(|batch| {
                    batch.put(&run_row(*run));
                })
                .await;
                self.model.entry(*run).or_default();
            }
            Op::Param { run, key, value } if self.model.contains_key(run) => {
                let row = Param {
                    run_id: run_id(*run),
                    key: format!("p{key}"),
                    experiment_id: EXPERIMENT,
                    value: value.to_string(),
                };
                self.write(|batch| {
                    batch.put(&row);
                })
                .await;
                self.run(*run).params.insert(row.key, row.value);
            }
            Op::Tag { run, key, value } if self.model.contains_key(run) => self.tag(*run, *key, *value).await,
            Op::Points { run, key, points } if self.model.contains_key(run) => self.points(*run, *key, points).await,
            Op::Flush => {
                self.engine.flush().await.expect("flushes");
            }
            Op::Compact => {
                self.engine.compact().await.expect("compacts");
            }
            Op::Reopen => {
                self.engine.close().await.expect("closes");
                self.engine = open(&self.place.store, Access::Write).await;
            }
            Op::TakeOver => {
                // The old engine is left as it is: whatever it acknowledged must be in the log or in files.
                self.engine = open(&self.place.store, Access::TakeOver).await;
            }
            Op::Param { .. } | Op::Tag { .. } | Op::Points { .. } => {}
        }
    }

    async fn write(&self, fill: impl FnOnce(&mut WriteBatch)) {
        let mut batch = WriteBatch::default();
        fill(&mut batch);
        self.engine.write(batch).await.expect("writes");
    }

    fn run(&mut self, run: u8) -> &mut ModelRun {
        self.model.get_mut(&run).expect("is there")
    }

    async fn tag(&mut self, run: u8, key: u8, value: Option<u8>) {
        let row = Tag {
            run_id: run_id(run),
            key: format!("t{key}"),
            experiment_id: EXPERIMENT,
            value: value.unwrap_or_default().to_string(),
        };
        self.write(|batch| {
            if value.is_some() {
                batch.put(&row);
            } else {
                batch.delete(TableId::Tags, row.key());
            }
        })
        .await;
        match value {
            Some(_) => self.run(run).tags.insert(row.key, row.value),
            None => self.run(run).tags.remove(&row.key),
        };
    }

    async fn points(&mut self, run: u8, key: u8, points: &[(i8, u8, i8)]) {
        let key = format!("m{key}");
        self.write(|batch| {
            let series = batch.metrics.add_series(Series {
                run_id: run_id(run),
                experiment_id: EXPERIMENT,
                key: key.as_str().into(),
                attribution: None,
            });
            for at in points {
                batch.metrics.push(series, point(*at));
            }
        })
        .await;
        let history = self.run(run).metrics.entry(key).or_default();
        history.extend(points.iter().map(|at| point(*at)));
        history.sort_by(Point::file_order);
        history.dedup();
    }

    async fn check(&self) {
        let view = self.engine.view();
        for (run, model) in &self.model {
            let id = run_id(*run);
            let key = KeyBuilder::default().text(id.as_str()).build();
            assert_eq!(view.get::<Run>(&key).await.expect("reads"), Some(run_row(*run)));
            let params = view.of_run::<Param>(&id).await.expect("reads");
            assert_eq!(params.into_iter().map(|row| (row.key, row.value)).collect::<BTreeMap<_, _>>(), model.params);
            let tags = view.of_run::<Tag>(&id).await.expect("reads");
            assert_eq!(tags.into_iter().map(|row| (row.key, row.value)).collect::<BTreeMap<_, _>>(), model.tags);
            self.check_metrics(&id, model).await;
        }
        self.check_search().await;
    }

    async fn check_metrics(&self, id: &RunId, model: &ModelRun) {
        let view = self.engine.view();
        let latest = view.latest(id).await.expect("reads");
        assert_eq!(latest.iter().map(|row| &row.key).collect::<Vec<_>>(), model.metrics.keys().collect::<Vec<_>>());
        for (row, (key, points)) in latest.iter().zip(&model.metrics) {
            assert_eq!(&view.history(id, key).await.expect("reads"), points, "{id} {key}");
            let last = points.iter().copied().max_by(Point::recency).expect("has points");
            assert!(last.recency(&Point { step: row.step, timestamp: row.timestamp, value: row.value }).is_eq());
            assert_eq!(usize::try_from(row.count).expect("counts"), points.len(), "{id} {key}");
            assert_eq!(row.min, least(points, f64::lt), "{id} {key}");
            assert_eq!(row.max, least(points, f64::gt), "{id} {key}");
            let sum: f64 = points.iter().map(|point| point.value).sum();
            assert_eq!(row.sum.is_nan(), sum.is_nan());
            assert!(sum.is_nan() || (row.sum - sum).abs() < 1e-9, "{id} {key}: {} {sum}", row.sum);
        }
    }

    async fn check_search(&self) {
        let mean = |model: &ModelRun| {
            let points = model.metrics.get("m0")?;
            Some(points.iter().map(|point| point.value).sum::<f64>() / points.len() as f64)
        };
        for ascending in [true, false] {
            let query = RunQuery {
                experiments: vec![EXPERIMENT],
                lifecycle: LifecycleFilter::Active,
                predicate: None,
                order: vec![OrderBy { column: Column::Metric("m0".into(), MetricField::Mean), ascending }],
                after: None,
                limit: 2,
            };
            let mut expected: Vec<_> = self.model.iter().map(|(run, model)| (mean(model), *run)).collect();
            expected.sort_by(|(a, x), (b, y)| {
                by_number(*a, *b, ascending)
                    .then_with(|| run_row(*y).start_time.cmp(&run_row(*x).start_time))
                    .then_with(|| x.cmp(y))
            });
            assert_eq!(self.all_pages(query).await, expected.iter().map(|(_, run)| run_id(*run)).collect::<Vec<_>>());
        }
        let query = RunQuery {
            experiments: vec![EXPERIMENT],
            lifecycle: LifecycleFilter::Active,
            predicate: Some(Predicate::Any(vec![
                Predicate::Number {
                    column: Column::Metric("m1".into(), MetricField::Count),
                    op: NumberOp::Gt,
                    value: 3.0,
                },
                Predicate::All(vec![
                    Predicate::Not(Box::new(Predicate::IsNull(Column::Tag("t0".into())))),
                    Predicate::Text { column: Column::Param("p0".into()), op: TextOp::Ne, value: "1".into() },
                ]),
            ])),
            order: Vec::new(),
            after: None,
            limit: 3,
        };
        let mut expected: Vec<u8> = self
            .model
            .iter()
            .filter(|(_, model)| {
                model.metrics.get("m1").is_some_and(|points| points.len() > 3)
                    || (model.tags.contains_key("t0") && model.params.get("p0").is_some_and(|value| value != "1"))
            })
            .map(|(run, _)| *run)
            .collect();
        expected.sort_by_key(|run| (std::cmp::Reverse(run_row(*run).start_time), *run));
        assert_eq!(self.all_pages(query).await, expected.into_iter().map(run_id).collect::<Vec<_>>());
    }

    async fn all_pages(&self, mut query: RunQuery) -> Vec<RunId> {
        let mut runs = Vec::new();
        loop {
            let page = self.engine.search_runs(query.clone()).await.expect("searches");
            for data in page.runs {
                let run = self.model.iter().find(|(run, _)| run_id(**run) == data.run.run_id).expect("is known");
                assert_eq!(data.params.into_iter().collect::<BTreeMap<_, _>>(), run.1.params);
                assert_eq!(data.tags.into_iter().collect::<BTreeMap<_, _>>(), run.1.tags);
                assert_eq!(data.metrics.len(), run.1.metrics.len());
                runs.push(data.run.run_id);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return runs,
            }
        }
    }
}

fn least(points: &[Point], wins: fn(&f64, &f64) -> bool) -> Option<f64> {
    points
        .iter()
        .map(|point| point.value)
        .filter(|value| !value.is_nan())
        .reduce(|a, b| if wins(&b, &a) { b } else { a })
}

fn by_number(a: Option<f64>, b: Option<f64>, ascending: bool) -> Ordering {
    let class = |value: Option<f64>| value.map_or(2, |value| u8::from(value.is_nan()));
    let values = a.zip(b).and_then(|(a, b)| a.partial_cmp(&b)).unwrap_or(Ordering::Equal);
    class(a).cmp(&class(b)).then(if ascending { values } else { values.reverse() })
}

on_every_store!(the_engine_answers_like_a_model);

fn the_engine_answers_like_a_model(kind: Kind) {
    let config = ProptestConfig {
        cases: kind.scaled(48, 8, 2),
        max_shrink_iters: kind.scaled(200, 50, 10),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let tested = TestRunner::new(config).run(&ops(), |ops| {
        place::run(live(kind, &ops));
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

async fn live(kind: Kind, ops: &[Op]) {
    let mut world = World::new(kind).await;
    for op in ops {
        world.apply(op).await;
        world.check().await;
    }
    world.engine.close().await.expect("closes");
}
