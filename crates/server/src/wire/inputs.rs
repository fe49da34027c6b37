//! What goes into runs and comes out of them.

use runlake_tracking::{DatasetInfo, DatasetInput, DatasetSummary, LogInputs, LogOutputs};
use serde::Serialize;

use super::{Fields, Pair, optional_text, read_pairs};
use crate::error::Result;

impl Fields {
    /// `runs/log-inputs`. A dataset needs a name and a digest: without them nothing could find it again.
    pub(crate) fn log_inputs(&self) -> Result<LogInputs> {
        let run_id = self.run_id()?;
        let datasets = self.objects("datasets")?.iter().map(Self::dataset_input).collect::<Result<_>>()?;
        let model_id = |model: &Self| model.required_text("model_id");
        let models = self.objects("models")?.iter().map(model_id).collect::<Result<_>>()?;
        Ok(LogInputs { run_id, datasets, models })
    }

    /// `runs/outputs`.
    pub(crate) fn log_outputs(&self) -> Result<LogOutputs> {
        let run_id = self.run_id()?;
        if !self.has("models") {
            return Err(self.missing("models"));
        }
        let output = |model: &Self| Ok((model.required_text("model_id")?, model.int("step")?.unwrap_or_default()));
        Ok(LogOutputs { run_id, models: self.objects("models")?.iter().map(output).collect::<Result<_>>()? })
    }

    fn dataset_input(&self) -> Result<DatasetInput> {
        let dataset = self.object("dataset")?.ok_or_else(|| self.missing("dataset"))?;
        Ok(DatasetInput {
            tags: read_pairs(self, "tags")?,
            dataset: DatasetInfo {
                name: dataset.required_text("name")?,
                digest: dataset.required_text("digest")?,
                source_type: dataset.text("source_type")?.unwrap_or_default(),
                source: dataset.text("source")?.unwrap_or_default(),
                schema: optional_text(&dataset, "schema")?,
                profile: optional_text(&dataset, "profile")?,
            },
        })
    }
}

/// A dataset that went into a run.
#[derive(Debug, Serialize)]
pub(crate) struct DatasetInputAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
    dataset: DatasetAnswer<'a>,
}

#[derive(Debug, Serialize)]
struct DatasetAnswer<'a> {
    name: &'a str,
    digest: &'a str,
    source_type: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
}

impl<'a> From<&'a DatasetInput> for DatasetInputAnswer<'a> {
    fn from(input: &'a DatasetInput) -> Self {
        let dataset = &input.dataset;
        Self {
            tags: Pair::of_pairs(&input.tags),
            dataset: DatasetAnswer {
                name: &dataset.name,
                digest: &dataset.digest,
                source_type: &dataset.source_type,
                source: &dataset.source,
                schema: dataset.schema.as_deref(),
                profile: dataset.profile.as_deref(),
            },
        }
    }
}

/// Answer of `experiments/search-datasets`.
#[derive(Debug, Serialize)]
pub(crate) struct DatasetsAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dataset_summaries: Vec<SummaryAnswer<'a>>,
}

#[derive(Debug, Serialize)]
struct SummaryAnswer<'a> {
    experiment_id: String,
    name: &'a str,
    digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

impl<'a> From<&'a [DatasetSummary]> for DatasetsAnswer<'a> {
    fn from(summaries: &'a [DatasetSummary]) -> Self {
        let answer = |summary: &'a DatasetSummary| SummaryAnswer {
            experiment_id: summary.experiment_id.to_string(),
            name: &summary.name,
            digest: &summary.digest,
            context: summary.context.as_deref(),
        };
        Self { dataset_summaries: summaries.iter().map(answer).collect() }
    }
}
