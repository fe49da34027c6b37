//! What the tests of this crate share: a registry over a lake in memory, and a clock that stands still.

use std::sync::Arc;

use runlake_engine::{Engine, Settings};
use runlake_storage::{Store, StoreSettings};
use runlake_tracking::{CreateLoggedModel, CreateRun, Tracking, TrackingSettings};
use runlake_types::{ManualClock, Timestamp};

use crate::{Acting, CreateModel, CreateVersion, Registry, Result};

/// Where the clock stands at first.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

pub(crate) struct Lake {
    pub(crate) registry: Registry,
    pub(crate) tracking: Tracking,
    pub(crate) clock: Arc<ManualClock>,
    store: Store,
}

impl std::ops::Deref for Lake {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.registry
    }
}

impl Lake {
    pub(crate) async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START_MS).expect("fits")));
        let store = Store::open("memory://", &StoreSettings::default()).await.expect("opens");
        Self::open_at(store, clock).await
    }

    async fn open_at(store: Store, clock: Arc<ManualClock>) -> Self {
        let engine = Engine::open(store.clone(), Settings::default(), Arc::clone(&clock) as _).await.expect("opens");
        let tracking = Tracking::open(engine, TrackingSettings::default()).await.expect("opens");
        Self { registry: Registry::new(tracking.clone()), tracking, clock, store }
    }

    /// Closes the lake and opens it again from what was stored.
    pub(crate) async fn reopened(self) -> Self {
        self.tracking.engine().close().await.expect("closes");
        Self::open_at(self.store.clone(), Arc::clone(&self.clock)).await
    }

    pub(crate) async fn flush(&self) {
        self.tracking.engine().flush().await.expect("flushes");
    }

    /// Changes in nobody's name.
    pub(crate) fn edit(&self) -> Acting<'_> {
        self.registry.acting(None)
    }

    pub(crate) async fn model(&self, name: &str) {
        let request = CreateModel { name: name.into(), ..CreateModel::default() };
        self.edit().create_model(request).await.expect("made");
    }

    /// A new version with files somewhere else; its number.
    pub(crate) async fn version(&self, name: &str) -> i64 {
        self.version_of(name, "s3://bucket/model", None, None).await.expect("made").version.version
    }

    pub(crate) async fn version_of(
        &self,
        name: &str,
        source: &str,
        run_id: Option<&str>,
        model_id: Option<&str>,
    ) -> Result<crate::VersionInfo> {
        let request = CreateVersion {
            name: name.into(),
            source: source.into(),
            run_id: run_id.map(str::to_owned),
            model_id: model_id.map(str::to_owned),
            ..CreateVersion::default()
        };
        self.edit().create_version(request).await
    }

    /// A new run of the Default experiment; its id.
    pub(crate) async fn run(&self) -> String {
        let request = CreateRun { experiment_id: "0".into(), ..CreateRun::default() };
        self.tracking.create_run(request).await.expect("made").run.run_id.to_string()
    }

    /// A new logged model of a run; its id.
    pub(crate) async fn logged_model(&self, run_id: &str) -> String {
        let request = CreateLoggedModel {
            experiment_id: "0".into(),
            name: Some("m".into()),
            source_run_id: Some(run_id.into()),
            ..CreateLoggedModel::default()
        };
        self.tracking.create_logged_model(request).await.expect("made").model.model_id.to_string()
    }
}

/// What a refused request says.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("refused").to_string()
}
