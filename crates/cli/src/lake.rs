//! Opening a lake for a command.

use std::path::Path;
use std::sync::Arc;

use runlake_engine::{Engine, Identity, Settings};
use runlake_storage::{Store, StoreSettings};
use runlake_types::SystemClock;

use crate::{Failure, Result};

/// Opens the store at `place`.
pub(crate) async fn open_store(place: &str, what: &str) -> Result<Store> {
    Store::open(place, &StoreSettings::default())
        .await
        .map_err(|error| Failure::new(format!("{what} {place} cannot be opened: {error}")))
}

/// Opens the store of a lake that must be there: a mistyped place is told, not made.
pub(crate) async fn open_lake_store(place: &str) -> Result<Store> {
    let folder = place.strip_prefix("file://").unwrap_or(place);
    if !folder.contains("://") && !Path::new(folder).is_dir() {
        return Err(Failure::new(format!(
            "there is no folder {folder}. Check --lake; a lake is made by `runlake server`."
        )));
    }
    let store = open_store(place, "the lake").await?;
    match Identity::read(&store).await {
        Ok(Some(_)) => Ok(store),
        Ok(None) => Err(Failure::new(format!(
            "{} is not a lake: it has no lake.json. Check --lake; a lake is made by `runlake server`.",
            store.url()
        ))),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// Opens the lake in `store`.
pub(crate) async fn open_engine(store: Store, settings: Settings) -> Result<Engine> {
    let place = store.url().to_string();
    Engine::open(store, settings, Arc::new(SystemClock))
        .await
        .map_err(|error| Failure::new(format!("the lake {place} cannot be opened: {error}")))
}
