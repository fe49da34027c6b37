//! The store fails by chance, in every way a store can, while writes, flushes, compactions and reads go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runlake_engine::{Access, Engine};
use runlake_storage::Store;
use runlake_testkit::{Chances, Random, Seed};

use crate::ledger::{Ledger, seen, write_steps};
use crate::place::{self, Kind, on_every_store, open, try_open};

const WRITERS: u8 = 3;
const ROUNDS: u64 = 4;

on_every_store!(what_was_acknowledged_survives_a_failing_store);

fn what_was_acknowledged_survives_a_failing_store(kind: Kind) {
    for seed in Seed::all(0..kind.scaled(16, 8, 1)) {
        place::run(live(kind, seed.random()));
    }
}

async fn live(kind: Kind, mut random: Random) {
    let place = kind.place().await;
    let mut ledger = Ledger::default();
    for _ in 0..ROUNDS {
        let (store, faulty) = place.faulty();
        faulty.randomly(random.fork(), chances(&mut random));
        let Some(engine) = open_in_spite(&store).await else {
            faulty.cut();
            continue;
        };
        work(&engine, &mut ledger, random.below(20) + 5).await;
        let stopped = engine.status().failure.is_some();
        assert!(stopped || ledger.is_certain(), "a write failed, and the engine goes on as if nothing had happened");
        if !stopped && random.chance(500) {
            // The store recovers, and so does the engine.
            faulty.calm();
            ledger.settle(&engine.view()).await;
            engine.flush().await.expect("flushes once the store is well");
            ledger.settle(&engine.view()).await;
            ledger.check_files(&engine.view());
        }
        // The process dies, or as good as.
        faulty.cut();
        let engine = open(&place.store, Access::TakeOver).await;
        ledger.settle(&engine.view()).await;
        if random.chance(500) {
            engine.flush().await.expect("flushes");
            ledger.settle(&engine.view()).await;
            ledger.check_files(&engine.view());
        }
        engine.close().await.expect("closes");
    }
    // The last round may have ended without an owner that closed the lake.
    let engine = open(&place.store, Access::TakeOver).await;
    engine.flush().await.expect("flushes");
    engine.compact().await.expect("compacts");
    ledger.settle(&engine.view()).await;
    ledger.check_files(&engine.view());
    engine.close().await.expect("closes");
    let reader = open(&place.store, Access::ReadOnly).await;
    ledger.settle(&reader.view()).await;
    ledger.check_files(&reader.view());
    reader.close().await.expect("closes");
}

fn chances(random: &mut Random) -> Chances {
    let mut chance = || random.one_of(&[0, 5, 30, 150]);
    Chances {
        refused_put: chance(),
        lost_put: chance(),
        slow_put: chance(),
        failed_get: chance(),
        failed_list: chance(),
        failed_delete: chance(),
        slowness: Duration::from_millis(5),
    }
}

/// Opens a lake whose store fails now and then; `None` if it fails time and again.
async fn open_in_spite(store: &Store) -> Option<Engine> {
    for _ in 0..10 {
        if let Ok(engine) = try_open(store, Access::TakeOver).await {
            return Some(engine);
        }
    }
    None
}

/// Writers beside flushes, compactions and a reader, until the writers have ended or failed.
async fn work(engine: &Engine, ledger: &mut Ledger, steps: u64) {
    let ended = AtomicBool::new(false);
    let upkeep = async {
        while !ended.load(Ordering::Relaxed) {
            // Failures are to be expected, and to be harmless.
            let _flushed = engine.flush().await;
            let _compacted = engine.compact().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reads = async {
        while !ended.load(Ordering::Relaxed) {
            for writer in 0..WRITERS {
                let _read = seen(&engine.view(), writer).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let from: Vec<_> = (0..WRITERS).map(|writer| (writer, ledger.next(writer))).collect();
    let writes = async {
        let writers = from.into_iter().map(|(writer, next)| {
            let engine = engine.clone();
            tokio::spawn(async move { (writer, write_steps(&engine, writer, next, steps).await) })
        });
        let answers = futures::future::join_all(writers).await;
        ended.store(true, Ordering::Relaxed);
        answers
    };
    let (answers, (), ()) = futures::join!(writes, upkeep, reads);
    for answer in answers {
        let (writer, answers) = answer.expect("does not panic");
        ledger.note(writer, answers);
    }
}
