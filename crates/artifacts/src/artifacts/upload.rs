//! From a stream to an object that appears in one step.
//!
//! Chunks gather until they make a part. A body that ends before the first part is full is one put; a longer one is a
//! multipart upload with a few parts under way at a time, so memory is bounded by [`IN_FLIGHT`] parts and what gathers.
//! Local files take small parts: they are written at once to one staging file.
//!
//! What gathers is copied. A chunk from the network is a slice of the connection's read buffer and keeps all of it alive,
//! so a part made of such chunks holds several times its own length.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload, UploadPart};
use runlake_storage::Store;
use runlake_types::ErrorKind;

use super::download::free_buffer;
use super::failed;
use crate::{ArtifactPath, Error};

/// Clouds want parts of at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// A part of a local file costs no more than a hop to the blocking pool.
const LOCAL_PART_BYTES: usize = 1024 * 1024;
/// What is copied into one buffer.
const PIECE_BYTES: usize = 64 * 1024;
/// Buffers that are kept to be used again, for the reason told at [`free_buffer`]: those of three local parts.
const KEPT: usize = 48;
/// Clouds allow 10,000 parts, so they grow: 1,000 of 8 MiB, 1,000 of 16 MiB, … are 8 TB, past what clouds hold.
const PARTS_PER_SIZE: usize = 1000;
const IN_FLIGHT: usize = 2;

/// What has been written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) size: u64,
    pub(super) e_tag: Option<String>,
}

/// Writes `body` to `object`, which the client knows as `path`; at most `limit` bytes.
pub(super) async fn write<S, E>(
    store: &Store,
    object: &Path,
    path: &ArtifactPath,
    body: S,
    limit: u64,
) -> Result<Written, Error>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let objects = store.objects();
    let is_local = store.local_root().is_some();
    let mut body = pin!(body);
    let mut gathering =
        Gathering { path, limit, size: 0, chunks: vec![], piece: BytesMut::new(), sent: vec![], bytes: 0 };
    while gathering.bytes < part_bytes(is_local, 0) {
        let Some(chunk) = body.next().await else {
            let put = objects.put(object, gathering.take()).await.map_err(|error| unwritten(path, error))?;
            return Ok(Written { size: gathering.size, e_tag: put.e_tag });
        };
        gathering.add(chunk)?;
    }
    let upload = objects.put_multipart(object).await.map_err(|error| unwritten(path, error))?;
    let mut upload = Unfinished(Some(upload));
    let outcome = write_parts(&mut upload, is_local, gathering, body).await;
    if outcome.is_err() {
        upload.abort().await;
    }
    outcome
}

async fn write_parts<E>(
    upload: &mut Unfinished,
    is_local: bool,
    mut gathering: Gathering<'_>,
    mut body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<Written, Error>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = gathering.path;
    let mut running: FuturesUnordered<UploadPart> = FuturesUnordered::new();
    let (mut parts, mut ended) = (0, false);
    while !ended || !running.is_empty() {
        tokio::select! {
            Some(done) = running.next(), if !running.is_empty() => done.map_err(|error| unwritten(path, error))?,
            chunk = body.next(), if !ended && running.len() < IN_FLIGHT => match chunk {
                Some(chunk) => gathering.add(chunk)?,
                None => ended = true,
            },
        }
        if gathering.bytes >= part_bytes(is_local, parts) || (ended && gathering.bytes > 0) {
            running.push(upload.get().put_part(gathering.take()));
            parts += 1;
        }
    }
    let put = upload.get().complete().await.map_err(|error| unwritten(path, error))?;
    upload.0 = None;
    Ok(Written { size: gathering.size, e_tag: put.e_tag })
}

/// Length of the part after `parts` others.
fn part_bytes(is_local: bool, parts: usize) -> usize {
    if is_local { LOCAL_PART_BYTES } else { PART_BYTES << (parts / PARTS_PER_SIZE) }
}

/// Chunks on their way to become a part.
struct Gathering<'a> {
    path: &'a ArtifactPath,
    limit: u64,
    /// Bytes of the body so far.
    size: u64,
    chunks: Vec<Bytes>,
    /// What comes after `chunks`, until it is long enough to be one.
    piece: BytesMut,
    /// Pieces whose buffers can be used again once they are written.
    sent: Vec<Bytes>,
    /// Bytes of `chunks` and `piece`.
    bytes: usize,
}

impl Gathering<'_> {
    fn add<E>(&mut self, chunk: Result<Bytes, E>) -> Result<(), Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let chunk = chunk.map_err(|error| Error::Body { path: self.path.clone(), source: error.into() })?;
        self.size += chunk.len() as u64;
        if self.size > self.limit {
            return Err(Error::TooLarge { path: self.path.clone(), limit: self.limit });
        }
        self.bytes += chunk.len();
        if chunk.len() >= PIECE_BYTES {
            self.end_piece();
            self.chunks.push(chunk);
            return Ok(());
        }
        let mut rest = &*chunk;
        while !rest.is_empty() {
            if self.piece.is_empty() {
                self.piece = free_buffer(&mut self.sent);
                self.piece.clear();
                self.piece.reserve(PIECE_BYTES);
            }
            let (fits, more) = rest.split_at(rest.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(fits);
            rest = more;
            if self.piece.len() == PIECE_BYTES {
                self.end_piece();
            }
        }
        Ok(())
    }

    fn end_piece(&mut self) {
        if !self.piece.is_empty() {
            let piece = std::mem::take(&mut self.piece).freeze();
            if self.sent.len() < KEPT {
                self.sent.push(piece.clone());
            }
            self.chunks.push(piece);
        }
    }

    fn take(&mut self) -> PutPayload {
        self.end_piece();
        self.bytes = 0;
        std::mem::take(&mut self.chunks).into_iter().collect()
    }
}

/// A multipart upload that is aborted when it is dropped before its end, as it is when a client goes away: clouds keep
/// (and bill) the parts of an upload that was neither completed nor aborted.
struct Unfinished(Option<Box<dyn MultipartUpload>>);

impl Unfinished {
    fn get(&mut self) -> &mut Box<dyn MultipartUpload> {
        self.0.as_mut().expect("an upload is there until it is completed or aborted")
    }

    async fn abort(&mut self) {
        if let Some(upload) = self.0.take() {
            abort(upload).await;
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(abort(upload));
        }
    }
}

async fn abort(mut upload: Box<dyn MultipartUpload>) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(%error, "an upload that broke off could not be aborted; its parts may stay at the store");
    }
}

/// Why a file could not be written.
fn unwritten(path: &ArtifactPath, source: object_store::Error) -> Error {
    match runlake_storage::kind_of(&source) {
        ErrorKind::Invalid => Error::Obstructed { path: path.clone(), source: Box::new(source) },
        _ => failed("write", path, source),
    }
}
