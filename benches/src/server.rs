//! Server processes to measure: start, stop, memory of the whole process tree.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Longer than MLflow takes to start on a slow machine.
const START: Duration = Duration::from_mins(3);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Runlake,
    /// With its default number of workers.
    Mlflow,
    /// With `--workers 1`.
    MlflowOne,
    /// Answers `{}`: the machine's limit.
    Null,
    /// The same for Flight.
    NullFlight,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Runlake => "runlake",
            Self::Mlflow => "MLflow",
            Self::MlflowOne => "MLflow, 1 worker",
            Self::Null | Self::NullFlight => "null",
        }
    }
}

/// Where the servers come from and keep their data.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) runlake: PathBuf,
    /// A python that has MLflow; `None` leaves MLflow out.
    pub(crate) python: Option<PathBuf>,
    pub(crate) folder: PathBuf,
    /// More arguments for runlake's server.
    pub(crate) runlake_args: Vec<String>,
    /// Where programs are built, and environments of Python made.
    pub(crate) programs: PathBuf,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    /// From the start of the process to the first answer with status 200.
    pub(crate) started_in: Duration,
}

impl Setup {
    /// Folder of the data called `name` of that server.
    pub(crate) fn data(&self, kind: Kind, name: &str) -> PathBuf {
        self.folder.join(format!("{}-{name}", if kind == Kind::Runlake { "runlake" } else { "mlflow" }))
    }

    /// MLflow's database file of that name.
    pub(crate) fn database(&self, name: &str) -> PathBuf {
        self.data(Kind::Mlflow, name).join("mlflow.db")
    }

    /// Starts a server on the data called `name`, made empty if there is none.
    pub(crate) async fn start(&self, kind: Kind, name: &str) -> Result<Server> {
        let data = self.data(kind, name);
        std::fs::create_dir_all(&data)?;
        self.spawn(kind, |port| {
            Ok(match kind {
                Kind::Runlake => {
                    let mut command = Command::new(&self.runlake);
                    command.args(["server", "--port", &port.to_string(), "--lake"]).arg(data.join("lake"));
                    command.args(&self.runlake_args);
                    command
                }
                Kind::Mlflow | Kind::MlflowOne => {
                    let python = self.python.as_ref().context("MLflow is left out")?;
                    let mut command = Command::new(python);
                    command.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", &port.to_string()]);
                    command.arg("--backend-store-uri").arg(format!("sqlite:///{}", data.join("mlflow.db").display()));
                    command.arg("--artifacts-destination").arg(data.join("artifacts"));
                    if kind == Kind::MlflowOne {
                        command.args(["--workers", "1"]);
                    }
                    // Its job queue is no part of tracking.
                    command.env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false");
                    command
                }
                Kind::Null | Kind::NullFlight => {
                    let mut command = Command::new(std::env::current_exe()?);
                    command.args([if kind == Kind::Null { "null-server" } else { "null-flight" }, &port.to_string()]);
                    command
                }
            })
        })
        .await
    }

    /// Starts a server by the command that `command` makes for its port.
    pub(crate) async fn spawn(&self, kind: Kind, command: impl FnOnce(u16) -> Result<Command>) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = command(port)?;
        let log = File::create(self.folder.join("server.log"))?;
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Server { child, port, kind, started_in: Duration::ZERO };
        server.wait_until_healthy(started).await.with_context(|| format!("{} does not start", kind.name()))?;
        Ok(server)
    }
}

impl Server {
    async fn wait_until_healthy(&mut self, started: Instant) -> Result<()> {
        loop {
            if let Ok(mut client) = crate::http::Client::connect(self.port).await
                && (self.kind == Kind::NullFlight
                    || client.get("/health").await.is_ok_and(|answer| answer.status == 200))
            {
                self.started_in = started.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if started.elapsed() > START {
                bail!("no answer from /health within {START:?}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn client(&self) -> Result<crate::http::Client> {
        crate::http::Client::connect(self.port).await
    }

    /// Resident bytes of the process and its descendants, pages they share counted once.
    pub(crate) fn memory(&self) -> u64 {
        tree(self.child.id()).into_iter().map(proportional_bytes).sum()
    }

    /// Processor time the process has used so far (without descendants).
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
        // Linux counts in hundredths of a second for every program.
        Duration::from_millis(ticks * 10)
    }

    /// SIGTERM, and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status()?;
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if started.elapsed() > Duration::from_mins(2) {
                bail!("{} does not stop", self.kind.name());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in tree(self.child.id()) {
            let _gone = Command::new("kill").args(["-s", "KILL", &process.to_string()]).stderr(Stdio::null()).status();
        }
        let _gone = self.child.wait();
    }
}

fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(process) = found.get(at).copied() {
        at += 1;
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|text| text.parse::<u32>().ok()));
    }
    found
}

fn proportional_bytes(process: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes of all files below `folder`.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
