//! What both logs promise, tried on each.

use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use runlake_storage::{Store, StoreSettings};
use runlake_types::{ErrorKind, Seq, SystemClock};
use tokio::runtime::Runtime;

use super::*;

/// A lake to log for, and a runtime beside the test's own thread: the log blocks.
pub(crate) struct Lake {
    pub(crate) runtime: Runtime,
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) folder: Option<tempfile::TempDir>,
}

/// Sequence numbers and payloads.
pub(crate) type Frames = Vec<(u64, Vec<u8>)>;

pub(crate) const ID: &str = "test-lake";

impl Lake {
    pub(crate) fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().to_str().unwrap().to_owned();
        Self { folder: Some(folder), ..Self::at(&location) }
    }

    pub(crate) fn objects() -> Self {
        Self::at("memory://")
    }

    fn at(location: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = runtime.block_on(Store::open(location, &StoreSettings::default())).unwrap();
        let settings = Settings {
            segment_bytes: 16 << 10,
            watch_interval: Duration::from_millis(20),
            takeover_wait: Duration::from_secs(5),
            lease: Duration::from_secs(3),
            ..Settings::default()
        };
        Self { runtime, store, settings, folder: None }
    }

    pub(crate) fn root(&self) -> &FsPath {
        self.folder.as_ref().expect("a local lake").path()
    }

    pub(crate) fn try_open(&self, takeover: bool) -> Result<Writer, Error> {
        self.runtime.block_on(open_writer(&self.store, ID, &self.settings, takeover, Arc::new(SystemClock)))
    }

    /// Opens as after a crash: whoever was there is gone, though objects cannot tell.
    pub(crate) fn open(&self) -> Writer {
        self.try_open(true).unwrap()
    }

    /// Opens, and returns what the log holds.
    pub(crate) fn reopen(&self) -> (Box<dyn Log>, Frames) {
        let mut writer = self.open();
        let frames = self.drain(&mut writer.replay).unwrap();
        (writer.log, frames)
    }

    pub(crate) fn drain(&self, replay: &mut Replay) -> Result<Frames, Error> {
        self.runtime.block_on(async {
            let mut frames = Vec::new();
            while let Some(frame) = replay.next().await? {
                frames.push((frame.seq.0, frame.payload.to_vec()));
            }
            Ok(frames)
        })
    }

    pub(crate) fn tail(&self) -> Result<Frames, Error> {
        let mut replay = self.runtime.block_on(read_tail(&self.store, ID))?;
        self.drain(&mut replay)
    }
}

/// Recognisable bytes, different for each number and length.
pub(crate) fn payload(seq: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (seq.wrapping_mul(31).wrapping_add(at as u64) % 251) as u8).collect()
}

pub(crate) fn frames(range: std::ops::RangeInclusive<u64>, len: usize) -> Frames {
    range.map(|seq| (seq, payload(seq, len))).collect()
}

pub(crate) fn append(log: &mut dyn Log, range: std::ops::RangeInclusive<u64>, len: usize) {
    for (seq, payload) in frames(range, len) {
        log.append(Seq(seq), &payload).unwrap();
    }
}

fn both(test: impl Fn(Lake)) {
    test(Lake::local());
    test(Lake::objects());
}

#[test]
fn what_was_appended_is_replayed_after_a_crash_and_after_a_close() {
    both(|lake| {
        let mut writer = lake.open();
        assert_eq!((writer.epoch.0, writer.last_seq), (1, Seq(0)));
        assert_eq!(lake.drain(&mut writer.replay).unwrap(), []);
        append(&mut *writer.log, 1..=20, 1000);
        drop(writer);
        let (mut log, found) = lake.reopen();
        assert_eq!(found, frames(1..=20, 1000));
        append(&mut *log, 21..=25, 0);
        log.close().unwrap();
        assert!(matches!(log.append(Seq(26), b""), Err(Error::Closed)));
        log.close().unwrap();
        let mut writer = lake.try_open(false).unwrap();
        assert_eq!((writer.epoch.0, writer.last_seq), (3, Seq(25)));
        let found = lake.drain(&mut writer.replay).unwrap();
        assert_eq!(found, [frames(1..=20, 1000), frames(21..=25, 0)].concat());
        assert_eq!(lake.tail().unwrap(), found);
    });
}

#[test]
fn the_position_survives_when_everything_was_deleted() {
    both(|lake| {
        let (mut log, _) = lake.reopen();
        append(&mut *log, 1..=50, 2000);
        assert!(log.bytes() > 100_000);
        log.delete_through(Seq(50)).unwrap();
        assert_eq!(log.bytes(), 0);
        log.close().unwrap();
        for _ in 0..3 {
            let mut writer = lake.open();
            assert_eq!(writer.last_seq, Seq(50));
            let left = lake.drain(&mut writer.replay).unwrap();
            assert!(left.len() < 10, "{}", left.len());
            writer.log.delete_through(Seq(50)).unwrap();
        }
        let (mut log, _) = lake.reopen();
        append(&mut *log, 51..=51, 10);
        drop(log);
        assert_eq!(lake.tail().unwrap().last(), Some(&(51, payload(51, 10))));
    });
}

#[test]
fn a_floor_moves_the_log_on_and_survives() {
    both(|lake| {
        let mut writer = lake.open();
        append(&mut *writer.log, 1..=3, 10);
        writer.set_floor(Seq(2));
        assert_eq!(writer.last_seq, Seq(3));
        writer.set_floor(Seq(500));
        assert_eq!(writer.last_seq, Seq(500));
        let error = writer.log.append(Seq(4), b"").unwrap_err();
        assert!(matches!(error, Error::OutOfOrder { expected: Seq(501), got: Seq(4) }));
        drop(writer);
        let mut writer = lake.open();
        assert_eq!(writer.last_seq, Seq(3));
        writer.set_floor(Seq(500));
        append(&mut *writer.log, 501..=502, 10);
        drop(writer);
        let (_, found) = lake.reopen();
        assert_eq!(found, [frames(1..=3, 10), frames(501..=502, 10)].concat());
        assert_eq!(lake.tail().unwrap(), found);
    });
}

#[test]
fn numbers_never_go_back_below_what_was_trimmed() {
    both(|lake| {
        let mut writer = lake.open();
        append(&mut *writer.log, 1..=3, 10);
        writer.set_floor(Seq(500));
        writer.log.delete_through(Seq(500)).unwrap();
        append(&mut *writer.log, 501..=501, 10);
        writer.log.delete_through(Seq(501)).unwrap();
        drop(writer);
        assert_eq!(lake.open().last_seq, Seq(501));
        let (mut log, _) = lake.reopen();
        append(&mut *log, 502..=502, 10);
        assert_eq!(lake.tail().unwrap().last(), Some(&(502, payload(502, 10))));
    });
}

#[test]
fn a_second_writer_is_refused_and_a_takeover_fences_the_first() {
    both(|lake| {
        let (mut first, _) = lake.reopen();
        append(&mut *first, 1..=2, 10);
        let refused = lake.try_open(false).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        let text = refused.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("--takeover"), "{text}");
        append(&mut *first, 3..=4, 10);

        let mut second = lake.open();
        assert_eq!(second.last_seq, Seq(4));
        assert_eq!(lake.drain(&mut second.replay).unwrap(), frames(1..=4, 10));
        append(&mut *second.log, 5..=6, 11);
        for _ in 0..2 {
            let fenced = first.append(Seq(5), b"late").unwrap_err();
            assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
        }
        assert!(matches!(first.check(), Err(Error::Fenced { .. })));
        assert!(matches!(first.close(), Err(Error::Fenced { .. })));
        append(&mut *second.log, 7..=7, 11);
        assert_eq!(lake.tail().unwrap(), [frames(1..=4, 10), frames(5..=7, 11)].concat());
    });
}

#[test]
fn a_lake_without_a_log_has_an_empty_tail() {
    both(|lake| assert_eq!(lake.tail().unwrap(), []));
}

#[test]
fn the_log_of_another_lake_is_refused() {
    both(|lake| {
        let (mut log, _) = lake.reopen();
        append(&mut *log, 1..=1, 10);
        drop(log);
        let other = |takeover| {
            let opened = open_writer(&lake.store, "other", &lake.settings, takeover, Arc::new(SystemClock));
            lake.runtime.block_on(opened).map(drop).unwrap_err()
        };
        assert!(matches!(other(true), Error::WrongLake { .. }), "{}", other(true));
    });
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    DeleteThrough(u64),
    Reopen { clean: bool },
    Tail,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![0..64_usize, 0..5000_usize, Just(40_000_usize)].prop_map(Step::Append),
        2 => (0..12_u64).prop_map(Step::DeleteThrough),
        1 => any::<bool>().prop_map(|clean| Step::Reopen { clean }),
        1 => Just(Step::Tail),
    ]
}

/// Runs the steps on a lake and on a list that cannot fail.
fn follow(lake: &Lake, steps: &[Step]) {
    let mut model: Frames = Vec::new();
    let (mut log, _) = lake.reopen();
    let mut trimmed = 0;
    // Frames that were trimmed may be there or not; what is above must be, and all that is must be right.
    let check = |found: Frames, model: &[(u64, Vec<u8>)], trimmed: u64| {
        let seqs: Vec<u64> = found.iter().map(|(seq, _)| *seq).collect();
        assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
        let live: Vec<u64> = seqs.iter().copied().filter(|seq| *seq > trimmed).collect();
        assert_eq!(live, (trimmed + 1..=model.len() as u64).collect::<Vec<_>>(), "of {seqs:?}");
        for (seq, payload) in found {
            assert!(payload == model[usize::try_from(seq - 1).unwrap()].1, "frame {seq} is another");
        }
    };
    for step in steps {
        match *step {
            Step::Append(len) => {
                let seq = model.len() as u64 + 1;
                log.append(Seq(seq), &payload(seq, len)).unwrap();
                model.push((seq, payload(seq, len)));
            }
            Step::DeleteThrough(back) => {
                trimmed = trimmed.max((model.len() as u64).saturating_sub(back));
                log.delete_through(Seq(trimmed)).unwrap();
            }
            Step::Reopen { clean } => {
                if clean {
                    log.close().unwrap();
                }
                drop(log);
                let mut writer = lake.open();
                assert_eq!(writer.last_seq.0, model.len() as u64);
                let found = lake.drain(&mut writer.replay).unwrap();
                // Nobody deletes meanwhile, so there is no gap even among what was trimmed.
                assert!(found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
                check(found, &model, trimmed);
                log = writer.log;
            }
            Step::Tail => check(lake.tail().unwrap(), &model, trimmed),
        }
        let live: usize = model[usize::try_from(trimmed).unwrap()..].iter().map(|(_, payload)| payload.len()).sum();
        assert!(log.bytes() >= live as u64);
        assert_eq!(log.last_seq().0, model.len() as u64);
    }
    drop(log);
    check(lake.reopen().1, &model, trimmed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn files_follow_the_model(steps in prop::collection::vec(step(), 1..40)) {
        follow(&Lake::local(), &steps);
    }

    #[test]
    fn objects_follow_the_model(steps in prop::collection::vec(step(), 1..60)) {
        follow(&Lake::objects(), &steps);
    }
}

/// `data/wal/v1` holds what the first format wrote: a log of files and one of objects, five frames each, seven bytes
/// times the number. The files end in the middle of a sixth frame.
mod golden {
    use object_store::path::Path;
    use object_store::{ObjectStore as _, ObjectStoreExt as _};

    use super::*;

    fn data() -> std::path::PathBuf {
        FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../../data/wal/v1")
    }

    fn expected() -> Frames {
        (1..=5).map(|seq| (seq, payload(seq, 7 * usize::try_from(seq).unwrap()))).collect()
    }

    fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(data().join(kind)).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
    }

    #[test]
    fn format_1_of_files_is_read() {
        let lake = Lake::local();
        std::fs::create_dir(lake.root().join("wal")).unwrap();
        for (name, bytes) in files("files") {
            std::fs::write(lake.root().join("wal").join(name), bytes).unwrap();
        }
        assert_eq!(lake.tail().unwrap(), expected());
        let (mut log, found) = lake.reopen();
        assert_eq!(found, expected());
        append(&mut *log, 6..=6, 7);
        drop(log);
        assert_eq!(lake.tail().unwrap().len(), 6);
    }

    #[test]
    fn format_1_of_objects_is_read() {
        let lake = Lake::objects();
        for (name, bytes) in files("objects") {
            let path = Path::from_iter(["wal", &name]);
            lake.runtime.block_on(lake.store.objects().put(&path, bytes.into())).unwrap();
        }
        assert_eq!(lake.tail().unwrap(), expected());
        assert_eq!(lake.reopen().1, expected());
    }

    /// Writes the files anew: only for a new format, into a new folder.
    #[test]
    #[ignore = "writes golden files"]
    fn write() {
        let lake = Lake { settings: Settings { segment_bytes: 8192, ..Settings::default() }, ..Lake::local() };
        let mut log = lake.reopen().0;
        for (seq, payload) in &expected()[..3] {
            log.append(Seq(*seq), payload).unwrap();
        }
        drop(log);
        let mut log = lake.reopen().0;
        for (seq, payload) in &expected()[3..] {
            log.append(Seq(*seq), payload).unwrap();
        }
        log.append(Seq(6), &[0xAA; 64]).unwrap();
        drop(log);
        let out = data().join("files");
        std::fs::create_dir_all(&out).unwrap();
        for name in ["00000000000000000001.seg", "00000000000000000002.seg"] {
            let mut bytes = std::fs::read(lake.root().join("wal").join(name)).unwrap();
            if let Some(at) = bytes.windows(64).position(|window| window == [0xAA; 64]) {
                bytes[at + 30..at + 64].fill(0);
            }
            std::fs::write(out.join(name), bytes).unwrap();
        }
        let lake = Lake::objects();
        let mut log = lake.reopen().0;
        for (seq, payload) in expected() {
            log.append(Seq(seq), &payload).unwrap();
        }
        let out = data().join("objects");
        std::fs::create_dir_all(&out).unwrap();
        lake.runtime.block_on(async {
            let listed = lake.store.objects().list_with_delimiter(Some(&Path::from("wal"))).await.unwrap();
            for meta in listed.objects {
                let bytes = lake.store.objects().get(&meta.location).await.unwrap().bytes().await.unwrap();
                std::fs::write(out.join(meta.location.filename().unwrap()), bytes).unwrap();
            }
        });
    }
}
