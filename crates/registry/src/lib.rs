//! MLflow's model registry: registered models and prompts, their versions, stages, aliases and tags, the audit of every
//! change; and lineage, from datasets through runs to aliases.
//!
//! [`Registry`] reads, [`Acting`] changes in somebody's name. There is no wire format and no status code here. A change
//! is made under the locks of the models it touches: read, decide, write everything (the event that tells of it as well)
//! in one batch, and wait until that is durable and visible.

mod aliases;
mod approvals;
mod error;
mod events;
mod lineage;
mod model;
mod models;
mod names;
mod notices;
mod search;
mod source;
mod stages;
mod tags;
mod versions;

pub use approvals::{Change, Decision, Policy, RequestInfo};
pub use error::{Error, Result};
pub use lineage::{Detail, Direction, Edge, EdgeKind, LINEAGE_NODES, Lineage, Node, NodeId};
pub use model::*;
pub use names::stage;
pub use versions::VERSIONS_TAG;

use std::sync::Arc;

use lineage::LastGraph;
use runlake_engine::{Engine, View};
use runlake_tracking::Tracking;
use runlake_types::{Timestamp, WriteBatch};
use tokio::sync::MutexGuard;

/// Locks that registered models share.
const LOCKS: usize = 64;

/// The registry of one lake. Clones share everything.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tracking: Tracking,
    locks: Vec<tokio::sync::Mutex<()>>,
    last_graph: LastGraph,
}

/// The registry in the hands of somebody: what is changed is entered under that name.
#[derive(Debug, Clone, Copy)]
pub struct Acting<'a> {
    registry: &'a Registry,
    actor: Option<&'a str>,
}

impl Registry {
    /// The registry of the lake that `tracking` is for.
    pub fn new(tracking: Tracking) -> Self {
        let locks = (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect();
        Self { inner: Arc::new(Inner { tracking, locks, last_graph: LastGraph::default() }) }
    }

    /// Changes made by `actor`; `None` where the server does not know its users.
    pub fn acting<'a>(&'a self, actor: Option<&'a str>) -> Acting<'a> {
        Acting { registry: self, actor }
    }

    fn engine(&self) -> &Engine {
        self.inner.tracking.engine()
    }

    fn view(&self) -> View {
        self.engine().view()
    }

    /// Holds the models (or whatever else has such a name) for a change. Never waits for one lock while others that hold
    /// that one wait for this: locks are taken in one order.
    async fn lock<const N: usize>(&self, names: [&str; N]) -> Vec<MutexGuard<'_, ()>> {
        use std::hash::BuildHasher as _;
        let count = self.inner.locks.len() as u64;
        let place = |name: &str| usize::try_from(rustc_hash::FxBuildHasher.hash_one(name) % count).unwrap_or_default();
        let mut places = names.map(place).to_vec();
        places.sort_unstable();
        places.dedup();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            held.push(self.inner.locks[place].lock().await);
        }
        held
    }
}

impl Acting<'_> {
    fn now(&self) -> Timestamp {
        self.registry.engine().clock().now()
    }

    async fn write(&self, batch: WriteBatch) -> Result<()> {
        if !batch.is_empty() {
            self.registry.engine().write(batch).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
