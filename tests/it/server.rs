//! A server process, and just enough HTTP to talk to it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::binary;

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_mins(1);

/// A running `runlake server`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts on the lake at `lake` and waits for /health.
    pub(crate) fn start(lake: &Path, args: &[&str]) -> Self {
        Self::launch(lake, args).ready()
    }

    /// Starts on the lake at `lake` with environment variables, and waits for /health.
    pub(crate) fn start_with(lake: &Path, variables: &[(String, String)]) -> Self {
        Self::spawn(lake.as_os_str(), lake, variables, &[]).ready()
    }

    /// Starts on the store at `location`, with variables for it, and waits for /health. Logs go to `folder`.
    pub(crate) fn start_over(location: &str, folder: &Path, variables: &[(String, String)], args: &[&str]) -> Self {
        Self::spawn(location.as_ref(), &folder.join("server"), variables, args).ready()
    }

    fn ready(mut self) -> Self {
        let server = &mut self;
        let deadline = Instant::now() + START;
        while server.get("/health").is_none_or(|answer| answer.status != 200) {
            if let Some(status) = server.child.try_wait().expect("a child can be waited for") {
                panic!("the server ended with {status}\n{}", server.log());
            }
            assert!(Instant::now() < deadline, "no answer from /health within {START:?}\n{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Starts and does not wait.
    pub(crate) fn launch(lake: &Path, args: &[&str]) -> Self {
        Self::spawn(lake.as_os_str(), lake, &[], args)
    }

    /// Starts with outputs whose reader has gone away, and waits for /health.
    pub(crate) fn start_unheard(lake: &Path, args: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let port = free_port();
        Self::spawn_into(writer.into(), port, lake.with_extension("log"), lake.as_os_str(), &[], args).ready()
    }

    fn spawn(lake: &OsStr, beside: &Path, variables: &[(String, String)], args: &[&str]) -> Self {
        let port = free_port();
        let log = beside.with_extension(format!("{port}.log"));
        let file = File::create(&log).expect("the log's folder is there");
        Self::spawn_into(file.into(), port, log, lake, variables, args)
    }

    fn spawn_into(
        output: OwnedFd,
        port: u16,
        log: PathBuf,
        lake: &OsStr,
        variables: &[(String, String)],
        args: &[&str],
    ) -> Self {
        let child = Command::new(binary::runlake())
            .args(["server", "--host", "127.0.0.1", "--port", &port.to_string(), "--lake"])
            .arg(lake)
            .args(args)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file handle can be cloned"))
            .stderr(output)
            .spawn()
            .expect("the binary can be run");
        Self { child, port, log }
    }

    /// What it wrote to its terminal so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server is still there after {limit:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and waits.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait(STOP)
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// SIGKILL, and waits.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    pub(crate) fn get(&self, target: &str) -> Option<Answer> {
        self.request("GET", target, None)
    }

    /// POSTs JSON; `None` when the connection failed.
    pub(crate) fn post(&self, target: &str, body: &serde_json::Value) -> Option<Answer> {
        self.request("POST", target, Some(&body.to_string()))
    }

    fn request(&self, method: &str, target: &str, body: Option<&str>) -> Option<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_mins(1))).ok()?;
        let host = format!("127.0.0.1:{}", self.port);
        let payload = body.map_or(String::new(), |body| {
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        });
        let end = if body.is_none() { "\r\n" } else { "" };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{payload}{end}");
        stream.write_all(request.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, body: body.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the server on port {} ---\n{}", self.port, self.log());
        }
    }
}

/// Status and body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON (chunk sizes, if any, are left out by reading from the first brace to the last).
    pub(crate) fn json(&self) -> serde_json::Value {
        let body = match (self.body.find('{'), self.body.rfind('}')) {
            (Some(start), Some(end)) => &self.body[start..=end],
            _ => &self.body,
        };
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
    listener.local_addr().expect("a bound socket has an address").port()
}
