//! `logged-models/…`

use axum::response::Response;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{Empty, ModelAnswer, ModelsAnswer, json};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.create_logged_model()?;
    let model = call.app.tracking().create_logged_model(request).await?;
    Ok(json(&ModelAnswer { model: (&model).into() }))
}

pub(super) async fn get(call: Call) -> Result<Response> {
    let allow_deleted = call.query().boolean("allow_deleted")?.unwrap_or(false);
    let model = call.app.tracking().get_logged_model(&call.param("model_id")?, allow_deleted).await?;
    Ok(json(&ModelAnswer { model: (&model).into() }))
}

pub(super) async fn finalize(mut call: Call) -> Result<Response> {
    let status = call.fields().await?.finalize_logged_model()?;
    let model = call.app.tracking().finalize_logged_model(&call.param("model_id")?, status).await?;
    Ok(json(&ModelAnswer { model: (&model).into() }))
}

pub(super) async fn delete(call: Call) -> Result<Response> {
    call.app.tracking().delete_logged_model(&call.param("model_id")?).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn log_params(mut call: Call) -> Result<Response> {
    let params = call.fields().await?.params()?;
    call.app.tracking().log_logged_model_params(&call.param("model_id")?, &params).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn set_tags(mut call: Call) -> Result<Response> {
    let tags = call.fields().await?.tags()?;
    call.app.tracking().set_logged_model_tags(&call.param("model_id")?, &tags).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn delete_tag(call: Call) -> Result<Response> {
    let (model_id, key) = (call.param("model_id")?, call.param("tag_key")?);
    call.app.tracking().delete_logged_model_tag(&model_id, &key).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn search(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.search_logged_models()?;
    let page = call.app.tracking().search_logged_models(&request).await?;
    Ok(json(&ModelsAnswer::from(&page)))
}
