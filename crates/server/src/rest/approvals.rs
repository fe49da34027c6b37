//! `/api/runlake/registry/policy` and `/api/runlake/registry/requests…`: changes that need approval.

use axum::response::Response;
use runlake_identity::{Role, Scope, UserInfo};
use runlake_registry::Decision;
use runlake_types::rows::ApprovalVote;

use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::wire::{Empty, PolicyAnswer, RequestAnswer, RequestsAnswer, json};

pub(super) async fn policy(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    let policy = call.app.registry().policy(&name).await?;
    Ok(json(&PolicyAnswer::from(policy.as_ref())))
}

pub(super) async fn set_policy(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    fields.only(&["name", "required_approvals", "approvers", "stages", "aliases"])?;
    let (name, policy) = (fields.required_text("name")?, fields.approval_policy()?);
    let users = call.app.identity().users().await?;
    let scope = Scope::RegisteredModel(name.clone());
    let can = |name: &&String| users.iter().any(|user| user.name == **name && may_approve(user, &scope));
    let cannot: Vec<&str> = policy.approvers.iter().filter(|name| !can(name)).map(String::as_str).collect();
    if !cannot.is_empty() {
        return Err(ApiError::invalid(format!(
            "These approvers do not exist or may not approve changes of '{name}': {}. Give them the role approver first.",
            cannot.join(", ")
        )));
    }
    call.app.registry().acting(call.actor()).set_policy(&name, &policy).await?;
    Ok(json(&PolicyAnswer::from(Some(&policy))))
}

pub(super) async fn clear_policy(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    call.app.registry().acting(call.actor()).clear_policy(&name).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn list(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, status) = (fields.required_text("name")?, fields.request_status()?);
    let requests = call.app.registry().requests(&name, status).await?;
    Ok(json(&RequestsAnswer::from(requests.as_slice())))
}

pub(super) async fn request(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let known = ["name", "version", "stage", "alias", "delete_alias", "archive_existing_versions", "comment"];
    fields.only(&known)?;
    let version = fields.version_name()?;
    let (change, comment) = (fields.requested_change()?, fields.text("comment")?);
    let acting = call.app.registry().acting(call.actor());
    let request = acting.request_change(&version.name, &version.version, &change, comment).await?;
    Ok(json(&RequestAnswer::from(&request)))
}

pub(super) async fn get(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    let request = call.app.registry().request(&name, &call.param("request_id")?).await?;
    Ok(json(&RequestAnswer::from(&request)))
}

pub(super) async fn approve(call: Call) -> Result<Response> {
    decide(call, true).await
}

pub(super) async fn reject(call: Call) -> Result<Response> {
    decide(call, false).await
}

fn may_approve(user: &UserInfo, scope: &Scope) -> bool {
    user.disabled_time.is_none() && user.grants.allow(Role::Approver, scope)
}

async fn decide(mut call: Call, approve: bool) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, comment) = (fields.required_text("name")?, fields.text("comment")?);
    let scope = Scope::RegisteredModel(name.clone());
    let users = call.app.identity().users().await?;
    let may_decide = |vote: &ApprovalVote| {
        // A later user of the same name is somebody else.
        let is_voter = |user: &&UserInfo| user.name == vote.user_name && user.creation_time <= vote.time;
        users.iter().find(is_voter).is_some_and(|user| may_approve(user, &scope))
    };
    let acting = call.app.registry().acting(call.actor());
    let decision = Decision { approve, comment };
    let request = acting.decide(&name, &call.param("request_id")?, decision, &may_decide).await?;
    Ok(json(&RequestAnswer::from(&request)))
}

pub(super) async fn withdraw(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    let acting = call.app.registry().acting(call.actor());
    let request = acting.withdraw(&name, &call.param("request_id")?).await?;
    Ok(json(&RequestAnswer::from(&request)))
}
