//! Argon2: slow on purpose, so it runs on the blocking pool, and few at once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, IdentitySettings, Result, secret};

/// Hashes computed at once: each takes a core and its share of memory.
const AT_ONCE: usize = 2;
/// How long a log-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
const SALT_BYTES: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct Hasher {
    params: Params,
    turns: Arc<Semaphore>,
    /// What is checked where there is no hash to check, so that the answer takes as long.
    stand_in: Arc<OnceLock<String>>,
}

/// The right to compute one hash.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Hasher {
    pub(crate) fn new(settings: &IdentitySettings) -> Result<Self> {
        let params = Params::new(settings.hash_memory_kib, settings.hash_passes, 1, None)
            .map_err(|error| Error::Internal(format!("the costs of a hash are wrong: {error}")))?;
        Ok(Self { params, turns: Arc::new(Semaphore::new(AT_ONCE)), stand_in: Arc::default() })
    }

    /// Waits until a hash may be computed.
    pub(crate) async fn turn(&self) -> Result<Turn> {
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn(permit)),
            _ => Err(Error::Busy),
        }
    }

    /// The hash of a new secret, as it is stored.
    pub(crate) async fn hash(&self, secret: String) -> Result<String> {
        let turn = self.turn().await?;
        let hasher = self.clone();
        blocking(turn, move || hasher.hash_now(&secret)).await?.0
    }

    /// Whether `secret` is the one that `stored` is the hash of. Without a hash the work is the same, and the answer no.
    /// The turn comes back, to be held until the answer is entered: the next one in turn should know it.
    pub(crate) async fn verify(&self, turn: Turn, secret: String, stored: Option<String>) -> Result<(bool, Turn)> {
        let hasher = self.clone();
        let (answer, turn) = blocking(turn, move || {
            // Made at the first log-in, whoever that is.
            let stand_in = hasher.stand_in()?;
            let is_known = stored.is_some();
            let stored = stored.unwrap_or(stand_in);
            let hash = PasswordHash::new(&stored)
                .map_err(|error| Error::Internal(format!("a stored hash cannot be read: {error}")))?;
            Ok(Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok() && is_known)
        })
        .await?;
        answer.map(|is_right: bool| (is_right, turn))
    }

    fn stand_in(&self) -> Result<String> {
        if let Some(hash) = self.stand_in.get() {
            return Ok(hash.clone());
        }
        let hash = self.hash_now(&secret::random()?)?;
        Ok(self.stand_in.get_or_init(|| hash).clone())
    }

    fn hash_now(&self, secret: &str) -> Result<String> {
        let failed = |error| Error::Internal(format!("a secret cannot be hashed: {error}"));
        let salt = SaltString::encode_b64(&secret::random_bytes::<SALT_BYTES>()?).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        Ok(argon2.hash_password(secret.as_bytes(), &salt).map_err(failed)?.to_string())
    }
}

async fn blocking<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> Result<(T, Turn)> {
    // A caller who goes away does not make room before the work is done.
    let work = move || (work(), turn);
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(format!("a hash was not computed: {error}")))
}
