//! All experiments of a lake in memory: they are few, and everything refers to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use runlake_engine::View;
use runlake_types::rows::{Experiment, ExperimentTag, Lifecycle};
use runlake_types::{ExperimentId, KeyBuilder, Seq};
use rustc_hash::FxHashMap;

use crate::{ExperimentInfo, Result, validate};

/// The experiments as of one position of the log.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    as_of: Seq,
    by_id: BTreeMap<ExperimentId, Arc<ExperimentInfo>>,
    by_name: FxHashMap<String, ExperimentId>,
}

impl Catalog {
    pub(crate) async fn load(view: &View) -> Result<Self> {
        let everything = KeyBuilder::default().build();
        let mut tags: FxHashMap<ExperimentId, BTreeMap<String, String>> = FxHashMap::default();
        for tag in view.scan::<ExperimentTag>(&everything).await? {
            tags.entry(tag.experiment_id).or_default().insert(tag.key, tag.value);
        }
        let mut catalog = Self { as_of: view.seq(), ..Self::default() };
        for experiment in view.scan::<Experiment>(&everything).await? {
            let tags = tags.remove(&experiment.experiment_id).unwrap_or_default();
            catalog.put(ExperimentInfo { experiment, tags });
        }
        Ok(catalog)
    }

    /// Position of the log it was loaded at.
    pub(crate) fn as_of(&self) -> Seq {
        self.as_of
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// By id, in any stage.
    pub(crate) fn get(&self, id: ExperimentId) -> Result<&Arc<ExperimentInfo>> {
        self.by_id.get(&id).ok_or_else(|| validate::no_experiment(&id.to_string()))
    }

    /// By id, in one stage.
    pub(crate) fn get_in(&self, id: ExperimentId, stage: Lifecycle) -> Result<&Arc<ExperimentInfo>> {
        match self.get(id)? {
            found if found.experiment.lifecycle_stage == stage => Ok(found),
            _ => Err(validate::no_experiment(&id.to_string())),
        }
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<ExperimentInfo>> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ExperimentInfo>> {
        self.by_id.values()
    }

    /// Greater than every id there ever was: experiments are never removed.
    pub(crate) fn next_id(&self) -> ExperimentId {
        ExperimentId::new(self.by_id.last_key_value().map_or(0, |(id, _)| id.number() + 1))
    }

    /// Enters an experiment, or what became of it.
    pub(crate) fn put(&mut self, info: ExperimentInfo) {
        let id = info.experiment.experiment_id;
        let name = info.experiment.name.clone();
        if let Some(before) = self.by_id.insert(id, Arc::new(info))
            && before.experiment.name != name
        {
            self.by_name.remove(&before.experiment.name);
        }
        self.by_name.insert(name, id);
    }
}
