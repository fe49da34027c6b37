//! `lake.json`: says that a folder is a lake, which one, and in which format.

use bytes::Bytes;
use object_store::path::Path;
use runlake_storage::{PutNew, Store, names};
use runlake_types::Clock;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The format this version writes. It reads this one and every earlier one.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// What `lake.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the lake's layout.
    pub format_version: u32,
    /// Random id of the lake: names the log in every Delta commit.
    pub lake_id: String,
    /// When the lake was made, milliseconds since the epoch.
    pub created_at: i64,
}

impl Identity {
    /// Reads the identity; `None` where there is none.
    pub async fn read(store: &Store) -> Result<Option<Self>> {
        match store.get_opt(&Path::from(names::LAKE_FILE)).await? {
            Some(bytes) => Self::parse(store, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the identity, or makes a new lake in an empty place.
    pub(crate) async fn read_or_create(store: &Store, clock: &dyn Clock) -> Result<Self> {
        if let Some(identity) = Self::read(store).await? {
            return Ok(identity);
        }
        refuse_foreign_content(store).await?;
        store.probe().await?;
        let identity = Self {
            format_version: FORMAT_VERSION,
            lake_id: runlake_storage::nonce(),
            created_at: clock.now().millis(),
        };
        let body = serde_json::to_vec_pretty(&identity)
            .map_err(|error| Error::Internal(format!("cannot write lake.json: {error}")))?;
        match store.put_new(&Path::from(names::LAKE_FILE), Bytes::from(body)).await? {
            PutNew::Created => Ok(identity),
            PutNew::Taken(other) => Self::parse(store, &other),
        }
    }

    fn parse(store: &Store, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let place = format!("{} in {}", names::LAKE_FILE, store.url());
        let version: Version = serde_json::from_slice(bytes).map_err(|error| {
            Error::Identity(format!(
                "{place} is damaged ({error}); restore the file from a backup, nothing was changed"
            ))
        })?;
        if version.format_version > FORMAT_VERSION {
            return Err(Error::Identity(format!(
                "{place} has format version {}, and this runlake knows versions up to {FORMAT_VERSION}; \
                 open the lake with the runlake that wrote it, or a newer one",
                version.format_version
            )));
        }
        serde_json::from_slice(bytes)
            .map_err(|error| Error::Identity(format!("{place} is damaged ({error}); restore the file from a backup")))
    }
}

/// A folder with other things in it is not silently turned into a lake.
async fn refuse_foreign_content(store: &Store) -> Result<()> {
    let listing = store
        .objects()
        .list_with_delimiter(None)
        .await
        .map_err(|error| Error::Identity(format!("cannot list {}: {error}", store.url())))?;
    let ours = ["writer", "wal", "tables", names::ARTIFACTS];
    let first = |paths: &mut dyn Iterator<Item = &Path>| {
        paths.filter_map(Path::filename).find(|name| !ours.contains(name) && !name.starts_with('.')).map(str::to_owned)
    };
    let foreign = first(&mut listing.common_prefixes.iter()).or_else(|| {
        first(&mut listing.objects.iter().map(|object| &object.location).filter(|path| !names::is_probe(path)))
    });
    match foreign {
        Some(name) => Err(Error::Identity(format!(
            "{} is not a lake: it has no {} but holds {name:?}; name an empty or new place with --lake",
            store.url(),
            names::LAKE_FILE
        ))),
        None if !listing.common_prefixes.is_empty() => Err(Error::Identity(format!(
            "{} has lost its {}: it holds parts of a lake but not the file that names it; restore it from a backup",
            store.url(),
            names::LAKE_FILE
        ))),
        None => Ok(()),
    }
}
