//! Who scores a model: worker processes, or this process itself.

use bytes::Bytes;

use crate::pool::{Load, Pool, Unscored, Versions};
use crate::request::Request;

/// Scores the requests to one model.
#[derive(Debug)]
pub enum Scorer {
    /// Python processes.
    Workers(Pool),
    /// A graph in this process.
    #[cfg(feature = "onnx")]
    Native(native::Native),
}

impl Scorer {
    /// Scores a request: the JSON of its answer.
    pub async fn score(&self, request: Request) -> Result<Bytes, Unscored> {
        match self {
            Self::Workers(pool) => pool.score(request).await,
            #[cfg(feature = "onnx")]
            Self::Native(native) => native.score(request).await,
        }
    }

    /// Its figures.
    pub fn load(&self) -> &Load {
        match self {
            Self::Workers(pool) => pool.load(),
            #[cfg(feature = "onnx")]
            Self::Native(native) => native.load(),
        }
    }

    /// What it runs.
    pub fn versions(&self) -> Versions {
        match self {
            Self::Workers(pool) => pool.versions(),
            #[cfg(feature = "onnx")]
            Self::Native(native) => native.versions(),
        }
    }
}

#[cfg(feature = "onnx")]
pub use native::Native;

#[cfg(feature = "onnx")]
mod native {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use tokio::sync::Semaphore;

    use crate::onnx::Onnx;
    use crate::pool::{Load, Unscored, Versions, Waiting};
    use crate::request::Request;

    /// What takes less than this is not worth a thread of its own.
    const SHORT: Duration = Duration::from_micros(500);

    /// A graph that is scored in this process. What takes long is scored beside what answers requests, on as many threads
    /// as there are processors.
    #[derive(Debug)]
    pub struct Native {
        graph: Arc<Onnx>,
        load: Arc<Load>,
        threads: Arc<Semaphore>,
        queue: usize,
        timeout: Duration,
        /// Time of a row, as it was lately; at first it is taken for long.
        nanos_per_row: Arc<AtomicU64>,
        /// The version of MLflow that saved the model.
        mlflow: String,
    }

    impl Native {
        /// A graph, of which `queue` requests may wait, each for `timeout`.
        pub fn new(graph: Onnx, queue: usize, timeout: Duration, mlflow: String) -> Self {
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            Self {
                graph: Arc::new(graph),
                load: Arc::new(Load { ready: AtomicUsize::new(threads), ..Load::default() }),
                threads: Arc::new(Semaphore::new(threads)),
                queue,
                timeout,
                nanos_per_row: Arc::new(AtomicU64::new(u64::MAX)),
                mlflow,
            }
        }

        pub(super) fn load(&self) -> &Load {
            &self.load
        }

        pub(super) fn versions(&self) -> Versions {
            Versions { mlflow: self.mlflow.clone(), python: String::new() }
        }

        pub(super) async fn score(&self, request: Request) -> Result<Bytes, Unscored> {
            let _waiting = Waiting::within(&self.load, self.queue + self.threads.available_permits())?;
            let rows = u64::try_from(request.input.rows()).unwrap_or(u64::MAX).max(1);
            let expected = self.nanos_per_row.load(Ordering::Relaxed).saturating_mul(rows);
            if Duration::from_nanos(expected) < SHORT {
                return timed(&self.graph, &request, rows, &self.nanos_per_row, &self.load);
            }
            let work = async {
                let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| Unscored::Closed)?;
                let (graph, nanos, load) =
                    (Arc::clone(&self.graph), Arc::clone(&self.nanos_per_row), Arc::clone(&self.load));
                let scored = tokio::task::spawn_blocking(move || {
                    // Held until it is done, also when nobody waits for it any more.
                    let _thread = thread;
                    timed(&graph, &request, rows, &nanos, &load)
                });
                scored.await.unwrap_or_else(|error| Err(Unscored::Crashed(error.to_string())))
            };
            tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(Unscored::TimedOut(self.timeout)))
        }
    }

    fn timed(graph: &Onnx, request: &Request, rows: u64, nanos: &AtomicU64, load: &Load) -> Result<Bytes, Unscored> {
        let began = Instant::now();
        let answer = graph.score(request);
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX) / rows;
        // A quarter of the newest: one slow answer does not make a thread of each that follows.
        let old = nanos.load(Ordering::Relaxed);
        nanos.store(if old == u64::MAX { took } else { old - old / 4 + took / 4 }, Ordering::Relaxed);
        load.batches.fetch_add(1, Ordering::Relaxed);
        answer
    }
}
