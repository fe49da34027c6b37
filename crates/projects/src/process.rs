//! A program in a process group of its own: what it writes is handed on as it comes, and whoever wants it to stop stops
//! everything it has started.

mod family;

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::tracking::{Cancel, Stream};
use crate::{Error, Result};
use family::Family;

#[cfg(test)]
mod tests;

/// How often we look whether the program has ended or is to end.
const LOOK: Duration = Duration::from_millis(40);
/// How long what a program left running may still write after it ended.
const AFTERGLOW: Duration = Duration::from_secs(1);
/// From the first signal to the next one: interrupt, terminate, kill.
const PATIENCE: Duration = Duration::from_secs(8);
/// Likewise, from terminate on, if there is haste: long enough for a program that runs others to stop them first.
const HASTE: Duration = Duration::from_secs(2);
/// So many signals are all.
const LAST: u32 = 4;
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

/// All that a program can read.
#[derive(Debug)]
pub(crate) enum Input {
    Nothing,
    Bytes(Vec<u8>),
    /// An open file, which it and all it starts keep open as long as they run.
    File(File),
}

/// Runs a command until it ends.
pub(crate) fn run(
    command: &mut Command,
    input: Input,
    cancel: &Cancel,
    mut sink: impl FnMut(Stream, &[u8]),
) -> Result<End> {
    cancel.check()?;
    let program = command.get_program().display().to_string();
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (stdin, bytes) = match input {
        Input::Nothing => (Stdio::null(), None),
        Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
        Input::File(file) => (Stdio::from(file), None),
    };
    command.stdin(stdin);
    let mut child = command.spawn().map_err(Error::io(format!("cannot start {program}")))?;
    if let (Some(bytes), Some(mut pipe)) = (bytes, child.stdin.take()) {
        // A program may end without reading.
        thread::spawn(move || pipe.write_all(&bytes));
    }
    let pieces = pieces(&mut child);
    let group = Pid::from_child(&child);
    let mut watch = Watch { group, family: Family::of(group), cancel, sent: 0, since: Instant::now() };
    let status = watch.until_end(&mut child, &pieces, &mut sink)?;
    if watch.sent > 0 {
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
    let end = run(command, Input::Nothing, cancel, |stream, bytes| match stream {
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
    // Absolute, as programs are started in other directories.
    let here = std::env::current_dir().ok()?;
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| here.join(folder).join(name)).find(|path| {
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
    /// Looked for when it is to be stopped.
    family: Family,
    cancel: &'a Cancel,
    /// How many signals were sent.
    sent: u32,
    /// When the last one was sent, or the program ended after it.
    since: Instant,
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
                let is_asked = self.cancel.is_asked();
                if is_asked {
                    // Before its children lose their parent.
                    self.family.look();
                }
                let status = child.try_wait().map_err(Error::io("cannot wait for a program"))?;
                ended = status.map(|status| (status, Instant::now()));
                if is_asked && (ended.is_none() || self.family.is_there()) {
                    self.since = ended.map_or(self.since, |(_, now)| now);
                    self.stop(ended.is_some());
                }
            } else if self.sent > 0 {
                self.family.look();
                self.stop(true);
            }
            match ended {
                Some(_) if self.sent > 0 && self.family.is_there() && self.sent < LAST => {}
                Some((status, since)) if is_closed || since.elapsed() > AFTERGLOW => return Ok(status),
                _ => {}
            }
        }
    }

    /// Interrupt, then terminate, then kill: first those who left the group, so that a program that ran them can tell how
    /// they ended. A second wish leaves out the waiting, and so does the end of the program itself: who is left is to go.
    fn stop(&mut self, has_ended: bool) {
        let is_urgent = self.cancel.is_urgent();
        let is_hasty = is_urgent || has_ended;
        let pause = match self.sent {
            0 => Duration::ZERO,
            1 if is_urgent => Duration::ZERO,
            1 if has_ended => AFTERGLOW,
            2 if is_hasty => HASTE,
            3 => AFTERGLOW,
            _ => PATIENCE,
        };
        if self.sent >= LAST || self.since.elapsed() < pause {
            return;
        }
        match self.sent {
            0 => self.signal_group(Signal::INT),
            1 => {
                self.signal_group(Signal::TERM);
                self.family.signal_scattered(Signal::TERM);
            }
            2 if self.family.is_scattered() => self.family.signal_scattered(Signal::KILL),
            _ => {
                self.signal(Signal::KILL);
                self.sent = LAST - 1;
            }
        }
        self.sent += 1;
        self.since = Instant::now();
    }

    fn signal(&self, signal: Signal) {
        self.signal_group(signal);
        self.family.signal_scattered(signal);
    }

    fn signal_group(&self, signal: Signal) {
        // A group that is gone needs none.
        let _gone = kill_process_group(self.group, signal);
    }
}
