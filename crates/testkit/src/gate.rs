//! A place where a request stops until the test lets it on.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Both ends of a pause. Clones are the same gate; it lets one request through for each time it is opened.
#[derive(Debug, Clone)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), opened: Arc::new(Semaphore::new(0)) }
    }
}

impl Gate {
    /// Returns when a request stands at the gate; once for each.
    pub async fn reached(&self) {
        take(&self.arrived).await;
    }

    /// Lets the request that stands at the gate, or the next one, go on.
    pub fn open(&self) {
        self.opened.add_permits(1);
    }

    pub(crate) async fn pass(&self) {
        self.arrived.add_permits(1);
        take(&self.opened).await;
    }
}

async fn take(semaphore: &Semaphore) {
    if let Ok(permit) = semaphore.acquire().await {
        permit.forget();
    }
}
