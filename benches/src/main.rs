//! Measures runlake beside MLflow's own server, with the machine's limits from the same run.
//!
//! `cargo run --release -p runlake-bench` builds both and prints a table; see `--help` and `benches/README.md`.

mod data;
mod figures;
mod flight;
mod flight_read;
mod http;
mod limits;
mod lineage;
mod load;
mod null_flight;
mod peer;
mod report;
mod server;
mod serving;
mod soak;
mod sql;
mod stats;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use figures::Scale;
use report::Report;
use server::{Kind, Setup};

#[derive(Debug, Parser)]
#[command(about = "Measures runlake beside MLflow's own server, with the machine's limits from the same run")]
struct Args {
    /// Which figures; all but the soak when none is named.
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Leave MLflow out.
    #[arg(long)]
    no_mlflow: bool,
    /// A python that has MLflow 3.17; made below the target folder when not given.
    #[arg(long)]
    mlflow_python: Option<PathBuf>,
    /// The runlake binary; beside this program when not given.
    #[arg(long)]
    runlake: Option<PathBuf>,
    /// More arguments for `runlake server`, for example `--runlake-arg=--memory-budget=512MB`.
    #[arg(long = "runlake-arg", allow_hyphen_values = true)]
    server_options: Vec<String>,
    /// Runs in the searched lake.
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// Points of the long history.
    #[arg(long, default_value_t = 1_000_000)]
    points: u64,
    /// Points that are read over Arrow Flight.
    #[arg(long, default_value_t = 10_000_000)]
    read_points: u64,
    /// Seconds of each measured load.
    #[arg(long, default_value_t = 10)]
    load: u64,
    /// Seconds of the sustained load.
    #[arg(long, default_value_t = 300)]
    sustained: u64,
    /// Minutes of the soak.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Points of the lake that SQL is asked of.
    #[arg(long, default_value_t = 100_000_000)]
    sql_points: u64,
    /// Keep the data in this folder and use what is there already.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Run a debug build as well, to see that everything works; its figures mean nothing.
    #[arg(long, hide = true)]
    trial: bool,
    #[command(subcommand)]
    command: Option<Hidden>,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// Answers `{}` to everything.
    #[command(hide = true)]
    NullServer { port: u16 },
    /// Takes what is sent by Flight and forgets it.
    #[command(hide = true)]
    NullFlight { port: u16 },
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Single requests.
    Latency,
    /// Many clients.
    Throughput,
    /// Minutes of full load, memory, bytes per point.
    Sustained,
    /// Cold start, memory at rest, search, history over many runs.
    Search,
    /// Lineage over 10,000 runs and 2,000 models.
    Lineage,
    /// Rows in bulk over Arrow Flight.
    Flight,
    /// Named SQL queries beside DuckDB, and a cold CLI.
    Sql,
    /// Rows read over Arrow Flight.
    FlightRead,
    /// Models over HTTP, beside `mlflow models serve`.
    Serving,
    /// Half an hour of mixed load, minute by minute. Runs when it is named.
    Soak,
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.command {
        Some(Hidden::NullServer { port }) => return limits::serve_nothing(port),
        Some(Hidden::NullFlight { port }) => return null_flight::serve(port),
        None => {}
    }
    ensure!(args.trial || !cfg!(debug_assertions), "figures of a debug build mean nothing: run with --release");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: Args) -> Result<()> {
    let beside = std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned();
    let runlake = args.runlake.unwrap_or_else(|| beside.join("runlake"));
    ensure!(runlake.exists(), "{} is missing: run `cargo build --release` first", runlake.display());
    let alone = args.groups == [Group::Soak];
    let python = match (args.no_mlflow || alone, args.mlflow_python) {
        (true, _) => None,
        (false, Some(python)) => Some(python),
        (false, None) => Some(peer::environment(&beside)?),
    };
    let temporary;
    let folder = if let Some(folder) = args.data {
        folder
    } else {
        temporary = tempfile::tempdir_in(&beside)?;
        temporary.path().to_owned()
    };
    std::fs::create_dir_all(&folder)?;
    let setup =
        Setup { runlake, python, folder: folder.canonicalize()?, runlake_args: args.server_options, programs: beside };
    let scale = Scale {
        load: Duration::from_secs(args.load),
        sustained: Duration::from_secs(args.sustained),
        rounds: 1000,
        runs: args.runs,
        points: args.points,
        sql_points: args.sql_points,
        read_points: args.read_points,
    };
    if args.groups.contains(&Group::Soak) {
        soak::soak(&setup, args.minutes).await?;
        if args.groups.len() == 1 {
            return Ok(());
        }
    }
    let wanted = |group| args.groups.is_empty() || args.groups.contains(&group);
    let mut report = Report::default();
    let kinds: &[Kind] =
        if setup.python.is_some() { &[Kind::Runlake, Kind::Mlflow, Kind::MlflowOne] } else { &[Kind::Runlake] };

    measure_limits(&setup, scale, &mut report).await?;
    if wanted(Group::Latency) || wanted(Group::Throughput) {
        for kind in kinds {
            let name = if *kind == Kind::MlflowOne { "load-one" } else { "load" };
            let server = setup.start(*kind, name).await?;
            if wanted(Group::Latency) {
                figures::latency(&server, scale, &mut report).await?;
            }
            if wanted(Group::Throughput) {
                figures::throughput(&server, scale, &mut report).await?;
            }
            server.stop()?;
        }
    }
    let kinds = kinds.iter().copied().filter(|kind| *kind != Kind::MlflowOne);
    if wanted(Group::Sustained) {
        for kind in kinds.clone() {
            // At a few thousand points per second a minute of MLflow's says all.
            let short = Scale { sustained: scale.sustained.min(Duration::from_mins(1)), ..scale };
            figures::sustained(&setup, kind, if kind == Kind::Runlake { scale } else { short }, &mut report).await?;
        }
    }
    if wanted(Group::Search) {
        for kind in kinds {
            let long = peer::fill(&setup, kind, scale).await?;
            let server = figures::start(&setup, kind, &mut report).await?;
            figures::search(&server, &mut report).await?;
            figures::history(&server, &long, scale, &mut report).await?;
            sql::wide(&setup, &server, &mut report)?;
            server.stop()?;
        }
    }
    if wanted(Group::Lineage) {
        lineage::lineage(&setup, &mut report).await?;
    }
    if wanted(Group::Flight) {
        flight::flight(&setup, scale, &mut report).await?;
    }
    if wanted(Group::Sql) {
        sql::sql(&setup, scale, &mut report).await?;
    }
    if wanted(Group::FlightRead) {
        flight_read::flight_read(&setup, scale, &mut report).await?;
    }
    if wanted(Group::Serving) {
        serving::serving(&setup, scale, &mut report).await?;
    }
    let servers = [Kind::Runlake, Kind::Mlflow, Kind::MlflowOne].map(Kind::name);
    println!("{}", report.table(if setup.python.is_some() { &servers } else { &servers[..1] }));
    Ok(())
}

async fn measure_limits(setup: &Setup, scale: Scale, report: &mut Report) -> Result<()> {
    let (grows, ahead) = limits::append_and_sync(&setup.folder)?;
    let text = format!("append + fdatasync of 4 KiB: {} growing, {} ahead", stats::millis(grows), stats::millis(ahead));
    report.limit("log-metric, one at a time, p50", text);
    let null = setup.start(Kind::Null, "null").await?;
    let time = load::one_by_one(&null, scale.rounds, async |client, _| client.get_ok("/").await.map(drop)).await?;
    report.limit("get-run p50", format!("null HTTP server: {}", stats::millis(time)));
    let requests =
        load::side_by_side(&null, 16, scale.load.min(Duration::from_secs(5)), |mut client, _, deadline| async move {
            let mut done = 0;
            while std::time::Instant::now() < deadline {
                client
                    .post_ok("/", b"{\"run_id\":\"\",\"key\":\"loss\",\"value\":1.0,\"timestamp\":1,\"step\":1}")
                    .await?;
                done += 1;
            }
            Ok(done)
        })
        .await?;
    report.limit("log-metric, 16 clients", format!("null HTTP server: {}", stats::rate(requests, "requests")));
    let parsed = limits::json_points_per_second()?;
    report.limit(
        "log-batch of 1,000, 16 clients",
        format!("serde_json, typed, per core: {}", stats::rate(parsed, "points")),
    );
    Ok(())
}
