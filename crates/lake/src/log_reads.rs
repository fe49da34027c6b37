//! A store for the Delta library that does not fetch the same piece of a log twice.
//!
//! Opening a table, the library reads the newest checkpoint and each later commit several times over (for protocol and
//! schema, for files, for the watermark). They never change once written, so the store keeps the last ones in memory; a
//! commit of our own is kept as it is written. What may change (listings, the pointer to the newest checkpoint) is passed
//! on. Listings come in order, whatever the store does.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Larger objects are read piece by piece as asked.
const OBJECT_BYTES: u64 = 4 << 20;
/// Kept at most, all tables of a lake together.
const KEPT_BYTES: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct LogReads {
    inner: Arc<dyn ObjectStore>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    objects: FxHashMap<Path, (ObjectMeta, Bytes)>,
    oldest_first: VecDeque<Path>,
    bytes: usize,
}

impl LogReads {
    pub(crate) fn over(inner: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Self { inner: Arc::clone(inner), kept: Mutex::default() })
    }

    /// The object, if it is kept or can be; `None` when it is better asked for piece by piece.
    async fn whole(&self, path: &Path) -> Result<Option<(ObjectMeta, Bytes)>> {
        if let Some(found) = self.kept.lock().objects.get(path).cloned() {
            return Ok(Some(found));
        }
        let got = self.inner.get(path).await?;
        if got.meta.size > OBJECT_BYTES {
            return Ok(None);
        }
        let meta = got.meta.clone();
        let bytes = got.bytes().await?;
        self.kept.lock().insert(meta.clone(), bytes.clone());
        Ok(Some((meta, bytes)))
    }
}

impl Kept {
    fn insert(&mut self, meta: ObjectMeta, bytes: Bytes) {
        let path = meta.location.clone();
        self.bytes += bytes.len();
        match self.objects.insert(path.clone(), (meta, bytes)) {
            Some((_, old)) => self.bytes -= old.len(),
            None => self.oldest_first.push_back(path),
        }
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.bytes -= self.objects.remove(&oldest).map_or(0, |(_, bytes)| bytes.len());
        }
    }

    fn remove(&mut self, path: &Path) {
        if let Some((_, bytes)) = self.objects.remove(path) {
            self.bytes -= bytes.len();
            self.oldest_first.retain(|kept| kept != path);
        }
    }
}

/// Whether an object of this name never changes: commits and checkpoints are named after their version.
fn is_final(path: &Path) -> bool {
    let name = path.filename().unwrap_or_default();
    let version = name.split('.').next().unwrap_or_default();
    version.len() == 20 && version.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_plain(options: &GetOptions) -> bool {
    let GetOptions { if_match, if_none_match, if_modified_since, if_unmodified_since, version, .. } = options;
    if_match.is_none()
        && if_none_match.is_none()
        && if_modified_since.is_none()
        && if_unmodified_since.is_none()
        && version.is_none()
}

/// The part of an object of `size` bytes that is asked for, if it is inside.
fn part(size: u64, range: Option<&GetRange>) -> Option<Range<u64>> {
    let range = match range {
        None => 0..size,
        Some(GetRange::Bounded(range)) => range.start..range.end.min(size),
        Some(GetRange::Offset(start)) => *start..size,
        Some(GetRange::Suffix(length)) => size.saturating_sub(*length)..size,
    };
    (range.start <= range.end).then_some(range)
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// The listing in the order of names, which the Delta library takes for granted unless it knows the store to be local
/// files. Of a log these are the commits since the newest checkpoint.
fn in_order(listing: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let sorted = listing.try_collect::<Vec<_>>().map_ok(|mut objects| {
        objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        futures::stream::iter(objects.into_iter().map(Ok))
    });
    sorted.try_flatten_stream().boxed()
}

impl std::fmt::Display for LogReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for LogReads {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if is_final(location)
            && is_plain(&options)
            && let Some((meta, bytes)) = self.whole(location).await?
            && let Some(range) = part(meta.size, options.range.as_ref())
            && let Some(bytes) = slice(&bytes, &range)
        {
            let payload = GetResultPayload::Stream(futures::stream::once(std::future::ready(Ok(bytes))).boxed());
            return Ok(GetResult { payload, meta, range, attributes: Attributes::default() });
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if is_final(location)
            && let Some((_, bytes)) = self.whole(location).await?
            && let Some(parts) = ranges.iter().map(|range| slice(&bytes, range)).collect()
        {
            return Ok(parts);
        }
        self.inner.get_ranges(location, ranges).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.kept.lock().remove(location);
        let created = (is_final(location) && options.mode == PutMode::Create).then(|| Bytes::from(payload.clone()));
        let result = self.inner.put_opts(location, payload, options).await?;
        if let Some(bytes) = created {
            #[allow(clippy::default_trait_access, reason = "its type is not ours to name")]
            let meta = ObjectMeta {
                location: location.clone(),
                last_modified: Default::default(),
                size: bytes.len() as u64,
                e_tag: result.e_tag.clone(),
                version: result.version.clone(),
            };
            self.kept.lock().insert(meta, bytes);
        }
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.kept.lock().remove(location);
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.kept.lock().remove(to);
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FaultyStore, memory};

    #[tokio::test]
    async fn final_objects_are_fetched_once_and_others_always() {
        let store = memory().await;
        let faulty = FaultyStore::over(store.objects());
        let reads = LogReads::over(&(Arc::clone(&faulty) as _));
        let [commit, pointer] =
            ["t/_delta_log/00000000000000000007.json", "t/_delta_log/_last_checkpoint"].map(Path::from);
        for path in [&commit, &pointer] {
            store.objects().put(path, PutPayload::from_static(b"0123456789")).await.unwrap();
            for _ in 0..3 {
                assert_eq!(reads.get_range(path, 2..4).await.unwrap(), "23");
                assert_eq!(reads.get_ranges(path, &[0..1, 8..10]).await.unwrap(), ["0", "89"]);
                let suffix = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
                assert_eq!(reads.get_opts(path, suffix).await.unwrap().bytes().await.unwrap(), "789");
            }
        }
        assert_eq!(faulty.take_counts().gets, 1 + 9);
        reads.put(&commit, PutPayload::from_static(b"new")).await.unwrap();
        assert_eq!(reads.get(&commit).await.unwrap().bytes().await.unwrap(), "new");
        assert!(reads.get(&Path::from("t/_delta_log/00000000000000000008.json")).await.is_err());
    }

    #[test]
    #[allow(clippy::default_trait_access, reason = "its type is not ours to name")]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        for n in 0..40 {
            let location = Path::from(format!("{n:020}.json"));
            let bytes = Bytes::from(vec![0; 1 << 20]);
            kept.insert(
                ObjectMeta { location, last_modified: Default::default(), size: 1 << 20, e_tag: None, version: None },
                bytes,
            );
        }
        assert_eq!((kept.objects.len(), kept.oldest_first.len(), kept.bytes), (16, 16, KEPT_BYTES));
    }
}
