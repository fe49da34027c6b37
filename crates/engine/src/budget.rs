//! Back-pressure: writers wait while too much is unflushed, by memory or by log.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::Inner;
use crate::{Error, Result};

/// Where writers wait for the flusher.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    freed: Notify,
}

impl Budget {
    /// Wakes those who wait: something was flushed.
    pub(crate) fn freed(&self) {
        self.freed.notify_waiters();
    }

    /// Returns when there is room for `bytes` more, or with [`Error::Overloaded`] after the configured time.
    pub(crate) async fn admit(&self, inner: &Inner, bytes: usize) -> Result<()> {
        if inner.has_room(bytes) {
            return Ok(());
        }
        let deadline = Instant::now() + inner.settings.admit_timeout;
        loop {
            let freed = self.freed.notified();
            inner.wake_flusher();
            // Between the check and the wait something may have been freed, hence the short poll beside the notice.
            let poll = Duration::from_millis(50);
            if inner.has_room(bytes) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Overloaded { waiting_bytes: inner.unflushed_bytes() });
            }
            // Either way the condition is looked at again.
            let _elapsed = tokio::time::timeout(poll, freed).await;
        }
    }
}
