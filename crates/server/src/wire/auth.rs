//! Users, tokens, roles, sessions: runlake's own routes below `/api/runlake/auth`.

use std::time::Duration;

use runlake_identity::{CreatedToken, Grants, NewToken, NewUser, Role, Scope, TokenInfo, UserInfo};
use serde::Serialize;

use super::{Fields, optional_text};
use crate::error::{ApiError, Result};

impl Fields {
    /// `POST users`.
    pub(crate) fn new_user(&self) -> Result<NewUser> {
        let roles = self.objects("roles")?;
        Ok(NewUser {
            name: self.text("name")?.unwrap_or_default(),
            password: self.secret("password")?,
            roles: roles.iter().map(|role| Ok((role.scope()?, role.role()?))).collect::<Result<_>>()?,
            is_first: false,
        })
    }

    /// `POST tokens`, for the caller if nobody else is named.
    pub(crate) fn new_token(&self, caller: &str) -> Result<NewToken> {
        let seconds = match self.int("expires_in_seconds")? {
            None => None,
            Some(seconds) => Some(u64::try_from(seconds).map_err(|_| {
                ApiError::invalid(format!(
                    "Invalid value {seconds} for parameter 'expires_in_seconds' supplied: a token ends in the future, \
                     or never."
                ))
            })?),
        };
        let user_name = optional_text(self, "user_name")?.unwrap_or_else(|| caller.to_owned());
        if user_name.is_empty() {
            return Err(self.missing("user_name"));
        }
        let label = self.text("label")?.unwrap_or_default();
        Ok(NewToken { user_name, label, lifetime: seconds.map(Duration::from_secs) })
    }

    /// A text that no answer and no log repeats, even if it is wrong.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<String>> {
        let not_text = |_| ApiError::invalid(format!("Invalid value for parameter '{name}' supplied: it is no text."));
        self.text(name).map_err(not_text)
    }

    /// The same where it must be there and not be empty.
    pub(crate) fn required_secret(&self, name: &str) -> Result<String> {
        self.secret(name)?.filter(|secret| !secret.is_empty()).ok_or_else(|| self.missing(name))
    }

    /// What a role is for: `scope` and `id`; for everything when they are not there.
    pub(crate) fn scope(&self) -> Result<Scope> {
        let kind = optional_text(self, "scope")?;
        let id = self.text("id")?.unwrap_or_default();
        // Meant for one thing and spelled otherwise, it must not become a role for everything.
        if kind.is_none()
            && let Some(meant) =
                ["experiment", "experiment_id", "registered_model", "id"].iter().find(|key| self.has(key))
        {
            return Err(ApiError::invalid(format!(
                "Say what the role is for with 'scope' (all, experiment or registered_model) and 'id'; '{meant}' alone \
                 does not."
            )));
        }
        Ok(Scope::parse(kind.as_deref().unwrap_or("all"), &id)?)
    }

    /// The field `role`.
    pub(crate) fn role(&self) -> Result<Role> {
        let name = self.required_text("role")?;
        Role::parse(&name).ok_or_else(|| {
            ApiError::invalid(format!(
                "Invalid value {name:?} for parameter 'role' supplied: roles are viewer, editor, approver and admin."
            ))
        })
    }
}

/// A role of a user.
#[derive(Debug, Serialize)]
pub(crate) struct RoleAnswer {
    role: &'static str,
    scope: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
}

impl RoleAnswer {
    pub(crate) fn list(grants: &Grants) -> Vec<Self> {
        grants
            .iter()
            .map(|(scope, role)| Self { role: role.as_str(), scope: scope.kind().as_str(), id: scope.id() })
            .collect()
    }
}

/// Answer of `whoami`.
#[derive(Debug, Serialize)]
pub(crate) struct WhoAmI<'a> {
    /// `required` or `none`.
    pub(crate) auth: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_name: Option<&'a str>,
    /// `password`, `token` or `session`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<&'static str>,
    pub(crate) roles: Vec<RoleAnswer>,
    /// Of the session, for pages that were loaded again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) csrf_token: Option<String>,
}

/// Answer of `login`.
#[derive(Debug, Serialize)]
pub(crate) struct LoggedIn<'a> {
    pub(crate) user_name: &'a str,
    pub(crate) csrf_token: &'a str,
    pub(crate) expires_in_seconds: u64,
}

/// A user, without what is secret.
#[derive(Debug, Serialize)]
pub(crate) struct UserAnswer {
    name: String,
    /// `false` for a service account, which has tokens only.
    has_password: bool,
    disabled: bool,
    creation_time: i64,
    roles: Vec<RoleAnswer>,
}

impl From<&UserInfo> for UserAnswer {
    fn from(user: &UserInfo) -> Self {
        Self {
            name: user.name.clone(),
            has_password: user.has_password,
            disabled: user.disabled_time.is_some(),
            creation_time: user.creation_time.millis(),
            roles: RoleAnswer::list(&user.grants),
        }
    }
}

/// Answer of `GET users`.
#[derive(Debug, Serialize)]
pub(crate) struct UsersAnswer {
    pub(crate) users: Vec<UserAnswer>,
}

/// A user as MLflow's basic-auth app tells of one.
#[derive(Debug, Serialize)]
struct MlflowUser {
    /// A number, as its clients expect one: when the user was made, in microseconds.
    id: i64,
    username: String,
    is_admin: bool,
}

impl From<&UserInfo> for MlflowUser {
    fn from(user: &UserInfo) -> Self {
        Self {
            id: user.creation_time.micros(),
            username: user.name.clone(),
            is_admin: user.grants.everywhere() == Some(Role::Admin),
        }
    }
}

/// Answer of `mlflow/users/create`, `get` and `current`.
#[derive(Debug, Serialize)]
pub(crate) struct MlflowUserAnswer {
    user: MlflowUser,
}

impl From<&UserInfo> for MlflowUserAnswer {
    fn from(user: &UserInfo) -> Self {
        Self { user: user.into() }
    }
}

/// Answer of `mlflow/users/list`.
#[derive(Debug, Serialize)]
pub(crate) struct MlflowUsersAnswer {
    users: Vec<MlflowUser>,
}

impl From<&[UserInfo]> for MlflowUsersAnswer {
    fn from(users: &[UserInfo]) -> Self {
        Self { users: users.iter().map(MlflowUser::from).collect() }
    }
}

/// A token, without its secret.
#[derive(Debug, Serialize)]
pub(crate) struct TokenAnswer {
    token_id: String,
    user_name: String,
    label: String,
    creation_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_time: Option<i64>,
}

impl From<&TokenInfo> for TokenAnswer {
    fn from(token: &TokenInfo) -> Self {
        Self {
            token_id: token.token_id.clone(),
            user_name: token.user_name.clone(),
            label: token.label.clone(),
            creation_time: token.creation_time.millis(),
            expiry_time: token.expiry_time.map(runlake_types::Timestamp::millis),
            revoked_time: token.revoked_time.map(runlake_types::Timestamp::millis),
        }
    }
}

/// Answer of `GET tokens`.
#[derive(Debug, Serialize)]
pub(crate) struct TokensAnswer {
    pub(crate) tokens: Vec<TokenAnswer>,
}

/// Answer of `POST tokens`: the only one that holds a token.
#[derive(Serialize)]
pub(crate) struct TokenCreated {
    token: String,
    #[serde(flatten)]
    info: TokenAnswer,
}

impl From<&CreatedToken> for TokenCreated {
    fn from(created: &CreatedToken) -> Self {
        Self { token: created.token.clone(), info: TokenAnswer::from(&created.info) }
    }
}
