//! `2.0/mlflow/users/…`: users as MLflow's basic-auth app manages them, where a user is an administrator or is not. Roles
//! in between are given through runlake's own routes.

use axum::response::Response;
use runlake_identity::{NewUser, Role, Scope};

use super::auth::{change_password, others};
use crate::call::Call;
use crate::error::Result;
use crate::wire::{Empty, MlflowUserAnswer, MlflowUsersAnswer, json};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let user = NewUser {
        name: fields.required_text("username")?,
        password: Some(fields.required_secret("password")?),
        roles: Vec::new(),
        is_first: false,
    };
    let user = call.app.identity().create_user(user, call.caller().name()).await?;
    tracing::info!(user = user.name, by = call.caller().name(), "a user was made");
    Ok(json(&MlflowUserAnswer::from(&user)))
}

pub(super) async fn get(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("username")?;
    if call.caller().name() != name && !call.caller().may_everywhere(Role::Admin) {
        return Err(others());
    }
    Ok(json(&MlflowUserAnswer::from(&call.app.identity().user(&name).await?)))
}

pub(super) async fn current(call: Call) -> Result<Response> {
    Ok(json(&MlflowUserAnswer::from(&call.app.identity().user(call.caller().name()).await?)))
}

pub(super) async fn list(call: Call) -> Result<Response> {
    Ok(json(&MlflowUsersAnswer::from(call.app.identity().users().await?.as_slice())))
}

pub(super) async fn update_password(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let name = fields.required_text("username")?;
    change_password(call, name, fields).await
}

pub(super) async fn update_admin(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let name = fields.required_text("username")?;
    let Some(is_admin) = fields.boolean("is_admin")? else { return Err(fields.missing("is_admin")) };
    let (identity, by) = (call.app.identity(), call.caller().name());
    let has = identity.user(&name).await?.grants.everywhere() == Some(Role::Admin);
    if has != is_admin {
        identity.set_role(&name, Scope::All, is_admin.then_some(Role::Admin), by).await?;
        tracing::info!(user = name, by, is_admin, "a role was changed");
    }
    Ok(json(&Empty {}))
}

pub(super) async fn delete(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("username")?;
    call.app.identity().remove_user(&name).await?;
    tracing::info!(user = name, by = call.caller().name(), "a user was removed");
    Ok(json(&Empty {}))
}
