//! `runs/…`: what is written to a run.

use axum::response::Response;
use runlake_tracking::LogBatch;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{Batch, Empty, json};

pub(super) async fn log_batch(mut call: Call) -> Result<Response> {
    let body = call.json_bytes().await?;
    let batch = Batch::read(&body)?;
    let (params, tags) = (batch.params(), batch.tags());
    let request = LogBatch { run_id: &batch.run_id, metrics: &batch.metrics, params: &params, tags: &tags };
    call.app.tracking().log_batch(request).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn log_metric(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (run_id, metric) = (fields.run_id()?, fields.metric()?);
    call.app.tracking().log_metric(&run_id, metric).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn log_param(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (run_id, key) = (fields.run_id()?, fields.required_text("key")?);
    let value = fields.text("value")?.unwrap_or_default();
    call.app.tracking().log_param(&run_id, &key, &value).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn set_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (run_id, key) = (fields.run_id()?, fields.required_text("key")?);
    let value = fields.text("value")?.unwrap_or_default();
    call.app.tracking().set_tag(&run_id, &key, &value).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn delete_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (run_id, key) = (fields.run_id()?, fields.required_text("key")?);
    call.app.tracking().delete_tag(&run_id, &key).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn log_inputs(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.log_inputs()?;
    call.app.tracking().log_inputs(request).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn log_outputs(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.log_outputs()?;
    call.app.tracking().log_outputs(request).await?;
    Ok(json(&Empty {}))
}

/// Old clients tell here of a model they wrote as artifacts; it ends up in a tag of the run.
pub(super) async fn log_model(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (run_id, model_json) = (fields.run_id()?, fields.required_text("model_json")?);
    call.app.tracking().log_model(&run_id, &model_json).await?;
    Ok(json(&Empty {}))
}
