//! A file as a stream of chunks.
//!
//! Local files are read into a few buffers, again and again: see [`free_buffer`].

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetResult, GetResultPayload};

use super::{Body, failed};
use crate::ArtifactPath;

/// Read per hop to the blocking pool: 8 KiB costs more in hops than in reading; the longer the buffers, the more memory
/// may stay with the allocator for a while.
const CHUNK: u64 = 64 * 1024;
/// Buffers that are kept for the next chunk. A connection holds up to eight of them while it sends.
const KEPT: usize = 12;

pub(super) fn stream(found: GetResult, path: ArtifactPath) -> Body {
    let range = found.range.clone();
    match found.payload {
        GetResultPayload::File(file, _) => {
            let reading = Reading { file, at: range.start, end: range.end, sent: Vec::with_capacity(KEPT) };
            futures::stream::try_unfold(reading, next)
                .map_err(move |error| {
                    failed("read", &path, object_store::Error::Generic { store: "local files", source: error.into() })
                })
                .boxed()
        }
        GetResultPayload::Stream(chunks) => chunks.map_err(move |error| failed("read", &path, error)).boxed(),
    }
}

struct Reading {
    file: File,
    at: u64,
    end: u64,
    /// Chunks whose buffers can be used again once nobody else holds them.
    sent: Vec<Bytes>,
}

async fn next(reading: Reading) -> std::io::Result<Option<(Bytes, Reading)>> {
    if reading.at >= reading.end {
        return Ok(None);
    }
    let chunk = tokio::task::spawn_blocking(move || read_chunk(reading));
    chunk.await.map_err(std::io::Error::other)?.map(Some)
}

fn read_chunk(mut reading: Reading) -> std::io::Result<(Bytes, Reading)> {
    let length = CHUNK.min(reading.end - reading.at);
    let mut chunk = free_buffer(&mut reading.sent);
    chunk.resize(usize::try_from(length).expect("a chunk is small"), 0);
    reading.file.seek(SeekFrom::Start(reading.at))?;
    reading.file.read_exact(&mut chunk)?;
    reading.at += length;
    let chunk = chunk.freeze();
    if reading.sent.len() < KEPT {
        reading.sent.push(chunk.clone());
    }
    Ok((chunk, reading))
}

/// A buffer that was sent and that nobody holds any more, or a new one. Buffers are filled on one thread and dropped on
/// another; with a fresh one each time more memory may stay with the allocator for a while than is in use.
pub(super) fn free_buffer(sent: &mut Vec<Bytes>) -> BytesMut {
    let free = sent.iter().position(Bytes::is_unique).map(|at| sent.swap_remove(at));
    free.and_then(|free| free.try_into_mut().ok()).unwrap_or_default()
}
