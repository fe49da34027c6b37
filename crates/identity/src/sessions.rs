//! Log-ins of browsers: in memory only, so that a restart asks for the password again.
//!
//! A session ends at its time, at log-out, and when its user is disabled, removed or gets another password. Its secret
//! travels in a cookie, which browsers send with requests of other pages as well; what changes something must therefore
//! carry a second secret, which only a page of this server can know.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use runlake_types::Timestamp;
use rustc_hash::FxHashMap;

use crate::login::{Means, Principal};
use crate::secret::{self, Fingerprint};
use crate::{Credentials, Error, Identity, Result};

/// Sessions at once; the one that ends first makes room.
const MOST_SESSIONS: usize = 10_000;

/// A session that was just begun.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// For the cookie. Shown to nobody else.
    pub secret: String,
    /// For the header of requests that change something.
    pub csrf_token: String,
    /// How long it lasts.
    pub lifetime: Duration,
    /// Whose it is.
    pub principal: Principal,
}

#[derive(Debug)]
struct Session {
    user: String,
    /// The password it began with: another one ends it.
    password_hash: String,
    csrf_token: String,
    expires: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Sessions {
    lifetime: Duration,
    open: Mutex<FxHashMap<Fingerprint, Session>>,
}

impl Sessions {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, open: Mutex::default() }
    }

    fn insert(&self, fingerprint: Fingerprint, session: Session, now: Timestamp) {
        let mut open = self.open.lock();
        if open.len() >= MOST_SESSIONS {
            open.retain(|_, session| session.expires > now);
        }
        if open.len() >= MOST_SESSIONS {
            let first = open.iter().min_by_key(|(_, session)| session.expires).map(|(fingerprint, _)| *fingerprint);
            first.map(|fingerprint| open.remove(&fingerprint));
        }
        open.insert(fingerprint, session);
    }
}

impl Identity {
    /// Begins a session for whoever knows the password.
    pub async fn log_in(&self, name: &str, password: &str, peer: Option<IpAddr>) -> Result<NewSession> {
        let credentials = Credentials::Password { name: name.to_owned(), password: password.to_owned() };
        let hash = async || self.directory(|directory| directory.get(name)?.user.password_hash.clone()).await;
        let before = hash().await?;
        let principal = self.authenticate(&credentials, peer).await?;
        // The session is good for the password that was given, not for one that was set meanwhile.
        let password_hash = hash().await?.filter(|hash| before.as_ref() == Some(hash)).ok_or(Error::Unauthenticated)?;
        let (secret, csrf_token) = (secret::random()?, secret::random()?);
        let (sessions, now) = (&self.inner.sessions, self.now());
        let micros = i64::try_from(sessions.lifetime.as_micros()).unwrap_or(i64::MAX);
        let session = Session {
            user: name.to_owned(),
            password_hash,
            csrf_token: csrf_token.clone(),
            expires: Timestamp::from_micros(now.micros().saturating_add(micros)),
        };
        sessions.insert(self.inner.fingerprints.of(&[&secret]), session, now);
        Ok(NewSession { secret, csrf_token, lifetime: sessions.lifetime, principal })
    }

    /// Whose session this is, and the secret that its changes must carry; `None` if it is none, or ended.
    pub async fn session(&self, secret: &str) -> Result<Option<(Principal, String)>> {
        let fingerprint = self.inner.fingerprints.of(&[secret]);
        let found = self.inner.sessions.open.lock().get(&fingerprint).map(|session| {
            let Session { user, password_hash, csrf_token, expires } = session;
            (user.clone(), password_hash.clone(), csrf_token.clone(), *expires)
        });
        let Some((user, password_hash, csrf_token, expires)) = found else { return Ok(None) };
        let principal = self
            .directory(|directory| {
                let account = directory.get(&user).filter(|account| account.is_enabled())?;
                let is_same = account.user.password_hash.as_ref() == Some(&password_hash);
                is_same.then(|| Principal::of(account, Means::Session))
            })
            .await?;
        match principal {
            Some(principal) if expires > self.now() => Ok(Some((principal, csrf_token))),
            _ => {
                self.log_out(secret);
                Ok(None)
            }
        }
    }

    /// Ends a session.
    pub fn log_out(&self, secret: &str) {
        self.inner.sessions.open.lock().remove(&self.inner.fingerprints.of(&[secret]));
    }

    /// Whether a request carries the secret of its session.
    pub fn is_csrf_token(&self, given: &str, expected: &str) -> bool {
        self.inner.fingerprints.same(given, expected)
    }
}
