//! How many requests of a store the engine makes: they cost time and money, and a dependency's upgrade must not add any
//! unseen. The bounds are what is needed, with no room: whoever exceeds one should know why.

use std::sync::Arc;

use runlake_engine::{Access, Engine};
use runlake_testkit::{Counts, FaultyStore};
use runlake_types::TableId;

use crate::ledger::{batch, seen, write_steps};
use crate::place::{self, Kind, Place, open};

struct Counted {
    place: Place,
    engine: Engine,
    faulty: Arc<FaultyStore>,
}

async fn counted() -> Counted {
    let place = Kind::Memory.place().await;
    let (store, faulty) = place.faulty();
    let engine = open(&store, Access::Write).await;
    faulty.take_counts();
    Counted { place, engine, faulty }
}

/// What is made in the background by the log (deletions, and the note before them) is not counted.
fn check(what: &str, found: Counts, gets: usize, puts: usize, lists: usize) {
    assert!(found.gets <= gets && found.puts <= puts && found.lists <= lists, "{what}: {found:?}");
}

#[test]
fn a_group_is_one_put() {
    place::run(async {
        let counted = counted().await;
        for step in 0..10 {
            counted.engine.write(batch(0, step)).await.expect("writes");
            assert_eq!(counted.faulty.take_counts(), Counts { puts: 1, ..Counts::default() });
        }
        // Many at once share groups.
        let tickets: Vec<_> = (0..100).map(|step| counted.engine.submit(batch(1, step)).expect("submits")).collect();
        for ticket in tickets {
            ticket.await.expect("writes");
        }
        let status = counted.engine.status();
        let counts = counted.faulty.take_counts();
        assert_eq!(counts, Counts { puts: usize::try_from(status.groups).expect("is small") - 10, ..counts });
        assert_eq!((counts.gets, counts.lists), (0, 0), "{counts:?}");
        assert!(counts.puts < 100, "{counts:?}");
    });
}

#[test]
fn a_flush_writes_a_file_and_a_commit_for_each_table() {
    place::run(async {
        let counted = counted().await;
        for round in 0..5 {
            write_steps(&counted.engine, 0, round * 10, 10).await;
            counted.faulty.take_counts();
            counted.engine.flush().await.expect("flushes");
            // Four tables have changes. Each lists its log twice and reads the file it rewrites; the facts read no file,
            // but a point's look for earlier ones does. One more PUT tells the log what it may forget.
            check("a flush", counted.faulty.take_counts(), 4, 4 * 2 + 1, 4 * 2);
        }
    });
}

#[test]
fn opening_with_checkpoints_reads_little() {
    place::run(async {
        let Counted { place, engine, .. } = counted().await;
        for round in 0..25 {
            write_steps(&engine, 0, round * 2, 2).await;
            engine.flush().await.expect("flushes");
            engine.compact().await.expect("compacts");
        }
        engine.close().await.expect("closes");
        let (store, faulty) = place.faulty();
        let engine = open(&store, Access::Write).await;
        // A table costs a look at its newest checkpoint's name and a listing, one with rows the checkpoint and the commits
        // after it too; the log and the claims cost three listings; the claim and the fence are the two PUTs.
        let tables = TableId::ALL.len();
        check("opening", faulty.take_counts(), tables + 30, 2, tables + 3);
        seen(&engine.view(), 0).await.expect("reads");
        // Two for each file that nothing is known of yet: its footer, then its rows.
        check("the first read of a run", faulty.take_counts(), 4 * 2, 0, 0);
        engine.close().await.expect("closes");
        check("closing", faulty.take_counts(), 0, 1, 0);
        let engine = open(&store, Access::ReadOnly).await;
        // It looks for news once it has opened, which is a listing for each table more.
        check("opening a reader", faulty.take_counts(), 2 * tables + 30, 0, 2 * tables + 1);
        engine.close().await.expect("closes");
    });
}

#[test]
fn reading_a_run_asks_only_for_its_files() {
    place::run(async {
        let Counted { engine, faulty, place: _place } = counted().await;
        write_steps(&engine, 0, 0, 10).await;
        faulty.take_counts();
        seen(&engine.view(), 0).await.expect("reads");
        assert_eq!(faulty.take_counts(), Counts::default(), "what is in memory costs no request");
        engine.flush().await.expect("flushes");
        for _ in 0..2 {
            let before = faulty.take_counts();
            seen(&engine.view(), 0).await.expect("reads");
            // One for the file of each of the four tables it asks.
            let counts = faulty.take_counts();
            assert!(counts.gets <= 4 && counts.lists == 0, "{counts:?} after {before:?}");
        }
        engine.close().await.expect("closes");
    });
}
