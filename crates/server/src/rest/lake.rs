//! `/api/runlake/…`: upkeep of the lake, which the server also does by itself.

use std::time::Duration;

use axum::response::Response;
use runlake_artifacts::Error;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{CompactAnswer, FlushAnswer, StatusAnswer, Swept, VacuumAnswer, json};

/// Uploads that were touched within this time may still be under way, however little is to be retained.
const UPLOAD_GRACE: Duration = Duration::from_hours(1);

pub(super) async fn status(call: Call) -> Result<Response> {
    Ok(json(&StatusAnswer::from(call.app.engine().status())))
}

pub(super) async fn flush(mut call: Call) -> Result<Response> {
    call.own_fields(&[]).await?;
    Ok(json(&FlushAnswer::from(call.app.engine().flush().await?)))
}

pub(super) async fn compact(mut call: Call) -> Result<Response> {
    call.own_fields(&[]).await?;
    Ok(json(&CompactAnswer::from(call.app.engine().compact().await?)))
}

pub(super) async fn vacuum(mut call: Call) -> Result<Response> {
    let retain = call.own_fields(&["retain_seconds"]).await?.retain()?;
    let engine = call.app.engine();
    let vacuumed = engine.vacuum(retain).await?;
    let before = engine.clock().now().earlier_by(retain.max(UPLOAD_GRACE));
    let artifacts = call.app.artifacts();
    // The artifacts may be in the lake or elsewhere; what the first sweep took, the second does not count again.
    let in_lake = engine.store().sweep_staging(before).await.map_err(Error::from)?;
    let elsewhere = artifacts.store().sweep_staging(before).await.map_err(Error::from)?;
    let swept = Swept { uploads: artifacts.sweep_uploads(before).await?, staging_files: in_lake + elsewhere };
    Ok(json(&VacuumAnswer::new(vacuumed, swept)))
}
