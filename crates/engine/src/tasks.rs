//! The only place of the engine that spawns: named background tasks that end when the engine closes.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Owner of the background tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    stop: CancellationToken,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Tasks {
    /// Starts a task. It is to return soon after the token it is given is cancelled. A panic of it is a failure of the
    /// engine: without its flusher, for one, it would serve on until memory is full.
    pub(crate) fn spawn<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = AssertUnwindSafe(task(self.stop.clone())).catch_unwind();
        let failure = Arc::clone(&self.failure);
        let handle = tokio::spawn(async move {
            if let Err(panic) = task.await {
                let text = panic_text(panic.as_ref());
                tracing::error!(task = name, "a background task broke down: {text}");
                failure.lock().get_or_insert_with(|| {
                    format!("the background task {name} broke down ({text}). Nothing is lost; start the server again")
                });
            }
        });
        self.running.lock().push((name, handle));
    }

    /// Which task broke down first, and how.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
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

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_told() {
        let tasks = Tasks::default();
        tasks.spawn("patient", |stop| async move { stop.cancelled().await });
        tokio::task::yield_now().await;
        assert_eq!(tasks.failure(), None);
        tasks.spawn("hasty", |_| async { panic!("out of {}", "paper") });
        while tasks.failure().is_none() {
            tokio::task::yield_now().await;
        }
        let failure = tasks.failure().unwrap();
        assert!(failure.contains("hasty") && failure.contains("out of paper"), "{failure}");
        tasks.stop().await;
    }
}
