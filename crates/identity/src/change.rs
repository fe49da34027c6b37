//! Changes of users, tokens and roles: checked and written one at a time.

use std::sync::Arc;
use std::time::Duration;

use runlake_types::rows::{Role, RoleGrant, Row as _, Token, User};
use runlake_types::{TableId, Timestamp, WriteBatch};

use crate::directory::{Account, end_of};
use crate::{Error, Grants, Identity, Result, Scope, names, secret};

/// Tokens of one user that work at the same time.
const MOST_TOKENS: usize = 1000;

/// A user to be made.
#[derive(Clone)]
pub struct NewUser {
    /// Name to log in with.
    pub name: String,
    /// Without one, a service account: it has tokens only.
    pub password: Option<String>,
    /// What the user may do.
    pub roles: Vec<(Scope, Role)>,
    /// Only if there is no administrator yet.
    pub is_first: bool,
}

/// A user, without what is secret.
#[derive(Debug, Clone)]
pub struct UserInfo {
    /// Name to log in with.
    pub name: String,
    /// Whether there is a password, or only tokens.
    pub has_password: bool,
    /// Since when the user may not log in.
    pub disabled_time: Option<Timestamp>,
    /// When the user was made.
    pub creation_time: Timestamp,
    /// What the user may do.
    pub grants: Arc<Grants>,
}

/// What becomes of a user's tokens when the password changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OldTokens {
    /// Programs that run with them go on.
    #[default]
    Keep,
    /// Whoever had the old password may have made some: they all end.
    Revoke,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub user_name: String,
    /// What it is for.
    pub label: String,
    /// How long it is good for; without end if `None`.
    pub lifetime: Option<Duration>,
}

/// A token, without its secret.
#[derive(Debug, Clone)]
pub struct TokenInfo {
    /// Its id: the middle part of the token.
    pub token_id: String,
    /// Whose it is.
    pub user_name: String,
    /// What it is for.
    pub label: String,
    /// When it was made.
    pub creation_time: Timestamp,
    /// When it ends by itself.
    pub expiry_time: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_time: Option<Timestamp>,
}

/// A token that was just made: the only time its secret is known.
#[derive(Clone)]
pub struct CreatedToken {
    /// What stays known of it.
    pub info: TokenInfo,
    /// The token itself.
    pub token: String,
}

impl Identity {
    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<UserInfo>> {
        self.directory(|directory| directory.all().map(UserInfo::from).collect()).await
    }

    /// A user by name.
    pub async fn user(&self, name: &str) -> Result<UserInfo> {
        self.directory(|directory| directory.get(name).map(UserInfo::from)).await?.ok_or_else(|| Error::no_user(name))
    }

    /// Makes a user. `by` is the name of whoever asks; empty for the console.
    pub async fn create_user(&self, request: NewUser, by: &str) -> Result<UserInfo> {
        names::user(&request.name)?;
        if let Some(password) = &request.password {
            names::password(password)?;
        }
        for (scope, role) in &request.roles {
            check_role(scope, Some(*role))?;
        }
        self.check_writable()?;
        let _changing = self.inner.changing.lock().await;
        if request.is_first && self.inner.directory.read().has_admin() {
            return Err(Error::Conflict("There is an administrator already; ask one to make more.".into()));
        }
        if self.inner.directory.read().get(&request.name).is_some() {
            return Err(Error::AlreadyExists(format!("There is a user {:?} already.", request.name)));
        }
        let password_hash = match request.password {
            Some(password) => Some(self.inner.hasher.hash(password).await?),
            None => None,
        };
        let now = self.now();
        let user =
            User { name: request.name, password_hash, disabled_time: None, creation_time: now, last_update_time: now };
        let mut batch = WriteBatch::default();
        batch.put(&user);
        for (scope, role) in &request.roles {
            batch.put(&grant_row(&user.name, scope, *role, by, now));
        }
        let account = Account { user, grants: Arc::new(request.roles.into_iter().collect()) };
        self.inner.engine.write(batch).await?;
        let info = UserInfo::from(&account);
        self.inner.directory.write().put(account);
        Ok(info)
    }

    /// Gives a user another password, which ends their sessions, and their tokens if that is asked for.
    pub async fn set_password(&self, name: &str, password: String, tokens: OldTokens) -> Result<()> {
        names::password(&password)?;
        self.check_writable()?;
        let _changing = self.inner.changing.lock().await;
        let mut account = self.account(name)?;
        account.user.password_hash = Some(self.inner.hasher.hash(password).await?);
        let now = self.now();
        account.user.last_update_time = now;
        let is_live = |token: &&Token| token.user_name == name && token.revoked_time.is_none();
        let revoked: Vec<Token> = match tokens {
            OldTokens::Keep => Vec::new(),
            OldTokens::Revoke => self
                .inner
                .directory
                .read()
                .tokens()
                .filter(is_live)
                .map(|token| Token { revoked_time: Some(now), ..token.clone() })
                .collect(),
        };
        let mut batch = WriteBatch::default();
        batch.put(&account.user);
        for token in &revoked {
            batch.put(token);
        }
        self.inner.engine.write(batch).await?;
        let mut directory = self.inner.directory.write();
        directory.put(account);
        revoked.into_iter().for_each(|token| directory.put_token(token));
        Ok(())
    }

    /// Locks a user out, with their tokens and sessions, or lets them in again.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<()> {
        let _changing = self.inner.changing.lock().await;
        let mut account = self.account(name)?;
        if disabled {
            self.check_not_last_admin(&account)?;
        }
        account.user.disabled_time = match (disabled, account.user.disabled_time) {
            (false, _) => None,
            (true, since) => Some(since.unwrap_or_else(|| self.now())),
        };
        self.put_user(account).await
    }

    /// Removes a user with their tokens and roles.
    pub async fn remove_user(&self, name: &str) -> Result<()> {
        let _changing = self.inner.changing.lock().await;
        let account = self.account(name)?;
        self.check_not_last_admin(&account)?;
        let mut batch = WriteBatch::default();
        batch.delete(TableId::Users, account.user.key());
        for (scope, role) in account.grants.iter() {
            let row = grant_row(name, scope, role, "", account.user.creation_time);
            batch.delete(TableId::RoleGrants, row.key());
        }
        for token in self.inner.directory.read().tokens().filter(|token| token.user_name == name) {
            batch.delete(TableId::Tokens, token.key());
        }
        self.inner.engine.write(batch).await?;
        self.inner.directory.write().remove(name);
        Ok(())
    }

    /// Gives a user a role on something, or with `None` takes it away.
    pub async fn set_role(&self, name: &str, scope: Scope, role: Option<Role>, by: &str) -> Result<()> {
        check_role(&scope, role)?;
        let _changing = self.inner.changing.lock().await;
        let account = self.account(name)?;
        if scope == Scope::All && role != Some(Role::Admin) {
            self.check_not_last_admin(&account)?;
        }
        let now = self.now();
        let mut grants = Grants::clone(&account.grants);
        let before = grants.set(scope.clone(), role);
        let mut batch = WriteBatch::default();
        match (role, before) {
            (Some(role), _) => batch.put(&grant_row(name, &scope, role, by, now)),
            (None, Some(role)) => batch.delete(TableId::RoleGrants, grant_row(name, &scope, role, by, now).key()),
            (None, None) => return Err(Error::NotFound(format!("The user {name:?} has no role there."))),
        };
        self.inner.engine.write(batch).await?;
        self.inner.directory.write().put(Account { grants: Arc::new(grants), ..account });
        Ok(())
    }

    /// Tokens of one user, or of all, the newest first.
    pub async fn tokens(&self, user_name: Option<&str>) -> Result<Vec<TokenInfo>> {
        let is_wanted = |token: &&Token| user_name.is_none_or(|name| token.user_name == name);
        let mut tokens: Vec<TokenInfo> =
            self.directory(|directory| directory.tokens().filter(is_wanted).map(TokenInfo::from).collect()).await?;
        tokens.sort_by(|left, right| {
            right.creation_time.cmp(&left.creation_time).then_with(|| left.token_id.cmp(&right.token_id))
        });
        Ok(tokens)
    }

    /// A token by id.
    pub async fn token(&self, token_id: &str) -> Result<TokenInfo> {
        let found = self.directory(|directory| directory.token(token_id).map(TokenInfo::from)).await?;
        found.ok_or_else(|| Error::no_token(token_id))
    }

    /// Makes a token.
    pub async fn create_token(&self, request: NewToken) -> Result<CreatedToken> {
        names::label(&request.label)?;
        if request.lifetime == Some(Duration::ZERO) {
            return Err(Error::invalid("A token is good for a second at least, or without end."));
        }
        self.check_writable()?;
        let _changing = self.inner.changing.lock().await;
        self.account(&request.user_name)?;
        let now = self.now();
        let is_live = |token: &&Token| token.user_name == request.user_name && end_of(token, now).is_none();
        if self.inner.directory.read().tokens().filter(is_live).count() >= MOST_TOKENS {
            return Err(Error::Conflict(format!(
                "The user {:?} has {MOST_TOKENS} tokens that work; revoke some first.",
                request.user_name
            )));
        }
        let (token_id, secret) = (secret::token_id()?, secret::random()?);
        let after = |lifetime: Duration| {
            let micros = i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(now.micros().saturating_add(micros))
        };
        let token = Token {
            token_id,
            user_name: request.user_name,
            label: request.label,
            secret_hash: self.inner.hasher.hash(secret.clone()).await?,
            creation_time: now,
            expiry_time: request.lifetime.map(after),
            revoked_time: None,
        };
        let created = CreatedToken { info: TokenInfo::from(&token), token: secret::token(&token.token_id, &secret) };
        self.put_token(token).await?;
        Ok(created)
    }

    /// Ends a token for good; one that ended stays so.
    pub async fn revoke_token(&self, token_id: &str) -> Result<()> {
        let _changing = self.inner.changing.lock().await;
        let found = self.inner.directory.read().token(token_id).cloned();
        let mut token = found.ok_or_else(|| Error::no_token(token_id))?;
        if token.revoked_time.is_none() {
            token.revoked_time = Some(self.now());
            self.put_token(token).await?;
        }
        Ok(())
    }

    fn account(&self, name: &str) -> Result<Account> {
        self.inner.directory.read().get(name).cloned().ok_or_else(|| Error::no_user(name))
    }

    /// Before the slow part of a change that cannot be written.
    fn check_writable(&self) -> Result<()> {
        if self.inner.engine.is_read_only() { Err(runlake_engine::Error::ReadOnly.into()) } else { Ok(()) }
    }

    /// Without an administrator nobody could give roles any more.
    fn check_not_last_admin(&self, account: &Account) -> Result<()> {
        let is_admin = account.is_enabled() && account.grants.is_admin();
        if is_admin && !self.inner.directory.read().has_admin_besides(&account.user.name) {
            return Err(Error::Conflict(format!(
                "{:?} is the last administrator; make another one first.",
                account.user.name
            )));
        }
        Ok(())
    }

    async fn put_user(&self, mut account: Account) -> Result<()> {
        account.user.last_update_time = self.now();
        let mut batch = WriteBatch::default();
        batch.put(&account.user);
        self.inner.engine.write(batch).await?;
        self.inner.directory.write().put(account);
        Ok(())
    }

    async fn put_token(&self, token: Token) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put(&token);
        self.inner.engine.write(batch).await?;
        self.inner.directory.write().put_token(token);
        Ok(())
    }
}

/// An administrator of one thing would be able to do nothing that an approver of it is not.
fn check_role(scope: &Scope, role: Option<Role>) -> Result<()> {
    match (scope, role) {
        (Scope::Experiment(_) | Scope::RegisteredModel(_), Some(Role::Admin)) => Err(Error::invalid(
            "The role admin is for all; for one experiment or model give viewer, editor or approver.",
        )),
        _ => Ok(()),
    }
}

fn grant_row(name: &str, scope: &Scope, role: Role, by: &str, now: Timestamp) -> RoleGrant {
    RoleGrant {
        user_name: name.to_owned(),
        scope_kind: scope.kind(),
        scope_id: scope.id(),
        role,
        granted_by: by.to_owned(),
        creation_time: now,
    }
}

impl From<&Account> for UserInfo {
    fn from(account: &Account) -> Self {
        let user = &account.user;
        Self {
            name: user.name.clone(),
            has_password: user.password_hash.is_some(),
            disabled_time: user.disabled_time,
            creation_time: user.creation_time,
            grants: Arc::clone(&account.grants),
        }
    }
}

impl From<&Token> for TokenInfo {
    fn from(token: &Token) -> Self {
        Self {
            token_id: token.token_id.clone(),
            user_name: token.user_name.clone(),
            label: token.label.clone(),
            creation_time: token.creation_time,
            expiry_time: token.expiry_time,
            revoked_time: token.revoked_time,
        }
    }
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedToken").field("info", &self.info).finish_non_exhaustive()
    }
}
