//! The search index when a search does not come to its end.

use runlake_engine::search::{Column, LifecycleFilter, MetricField, NumberOp, Predicate, RunQuery};
use runlake_engine::{Access, Engine};
use runlake_testkit::{Fault, Gate, Verb};
use runlake_types::rows::{Lifecycle, Run, RunStatus};
use runlake_types::{ExperimentId, Timestamp, WriteBatch};

use crate::ledger::{batch, run_id, write_steps};
use crate::place::{self, Kind, open};

const EXPERIMENT: ExperimentId = ExperimentId::new(1);

async fn make_run(engine: &Engine) {
    let mut made = WriteBatch::default();
    made.put(&Run {
        run_id: run_id(0),
        experiment_id: EXPERIMENT,
        run_name: "run".into(),
        user_id: String::new(),
        status: RunStatus::Running,
        start_time: Some(Timestamp::from_micros(0)),
        end_time: None,
        lifecycle_stage: Lifecycle::Active,
        deleted_time: None,
        artifact_uri: String::new(),
        parent_run_id: None,
    });
    engine.write(made).await.expect("writes");
}

/// Runs whose metric `m` has that many points.
fn with_points(count: f64) -> RunQuery {
    let column = Column::Metric("m".into(), MetricField::Count);
    RunQuery {
        experiments: vec![EXPERIMENT],
        lifecycle: LifecycleFilter::Active,
        predicate: Some(Predicate::Number { column, op: NumberOp::Eq, value: count }),
        order: Vec::new(),
        after: None,
        limit: 10,
    }
}

/// A lake with one run of ten flushed points, an index that knows them, and one of the points sent again: to count it once
/// the next search has to read the history.
async fn doubtful(engine: &Engine) {
    make_run(engine).await;
    write_steps(engine, 0, 0, 10).await;
    engine.flush().await.expect("flushes");
    assert_eq!(engine.search_runs(with_points(10.0)).await.expect("searches").runs.len(), 1);
    engine.write(batch(0, 5)).await.expect("writes");
}

#[test]
fn a_search_that_fails_leaves_no_wrong_count() {
    place::run(async {
        let place = Kind::Memory.place().await;
        let (store, faulty) = place.faulty();
        let engine = open(&store, Access::Write).await;
        doubtful(&engine).await;
        faulty.plan(Verb::Get, "tables/metrics", Fault::Refuse);
        engine.search_runs(with_points(10.0)).await.expect_err("the history cannot be read");
        assert_eq!(engine.search_runs(with_points(10.0)).await.expect("searches").runs.len(), 1);
    });
}

#[test]
fn a_search_whose_client_went_away_leaves_no_wrong_count() {
    place::run(async {
        let place = Kind::Memory.place().await;
        let (store, faulty) = place.faulty();
        let engine = open(&store, Access::Write).await;
        doubtful(&engine).await;
        let gate = Gate::default();
        faulty.plan(Verb::Get, "tables/metrics", Fault::Pause(gate.clone()));
        let impatient = tokio::spawn({
            let engine = engine.clone();
            async move { engine.search_runs(with_points(10.0)).await }
        });
        gate.reached().await;
        impatient.abort();
        assert!(impatient.await.is_err_and(|error| error.is_cancelled()));
        gate.open();
        assert_eq!(engine.search_runs(with_points(10.0)).await.expect("searches").runs.len(), 1);
    });
}
