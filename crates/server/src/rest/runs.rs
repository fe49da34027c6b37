//! `runs/…`: the run itself, its lifecycle, finding runs.

use axum::response::Response;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{self, RunAnswer, RunUpdated, RunsAnswer, json};

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.create_run()?;
    let run = call.app.tracking().create_run(request).await?;
    Ok(json(&RunAnswer { run: (&run).into() }))
}

pub(super) async fn get(mut call: Call) -> Result<Response> {
    let id = call.fields().await?.run_id()?;
    let run = call.app.tracking().get_run(&id).await?;
    Ok(json(&RunAnswer { run: (&run).into() }))
}

pub(super) async fn update(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.update_run()?;
    let run = call.app.tracking().update_run(request).await?;
    Ok(json(&RunUpdated { run_info: (&run).into() }))
}

pub(super) async fn delete(mut call: Call) -> Result<Response> {
    let id = call.fields().await?.run_id()?;
    call.app.tracking().delete_run(&id).await?;
    Ok(json(&wire::Empty {}))
}

pub(super) async fn restore(mut call: Call) -> Result<Response> {
    let id = call.fields().await?.run_id()?;
    call.app.tracking().restore_run(&id).await?;
    Ok(json(&wire::Empty {}))
}

pub(super) async fn search(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.search_runs()?;
    let page = call.app.tracking().search_runs(&request).await?;
    Ok(json(&RunsAnswer::from(&page)))
}
