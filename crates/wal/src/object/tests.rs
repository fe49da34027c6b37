//! Lost answers, races for a number, leases, deletions.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStoreExt as _, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use super::*;
use crate::tests::{ID, Lake, append, frames, payload};

/// What becomes of a PUT of a log object.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// Written, but the answer is an error.
    LostAnswer,
    /// Written, and a retry inside the client met its own object.
    OwnSuccess,
    /// Not written.
    NotDone,
}

type Hook = Box<dyn FnOnce() + Send>;

/// A store that misbehaves on PUTs below `wal/`, as told.
#[derive(Default)]
struct Faults {
    plan: Mutex<VecDeque<Fault>>,
    before_put: Mutex<Option<Hook>>,
    requests: AtomicUsize,
}

struct Faulty(Arc<dyn object_store::ObjectStore>, Arc<Faults>);

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic { store: "Faulty", source: "connection reset".into() }
}

#[async_trait]
impl object_store::ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        if !location.as_ref().starts_with(names::WAL) {
            return self.0.put_opts(location, payload, opts).await;
        }
        self.1.requests.fetch_add(1, Ordering::SeqCst);
        let hook = self.1.before_put.lock().unwrap().take();
        if let Some(hook) = hook {
            // On a thread of its own, since a log may not be used on one that drives async tasks.
            std::thread::spawn(hook).join().unwrap();
        }
        let fault = self.1.plan.lock().unwrap().pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::None => self.0.put_opts(location, payload, opts).await,
            Fault::NotDone => Err(broken()),
            Fault::LostAnswer => {
                self.0.put_opts(location, payload, opts).await?;
                Err(broken())
            }
            Fault::OwnSuccess => {
                self.0.put_opts(location, payload, opts).await?;
                let path = location.to_string();
                Err(object_store::Error::AlreadyExists { path, source: "412".into() })
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if location.as_ref().starts_with(names::WAL) {
            self.1.requests.fetch_add(1, Ordering::SeqCst);
        }
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// A lake in memory whose writer sees a faulty store, and the same lake without the faults.
fn faulty() -> (Lake, Store, Arc<Faults>) {
    let mut lake = Lake::objects();
    let faults = Arc::new(Faults::default());
    let clean = lake.store.clone();
    lake.store = clean.with_objects(Arc::new(Faulty(Arc::clone(clean.objects()), Arc::clone(&faults))));
    (lake, clean, faults)
}

fn objects(lake: &Lake) -> Vec<u64> {
    let place = Place { store: lake.store.clone(), lake_id: ID.to_owned() };
    lake.runtime.block_on(place.list()).unwrap().iter().map(|listed| listed.number).collect()
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn lost_answers_neither_lose_nor_double_nor_fence() {
    let (lake, _, faults) = faulty();
    faults.plan.lock().unwrap().extend([Fault::LostAnswer, Fault::OwnSuccess]);
    let (mut log, _) = lake.reopen();
    let pattern = [Fault::LostAnswer, Fault::None, Fault::OwnSuccess, Fault::NotDone, Fault::None, Fault::NotDone];
    for seq in 1..=30 {
        faults.plan.lock().unwrap().push_back(pattern[usize::try_from(seq).unwrap() % pattern.len()]);
        log.append(Seq(seq), &payload(seq, 20)).unwrap();
    }
    faults.plan.lock().unwrap().clear();
    assert_eq!(lake.tail().unwrap(), frames(1..=30, 20));
    faults.plan.lock().unwrap().push_back(Fault::LostAnswer);
    log.delete_through(Seq(10)).unwrap();
    append(&mut *log, 31..=31, 20);
    drop(log);
    assert_eq!(lake.reopen().1, frames(11..=31, 20));
}

#[test]
fn a_failed_append_poisons_the_log_and_its_object_may_or_may_not_be_there() {
    let (lake, _, faults) = faulty();
    let (mut log, _) = lake.reopen();
    append(&mut *log, 1..=2, 20);
    faults.plan.lock().unwrap().extend([Fault::NotDone; 20]);
    let first = log.append(Seq(3), b"x").unwrap_err().to_string();
    faults.plan.lock().unwrap().clear();
    assert_eq!(log.append(Seq(3), b"x").unwrap_err().to_string(), first);
    assert_eq!(log.delete_through(Seq(1)).unwrap_err().to_string(), first);
    assert!(first.contains("wal/00000000000000000004.wal"), "{first}");
    assert_eq!(lake.reopen().1, frames(1..=2, 20));
}

#[test]
fn an_append_is_one_request() {
    let (lake, _, faults) = faulty();
    let (mut log, _) = lake.reopen();
    let before = faults.requests.load(Ordering::SeqCst);
    append(&mut *log, 1..=10, 20);
    assert_eq!(faults.requests.load(Ordering::SeqCst) - before, 10);
}

#[test]
fn a_fence_below_a_busy_writer_is_tried_again_above_it() {
    let (mut lake, clean, faults) = faulty();
    let faulty_store = std::mem::replace(&mut lake.store, clean.clone());
    let (log, _) = lake.reopen();
    let old = Arc::new(Mutex::new(log));
    append(&mut **old.lock().unwrap(), 1..=4, 20);
    let place = Place { store: clean, lake_id: ID.to_owned() };
    let (handle, busy) = (lake.runtime.handle().clone(), Arc::clone(&old));
    *faults.before_put.lock().unwrap() = Some(Box::new(move || {
        // Between the new writer's listing and its fence the old one writes on, and deletes what it was looking at.
        let mut log = busy.lock().unwrap();
        append(&mut **log, 5..=9, 20);
        log.delete_through(Seq(8)).unwrap();
        let gone = || handle.block_on(place.list()).unwrap().iter().filter(|listed| !listed.is_fence()).count() <= 2;
        wait_for("objects to be deleted", gone);
    }));
    lake.store = faulty_store;
    let (mut new, found) = lake.reopen();
    assert_eq!(found, frames(9..=9, 20));
    assert_eq!(new.last_seq(), Seq(9));
    let late = old.lock().unwrap().append(Seq(10), b"late").unwrap_err();
    assert!(matches!(late, Error::Fenced { .. }), "{late}");
    append(&mut *new, 10..=11, 20);
    assert_eq!(lake.tail().unwrap(), frames(9..=11, 20));
}

#[test]
fn a_race_for_the_fence_is_won_by_the_higher_epoch() {
    let (mut lake, clean, faults) = faulty();
    let faulty_store = std::mem::replace(&mut lake.store, clean);
    drop(lake.reopen());
    let lake = Arc::new(lake);
    let (other, won) = (Arc::clone(&lake), Arc::new(Mutex::new(None)));
    let winner = Arc::clone(&won);
    *faults.before_put.lock().unwrap() = Some(Box::new(move || {
        *winner.lock().unwrap() = Some(other.open());
    }));
    let slow = open_writer(&faulty_store, ID, &lake.settings, true, Arc::new(runlake_types::SystemClock));
    let error = lake.runtime.block_on(slow).map(drop).unwrap_err();
    assert!(matches!(error, Error::Fenced { epoch: Epoch(2), newer: Epoch(3) }), "{error}");
    let mut winner = won.lock().unwrap().take().unwrap();
    append(&mut *winner.log, 1..=2, 10);
}

#[test]
fn a_writer_that_slept_through_everything_is_still_fenced() {
    let lake = Lake::objects();
    let (mut old, _) = lake.reopen();
    append(&mut *old, 1..=3, 10);
    for round in 0..3 {
        let (mut log, _) = lake.reopen();
        let first = log.last_seq().0 + 1;
        append(&mut *log, first..=first + 20, 10);
        log.delete_through(Seq(first + 20)).unwrap();
        log.close().unwrap();
        assert!(objects(&lake).len() <= 3 + round, "{:?}", objects(&lake));
    }
    let error = old.append(Seq(4), b"late").unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
}

#[test]
fn a_lost_object_is_told_from_a_deleted_one() {
    let lake = Lake::objects();
    let (mut log, _) = lake.reopen();
    append(&mut *log, 1..=6, 10);
    log.delete_through(Seq(2)).unwrap();
    append(&mut *log, 7..=8, 10);
    drop(log);
    assert_eq!(lake.tail().unwrap(), frames(3..=8, 10));
    // Object 1 is the fence, 2 to 7 the frames 1 to 6, 8 the note, 9 and 10 the frames 7 and 8.
    for lost in [4, 6, 10] {
        let name = names::wal_object(lost);
        let body = lake.runtime.block_on(lake.store.get_opt(&name)).unwrap().unwrap();
        lake.runtime.block_on(lake.store.objects().delete(&name)).unwrap();
        if lost == 10 {
            // The newest: nothing says that it ever was, so this is a log that ends earlier.
            assert_eq!(lake.tail().unwrap(), frames(3..=7, 10));
        } else {
            let error = lake.tail().unwrap_err();
            assert!(matches!(&error, Error::Corrupt { problem, .. } if problem.contains("missing")), "{error}");
        }
        lake.runtime.block_on(lake.store.put_new(&name, body)).unwrap();
    }
    assert_eq!(lake.reopen().1, frames(3..=8, 10));
}

#[test]
fn damage_is_found_in_every_byte() {
    let lake = Lake::objects();
    let (mut log, _) = lake.reopen();
    append(&mut *log, 1..=3, 16);
    drop(log);
    let name = names::wal_object(3);
    let body = lake.runtime.block_on(lake.store.get_opt(&name)).unwrap().unwrap();
    let put = |bytes: Vec<u8>| lake.runtime.block_on(lake.store.objects().put(&name, bytes.into())).unwrap();
    for at in 0..body.len() {
        let mut bytes = body.to_vec();
        bytes[at] ^= 4;
        put(bytes);
        let error = lake.tail().unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. } | Error::Newer { .. }), "{at}: {error}");
    }
    put(body[..body.len() - 1].to_vec());
    assert!(matches!(lake.tail(), Err(Error::Corrupt { .. })));
}

#[test]
fn the_lease_keeps_others_out_while_its_owner_lives() {
    let mut lake = Lake::objects();
    lake.settings.lease = Duration::from_millis(600);
    let (log, _) = lake.reopen();
    std::thread::sleep(Duration::from_millis(1200));
    let refused = lake.try_open(false).unwrap_err();
    assert!(refused.to_string().contains("lease"), "{refused}");
    drop(log);
    assert!(matches!(lake.try_open(false), Err(Error::Owned { .. })));
    std::thread::sleep(Duration::from_millis(900));
    lake.try_open(false).unwrap().log.close().unwrap();
    lake.try_open(false).unwrap();
}

#[test]
fn an_idle_writer_learns_that_it_was_fenced() {
    let mut lake = Lake::objects();
    lake.settings.lease = Duration::from_millis(90);
    let (mut old, _) = lake.reopen();
    old.check().unwrap();
    let _new = lake.open();
    let old = Mutex::new(old);
    wait_for("the old writer to notice", || old.lock().unwrap().check().is_err());
    assert!(matches!(old.lock().unwrap().append(Seq(1), b""), Err(Error::Fenced { .. })));
}

#[test]
fn a_reader_beside_a_busy_writer_sees_every_acknowledged_frame() {
    let lake = Lake::objects();
    let (mut log, _) = lake.reopen();
    let acked = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=1500 {
                log.append(Seq(seq), &payload(seq, 50)).unwrap();
                acked.store(seq, Ordering::SeqCst);
                if seq % 20 == 0 {
                    log.delete_through(Seq(seq - 10)).unwrap();
                }
            }
        });
        while acked.load(Ordering::SeqCst) < 1500 {
            let before = acked.load(Ordering::SeqCst);
            let mut replay = lake.runtime.block_on(crate::read_tail(&lake.store, ID)).unwrap();
            let found = lake.drain(&mut replay).unwrap();
            let last = found.last().map_or(0, |(seq, _)| *seq).max(replay.trimmed().0);
            assert!(last >= before, "{last} of {before}");
            for pair in found.windows(2) {
                assert!(pair[1].0 == pair[0].0 + 1 || pair[1].0 <= replay.trimmed().0 + 1);
            }
        }
    });
    assert_eq!(lake.tail().unwrap().last().unwrap().0, 1500);
}
