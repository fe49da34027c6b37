//! Create-if-absent, the one conditional write a lake needs.
//!
//! A lost answer makes one's own success look like somebody else's: a client that retries a PUT after a 500 or a broken
//! connection is told that the name is taken, by itself. So whenever the answer is not a plain yes, the object is read
//! back and compared with what was sent.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode};

use super::Store;
use crate::local::is_local_failure;
use crate::{Error, names, nonce};

/// What became of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutNew {
    /// The object is there, and it is ours.
    Created,
    /// Somebody else had the name; this is their object.
    Taken(Bytes),
}

/// The store's client has retried by itself before an error comes here, so a few more rounds are enough.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn put_new(store: &Store, path: &Path, body: Bytes) -> Result<PutNew, Error> {
    let mut attempt = 1;
    loop {
        let put = store.objects.put_opts(path, body.clone().into(), PutMode::Create.into()).await;
        let Err(error) = put else { return Ok(PutNew::Created) };
        if is_certain(&error) {
            return Err(store.failed("create", path, error));
        }
        // `None` after "already exists" is real too: a store may refuse one of two racing creates and then drop the
        // other, or the owner may have deleted it again.
        match store.get_opt(path).await {
            Ok(Some(found)) if found == body => return Ok(PutNew::Created),
            Ok(Some(found)) => return Ok(PutNew::Taken(found)),
            Ok(None) if attempt < ATTEMPTS => {}
            Ok(None) | Err(_) => return Err(store.failed("create", path, error)),
        }
        tracing::debug!(%path, %error, attempt, "create did not happen; trying again");
        tokio::time::sleep(PAUSE * attempt).await;
        attempt += 1;
    }
}

/// Whether the error says for sure that nothing of ours was written, or that reading back could not tell whether it was
/// written to stay: local files fail before they publish, and one that could not be synced must not pass as durable.
fn is_certain(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    matches!(
        error,
        E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::NotImplemented { .. }
            | E::NotSupported { .. }
            | E::InvalidPath { .. }
            | E::UnknownConfigurationKey { .. }
    ) || is_local_failure(error)
}

pub(super) async fn probe(store: &Store) -> Result<(), Error> {
    let path = names::probe(&nonce());
    let outcome = probe_at(store, &path).await;
    let cleaned = store.objects.delete(&path).await;
    match (outcome, cleaned) {
        (Ok(()), Err(source)) => Err(store.failed("delete", &path, source)),
        (outcome, _) => outcome,
    }
}

async fn probe_at(store: &Store, path: &Path) -> Result<(), Error> {
    let (first, second) = (Bytes::from(nonce()), Bytes::from(nonce()));
    let unfit = |problem: String| Error::NoConditionalPut { store: store.url.clone(), problem };
    match put_new(store, path, first.clone()).await {
        Ok(PutNew::Created) => {}
        Ok(PutNew::Taken(_)) => return Err(unfit("a name nobody ever used was taken".into())),
        Err(Error::Object { source: source @ object_store::Error::NotImplemented { .. }, .. }) => {
            return Err(unfit(source.to_string()));
        }
        Err(error) => return Err(error),
    }
    match put_new(store, path, second).await? {
        PutNew::Taken(found) if found == first => Ok(()),
        PutNew::Taken(_) => Err(unfit("a refused create changed the object".into())),
        PutNew::Created => Err(unfit("two creates of one name both succeeded".into())),
    }
}
