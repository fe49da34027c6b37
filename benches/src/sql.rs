//! Named queries over a lake of many points, beside DuckDB over the same Parquet files, and the first answer of a CLI that
//! finds nothing in memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::data;
use crate::figures::Scale;
use crate::flight::{MOST_MESSAGE_BYTES, ROWS, RUNS, Source, Text};
use crate::http::Client;
use crate::load::path;
use crate::peer;
use crate::report::Report;
use crate::server::{Kind, Server, Setup, bytes_below};
use crate::stats::{mebibytes, median, millis, whole};

/// Groups of runs that are logged by one stream each; every group is an experiment.
const GROUPS: u64 = 64;
/// Versions of registered models, made of some of the runs.
const VERSIONS: u64 = 200;

/// Fills the lake unless it is there, asks both, and tells how they compare.
pub(crate) async fn sql(setup: &Setup, scale: Scale, report: &mut Report) -> Result<()> {
    let folder = setup.data(Kind::Runlake, "sql");
    let mark = folder.join("filled");
    let wanted = scale.sql_points.to_string();
    if std::fs::read_to_string(&mark).ok().as_ref() != Some(&wanted) {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        fill(setup, scale).await?;
        std::fs::write(&mark, wanted)?;
    }
    let told: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("runs.json"))?)?;
    let lake = folder.join("lake");
    cold(setup, &lake, report)?;
    let server = setup.start(Kind::Runlake, "sql").await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/sql.py");
    let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries.sql");
    let mut ask = Command::new(peer::readers(&setup.programs)?);
    ask.arg(script).arg(format!("http://127.0.0.1:{}", server.port)).arg(&lake).arg(queries);
    for name in ["run", "other", "dataset"] {
        ask.arg(told[name].as_str().context("the lake is filled by another version")?);
    }
    let answer = ask.stderr(Stdio::inherit()).output()?;
    ensure!(answer.status.success(), "{ask:?} ended with {}", answer.status);
    let figures: Vec<(String, f64, f64)> = serde_json::from_slice(&answer.stdout)?;
    tell(&figures, report);
    report.add("memory after these queries", Kind::Runlake.name(), mebibytes(server.memory()));
    server.stop()
}

fn tell(figures: &[(String, f64, f64)], report: &mut Report) {
    println!("| query | runlake | DuckDB | ratio |\n|---|---|---|---|");
    let mut logarithms = 0.0;
    let mut worst: (f64, &str) = (0.0, "");
    for (name, ours, theirs) in figures {
        let ratio = ours / theirs;
        logarithms += ratio.ln();
        if ratio > worst.0 {
            worst = (ratio, name);
        }
        println!("| {name} | {:.1} ms | {:.1} ms | {ratio:.2} |", ours * 1e3, theirs * 1e3);
    }
    #[allow(clippy::cast_precision_loss, reason = "a few")]
    let mean = (logarithms / figures.len() as f64).exp();
    let name = Kind::Runlake.name();
    report.add("SQL queries, time by DuckDB's: geometric mean", name, format!("{mean:.2}"));
    report.add("… the slowest by comparison", name, format!("{:.2} ({})", worst.0, worst.1));
}

/// From the start of the program to the end of an answer that reads every point's metadata.
fn cold(setup: &Setup, lake: &Path, report: &mut Report) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let answer = Command::new(&setup.runlake)
            .args(["sql", "--format", "csv", "SELECT count(*) FROM metrics", "--lake"])
            .arg(lake)
            .stderr(Stdio::inherit())
            .output()?;
        times.push(started.elapsed());
        ensure!(answer.status.success(), "runlake sql ended with {}", answer.status);
    }
    report.add("first SQL answer of a cold CLI", Kind::Runlake.name(), millis(median(&mut times)));
    Ok(())
}

async fn fill(setup: &Setup, scale: Scale) -> Result<()> {
    let server = setup.start(Kind::Runlake, "sql").await?;
    let started = Instant::now();
    let mut client = server.client().await?;
    let channel = Channel::from_shared(format!("http://127.0.0.1:{}", server.port))?
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20);
    let batches = (scale.sql_points / (GROUPS * ROWS as u64)).max(1);
    let mut runs = Vec::new();
    for group in 0..GROUPS {
        let made = post(&mut client, "experiments/create", &json!({"name": format!("sweep-{group}")})).await?;
        let experiment = made["experiment_id"].as_str().context("no experiment id")?.to_owned();
        let mut of_group = Vec::new();
        for place in 0..RUNS as u64 {
            of_group.push(describe(&mut client, &experiment, group * RUNS as u64 + place).await?);
        }
        let mut source = Source::new(&of_group, Text::Dictionary)?;
        let first = source.schema();
        let rest = (0..batches).map(move |_| source.next());
        let messages = stream::iter(std::iter::once(first).chain(rest).flatten());
        let mut flight =
            FlightServiceClient::new(channel.connect().await?).max_encoding_message_size(MOST_MESSAGE_BYTES);
        let mut answers = flight.do_put(messages).await?.into_inner();
        while answers.next().await.transpose()?.is_some() {}
        runs.extend(of_group);
    }
    register(&mut client, &runs).await?;
    for step in ["flush", "compact"] {
        client.post_ok(&format!("/api/runlake/{step}"), b"{}").await?;
    }
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let points = whole((GROUPS * batches * ROWS as u64) as f64);
    eprintln!("  {points} points of {} runs logged in {:.1} s", runs.len(), started.elapsed().as_secs_f64());
    let told = json!({"run": runs[3], "other": runs[runs.len() / 2], "dataset": "part-7"});
    let folder = setup.data(Kind::Runlake, "sql");
    std::fs::write(folder.join("runs.json"), told.to_string())?;
    server.stop()?;
    eprintln!("  {} on disk", mebibytes(bytes_below(&folder)));
    Ok(())
}

/// A run with its params, tags and datasets.
async fn describe(client: &mut Client, experiment: &str, number: u64) -> Result<String> {
    let run =
        json!({"experiment_id": experiment, "run_name": format!("run-{number}"), "start_time": data::START + number});
    let made = post(client, "runs/create", &run).await?;
    let run_id = made["run"]["info"]["run_id"].as_str().context("no run id")?.to_owned();
    let mut described: Value = serde_json::from_str(&data::describe_run(&run_id, number))?;
    described["metrics"] = json!([]);
    post(client, "runs/log-batch", &described).await?;
    let dataset = |name: String| json!({"dataset": {"name": name, "digest": format!("digest-of-{name}"), "source_type": "s3", "source": "{}"}});
    let inputs =
        json!({"run_id": run_id, "datasets": [dataset("common".into()), dataset(format!("part-{}", number % 20))]});
    post(client, "runs/log-inputs", &inputs).await?;
    Ok(run_id)
}

async fn register(client: &mut Client, runs: &[String]) -> Result<()> {
    for model in 0..10 {
        post(client, "registered-models/create", &json!({"name": format!("model-{model}")})).await?;
    }
    for (number, run_id) in (0..VERSIONS).zip(runs.iter().step_by(3)) {
        let version = json!({"name": format!("model-{}", number % 10), "source": format!("runs:/{run_id}/model"), "run_id": run_id});
        post(client, "model-versions/create", &version).await?;
    }
    Ok(())
}

async fn post(client: &mut Client, endpoint: &str, body: &Value) -> Result<Value> {
    Ok(serde_json::from_slice(client.post_ok(&path(endpoint), body.to_string().as_bytes()).await?)?)
}

/// All runs of the searched lake with their params, metrics and tags, in pandas.
pub(crate) fn wide(setup: &Setup, server: &Server, report: &mut Report) -> Result<()> {
    let python = match (server.kind, &setup.python) {
        (Kind::Runlake, _) => peer::readers(&setup.programs)?,
        (_, Some(python)) => python.clone(),
        (_, None) => return Ok(()),
    };
    let kind = if server.kind == Kind::Runlake { "runlake" } else { "mlflow" };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/wide.py");
    let mut ask = Command::new(python);
    ask.arg(script).arg(kind).arg(format!("http://127.0.0.1:{}", server.port));
    let answer = ask.stderr(Stdio::inherit()).output()?;
    ensure!(answer.status.success(), "{ask:?} ended with {}", answer.status);
    let (seconds, rows, columns): (f64, u64, u64) = serde_json::from_slice(&answer.stdout)?;
    let text = format!("{seconds:.2} s ({rows} x {columns})");
    report.add("all runs with 25 columns, to pandas", server.kind.name(), text);
    Ok(())
}
