//! `/api/runlake/…`: upkeep of the lake, which the server also does by itself.

use axum::response::Response;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{CompactAnswer, FlushAnswer, StatusAnswer, VacuumAnswer, json};

pub(super) async fn status(call: Call) -> Result<Response> {
    Ok(json(&StatusAnswer::from(call.app.engine().status())))
}

pub(super) async fn flush(call: Call) -> Result<Response> {
    Ok(json(&FlushAnswer::from(call.app.engine().flush().await?)))
}

pub(super) async fn compact(call: Call) -> Result<Response> {
    Ok(json(&CompactAnswer::from(call.app.engine().compact().await?)))
}

pub(super) async fn vacuum(mut call: Call) -> Result<Response> {
    let retain = call.fields().await?.retain()?;
    Ok(json(&VacuumAnswer::from(call.app.engine().vacuum(retain).await?)))
}
