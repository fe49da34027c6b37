//! `logged-models/…`

use axum::response::Response;
use runlake_identity::Role;
use runlake_registry::VERSIONS_TAG;
use runlake_tracking::LoggedModelInfo;
use serde_json::Value;

use crate::call::Call;
use crate::caller::Caller;
use crate::error::Result;
use crate::wire::{Empty, ModelAnswer, ModelsAnswer, json};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.create_logged_model()?;
    let model = call.app.tracking().create_logged_model(request).await?;
    Ok(answer(&call, model))
}

pub(super) async fn get(call: Call) -> Result<Response> {
    let allow_deleted = call.query().boolean("allow_deleted")?.unwrap_or(false);
    let model = call.app.tracking().get_logged_model(&call.param("model_id")?, allow_deleted).await?;
    Ok(answer(&call, model))
}

pub(super) async fn finalize(mut call: Call) -> Result<Response> {
    let status = call.fields().await?.finalize_logged_model()?;
    let model = call.app.tracking().finalize_logged_model(&call.param("model_id")?, status).await?;
    Ok(answer(&call, model))
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
    let mut page = call.app.tracking().search_logged_models(&request).await?;
    page.items.iter_mut().for_each(|model| leave_out_hidden(call.caller(), model));
    Ok(json(&ModelsAnswer::from(&page)))
}

fn answer(call: &Call, mut model: LoggedModelInfo) -> Response {
    leave_out_hidden(call.caller(), &mut model);
    json(&ModelAnswer { model: (&model).into() })
}

/// The tag that lists the versions made of a logged model names registered models, of which the caller may know some.
fn leave_out_hidden(caller: &Caller, model: &mut LoggedModelInfo) {
    if caller.may_everywhere(Role::Viewer) {
        return;
    }
    let Some((_, value)) = model.tags.iter_mut().find(|(key, _)| key == VERSIONS_TAG) else { return };
    // What is no such list was written by a client, who may know what it says.
    let Ok(mut versions) = serde_json::from_str::<Vec<Value>>(value) else { return };
    versions.retain(|version| version["name"].as_str().is_some_and(|name| caller.sees_model(name)));
    *value = Value::from(versions).to_string();
}
