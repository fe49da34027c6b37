//! Datasets and models that go into runs, models that come out of them.

use std::collections::BTreeSet;

use runlake_engine::View;
use runlake_types::rows::{Dataset, Row as _, Run, RunInput, RunOutput};
use runlake_types::{ExperimentId, KeyBuilder, ModelId, limits};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::runs::{SMALL_WRITE_BYTES, check_active};
use crate::{
    DatasetInfo, DatasetInput, DatasetSummary, Error, LogInputs, LogOutputs, ModelOutput, Result, Tracking, validate,
};

const DATASET: &str = "DATASET";
const MODEL: &str = "MODEL";
/// The input's tag that says what the dataset was used for.
const CONTEXT: &str = "mlflow.data.context";

impl Tracking {
    /// Records datasets and models that go into a run. A dataset is one by its name and digest within the experiment: what
    /// was said of it first stays. One that the run has already is passed over, its tags too.
    pub async fn log_inputs(&self, request: LogInputs) -> Result<()> {
        validate::run_id(&request.run_id)?;
        validate::dataset_inputs(&request.datasets)?;
        let view = self.inner.engine.view();
        let run = self.run_row(&view, &request.run_id).await?;
        check_active(&run)?;
        let had = view.of_run::<RunInput>(&run.run_id).await?;
        let mut had: FxHashSet<String> =
            had.into_iter().filter(|input| input.input_type == DATASET).map(|input| input.input_id).collect();
        let mut datasets = Vec::new();
        let mut inputs = Vec::new();
        for input in request.datasets {
            let dataset = dataset_row(run.experiment_id, input.dataset);
            if !had.insert(dataset.dataset_id.clone()) {
                continue;
            }
            inputs.push(input_row(&run, &dataset, input.tags));
            if view.get::<Dataset>(&dataset.key()).await?.is_none() {
                datasets.push(dataset);
            }
        }
        inputs.extend(request.models.into_iter().map(|model_id| model_input_row(&run, model_id)));
        self.change_run(&request.run_id, SMALL_WRITE_BYTES * (1 + inputs.len()), |state, write| {
            check_active(&state.run)?;
            for dataset in &datasets {
                write.put(dataset);
            }
            for input in &inputs {
                write.put(input);
            }
            Ok(())
        })
        .await
    }

    /// Records logged models that came out of a run.
    pub async fn log_outputs(&self, request: LogOutputs) -> Result<()> {
        self.change_run(&request.run_id, SMALL_WRITE_BYTES + 256 * request.models.len(), |state, write| {
            check_active(&state.run)?;
            for (model_id, step) in &request.models {
                write.put(&RunOutput {
                    run_id: state.run.run_id.clone(),
                    model_id: ModelId::from_stored(model_id),
                    experiment_id: state.run.experiment_id,
                    step: *step,
                });
            }
            Ok(())
        })
        .await
    }

    /// Datasets in use in some experiments, each combination of name, digest and context once.
    pub async fn search_datasets(&self, experiment_ids: &[String]) -> Result<Vec<DatasetSummary>> {
        let refuse = |why: String| Err(Error::invalid(format!("SearchDatasets request {why}")));
        if experiment_ids.is_empty() {
            return refuse("must specify at least one experiment_id.".into());
        }
        let (given, most) = (experiment_ids.len(), limits::DATASET_SEARCH_EXPERIMENTS);
        if given > most {
            return refuse(format!("cannot specify more than {most} experiment_ids. Received {given} experiment_ids."));
        }
        let experiments = known_ids(experiment_ids)?;
        let view = self.inner.engine.view();
        let mut summaries = BTreeSet::new();
        for input in view.scan::<RunInput>(&KeyBuilder::default().build()).await? {
            if !experiments.contains(&input.experiment_id) || input.input_type != DATASET {
                continue;
            }
            let context = input.tags.into_iter().find(|(key, _)| key == CONTEXT).map(|(_, value)| value);
            summaries.insert(DatasetSummary {
                experiment_id: input.experiment_id,
                name: input.dataset_name.unwrap_or_default(),
                digest: input.dataset_digest.unwrap_or_default(),
                context,
            });
        }
        Ok(summaries.into_iter().take(limits::DATASET_SEARCH_ROWS).collect())
    }

    /// What went into a run, its datasets by name and digest.
    pub(crate) async fn inputs_of(&self, view: &View, rows: Vec<RunInput>) -> Result<Inputs> {
        let mut found = self.inputs_of_many(view, vec![rows]).await?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The same for many runs; a dataset that several use is read once.
    pub(crate) async fn inputs_of_many(&self, view: &View, rows: Vec<Vec<RunInput>>) -> Result<Vec<Inputs>> {
        let mut known: FxHashMap<(ExperimentId, String), DatasetInfo> = FxHashMap::default();
        let mut all = Vec::with_capacity(rows.len());
        for rows in rows {
            let mut inputs = Inputs::default();
            for row in rows {
                if row.input_type == MODEL {
                    inputs.models.push(ModelId::from_stored(&row.input_id));
                    continue;
                }
                let at = (row.experiment_id, row.input_id.clone());
                let dataset = if let Some(dataset) = known.get(&at) {
                    dataset.clone()
                } else {
                    let dataset = dataset_of(view, &row).await?;
                    known.insert(at, dataset.clone());
                    dataset
                };
                inputs.datasets.push(DatasetInput { dataset, tags: row.tags });
            }
            inputs
                .datasets
                .sort_by(|a, b| (&a.dataset.name, &a.dataset.digest).cmp(&(&b.dataset.name, &b.dataset.digest)));
            all.push(inputs);
        }
        Ok(all)
    }
}

/// What went into a run.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) datasets: Vec<DatasetInput>,
    pub(crate) models: Vec<ModelId>,
}

impl From<RunOutput> for ModelOutput {
    fn from(row: RunOutput) -> Self {
        Self { model_id: row.model_id, step: row.step }
    }
}

/// Experiment ids of a request: what is no number is refused, what no experiment has is passed over.
pub(crate) fn known_ids(experiment_ids: &[String]) -> Result<FxHashSet<ExperimentId>> {
    let mut known = FxHashSet::default();
    for id in experiment_ids {
        match validate::experiment_id(id) {
            Ok(id) => {
                known.insert(id);
            }
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

async fn dataset_of(view: &View, input: &RunInput) -> Result<DatasetInfo> {
    let name = input.dataset_name.clone().unwrap_or_default();
    let digest = input.dataset_digest.clone().unwrap_or_default();
    let experiment = input.experiment_id.to_string();
    let key = KeyBuilder::default().text(&experiment).text(&name).text(&digest).build();
    let row = view.get::<Dataset>(&key).await?;
    let known = row.map(|row| (row.source_type, row.source, row.schema, row.profile));
    let (source_type, source, schema, profile) = known.unwrap_or_default();
    Ok(DatasetInfo { name, digest, source_type, source, schema, profile })
}

fn dataset_row(experiment_id: ExperimentId, dataset: DatasetInfo) -> Dataset {
    Dataset {
        experiment_id,
        dataset_id: dataset_id(experiment_id, &dataset.name, &dataset.digest),
        name: dataset.name,
        digest: dataset.digest,
        source_type: dataset.source_type,
        source: dataset.source,
        schema: dataset.schema,
        profile: dataset.profile,
    }
}

fn input_row(run: &Run, dataset: &Dataset, tags: Vec<(String, String)>) -> RunInput {
    RunInput {
        run_id: run.run_id.clone(),
        input_type: DATASET.into(),
        input_id: dataset.dataset_id.clone(),
        experiment_id: run.experiment_id,
        dataset_name: Some(dataset.name.clone()),
        dataset_digest: Some(dataset.digest.clone()),
        tags,
    }
}

fn model_input_row(run: &Run, model_id: String) -> RunInput {
    RunInput {
        run_id: run.run_id.clone(),
        input_type: MODEL.into(),
        input_id: model_id,
        experiment_id: run.experiment_id,
        dataset_name: None,
        dataset_digest: None,
        tags: Vec::new(),
    }
}

/// Id of a dataset: follows from what it is one by, so that runs which log it at the same time agree on it.
/// FNV-1a of 128 bits, as 32 hex digits.
fn dataset_id(experiment_id: ExperimentId, name: &str, digest: &str) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let experiment = experiment_id.to_string();
    let bytes = [experiment.as_bytes(), &[0], name.as_bytes(), &[0], digest.as_bytes()].concat();
    let hash = bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests;
