//! The process dies at every request it makes, in turn.

use runlake_engine::{Access, Engine, Result, Settings};
use runlake_storage::Store;
use runlake_testkit::{Fault, FaultyStore, Verb};
use runlake_types::rows::ExperimentTag;
use runlake_types::{ExperimentId, WriteBatch};

use crate::ledger::{Ledger, write_steps};
use crate::place::{self, Kind, on_every_store, open, try_open};

on_every_store!(
    death_at_any_request_loses_and_doubles_nothing,
    a_flush_after_a_half_done_one_brings_every_table_up_to_date,
    a_long_log_after_a_half_done_flush_is_replayed_whole,
);

fn death_at_any_request_loses_and_doubles_nothing(kind: Kind) {
    let mut nth = 0;
    // Of the last request the store may have heard or not.
    while [false, true].into_iter().all(|heard| place::run(die(kind, nth, heard))) {
        nth += kind.scaled(2, 5, 60);
    }
}

/// Whether there was such a request.
async fn die(kind: Kind, nth: usize, heard: bool) -> bool {
    let place = kind.place().await;
    let (store, faulty) = place.faulty();
    if heard {
        faulty.plan_after(nth, Fault::LoseAnswer);
    }
    faulty.cut_after(nth + usize::from(heard));
    let mut ledger = Ledger::default();
    let lived = live(&store, &faulty, &mut ledger).await;
    faulty.cut();
    let engine = open(&place.store, Access::TakeOver).await;
    ledger.settle(&engine.view()).await;
    ledger.note(0, write_steps(&engine, 0, ledger.next(0), 2).await);
    engine.flush().await.expect("flushes");
    ledger.settle(&engine.view()).await;
    ledger.check_files(&engine.view());
    engine.close().await.expect("closes");
    lived.is_err()
}

/// A life in good order, up to the first failure.
async fn live(store: &Store, faulty: &FaultyStore, ledger: &mut Ledger) -> Result<()> {
    let engine = try_open(store, Access::Write).await?;
    for round in 0..3 {
        for writer in 0..2 {
            ledger.note(writer, write_steps(&engine, writer, ledger.next(writer), 2).await);
        }
        if faulty.is_cut() {
            break;
        }
        engine.flush().await?;
        if round == 1 {
            engine.compact().await?;
        }
    }
    engine.close().await
}

/// The next owner gets nothing new to write, and still owes the files what the last flush did not get to.
fn a_flush_after_a_half_done_one_brings_every_table_up_to_date(kind: Kind) {
    place::run(async {
        let place = kind.place().await;
        let (store, faulty) = place.faulty();
        let mut ledger = Ledger::default();
        let engine = open(&store, Access::Write).await;
        ledger.note(0, write_steps(&engine, 0, 0, 5).await);
        faulty.plan(Verb::Put, "tables/params/_delta_log", Fault::Refuse);
        engine.flush().await.expect_err("params cannot be committed");
        faulty.cut();
        let engine = open(&place.store, Access::TakeOver).await;
        engine.flush().await.expect("flushes");
        ledger.settle(&engine.view()).await;
        ledger.check_files(&engine.view());
        engine.close().await.expect("closes");
    });
}

/// A tag so long that a few of them are more than replay keeps in memory.
fn ballast(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    let value = "x".repeat(100 << 10);
    batch.put(&ExperimentTag { experiment_id: ExperimentId::DEFAULT, key: number.to_string(), value });
    batch
}

/// Some tables are further than others, and there is more between the two than memory should hold: whatever replay does
/// about that, it must not take rows for written that it has not come to yet.
fn a_long_log_after_a_half_done_flush_is_replayed_whole(kind: Kind) {
    place::run(async {
        let place = kind.place().await;
        let (store, faulty) = place.faulty();
        let mut ledger = Ledger::default();
        let engine = open(&store, Access::Write).await;
        for round in 0..24_u64 {
            engine.write(ballast(round)).await.expect("writes");
            ledger.note(0, write_steps(&engine, 0, round, 1).await);
        }
        // Only `latest_metrics`, which comes first, gets there.
        for table in ["metrics", "params", "tags", "experiment_tags"] {
            faulty.plan(Verb::Put, &format!("tables/{table}/_delta_log"), Fault::Refuse);
        }
        engine.flush().await.expect_err("metrics cannot be committed");
        faulty.cut();
        let settings = Settings { memory_budget: 4096, ..place::settings(Access::TakeOver) };
        let engine = Engine::open(place.store.clone(), settings, runlake_testkit::clock()).await.expect("opens");
        ledger.settle(&engine.view()).await;
        engine.flush().await.expect("flushes");
        ledger.settle(&engine.view()).await;
        ledger.check_files(&engine.view());
        engine.close().await.expect("closes");
        let engine = open(&place.store, Access::Write).await;
        ledger.settle(&engine.view()).await;
        engine.close().await.expect("closes");
    });
}
