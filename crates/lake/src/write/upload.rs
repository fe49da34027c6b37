//! The way of encoded bytes from the encoder's thread to the store.

use std::io::{self, Write};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, WriteMultipart};
use tokio::sync::mpsc;

use crate::Error;
use crate::error::Told as _;
use crate::snapshot::Files;

/// Bytes sent at once. A file that is no larger is one request.
const PIECE_BYTES: usize = 8 << 20;
/// Pieces of one file on their way to the store at the same time.
const UPLOADS_AT_ONCE: usize = 4;

/// The next bytes of a file. Files come one after the other.
#[derive(Debug)]
pub(super) struct Piece {
    location: Path,
    bytes: Bytes,
    is_last: bool,
}

/// Where the encoder writes a file to.
#[derive(Debug)]
pub(super) struct PieceSink {
    pieces: mpsc::Sender<Piece>,
    location: Path,
    buffer: Vec<u8>,
    sent: u64,
}

impl PieceSink {
    pub(super) fn new(pieces: mpsc::Sender<Piece>, location: Path) -> Self {
        Self { pieces, location, buffer: Vec::new(), sent: 0 }
    }

    pub(super) fn location(&self) -> &Path {
        &self.location
    }

    /// Sends the rest of the file; its size. A file that is not ended is never completed in the store.
    pub(super) fn end(&mut self) -> io::Result<u64> {
        let rest = std::mem::take(&mut self.buffer);
        self.send(rest, true)?;
        Ok(self.sent)
    }

    fn send(&mut self, bytes: Vec<u8>, is_last: bool) -> io::Result<()> {
        self.sent += bytes.len() as u64;
        let piece = Piece { location: self.location.clone(), bytes: bytes.into(), is_last };
        let stopped = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the upload has stopped");
        self.pieces.blocking_send(piece).map_err(stopped)
    }
}

impl Write for PieceSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
            self.send(full, false)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends files to the store as they come, until the encoder is done or gives up.
pub(super) async fn upload(files: &Files, mut pieces: mpsc::Receiver<Piece>) -> Result<(), Error> {
    let table = files.table;
    let mut large: Option<WriteMultipart> = None;
    while let Some(piece) = pieces.recv().await {
        if piece.is_last && large.is_none() {
            files.objects.put(&piece.location, piece.bytes.into()).await.told(table, "write a file")?;
            continue;
        }
        let mut upload = if let Some(upload) = large.take() {
            upload
        } else {
            let upload = files.objects.put_multipart(&piece.location).await.told(table, "write a file")?;
            WriteMultipart::new_with_chunk_size(upload, PIECE_BYTES)
        };
        upload.wait_for_capacity(UPLOADS_AT_ONCE).await.told(table, "write a file")?;
        upload.put(piece.bytes);
        if piece.is_last {
            upload.finish().await.told(table, "write a file")?;
        } else {
            large = Some(upload);
        }
    }
    if let Some(unfinished) = large {
        unfinished.abort().await.told(table, "give up a file")?;
    }
    Ok(())
}
