//! A file as a stream of chunks.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetResult, GetResultPayload};

use super::{Body, failed};
use crate::ArtifactPath;

/// Read per hop to the blocking pool. The default of 8 KiB costs more in hops than in reading.
const CHUNK: u64 = 256 * 1024;

pub(super) fn stream(found: GetResult, path: ArtifactPath) -> Body {
    let range = found.range.clone();
    match found.payload {
        GetResultPayload::File(file, _) => {
            let reading = Reading { file, at: range.start, end: range.end };
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
    let mut chunk = vec![0; usize::try_from(length).expect("a chunk is small")];
    reading.file.seek(SeekFrom::Start(reading.at))?;
    reading.file.read_exact(&mut chunk)?;
    reading.at += length;
    Ok((chunk.into(), reading))
}
