//! The first administrator: made by whoever can read what the server prints when it starts.

use std::net::IpAddr;

use parking_lot::Mutex;
use runlake_types::rows::Role;

use crate::directory::Directory;
use crate::{Error, Identity, NewUser, Result, Scope, UserInfo, secret};

/// Whose failures are counted.
const NAME: &str = "setup:";

/// The one-time secret, while there is one.
#[derive(Debug, Default)]
pub(crate) struct Setup(Mutex<Option<String>>);

impl Identity {
    /// A one-time secret to make the first administrator with, unless there is one. It lives in memory only.
    pub async fn begin_setup(&self) -> Result<Option<String>> {
        if self.inner.engine.is_read_only() || self.directory(Directory::has_admin).await? {
            return Ok(None);
        }
        let secret = secret::random()?;
        *self.inner.setup.0.lock() = Some(secret.clone());
        Ok(Some(secret))
    }

    /// Makes the first administrator. The secret is good for one.
    pub async fn set_up(&self, secret: &str, name: &str, password: &str, peer: Option<IpAddr>) -> Result<UserInfo> {
        self.inner.throttle.admit(NAME, peer, self.now())?;
        let expected = self.inner.setup.0.lock().clone();
        if !expected.is_some_and(|expected| self.inner.fingerprints.same(secret, &expected)) {
            self.refuse(NAME, peer, "the set-up token is wrong, or was used");
            return Err(Error::Setup);
        }
        let user = NewUser {
            name: name.to_owned(),
            password: Some(password.to_owned()),
            roles: vec![(Scope::All, Role::Admin)],
            is_first: true,
        };
        let made = self.create_user(user, "").await?;
        self.inner.setup.0.lock().take();
        tracing::info!(user = name, "the first administrator was set up");
        Ok(made)
    }
}
