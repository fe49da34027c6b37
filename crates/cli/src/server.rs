//! `runlake server`: opens the lake, serves it, ends in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use runlake_artifacts::Artifacts;
use runlake_engine::{Access, Engine};
use runlake_server::App;
use runlake_storage::{Store, names};
use runlake_tracking::{Tracking, TrackingSettings};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::ServerArgs;
use crate::lake::{open_engine, open_lake_store, open_store};
use crate::terminal::{complain, say};
use crate::{Failure, Result, logging};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 5000;
const DEFAULT_LAKE: &str = "./runlake-data";
const DEFAULT_ARTIFACT_ROOT: &str = "mlflow-artifacts:/";
/// How often the engine is asked whether it still works.
const FAILURE_POLL: Duration = Duration::from_millis(250);
/// Exit code after a second signal, by the custom of shells: 128 + SIGINT.
const ABORTED: i32 = 130;

pub(crate) async fn run(args: ServerArgs) -> Result {
    let (args, file) = args.with_file()?;
    args.check()?;
    logging::start(args.log_format.unwrap_or_default(), args.log_level.as_deref().unwrap_or("info"))?;
    let signals = Signals::listen()?;
    let listener = bind(&args).await?;
    let address = listener.local_addr().map_err(|error| Failure::new(format!("the socket has no address: {error}")))?;

    let place = args.lake.as_deref().unwrap_or(DEFAULT_LAKE);
    // Who only reads makes nothing, not even a folder.
    let store = if args.is_read_only() { open_lake_store(place).await? } else { open_store(place, "the lake").await? };
    let artifacts = match &args.artifacts_destination {
        Some(place) => open_store(place, "the artifacts destination").await?,
        None => store.folder(names::ARTIFACTS),
    };
    let (artifact_root, foreign) = artifact_root(&args).await?;
    let engine = open_engine(store.clone(), engine_settings(&args)?).await?;
    let settings = TrackingSettings {
        default_artifact_root: artifact_root,
        truncate_long_values: !args.refuse_long_values.unwrap_or(false),
        allowed_artifact_schemes: args.allowed_artifact_schemes.clone().unwrap_or_default(),
    };
    let tracking = Tracking::open(engine.clone(), settings)
        .await
        .map_err(|error| Failure::new(format!("the experiments of the lake cannot be read: {error}")))?;
    let app = App::new(tracking, Artifacts::new(artifacts.clone()), foreign, server_settings(&args));

    announce(address, &store, &artifacts, &args, file);
    let stop = CancellationToken::new();
    let obeying = tokio::spawn(signals.obey(stop.clone()));
    let watching = tokio::spawn(watch(engine.clone(), stop.clone()));
    runlake_server::serve(listener, app, stop).await;
    let ended = end(&engine).await;
    sound("watches the engine", watching).await?;
    if obeying.is_finished() {
        sound("waits for signals", obeying).await?;
    }
    ended
}

/// Ends the server when the engine has failed (its disk is gone, another server took the lake over): whoever runs it
/// should know, and a restart is the only way on.
async fn watch(engine: Engine, stop: CancellationToken) {
    let _whatever_ends_this = stop.clone().drop_guard();
    let mut ticks = tokio::time::interval(FAILURE_POLL);
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Some(failure) = engine.status().failure {
            tracing::error!("{failure}");
            stop.cancel();
        }
    }
}

/// Whether a task of the server's own got to its end.
async fn sound(does: &str, task: JoinHandle<()>) -> Result {
    task.await.map_err(|error| Failure::new(format!("the task that {does} broke down: {error}")))
}

/// Everything acknowledged is in the log already; a last flush makes it visible to other engines and the next start
/// fast.
async fn end(engine: &Engine) -> Result {
    if let Some(failure) = engine.status().failure {
        return Err(Failure::new(failure));
    }
    if !engine.is_read_only() {
        tracing::info!("writing what is in memory to the lake");
    }
    engine.close().await.map_err(|error| {
        Failure::new(format!(
            "the last flush failed: {error}. Nothing that was acknowledged is lost: it is in the log of the lake, and \
             the next start reads it."
        ))
    })?;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(args: &ServerArgs) -> Result<TcpListener> {
    let host = args.host.as_deref().unwrap_or(DEFAULT_HOST);
    let port = args.port.unwrap_or(DEFAULT_PORT);
    TcpListener::bind((host, port)).await.map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("port {port} of {host} is in use by another program; stop it, or choose another --port")
            }
            std::io::ErrorKind::PermissionDenied => {
                format!("port {port} may not be used by this user; choose a --port above 1023")
            }
            _ => format!("{host}:{port} cannot be listened on: {error}; check --host and --port"),
        };
        Failure::new(what)
    })
}

fn engine_settings(args: &ServerArgs) -> Result<runlake_engine::Settings> {
    let defaults = runlake_engine::Settings::default();
    let access = match (args.is_read_only(), args.takeover.unwrap_or(false)) {
        (true, true) => {
            return Err(Failure::usage("--read-only and --takeover exclude each other; only a writer can take over"));
        }
        (true, false) => Access::ReadOnly,
        (false, true) => Access::TakeOver,
        (false, false) => Access::Write,
    };
    Ok(runlake_engine::Settings {
        access,
        memory_budget: args.memory_budget.map_or(defaults.memory_budget, |size| size.0),
        flush_interval: args.flush_interval.map_or(defaults.flush_interval, |span| span.0),
        retain: args.retain.map_or(defaults.retain, |span| span.0),
        ..defaults
    })
}

fn server_settings(args: &ServerArgs) -> runlake_server::Settings {
    let defaults = runlake_server::Settings::default();
    runlake_server::Settings {
        body_limit: args.body_limit.map_or(defaults.body_limit, |size| size.0),
        max_connections: args.max_connections.unwrap_or(defaults.max_connections),
        drain_timeout: args.drain_timeout.map_or(defaults.drain_timeout, |span| span.0),
        allowed_hosts: args.allowed_hosts.clone().unwrap_or_default(),
        allowed_origins: args.allowed_origins.clone().unwrap_or_default(),
        ..defaults
    }
}

/// The root for new experiments. One that clients write to themselves is opened too, for listing and reading.
async fn artifact_root(args: &ServerArgs) -> Result<(String, Option<(String, Artifacts)>)> {
    let root = args.default_artifact_root.as_deref().unwrap_or(DEFAULT_ARTIFACT_ROOT);
    if ["mlflow-artifacts:", "http:", "https:"].iter().any(|scheme| root.starts_with(scheme)) {
        return Ok((root.to_owned(), None));
    }
    let root = if root.contains("://") || root.starts_with("file:") {
        root.to_owned()
    } else {
        let path = std::path::absolute(root)
            .map_err(|error| Failure::usage(format!("--default-artifact-root {root:?} is no path: {error}")))?;
        path.to_string_lossy().into_owned()
    };
    let store = open_store(&root, "the default artifact root").await?;
    Ok((root.clone(), Some((root, Artifacts::new(store)))))
}

/// Tells whoever started the server how to use it.
fn announce(address: SocketAddr, store: &Store, artifacts: &Store, args: &ServerArgs, file: Option<PathBuf>) {
    let host = match address.ip() {
        std::net::IpAddr::V4(ip) if !ip.is_unspecified() => ip.to_string(),
        std::net::IpAddr::V6(ip) if !ip.is_unspecified() => format!("[{ip}]"),
        std::net::IpAddr::V4(_) | std::net::IpAddr::V6(_) => "127.0.0.1".to_owned(),
    };
    let url = format!("http://{host}:{}", address.port());
    let access = if args.is_read_only() { "  (read only)" } else { "" };
    let file = file.map(|path| format!("  options    {}\n", path.display())).unwrap_or_default();
    say(&format_args!(
        "\nrunlake {version}\n  address    {url}\n  lake       {lake}{access}\n  artifacts  {artifacts}\n{file}\n  \
         import mlflow\n  mlflow.set_tracking_uri(\"{url}\")\n",
        version = runlake_server::VERSION,
        lake = place(store),
        artifacts = place(artifacts),
    ));
    if address.ip().is_unspecified() {
        tracing::info!(%address, "listening on every network of this machine");
    }
}

/// A folder as a path, anything else as a URL.
fn place(store: &Store) -> String {
    store.local_root().map_or_else(|| store.url().to_string(), |path| path.display().to_string())
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be received: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The first signal asks for an orderly end, the second one for an immediate one. Nothing that was acknowledged is
    /// lost either way.
    async fn obey(mut self, stop: CancellationToken) {
        let _whatever_ends_this = stop.clone().drop_guard();
        self.next().await;
        tracing::info!("stopping: open requests are answered first; a second signal ends at once");
        stop.cancel();
        self.next().await;
        complain(&"stopped at once; the next start reads what was acknowledged from the log");
        std::process::exit(ABORTED);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
