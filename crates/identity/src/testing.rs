//! What the tests of this crate share: a lake in memory, a clock that stands still, hashes that cost nothing.

use std::sync::Arc;

use runlake_engine::{Engine, Settings};
use runlake_storage::{Store, StoreSettings};
use runlake_types::{ManualClock, Timestamp};

use crate::{Credentials, Identity, IdentitySettings, NewUser, Result, Role, Scope};

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Lake {
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<ManualClock>,
    store: Store,
}

impl std::ops::Deref for Lake {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl Lake {
    pub(crate) async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
        let store = Store::open("memory://", &StoreSettings::default()).await.expect("opens");
        Self::open_at(store, clock).await
    }

    async fn open_at(store: Store, clock: Arc<ManualClock>) -> Self {
        let engine = Engine::open(store.clone(), Settings::default(), Arc::clone(&clock) as _).await.expect("opens");
        let settings = IdentitySettings { hash_memory_kib: 8, hash_passes: 1, ..IdentitySettings::default() };
        Self { identity: Identity::open(engine, &settings).await.expect("opens"), clock, store }
    }

    /// Closes the lake and opens it again from what was stored.
    pub(crate) async fn reopened(self) -> Self {
        self.inner.engine.close().await.expect("closes");
        Self::open_at(self.store.clone(), Arc::clone(&self.clock)).await
    }

    /// Makes a user with [`PASSWORD`].
    pub(crate) async fn user(&self, name: &str, roles: &[(Scope, Role)]) -> Result<()> {
        let user =
            NewUser { name: name.into(), password: Some(PASSWORD.into()), roles: roles.to_vec(), is_first: false };
        self.create_user(user, "root").await.map(drop)
    }

    pub(crate) fn seconds(&self, seconds: i64) {
        self.clock.advance(seconds * 1_000_000);
    }
}

pub(crate) fn password(name: &str, password: &str) -> Credentials {
    Credentials::Password { name: name.into(), password: password.into() }
}
