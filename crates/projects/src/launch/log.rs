//! A run's output: shown as it comes, and kept as an artifact that grows while the run goes on.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::backend::Sink;
use crate::tracking::{Console, Run, Stream, Tracking};
use crate::{Error, Result};

use super::OUTPUT_ARTIFACT;

/// What is kept; more is shown only.
const MOST_BYTES: u64 = 64 << 20;
/// The first upload comes soon, so that something is seen; later ones come the more rarely the longer the output is, as
/// each is all of it.
const FIRST: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(3);
const PAUSE_PER_MIB: Duration = Duration::from_secs(1);

struct Log {
    file: Mutex<File>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    length: u64,
    is_cut: bool,
    is_ended: bool,
}

/// Runs `work`, whose output goes to the console and into the artifact.
pub(super) fn kept<T>(
    run: &Run,
    tracking: &dyn Tracking,
    console: &dyn Console,
    work: impl FnOnce(Sink<'_>) -> T,
) -> Result<T> {
    let file = tempfile::tempfile().map_err(Error::io("cannot make a temporary file for the output"))?;
    let log = Log { file: Mutex::new(file), state: Mutex::default(), wake: Condvar::new() };
    Ok(thread::scope(|scope| {
        scope.spawn(|| log.upload_while_it_grows(run, tracking, console));
        let _ended = End(&log);
        work(&|stream: Stream, bytes: &[u8]| {
            console.write(stream, bytes);
            if let Err(error) = log.append(bytes) {
                console.say(&format!("warning: the output is no longer kept: {error}"));
            }
        })
    }))
}

/// Ends the uploads also when the work panics.
struct End<'a>(&'a Log);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.state().is_ended = true;
        self.0.wake.notify_all();
    }
}

impl Log {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (length, is_cut) = {
            let state = self.state();
            (state.length, state.is_cut)
        };
        if is_cut {
            return Ok(());
        }
        let room = usize::try_from(MOST_BYTES - length).unwrap_or(usize::MAX);
        let is_cut = bytes.len() > room;
        let mut part = bytes[..bytes.len().min(room)].to_vec();
        if is_cut {
            part.extend_from_slice(
                format!("\n[what follows is not kept: {MOST_BYTES} bytes are the most]\n").as_bytes(),
            );
        }
        file.seek(SeekFrom::End(0))?;
        let written = file.write_all(&part);
        let mut state = self.state();
        state.length += part.len() as u64;
        state.is_cut = is_cut || written.is_err();
        written
    }

    fn upload_while_it_grows(&self, run: &Run, tracking: &dyn Tracking, console: &dyn Console) {
        let mut uploaded = 0;
        let mut pause = FIRST;
        let mut is_warned = false;
        loop {
            let (length, is_ended) = self.after(pause);
            if length > uploaded {
                match self.bytes().and_then(|bytes| tracking.upload(run, OUTPUT_ARTIFACT, bytes)) {
                    Ok(()) => uploaded = length,
                    Err(error) if !std::mem::replace(&mut is_warned, true) || is_ended => {
                        console.say(&format!("warning: the output is not kept with the run: {error}"));
                    }
                    Err(_) => {}
                }
            }
            if is_ended {
                return;
            }
            pause = PAUSE + PAUSE_PER_MIB * u32::try_from(length >> 20).unwrap_or(u32::MAX);
        }
    }

    /// The length after a pause, or at the end.
    fn after(&self, pause: Duration) -> (u64, bool) {
        let state = self.state();
        let (state, _) =
            self.wake.wait_timeout_while(state, pause, |state| !state.is_ended).unwrap_or_else(PoisonError::into_inner);
        (state.length, state.is_ended)
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(Error::io("the kept output"))?;
        file.read_to_end(&mut bytes).map_err(Error::io("the kept output"))?;
        Ok(bytes)
    }
}
