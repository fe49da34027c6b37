//! `model-versions/…`

use axum::response::Response;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{DownloadUri, Empty, ModelVersionAnswer, ModelVersionsAnswer, VersionName, json};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.create_model_version()?;
    let version = call.app.registry().acting(call.actor()).create_version(request).await?;
    Ok(json(&ModelVersionAnswer { model_version: (&version).into() }))
}

pub(super) async fn get(mut call: Call) -> Result<Response> {
    let VersionName { name, version } = call.fields().await?.version_name()?;
    let version = call.app.registry().get_version(&name, &version).await?;
    Ok(json(&ModelVersionAnswer { model_version: (&version).into() }))
}

pub(super) async fn download_uri(mut call: Call) -> Result<Response> {
    let VersionName { name, version } = call.fields().await?.version_name()?;
    let version = call.app.registry().get_version(&name, &version).await?;
    Ok(json(&DownloadUri { artifact_uri: version.download_uri() }))
}

pub(super) async fn search(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.search_registry()?;
    let caller = call.caller();
    let page = call.app.registry().search_versions_among(&request, |name| caller.sees_model(name)).await?;
    Ok(json(&ModelVersionsAnswer::from(&page)))
}

pub(super) async fn update(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let VersionName { name, version } = fields.version_name()?;
    let description = fields.text("description")?;
    let acting = call.app.registry().acting(call.actor());
    let version = acting.update_version(&name, &version, description.as_deref()).await?;
    Ok(json(&ModelVersionAnswer { model_version: (&version).into() }))
}

pub(super) async fn transition(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let VersionName { name, version } = fields.version_name()?;
    let stage = fields.required_text("stage")?;
    let archive = fields.boolean("archive_existing_versions")?.unwrap_or(false);
    let version = call.app.registry().acting(call.actor()).transition(&name, &version, &stage, archive).await?;
    Ok(json(&ModelVersionAnswer { model_version: (&version).into() }))
}

pub(super) async fn delete(mut call: Call) -> Result<Response> {
    let VersionName { name, version } = call.fields().await?.version_name()?;
    call.app.registry().acting(call.actor()).delete_version(&name, &version).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn set_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let VersionName { name, version } = fields.version_name()?;
    let (key, value) = (fields.required_text("key")?, fields.text("value")?.unwrap_or_default());
    call.app.registry().acting(call.actor()).set_version_tag(&name, &version, &key, &value).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn delete_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let VersionName { name, version } = fields.version_name()?;
    let key = fields.required_text("key")?;
    call.app.registry().acting(call.actor()).delete_version_tag(&name, &version, &key).await?;
    Ok(json(&Empty {}))
}
