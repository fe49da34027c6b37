//! Runs in bulk: made with the ids that their sender gave them, so that their points can follow.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use runlake_engine::RunState;
use runlake_types::rows::{IngestedBatch, Lifecycle, Run, RunStatus};
use runlake_types::{ExperimentId, RunId, Timestamp, WriteBatch};
use rustc_hash::FxHashSet;

use super::ids::{Claim, Fate};
use super::texts::{NONE, Texts};
use super::{Content, Ingested, NamedRun, Refused, Rows, columns, experiments_of, runs_of};
use crate::runs::{PARENT_RUN_ID, RUN_NAME, tag_row};
use crate::validate::{self, Path};
use crate::{Error, ExperimentInfo, KeyValue, Tracking, names, text, uri};

/// Rows of one batch at most: a run takes far more than a point.
const MOST_RUNS: usize = 1 << 17;
/// Memory of a run on its way beside its texts: its row, its tags, its state.
const RUN_BYTES: usize = 1024;

/// Checked runs.
#[derive(Debug)]
pub(super) struct RunRows {
    runs: Vec<NewRun>,
    /// The experiments they go into, each once, and the first row that names it.
    experiments: Vec<(ExperimentId, usize)>,
}

#[derive(Debug)]
struct NewRun {
    run_id: RunId,
    experiment_id: ExperimentId,
    name: String,
    user_id: String,
    status: RunStatus,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
    parent: Option<String>,
}

pub(super) fn read(batch: &RecordBatch, now: Timestamp, cut: bool) -> Result<Rows, Refused> {
    let count = batch.num_rows();
    if count > MOST_RUNS {
        return Err(Error::invalid(format!(
            "a batch has at most {MOST_RUNS} runs, and this one {count}; send several"
        ))
        .into());
    }
    let run_ids = Texts::required(batch, "run_id")?;
    let ids = runs_of(&run_ids)?;
    refuse_twice(&run_ids, &ids)?;
    let homes = Texts::required(batch, "experiment_id")?;
    let experiments = experiments_of(&homes)?;
    let [given_names, users, statuses, parents] =
        ["run_name", "user_id", "status", "parent_run_id"].map(|name| Texts::optional(batch, name));
    let (given_names, users, statuses, parents) = (given_names?, users?, statuses?, parents?);
    let states = statuses_of(statuses.as_ref())?;
    let starts = columns::times(columns::column(batch, "start_time"), count, "start_time", now.micros())?;
    let ends = columns::times(columns::column(batch, "end_time"), count, "end_time", -1)?;
    let cut = |key: &'static str, value: Option<&str>, row: usize| {
        let tag = |value| validate::tag(&KeyValue { key, value }, Path::Top, cut).map(str::to_owned);
        value.map(tag).transpose().map_err(|error| Refused::at(row, error))
    };
    let mut runs = Vec::with_capacity(count);
    // An id is there once, so the runs are in the order of the rows.
    for (row, NamedRun { run_id, .. }) in ids.into_iter().enumerate() {
        let name = cut(RUN_NAME, text_of(given_names.as_ref(), row), row)?;
        runs.push(NewRun {
            run_id,
            experiment_id: experiments[homes.codes[row] as usize],
            name: name.unwrap_or_else(names::random),
            user_id: text_of(users.as_ref(), row).unwrap_or_default().to_owned(),
            status: code_of(statuses.as_ref(), row).map_or(RunStatus::Running, |code| states[code]),
            start_time: Timestamp::from_micros(starts[row]),
            end_time: (ends[row] >= 0).then(|| Timestamp::from_micros(ends[row])),
            parent: cut(PARENT_RUN_ID, text_of(parents.as_ref(), row), row)?,
        });
    }
    let experiments = homes.distinct.iter().zip(&experiments).map(|((_, row), id)| (*id, *row)).collect();
    let content = Content::Runs(RunRows { runs, experiments });
    Ok(Rows { count, runs: Vec::new(), homes: Vec::new(), content })
}

fn refuse_twice(run_ids: &Texts<'_>, ids: &[NamedRun]) -> Result<(), Refused> {
    let mut seen = vec![false; ids.len()];
    for (row, code) in run_ids.codes.iter().enumerate() {
        if std::mem::replace(&mut seen[*code as usize], true) {
            let NamedRun { run_id, row: first } = &ids[*code as usize];
            return Err(Refused::invalid(row, format!("the run {run_id} is there twice, first in row {first}")));
        }
    }
    Ok(())
}

fn statuses_of(statuses: Option<&Texts<'_>>) -> Result<Vec<RunStatus>, Refused> {
    let read = |(text, row): &(&str, usize)| match RunStatus::parse(text) {
        Some(status) => Ok(status),
        // The empty text stands for none, and is not asked for.
        None if text.is_empty() => Ok(RunStatus::Running),
        None => {
            let known = "RUNNING, SCHEDULED, FINISHED, FAILED, KILLED";
            Err(Refused::invalid(*row, format!("{} is no status of a run; there are {known}", text::quoted(text))))
        }
    };
    statuses.map_or(Ok(Vec::new()), |statuses| statuses.distinct.iter().map(read).collect())
}

fn code_of(texts: Option<&Texts<'_>>, row: usize) -> Option<usize> {
    texts.map(|texts| texts.codes[row]).filter(|code| *code != NONE).map(|code| code as usize)
}

fn text_of<'a>(texts: Option<&Texts<'a>>, row: usize) -> Option<&'a str> {
    Some(texts?.distinct[code_of(texts, row)?].0)
}

impl RunRows {
    pub(super) fn experiments(&self) -> &[(ExperimentId, usize)] {
        &self.experiments
    }

    pub(super) fn bytes(&self) -> usize {
        let texts = |run: &NewRun| run.name.len() + run.user_id.len() + run.parent.as_ref().map_or(0, String::len);
        self.runs.iter().map(|run| RUN_BYTES + 2 * texts(run)).sum()
    }
}

impl NewRun {
    fn into_state(self, home: &ExperimentInfo) -> RunState {
        let mut tags = BTreeMap::from([(RUN_NAME.to_owned(), self.name.clone())]);
        tags.extend(self.parent.clone().map(|parent| (PARENT_RUN_ID.to_owned(), parent)));
        let run = Run {
            artifact_uri: uri::below(&home.experiment.artifact_location, &[self.run_id.as_str(), "artifacts"]),
            run_id: self.run_id,
            experiment_id: self.experiment_id,
            run_name: self.name,
            user_id: self.user_id,
            status: self.status,
            start_time: Some(self.start_time),
            end_time: self.end_time,
            lifecycle_stage: Lifecycle::Active,
            deleted_time: None,
            parent_run_id: self.parent,
        };
        RunState { run, params: BTreeMap::new(), tags }
    }
}

impl Tracking {
    /// Makes runs: all of them or none. Returns when they are durable, as nobody may delete their experiments before, or
    /// make runs of the same ids.
    pub(super) async fn make_runs(&self, rows: RunRows, claim: Option<Claim>) -> Result<Ingested, Refused> {
        let count = rows.runs.len();
        let engine = &self.inner.engine;
        let ids: Vec<ExperimentId> = rows.experiments.iter().map(|(id, _)| *id).collect();
        let (homes, _gates) = self.homes(&ids).await.map_err(|(place, error)| {
            let row = rows.experiments[place].1;
            Refused::at(row, error)
        })?;
        let homes: HashMap<ExperimentId, Arc<ExperimentInfo>> = ids.into_iter().zip(homes).collect();
        let _alone = self.inner.making_runs.lock().await;
        self.refuse_known(&rows.runs).await?;
        let mut write = WriteBatch::default();
        if let Some(claim) = &claim {
            let (user_name, batch_id) = claim.name();
            let rows = i64::try_from(count).unwrap_or(i64::MAX);
            write.put(&IngestedBatch { user_name, batch_id, time: self.now(), rows });
        }
        let states: Vec<RunState> = rows
            .runs
            .into_iter()
            .map(|run| {
                let home = &homes[&run.experiment_id];
                run.into_state(home)
            })
            .collect();
        for state in &states {
            write.put(&state.run);
            for (key, value) in &state.tags {
                write.put(&tag_row(&state.run, key, value));
            }
        }
        let fate = Fate::of(engine.submit(write)?);
        let ids = claim.map(|claim| (self.clone(), claim.submitted(fate.clone())));
        fate.clone().await?;
        for state in states {
            engine.runs().insert(state);
        }
        Ok(Ingested { rows: count, fate: Some(fate), ids })
    }

    async fn refuse_known(&self, runs: &[NewRun]) -> Result<(), Refused> {
        let ids: Vec<RunId> = runs.iter().map(|run| run.run_id.clone()).collect();
        let known: Vec<Run> = self.inner.engine.view().of_runs(&ids).await?;
        let known: FxHashSet<RunId> = known.into_iter().map(|run| run.run_id).collect();
        match ids.iter().position(|id| known.contains(id)) {
            None => Ok(()),
            Some(row) => {
                let message =
                    format!("The run {} exists already. Its params, tags and metrics can be added to.", ids[row]);
                Err(Refused::at(row, Error::AlreadyExists(message)))
            }
        }
    }
}
