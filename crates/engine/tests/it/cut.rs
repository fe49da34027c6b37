//! Readers beside writes, flushes and compactions see a prefix of what each writer wrote: no gap, nothing twice, nothing
//! half, and never less than what was acknowledged before they looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use runlake_engine::{Access, Engine};
use runlake_testkit::{Fault, Gate, Verb};

use crate::ledger::{Step, batch, seen, write_steps};
use crate::place::{self, Kind, Place, on_every_store, open};

const WRITERS: u8 = 3;

/// Who races with the writers and the reader.
#[derive(Debug, Clone, Copy)]
struct Race {
    flush: bool,
    compact: bool,
}

on_every_store!(
    every_view_is_a_prefix,
    a_reader_beside_the_writer_sees_prefixes,
    a_reader_that_meets_a_half_done_flush_looks_again,
);

fn every_view_is_a_prefix(kind: Kind) {
    for (flush, compact) in [(false, false), (true, false), (false, true), (true, true)] {
        place::run(race(kind, Race { flush, compact }, false));
    }
}

fn a_reader_beside_the_writer_sees_prefixes(kind: Kind) {
    place::run(race(kind, Race { flush: true, compact: true }, true));
}

/// A reader has read the log's tail and is about to read the tables; then more is written and flushed, to some tables.
fn a_reader_that_meets_a_half_done_flush_looks_again(kind: Kind) {
    place::run(async {
        let place = kind.place().await;
        let (store, beside_writer) = place.faulty();
        let engine = open(&store, Access::Write).await;
        write_steps(&engine, 0, 0, 2).await;
        engine.flush().await.expect("flushes");
        let (store, beside_reader) = place.faulty();
        let reader = open(&store, Access::ReadOnly).await;
        let [first_look, second_look, commit] = [Gate::default(), Gate::default(), Gate::default()];
        for gate in [&first_look, &second_look] {
            beside_reader.plan(Verb::List, TAGS_LOG, Fault::Pause(gate.clone()));
        }
        first_look.reached().await;
        write_steps(&engine, 0, 2, 3).await;
        beside_writer.plan(Verb::Put, "tables/metrics/_delta_log", Fault::Pause(commit.clone()));
        let commits = commits(&place, TAGS_LOG).await;
        let flush = tokio::spawn({
            let engine = engine.clone();
            async move { engine.flush().await }
        });
        commit.reached().await;
        while commits == self::commits(&place, TAGS_LOG).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        first_look.open();
        second_look.reached().await;
        assert_eq!(seen(&reader.view(), 0).await.expect("reads"), [0, 1], "as it was before that look");
        second_look.open();
        while seen(&reader.view(), 0).await.expect("reads").len() != 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        commit.open();
        flush.await.expect("does not panic").expect("flushes");
        reader.close().await.expect("closes");
        engine.close().await.expect("closes");
    });
}

const TAGS_LOG: &str = "tables/tags/_delta_log";

async fn commits(place: &Place, log: &str) -> usize {
    place.store.objects().list(Some(&log.into())).count().await
}

/// How many steps of each writer were acknowledged.
type Acknowledged = Arc<[AtomicU64]>;

async fn race(kind: Kind, race: Race, read_only: bool) {
    let place = kind.place().await;
    let engine = open(&place.store, Access::Write).await;
    let reader = if read_only { open(&place.store, Access::ReadOnly).await } else { engine.clone() };
    let acknowledged: Acknowledged = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(engine.clone(), writer, kind.scaled(150, 100, 15), Arc::clone(&acknowledged))))
        .collect();
    let upkeep = tokio::spawn(keep_up(engine.clone(), race, Arc::clone(&ended)));
    // A reader beside the writer lags, so there is nothing it must have seen.
    let must = (!read_only).then(|| Arc::clone(&acknowledged));
    let readers: Vec<_> =
        (0..2).map(|_| tokio::spawn(read(reader.clone(), must.clone(), Arc::clone(&ended)))).collect();
    for writer in writers {
        writer.await.expect("writes");
    }
    ended.store(true, Ordering::Relaxed);
    upkeep.await.expect("flushes and compacts");
    for reader in readers {
        assert!(reader.await.expect("reads prefixes") > 0, "nothing was read, so nothing was tested");
    }
    if read_only {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while seen(&reader.view(), 0).await.expect("reads").len() as u64 != acknowledged[0].load(Ordering::Relaxed) {
            assert!(tokio::time::Instant::now() < deadline, "the reader does not follow");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        reader.close().await.expect("closes");
    }
    engine.close().await.expect("closes");
}

async fn write(engine: Engine, writer: u8, steps: Step, acknowledged: Acknowledged) {
    for step in 0..steps {
        engine.write(batch(writer, step)).await.expect("writes");
        acknowledged[usize::from(writer)].store(step + 1, Ordering::Release);
    }
}

async fn keep_up(engine: Engine, race: Race, ended: Arc<AtomicBool>) {
    while !ended.load(Ordering::Relaxed) {
        if race.flush {
            engine.flush().await.expect("flushes");
        }
        if race.compact {
            engine.compact().await.expect("compacts");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How many views were looked at.
async fn read(engine: Engine, must: Option<Acknowledged>, ended: Arc<AtomicBool>) -> usize {
    let mut before = [0; WRITERS as usize];
    let mut views = 0;
    while !ended.load(Ordering::Relaxed) {
        let least: Vec<Step> = must.iter().flat_map(|all| all.iter()).map(|one| one.load(Ordering::Acquire)).collect();
        let view = engine.view();
        for writer in 0..WRITERS {
            let index = usize::from(writer);
            let steps = seen(&view, writer).await.expect("reads");
            let count = steps.len() as Step;
            assert!(steps.into_iter().eq(0..count), "writer {writer}: not a prefix");
            assert!(count >= before[index], "writer {writer}: a later view shows less");
            assert!(least.get(index).is_none_or(|least| count >= *least), "writer {writer}: acknowledged, not visible");
            before[index] = count;
        }
        views += 1;
        tokio::task::yield_now().await;
    }
    views
}
