//! Uploads in numbered parts that come with requests of their own, in any order, each as often as it needs.
//!
//! `#uploads/<id>/path` holds the path the upload is for, `#uploads/<id>/<number>` each part. Completing strings the
//! parts together into the file, which appears in one step, and then removes them. A client that never comes back leaves
//! parts behind until [`Artifacts::sweep_uploads`].

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use runlake_types::Timestamp;

use super::{Artifacts, download, failed, file, upload};
use crate::{ArtifactPath, Error};

/// Folder of the parts of unfinished uploads.
pub(super) const UPLOADS: &str = "#uploads";
const TARGET: &str = "path";
const PARTS_LIMIT: u32 = 10_000;

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTag {
    /// To be given back when the upload is completed; empty where the store has none.
    pub e_tag: String,
    /// Bytes of the part.
    pub size: u64,
}

/// A part as the client names it when it completes an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRef {
    /// 1 to 10,000.
    pub number: u32,
    /// What [`PartTag::e_tag`] was, if the client kept it: then the part must still be that one.
    pub e_tag: Option<String>,
}

impl Artifacts {
    /// Begins an upload of `path` in parts. Its id.
    pub async fn create_upload(&self, path: &ArtifactPath) -> Result<String, Error> {
        file(path)?;
        let id = runlake_storage::nonce();
        let target = Bytes::from(path.as_str().to_owned());
        let put = self.store.objects().put(&folder(&id).join(TARGET), target.into()).await;
        put.map_err(|error| failed("begin the upload of", path, error))?;
        Ok(id)
    }

    /// Writes part `number` (1 to 10,000) of an upload, of at most `size_limit` bytes; a part that comes again replaces
    /// the earlier one.
    pub async fn put_part<S, E>(
        &self,
        path: &ArtifactPath,
        id: &str,
        number: u32,
        body: S,
        size_limit: Option<u64>,
    ) -> Result<PartTag, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let folder = self.upload(path, id).await?;
        if !(1..=PARTS_LIMIT).contains(&number) {
            return Err(unfit(path, format!("part {number} is not one of 1 to {PARTS_LIMIT}")));
        }
        let limit = size_limit.unwrap_or(u64::MAX);
        let written = upload::write(&self.store, &part(&folder, number), path, body, limit).await?;
        Ok(PartTag { e_tag: written.e_tag.unwrap_or_default(), size: written.size })
    }

    /// Makes the file out of `parts`, whose numbers must rise, and ends the upload. Parts that are not named are thrown
    /// away. Bytes of the file.
    pub async fn complete_upload(&self, path: &ArtifactPath, id: &str, parts: &[PartRef]) -> Result<u64, Error> {
        let folder = self.upload(path, id).await?;
        self.check_parts(path, &folder, parts).await?;
        let objects = self.store.objects();
        let named: Vec<_> = parts.iter().map(|named| part(&folder, named.number)).collect();
        // Owned by each step, so that the future is `Send` for callers of any lifetime.
        let (source, whole) = (std::sync::Arc::clone(objects), path.clone());
        let bodies = futures::stream::iter(named)
            .then(move |object| {
                let (source, whole) = (std::sync::Arc::clone(&source), whole.clone());
                async move {
                    let found = source.get(&object).await.map_err(|error| failed("read a part of", &whole, error))?;
                    Ok::<_, Error>(download::stream(found, whole))
                }
            })
            .try_flatten()
            .boxed();
        let written = upload::write(&self.store, &file(path)?, path, bodies, u64::MAX).await?;
        self.store.delete_tree(&folder).await?;
        Ok(written.size)
    }

    /// Ends an upload without a file. That there is no such upload is fine.
    pub async fn abort_upload(&self, path: &ArtifactPath, id: &str) -> Result<(), Error> {
        match self.upload(path, id).await {
            Ok(folder) => self.store.delete_tree(&folder).await.map(drop).map_err(Error::from),
            Err(Error::NoUpload { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes uploads whose newest part came before `before` and that were neither completed nor aborted. How many.
    pub async fn sweep_uploads(&self, before: Timestamp) -> Result<u64, Error> {
        let root = ArtifactPath::root();
        let objects = self.store.objects();
        let listed = objects.list_with_delimiter(Some(&uploads())).await;
        let listed = listed.map_err(|error| failed("list the uploads of", &root, error))?;
        let mut swept = 0;
        for folder in listed.common_prefixes {
            let newest = objects
                .list(Some(&folder))
                .try_fold(i64::MIN, |newest, meta| async move { Ok(newest.max(meta.last_modified.timestamp_micros())) })
                .await
                .map_err(|error| failed("list the uploads of", &root, error))?;
            if newest < before.micros() {
                self.store.delete_tree(&folder).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// The folder of upload `id`, if it is one of `path`.
    async fn upload(&self, path: &ArtifactPath, id: &str) -> Result<Path, Error> {
        let unknown = || Error::NoUpload { path: path.clone(), id: id.to_owned() };
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let folder = folder(id);
        let target = self.store.get_opt(&folder.clone().join(TARGET)).await?;
        if target.is_some_and(|target| *target == *path.as_str().as_bytes()) { Ok(folder) } else { Err(unknown()) }
    }

    /// Whether the named parts are there, in order, and the ones that were meant.
    async fn check_parts(&self, path: &ArtifactPath, folder: &Path, parts: &[PartRef]) -> Result<(), Error> {
        if parts.is_empty() {
            return Err(unfit(path, "none is named".into()));
        }
        if let Some(pair) = parts.windows(2).find(|pair| pair[0].number >= pair[1].number) {
            return Err(unfit(path, format!("part {} comes after part {}", pair[1].number, pair[0].number)));
        }
        let found: Vec<_> = self
            .store
            .objects()
            .list(Some(folder))
            .try_collect()
            .await
            .map_err(|error| failed("list the parts of", path, error))?;
        let found: std::collections::HashMap<_, _> =
            found.into_iter().map(|meta| (meta.location, meta.e_tag.unwrap_or_default())).collect();
        for named in parts {
            let Some(e_tag) = found.get(&part(folder, named.number)) else {
                return Err(unfit(path, format!("part {} was never sent", named.number)));
            };
            let quoted = |tag: &str| tag.trim_matches('"').to_owned();
            if named.e_tag.as_ref().is_some_and(|wanted| !wanted.is_empty() && quoted(wanted) != quoted(e_tag)) {
                return Err(unfit(path, format!("part {} is not the one that was meant", named.number)));
            }
        }
        Ok(())
    }
}

/// Not made by `Path::from`, which would write the `#` in another way.
fn uploads() -> Path {
    Path::parse(UPLOADS).expect("the name is valid")
}

fn folder(id: &str) -> Path {
    uploads().join(id)
}

fn part(folder: &Path, number: u32) -> Path {
    folder.clone().join(format!("{number:05}"))
}

fn unfit(path: &ArtifactPath, problem: String) -> Error {
    Error::Parts { path: path.clone(), problem }
}
