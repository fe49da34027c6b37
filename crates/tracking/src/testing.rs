//! What the tests of this crate share: a lake in memory, and a clock that stands still.

use std::borrow::Cow;
use std::sync::Arc;

use runlake_engine::{Engine, Settings};
use runlake_storage::{Store, StoreSettings};
use runlake_types::{ManualClock, Timestamp};

use crate::{
    CreateExperiment, CreateRun, KeyValue, LogBatch, MetricInput, Result, RunInfo, Tracking, TrackingSettings,
};

/// Where the clock stands at first.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

pub(crate) struct Lake {
    pub(crate) tracking: Tracking,
    pub(crate) clock: Arc<ManualClock>,
    store: Store,
}

impl std::ops::Deref for Lake {
    type Target = Tracking;

    fn deref(&self) -> &Tracking {
        &self.tracking
    }
}

impl Lake {
    pub(crate) async fn open() -> Self {
        Self::open_with(TrackingSettings::default()).await
    }

    pub(crate) async fn open_with(settings: TrackingSettings) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START_MS).expect("fits")));
        let store = Store::open("memory://", &StoreSettings::default()).await.expect("opens");
        Self::open_at(store, clock, settings).await
    }

    async fn open_at(store: Store, clock: Arc<ManualClock>, settings: TrackingSettings) -> Self {
        let engine = Engine::open(store.clone(), Settings::default(), Arc::clone(&clock) as _).await.expect("opens");
        Self { tracking: Tracking::open(engine, settings).await.expect("opens"), clock, store }
    }

    /// Closes the lake and opens it again from what was stored.
    pub(crate) async fn reopened(self) -> Self {
        self.engine().close().await.expect("closes");
        Self::open_at(self.store.clone(), Arc::clone(&self.clock), self.settings().clone()).await
    }

    pub(crate) async fn experiment(&self, name: &str) -> String {
        let request = CreateExperiment { name: name.into(), ..CreateExperiment::default() };
        self.create_experiment(request).await.expect("made").to_string()
    }

    /// A new run, and its id.
    pub(crate) async fn run(&self, experiment_id: &str) -> String {
        self.run_with(experiment_id, |_| ()).await.run.run_id.to_string()
    }

    pub(crate) async fn run_with(&self, experiment_id: &str, adapt: impl FnOnce(&mut CreateRun)) -> RunInfo {
        let mut request =
            CreateRun { experiment_id: experiment_id.into(), start_time: Some(START_MS), ..CreateRun::default() };
        adapt(&mut request);
        self.create_run(request).await.expect("made")
    }

    pub(crate) async fn metrics(&self, run_id: &str, metrics: &[MetricInput<'_>]) -> Result<()> {
        self.log_batch(LogBatch { run_id, metrics, params: &[], tags: &[] }).await
    }

    pub(crate) async fn params(&self, run_id: &str, params: &[KeyValue<'_>]) -> Result<()> {
        self.log_batch(LogBatch { run_id, metrics: &[], params, tags: &[] }).await
    }

    pub(crate) async fn tags(&self, run_id: &str, tags: &[KeyValue<'_>]) -> Result<()> {
        self.log_batch(LogBatch { run_id, metrics: &[], params: &[], tags }).await
    }
}

/// A point at a step, at that many milliseconds.
pub(crate) fn metric(key: &str, step: i64, value: f64) -> MetricInput<'_> {
    MetricInput {
        key: Cow::Borrowed(key),
        value,
        timestamp_ms: step.max(0),
        step,
        model_id: None,
        dataset_name: None,
        dataset_digest: None,
    }
}

pub(crate) fn pair<'a>(key: &'a str, value: &'a str) -> KeyValue<'a> {
    KeyValue { key, value }
}

/// The value under a key.
pub(crate) fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
}

/// What a refused request says.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("refused").to_string()
}
