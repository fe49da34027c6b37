//! One place that holds a lake, and the few operations everything else is built from.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use runlake_types::Timestamp;
use url::Url;

use crate::location::Location;
use crate::{DurableLocal, Error};

mod create;
mod open;

pub use create::PutNew;
use open::Signing;

/// How to open a store.
#[derive(Debug, Clone, Default)]
pub struct StoreSettings {
    /// More settings for a cloud's client, by the names `object_store` gives them (`aws_region`, `timeout`, …).
    /// They go before those of the environment.
    pub options: HashMap<String, String>,
}

/// A place that holds a lake or a part of one. Every path given to it is relative to its root. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    url: Url,
    local: Option<Local>,
    signing: Option<Signing>,
}

#[derive(Debug, Clone)]
struct Local {
    root: Arc<std::path::Path>,
    files: DurableLocal,
}

/// What a signed URL lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read the object with GET.
    Read,
    /// Write the object with PUT.
    Write,
}

impl Store {
    /// Opens the store at `location`: a folder (`./runlake-data`; made when missing), `file:///…`, `s3://bucket/prefix`,
    /// `gs://bucket/prefix`, `az://container/prefix`, `memory://` (a fresh one) or `memory://name` (the same one for all
    /// of this process that give the name). Clouds take credentials and endpoints from their usual environment variables.
    ///
    /// Nothing is asked of a cloud here; see [`Self::probe`].
    #[allow(clippy::unused_async, reason = "opening may have to ask, and callers should not notice when it does")]
    pub async fn open(location: &str, settings: &StoreSettings) -> Result<Self, Error> {
        open::open(location, settings).await
    }

    /// Whether `location` is of a kind that [`Self::open`] takes. Says nothing about whether it is there.
    pub fn can_open(location: &str) -> bool {
        Location::parse(location).is_ok()
    }

    /// The objects, rooted here: the path `lake.json` is `<root>/lake.json`.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Where the root is. Never holds credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The root as a folder, if the objects are local files.
    pub fn local_root(&self) -> Option<&std::path::Path> {
        self.local.as_ref().map(|local| &*local.root)
    }

    /// The same place seen through another object store: one that counts, fails or pauses.
    #[must_use]
    pub fn with_objects(&self, objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, ..self.clone() }
    }

    /// The part of this store below `prefix`.
    #[must_use]
    pub fn folder(&self, prefix: &str) -> Self {
        let prefix = Path::from(prefix);
        if prefix.is_root() {
            return self.clone();
        }
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(prefix.parts().map(|part| part.as_ref().to_owned()));
        }
        let local = self.local.as_ref().map(|local| {
            let mut root = local.root.to_path_buf();
            root.extend(prefix.parts().map(|part| part.as_ref().to_owned()));
            Local { root: root.into(), files: local.files.clone() }
        });
        Self {
            objects: Arc::new(PrefixStore::new(Arc::clone(&self.objects), prefix.clone())),
            url,
            local,
            signing: self.signing.as_ref().map(|signing| signing.below(&prefix)),
        }
    }

    /// The whole object, or `None` when there is none.
    pub async fn get_opt(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        let read = async { self.objects.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed("read", path, source)),
        }
    }

    /// Creates an object that does not exist yet.
    ///
    /// When the store says that the name is taken, or does not say what became of the write, the object is read back:
    /// if it is `body`, this was our own earlier attempt and the answer is [`PutNew::Created`]. Bodies must therefore
    /// carry a [`crate::nonce`] (or be equal on purpose). After an error the object may still appear later.
    pub async fn put_new(&self, path: &Path, body: Bytes) -> Result<PutNew, Error> {
        create::put_new(self, path, body).await
    }

    /// Proves that two creates of one name do not both succeed here, by trying it; some stores accept the condition and
    /// ignore it. Leaves nothing behind. Every writer does this before its first write.
    pub async fn probe(&self) -> Result<(), Error> {
        create::probe(self).await
    }

    /// Deletes every object below `prefix`, and on local files the folders too. The number of objects that were there.
    pub async fn delete_tree(&self, prefix: &Path) -> Result<u64, Error> {
        let found = self.objects.list(Some(prefix)).map_ok(|meta| meta.location).boxed();
        let mut deleted = 0;
        let mut gone = self.objects.delete_stream(found);
        while let Some(result) = gone.next().await {
            match result {
                Ok(_) => deleted += 1,
                // Somebody else was faster: what was asked for is so.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(self.failed("delete", prefix, source)),
            }
        }
        if let Some(local) = &self.local {
            let mut folder = local.root.to_path_buf();
            folder.extend(prefix.parts().map(|part| part.as_ref().to_owned()));
            let removed = local.files.remove_empty_folders(folder).await;
            removed.map_err(|source| self.failed("delete", prefix, source))?;
        }
        Ok(deleted)
    }

    /// Removes what writes that a crash cut off left behind on local files: hidden files nobody has written to since
    /// `before`, which must be longer ago than any upload takes. How many. Clouds keep such remains out of sight.
    pub async fn sweep_staging(&self, before: Timestamp) -> Result<u64, Error> {
        let Some(local) = &self.local else { return Ok(0) };
        let before = UNIX_EPOCH + Duration::from_micros(u64::try_from(before.micros()).unwrap_or(0));
        let swept = local.files.sweep(local.root.to_path_buf(), before).await;
        swept.map_err(|source| self.failed("clear away unfinished writes in", &Path::default(), source))
    }

    /// A URL that lets its holder read or write one object without credentials until `expires_in` has passed; `None`
    /// where the store cannot sign (local files, memory).
    pub async fn presigned_url(&self, access: Access, path: &Path, expires_in: Duration) -> Result<Option<Url>, Error> {
        match &self.signing {
            None => Ok(None),
            Some(signing) => {
                let signed = signing.url(access, path, expires_in).await;
                signed.map(Some).map_err(|source| self.failed("sign a URL for", path, source))
            }
        }
    }

    /// The error of `operation` on `path` here, for those who used [`Self::objects`] themselves.
    pub fn failed(&self, operation: &'static str, path: &Path, source: object_store::Error) -> Error {
        Error::Object { operation, path: path.clone(), store: self.url.clone(), source }
    }
}

#[cfg(test)]
mod tests;
