//! The files below one root.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, TryStreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStoreExt as _};
use runlake_storage::{Access, Store};
use url::Url;

use crate::{ArtifactPath, Error, content_type};

mod download;
mod parts;
mod upload;

pub use object_store::GetRange as ByteRange;
pub use parts::{PartRef, PartTag};

/// Files of runs and models below the root of a store. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Artifacts {
    store: Store,
}

/// What there is to know about a file before its bytes come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of the whole file.
    pub size: u64,
    /// The bytes that are coming: all, or the asked range cut at the end of the file.
    pub range: Range<u64>,
    /// What to serve it as.
    pub content_type: &'static str,
    /// The last part of its path.
    pub filename: String,
    /// Changes when the file does, if the store can tell.
    pub e_tag: Option<String>,
}

/// The bytes of a file.
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// The whole path, from the root.
    pub path: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Bytes of a file, 0 for a folder.
    pub size: u64,
}

impl Artifacts {
    /// The files below the root of `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Whether files can be at `uri`, as far as its kind goes.
    pub fn can_be_at(uri: &str) -> bool {
        Store::can_open(uri)
    }

    /// The store the files are in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes a file from a stream, replacing the one that is there. It appears in one step when all of it has come;
    /// when the body fails, is longer than `size_limit` bytes, or this future is dropped, nothing is left of it. Bodies
    /// of any size take bounded memory. The number of bytes written.
    pub async fn put<S, E>(&self, path: &ArtifactPath, body: S, size_limit: Option<u64>) -> Result<u64, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let object = file(path)?;
        let written = upload::write(&self.store, &object, path, body, size_limit.unwrap_or(u64::MAX)).await?;
        Ok(written.size)
    }

    /// A file, or the asked range of it; `None` when there is no such file. A folder is [`Error::IsFolder`].
    pub async fn get(&self, path: &ArtifactPath, range: Option<ByteRange>) -> Result<Option<(Meta, Body)>, Error> {
        let Ok(object) = file(path) else { return Err(Error::IsFolder { path: path.clone() }) };
        if let Some(asked) = &range {
            // Stores answer a range outside of the file in many ways; asking for the size first makes it one.
            let size = match self.store.objects().head(&object).await {
                Ok(meta) => meta.size,
                Err(error) => return self.missing(path, &object, error).await,
            };
            if !has_bytes(asked, size) {
                return Err(Error::Range { path: path.clone(), size });
            }
        }
        let found = match self.store.objects().get_opts(&object, GetOptions { range, ..GetOptions::default() }).await {
            Ok(found) => found,
            Err(error) => return self.missing(path, &object, error).await,
        };
        let filename = path.name().to_owned();
        let meta = Meta {
            size: found.meta.size,
            range: found.range.clone(),
            content_type: content_type(&filename),
            filename,
            e_tag: found.meta.e_tag.clone(),
        };
        Ok(Some((meta, download::stream(found, path.clone()))))
    }

    /// Why an object cannot be read: it is not there, it is a folder, or the store failed.
    async fn missing<T>(
        &self,
        path: &ArtifactPath,
        object: &Path,
        error: object_store::Error,
    ) -> Result<Option<T>, Error> {
        if !matches!(error, object_store::Error::NotFound { .. }) {
            return Err(failed("read", path, error));
        }
        let below = self.store.objects().list(Some(object)).try_next().await;
        match below.map_err(|error| failed("read", path, error))? {
            Some(_) => Err(Error::IsFolder { path: path.clone() }),
            None => Ok(None),
        }
    }

    /// The files and folders directly in `folder`, sorted by name. Nothing for a folder that does not exist, or a file.
    pub async fn list(&self, folder: &ArtifactPath) -> Result<Vec<Entry>, Error> {
        let prefix = object(folder);
        let listed = self.store.objects().list_with_delimiter(Some(&prefix)).await;
        let listed = match listed {
            Err(object_store::Error::NotFound { .. }) => return Ok(vec![]),
            other => other.map_err(|error| failed("list", folder, error))?,
        };
        let folders = listed.common_prefixes.iter().map(|path| (path, true, 0));
        let files = listed.objects.iter().map(|meta| (&meta.location, false, meta.size));
        let mut entries: Vec<Entry> = folders
            .chain(files)
            .filter(|(path, ..)| path.as_ref() != parts::UPLOADS)
            .filter_map(|(path, is_dir, size)| {
                let name = path.filename()?.to_owned();
                Some(Entry { name, path: path.to_string(), is_dir, size })
            })
            .collect();
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name).then(one.is_dir.cmp(&other.is_dir)));
        Ok(entries)
    }

    /// Deletes a file, or a folder with all that is in it. That there is nothing is fine.
    pub async fn delete(&self, path: &ArtifactPath) -> Result<(), Error> {
        let object = file(path)?;
        match self.store.objects().delete(&object).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed("delete", path, error)),
        }
        self.store.delete_tree(&object).await?;
        Ok(())
    }

    /// A URL by which a client reads or writes the file at the store itself until `expires_in` has passed; `None` where
    /// the store cannot sign.
    pub async fn presigned_url(
        &self,
        path: &ArtifactPath,
        access: Access,
        expires_in: Duration,
    ) -> Result<Option<Url>, Error> {
        Ok(self.store.presigned_url(access, &file(path)?, expires_in).await?)
    }
}

/// Whether a file of `size` bytes has any of the asked ones.
fn has_bytes(asked: &GetRange, size: u64) -> bool {
    match asked {
        GetRange::Bounded(range) => range.start < range.end && range.start < size,
        GetRange::Offset(start) => *start < size,
        GetRange::Suffix(length) => *length > 0 && size > 0,
    }
}

fn object(path: &ArtifactPath) -> Path {
    Path::parse(path.as_str()).expect("an artifact path has only parts an object's name can have")
}

/// The object of a file; the root is none.
fn file(path: &ArtifactPath) -> Result<Path, Error> {
    if path.is_root() { Err(Error::InvalidPath { path: String::new() }) } else { Ok(object(path)) }
}

fn failed(operation: &'static str, path: &ArtifactPath, source: object_store::Error) -> Error {
    Error::Object { operation, path: path.clone(), source: Box::new(source) }
}

#[cfg(test)]
mod tests;
