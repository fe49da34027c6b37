//! A long mixed load: eight writers, four readers, SQL, flushes and compactions, and minute by minute what they cost. What is
//! looked for is growth: memory, files and latencies should be at the end what they were soon after the start.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, try_join_all};
use serde_json::json;

use crate::data::{BATCH, Batch, Curve};
use crate::http::Client;
use crate::load::{new_run, path};
use crate::server::{Kind, Server, Setup, bytes_below};
use crate::stats::{mebibytes, millis, whole};

const WRITERS: u64 = 8;
const READERS: u64 = 4;
/// Each writer sends a full batch so often: together 80,000 points per second.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Batches after which a writer ends its run and begins another.
const BATCHES_PER_RUN: u64 = 200;
const READ_EVERY: Duration = Duration::from_millis(50);
const ASK_EVERY: Duration = Duration::from_millis(500);
const FLUSH_EVERY: Duration = Duration::from_secs(45);
const COMPACT_EVERY: Duration = Duration::from_secs(200);

/// What is asked in SQL, in turn; `{}` is the newest run of a writer.
const QUESTIONS: [&str; 4] = [
    "SELECT key, count(*), avg(value), max(step) FROM latest_metrics GROUP BY key ORDER BY key",
    "SELECT last_step, min, max FROM metric_envelope('{}', 'loss', 200)",
    "SELECT status, count(*) FROM runs GROUP BY status",
    "SELECT key, min(value), max(value), count(*) FROM metrics WHERE run_id = '{}' GROUP BY key ORDER BY key",
];

/// Latencies of a minute.
#[derive(Debug, Default)]
struct Heard {
    writes: Vec<Duration>,
    reads: Vec<Duration>,
    answers: Vec<Duration>,
}

/// A minute of it.
#[derive(Debug)]
struct Minute {
    points: u64,
    memory: u64,
    files: u64,
    bytes: u64,
    write: [Duration; 2],
    read: [Duration; 2],
    sql: [Duration; 2],
}

struct Soak<'a> {
    server: &'a Server,
    deadline: Instant,
    heard: RefCell<Heard>,
    /// The run that each writer is at.
    newest: RefCell<Vec<String>>,
}

/// Runs the load, and prints a table with a line for each minute.
pub(crate) async fn soak(setup: &Setup, minutes: u64) -> Result<()> {
    ensure!(minutes > 0, "a soak takes a minute at least");
    let server = setup.start(Kind::Runlake, "soak").await?;
    let mut client = server.client().await?;
    let mut newest = Vec::new();
    for number in 0..WRITERS {
        newest.push(new_run(&mut client, number).await?);
    }
    let soak = Soak {
        server: &server,
        deadline: Instant::now() + Duration::from_secs(60 * minutes),
        heard: RefCell::default(),
        newest: RefCell::new(newest),
    };
    let lake = setup.data(Kind::Runlake, "soak").join("lake");
    let seen = RefCell::new(Vec::new());
    let curve = Curve::new();
    let mut tasks: Vec<LocalBoxFuture<'_, Result<()>>> = Vec::new();
    for number in 0..WRITERS {
        tasks.push(soak.write(number, &curve).boxed_local());
    }
    for number in 0..READERS {
        tasks.push(soak.read(number).boxed_local());
    }
    tasks.push(soak.ask().boxed_local());
    tasks.push(soak.every("flush", FLUSH_EVERY).boxed_local());
    tasks.push(soak.every("compact", COMPACT_EVERY).boxed_local());
    tasks.push(soak.watch(&lake, &seen).boxed_local());
    // All on this thread, as with the other loads. The first error ends it.
    try_join_all(tasks).await?;
    drop(soak);
    let seen = seen.into_inner();
    println!("{}", table(&seen));
    println!("{}", verdict(&seen));
    server.stop()
}

impl Soak<'_> {
    fn goes_on(&self) -> bool {
        Instant::now() < self.deadline
    }

    /// Sleeps until the next turn after `begun`, or no longer than the soak.
    async fn pause(&self, begun: Instant, every: Duration) {
        tokio::time::sleep_until((begun + every).min(self.deadline).into()).await;
    }

    async fn write(&self, number: u64, curve: &Curve) -> Result<()> {
        let mut client = self.server.client().await?;
        let place = usize::try_from(number)?;
        let mut run_id = self.newest.borrow()[place].clone();
        let mut batch = Batch::new(&run_id, curve);
        let mut sent = 0;
        while self.goes_on() {
            let begun = Instant::now();
            client.post_ok(&path("runs/log-batch"), batch.next()).await?;
            self.heard.borrow_mut().writes.push(begun.elapsed());
            sent += 1;
            if sent % BATCHES_PER_RUN == 0 {
                let ended = json!({"run_id": run_id, "status": "FINISHED", "end_time": crate::data::START + sent});
                client.post_ok(&path("runs/update"), ended.to_string().as_bytes()).await?;
                run_id = new_run(&mut client, number + WRITERS * sent).await?;
                self.newest.borrow_mut()[place].clone_from(&run_id);
                batch = Batch::new(&run_id, curve);
            }
            self.pause(begun, WRITE_EVERY).await;
        }
        Ok(())
    }

    /// A run, a page of a search, a sampled history, in turn.
    async fn read(&self, number: u64) -> Result<()> {
        let mut client = self.server.client().await?;
        let search = json!({"experiment_ids": ["0"], "max_results": 50, "filter": "metrics.loss < 1.5", "order_by": ["metrics.loss"]});
        let search = search.to_string();
        let mut turn = number;
        while self.goes_on() {
            let run_id = self.run(turn);
            let begun = Instant::now();
            match turn % 3 {
                0 => client.get_ok(&format!("{}?run_id={run_id}", path("runs/get"))).await?,
                1 => client.post_ok(&path("runs/search"), search.as_bytes()).await?,
                _ => {
                    let target = format!(
                        "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run_id}&metric_key=loss&max_results=320"
                    );
                    client.get_ok(&target).await?
                }
            };
            self.heard.borrow_mut().reads.push(begun.elapsed());
            turn += 1;
            self.pause(begun, READ_EVERY).await;
        }
        Ok(())
    }

    async fn ask(&self) -> Result<()> {
        let mut client = self.server.client().await?;
        let mut turn = 0;
        while self.goes_on() {
            let question = QUESTIONS[turn % QUESTIONS.len()].replace("{}", &self.run(turn as u64));
            let begun = Instant::now();
            client.post_ok("/api/runlake/sql", json!({ "sql": question }).to_string().as_bytes()).await?;
            self.heard.borrow_mut().answers.push(begun.elapsed());
            turn += 1;
            self.pause(begun, ASK_EVERY).await;
        }
        Ok(())
    }

    /// Flushes or compacts, beside what the server does by itself.
    async fn every(&self, what: &str, every: Duration) -> Result<()> {
        let mut client = self.server.client().await?;
        loop {
            self.pause(Instant::now(), every).await;
            if !self.goes_on() {
                return Ok(());
            }
            upkeep(&mut client, what).await?;
        }
    }

    async fn watch(&self, lake: &Path, seen: &RefCell<Vec<Minute>>) -> Result<()> {
        while self.goes_on() {
            self.pause(Instant::now(), Duration::from_mins(1)).await;
            let mut heard = self.heard.take();
            let minute = Minute {
                points: heard.writes.len() as u64 * BATCH,
                memory: self.server.memory(),
                files: files_below(lake),
                bytes: bytes_below(lake),
                write: spread(&mut heard.writes),
                read: spread(&mut heard.reads),
                sql: spread(&mut heard.answers),
            };
            eprintln!("  minute {}: {}", seen.borrow().len() + 1, line(&minute));
            seen.borrow_mut().push(minute);
        }
        Ok(())
    }

    fn run(&self, turn: u64) -> String {
        self.newest.borrow()[usize::try_from(turn % WRITERS).unwrap_or(0)].clone()
    }
}

async fn upkeep(client: &mut Client, what: &str) -> Result<()> {
    client.post_ok(&format!("/api/runlake/{what}"), b"{}").await.map(drop)
}

/// Median, and what one in a hundred exceeds.
fn spread(times: &mut [Duration]) -> [Duration; 2] {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    [at(50), at(99)]
}

fn files_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

fn line(minute: &Minute) -> String {
    let both = |[half, most]: [Duration; 2]| format!("{} / {}", millis(half), millis(most));
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let points = whole(minute.points as f64);
    format!(
        "{points} | {} | {} | {} | {} | {} | {}",
        mebibytes(minute.memory),
        minute.files,
        mebibytes(minute.bytes),
        both(minute.write),
        both(minute.read),
        both(minute.sql)
    )
}

fn table(seen: &[Minute]) -> String {
    let mut text =
        "| minute | points written | memory | files | on disk | write p50 / p99 | read p50 / p99 | SQL p50 / p99 |\n\
                    |---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for (number, minute) in seen.iter().enumerate() {
        text.push_str(&format!("| {} | {} |\n", number + 1, line(minute)));
    }
    text
}

/// The last quarter beside the second: the first is for getting warm.
fn verdict(seen: &[Minute]) -> String {
    let quarter = (seen.len() / 4).max(1);
    let early =
        &seen[(seen.len() - 1).min(quarter)..(2 * quarter).min(seen.len()).max((seen.len() - 1).min(quarter) + 1)];
    let late = &seen[seen.len() - quarter..];
    let mean = |of: &[Minute], value: &dyn Fn(&Minute) -> f64| of.iter().map(value).sum::<f64>() / of.len() as f64;
    let mut text = "From the second quarter to the last:\n".to_owned();
    let figures: [(&str, &dyn Fn(&Minute) -> f64); 5] = [
        ("memory, MiB", &|minute| minute.memory as f64 / f64::from(1 << 20)),
        ("files", &|minute| minute.files as f64),
        ("write p99, ms", &|minute| minute.write[1].as_secs_f64() * 1e3),
        ("read p99, ms", &|minute| minute.read[1].as_secs_f64() * 1e3),
        ("SQL p99, ms", &|minute| minute.sql[1].as_secs_f64() * 1e3),
    ];
    for (name, value) in figures {
        let (before, after) = (mean(early, value), mean(late, value));
        let change = if before > 0.0 { 100.0 * (after / before - 1.0) } else { 0.0 };
        text.push_str(&format!("* {name}: {before:.1} to {after:.1} ({change:+.0} %)\n"));
    }
    text
}
