//! Who a caller is, and what they may do: users, service tokens, roles, sessions.
//!
//! [`Identity`] keeps the few users of a lake in memory, over three state tables. It checks passwords, tokens and
//! sessions and answers with a [`Principal`]; which role a request needs is the doors' business. Nothing here knows
//! HTTP. A secret is stored as an Argon2 hash only; one that was found right is remembered by a keyed hash, for as long
//! as the process lives, so that the slow hash runs once and not with each request.

mod change;
mod credentials;
mod directory;
mod error;
mod grants;
mod hashing;
mod login;
mod names;
mod secret;
mod sessions;
mod setup;
mod throttle;

pub use change::{CreatedToken, NewToken, NewUser, OldTokens, TokenInfo, UserInfo};
pub use credentials::Credentials;
pub use error::{Error, Result};
pub use grants::{Grants, Scope};
pub use login::{Means, Principal};
pub use runlake_types::rows::Role;
pub use sessions::NewSession;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use runlake_engine::Engine;
use runlake_types::Timestamp;
use rustc_hash::FxHashSet;

use crate::directory::Directory;
use crate::hashing::Hasher;
use crate::secret::{Fingerprint, Fingerprints};
use crate::sessions::Sessions;
use crate::setup::Setup;
use crate::throttle::Throttle;

/// What can be set about identity.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// Memory that one Argon2 hash takes, in KiB.
    pub hash_memory_kib: u32,
    /// Passes over that memory.
    pub hash_passes: u32,
    /// How long a log-in in a browser lasts.
    pub session_lifetime: Duration,
}

impl Default for IdentitySettings {
    /// The costs are OWASP's first choice for Argon2id.
    fn default() -> Self {
        Self { hash_memory_kib: 19 * 1024, hash_passes: 2, session_lifetime: Duration::from_hours(12) }
    }
}

/// The users of one lake. Clones share everything.
#[derive(Debug, Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    directory: RwLock<Directory>,
    /// Held while users, tokens or roles change: a change is checked and written as one.
    changing: tokio::sync::Mutex<()>,
    hasher: Hasher,
    fingerprints: Fingerprints,
    /// Secrets that were found right, with the hash they were right for.
    verified: Mutex<FxHashSet<Fingerprint>>,
    throttle: Throttle,
    sessions: Sessions,
    setup: Setup,
}

impl Identity {
    /// Reads the users of a lake.
    pub async fn open(engine: Engine, settings: &IdentitySettings) -> Result<Self> {
        let directory = Directory::load(&engine.view()).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                directory: RwLock::new(directory),
                changing: tokio::sync::Mutex::default(),
                hasher: Hasher::new(settings)?,
                fingerprints: Fingerprints::new()?,
                verified: Mutex::default(),
                throttle: Throttle::default(),
                sessions: Sessions::new(settings.session_lifetime),
                setup: Setup::default(),
            }),
        })
    }

    /// Looks at the users. Where another process writes the lake, a newer state is read first.
    async fn directory<T>(&self, look: impl FnOnce(&Directory) -> T) -> Result<T> {
        if self.inner.engine.is_read_only() {
            let view = self.inner.engine.view();
            if self.inner.directory.read().as_of() != view.seq() {
                let newer = Directory::load(&view).await?;
                *self.inner.directory.write() = newer;
            }
        }
        Ok(look(&self.inner.directory.read()))
    }

    fn now(&self) -> Timestamp {
        self.inner.engine.clock().now()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
