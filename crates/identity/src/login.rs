//! From credentials to a principal.

use std::net::IpAddr;
use std::sync::Arc;

use runlake_types::rows::Role;

use crate::directory::{Account, Directory, end_of};
use crate::names::PASSWORD_BYTES;
use crate::secret::{Fingerprint, parse_token};
use crate::{Credentials, Error, Grants, Identity, Result, Scope};

/// Secrets remembered as right before all are forgotten, which costs a hash for each.
const MOST_VERIFIED: usize = 10_000;

/// How a caller proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// With the password.
    Password,
    /// With the token of this id.
    Token(String),
    /// With a session that a password began.
    Session,
}

/// A user who proved to be one, with the roles of this moment.
#[derive(Debug, Clone)]
pub struct Principal {
    name: String,
    grants: Arc<Grants>,
    means: Means,
}

impl Principal {
    pub(crate) fn of(account: &Account, means: Means) -> Self {
        Self { name: account.user.name.clone(), grants: Arc::clone(&account.grants), means }
    }

    /// Name of the user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Their roles.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// How they proved it.
    pub fn means(&self) -> &Means {
        &self.means
    }

    /// Whether they have this role, or more, on the object.
    pub fn may(&self, role: Role, scope: &Scope) -> bool {
        self.grants.allow(role, scope)
    }
}

/// What a secret is checked against.
struct Claim {
    /// Whose failures are counted: a user, or something with a colon, which no user has in the name.
    name: String,
    /// The secret that was given.
    secret: String,
    /// The hash it should fit, and who it then is; or why it fits nothing.
    right: Result<(String, Principal), &'static str>,
}

impl Identity {
    /// Who presents these credentials. Every refusal is the same error; the log says more.
    pub async fn authenticate(&self, credentials: &Credentials, peer: Option<IpAddr>) -> Result<Principal> {
        let claim = self.claim(credentials).await?;
        if let Some(principal) = self.known(&claim) {
            return Ok(principal);
        }
        let turn = self.inner.hasher.turn().await?;
        // Who waited for the same secret knows the answer now.
        if let Some(principal) = self.known(&claim) {
            return Ok(principal);
        }
        self.inner.throttle.admit(&claim.name, peer, self.now())?;
        let stored = claim.right.as_ref().ok().map(|(hash, _)| hash.clone());
        let (is_right, _turn) = self.inner.hasher.verify(turn, claim.secret.clone(), stored).await?;
        match &claim.right {
            Ok((_, principal)) if is_right => {
                self.remember(&claim);
                self.inner.throttle.succeeded(&claim.name);
                Ok(principal.clone())
            }
            other => {
                let reason = other.as_ref().err().copied().unwrap_or("the secret is wrong");
                Err(self.refuse(&claim.name, peer, reason))
            }
        }
    }

    /// Counts and logs a failed log-in.
    pub(crate) fn refuse(&self, name: &str, peer: Option<IpAddr>, reason: &str) -> Error {
        self.inner.throttle.failed(name, peer, self.now());
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        tracing::warn!(user = ?name, peer, "a log-in failed: {reason}");
        Error::Unauthenticated
    }

    async fn claim(&self, credentials: &Credentials) -> Result<Claim> {
        match credentials {
            Credentials::Password { name, password } => {
                // A longer one would only take time.
                let secret = if password.len() > PASSWORD_BYTES { String::new() } else { password.clone() };
                let right = self.directory(|directory| password_of(directory, name)).await?;
                Ok(Claim { name: name.clone(), secret, right })
            }
            Credentials::Token(text) => {
                let Some((id, secret)) = parse_token(text) else {
                    let right = Err("the token is not one of runlake's");
                    return Ok(Claim { name: "token:".into(), secret: String::new(), right });
                };
                let now = self.now();
                let right = self.directory(|directory| token_of(directory, id, now)).await?;
                Ok(Claim { name: format!("token:{id}"), secret: secret.to_owned(), right })
            }
        }
    }

    /// The principal, if this secret was found right for this very hash before.
    fn known(&self, claim: &Claim) -> Option<Principal> {
        let (hash, principal) = claim.right.as_ref().ok()?;
        let fingerprint = self.fingerprint(claim, hash);
        self.inner.verified.lock().contains(&fingerprint).then(|| principal.clone())
    }

    fn remember(&self, claim: &Claim) {
        let Ok((hash, _)) = &claim.right else { return };
        let fingerprint = self.fingerprint(claim, hash);
        let mut verified = self.inner.verified.lock();
        if verified.len() >= MOST_VERIFIED {
            verified.clear();
        }
        verified.insert(fingerprint);
    }

    /// Of a secret with its hash: a changed password makes what was remembered of the old one worthless.
    fn fingerprint(&self, claim: &Claim, hash: &str) -> Fingerprint {
        self.inner.fingerprints.of(&[&claim.name, &claim.secret, hash])
    }
}

fn password_of(directory: &Directory, name: &str) -> Result<(String, Principal), &'static str> {
    let account = directory.get(name).ok_or("there is no such user")?;
    if !account.is_enabled() {
        return Err("the user is disabled");
    }
    let hash = account.user.password_hash.clone().ok_or("the user has no password")?;
    Ok((hash, Principal::of(account, Means::Password)))
}

fn token_of(
    directory: &Directory,
    id: &str,
    now: runlake_types::Timestamp,
) -> Result<(String, Principal), &'static str> {
    let token = directory.token(id).ok_or("there is no such token")?;
    if let Some(reason) = end_of(token, now) {
        return Err(reason);
    }
    let account = directory.get(&token.user_name).ok_or("the user of the token is gone")?;
    if !account.is_enabled() {
        return Err("the user of the token is disabled");
    }
    Ok((token.secret_hash.clone(), Principal::of(account, Means::Token(id.to_owned()))))
}
