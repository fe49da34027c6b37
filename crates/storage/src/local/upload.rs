//! A large object written in parts.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt as _;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::publish::Staged;
use super::{Disk, blocking, failed};

/// Parts go to their offsets of one staged file, in any order and at the same time.
#[derive(Debug)]
pub(super) struct LocalUpload {
    disk: Arc<Disk>,
    /// `None` once completed or aborted.
    staged: Option<Arc<Staged>>,
    /// Where the next part begins.
    offset: u64,
    /// Bytes that have been written; less than `offset` while a part is under way or has failed.
    written: Arc<AtomicU64>,
}

impl LocalUpload {
    pub(super) fn new(disk: Arc<Disk>, staged: Staged) -> Self {
        Self { disk, staged: Some(Arc::new(staged)), offset: 0, written: Arc::default() }
    }

    fn over() -> Error {
        Error::Generic { store: "local files", source: "the upload was already completed or aborted".into() }
    }
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(staged) = self.staged.clone() else {
            return futures::future::ready(Err(Self::over())).boxed();
        };
        let mut at = self.offset;
        self.offset += data.content_length() as u64;
        let written = Arc::clone(&self.written);
        blocking(move || {
            for chunk in &data {
                let result = staged.file().write_all_at(chunk, at);
                result.map_err(|error| failed("write", staged.place(), error))?;
                at += chunk.len() as u64;
            }
            written.fetch_add(data.content_length() as u64, Ordering::AcqRel);
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().ok_or_else(Self::over)?;
        let whole = self.written.load(Ordering::Acquire) == self.offset;
        let Some(staged) = Arc::into_inner(staged).filter(|_| whole) else {
            let source = "a part is missing: it failed, or was not waited for".into();
            return Err(Error::Generic { store: "local files", source });
        };
        let disk = Arc::clone(&self.disk);
        blocking(move || staged.publish_over(&disk)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.take().ok_or_else(Self::over)?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}
