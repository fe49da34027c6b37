//! Queries over a lake whose rows are partly in files and partly in memory.

mod functions;
mod gate;
mod limits;
mod model;
mod rows;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use runlake_engine::Engine;
use runlake_storage::{Store, StoreSettings};
use runlake_tracking::{CreateExperiment, CreateRun, KeyValue, LogBatch, MetricInput, Tracking, TrackingSettings};
use runlake_types::{Clock, SystemClock};

use crate::{Error, Queries, Request, Settings};

struct Lake {
    tracking: Tracking,
    queries: Queries,
}

impl Lake {
    async fn open() -> Self {
        Self::with(Settings { threads: 2, ..Settings::default() }).await
    }

    async fn with(settings: Settings) -> Self {
        let store = Store::open("memory://", &StoreSettings::default()).await.expect("opens");
        Self::over(store, settings).await
    }

    async fn over(store: Store, settings: Settings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let engine = Engine::open(store, runlake_engine::Settings::default(), clock).await.expect("opens");
        let tracking = Tracking::open(engine.clone(), TrackingSettings::default()).await.expect("opens");
        Self { tracking, queries: Queries::new(engine, settings).expect("starts") }
    }

    async fn experiment(&self, name: &str) -> String {
        let request = CreateExperiment { name: name.into(), ..CreateExperiment::default() };
        self.tracking.create_experiment(request).await.expect("made").to_string()
    }

    async fn run_in(&self, experiment: &str, name: &str) -> String {
        let request = CreateRun {
            experiment_id: experiment.into(),
            run_name: Some(name.into()),
            start_time: Some(1_700_000_000_000),
            ..CreateRun::default()
        };
        self.tracking.create_run(request).await.expect("made").run.run_id.to_string()
    }

    async fn metrics(&self, run_id: &str, key: &str, points: impl IntoIterator<Item = (i64, f64)>) {
        let metrics: Vec<_> = points
            .into_iter()
            .map(|(step, value)| MetricInput { step, timestamp_ms: 1_000 + step, ..point(key, value) })
            .collect();
        for metrics in metrics.chunks(1000) {
            self.log(LogBatch { run_id, metrics, params: &[], tags: &[] }).await;
        }
    }

    async fn params(&self, run_id: &str, params: &[(&str, &str)]) {
        let params: Vec<_> = params.iter().map(|(key, value)| KeyValue { key, value }).collect();
        self.log(LogBatch { run_id, metrics: &[], params: &params, tags: &[] }).await;
    }

    async fn tags(&self, run_id: &str, tags: &[(&str, &str)]) {
        let tags: Vec<_> = tags.iter().map(|(key, value)| KeyValue { key, value }).collect();
        self.log(LogBatch { run_id, metrics: &[], params: &[], tags: &tags }).await;
    }

    async fn log(&self, batch: LogBatch<'_>) {
        self.tracking.log_batch(batch).await.expect("logged");
    }

    async fn flush(&self) {
        self.tracking.engine().flush().await.expect("flushes");
    }

    async fn batches(&self, request: Request) -> Result<Vec<RecordBatch>, Error> {
        self.queries.run(request).await?.try_collect().await
    }

    /// The answer as lines of cells with bars between them.
    async fn ask(&self, sql: &str) -> Vec<String> {
        lines(&self.batches(Request::new(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}")))
    }

    async fn refusal(&self, sql: &str) -> Error {
        match self.batches(Request::new(sql)).await {
            Ok(rows) => panic!("{sql} was answered: {:?}", lines(&rows)),
            Err(error) => error,
        }
    }
}

fn point(key: &str, value: f64) -> MetricInput<'_> {
    MetricInput {
        key: key.into(),
        value,
        timestamp_ms: 1_000,
        step: 0,
        model_id: None,
        dataset_name: None,
        dataset_digest: None,
    }
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("shown")).collect();
        lines.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    lines
}
