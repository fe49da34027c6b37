//! The log of a lake in local files. See the crate's documentation for the protocol.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runlake_storage::{Store, names};
use runlake_types::{Clock, Epoch, Seq};

use crate::claim::{self, Claims};
use crate::distance::Distance;
use crate::{Error, Log as _, Replay, Settings, Writer};

mod lock;
mod log;
mod replay;
mod segment;
mod spares;

use lock::Lock;
use log::{Found, LocalLog};
pub(crate) use replay::LocalReplay;
use replay::{Limit, Planned, missing, plan};
use segment::{Folder, SegmentReader, Step};

/// How often a takeover tries the lock again.
const POLL: Duration = Duration::from_millis(50);

/// Becomes the writer of the lake under `root`.
pub(crate) async fn open_writer(
    store: &Store,
    root: &Path,
    lake_id: &str,
    settings: &Settings,
    takeover: bool,
    clock: Arc<dyn Clock>,
) -> Result<Writer, Error> {
    let (file, epoch) = acquire(store, root, settings, takeover, &*clock).await?;
    let lock = Arc::new(Lock::new(file, root, epoch));
    let folder = folder(root, lake_id);
    let settings = settings.clone();
    let opened = tokio::task::spawn_blocking(move || -> Result<Writer, Error> {
        make_folder(&folder)?;
        let (found, planned) = survey(&folder)?;
        let replay = Replay::local(LocalReplay::planned(folder.clone(), planned, found.gone));
        let log = LocalLog::new(folder, found, (lock, epoch), clock, &settings)?;
        let last_seq = log.last_seq();
        Ok(Writer { log: Box::new(log), epoch, replay, last_seq })
    });
    opened.await.map_err(|error| Error::io("read the log", error.into()))?
}

/// Reads the log under `root` beside whoever writes it.
pub(crate) async fn read_tail(root: &Path, lake_id: &str) -> Result<Replay, Error> {
    let folder = folder(root, lake_id);
    let opened = tokio::task::spawn_blocking(move || LocalReplay::tail(folder).map(Replay::local));
    opened.await.map_err(|error| Error::io("read the log", error.into()))?
}

fn folder(root: &Path, lake_id: &str) -> Folder {
    Folder { path: root.join(names::WAL), lake_id: lake_id.to_owned() }
}

fn make_folder(folder: &Folder) -> Result<(), Error> {
    let path = &folder.path;
    std::fs::create_dir_all(path)
        .and_then(|()| path.parent().map_or(Ok(()), |root| std::fs::File::open(root)?.sync_all()))
        .map_err(|error| Error::io(format!("create {}", path.display()), error))
}

/// Gets the lock and a claim to go with it.
async fn acquire(
    store: &Store,
    root: &Path,
    settings: &Settings,
    takeover: bool,
    clock: &dyn Clock,
) -> Result<(std::fs::File, Epoch), Error> {
    if let Some(file) = lock::try_lock(root)? {
        let epoch = claim_next(store, clock).await?;
        return Ok((file, epoch));
    }
    let holder = Claims::list(store).await?.highest();
    let owner = claim::owner(store, holder).await?;
    let lake = store.url().to_string();
    if !takeover {
        return Err(Error::Owned { lake, owner, note: String::new() });
    }
    tracing::warn!(%owner, "taking the lake over");
    let epoch = claim_next(store, clock).await?;
    let mut waited = Duration::ZERO;
    while waited < settings.takeover_wait {
        if let Some(file) = lock::try_lock(root)? {
            let newer = Claims::list(store).await?.highest();
            return if newer == epoch { Ok((file, epoch)) } else { Err(Error::Fenced { epoch, newer }) };
        }
        tokio::time::sleep(POLL).await;
        waited += POLL;
    }
    Err(Error::Unresponsive { lake, owner, waited })
}

/// Claims the epoch after the highest.
async fn claim_next(store: &Store, clock: &dyn Clock) -> Result<Epoch, Error> {
    loop {
        let claims = Claims::list(store).await?;
        let epoch = Epoch(claims.highest().0 + 1);
        if claim::claim(store, epoch, clock).await? {
            claims.prune(store).await;
            return Ok(epoch);
        }
    }
}

/// Reads all headers, and the newest segment to its end. Changes nothing.
fn survey(folder: &Folder) -> Result<(Found, Vec<Planned>), Error> {
    let mut headers = Vec::new();
    for number in folder.numbers()? {
        let before: Option<&crate::frame::Header> = headers.last();
        if let Some(before) = before.filter(|before| before.number + 1 != number) {
            return Err(missing(before.number + 1));
        }
        headers.push(folder.header(number)?.ok_or_else(|| missing(number))?);
    }
    let newest = match headers.last() {
        Some(header) => find_end(folder, header.number)?,
        None => Limit { end: 0, last: Seq(0) },
    };
    let planned = plan(&headers, Some(newest));
    let gone = headers.first().map_or(Seq(0), |first| first.prev_seq);
    let trimmed = headers.last().map_or(gone, |newest| gone.max(newest.trimmed));
    let mut distance = Distance::default();
    let mut segments = std::collections::VecDeque::new();
    for (planned, header) in planned.iter().zip(&headers) {
        let Some(limit) = planned.limit else { continue };
        distance.add(limit.last, limit.end.saturating_sub(u64::from(header.body)));
        segments.push_back((planned.number, limit.last));
    }
    Ok((Found { segments, newest, gone, trimmed, distance }, planned))
}

/// Where the newest segment ends. What is read as written is brought to stable storage here, since from now on the log
/// builds on it.
fn find_end(folder: &Folder, number: u64) -> Result<Limit, Error> {
    let mut segment = SegmentReader::open(folder, number)?.ok_or_else(|| missing(number))?;
    segment.sync()?;
    let mut last = segment.header.prev_seq;
    loop {
        let at = segment.offset;
        match segment.step()? {
            Step::Frame(frame) => last = frame.seq,
            Step::End => return Ok(Limit { end: at, last }),
            Step::Nothing(problem) => {
                return match segment.later_frame()? {
                    Some(_) => Err(Error::corrupt(&segment.name(), at, problem)),
                    None => Ok(Limit { end: at, last }),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests;
