//! MLflow's meaning: experiments, runs, metrics, params, tags, inputs, logged models, search.
//!
//! [`Tracking`] is the whole interface: requests and answers are plain domain types ([`model`]); there is no wire
//! format, no status code and no file access here. Writes follow one pattern: admit, check the run under its lock,
//! submit, wait until the write is durable and visible.

mod artifacts;
mod catalog;
mod envelope;
mod error;
mod experiments;
mod history;
mod inputs;
mod known;
mod log;
mod logged_models;
mod names;
mod runs;
mod sample;
mod text;

pub mod ingest;
pub mod model;
pub mod search;
pub mod uri;
pub mod validate;

pub use envelope::{Span, envelope};
pub use error::{Error, Result};
pub use model::*;

use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use runlake_engine::Engine;
use runlake_types::Timestamp;
use runlake_webhooks::Webhooks;

use crate::catalog::Catalog;
use crate::ingest::BatchIds;
use crate::known::Known;

/// Locks that experiments share, and those that logged models share.
const LOCKS: usize = 64;

/// Experiments, runs and logged models of one lake. Clones share everything.
#[derive(Debug, Clone)]
pub struct Tracking {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    settings: TrackingSettings,
    catalog: RwLock<Catalog>,
    /// By experiment: held alone by what changes one, shared by what makes something in it.
    gates: Vec<tokio::sync::RwLock<()>>,
    /// Held while a name or id of an experiment is given out.
    naming: tokio::sync::Mutex<()>,
    /// Held while runs are made under ids that their sender chose.
    making_runs: tokio::sync::Mutex<()>,
    model_locks: Vec<tokio::sync::Mutex<()>>,
    /// Logged models known to exist.
    known_models: Known,
    /// Names of bulk batches, and what became of them.
    batch_ids: BatchIds,
    /// Who wants to be told of what happens; set once, when the server is put together.
    webhooks: OnceLock<Webhooks>,
}

impl Tracking {
    /// Reads the catalog of experiments; on an empty lake makes the Default experiment.
    pub async fn open(engine: Engine, settings: TrackingSettings) -> Result<Self> {
        let settings =
            TrackingSettings { default_artifact_root: uri::absolute(&settings.default_artifact_root)?, ..settings };
        let catalog = Catalog::load(&engine.view()).await?;
        let tracking = Self {
            inner: Arc::new(Inner {
                engine,
                settings,
                catalog: RwLock::new(catalog),
                gates: (0..LOCKS).map(|_| tokio::sync::RwLock::default()).collect(),
                naming: tokio::sync::Mutex::default(),
                making_runs: tokio::sync::Mutex::default(),
                model_locks: (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
                known_models: Known::default(),
                batch_ids: BatchIds::default(),
                webhooks: OnceLock::new(),
            }),
        };
        tracking.ensure_default().await?;
        Ok(tracking)
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// From now on events are told to those of `webhooks` that ask for them. The first call counts.
    pub fn tell(&self, webhooks: Webhooks) {
        // Told twice, the first goes on.
        let _told_already = self.inner.webhooks.set(webhooks);
    }

    /// Who is told of events.
    pub fn webhooks(&self) -> Option<&Webhooks> {
        self.inner.webhooks.get()
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &TrackingSettings {
        &self.inner.settings
    }

    fn now(&self) -> Timestamp {
        self.inner.engine.clock().now()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
