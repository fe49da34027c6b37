//! `webhooks…`, MLflow's and runlake's own, which also tell of events of runs.

use axum::response::Response;
use runlake_webhooks::Webhooks;

use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::wire::{Audience, Empty, WebhookAnswer, WebhookTestAnswer, WebhooksAnswer, json};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.create_webhook()?;
    let webhook = webhooks(&call)?.create(request).await?;
    Ok(json(&WebhookAnswer::of(&webhook, audience(&call))))
}

pub(super) async fn list(call: Call) -> Result<Response> {
    let query = call.query();
    let (count, token) = (query.int("max_results")?, query.text("page_token")?);
    let page = webhooks(&call)?.list(count, token.as_deref()).await?;
    Ok(json(&WebhooksAnswer::of(&page, audience(&call))))
}

pub(super) async fn get(call: Call) -> Result<Response> {
    let webhook = webhooks(&call)?.get(&call.param("webhook_id")?).await?;
    Ok(json(&WebhookAnswer::of(&webhook, audience(&call))))
}

pub(super) async fn update(mut call: Call) -> Result<Response> {
    let change = call.fields().await?.update_webhook()?;
    let webhook = webhooks(&call)?.update(&call.param("webhook_id")?, change).await?;
    Ok(json(&WebhookAnswer::of(&webhook, audience(&call))))
}

pub(super) async fn delete(call: Call) -> Result<Response> {
    webhooks(&call)?.delete(&call.param("webhook_id")?).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn test(mut call: Call) -> Result<Response> {
    let event = call.fields().await?.tested_event()?;
    let result = webhooks(&call)?.test(&call.param("webhook_id")?, event).await?;
    Ok(json(&WebhookTestAnswer::from(&result)))
}

fn webhooks(call: &Call) -> Result<&Webhooks> {
    let webhooks = call.app.tracking().webhooks();
    webhooks.ok_or_else(|| ApiError::not_implemented("This server was put together without webhooks."))
}

fn audience(call: &Call) -> Audience {
    if call.uri().path().starts_with("/api/runlake/") { Audience::Runlake } else { Audience::Mlflow }
}
