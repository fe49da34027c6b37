//! A second engine takes the lake over while the first one is busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runlake_engine::{Access, Engine, Error};
use runlake_testkit::{Fault, Gate, Verb};
use runlake_types::ErrorKind;

use crate::ledger::{Ledger, batch, write_steps};
use crate::place::{self, Kind, on_every_store, open, try_open};

on_every_store!(
    a_takeover_of_a_busy_lake_loses_nothing,
    a_late_append_meets_the_fence,
    a_late_flush_doubles_nothing,
    a_lake_in_use_is_refused,
);

fn a_takeover_of_a_busy_lake_loses_nothing(kind: Kind) {
    for round in 0..kind.scaled(10, 6, 1) {
        place::run(take_over(kind, Duration::from_millis(round * 3)));
    }
}

async fn take_over(kind: Kind, after: Duration) {
    const WRITERS: u8 = 3;
    let place = kind.place().await;
    let old = open(&place.store, Access::Write).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let engine = old.clone();
            tokio::spawn(async move { write_steps(&engine, writer, 0, 1_000_000).await })
        })
        .collect();
    let ended = Arc::new(AtomicBool::new(false));
    let zombie = tokio::spawn(flush_on(old.clone(), Arc::clone(&ended)));
    tokio::time::sleep(after).await;
    let new = open(&place.store, Access::TakeOver).await;
    let mut ledger = Ledger::default();
    for (writer, answers) in (0..WRITERS).zip(writers) {
        ledger.note(writer, answers.await.expect("does not panic"));
    }
    ledger.settle(&new.view()).await;
    assert!(old.status().failure.is_some(), "the old one does not say that it has ended");
    let late = old.write(batch(0, 0)).await.expect_err("the old one acknowledges nothing");
    assert_eq!(late.kind(), ErrorKind::Closed, "{late}");
    // The old one's flusher may still be at it.
    for _ in 0..3 {
        for writer in 0..WRITERS {
            ledger.note(writer, write_steps(&new, writer, ledger.next(writer), 5).await);
        }
        new.flush().await.expect("flushes");
        new.compact().await.expect("compacts");
        ledger.settle(&new.view()).await;
    }
    ended.store(true, Ordering::Relaxed);
    zombie.await.expect("ends");
    ledger.check_files(&new.view());
    new.close().await.expect("closes");
    let again = open(&place.store, Access::Write).await;
    ledger.settle(&again.view()).await;
    ledger.check_files(&again.view());
    again.close().await.expect("closes");
}

async fn flush_on(engine: Engine, ended: Arc<AtomicBool>) {
    while !ended.load(Ordering::Relaxed) {
        // It fails from some time on, which is as it should be.
        let _flushed = engine.flush().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn a_late_append_meets_the_fence(kind: Kind) {
    if !kind.has_object_log() {
        return;
    }
    place::run(async {
        let place = kind.place().await;
        let (store, faulty) = place.faulty();
        let old = open(&store, Access::Write).await;
        let mut ledger = Ledger::default();
        ledger.note(0, write_steps(&old, 0, 0, 3).await);
        // The PUT is under way when the other takes over, and arrives afterwards.
        let gate = Gate::default();
        faulty.plan(Verb::Put, "wal/", Fault::Pause(gate.clone()));
        let late = old.submit(batch(0, 3)).expect("submits");
        let later = old.submit(batch(0, 4)).expect("submits");
        gate.reached().await;
        let new = open(&place.store, Access::TakeOver).await;
        ledger.settle(&new.view()).await;
        gate.open();
        assert_eq!(late.await.expect_err("is fenced").kind(), ErrorKind::Closed);
        assert_eq!(later.await.expect_err("is fenced").kind(), ErrorKind::Closed);
        assert!(old.status().failure.is_some_and(|text| text.contains("took this lake over")));
        ledger.settle(&new.view()).await;
        new.close().await.expect("closes");
        let again = open(&place.store, Access::Write).await;
        ledger.settle(&again.view()).await;
        again.close().await.expect("closes");
    });
}

/// The old owner's commits are under way when the new one reads the tables, and land afterwards.
fn a_late_flush_doubles_nothing(kind: Kind) {
    place::run(async {
        let place = kind.place().await;
        let (store, faulty) = place.faulty();
        let old = open(&store, Access::Write).await;
        let mut ledger = Ledger::default();
        ledger.note(0, write_steps(&old, 0, 0, 3).await);
        let gates: Vec<_> =
            ["latest_metrics", "metrics", "params", "tags"].map(|table| (table, Gate::default())).into();
        for (table, gate) in &gates {
            faulty.plan(Verb::Put, &format!("tables/{table}/_delta_log"), Fault::Pause(gate.clone()));
        }
        let flush = tokio::spawn({
            let old = old.clone();
            async move { old.flush().await }
        });
        gates[0].1.reached().await;
        let new = open(&place.store, Access::TakeOver).await;
        ledger.note(0, write_steps(&new, 0, ledger.next(0), 3).await);
        for (_, gate) in &gates {
            gate.open();
        }
        // It may land or not: the old one may have noticed by now.
        let _late = flush.await.expect("does not panic");
        ledger.settle(&new.view()).await;
        new.flush().await.expect("flushes");
        ledger.settle(&new.view()).await;
        // Points that both have written are in the files twice until these are rewritten; readers see them once.
        new.compact().await.expect("compacts");
        ledger.settle(&new.view()).await;
        ledger.check_files(&new.view());
        new.close().await.expect("closes");
    });
}

fn a_lake_in_use_is_refused(kind: Kind) {
    place::run(async {
        let place = kind.place().await;
        let first = open(&place.store, Access::Write).await;
        let error = try_open(&place.store, Access::Write).await.expect_err("belongs to another");
        assert!(matches!(&error, Error::Wal(_)) && error.kind() == ErrorKind::Conflict, "{error}");
        first.write(batch(0, 0)).await.expect("writes on");
        first.close().await.expect("closes");
        open(&place.store, Access::Write).await.close().await.expect("closes");
    });
}

#[test]
fn an_idle_owner_learns_that_it_was_taken_over() {
    place::run(async {
        // On an object store the owner looks at each heartbeat only: too slow for a test.
        let place = Kind::Local.place().await;
        let old = open(&place.store, Access::Write).await;
        write_steps(&old, 0, 0, 3).await;
        let _new = open(&place.store, Access::TakeOver).await;
        for _ in 0..500 {
            if old.status().failure.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(old.status().failure.is_some(), "it goes on as if the lake were its own");
    });
}
