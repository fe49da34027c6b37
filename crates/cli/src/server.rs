//! `runlake server`: opens the lake, serves it, ends in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runlake_artifacts::Artifacts;
use runlake_engine::{Access, Engine};
use runlake_identity::{Identity, IdentitySettings};
use runlake_query::Queries;
use runlake_server::{App, HttpPost, Tls};
use runlake_storage::{Store, names};
use runlake_tracking::{Tracking, TrackingSettings};
use runlake_webhooks::{WebhookSettings, Webhooks};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Auth, ServerArgs};
use crate::lake::{open_engine, open_lake_store, open_store};
use crate::terminal::{complain, say};
use crate::{Failure, Result, logging};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 5000;
const DEFAULT_LAKE: &str = "./runlake-data";
pub(crate) const DEFAULT_ARTIFACT_ROOT: &str = "mlflow-artifacts:/";
/// How often the engine is asked whether it still works.
const FAILURE_POLL: Duration = Duration::from_millis(250);
/// What is said after a second signal.
const FAREWELL: &str = "stopped at once; the next start reads what was acknowledged from the log";
/// Exit code after a second signal, by the custom of shells: 128 + SIGINT.
const ABORTED: i32 = 130;

pub(crate) async fn run(args: ServerArgs) -> Result {
    let (args, file) = args.with_file()?;
    args.check()?;
    logging::start(args.log_format.unwrap_or_default(), args.log_level.as_deref().unwrap_or("info"))?;
    let signals = Signals::listen()?;
    let tls = tls(&args)?;
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
    let webhooks = webhooks(&args, &engine).await?;
    tracking.tell(webhooks.clone());
    let identity = Identity::open(engine.clone(), &IdentitySettings::default())
        .await
        .map_err(|error| Failure::new(format!("the users of the lake cannot be read: {error}")))?;
    let settings = runlake_server::Settings {
        demand_credentials: demands_credentials(&args, address),
        tls,
        ..server_settings(&args)
    };
    let (url, is_open) = (url(address, settings.tls.is_some()), !settings.demand_credentials);
    let queries =
        Queries::new(engine.clone(), query_settings(&args)).map_err(|error| Failure::new(error.to_string()))?;
    let app = App::new(tracking, queries, Artifacts::new(artifacts.clone()), foreign, identity.clone(), settings);

    announce(&url, &store, &artifacts, &args, file);
    if is_open {
        warn_if_open(address);
    } else {
        announce_setup(&url, &identity, args.is_read_only()).await?;
    }
    let stop = CancellationToken::new();
    let obeying = tokio::spawn(signals.obey(stop.clone(), FAREWELL));
    let watching = tokio::spawn(watch(engine.clone(), stop.clone()));
    let delivering = (!engine.is_read_only()).then(|| tokio::spawn(deliver(webhooks, stop.clone())));
    runlake_server::serve(listener, app, stop).await;
    let ended = end(&engine).await;
    sound("watches the engine", watching).await?;
    if let Some(delivering) = delivering {
        sound("sends webhook messages", delivering).await?;
    }
    if obeying.is_finished() {
        sound("waits for signals", obeying).await?;
    }
    ended
}

/// Whether callers must say who they are: unless told otherwise, as soon as others than this machine can reach the
/// server.
fn demands_credentials(args: &ServerArgs, address: SocketAddr) -> bool {
    match args.auth.unwrap_or_default() {
        Auth::Required => true,
        Auth::None => false,
        Auth::Auto => !address.ip().to_canonical().is_loopback(),
    }
}

fn warn_if_open(address: SocketAddr) {
    if !address.ip().to_canonical().is_loopback() {
        tracing::warn!(%address, "--auth none: whoever reaches this address may read and change everything");
    }
}

/// Without an administrator nobody can log in: whoever reads this makes the first.
async fn announce_setup(url: &str, identity: &Identity, is_read_only: bool) -> Result {
    let failed = |error: runlake_identity::Error| Failure::new(format!("the first set-up cannot begin: {error}"));
    if let Some(token) = identity.begin_setup().await.map_err(failed)? {
        say(&format_args!(
            "  Nobody can log in yet. Make the first administrator, once, with this token of this start:\n\n  \
             runlake user create-admin NAME --server {url} --setup-token {token}\n"
        ));
    } else if is_read_only && identity.users().await.map_err(failed)?.is_empty() {
        tracing::warn!("nobody can log in: make a user through the server that writes the lake");
    }
    Ok(())
}

fn tls(args: &ServerArgs) -> Result<Option<Tls>> {
    match (&args.tls_cert, &args.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Tls::read(certificate, key).map(Some).map_err(|error| Failure::usage(error.to_string()))
        }
        (Some(_), None) => Err(Failure::usage("--tls-cert needs --tls-key, the private key of the certificate")),
        (None, Some(_)) => Err(Failure::usage("--tls-key needs --tls-cert, the certificate of the key")),
    }
}

async fn webhooks(args: &ServerArgs, engine: &Engine) -> Result<Webhooks> {
    let settings = WebhookSettings {
        allow_http: args.webhook_allow_http.unwrap_or(false),
        allow_private: args.webhook_allow_private.unwrap_or(false),
    };
    let post = HttpPost::new(settings)
        .map_err(|error| Failure::new(format!("webhooks cannot be sent from this machine: {error}")))?;
    Webhooks::open(engine.clone(), settings, Arc::new(post))
        .await
        .map_err(|error| Failure::new(format!("the webhooks of the lake cannot be read: {error}")))
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

/// Sends webhook messages. A server that would not tell what it promised to tell ends instead.
async fn deliver(webhooks: Webhooks, stop: CancellationToken) {
    let _whatever_ends_this = stop.clone().drop_guard();
    webhooks.run(stop).await;
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
    }
    .with_time_travel(args.time_travel.map(|span| span.0)))
}

fn query_settings(args: &ServerArgs) -> runlake_query::Settings {
    let defaults = runlake_query::Settings::default();
    runlake_query::Settings {
        memory_bytes: args.query_memory.map_or(defaults.memory_bytes, |size| size.0),
        time_limit: args.query_timeout.map_or(defaults.time_limit, |span| span.0),
        row_limit: args.query_rows,
        running: args.queries.unwrap_or(defaults.running),
        spill_dir: args.query_spill.clone(),
        ..defaults
    }
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

/// The server's address as clients on this machine call it.
fn url(address: SocketAddr, is_encrypted: bool) -> String {
    let host = match address.ip() {
        std::net::IpAddr::V4(ip) if !ip.is_unspecified() => ip.to_string(),
        std::net::IpAddr::V6(ip) if !ip.is_unspecified() => format!("[{ip}]"),
        std::net::IpAddr::V4(_) | std::net::IpAddr::V6(_) => "127.0.0.1".to_owned(),
    };
    let scheme = if is_encrypted { "https" } else { "http" };
    format!("{scheme}://{host}:{}", address.port())
}

/// Tells whoever started the server how to use it.
fn announce(url: &str, store: &Store, artifacts: &Store, args: &ServerArgs, file: Option<PathBuf>) {
    let access = if args.is_read_only() { "  (read only)" } else { "" };
    let file = file.map(|path| format!("  options    {}\n", path.display())).unwrap_or_default();
    say(&format_args!(
        "\nrunlake {version}\n  address    {url}\n  lake       {lake}{access}\n  artifacts  {artifacts}\n{file}\n  \
         import mlflow\n  mlflow.set_tracking_uri(\"{url}\")\n",
        version = runlake_server::VERSION,
        lake = place(store),
        artifacts = place(artifacts),
    ));
}

/// A folder as a path, anything else as a URL.
fn place(store: &Store) -> String {
    store.local_root().map_or_else(|| store.url().to_string(), |path| path.display().to_string())
}

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be received: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The first signal asks for an orderly end, the second one for an immediate one. Nothing that was acknowledged is
    /// lost either way.
    pub(crate) async fn obey(mut self, stop: CancellationToken, farewell: &'static str) {
        let _whatever_ends_this = stop.clone().drop_guard();
        self.next().await;
        tracing::info!("stopping: open requests are answered first; a second signal ends at once");
        stop.cancel();
        self.next().await;
        complain(&farewell);
        std::process::exit(ABORTED);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
