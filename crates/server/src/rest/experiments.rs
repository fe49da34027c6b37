//! `experiments/…`

use axum::response::Response;
use runlake_identity::{Role, Scope};

use crate::call::Call;
use crate::error::Result;
use crate::wire::{self, DatasetsAnswer, ExperimentAnswer, ExperimentCreated, ExperimentsAnswer, json};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.create_experiment()?;
    let id = call.app.tracking().create_experiment(request).await?;
    Ok(json(&ExperimentCreated { experiment_id: id.to_string() }))
}

pub(super) async fn get(mut call: Call) -> Result<Response> {
    let id = call.fields().await?.required_text("experiment_id")?;
    let info = call.app.tracking().get_experiment(&id).await?;
    Ok(json(&ExperimentAnswer { experiment: info.as_ref().into() }))
}

pub(super) async fn get_by_name(mut call: Call) -> Result<Response> {
    let name = call.fields().await?.required_text("experiment_name")?;
    let info = call.app.tracking().get_experiment_by_name(&name).await?;
    Ok(json(&ExperimentAnswer { experiment: info.as_ref().into() }))
}

pub(super) async fn search(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.search_experiments()?;
    let caller = call.caller();
    let may_see = |id| caller.may(Role::Viewer, &Scope::Experiment(id));
    let page = call.app.tracking().search_experiments_among(&request, may_see).await?;
    Ok(json(&ExperimentsAnswer::from(&page)))
}

pub(super) async fn update(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (id, name) = (fields.required_text("experiment_id")?, fields.required_text("new_name")?);
    call.app.tracking().update_experiment(&id, Some(&name)).await?;
    Ok(json(&wire::Empty {}))
}

pub(super) async fn delete(mut call: Call) -> Result<Response> {
    let id = call.fields().await?.required_text("experiment_id")?;
    call.app.tracking().delete_experiment(&id).await?;
    Ok(json(&wire::Empty {}))
}

pub(super) async fn restore(mut call: Call) -> Result<Response> {
    let id = call.fields().await?.required_text("experiment_id")?;
    call.app.tracking().restore_experiment(&id).await?;
    Ok(json(&wire::Empty {}))
}

pub(super) async fn set_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (id, key) = (fields.required_text("experiment_id")?, fields.required_text("key")?);
    let value = fields.text("value")?.unwrap_or_default();
    call.app.tracking().set_experiment_tag(&id, &key, &value).await?;
    Ok(json(&wire::Empty {}))
}

pub(super) async fn delete_tag(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (id, key) = (fields.required_text("experiment_id")?, fields.required_text("key")?);
    call.app.tracking().delete_experiment_tag(&id, &key).await?;
    Ok(json(&wire::Empty {}))
}

pub(super) async fn search_datasets(mut call: Call) -> Result<Response> {
    let ids = call.fields().await?.texts("experiment_ids")?;
    let summaries = call.app.tracking().search_datasets(&ids).await?;
    Ok(json(&DatasetsAnswer::from(summaries.as_slice())))
}
