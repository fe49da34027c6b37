//! Where the lakes of the tests are.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use runlake_engine::{Access, Engine, Result, Settings, WalSettings};
use runlake_storage::{Store, StoreSettings};
use runlake_testkit::FaultyStore;

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Local,
    /// The store that `RUNLAKE_TEST_LAKE` names.
    Named,
}

/// An empty store for one lake.
pub(crate) struct Place {
    pub(crate) store: Store,
    _folder: Option<tempfile::TempDir>,
}

impl Kind {
    pub(crate) async fn place(self) -> Place {
        let folder = (self == Self::Local).then(|| tempfile::tempdir().expect("makes a folder"));
        let location = match (&folder, self) {
            (Some(folder), _) => folder.path().to_str().expect("is text").to_owned(),
            (None, Self::Named) => {
                let named = std::env::var("RUNLAKE_TEST_LAKE").expect("RUNLAKE_TEST_LAKE names a store");
                format!("{}/{}", named.trim_end_matches('/'), runlake_storage::nonce())
            }
            (None, _) => "memory://".to_owned(),
        };
        let store = Store::open(&location, &StoreSettings::default()).await.expect("opens");
        Place { store, _folder: folder }
    }

    /// Whether the log consists of created objects.
    pub(crate) fn has_object_log(self) -> bool {
        self != Self::Local
    }

    /// How much of something to do: stores differ in speed.
    pub(crate) fn scaled<T>(self, memory: T, local: T, named: T) -> T {
        match self {
            Self::Memory => memory,
            Self::Local => local,
            Self::Named => named,
        }
    }
}

impl Place {
    /// The same store with faults, none yet.
    pub(crate) fn faulty(&self) -> (Store, Arc<FaultyStore>) {
        let faulty = FaultyStore::over(self.store.objects());
        (self.store.with_objects(Arc::clone(&faulty) as _), faulty)
    }
}

/// Settings under which nothing happens by itself, and a log that does not dawdle.
pub(crate) fn settings(access: Access) -> Settings {
    Settings {
        access,
        flush_interval: Duration::from_hours(1),
        compact_interval: Duration::from_hours(1),
        refresh_interval: Duration::from_millis(20),
        wal: WalSettings {
            object_linger: Duration::ZERO,
            segment_bytes: 1 << 20,
            watch_interval: Duration::from_millis(20),
            ..WalSettings::default()
        },
        ..Settings::default()
    }
}

pub(crate) async fn try_open(store: &Store, access: Access) -> Result<Engine> {
    Engine::open(store.clone(), settings(access), runlake_testkit::clock()).await
}

pub(crate) async fn open(store: &Store, access: Access) -> Engine {
    try_open(store, access).await.expect("opens")
}

/// Runs a scenario on a runtime of its own, and fails when it hangs.
pub(crate) fn run<T>(scenario: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("starts");
    let limit = Duration::from_mins(3);
    let done = runtime.block_on(async { tokio::time::timeout(limit, scenario).await.expect("does not hang") });
    // Engines that were left behind as after a crash still have threads; they are not waited for.
    runtime.shutdown_background();
    done
}

/// Tests that run a scenario, a function of the [`Kind`] of store, on each.
macro_rules! on_every_store {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            use crate::place::Kind;

            #[test]
            fn in_memory() {
                super::$scenario(Kind::Memory);
            }

            #[test]
            fn on_local_files() {
                super::$scenario(Kind::Local);
            }

            #[test]
            #[ignore = "needs RUNLAKE_TEST_LAKE; the `stores` tests of the workspace run it"]
            fn on_the_named_store() {
                super::$scenario(Kind::Named);
            }
        }
    )+};
}

pub(crate) use on_every_store;
