//! One Python process that has loaded a model, and the socket it is asked through.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::{PoolSettings, Versions};
use crate::{Error, Result};

const SCRIPT: &str = include_str!("../worker.py");
/// How often the memory of a process at work is looked at.
const MEMORY_POLL: Duration = Duration::from_millis(200);
/// How often a process is asked whether it has ended.
const END_POLL: Duration = Duration::from_millis(20);

/// Why a process gave no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// It took too long.
    TimedOut,
    /// It ended, or was ended.
    Ended(String),
}

/// A process. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Owned,
    stream: UnixStream,
    pub(super) versions: Versions,
}

/// A child that is ended when nobody holds it any more.
#[derive(Debug)]
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // What has ended already cannot be killed, which is what was wanted.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Owned {
    async fn end(&mut self) -> std::io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(END_POLL).await;
        }
    }
}

#[derive(Debug, Deserialize)]
struct Ready {
    ready: bool,
    #[serde(default)]
    problem: String,
    #[serde(default)]
    mlflow: String,
    #[serde(default)]
    python: String,
}

#[derive(Debug, Deserialize)]
struct Answers {
    sizes: Vec<usize>,
    ok: Vec<bool>,
}

impl Process {
    /// Starts a process and waits until it has loaded the model.
    pub(super) async fn start(settings: &PoolSettings) -> Result<Self> {
        let failed = |what: &str| Error::io(format!("a worker cannot be started: {what}"));
        let folder = tempfile::Builder::new()
            .prefix("runlake-worker-")
            .tempdir()
            .map_err(failed("there is no folder for its socket"))?;
        // The folder goes as soon as the process is connected: nothing is left behind however the server ends.
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).map_err(failed("its socket cannot be made"))?;
        let child = command(settings, &socket).spawn();
        let mut child = Owned(child.map_err(failed(&format!("{} does not run", settings.python.display())))?);
        let python = settings.python.display();
        let greeting = async {
            let (mut stream, _) = tokio::select! {
                accepted = listener.accept() => accepted.map_err(failed("its socket failed"))?,
                status = child.end() => {
                    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    return Err(Error::worker(format!("{python} ended before it loaded the model ({how})")));
                }
            };
            let (header, _) = receive(&mut stream).await.map_err(|error| {
                Error::worker(format!("{python} ended while it loaded the model ({error}); its words stand above"))
            })?;
            let ready: Ready = serde_json::from_slice(&header)
                .map_err(|error| Error::worker(format!("the worker said what is not understood: {error}")))?;
            if ready.ready {
                return Ok((stream, Versions { mlflow: ready.mlflow, python: ready.python }));
            }
            Err(Error::worker(format!(
                "the model in {} cannot be loaded by {python}: {}",
                settings.model.display(),
                ready.problem
            )))
        };
        let (stream, versions) = tokio::time::timeout(settings.load_timeout, greeting).await.unwrap_or_else(|_| {
            Err(Error::worker(format!("the model was not loaded within {:?}", settings.load_timeout)))
        })?;
        Ok(Self { child, stream, versions })
    }

    /// Sends a batch and waits for the answers: whether each went well, and its text.
    pub(super) async fn ask(
        &mut self,
        header: &str,
        body: &[u8],
        timeout: Duration,
        memory_bytes: Option<u64>,
    ) -> Result<Vec<(bool, Bytes)>, Broken> {
        let pid = self.pid();
        let stream = &mut self.stream;
        let talk = async {
            let mut lengths = [0; 8];
            lengths[..4].copy_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes());
            lengths[4..].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
            stream.write_all(&lengths).await?;
            stream.write_all(header.as_bytes()).await?;
            stream.write_all(body).await?;
            receive(stream).await
        };
        let too_large = async {
            let Some(most) = memory_bytes else { return std::future::pending().await };
            loop {
                tokio::time::sleep(MEMORY_POLL).await;
                // Twice the limit at once; what is a little above it is started anew after its answer.
                let used = memory_of(pid);
                if used > most.saturating_mul(2) {
                    return used;
                }
            }
        };
        let answered = tokio::select! {
            answered = talk => answered,
            () = tokio::time::sleep(timeout) => return Err(Broken::TimedOut),
            used = too_large => {
                return Err(Broken::Ended(format!("it took {} MiB of memory, far beyond its limit", used >> 20)));
            }
        };
        let (header, mut body) = match answered {
            Ok(answer) => answer,
            Err(error) => return Err(Broken::Ended(self.how_it_ended(&error).await)),
        };
        let answers: Answers =
            serde_json::from_slice(&header).map_err(|error| Broken::Ended(format!("it spoke otherwise: {error}")))?;
        if answers.sizes.iter().sum::<usize>() != body.len() || answers.sizes.len() != answers.ok.len() {
            return Err(Broken::Ended("it miscounted its answer".to_owned()));
        }
        Ok(answers.sizes.iter().zip(answers.ok).map(|(size, is_good)| (is_good, body.copy_to_bytes(*size))).collect())
    }

    async fn how_it_ended(&mut self, error: &std::io::Error) -> String {
        match tokio::time::timeout(Duration::from_secs(1), self.child.end()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => error.to_string(),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// The memory it has now.
    pub(super) fn memory_bytes(&self) -> u64 {
        memory_of(self.pid())
    }
}

fn command(settings: &PoolSettings, socket: &Path) -> Command {
    let mut command = Command::new(&settings.python);
    command
        .args(["-c", SCRIPT])
        .arg(&settings.model)
        .arg(socket)
        .stdin(Stdio::null())
        // What a model prints goes where our own log goes.
        .stdout(Stdio::from(std::io::stderr()))
        // Signals of the terminal are for the server, which ends its workers when they are done.
        .process_group(0)
        .env_remove("PYTHONHOME")
        .env_remove("VIRTUAL_ENV")
        .env("PYTHONUNBUFFERED", "1");
    command
}

/// A header and a body.
async fn receive(stream: &mut UnixStream) -> std::io::Result<(Vec<u8>, Bytes)> {
    let mut lengths = [0; 8];
    stream.read_exact(&mut lengths).await?;
    let length =
        |at: usize| u32::from_be_bytes([lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]]) as usize;
    let mut header = vec![0; length(0)];
    stream.read_exact(&mut header).await?;
    let mut body = vec![0; length(4)];
    stream.read_exact(&mut body).await?;
    Ok((header, body.into()))
}

/// Resident bytes of a process; zero where the system does not tell.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default();
    kib << 10
}
