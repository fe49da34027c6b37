//! Experiments: written through a catalog in memory.
//!
//! An experiment changes behind its gate, held until the write is acknowledged; only then the catalog learns of it. What
//! makes a run or model in it passes the same gate, shared, so that deleting an experiment sees every run there is. Names
//! and ids are given out under one more lock, taken after the gate.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use runlake_engine::RunEntry;
use runlake_engine::search::{LifecycleFilter, RunQuery};
use runlake_types::rows::{Experiment, ExperimentTag, Lifecycle, Row as _};
use runlake_types::{ExperimentId, RunId, TableId, Timestamp, WriteBatch, limits};

use tokio::sync::{RwLock, RwLockReadGuard};

use crate::catalog::Catalog;
use crate::search::{ExperimentFilter, ExperimentOrder, TokenScope};
use crate::{
    ArtifactPlace, CreateExperiment, Error, ExperimentInfo, Page, Result, SearchExperiments, Tracking, uri, validate,
};

/// Runs that move together in one write when their experiment is deleted or restored.
const RUNS_PER_MOVE: usize = 25_000;
/// Start of the keys of tags that hold a saved view of the UI.
const VIEW_TAG_PREFIX: &str = "mlflow.customView.view";
/// Saved views of one experiment.
const MOST_VIEWS: usize = 50;
/// Runs listed at a time.
const RUNS_PER_LISTING: usize = 5000;
/// Runs loaded at a time.
const RUN_LOADS: usize = 32;
/// Memory a moved run takes in a write, roughly.
const MOVED_RUN_BYTES: usize = 1024;

impl Tracking {
    /// Makes an experiment and returns its id.
    pub async fn create_experiment(&self, request: CreateExperiment) -> Result<ExperimentId> {
        let own_location = request.artifact_location.as_deref().filter(|location| !location.is_empty());
        let own_location = own_location.map(|location| uri::own_location(location, self.settings())).transpose()?;
        validate::experiment_name(&request.name)?;
        for (key, value) in &request.tags {
            validate::experiment_tag(key, value)?;
        }
        check_views(request.tags.iter().map(|(key, _)| key.as_str()), None)?;
        let _naming = self.inner.naming.lock().await;
        let id = {
            let catalog = self.inner.catalog.read();
            if catalog.by_name(&request.name).is_some() {
                return Err(name_taken(&request.name));
            }
            catalog.next_id()
        };
        let now = self.now();
        let artifact_location =
            own_location.unwrap_or_else(|| uri::below(&self.settings().default_artifact_root, &[&id.to_string()]));
        let info = ExperimentInfo {
            experiment: Experiment {
                experiment_id: id,
                name: request.name,
                artifact_location,
                lifecycle_stage: Lifecycle::Active,
                creation_time: now,
                last_update_time: now,
            },
            tags: request.tags.into_iter().collect(),
        };
        let mut batch = WriteBatch::default();
        batch.put(&info.experiment);
        for (key, value) in &info.tags {
            batch.put(&ExperimentTag { experiment_id: id, key: key.clone(), value: value.clone() });
        }
        self.inner.engine.write(batch).await?;
        self.inner.catalog.write().put(info);
        Ok(id)
    }

    /// An experiment by id, deleted ones too.
    pub async fn get_experiment(&self, experiment_id: &str) -> Result<Arc<ExperimentInfo>> {
        let id = validate::experiment_id(experiment_id)?;
        self.catalog(|catalog| catalog.get(id).cloned()).await?
    }

    /// An experiment by name, deleted ones too.
    pub async fn get_experiment_by_name(&self, name: &str) -> Result<Arc<ExperimentInfo>> {
        self.catalog(|catalog| catalog.by_name(name).cloned())
            .await?
            .ok_or_else(|| Error::not_found(format!("Could not find experiment with name '{name}'")))
    }

    /// A page of the experiments that match.
    pub async fn search_experiments(&self, request: &SearchExperiments) -> Result<Page<Arc<ExperimentInfo>>> {
        self.search_experiments_among(request, |_| true).await
    }

    /// The same for a caller who may not see all experiments.
    pub async fn search_experiments_among(
        &self,
        request: &SearchExperiments,
        may_see: impl Fn(ExperimentId) -> bool,
    ) -> Result<Page<Arc<ExperimentInfo>>> {
        let limit = validate::max_results(request.max_results, limits::SEARCH_PAGE_ROWS)?;
        let filter = ExperimentFilter::parse(request.filter.as_deref().unwrap_or_default())?;
        let order = ExperimentOrder::parse(&request.order_by)?;
        let scope = TokenScope::experiments(request);
        let after = scope.sort_key(request.page_token.as_deref(), &order.kinds())?;
        let wanted = |info: &ExperimentInfo| {
            request.view_type.takes(info.experiment.lifecycle_stage)
                && may_see(info.experiment.experiment_id)
                && filter.matches(info)
        };
        let found: Vec<Arc<ExperimentInfo>> =
            self.catalog(|catalog| catalog.all().filter(|info| wanted(info)).cloned().collect()).await?;
        let (items, next) = order.page(found, after.as_ref(), limit);
        Ok(Page { items, next_page_token: next.map(|key| scope.sort_token(&key)) })
    }

    /// Where the artifacts of each experiment are, deleted ones too.
    pub async fn artifact_roots(&self) -> Result<Vec<(ExperimentId, ArtifactPlace)>> {
        let root = |info: &Arc<ExperimentInfo>| {
            let experiment = &info.experiment;
            (experiment.experiment_id, ArtifactPlace::of_uri(&experiment.artifact_location))
        };
        self.catalog(|catalog| catalog.all().map(root).collect()).await
    }

    /// The experiment of a run, a deleted one too.
    pub async fn experiment_of_run(&self, run_id: &str) -> Result<ExperimentId> {
        Ok(self.run_row(&self.inner.engine.view(), run_id).await?.experiment_id)
    }

    /// The experiment of a logged model, a deleted one too.
    pub async fn experiment_of_model(&self, model_id: &str) -> Result<ExperimentId> {
        Ok(self.model_row(&self.inner.engine.view(), model_id, true).await?.experiment_id)
    }

    /// Renames an active experiment; `None` or an empty name changes nothing.
    pub async fn update_experiment(&self, experiment_id: &str, new_name: Option<&str>) -> Result<()> {
        let Some(new_name) = new_name.filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        validate::experiment_name(new_name)?;
        let id = validate::experiment_id(experiment_id)?;
        let _gate = self.gate(id).write().await;
        let _naming = self.inner.naming.lock().await;
        let mut info = {
            let catalog = self.inner.catalog.read();
            let info = catalog.get(id)?;
            if info.experiment.lifecycle_stage != Lifecycle::Active {
                return Err(Error::InvalidState("Cannot rename a non-active experiment.".into()));
            }
            if catalog.by_name(new_name).is_some_and(|other| other.experiment.experiment_id != id) {
                return Err(name_taken(new_name));
            }
            ExperimentInfo::clone(info)
        };
        new_name.clone_into(&mut info.experiment.name);
        info.experiment.last_update_time = self.now();
        let mut batch = WriteBatch::default();
        batch.put(&info.experiment);
        self.inner.engine.write(batch).await?;
        self.inner.catalog.write().put(info);
        Ok(())
    }

    /// Soft-deletes an active experiment and all its runs.
    pub async fn delete_experiment(&self, experiment_id: &str) -> Result<()> {
        self.move_experiment(experiment_id, Lifecycle::Active, Lifecycle::Deleted).await
    }

    /// Restores a deleted experiment and all its runs, also those that were deleted one by one.
    pub async fn restore_experiment(&self, experiment_id: &str) -> Result<()> {
        self.move_experiment(experiment_id, Lifecycle::Deleted, Lifecycle::Active).await
    }

    /// Sets a tag of an active experiment.
    pub async fn set_experiment_tag(&self, experiment_id: &str, key: &str, value: &str) -> Result<()> {
        validate::experiment_tag(key, value)?;
        let id = validate::experiment_id(experiment_id)?;
        let _gate = self.gate(id).write().await;
        let mut info = ExperimentInfo::clone(&*active(&self.inner.catalog.read(), id)?);
        if !info.tags.contains_key(key) {
            check_views(info.tags.keys().map(String::as_str).chain([key]), Some(id))?;
        }
        let mut batch = WriteBatch::default();
        batch.put(&ExperimentTag { experiment_id: id, key: key.to_owned(), value: value.to_owned() });
        self.inner.engine.write(batch).await?;
        info.tags.insert(key.to_owned(), value.to_owned());
        self.inner.catalog.write().put(info);
        Ok(())
    }

    /// Deletes a tag of an active experiment.
    pub async fn delete_experiment_tag(&self, experiment_id: &str, key: &str) -> Result<()> {
        let id = validate::experiment_id(experiment_id)?;
        let _gate = self.gate(id).write().await;
        let mut info = ExperimentInfo::clone(&*active(&self.inner.catalog.read(), id)?);
        let Some(value) = info.tags.remove(key) else {
            let message = format!("No tag with name: {key} in experiment with id {experiment_id}");
            return Err(Error::not_found(message));
        };
        let row = ExperimentTag { experiment_id: id, key: key.to_owned(), value };
        let mut batch = WriteBatch::default();
        batch.delete(TableId::ExperimentTags, row.key());
        self.inner.engine.write(batch).await?;
        self.inner.catalog.write().put(info);
        Ok(())
    }

    /// The experiment that something new goes into, active; and its gate, to be held until that is written.
    pub(crate) async fn home(&self, experiment_id: &str) -> Result<(Arc<ExperimentInfo>, RwLockReadGuard<'_, ()>)> {
        let id = validate::experiment_id(experiment_id)?;
        let gate = self.gate(id).read().await;
        Ok((self.catalog(|catalog| active(catalog, id)).await??, gate))
    }

    /// The same of several experiments. An error comes with the place of its id.
    pub(crate) async fn homes(
        &self,
        ids: &[ExperimentId],
    ) -> Result<(Vec<Arc<ExperimentInfo>>, Vec<RwLockReadGuard<'_, ()>>), (usize, Error)> {
        // One gate is entered once: behind a writer that waits, a second time would wait for ever.
        let gates: BTreeSet<usize> = ids.iter().map(|id| self.gate_number(*id)).collect();
        let mut guards = Vec::with_capacity(gates.len());
        for number in gates {
            guards.push(self.inner.gates[number].read().await);
        }
        let find = |catalog: &Catalog| {
            let found = ids.iter().enumerate().map(|(place, id)| active(catalog, *id).map_err(|error| (place, error)));
            found.collect::<Result<Vec<_>, _>>()
        };
        Ok((self.catalog(find).await.map_err(|error| (0, error))??, guards))
    }

    /// The gate of an experiment, which it may share with others.
    fn gate(&self, id: ExperimentId) -> &RwLock<()> {
        &self.inner.gates[self.gate_number(id)]
    }

    fn gate_number(&self, id: ExperimentId) -> usize {
        usize::try_from(id.number() % self.inner.gates.len() as u64).unwrap_or_default()
    }

    /// Makes the Default experiment of an empty lake.
    pub(crate) async fn ensure_default(&self) -> Result<()> {
        if !self.inner.catalog.read().is_empty() || self.inner.engine.is_read_only() {
            return Ok(());
        }
        self.create_experiment(CreateExperiment { name: "Default".into(), ..CreateExperiment::default() }).await?;
        Ok(())
    }

    /// Looks into the catalog. Where another process writes the lake, a newer one is read first.
    async fn catalog<T>(&self, look: impl FnOnce(&Catalog) -> T) -> Result<T> {
        if self.inner.engine.is_read_only() {
            let view = self.inner.engine.view();
            if self.inner.catalog.read().as_of() != view.seq() {
                let newer = Catalog::load(&view).await?;
                *self.inner.catalog.write() = newer;
            }
        }
        Ok(look(&self.inner.catalog.read()))
    }

    /// Runs first, the experiment with the last of them: what a crash interrupts can simply be asked for again.
    async fn move_experiment(&self, experiment_id: &str, from: Lifecycle, to: Lifecycle) -> Result<()> {
        let id = validate::experiment_id(experiment_id)?;
        let _gate = self.gate(id).write().await;
        let mut info = ExperimentInfo::clone(&**self.inner.catalog.read().get_in(id, from)?);
        let now = self.now();
        info.experiment.lifecycle_stage = to;
        info.experiment.last_update_time = now;
        let runs = self.runs_of(id).await?;
        let mut chunks = runs.chunks(RUNS_PER_MOVE).peekable();
        while let Some(chunk) = chunks.next() {
            let with = chunks.peek().is_none().then_some(&info.experiment);
            self.move_runs(chunk, to, now, with).await?;
        }
        if runs.is_empty() {
            self.move_runs(&[], to, now, Some(&info.experiment)).await?;
        }
        self.inner.catalog.write().put(info);
        Ok(())
    }

    /// Ids of all runs of an experiment, in order.
    async fn runs_of(&self, id: ExperimentId) -> Result<Vec<RunId>> {
        let mut ids = Vec::new();
        let mut after = None;
        loop {
            let query = RunQuery {
                experiments: vec![id],
                lifecycle: LifecycleFilter::All,
                predicate: None,
                order: Vec::new(),
                after,
                limit: RUNS_PER_LISTING,
            };
            let page = self.inner.engine.search_runs(query).await?;
            ids.extend(page.runs.into_iter().map(|found| found.run.run_id));
            after = page.next;
            if after.is_none() {
                ids.sort_unstable();
                return Ok(ids);
            }
        }
    }

    /// Moves runs, and perhaps their experiment, to a stage in one write. `ids` are in order: so are the locks taken.
    async fn move_runs(&self, ids: &[RunId], to: Lifecycle, now: Timestamp, with: Option<&Experiment>) -> Result<()> {
        let engine = &self.inner.engine;
        engine.admit(ids.len() * MOVED_RUN_BYTES).await?;
        let entries: Vec<Arc<RunEntry>> = stream::iter(ids.iter().map(|id| engine.runs().get(id)).collect::<Vec<_>>())
            .buffered(RUN_LOADS)
            .try_filter_map(|entry| std::future::ready(Ok(entry)))
            .try_collect()
            .await?;
        let ticket = {
            let mut runs: Vec<_> = entries.iter().map(|entry| entry.lock()).collect();
            let mut batch = WriteBatch::default();
            for run in &runs {
                let mut row = run.run.clone();
                row.lifecycle_stage = to;
                row.deleted_time = (to == Lifecycle::Deleted).then_some(now);
                batch.put(&row);
            }
            if let Some(experiment) = with {
                batch.put(experiment);
            }
            let ticket = engine.submit(batch)?;
            for run in &mut runs {
                run.joined(&ticket, 0);
                run.run.lifecycle_stage = to;
                run.run.deleted_time = (to == Lifecycle::Deleted).then_some(now);
            }
            ticket
        };
        ticket.await?;
        Ok(())
    }
}

fn active(catalog: &Catalog, id: ExperimentId) -> Result<Arc<ExperimentInfo>> {
    let info = catalog.get(id)?;
    let stage = info.experiment.lifecycle_stage;
    if stage != Lifecycle::Active {
        return Err(Error::invalid(format!(
            "The experiment {id} must be in the 'active' state. Current state is {stage}."
        )));
    }
    Ok(Arc::clone(info))
}

/// That an experiment does not get more saved views of the UI than MLflow lets it have.
fn check_views<'a>(keys: impl Iterator<Item = &'a str>, id: Option<ExperimentId>) -> Result<()> {
    if keys.filter(|key| key.starts_with(VIEW_TAG_PREFIX)).count() <= MOST_VIEWS {
        return Ok(());
    }
    let of_experiment = id.map(|id| format!(" for experiment {id}")).unwrap_or_default();
    Err(Error::invalid(format!(
        "Unable to create another custom view{of_experiment}; the maximum number of custom views per experiment is \
         {MOST_VIEWS}. Delete an existing custom view before creating a new one."
    )))
}

fn name_taken(name: &str) -> Error {
    Error::AlreadyExists(format!(
        "Experiment(name={name}) already exists. Choose another name, or restore the experiment if it was deleted."
    ))
}

#[cfg(test)]
mod tests;
