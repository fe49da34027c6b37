//! All users of a lake in memory: they are few, and every request asks for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use runlake_engine::View;
use runlake_types::rows::{RoleGrant, Token, User};
use runlake_types::{KeyBuilder, Seq, Timestamp};
use rustc_hash::FxHashMap;

use crate::{Grants, Result, Scope};

/// A user with their roles.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) grants: Arc<Grants>,
}

impl Account {
    pub(crate) fn is_enabled(&self) -> bool {
        self.user.disabled_time.is_none()
    }
}

/// The users and tokens as of one position of the log.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    as_of: Seq,
    users: BTreeMap<String, Account>,
    tokens: FxHashMap<String, Token>,
}

impl Directory {
    pub(crate) async fn load(view: &View) -> Result<Self> {
        let everything = KeyBuilder::default().build();
        let mut grants: FxHashMap<String, Grants> = FxHashMap::default();
        for grant in view.scan::<RoleGrant>(&everything).await? {
            // What a newer version may grant is no reason to lock everybody out; nobody has it here.
            let Ok(scope) = Scope::parse(grant.scope_kind.as_str(), &grant.scope_id) else { continue };
            grants.entry(grant.user_name).or_default().set(scope, Some(grant.role));
        }
        let mut directory = Self { as_of: view.seq(), ..Self::default() };
        for user in view.scan::<User>(&everything).await? {
            let grants = Arc::new(grants.remove(&user.name).unwrap_or_default());
            directory.put(Account { user, grants });
        }
        for token in view.scan::<Token>(&everything).await? {
            directory.put_token(token);
        }
        Ok(directory)
    }

    /// Position of the log it was loaded at.
    pub(crate) fn as_of(&self) -> Seq {
        self.as_of
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Account> {
        self.users.get(name)
    }

    /// All users, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Account> {
        self.users.values()
    }

    pub(crate) fn token(&self, id: &str) -> Option<&Token> {
        self.tokens.get(id)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// Whether somebody could still give roles if `name` could not.
    pub(crate) fn has_admin_besides(&self, name: &str) -> bool {
        self.all().any(|account| account.is_enabled() && account.grants.is_admin() && account.user.name != name)
    }

    pub(crate) fn has_admin(&self) -> bool {
        self.has_admin_besides("")
    }

    pub(crate) fn put(&mut self, account: Account) {
        self.users.insert(account.user.name.clone(), account);
    }

    pub(crate) fn put_token(&mut self, token: Token) {
        self.tokens.insert(token.token_id.clone(), token);
    }

    /// Removes a user and their tokens.
    pub(crate) fn remove(&mut self, name: &str) {
        self.users.remove(name);
        self.tokens.retain(|_, token| token.user_name != name);
    }
}

/// Why a token is of no use, if it is not.
pub(crate) fn end_of(token: &Token, now: Timestamp) -> Option<&'static str> {
    if token.revoked_time.is_some() {
        return Some("the token was revoked");
    }
    token.expiry_time.filter(|expiry| *expiry <= now).map(|_| "the token has expired")
}
