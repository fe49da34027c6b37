//! Becoming the writer: a claim, then a fence.

use std::time::Duration;

use bytes::Bytes;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use runlake_storage::{PutNew, names};
use runlake_types::{Clock, Epoch, Seq};

use super::{Body, Deletable, Listed, Place, Position, TRIES, encode};
use crate::claim::{self, Claims};
use crate::distance::Distance;
use crate::frame::HEADER_LEN;
use crate::{Error, Settings};

/// Fences stay for a week, so that a writer that was suspended for long still meets the one at its number.
const FENCE_KEPT: Duration = Duration::from_hours(7 * 24);

/// Claims the next epoch, unless its owner seems alive and `takeover` is not given.
pub(super) async fn acquire(
    place: &Place,
    settings: &Settings,
    takeover: bool,
    clock: &dyn Clock,
) -> Result<Epoch, Error> {
    loop {
        let claims = Claims::list(&place.store).await?;
        let holder = claims.highest();
        let epoch = Epoch(holder.0 + 1);
        if !takeover {
            refuse_if_alive(place, &claims, holder, settings.lease).await?;
        }
        if claim::claim(&place.store, epoch, clock).await? {
            claims.prune(&place.store).await;
            return Ok(epoch);
        }
    }
}

async fn refuse_if_alive(place: &Place, claims: &Claims, holder: Epoch, lease: Duration) -> Result<(), Error> {
    let released = names::writer_released(holder.0);
    if holder == Epoch(0) || claims.objects.iter().any(|meta| meta.location == released) {
        return Ok(());
    }
    let signs = [names::writer_claim(holder.0), names::writer_heartbeat(holder.0)];
    let signs = claims.objects.iter().filter(|meta| signs.contains(&meta.location)).cloned();
    let newest = place.list().await?.pop().map(|newest| newest.meta);
    let Some(seen) = signs.chain(newest).map(|meta| meta.last_modified).max() else { return Ok(()) };
    let now = store_time(place, Epoch(holder.0 + 1)).await?.last_modified;
    let age = (now - seen).to_std().unwrap_or_default();
    if age >= lease {
        return Ok(());
    }
    let wait = lease.saturating_sub(age).as_secs() + 1;
    let note = format!(", seen {} s ago (if it is gone, its lease ends in {wait} s)", age.as_secs());
    let owner = claim::owner(&place.store, holder).await?;
    Err(Error::Owned { lake: place.store.url().to_string(), owner, note })
}

/// What time the store has, so that no two clocks need to agree: writes the heartbeat of the epoch about to be claimed.
async fn store_time(place: &Place, epoch: Epoch) -> Result<ObjectMeta, Error> {
    let name = names::writer_heartbeat(epoch.0);
    let failed = |source| Error::object(format!("write {name}"), &place.store, source);
    place.store.objects().put(&name, Bytes::from(runlake_storage::nonce()).into()).await.map_err(failed)?;
    place.store.objects().head(&name).await.map_err(failed)
}

/// The log as the new writer found it when nobody else could append any more.
#[derive(Debug)]
pub(super) struct Fenced {
    /// Number of the fence.
    pub(super) number: u64,
    /// The last frame before it.
    pub(super) last: Seq,
    pub(super) trimmed: Seq,
    /// All objects before it.
    pub(super) listed: Vec<Listed>,
}

impl Fenced {
    /// The objects that go once the tables hold all frames up to [`Self::last`]; fences only when they are old.
    pub(super) fn deletable(&self) -> Deletable {
        let now = self.listed.last().map(|newest| newest.meta.last_modified);
        let old = |listed: &Listed| {
            now.is_some_and(|now| (now - listed.meta.last_modified).to_std().is_ok_and(|age| age > FENCE_KEPT))
        };
        let goes = |listed: &&Listed| !listed.is_fence() || old(listed);
        self.listed.iter().filter(goes).map(|listed| (listed.number, self.last)).collect()
    }

    /// Bytes of the frames before the fence.
    pub(super) fn distance(&self) -> Distance {
        let mut distance = Distance::default();
        let bytes = self.listed.iter().map(|listed| listed.meta.size.saturating_sub(HEADER_LEN as u64)).sum();
        distance.add(self.last, bytes);
        distance
    }
}

/// Puts an empty object at the next free number, where the old writer will meet it.
///
/// The listing a number was taken from may be old: an old writer that is still busy may have written beyond that number
/// and deleted what was there, so that the fence stands below its position and stops nobody. Hence the second look: the
/// newest object is never deleted, so when the fence is the newest one, the old writer has not passed it.
pub(super) async fn fence(place: &Place, epoch: Epoch, clock: &dyn Clock) -> Result<Fenced, Error> {
    let (_, mut newest) = place.frontier().await?;
    for _ in 0..TRIES {
        if let Some(newer) = newest.as_ref().map(|newest| newest.header.epoch).filter(|newer| *newer > epoch) {
            return Err(Error::Fenced { epoch, newer });
        }
        let (before, last, trimmed) = newest
            .as_ref()
            .map_or((0, Seq(0), Seq(0)), |newest| (newest.header.number, newest.last(), newest.header.trimmed));
        let number = before + 1;
        let position = Position { epoch, number, prev_seq: last, trimmed };
        let body = encode(&place.lake_id, position, Body::Fence, clock)?;
        if let PutNew::Taken(body) = place.put_new(number, body).await? {
            // A busy old writer was faster. On behind its object at once: while a listing is made it would write the next.
            newest = Some(place.decode(number, &body)?);
            continue;
        }
        let mut listed = place.list().await?;
        if listed.last().is_some_and(|newest| newest.number == number) {
            listed.pop();
            return Ok(Fenced { number, last, trimmed, listed });
        }
        let stray = names::wal_object(number);
        tracing::debug!(%stray, "the old writer is past this fence; trying a higher one");
        place
            .store
            .objects()
            .delete(&stray)
            .await
            .map_err(|source| Error::object(format!("delete {stray}"), &place.store, source))?;
        (_, newest) = place.frontier().await?;
    }
    let problem = format!("another server writes so fast that no fence could be placed in {TRIES} attempts");
    Err(Error::io("place a fence", std::io::Error::other(problem)))
}
