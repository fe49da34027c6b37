//! A store that counts what is asked of it and fails where it is told to.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    List,
}

/// How often each was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) gets: usize,
    pub(crate) puts: usize,
    pub(crate) lists: usize,
    pub(crate) listed: usize,
    /// Bytes of ranges that were read.
    pub(crate) bytes: u64,
}

/// What to do to the next request of a kind.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Fail without doing it.
    Refuse,
    /// Do it, then fail: the answer is lost.
    LoseAnswer,
}

#[derive(Debug)]
struct Planned {
    verb: Verb,
    path_part: String,
    fault: Fault,
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    counts: Arc<Mutex<Counts>>,
    planned: Mutex<Vec<Planned>>,
    countdown: Mutex<Option<(usize, Fault)>>,
}

impl FaultyStore {
    pub(crate) fn over(inner: &Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            counts: Arc::default(),
            planned: Mutex::default(),
            countdown: Mutex::default(),
        })
    }

    /// Plans a fault for the next `verb` on a path with `path_part` in it.
    pub(crate) fn plan(&self, verb: Verb, path_part: &str, fault: Fault) {
        self.planned.lock().push(Planned { verb, path_part: path_part.to_owned(), fault });
    }

    /// Plans a fault for the request after the next `requests` ones, whatever it is.
    pub(crate) fn plan_after(&self, requests: usize, fault: Fault) {
        *self.countdown.lock() = Some((requests, fault));
    }

    /// Whether the fault of [`Self::plan_after`] has not happened yet. Forgets it.
    pub(crate) fn is_pending(&self) -> bool {
        self.countdown.lock().take().is_some()
    }

    /// The counts since the last call.
    pub(crate) fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.counts.lock())
    }

    fn fault(&self, verb: Verb, path: &Path) -> Option<Fault> {
        let mut counts = self.counts.lock();
        match verb {
            Verb::Get => counts.gets += 1,
            Verb::Put => counts.puts += 1,
            Verb::List => counts.lists += 1,
        }
        let mut countdown = self.countdown.lock();
        match countdown.as_mut() {
            Some((0, _)) => return countdown.take().map(|(_, fault)| fault),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        let mut planned = self.planned.lock();
        let at = planned.iter().position(|plan| plan.verb == verb && path.as_ref().contains(&plan.path_part))?;
        Some(planned.remove(at).fault)
    }
}

fn failed() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "as planned".into() }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.fault(Verb::Put, location) {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::Refuse) => Err(failed()),
            Some(Fault::LoseAnswer) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(failed())
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        match self.fault(Verb::Put, location) {
            None => self.inner.put_multipart_opts(location, opts).await,
            Some(_) => Err(failed()),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.fault(Verb::Get, location) {
            None => {
                let got = self.inner.get_opts(location, options).await?;
                self.counts.lock().bytes += got.range.end - got.range.start;
                Ok(got)
            }
            Some(_) => Err(failed()),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.fault(Verb::Get, location) {
            None => {
                self.counts.lock().bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                self.inner.get_ranges(location, ranges).await
            }
            Some(_) => Err(failed()),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_counted(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_counted(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fault(Verb::List, &prefix.cloned().unwrap_or_default());
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl FaultyStore {
    fn list_counted(
        &self,
        prefix: Option<&Path>,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.fault(Verb::List, &prefix.cloned().unwrap_or_default()).is_some() {
            return futures::stream::once(async { Err(failed()) }).boxed();
        }
        let counts = Arc::clone(&self.counts);
        // No store promises an order, so this one breaks it.
        let backwards = listing.collect::<Vec<_>>().map(|found| futures::stream::iter(found.into_iter().rev()));
        backwards.flatten_stream().inspect(move |_| counts.lock().listed += 1).boxed()
    }
}
