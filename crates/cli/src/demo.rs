//! `runlake demo`: a lake of made-up experiments, served.

use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use runlake_artifacts::Artifacts;
use runlake_demo::{Filled, Scale, Services};
use runlake_engine::Settings;
use runlake_registry::Registry;
use runlake_storage::names;
use runlake_tracking::{Tracking, TrackingSettings};
use tokio::net::TcpStream;

use crate::config::ServerArgs;
use crate::lake::{open_engine, open_store};
use crate::terminal::say;
use crate::units::Size;
use crate::{Failure, Result, server};

/// How long the web app may take to be there.
const PATIENCE: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "\
Examples:
  runlake demo                                        500 runs in a folder that is gone afterwards
  runlake demo --data ./demo --runs 100000 --points 20
  runlake demo --data ./demo --no-open                 serve it again; nothing is written twice
  runlake demo --data ./demo --only-fill               fill it, and end";

/// What `runlake demo` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Runs to make.
    #[arg(long, default_value_t = Scale::default().runs, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    runs: u64,

    /// Points of each training curve.
    #[arg(long, default_value_t = Scale::default().points, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    points: u64,

    /// What everything is made of: the same seed gives the same runs.
    #[arg(long, default_value_t = Scale::default().seed)]
    seed: u64,

    /// The lake to fill: a folder or URL that holds none yet, or a demonstration [default: a folder that is removed at the
    /// end].
    #[arg(long, value_name = "PLACE")]
    data: Option<String>,

    /// Port to serve it on; 0 picks a free one.
    #[arg(long, default_value_t = 5000)]
    port: u16,

    /// Do not open a browser.
    #[arg(long)]
    no_open: bool,

    /// End when the lake is filled.
    #[arg(long, requires = "data")]
    only_fill: bool,

    /// Memory for rows that no table file holds yet.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    memory_budget: Size,
}

pub(crate) async fn run(args: DemoArgs) -> Result {
    // Told before minutes of work, not after.
    let port = if args.only_fill { args.port } else { free(args.port)? };
    let temporary;
    let place = if let Some(place) = &args.data {
        place.clone()
    } else {
        temporary = tempfile::Builder::new().prefix("runlake-demo-").tempdir().map_err(|error| {
            Failure::new(format!("no folder can be made for the lake: {error}; give one by --data"))
        })?;
        temporary.path().to_string_lossy().into_owned()
    };
    fill(&args, &place).await?;
    if args.only_fill {
        return Ok(());
    }
    if !args.no_open {
        tokio::spawn(open_browser(port));
    }
    server::run(ServerArgs { lake: Some(place), port: Some(port), ..ServerArgs::default() }).await
}

/// The port, if nobody has it; for 0 one that nobody has.
fn free(port: u16) -> Result<u16> {
    let bound = TcpListener::bind(("127.0.0.1", port)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| {
        Failure::new(format!(
            "port {port} cannot be listened on: {error}; choose another --port, or 0 for any that is free"
        ))
    })
}

async fn fill(args: &DemoArgs, place: &str) -> Result {
    let begun = Instant::now();
    let store = open_store(place, "the lake").await?;
    let settings = Settings { memory_budget: args.memory_budget.0, ..Settings::default() };
    let engine = open_engine(store.clone(), settings).await?;
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("the lake {place} cannot be filled: {error}"));
    let settings = TrackingSettings {
        default_artifact_root: server::DEFAULT_ARTIFACT_ROOT.to_owned(),
        ..TrackingSettings::default()
    };
    let tracking = Tracking::open(engine.clone(), settings).await.map_err(|error| failed(&error))?;
    let services = Services {
        registry: Registry::new(tracking.clone()),
        tracking,
        artifacts: Artifacts::new(store.folder(names::ARTIFACTS)),
    };
    let scale = Scale { runs: args.runs, points: args.points, seed: args.seed };
    let bar = bar(args.runs);
    let mut told = |filled: Filled| {
        bar.set_position(filled.runs);
        bar.set_message(format!("{} points", HumanCount(filled.points)));
    };
    let filled = runlake_demo::fill(&services, scale, &mut told).await;
    bar.set_message("writing the tables");
    drop(services);
    let closed = engine.close().await;
    bar.finish_and_clear();
    let filled = filled.map_err(|error| match error {
        runlake_demo::Error::NotEmpty(_) => failed(&format_args!("{error}. Give a place that holds none by --data.")),
        other => failed(&other),
    })?;
    closed.map_err(|error| failed(&error))?;
    match filled {
        None => say(&format_args!("{place} holds the demonstration already; it is served as it is")),
        Some(filled) => say(&format_args!(
            "{} runs with {} points in {place}, made in {:.1} s",
            HumanCount(filled.runs),
            HumanCount(filled.points),
            begun.elapsed().as_secs_f64()
        )),
    }
    Ok(())
}

fn bar(runs: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(runs);
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} runs  {msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Opens the web app as soon as it answers. Where there is no browser, its address was told.
async fn open_browser(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if begun.elapsed() > PATIENCE {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(opener);
    command.arg(format!("http://127.0.0.1:{port}/")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _whoever_is_there = tokio::task::spawn_blocking(move || command.status()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(|number| HumanCount(number).to_string()),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
