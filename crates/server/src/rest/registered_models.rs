//! `registered-models/…`

use axum::response::Response;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{
    Empty, ModelVersionAnswer, ModelVersionsAnswer, RegisteredModelAnswer, RegisteredModelsAnswer, RegistryHistory,
    json,
};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.create_registered_model()?;
    let model = call.app.registry().acting(call.actor()).create_model(request).await?;
    Ok(json(&RegisteredModelAnswer { registered_model: (&model).into() }))
}

pub(super) async fn get(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    let model = call.app.registry().get_model(&name).await?;
    Ok(json(&RegisteredModelAnswer { registered_model: (&model).into() }))
}

pub(super) async fn search(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.search_registry()?;
    let caller = call.caller();
    let page = call.app.registry().search_models_among(&request, |name| caller.sees_model(name)).await?;
    Ok(json(&RegisteredModelsAnswer::from(&page)))
}

pub(super) async fn update(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, description) = (fields.required_text("name")?, fields.text("description")?);
    let model = call.app.registry().acting(call.actor()).update_model(&name, description.as_deref()).await?;
    Ok(json(&RegisteredModelAnswer { registered_model: (&model).into() }))
}

pub(super) async fn rename(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, new_name) = (fields.required_text("name")?, fields.required_text("new_name")?);
    let model = call.app.registry().acting(call.actor()).rename_model(&name, &new_name).await?;
    Ok(json(&RegisteredModelAnswer { registered_model: (&model).into() }))
}

pub(super) async fn delete(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    call.app.registry().acting(call.actor()).delete_model(&name).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn set_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, key) = (fields.required_text("name")?, fields.required_text("key")?);
    let value = fields.text("value")?.unwrap_or_default();
    call.app.registry().acting(call.actor()).set_model_tag(&name, &key, &value).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn delete_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, key) = (fields.required_text("name")?, fields.required_text("key")?);
    call.app.registry().acting(call.actor()).delete_model_tag(&name, &key).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn latest_versions(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, stages) = (fields.required_text("name")?, fields.texts("stages")?);
    let versions = call.app.registry().latest_versions(&name, &stages).await?;
    Ok(json(&ModelVersionsAnswer::from(versions.as_slice())))
}

pub(super) async fn set_alias(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, alias) = (fields.required_text("name")?, fields.required_text("alias")?);
    let version = fields.required_text("version")?;
    call.app.registry().acting(call.actor()).set_alias(&name, &alias, &version).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn get_by_alias(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, alias) = (fields.required_text("name")?, fields.required_text("alias")?);
    let version = call.app.registry().version_by_alias(&name, &alias).await?;
    Ok(json(&ModelVersionAnswer { model_version: (&version).into() }))
}

pub(super) async fn delete_alias(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (name, alias) = (fields.required_text("name")?, fields.required_text("alias")?);
    call.app.registry().acting(call.actor()).delete_alias(&name, &alias).await?;
    Ok(json(&Empty {}))
}

/// Everything that was done to a model: `GET /api/runlake/registry/history?name=…`.
pub(super) async fn history(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("name")?;
    let events = call.app.registry().history(&name).await?;
    Ok(json(&RegistryHistory::from(events.as_slice())))
}
