//! `/api/runlake/registry/policy` and `/api/runlake/registry/requests…`: changes that need approval.

use axum::response::Response;
use runlake_identity::{Role, Scope};
use runlake_registry::Decision;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{Empty, PolicyAnswer, RequestAnswer, RequestsAnswer, json};

pub(super) async fn policy(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    let policy = call.app.registry().policy(&name).await?;
    Ok(json(&PolicyAnswer::from(policy.as_ref())))
}

pub(super) async fn set_policy(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, policy) = (fields.required_text("name")?, fields.approval_policy()?);
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

async fn decide(mut call: Call, approve: bool) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, comment) = (fields.required_text("name")?, fields.text("comment")?);
    let scope = Scope::RegisteredModel(name.clone());
    let users = call.app.identity().users().await?;
    let may_decide = |user: &str| {
        let found = users.iter().find(|found| found.name == user);
        found.is_some_and(|user| user.disabled_time.is_none() && user.grants.allow(Role::Approver, &scope))
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
