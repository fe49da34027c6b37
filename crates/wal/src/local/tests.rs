//! Tears, damage, recycled files, readers beside a writer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::*;
use crate::frame::{FRAME_LEN, frame_span};
use crate::tests::{Frames, ID, Lake, append, frames, payload};

const LEN: usize = 100;

fn wal(lake: &Lake) -> Folder {
    folder(lake.root(), ID)
}

/// The segments with their bytes; spare files come and go.
fn snapshot(lake: &Lake) -> BTreeMap<u64, Vec<u8>> {
    let folder = wal(lake);
    let read = |number| (number, std::fs::read(folder.segment(number)).unwrap());
    folder.numbers().unwrap().into_iter().map(read).collect()
}

fn read_all(mut replay: LocalReplay) -> Result<Frames, Error> {
    let mut all = Vec::new();
    loop {
        let mut batch = VecDeque::new();
        replay.read(&mut batch)?;
        if batch.is_empty() {
            return Ok(all);
        }
        all.extend(batch.into_iter().map(|frame| (frame.seq.0, frame.payload.to_vec())));
    }
}

/// Reads as the writer does, and as a reader beside it does.
fn both_ways(folder: &Folder) -> [Result<Frames, Error>; 2] {
    let writer =
        survey(folder).and_then(|(found, planned)| read_all(LocalReplay::planned(folder.clone(), planned, found.gone)));
    [writer, LocalReplay::tail(folder.clone()).and_then(read_all)]
}

/// A log with one segment of `count` frames, left by a crash; the segment's path and bytes.
fn crashed(lake: &Lake, count: u64) -> (std::path::PathBuf, Vec<u8>) {
    let (mut log, _) = lake.reopen();
    append(&mut *log, 1..=count, LEN);
    drop(log);
    let path = wal(lake).segment(1);
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

fn frame_at(index: usize) -> usize {
    segment::BODY as usize + index * frame_span(LEN)
}

#[test]
fn a_frame_torn_anywhere_is_passed_over() {
    let lake = Lake::local();
    let (path, whole) = crashed(&lake, 3);
    let (start, end) = (frame_at(2), frame_at(3));
    for cut in start..end {
        let mut zeros = whole.clone();
        zeros[cut..].fill(0);
        let mut garbage = whole.clone();
        garbage[cut..end].fill(0xEE);
        let short = whole[..cut].to_vec();
        // Padding is no part of what counts.
        let complete = cut >= start + FRAME_LEN + LEN;
        for torn in [zeros, garbage, short] {
            std::fs::write(&path, torn).unwrap();
            for found in both_ways(&wal(&lake)) {
                assert_eq!(found.unwrap(), frames(1..=if complete { 3 } else { 2 }, LEN), "cut at {cut}");
            }
        }
    }
}

#[test]
fn writing_goes_on_behind_a_tear() {
    let lake = Lake::local();
    let (path, mut bytes) = crashed(&lake, 3);
    bytes[frame_at(2) + 30..].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let (mut log, found) = lake.reopen();
    assert_eq!(found, frames(1..=2, LEN));
    append(&mut *log, 3..=5, LEN);
    drop(log);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(lake.reopen().1, frames(1..=5, LEN));
    assert_eq!(lake.tail().unwrap(), frames(1..=5, LEN));
}

#[test]
fn a_changed_byte_before_the_last_frame_is_damage_and_nothing_is_touched() {
    let lake = Lake::local();
    let (path, whole) = crashed(&lake, 4);
    for index in 0..3 {
        let padded = frame_at(index)..frame_at(index) + FRAME_LEN + LEN;
        for at in padded.step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            for found in both_ways(&wal(&lake)) {
                let error = found.unwrap_err();
                let expected = frame_at(index) as u64;
                assert!(matches!(error, Error::Corrupt { offset, .. } if offset == expected), "{at}: {error}");
            }
        }
    }
    let before = snapshot(&lake);
    let error = lake.try_open(true).map(drop).unwrap_err();
    assert!(error.to_string().contains("wal/00000000000000000001.seg"), "{error}");
    assert_eq!(snapshot(&lake), before);
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(lake.reopen().1, frames(1..=4, LEN));
}

#[test]
fn a_damaged_header_and_damage_in_older_segments_are_found() {
    let lake = Lake::local();
    let (path, whole) = crashed(&lake, 4);
    let (mut log, _) = lake.reopen();
    append(&mut *log, 5..=5, LEN);
    drop(log);
    for at in [0, 20, 40, 110, 255, frame_at(3) + 40] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        for found in both_ways(&wal(&lake)) {
            assert!(matches!(found.unwrap_err(), Error::Corrupt { .. }), "{at}");
        }
    }
    let mut newer = whole.clone();
    newer[8] = 2;
    std::fs::write(&path, newer).unwrap();
    for found in both_ways(&wal(&lake)) {
        assert!(matches!(found.unwrap_err(), Error::Newer { found: 2, .. }));
    }
}

#[test]
fn damage_to_the_last_frame_shows_when_the_log_was_closed() {
    let lake = Lake::local();
    let (mut log, _) = lake.reopen();
    append(&mut *log, 1..=3, LEN);
    log.close().unwrap();
    let path = wal(&lake).segment(1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[frame_at(2) + 30] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    for found in both_ways(&wal(&lake)) {
        assert!(matches!(found.unwrap_err(), Error::Corrupt { .. }));
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    let lake = Lake::local();
    let (mut log, _) = lake.reopen();
    append(&mut *log, 1..=12, 4000);
    drop(log);
    assert!(wal(&lake).numbers().unwrap().len() >= 3);
    std::fs::remove_file(wal(&lake).segment(2)).unwrap();
    for found in both_ways(&wal(&lake)) {
        let error = found.unwrap_err().to_string();
        assert!(error.contains("00000000000000000002.seg") && error.contains("missing"), "{error}");
    }
}

#[test]
fn opening_and_closing_writes_no_segment() {
    let lake = Lake::local();
    crashed(&lake, 2);
    let before = snapshot(&lake);
    let (mut log, _) = lake.reopen();
    log.delete_through(Seq(2)).unwrap();
    log.close().unwrap();
    drop(lake.reopen());
    assert_eq!(snapshot(&lake), before);
}

/// A log whose segments are not small to begin with.
fn large_segments() -> Lake {
    Lake { settings: Settings { segment_bytes: 4 << 20, ..Settings::default() }, ..Lake::local() }
}

#[test]
fn a_log_closed_with_nothing_needed_leaves_one_small_file() {
    let lake = large_segments();
    let (mut log, _) = lake.reopen();
    // More than the small first segment holds.
    append(&mut *log, 1..=30, 100_000);
    log.delete_through(Seq(30)).unwrap();
    log.close().unwrap();
    let left: u64 =
        std::fs::read_dir(&wal(&lake).path).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(left <= 16 << 10, "{left} bytes are left");
    let (mut log, found) = lake.reopen();
    assert_eq!((found, log.last_seq()), (vec![], Seq(30)));
    append(&mut *log, 31..=31, LEN);
    drop(log);
    assert_eq!(lake.reopen().1, frames(31..=31, LEN));
}

#[test]
fn a_log_closed_with_frames_still_needed_keeps_them() {
    let lake = large_segments();
    let (mut log, _) = lake.reopen();
    append(&mut *log, 1..=30, 100_000);
    log.delete_through(Seq(29)).unwrap();
    log.close().unwrap();
    assert_eq!(lake.reopen().1.last(), frames(30..=30, 100_000).last());
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn recycled_segments_never_show_old_frames_and_do_not_pile_up() {
    let lake = Lake::local();
    let (mut log, _) = lake.reopen();
    let mut stale = 0;
    for round in 0..12 {
        let first = round * 20 + 1;
        append(&mut *log, first..=first + 19, 1000);
        log.delete_through(Seq(first + 18)).unwrap();
        let few = || wal(&lake).file_names().unwrap().len() <= 5;
        wait_for("old segments to go", few);
        let newest = wal(&lake).segment(*wal(&lake).numbers().unwrap().last().unwrap());
        let bytes = std::fs::read(newest).unwrap();
        let last = payload(first + 19, 1000);
        let end = bytes.windows(1000).rposition(|window| window == last).unwrap() + 1000;
        stale += usize::from(bytes[end..].iter().any(|byte| *byte != 0));
        if round % 3 == 2 {
            drop(log);
            let found;
            (log, found) = lake.reopen();
            assert_eq!(found.last(), Some(&(first + 19, last)));
            assert!(found.len() < 20);
        }
    }
    assert!(stale > 0, "the test met no recycled file");
}

#[test]
fn a_payload_larger_than_a_segment_gets_its_own() {
    let lake = Lake::local();
    let (mut log, _) = lake.reopen();
    for (seq, len) in [(1, 10), (2, 100_000), (3, 10), (4, 3 << 20), (5, 10)] {
        log.append(Seq(seq), &payload(seq, len)).unwrap();
    }
    drop(log);
    let (mut log, found) = lake.reopen();
    assert_eq!(found.iter().map(|(_, payload)| payload.len()).collect::<Vec<_>>(), [10, 100_000, 10, 3 << 20, 10]);
    assert_eq!(found[3].1, payload(4, 3 << 20));
    append(&mut *log, 6..=6, 10);
    log.delete_through(Seq(6)).unwrap();
    drop(log);
    let sizes: Vec<usize> = snapshot(&lake).values().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size <= 16 << 10), "{sizes:?}");
}

#[test]
fn a_reader_beside_a_busy_writer_sees_every_acknowledged_frame() {
    let lake = Lake::local();
    let (mut log, _) = lake.reopen();
    let (acked, deleted, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=3000 {
                log.append(Seq(seq), &payload(seq, 40 + usize::try_from(seq % 900).unwrap())).unwrap();
                acked.store(seq, Ordering::SeqCst);
                if seq % 50 == 0 {
                    deleted.store(seq - 20, Ordering::SeqCst);
                    log.delete_through(Seq(seq - 20)).unwrap();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reads = 0;
                while !done.load(Ordering::SeqCst) {
                    let before = acked.load(Ordering::SeqCst);
                    let mut replay = lake.runtime.block_on(crate::read_tail(&lake.store, ID)).unwrap();
                    let found = lake.drain(&mut replay).unwrap();
                    let gone = deleted.load(Ordering::SeqCst);
                    assert!(replay.trimmed().0 <= gone);
                    let last = found.last().map_or(replay.trimmed().0, |(seq, _)| *seq).max(replay.trimmed().0);
                    assert!(last >= before, "{last} of {before}");
                    for (seq, bytes) in &found {
                        assert_eq!(*bytes, payload(*seq, 40 + usize::try_from(seq % 900).unwrap()));
                    }
                    for pair in found.windows(2) {
                        let (one, next) = (pair[0].0, pair[1].0);
                        assert!(next == one + 1 || (next > one && next <= replay.trimmed().0 + 1), "{one} {next}");
                    }
                    reads += 1;
                }
                assert!(reads > 3, "{reads} reads");
            });
        }
    });
}

#[test]
fn an_owner_that_hangs_is_named() {
    let mut lake = Lake::local();
    lake.settings.takeover_wait = Duration::from_millis(150);
    drop(lake.reopen());
    let held = lock::try_lock(lake.root()).unwrap().unwrap();
    let error = lake.try_open(true).map(drop).unwrap_err();
    assert!(matches!(error, Error::Unresponsive { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(held);
    lake.try_open(false).unwrap();
}

#[test]
fn an_idle_owner_lets_go_by_itself() {
    let lake = Lake::local();
    let (mut first, _) = lake.reopen();
    let second = lake.open();
    assert_eq!(second.epoch, Epoch(2));
    assert!(matches!(first.check(), Err(Error::Fenced { newer: Epoch(2), .. })));
}

#[test]
fn claims_do_not_pile_up() {
    let lake = Lake::local();
    for _ in 0..40 {
        drop(lake.try_open(false).unwrap());
    }
    let claims = lake.runtime.block_on(Claims::list(&lake.store)).unwrap();
    assert_eq!(claims.highest(), Epoch(40));
    assert!(claims.objects.len() < 25, "{}", claims.objects.len());
}

/// Prints how long an append takes.
#[test]
#[ignore = "measures"]
fn append_latency() {
    let lake = Lake { settings: crate::Settings::default(), ..Lake::local() };
    let (mut log, _) = lake.reopen();
    for len in [4 << 10, 256 << 10] {
        let first = log.last_seq().0 + 1;
        let mut times: Vec<Duration> = (first..first + 1000)
            .map(|seq| {
                let bytes = payload(seq, len);
                let start = Instant::now();
                log.append(Seq(seq), &bytes).unwrap();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{len} bytes: p50 {:?}, p99 {:?}, max {:?}", times[500], times[990], times[999]);
    }
}
