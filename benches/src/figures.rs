//! The figures, each a function that measures one server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::data::{self, BATCH, Batch, Curve};
use crate::http::Client;
use crate::load::{new_run, one_by_one, path, side_by_side};
use crate::report::Report;
use crate::server::{Kind, Server, Setup, bytes_below};
use crate::stats::{mebibytes, median, millis, rate};

const CLIENTS: usize = 16;

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Of each measured load.
    pub(crate) load: Duration,
    /// Of the sustained load.
    pub(crate) sustained: Duration,
    /// Rounds of a single request.
    pub(crate) rounds: usize,
    /// Runs in the lake that is searched.
    pub(crate) runs: u64,
    /// Points of the long history.
    pub(crate) points: u64,
    /// Points of the lake that SQL is asked of.
    pub(crate) sql_points: u64,
    /// Points that are read over Arrow Flight.
    pub(crate) read_points: u64,
}

/// Single requests, one client: durable log-metric, create-run, get-run.
pub(crate) async fn latency(server: &Server, scale: Scale, report: &mut Report) -> Result<()> {
    let name = server.kind.name();
    let rounds = if server.kind == Kind::Runlake { scale.rounds } else { scale.rounds / 10 };
    let mut client = server.client().await?;
    let run_id = new_run(&mut client, 0).await?;

    let target = path("runs/log-metric");
    let time = one_by_one(server, rounds, async |client, round| {
        let body = log_metric(&run_id, round as u64);
        client.post_ok(&target, body.as_bytes()).await.map(drop)
    })
    .await?;
    report.add("log-metric, one at a time, p50", name, millis(time));

    let target = path("runs/create");
    let time = one_by_one(server, rounds, async |client, round| {
        client.post_ok(&target, data::create_run(round as u64).as_bytes()).await.map(drop)
    })
    .await?;
    report.add("create-run p50", name, millis(time));

    let target = format!("{}?run_id={run_id}", path("runs/get"));
    let time = one_by_one(server, rounds, async |client, _| client.get_ok(&target).await.map(drop)).await?;
    report.add("get-run p50", name, millis(time));
    Ok(())
}

fn log_metric(run_id: &str, step: u64) -> String {
    format!(
        r#"{{"run_id":"{run_id}","key":"loss","value":{},"timestamp":{},"step":{step}}}"#,
        data::metric_value(step, 0),
        data::START + step
    )
}

/// log-metric and log-batch from many clients, each with a run of its own.
pub(crate) async fn throughput(server: &Server, scale: Scale, report: &mut Report) -> Result<()> {
    let name = server.kind.name();
    let mut client = server.client().await?;
    let mut runs = Vec::new();
    for number in 0..CLIENTS as u64 {
        runs.push(new_run(&mut client, number).await?);
    }
    let cpu = server.cpu();
    let target = path("runs/log-metric");
    let requests = side_by_side(server, CLIENTS, scale.load, |mut client, number, deadline| {
        let (run_id, target) = (&runs[number], &target);
        async move {
            let mut done = 0;
            while Instant::now() < deadline {
                client.post_ok(target, log_metric(run_id, done).as_bytes()).await?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await;
    report.add("log-metric, 16 clients", name, rate_or_failure(server, requests, "requests")?);
    tell_cpu("log-metric", server.cpu().saturating_sub(cpu), scale.load);

    for (clients, figure) in [(1, "log-batch of 1,000, 1 client"), (CLIENTS, "log-batch of 1,000, 16 clients")] {
        let cpu = server.cpu();
        let points = log_batches(server, clients, scale.load).await;
        report.add(figure, name, rate_or_failure(server, points, "points")?);
        tell_cpu(figure, server.cpu().saturating_sub(cpu), scale.load);
    }
    Ok(())
}

/// A rate as text. A peer that does not stand the load says so in the table; ours ends the run.
fn rate_or_failure(server: &Server, measured: Result<f64>, unit: &str) -> Result<String> {
    match measured {
        Ok(number) => Ok(rate(number, unit)),
        Err(error) if server.kind != Kind::Runlake => {
            eprintln!("    ({} failed: {error})", server.kind.name());
            Ok("answers errors".to_owned())
        }
        Err(error) => Err(error),
    }
}

fn tell_cpu(what: &str, used: Duration, wall: Duration) {
    if !used.is_zero() {
        eprintln!("    ({what}: the server used {:.2} cores)", used.as_secs_f64() / wall.as_secs_f64());
    }
}

/// Points per second of full batches into runs made for it.
async fn log_batches(server: &Server, clients: usize, time: Duration) -> Result<f64> {
    let mut client = server.client().await?;
    let mut runs = Vec::new();
    for number in 0..clients as u64 {
        runs.push(new_run(&mut client, number).await?);
    }
    let curve = Curve::new();
    let target = path("runs/log-batch");
    let batches = side_by_side(server, clients, time, |mut client, number, deadline| {
        let (mut batch, target) = (Batch::new(&runs[number], &curve), &target);
        async move {
            let mut done = 0;
            while Instant::now() < deadline {
                client.post_ok(target, batch.next()).await?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await?;
    #[allow(clippy::cast_precision_loss, reason = "a thousand")]
    Ok(batches * BATCH as f64)
}

/// Full batches for minutes while the server flushes and compacts; its memory meanwhile; bytes per point afterwards.
pub(crate) async fn sustained(setup: &Setup, kind: Kind, scale: Scale, report: &mut Report) -> Result<()> {
    let name = kind.name();
    let server = setup.start(kind, "sustained").await?;
    let before = stored(setup, kind, "sustained");
    let stop = std::rc::Rc::new(std::cell::Cell::new(false));
    let peak_memory = {
        let watched = std::rc::Rc::clone(&stop);
        let server = &server;
        async move {
            let mut peak = 0;
            while !watched.get() {
                peak = peak.max(server.memory());
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            peak
        }
    };
    let cpu = server.cpu();
    let load = async {
        let points = log_batches(&server, CLIENTS, scale.sustained).await;
        stop.set(true);
        points
    };
    let (points, peak) = tokio::join!(load, peak_memory);
    let points = points?;
    tell_cpu("sustained", server.cpu().saturating_sub(cpu), scale.sustained);
    let seconds = scale.sustained.as_secs();
    let total = points * scale.sustained.as_secs_f64();
    eprintln!("  {} points in {seconds} s", crate::stats::whole(total));
    report.add("log-batch kept up while flushing and compacting", name, rate(points, "points"));
    report.add("memory meanwhile, peak", name, mebibytes(peak));
    server.stop()?;
    if kind == Kind::Runlake {
        let lake = setup.data(kind, "sustained").join("lake");
        for work in [vec!["compact"], vec!["vacuum", "--retain", "0s"]] {
            let status = std::process::Command::new(&setup.runlake).args(&work).arg("--lake").arg(&lake).status()?;
            anyhow::ensure!(status.success(), "runlake {work:?} ended with {status}");
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "a size")]
    let bytes = stored(setup, kind, "sustained").saturating_sub(before) as f64 / total;
    report.add("bytes on disk per point, compacted", name, format!("{bytes:.2}"));
    Ok(())
}

fn stored(setup: &Setup, kind: Kind, name: &str) -> u64 {
    match kind {
        Kind::Runlake => bytes_below(&setup.data(kind, name).join("lake").join("tables")),
        _ => bytes_below(&setup.data(kind, name)),
    }
}

/// Starts on a lake of many runs: cold start, memory at rest, first search.
pub(crate) async fn start(setup: &Setup, kind: Kind, report: &mut Report) -> Result<Server> {
    let name = kind.name();
    let mut times = Vec::new();
    for _ in 0..if kind == Kind::Runlake { 5 } else { 1 } {
        let server = setup.start(kind, "runs").await?;
        times.push(server.started_in);
    }
    report.add("cold start to the first 200", name, millis(median(&mut times)));
    let server = setup.start(kind, "runs").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    report.add("memory at rest, process tree", name, mebibytes(server.memory()));
    Ok(server)
}

/// Logs the runs that are searched. MLflow's were filled in past its server.
pub(crate) async fn fill_runlake(setup: &Setup, scale: Scale) -> Result<()> {
    let server = setup.start(Kind::Runlake, "runs").await?;
    let started = Instant::now();
    let (create, describe) = (path("runs/create"), path("runs/log-batch"));
    let next = std::cell::Cell::new(0_u64);
    side_by_side(&server, CLIENTS, Duration::ZERO, |mut client, _, _| {
        let (create, describe, next) = (&create, &describe, &next);
        async move {
            let mut done = 0;
            loop {
                let number = next.get();
                if number >= scale.runs {
                    return Ok(done);
                }
                next.set(number + 1);
                let body = client.post_ok(create, data::create_run(number).as_bytes()).await?;
                let answer: Value = serde_json::from_slice(body)?;
                let id = answer["run"]["info"]["run_id"].as_str().context("no run id")?.to_owned();
                client.post_ok(describe, data::describe_run(&id, number).as_bytes()).await?;
                done += 1;
            }
        }
    })
    .await?;
    let mut client = server.client().await?;
    let long = new_run(&mut client, scale.runs).await?;
    for first in (0..scale.points).step_by(1000) {
        let count = (scale.points - first).min(1000);
        client.post_ok(&describe, data::history_batch(&long, first, count).as_bytes()).await?;
    }
    eprintln!("  {} runs logged in {:.1} s", scale.runs, started.elapsed().as_secs_f64());
    std::fs::write(setup.folder.join("long-run"), long)?;
    server.stop()
}

/// Pages of `runs/search`.
pub(crate) async fn search(server: &Server, report: &mut Report) -> Result<()> {
    let name = server.kind.name();
    let mut client = server.client().await?;
    let first = json!({"experiment_ids": ["0"], "max_results": 100});
    let filtered = json!({
        "experiment_ids": ["0"],
        "max_results": 100,
        "filter": "metrics.m3 > 0.5 AND params.p2 = 'sgd'",
        "order_by": ["metrics.m1 DESC"],
    });
    let time = search_once(&mut client, &first).await?;
    report.add("runs/search: the first after start", name, millis(time));
    let rounds = if server.kind == Kind::Runlake { 50 } else { 3 };
    for (figure, body, rounds) in [
        ("runs/search: first page of 100", &first, rounds),
        (
            "runs/search: filter on metric and param, ordered by a metric",
            &filtered,
            rounds.min(if server.kind == Kind::Runlake { 50 } else { 1 }),
        ),
    ] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            times.push(search_once(&mut client, body).await?);
        }
        report.add(figure, name, millis(median(&mut times)));
    }
    Ok(())
}

async fn search_once(client: &mut Client, body: &Value) -> Result<Duration> {
    let body = serde_json::to_vec(body)?;
    let started = Instant::now();
    let answer = client.post_ok(&path("runs/search"), &body).await?;
    let time = started.elapsed();
    let answer: Value = serde_json::from_slice(answer)?;
    let runs = answer["runs"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(runs == 100, "a page of {runs} runs");
    Ok(time)
}

/// The whole history of a long metric by pages, and its sampled form.
pub(crate) async fn history(server: &Server, run_id: &str, scale: Scale, report: &mut Report) -> Result<()> {
    let name = server.kind.name();
    let mut client = server.client().await?;
    let started = Instant::now();
    let (mut points, mut token) = (0_u64, String::new());
    loop {
        let more = if token.is_empty() { String::new() } else { format!("&page_token={token}") };
        let target = format!("{}?run_id={run_id}&metric_key=loss&max_results=25000{more}", path("metrics/get-history"));
        let page: Page = serde_json::from_slice(client.get_ok(&target).await?)?;
        points += page.metrics.len() as u64;
        match page.next_page_token {
            Some(next) if !next.is_empty() => token = next,
            _ => break,
        }
        if started.elapsed() > Duration::from_mins(1) {
            break;
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = points as f64 / started.elapsed().as_secs_f64();
    report.add("history of a metric, by pages of 25,000", name, rate(per_second, "points"));

    let target = format!(
        "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run_id}&metric_key=loss&start_step=0&end_step={}&max_results=320",
        scale.points
    );
    let mut times = Vec::new();
    for _ in 0..if server.kind == Kind::Runlake { 20 } else { 3 } {
        let started = Instant::now();
        client.get_ok(&target).await?;
        times.push(started.elapsed());
    }
    report.add("history sampled to 320 points", name, millis(median(&mut times)));
    Ok(())
}

/// A page of a history; its points are counted and not read.
#[derive(serde::Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    metrics: Vec<&'a serde_json::value::RawValue>,
    next_page_token: Option<String>,
}
