//! Search over runs: a columnar index in memory, built at the first search and kept up to date from then on.
//!
//! The index holds what a search filters, sorts and answers with: the run, its params and tags, and the latest metrics.
//! Writers do not touch it: they note which runs they changed (under the state's lock), and the next search brings those
//! runs up to date before it looks. A flush does the same before it swaps memtables for files.

mod build;
mod column;
mod eval;
mod index;
mod like;
pub mod query;
mod rank;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runlake_types::rows::{LatestMetric, Run};
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::task::JoinError;

use crate::engine::Inner;
use crate::{Error, Result, latest};

pub use like::LikePattern;
pub use query::{
    Column, Cursor, DatasetField, DatasetTest, LifecycleFilter, MetricField, NumberOp, OrderBy, Predicate,
    RunAttribute, RunQuery, SortValue, TextOp,
};

pub(crate) use index::Index;

/// A page of runs.
#[derive(Debug, Clone, Default)]
pub struct RunPage {
    /// The runs in the query's order.
    pub runs: Vec<RunData>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
}

/// A run with what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunData {
    /// The run.
    pub run: Run,
    /// Its params by key.
    pub params: Vec<(String, String)>,
    /// Its tags by key.
    pub tags: Vec<(String, String)>,
    /// The latest point of each metric, by key.
    pub metrics: Vec<LatestPoint>,
}

/// The latest point of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestPoint {
    /// The metric's key.
    pub key: String,
    /// Step of the point.
    pub step: i64,
    /// When it was logged.
    pub timestamp: runlake_types::Timestamp,
    /// Its value.
    pub value: f64,
}

impl From<LatestMetric> for LatestPoint {
    fn from(row: LatestMetric) -> Self {
        Self { key: row.key, step: row.step, timestamp: row.timestamp, value: row.value }
    }
}

/// The index behind its lock; empty until the first search.
#[derive(Debug, Default)]
pub(crate) struct SearchIndex {
    index: Arc<RwLock<Option<Index>>>,
    runs: AtomicUsize,
}

impl SearchIndex {
    pub(crate) async fn search(&self, inner: &Arc<Inner>, query: RunQuery) -> Result<RunPage> {
        let index = self.up_to_date(inner).await?;
        tokio::task::spawn_blocking(move || match index.as_ref() {
            Some(index) => rank::search(index, &query),
            None => RunPage::default(),
        })
        .await
        .map_err(|error| broke_down(&error))
    }

    /// Number of runs in the index.
    pub(crate) fn len(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }

    /// The index with everything in it that is visible now.
    async fn up_to_date(&self, inner: &Arc<Inner>) -> Result<OwnedRwLockReadGuard<Option<Index>>> {
        {
            let index = Arc::clone(&self.index).read_owned().await;
            if index.is_some() && !inner.state.has_touched() {
                return Ok(index);
            }
        }
        // Off the threads that serve, and to its end though the one who asked may go away: the next one wants it too.
        let inner = Arc::clone(inner);
        let refreshing = move || Handle::current().block_on(async { inner.search.refresh(&inner).await });
        tokio::task::spawn_blocking(refreshing).await.map_err(|error| broke_down(&error))?
    }

    async fn refresh(&self, inner: &Inner) -> Result<OwnedRwLockReadGuard<Option<Index>>> {
        let mut guard = Arc::clone(&self.index).write_owned().await;
        // Out of its place while it changes: an index that was left half-way is not put back.
        let index = match guard.take() {
            Some(index) => catch_up(inner, index).await?,
            None => None,
        };
        let index = match index {
            Some(index) => index,
            None => build::build(&inner.state.start_tracking()).await?,
        };
        self.runs.store(index.len(), Ordering::Relaxed);
        *guard = Some(index);
        Ok(guard.downgrade())
    }

    /// Runs `publish` (which swaps memtables for files) at a moment when the index has taken in all that the memtables
    /// held. `flushed` are the rows of `latest_metrics` that the files now hold; without them the index starts anew.
    pub(crate) async fn publish(
        &self,
        inner: &Inner,
        flushed: Option<&[LatestMetric]>,
        publish: impl FnOnce(),
    ) -> Result<()> {
        let mut guard = self.index.write().await;
        if let (Some(index), Some(rows)) = (guard.take(), flushed)
            && let Some(mut index) = catch_up(inner, index).await?
        {
            for row in rows {
                index.set_flushed(row);
            }
            *guard = Some(index);
        }
        publish();
        Ok(())
    }

    /// Drops the index: the next search builds it again.
    pub(crate) async fn forget(&self) {
        *self.index.write().await = None;
        self.runs.store(0, Ordering::Relaxed);
    }
}

fn broke_down(error: &JoinError) -> Error {
    Error::Internal(format!("the search broke down: {error}"))
}

/// Brings the runs that were written to since the last time up to date; `None` when they were not noted.
async fn catch_up(inner: &Inner, mut index: Index) -> Result<Option<Index>> {
    let Some((view, touched)) = inner.state.take_touched() else {
        return Ok(None);
    };
    let mut inexact = Vec::new();
    for run_id in &touched {
        index.refresh(&view, run_id, &mut inexact)?;
    }
    for doubt in inexact {
        let row = latest::exact(&view, &doubt.run_id, &doubt.key, doubt.merged).await?;
        index.set_metric(&row);
    }
    Ok(Some(index))
}
