//! The only place of the engine that spawns: named background tasks that end when the engine closes.

use std::future::Future;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Owner of the background tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    stop: CancellationToken,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

impl Tasks {
    /// Starts a task. It is to return soon after the token it is given is cancelled.
    pub(crate) fn spawn<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = tokio::spawn(task(self.stop.clone()));
        self.running.lock().push((name, handle));
    }

    /// Asks all tasks to end and waits for them.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let running = std::mem::take(&mut *self.running.lock());
        for (name, handle) in running {
            if let Err(error) = handle.await {
                tracing::error!(task = name, %error, "a background task ended badly");
            }
        }
    }
}
