//! A program in a process group of its own: what it writes is handed on as it comes, and whoever wants it to stop stops
//! everything it has started.

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::tracking::{Cancel, Stream};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// How often we look whether the program has ended or is to end.
const LOOK: Duration = Duration::from_millis(40);
/// How long what a program left running may still write after it ended.
const AFTERGLOW: Duration = Duration::from_secs(1);
/// From the first signal to the next one: interrupt, terminate, kill.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pieces of output that wait to be handed on.
const PIECES: usize = 64;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
    /// Because we were asked to stop it.
    Cancelled,
}

impl End {
    pub(crate) fn is_success(self) -> bool {
        self == Self::Exit(0)
    }

    /// For a sentence: `it …`.
    pub(crate) fn said(self) -> String {
        match self {
            Self::Exit(code) => format!("ended with exit code {code}"),
            Self::Signal(number) => format!("was ended by signal {number}"),
            Self::Cancelled => "was stopped".to_owned(),
        }
    }
}

/// Runs a command until it ends. `input` is all it can read; without it there is nothing to read.
pub(crate) fn run(
    command: &mut Command,
    input: Option<Vec<u8>>,
    cancel: &Cancel,
    mut sink: impl FnMut(Stream, &[u8]),
) -> Result<End> {
    cancel.check()?;
    let program = command.get_program().display().to_string();
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().map_err(Error::io(format!("cannot start {program}")))?;
    if let (Some(bytes), Some(mut pipe)) = (input, child.stdin.take()) {
        // A program may end without reading.
        thread::spawn(move || pipe.write_all(&bytes));
    }
    let pieces = pieces(&mut child);
    let mut watch = Watch { group: Pid::from_child(&child), cancel, signalled: None };
    let status = watch.until_end(&mut child, &pieces, &mut sink)?;
    if watch.signalled.is_some() {
        watch.signal(Signal::KILL);
        return Ok(End::Cancelled);
    }
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    })
}

/// Runs a command for what it writes on standard output; an error has what it wrote on standard error.
pub(crate) fn answer(command: &mut Command, cancel: &Cancel) -> Result<Result<String, String>> {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let end = run(command, None, cancel, |stream, bytes| match stream {
        Stream::Output => output.extend_from_slice(bytes),
        Stream::Error => errors.extend_from_slice(bytes),
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match end {
        End::Cancelled => Err(Error::Cancelled),
        end if end.is_success() => Ok(Ok(text(&output))),
        end if errors.is_empty() => Ok(Err(end.said())),
        _ => Ok(Err(text(&errors))),
    }
}

/// Where a program of this name is, as a shell would find it.
pub(crate) fn on_path(name: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

type Piece = (Stream, Vec<u8>);

/// The child's output as it comes. The threads end with the pipes, or when nobody takes their pieces any more.
fn pieces(child: &mut Child) -> Receiver<Piece> {
    fn read(mut pipe: impl Read, stream: Stream, sender: &SyncSender<Piece>) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            if sender.send((stream, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    }
    let (sender, receiver) = mpsc::sync_channel(PIECES);
    if let Some(pipe) = child.stdout.take() {
        let sender = sender.clone();
        thread::spawn(move || read(pipe, Stream::Output, &sender));
    }
    if let Some(pipe) = child.stderr.take() {
        thread::spawn(move || read(pipe, Stream::Error, &sender));
    }
    receiver
}

struct Watch<'a> {
    group: Pid,
    cancel: &'a Cancel,
    /// When we began to stop it, and how many signals were sent.
    signalled: Option<(Instant, u32)>,
}

impl Watch<'_> {
    fn until_end(
        &mut self,
        child: &mut Child,
        pieces: &Receiver<Piece>,
        sink: &mut impl FnMut(Stream, &[u8]),
    ) -> Result<ExitStatus> {
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            let is_closed = match pieces.recv_timeout(LOOK) {
                Ok((stream, bytes)) => {
                    sink(stream, &bytes);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(Duration::from_millis(10));
                    true
                }
            };
            if ended.is_none() {
                let status = child.try_wait().map_err(Error::io("cannot wait for a program"))?;
                ended = status.map(|status| (status, Instant::now()));
                self.stop_if_asked();
            }
            match ended {
                Some((status, since)) if is_closed || since.elapsed() > AFTERGLOW => return Ok(status),
                _ => {}
            }
        }
    }

    /// Interrupt, then terminate, then kill; a second wish kills at once.
    fn stop_if_asked(&mut self) {
        if !self.cancel.is_asked() {
            return;
        }
        let (since, sent) = *self.signalled.get_or_insert_with(|| (Instant::now(), 0));
        let next = match sent {
            0 => Some(Signal::INT),
            _ if self.cancel.is_urgent() => Some(Signal::KILL),
            1 if since.elapsed() > PATIENCE => Some(Signal::TERM),
            2 if since.elapsed() > 2 * PATIENCE => Some(Signal::KILL),
            _ => None,
        };
        if let Some(signal) = next {
            self.signal(signal);
            self.signalled = Some((since, sent + 1));
        }
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone needs none.
        let _gone = kill_process_group(self.group, signal);
    }
}
