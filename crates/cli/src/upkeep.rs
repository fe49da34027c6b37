//! `runlake flush`, `compact` and `vacuum`: through the server that owns a lake, or on a lake that no server has open.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use runlake_artifacts::Artifacts;
use runlake_engine::{Engine, Settings};
use runlake_storage::names;
use runlake_types::SystemClock;
use serde::Deserialize;
use serde_json::json;

use crate::client::Server;
use crate::lake::{open_lake_store, open_store};
use crate::terminal::say;
use crate::units::Span;
use crate::{Failure, Result};

/// Which lake.
#[allow(clippy::doc_markdown, reason = "the comments are the help that terminals show")]
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Address of the server that has the lake open, e.g. http://127.0.0.1:5000. Who you are is taken from
    /// RUNLAKE_TOKEN or MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    #[arg(long, env = "RUNLAKE_SERVER", value_name = "URL")]
    server: Option<String>,

    /// The lake itself, while no server has it open: a folder or URL.
    #[arg(long, value_name = "PLACE")]
    lake: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VacuumArgs {
    #[command(flatten)]
    target: Target,

    /// How long files stay after the tables stopped naming them. Readers of older versions, and queries that take
    /// longer than this, need them. What unfinished uploads left behind stays as long; through a server at least 1h.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    retain: Span,

    /// With --lake: where its server keeps the files that clients send to it [default: the folder "artifacts" of the
    /// lake].
    #[arg(long, env = "RUNLAKE_ARTIFACTS_DESTINATION", value_name = "PLACE")]
    artifacts_destination: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Flushed {
    points: usize,
    changes: usize,
}

#[derive(Debug, Deserialize)]
struct Compacted {
    files_removed: u64,
    files_added: u64,
}

#[derive(Debug, Deserialize)]
struct Vacuumed {
    files_deleted: u64,
    bytes_deleted: u64,
    uploads_removed: u64,
    staging_files_removed: u64,
}

pub(crate) async fn flush(target: Target) -> Result {
    let done = match target.open().await? {
        Opened::Server(server) => server.send(Method::POST, "flush", &json!({})).await?,
        Opened::Lake(engine) => {
            let summary = finish(&engine, engine.flush().await).await?;
            Flushed { points: summary.points, changes: summary.changes }
        }
    };
    say(&format_args!("flushed {} metric points and {} other rows", done.points, done.changes));
    Ok(())
}

pub(crate) async fn compact(target: Target) -> Result {
    let done = match target.open().await? {
        Opened::Server(server) => server.send(Method::POST, "compact", &json!({})).await?,
        Opened::Lake(engine) => {
            let summary = finish(&engine, engine.compact().await).await?;
            Compacted { files_removed: summary.files_removed, files_added: summary.files_added }
        }
    };
    say(&format_args!("compacted {} files into {}", done.files_removed, done.files_added));
    Ok(())
}

pub(crate) async fn vacuum(args: VacuumArgs) -> Result {
    let retain = args.retain.0;
    let done = match args.target.open().await? {
        Opened::Server(server) => {
            server.send(Method::POST, "vacuum", &json!({ "retain_seconds": retain.as_secs() })).await?
        }
        Opened::Lake(engine) => {
            let outcome = vacuum_at_rest(&engine, retain, args.artifacts_destination.as_deref()).await;
            let closed = close(&engine).await;
            let done = outcome?;
            closed?;
            done
        }
    };
    say(&format_args!("deleted {} files, {} bytes", done.files_deleted, done.bytes_deleted));
    say(&format_args!(
        "removed {} unfinished uploads and {} files of writes that were cut off",
        done.uploads_removed, done.staging_files_removed
    ));
    Ok(())
}

/// Nobody else writes here: the engine holds the lake.
async fn vacuum_at_rest(engine: &Engine, retain: Duration, destination: Option<&str>) -> Result<Vacuumed> {
    let summary = engine.vacuum(retain).await.map_err(told)?;
    let before = engine.clock().now().earlier_by(retain);
    let store = match destination {
        Some(place) => open_store(place, "the artifacts destination").await?,
        None => engine.store().folder(names::ARTIFACTS),
    };
    // The artifacts may be in the lake or elsewhere; what the first sweep took, the second does not count again.
    let in_lake = engine.store().sweep_staging(before).await.map_err(told)?;
    let elsewhere = store.sweep_staging(before).await.map_err(told)?;
    Ok(Vacuumed {
        files_deleted: summary.files_deleted,
        bytes_deleted: summary.bytes_deleted,
        uploads_removed: Artifacts::new(store).sweep_uploads(before).await.map_err(told)?,
        staging_files_removed: in_lake + elsewhere,
    })
}

/// A way to the lake.
pub(crate) enum Opened {
    Server(Server),
    Lake(Box<Engine>),
}

impl Target {
    /// Whether it is a lake that no server has open.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.server.is_none()
    }

    pub(crate) async fn open(self) -> Result<Opened> {
        match (self.server, self.lake) {
            (Some(url), _) => Ok(Opened::Server(Server::at(&url)?)),
            (None, Some(place)) => {
                let store = open_lake_store(&place).await?;
                let opened = Engine::open(store, Settings::default(), Arc::new(SystemClock)).await;
                opened.map(|engine| Opened::Lake(Box::new(engine))).map_err(|error| match error.holder() {
                    Some(held) => Failure::new(format!(
                        "{held}. Use --server with the address of that server, such as http://127.0.0.1:5000, or stop it"
                    )),
                    None => Failure::new(format!("the lake {place} cannot be opened: {error}")),
                })
            }
            (None, None) => Err(Failure::usage("say which lake: --server URL or --lake PLACE")),
        }
    }
}

/// The outcome, once the engine is closed.
async fn finish<T>(engine: &Engine, outcome: runlake_engine::Result<T>) -> Result<T> {
    let closed = close(engine).await;
    let done = outcome.map_err(told)?;
    closed?;
    Ok(done)
}

pub(crate) async fn close(engine: &Engine) -> Result {
    engine.close().await.map_err(|error| Failure::new(format!("the lake could not be closed: {error}")))
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn told(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
