//! Claims: who owns the lake for writing.
//!
//! `writer/<epoch>.json` is created with put-if-absent under the epoch after the highest one; the highest owns the lake.
//! Claims are never changed. Old ones are removed some time after a newer one took effect.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use runlake_storage::{PutNew, Store, names};
use runlake_types::{Clock, Epoch};
use serde::{Deserialize, Serialize};

use crate::{Error, Owner};

/// Claims kept besides the newest: a story for people, and time for old owners to notice.
const KEPT: u64 = 16;

/// The body of a claim.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    epoch: u64,
    pid: u32,
    host: String,
    started_at: String,
    nonce: String,
}

/// Everything in the folder of the claims.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) objects: Vec<ObjectMeta>,
}

impl Claims {
    pub(crate) async fn list(store: &Store) -> Result<Self, Error> {
        let found = store.objects().list(Some(&Path::from(names::WRITER))).try_collect().await;
        let objects = found.map_err(|error| Error::object(format!("list {}/", names::WRITER), store, error))?;
        Ok(Self { objects })
    }

    /// The highest epoch claimed; 0 when none ever was.
    pub(crate) fn highest(&self) -> Epoch {
        Epoch(self.objects.iter().filter_map(|meta| names::writer_claim_epoch(&meta.location)).max().unwrap_or(0))
    }

    /// Removes what old writers left. Failing to is no reason not to start.
    pub(crate) async fn prune(&self, store: &Store) {
        let highest = self.highest().0;
        for meta in &self.objects {
            let epoch = epoch_of(&meta.location);
            if epoch.is_some_and(|epoch| epoch + KEPT < highest)
                && let Err(error) = store.objects().delete(&meta.location).await
            {
                tracing::debug!(%error, "an old claim stays behind");
            }
        }
    }
}

/// The epoch in the name of a claim or of what stands beside it.
fn epoch_of(path: &Path) -> Option<u64> {
    let digits = path.filename()?.split_once('.')?.0;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Claims `epoch`; `false` when somebody else was faster.
pub(crate) async fn claim(store: &Store, epoch: Epoch, clock: &dyn Clock) -> Result<bool, Error> {
    let micros = u64::try_from(clock.now().micros()).unwrap_or(0);
    let claim = Claim {
        epoch: epoch.0,
        pid: std::process::id(),
        host: host(),
        started_at: humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(micros)).to_string(),
        nonce: runlake_storage::nonce(),
    };
    let body = serde_json::to_vec_pretty(&claim).expect("a claim is plain text and numbers");
    let name = names::writer_claim(epoch.0);
    let put = store.put_new(&name, Bytes::from(body)).await;
    Ok(put.map_err(|error| Error::store(format!("claim the lake by {name}"), error))? == PutNew::Created)
}

/// Who claimed `epoch`, as far as can be told.
pub(crate) async fn owner(store: &Store, epoch: Epoch) -> Result<Owner, Error> {
    let name = names::writer_claim(epoch.0);
    let body = store.get_opt(&name).await.map_err(|error| Error::store(format!("read {name}"), error))?;
    let claim = body.and_then(|body| serde_json::from_slice::<Claim>(&body).ok());
    let unknown = || "unknown".to_owned();
    Ok(match claim {
        Some(claim) => Owner { epoch, pid: claim.pid, host: claim.host, since: claim.started_at },
        None => Owner { epoch, pid: 0, host: unknown(), since: unknown() },
    })
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
