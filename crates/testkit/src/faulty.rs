//! A store that counts what is asked of it and fails where it is told to.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use crate::{Gate, Random};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reading an object, a part of it, or what is known about it.
    Get,
    /// Writing an object.
    Put,
    /// Listing.
    List,
    /// Deleting objects.
    Delete,
}

/// How often each was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub gets: usize,
    /// Writes.
    pub puts: usize,
    /// Listings.
    pub lists: usize,
    /// Objects that listings named.
    pub listed: usize,
    /// Objects deleted.
    pub deletes: usize,
    /// Bytes of ranges that were read.
    pub bytes: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing special; takes the place of one request in a plan.
    Pass,
    /// It fails and is not done.
    Refuse,
    /// It is done, then fails: the answer is lost.
    LoseAnswer,
    /// It is done, but the answer is that the name is taken: a client tried twice by itself and met its own object.
    MeetItself,
    /// It is done after a while.
    Delay(Duration),
    /// It waits at the gate, then is done.
    Pause(Gate),
}

/// How often something happens by chance, in a thousand requests of its kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chances {
    /// PUTs that are not done.
    pub refused_put: u64,
    /// PUTs that are done and answered by an error.
    pub lost_put: u64,
    /// PUTs that take [`Self::slowness`] longer.
    pub slow_put: u64,
    /// GETs that fail.
    pub failed_get: u64,
    /// Listings that fail at their end.
    pub failed_list: u64,
    /// Deletions that are not done.
    pub failed_delete: u64,
    /// How much longer slow requests take at most.
    pub slowness: Duration,
}

#[derive(Debug)]
struct Planned {
    verb: Verb,
    path_part: String,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Plan {
    planned: Vec<Planned>,
    countdown: Option<(usize, Fault)>,
    cut_after: Option<usize>,
    chances: Option<(Random, Chances)>,
}

/// Wraps a store. See the crate.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    counts: Arc<Mutex<Counts>>,
    plan: Mutex<Plan>,
}

impl FaultyStore {
    /// Without any fault yet.
    pub fn over(inner: &Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), counts: Arc::default(), plan: Mutex::default() })
    }

    /// Plans a fault for the next `verb` on a path with `path_part` in it. Faults for the same come in the order in which
    /// they were planned.
    pub fn plan(&self, verb: Verb, path_part: &str, fault: Fault) {
        self.plan.lock().planned.push(Planned { verb, path_part: path_part.to_owned(), fault });
    }

    /// Plans a fault for the request after the next `requests` ones, whatever it is.
    pub fn plan_after(&self, requests: usize, fault: Fault) {
        self.plan.lock().countdown = Some((requests, fault));
    }

    /// Whether the fault of [`Self::plan_after`] has not happened yet. Forgets it.
    pub fn is_pending(&self) -> bool {
        self.plan.lock().countdown.take().is_some()
    }

    /// Refuses every request from now on, as if this process had died or lost its network.
    pub fn cut(&self) {
        self.cut_after(0);
    }

    /// Refuses every request after the next `requests` ones.
    pub fn cut_after(&self, requests: usize) {
        self.plan.lock().cut_after = Some(requests);
    }

    /// Whether requests are refused by now.
    pub fn is_cut(&self) -> bool {
        self.plan.lock().cut_after == Some(0)
    }

    /// Lets requests fail by chance from now on.
    pub fn randomly(&self, random: Random, chances: Chances) {
        self.plan.lock().chances = Some((random, chances));
    }

    /// Ends [`Self::randomly`] and forgets what was planned.
    pub fn calm(&self) {
        *self.plan.lock() = Plan::default();
    }

    /// The counts since the last call.
    pub fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.counts.lock())
    }

    fn fault(&self, verb: Verb, path: &Path) -> Fault {
        {
            let mut counts = self.counts.lock();
            match verb {
                Verb::Get => counts.gets += 1,
                Verb::Put => counts.puts += 1,
                Verb::List => counts.lists += 1,
                Verb::Delete => {}
            }
        }
        self.plan.lock().next(verb, path)
    }

    fn list_counted(
        &self,
        prefix: Option<&Path>,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let fault = self.fault(Verb::List, &prefix.cloned().unwrap_or_default());
        let counts = Arc::clone(&self.counts);
        // No store promises an order, so this one breaks it.
        let backwards = listing.collect::<Vec<_>>().map(|found| futures::stream::iter(found.into_iter().rev()));
        let backwards = backwards.flatten_stream().inspect(move |_| counts.lock().listed += 1);
        match fault {
            Fault::Refuse => futures::stream::once(async { Err(failed()) }).boxed(),
            Fault::LoseAnswer | Fault::MeetItself => {
                backwards.chain(futures::stream::once(async { Err(failed()) })).boxed()
            }
            other => async move { wait(other).await }.map(|()| backwards).flatten_stream().boxed(),
        }
    }
}

impl Plan {
    fn next(&mut self, verb: Verb, path: &Path) -> Fault {
        match &mut self.cut_after {
            Some(0) => return Fault::Refuse,
            Some(left) => *left -= 1,
            None => {}
        }
        match self.countdown.as_mut() {
            Some((0, _)) => return self.countdown.take().map_or(Fault::Pass, |(_, fault)| fault),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        let planned = self.planned.iter().position(|plan| plan.verb == verb && path.as_ref().contains(&plan.path_part));
        if let Some(at) = planned {
            return self.planned.remove(at).fault;
        }
        self.chances.as_mut().map_or(Fault::Pass, |(random, chances)| chances.draw(random, verb))
    }
}

impl Chances {
    fn draw(&self, random: &mut Random, verb: Verb) -> Fault {
        match verb {
            Verb::Put if random.chance(self.refused_put) => Fault::Refuse,
            Verb::Put if random.chance(self.lost_put) => Fault::LoseAnswer,
            Verb::Put if random.chance(self.slow_put) => {
                let micros = u64::try_from(self.slowness.as_micros()).unwrap_or(u64::MAX).max(1);
                Fault::Delay(Duration::from_micros(random.below(micros)))
            }
            Verb::Get if random.chance(self.failed_get) => Fault::Refuse,
            Verb::List if random.chance(self.failed_list) => Fault::LoseAnswer,
            Verb::Delete if random.chance(self.failed_delete) => Fault::Refuse,
            _ => Fault::Pass,
        }
    }
}

async fn wait(fault: Fault) {
    match fault {
        Fault::Delay(time) => tokio::time::sleep(time).await,
        Fault::Pause(gate) => gate.pass().await,
        Fault::Pass | Fault::Refuse | Fault::LoseAnswer | Fault::MeetItself => {}
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
            Fault::Refuse => Err(failed()),
            Fault::LoseAnswer => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(failed())
            }
            Fault::MeetItself => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(object_store::Error::AlreadyExists { path: location.to_string(), source: "as planned".into() })
            }
            other => {
                wait(other).await;
                self.inner.put_opts(location, payload, opts).await
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        match self.fault(Verb::Put, location) {
            Fault::Refuse | Fault::LoseAnswer | Fault::MeetItself => Err(failed()),
            other => {
                wait(other).await;
                self.inner.put_multipart_opts(location, opts).await
            }
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.fault(Verb::Get, location) {
            Fault::Refuse | Fault::LoseAnswer | Fault::MeetItself => Err(failed()),
            other => {
                wait(other).await;
                let got = self.inner.get_opts(location, options).await?;
                self.counts.lock().bytes += got.range.end - got.range.start;
                Ok(got)
            }
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.fault(Verb::Get, location) {
            Fault::Refuse | Fault::LoseAnswer | Fault::MeetItself => Err(failed()),
            other => {
                wait(other).await;
                self.counts.lock().bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                self.inner.get_ranges(location, ranges).await
            }
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.fault(Verb::Delete, &Path::default()) {
            Fault::Refuse => futures::stream::once(async { Err(failed()) }).boxed(),
            other => {
                let counts = Arc::clone(&self.counts);
                let deleted = self.inner.delete_stream(locations).inspect(move |_| counts.lock().deletes += 1);
                async move { wait(other).await }.map(|()| deleted).flatten_stream().boxed()
            }
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_counted(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_counted(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.fault(Verb::List, &prefix.cloned().unwrap_or_default()) {
            Fault::Refuse | Fault::LoseAnswer | Fault::MeetItself => Err(failed()),
            other => {
                wait(other).await;
                self.inner.list_with_delimiter(prefix).await
            }
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.fault(Verb::Put, to) {
            Fault::Refuse => Err(failed()),
            Fault::LoseAnswer | Fault::MeetItself => {
                self.inner.copy_opts(from, to, options).await?;
                Err(failed())
            }
            other => {
                wait(other).await;
                self.inner.copy_opts(from, to, options).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
