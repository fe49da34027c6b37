//! Runs: their header and lifecycle, reading and finding them.

use std::collections::BTreeMap;

use runlake_engine::search::{LifecycleFilter, RunQuery};
use runlake_engine::{RunState, View};
use runlake_types::rows::{Lifecycle, Param, Row, Run, RunInput, RunOutput, RunStatus, Tag};
use runlake_types::{KeyBuilder, RunId, Timestamp, WriteBatch, limits};
use runlake_webhooks::{Event, Kind};
use rustc_hash::FxHashMap;

use crate::inputs::known_ids;
use crate::model::time_of;
use crate::search::{TokenScope, run_filter, run_order};
use crate::{CreateRun, Error, Page, Result, RunInfo, SearchRuns, Tracking, UpdateRun, ViewType, names, uri, validate};

/// The tag that is the run's name.
pub(crate) const RUN_NAME: &str = "mlflow.runName";
/// The tag that names the run this one belongs to.
pub(crate) const PARENT_RUN_ID: &str = "mlflow.parentRunId";
/// Bytes of a small write, for back-pressure.
pub(crate) const SMALL_WRITE_BYTES: usize = 2048;

impl Tracking {
    /// Makes a run.
    pub async fn create_run(&self, request: CreateRun) -> Result<RunInfo> {
        if request.experiment_id.is_empty() {
            return Err(Error::invalid("Missing value for required parameter 'experiment_id'."));
        }
        let engine = &self.inner.engine;
        engine.admit(SMALL_WRITE_BYTES).await?;
        let (home, _gate) = self.home(&request.experiment_id).await?;
        let mut tags = BTreeMap::new();
        for (key, value) in request.tags {
            if let Some(_earlier) = tags.insert(key.clone(), value) {
                return Err(Error::invalid(format!("The tag '{key}' is given twice; give each tag once.")));
            }
        }
        let run_name = run_name(request.run_name, tags.get(RUN_NAME))?;
        tags.insert(RUN_NAME.into(), run_name.clone());
        let run_id = RunId::generate();
        let experiment_id = home.experiment.experiment_id;
        let run = Run {
            artifact_uri: uri::below(&home.experiment.artifact_location, &[run_id.as_str(), "artifacts"]),
            run_id,
            experiment_id,
            run_name,
            user_id: request.user_id,
            status: RunStatus::Running,
            start_time: Some(time_of("start_time", request.start_time.unwrap_or(0))?),
            end_time: None,
            lifecycle_stage: Lifecycle::Active,
            deleted_time: None,
            parent_run_id: tags.get(PARENT_RUN_ID).filter(|parent| !parent.is_empty()).cloned(),
        };
        let mut batch = WriteBatch::default();
        batch.put(&run);
        for (key, value) in &tags {
            batch.put(&tag_row(&run, key, value));
        }
        engine.submit(batch)?.await?;
        let state = RunState { run: run.clone(), params: BTreeMap::new(), tags: tags.clone() };
        engine.runs().insert(state);
        Ok(RunInfo {
            run,
            params: Vec::new(),
            tags: tags.into_iter().collect(),
            metrics: Vec::new(),
            dataset_inputs: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        })
    }

    /// A run with its params, tags, last metrics, inputs and outputs; deleted ones too.
    pub async fn get_run(&self, run_id: &str) -> Result<RunInfo> {
        let view = self.inner.engine.view();
        let run = self.run_row(&view, run_id).await?;
        let id = run.run_id.clone();
        let (params, tags) = (view.of_run::<Param>(&id).await?, view.of_run::<Tag>(&id).await?);
        let metrics = view.latest(&id).await?.into_iter().map(Into::into).collect();
        let inputs = self.inputs_of(&view, view.of_run::<RunInput>(&id).await?).await?;
        let outputs = view.of_run::<RunOutput>(&id).await?;
        Ok(RunInfo {
            run,
            params: params.into_iter().map(|param| (param.key, param.value)).collect(),
            tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            metrics,
            dataset_inputs: inputs.datasets,
            model_inputs: inputs.models,
            model_outputs: outputs.into_iter().map(Into::into).collect(),
        })
    }

    /// Changes state, end or name of an active run, and returns its header.
    pub async fn update_run(&self, request: UpdateRun) -> Result<Run> {
        let end_time = request.end_time.map(|millis| time_of("end_time", millis)).transpose()?;
        self.change_run(&request.run_id, SMALL_WRITE_BYTES, |state, batch| {
            check_active(&state.run)?;
            let before = state.run.status;
            if let Some(status) = request.status {
                state.run.status = status;
            }
            if end_time.is_some() {
                state.run.end_time = end_time;
            }
            if let Some(name) = request.run_name.as_deref().filter(|name| !name.is_empty()) {
                set_tag(state, batch, RUN_NAME, name);
            }
            batch.put(&state.run);
            if state.run.status != before {
                self.tell_of_end(batch, &state.run);
            }
            Ok(state.run.clone())
        })
        .await
    }

    /// Tells webhooks of a run that has just ended.
    fn tell_of_end(&self, batch: &mut WriteBatch, run: &Run) {
        let kind = match run.status {
            RunStatus::Finished => Kind::RunFinished,
            RunStatus::Failed | RunStatus::Killed => Kind::RunFailed,
            RunStatus::Running | RunStatus::Scheduled => return,
        };
        let Some(webhooks) = self.webhooks().filter(|webhooks| webhooks.wants(kind)) else { return };
        let data = serde_json::json!({
            "run_id": run.run_id.as_str(),
            "experiment_id": run.experiment_id.to_string(),
            "run_name": run.run_name,
            "status": run.status.as_str(),
            "start_time": run.start_time.map(Timestamp::millis),
            "end_time": run.end_time.map(Timestamp::millis),
        });
        if let serde_json::Value::Object(data) = data {
            webhooks.enqueue(batch, &Event { kind, time: self.now(), data });
        }
    }

    /// Soft-deletes a run; a deleted one stays so.
    pub async fn delete_run(&self, run_id: &str) -> Result<()> {
        self.move_run(run_id, Lifecycle::Deleted).await
    }

    /// Restores a run; an active one stays so.
    pub async fn restore_run(&self, run_id: &str) -> Result<()> {
        self.move_run(run_id, Lifecycle::Active).await
    }

    /// A page of the runs that match.
    pub async fn search_runs(&self, request: &SearchRuns) -> Result<Page<RunInfo>> {
        let limit = request.max_results.map_or(Ok(limits::SEARCH_PAGE_ROWS_DEFAULT), |max_results| {
            validate::max_results(max_results, limits::SEARCH_PAGE_ROWS)
        })?;
        let scope = TokenScope::runs(request);
        let mut experiments: Vec<_> = known_ids(&request.experiment_ids)?.into_iter().collect();
        experiments.sort_unstable();
        let predicate = run_filter(request.filter.as_deref().unwrap_or_default())?;
        let order = run_order(&request.order_by)?;
        let query = RunQuery {
            experiments,
            lifecycle: match request.view_type {
                ViewType::ActiveOnly => LifecycleFilter::Active,
                ViewType::DeletedOnly => LifecycleFilter::Deleted,
                ViewType::All => LifecycleFilter::All,
            },
            predicate,
            after: scope.run_cursor(request.page_token.as_deref(), &order)?,
            order,
            limit,
        };
        let found = self.inner.engine.search_runs(query).await?;
        let view = self.inner.engine.view();
        let ids: Vec<RunId> = found.runs.iter().map(|found| found.run.run_id.clone()).collect();
        let inputs = of_runs::<RunInput>(&view, &ids, |row| &row.run_id).await?;
        let inputs = self.inputs_of_many(&view, inputs).await?;
        let outputs = of_runs::<RunOutput>(&view, &ids, |row| &row.run_id).await?;
        let items = found.runs.into_iter().zip(inputs).zip(outputs).map(|((found, inputs), outputs)| RunInfo {
            run: found.run,
            params: found.params,
            tags: found.tags,
            metrics: found.metrics,
            dataset_inputs: inputs.datasets,
            model_inputs: inputs.models,
            model_outputs: outputs.into_iter().map(Into::into).collect(),
        });
        Ok(Page { items: items.collect(), next_page_token: found.next.map(|cursor| scope.run_token(&cursor)) })
    }

    async fn move_run(&self, run_id: &str, to: Lifecycle) -> Result<()> {
        let now = self.now();
        self.change_run(run_id, SMALL_WRITE_BYTES, |state, batch| {
            state.run.lifecycle_stage = to;
            state.run.deleted_time = (to == Lifecycle::Deleted).then_some(now);
            batch.put(&state.run);
            Ok(())
        })
        .await
    }

    pub(crate) async fn run_row(&self, view: &View, run_id: &str) -> Result<Run> {
        let key = KeyBuilder::default().text(run_id).build();
        view.get::<Run>(&key).await?.ok_or_else(|| no_run(run_id))
    }

    /// Changes one run: `change` checks the state, notes in it what the batch will do, and fails only before it has
    /// changed anything. Returns when the change is durable and visible.
    pub(crate) async fn change_run<T>(
        &self,
        run_id: &str,
        bytes: usize,
        change: impl FnOnce(&mut RunState, &mut WriteBatch) -> Result<T>,
    ) -> Result<T> {
        let engine = &self.inner.engine;
        if engine.is_read_only() {
            return Err(runlake_engine::Error::ReadOnly.into());
        }
        engine.admit(bytes).await?;
        let entry = engine.runs().get(&RunId::from_stored(run_id)).await?.ok_or_else(|| no_run(run_id))?;
        let (ticket, answer) = {
            let mut run = entry.lock();
            let mut batch = WriteBatch::default();
            let answer = change(&mut run, &mut batch)?;
            // Nothing to write is submitted too: what makes it nothing may itself be on its way to the log.
            (run.submit(batch)?, answer)
        };
        ticket.await?;
        Ok(answer)
    }
}

/// The name of a new run: as argument, as tag, else a random one.
fn run_name(argument: Option<String>, tag: Option<&String>) -> Result<String> {
    let argument = argument.filter(|name| !name.is_empty());
    let tag = tag.filter(|name| !name.is_empty());
    match (argument, tag) {
        (Some(argument), Some(tag)) if argument != *tag => Err(Error::invalid(format!(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values \
             (run_name='{argument}', mlflow.runName='{tag}')."
        ))),
        (Some(argument), _) => Ok(argument),
        (None, Some(tag)) => Ok(tag.clone()),
        (None, None) => Ok(names::random()),
    }
}

pub(crate) fn no_run(run_id: &str) -> Error {
    Error::not_found(format!("Run with id={run_id} not found"))
}

pub(crate) fn check_active(run: &Run) -> Result<()> {
    let stage = run.lifecycle_stage;
    if stage == Lifecycle::Active {
        return Ok(());
    }
    Err(Error::invalid(format!("The run {} must be in the 'active' state. Current state is {stage}.", run.run_id)))
}

pub(crate) fn tag_row(run: &Run, key: &str, value: &str) -> Tag {
    Tag { run_id: run.run_id.clone(), key: key.to_owned(), experiment_id: run.experiment_id, value: value.to_owned() }
}

/// Sets a tag; those with a meaning change the run as well. An empty run name is passed over, as MLflow does. Returns
/// whether the run's row changed too, which the caller then writes.
pub(crate) fn set_tag(state: &mut RunState, batch: &mut WriteBatch, key: &str, value: &str) -> bool {
    let changes_row = match key {
        RUN_NAME if value.is_empty() => return false,
        RUN_NAME => {
            value.clone_into(&mut state.run.run_name);
            true
        }
        PARENT_RUN_ID => {
            state.run.parent_run_id = (!value.is_empty()).then(|| value.to_owned());
            true
        }
        _ => false,
    };
    batch.put(&tag_row(&state.run, key, value));
    state.tags.insert(key.to_owned(), value.to_owned());
    changes_row
}

/// Rows of several runs in a table keyed by run, in the order of `ids`, which are distinct.
pub(crate) async fn of_runs<R: Row>(view: &View, ids: &[RunId], run_of: impl Fn(&R) -> &RunId) -> Result<Vec<Vec<R>>> {
    let mut rows: FxHashMap<RunId, Vec<R>> = FxHashMap::default();
    for row in view.of_runs::<R>(ids).await? {
        rows.entry(run_of(&row).clone()).or_default().push(row);
    }
    Ok(ids.iter().map(|id| rows.remove(id).unwrap_or_default()).collect())
}
