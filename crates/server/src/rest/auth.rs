//! `/api/runlake/auth/…`: log-in, users, tokens, roles.
//!
//! Most of it is for administrators, as the access table says. Everybody may see who they are, change their own
//! password (with the old one) and keep their own tokens; what is somebody else's is refused whether it exists or not.

use axum::response::Response;
use http::{HeaderValue, header};
use runlake_identity::{Credentials, Error, Means, OldTokens, Role, Scope};

use crate::call::Call;
use crate::caller::{Caller, SESSION_COOKIE, session_secret};
use crate::error::{ApiError, Code, Result};
use crate::wire::{
    Empty, Fields, LoggedIn, RoleAnswer, TokenAnswer, TokenCreated, TokensAnswer, UserAnswer, UsersAnswer, WhoAmI, json,
};

pub(super) async fn whoami(call: Call) -> Result<Response> {
    let Caller::User(principal) = call.caller() else {
        return Ok(json(&WhoAmI { auth: "none", user_name: None, by: None, roles: Vec::new(), csrf_token: None }));
    };
    let by = match principal.means() {
        Means::Password => "password",
        Means::Token(_) => "token",
        Means::Session => "session",
    };
    let csrf_token = match (principal.means(), session_secret(call.parts())) {
        (Means::Session, Some(secret)) => call.app.identity().session(secret).await?.map(|(_, token)| token),
        _ => None,
    };
    let roles = RoleAnswer::list(principal.grants());
    Ok(json(&WhoAmI { auth: "required", user_name: Some(principal.name()), by: Some(by), roles, csrf_token }))
}

pub(super) async fn set_up(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let token = fields.required_secret("setup_token")?;
    let (name, password) = (fields.required_text("name")?, fields.required_secret("password")?);
    let user = call.app.identity().set_up(&token, &name, &password, call.peer()).await?;
    Ok(json(&UserAnswer::from(&user)))
}

pub(super) async fn log_in(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, password) = (fields.required_text("name")?, fields.required_secret("password")?);
    let session = call.app.identity().log_in(&name, &password, call.peer()).await?;
    let seconds = session.lifetime.as_secs();
    let mut response = json(&LoggedIn {
        user_name: session.principal.name(),
        csrf_token: &session.csrf_token,
        expires_in_seconds: seconds,
    });
    response.headers_mut().insert(header::SET_COOKIE, cookie(&call, &session.secret, seconds)?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(super) async fn log_out(call: Call) -> Result<Response> {
    if let Some(secret) = session_secret(call.parts()) {
        call.app.identity().log_out(secret);
    }
    let mut response = json(&Empty {});
    response.headers_mut().insert(header::SET_COOKIE, cookie(&call, "", 0)?);
    Ok(response)
}

/// Sent with navigations from elsewhere, but not with what other pages post; out of reach of scripts.
fn cookie(call: &Call, secret: &str, seconds: u64) -> Result<HeaderValue> {
    let secure = if call.scheme() == "https" { "; Secure" } else { "" };
    let cookie = format!("{SESSION_COOKIE}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(cookie).map_err(|error| ApiError::internal(format!("the cookie is no header: {error}")))
}

pub(super) async fn users(call: Call) -> Result<Response> {
    let users = call.app.identity().users().await?;
    Ok(json(&UsersAnswer { users: users.iter().map(UserAnswer::from).collect() }))
}

pub(super) async fn user(call: Call) -> Result<Response> {
    Ok(json(&UserAnswer::from(&call.app.identity().user(&call.param("name")?).await?)))
}

pub(super) async fn create_user(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.new_user()?;
    let user = call.app.identity().create_user(request, call.caller().name()).await?;
    tracing::info!(user = user.name, by = call.caller().name(), "a user was made");
    Ok(json(&UserAnswer::from(&user)))
}

pub(super) async fn update_user(mut call: Call) -> Result<Response> {
    let (fields, name) = (call.fields().await?, call.param("name")?);
    let Some(disabled) = fields.boolean("disabled")? else { return Err(fields.missing("disabled")) };
    call.app.identity().set_disabled(&name, disabled).await?;
    tracing::info!(user = name, by = call.caller().name(), disabled, "a user was changed");
    Ok(json(&UserAnswer::from(&call.app.identity().user(&name).await?)))
}

pub(super) async fn remove_user(call: Call) -> Result<Response> {
    let name = call.param("name")?;
    call.app.identity().remove_user(&name).await?;
    tracing::info!(user = name, by = call.caller().name(), "a user was removed");
    Ok(json(&Empty {}))
}

pub(super) async fn set_password(mut call: Call) -> Result<Response> {
    let (fields, name) = (call.fields().await?, call.param("name")?);
    change_password(call, name, fields).await
}

/// Changes a password to the field `password`. For one's own, `current_password` must be right.
pub(super) async fn change_password(call: Call, name: String, fields: Fields) -> Result<Response> {
    let password = fields.required_secret("password")?;
    let identity = call.app.identity();
    if call.caller().name() == name {
        // Who finds a browser open, or a token lying about, does not take the account over.
        let current = fields.required_secret("current_password")?;
        let credentials = Credentials::Password { name: name.clone(), password: current };
        identity.authenticate(&credentials, call.peer()).await.map_err(|error| match error {
            Error::Unauthenticated => ApiError::new(Code::PermissionDenied, "The current password is not right."),
            other => other.into(),
        })?;
    } else if !call.caller().may_everywhere(Role::Admin) {
        return Err(others());
    }
    let tokens = if fields.boolean("revoke_tokens")? == Some(true) { OldTokens::Revoke } else { OldTokens::Keep };
    identity.set_password(&name, password, tokens).await?;
    tracing::info!(user = name, by = call.caller().name(), "a password was changed");
    Ok(json(&Empty {}))
}

pub(super) async fn set_role(mut call: Call) -> Result<Response> {
    let (fields, name) = (call.fields().await?, call.param("name")?);
    let (scope, role) = (fields.scope()?, fields.role()?);
    change_role(call, &name, scope, Some(role)).await
}

pub(super) async fn remove_role(mut call: Call) -> Result<Response> {
    let (scope, name) = (call.fields().await?.scope()?, call.param("name")?);
    change_role(call, &name, scope, None).await
}

async fn change_role(call: Call, name: &str, scope: Scope, role: Option<Role>) -> Result<Response> {
    let by = call.caller().name();
    let told = scope.clone();
    call.app.identity().set_role(name, scope, role, by).await?;
    tracing::info!(user = name, by, kind = %told.kind(), id = told.id(), ?role, "a role was changed");
    Ok(json(&UserAnswer::from(&call.app.identity().user(name).await?)))
}

pub(super) async fn tokens(mut call: Call) -> Result<Response> {
    let wanted = call.fields().await?.text("user_name")?.filter(|name| !name.is_empty());
    let caller = call.caller();
    let of = match &wanted {
        _ if caller.may_everywhere(Role::Admin) => wanted.as_deref(),
        None => Some(caller.name()),
        Some(name) if name == caller.name() => Some(name.as_str()),
        Some(_) => return Err(others()),
    };
    let tokens = call.app.identity().tokens(of).await?;
    Ok(json(&TokensAnswer { tokens: tokens.iter().map(TokenAnswer::from).collect() }))
}

pub(super) async fn create_token(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let request = fields.new_token(call.caller().name())?;
    if !call.caller().may_everywhere(Role::Admin) {
        if request.user_name != call.caller().name() {
            return Err(others());
        }
        if call.caller().is_token() {
            return Err(ApiError::new(
                Code::PermissionDenied,
                "A token cannot make another one, which would outlive it. Log in with the password.",
            ));
        }
    }
    let created = call.app.identity().create_token(request).await?;
    let info = &created.info;
    tracing::info!(user = info.user_name, by = call.caller().name(), token = info.token_id, "a token was made");
    let mut response = json(&TokenCreated::from(&created));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(super) async fn revoke_token(call: Call) -> Result<Response> {
    let (id, identity) = (call.param("token_id")?, call.app.identity());
    if !call.caller().may_everywhere(Role::Admin) {
        let owner = identity.token(&id).await?.user_name;
        if owner != call.caller().name() {
            // As if there were none.
            return Err(Error::no_token(&id).into());
        }
    }
    identity.revoke_token(&id).await?;
    tracing::info!(token = id, by = call.caller().name(), "a token was revoked");
    Ok(json(&Empty {}))
}

/// The answer about another user, whether there is one or not.
pub(super) fn others() -> ApiError {
    ApiError::new(Code::PermissionDenied, "Permission denied: this is for the user themselves, or an administrator.")
}
