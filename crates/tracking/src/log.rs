//! Writing to a run: metrics, params, tags.
//!
//! A batch is checked in MLflow's order: contents (metrics, params, tags), sizes, params given twice, then the run and
//! what it holds already. Nothing of a refused batch is written.

use std::sync::Arc;

use runlake_engine::RunState;
use runlake_types::rows::{LoggedModel, LoggedModelMetric, Param, Row as _, Run};
use runlake_types::{Attribution, KeyBuilder, ModelId, Point, RunId, Series, TableId, Timestamp, WriteBatch};
use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::runs::{PARENT_RUN_ID, SMALL_WRITE_BYTES, check_active, no_run, set_tag, tag_row};
use crate::validate::{self, Path, present};
use crate::{Error, KeyValue, LogBatch, MetricInput, Result, Tracking, text};

/// The tag that lists the models logged to a run, for clients before MLflow 3.
const LOGGED_MODELS: &str = "mlflow.log-model.history";
/// Memory one point takes on its way, roughly.
const POINT_BYTES: usize = 64;

impl Tracking {
    /// Logs metrics, params and tags of one run: all of them or none.
    pub async fn log_batch(&self, batch: LogBatch<'_>) -> Result<()> {
        validate::run_id(batch.run_id)?;
        let points = Points::check(batch.metrics, |index| Path::At("metrics", index))?;
        let cut = self.settings().truncate_long_values;
        let params = checked(batch.params, |index, param| validate::param(param, Path::At("params", index), cut))?;
        let tags = checked(batch.tags, |index, tag| validate::tag(tag, Path::At("tags", index), cut))?;
        validate::batch_limits(batch.metrics.len(), params.len(), tags.len())?;
        validate::params_unique(&params)?;
        self.check_models(batch.run_id, &points).await?;
        let text = params.iter().chain(&tags).map(|(key, value)| 2 * (key.len() + value.len()) + 256).sum::<usize>();
        let bytes = SMALL_WRITE_BYTES + text + POINT_BYTES * points.inputs.len();
        self.change_run(batch.run_id, bytes, |state, write| {
            check_active(&state.run)?;
            check_unchanged(state, &params)?;
            points.write(&state.run, write);
            for (key, value) in &params {
                add_param(state, write, key, value);
            }
            let mut row_changed = false;
            for (key, value) in &tags {
                row_changed |= set_tag(state, write, key, value);
            }
            if row_changed {
                write.put(&state.run);
            }
            Ok(())
        })
        .await
    }

    /// Logs one metric point.
    pub async fn log_metric(&self, run_id: &str, metric: MetricInput<'_>) -> Result<()> {
        let metrics = [metric];
        let points = Points::check(&metrics, |_| Path::Top)?;
        self.check_models(run_id, &points).await?;
        self.change_run(run_id, POINT_BYTES, |state, write| {
            check_active(&state.run)?;
            points.write(&state.run, write);
            Ok(())
        })
        .await
    }

    /// Logs one param.
    pub async fn log_param(&self, run_id: &str, key: &str, value: &str) -> Result<()> {
        let given = KeyValue { key, value };
        let value = validate::param(&given, Path::Top, self.settings().truncate_long_values)?;
        self.change_run(run_id, SMALL_WRITE_BYTES + value.len(), |state, write| {
            check_active(&state.run)?;
            match state.params.get(key) {
                Some(old) if old != value => Err(Error::invalid(format!(
                    "Changing param values is not allowed. Param with key='{key}' was already logged with \
                     value='{old}' for run ID='{run_id}'. Attempted logging new value '{value}'."
                ))),
                _ => {
                    add_param(state, write, key, value);
                    Ok(())
                }
            }
        })
        .await
    }

    /// Sets one tag.
    pub async fn set_tag(&self, run_id: &str, key: &str, value: &str) -> Result<()> {
        let given = KeyValue { key, value };
        let value = validate::tag(&given, Path::Top, self.settings().truncate_long_values)?;
        self.change_run(run_id, SMALL_WRITE_BYTES + value.len(), |state, write| {
            check_active(&state.run)?;
            if set_tag(state, write, key, value) {
                write.put(&state.run);
            }
            Ok(())
        })
        .await
    }

    /// Deletes one tag.
    pub async fn delete_tag(&self, run_id: &str, key: &str) -> Result<()> {
        self.change_run(run_id, SMALL_WRITE_BYTES, |state, write| {
            check_active(&state.run)?;
            if state.tags.remove(key).is_none() {
                return Err(Error::not_found(format!("No tag with name: {key} in run with id {run_id}")));
            }
            write.delete(TableId::Tags, tag_row(&state.run, key, "").key());
            if key == PARENT_RUN_ID {
                state.run.parent_run_id = None;
                write.put(&state.run);
            }
            Ok(())
        })
        .await
    }

    /// Legacy `runs/log-model`: appends the model, JSON text, to the run's tag `mlflow.log-model.history`.
    pub async fn log_model(&self, run_id: &str, model_json: &str) -> Result<()> {
        let summary = model_summary(model_json)?;
        self.change_run(run_id, SMALL_WRITE_BYTES + 2 * model_json.len(), |state, write| {
            check_active(&state.run)?;
            let mut history = match state.tags.get(LOGGED_MODELS) {
                None => Vec::new(),
                Some(text) => serde_json::from_str::<Vec<Value>>(text).map_err(|error| {
                    Error::invalid(format!(
                        "The run's tag '{LOGGED_MODELS}' is no list of models ({error}); delete it."
                    ))
                })?,
            };
            history.push(summary);
            let value = Value::Array(history).to_string();
            if !self.settings().truncate_long_values {
                validate::tag(&KeyValue { key: LOGGED_MODELS, value: &value }, Path::Top, false)?;
            }
            // Never cut: half a list would be none.
            set_tag(state, write, LOGGED_MODELS, &value);
            Ok(())
        })
        .await
    }

    /// That the models points are attached to exist. Those seen once are remembered: models are never removed.
    async fn check_models(&self, run_id: &str, points: &Points<'_>) -> Result<()> {
        // Collected before the first await, so that the future is `Send` for callers of any lifetime.
        let models: Vec<&str> = points.series.iter().filter_map(|series| series.model_id).collect();
        if models.is_empty() {
            return Ok(());
        }
        if self.inner.engine.runs().get(&RunId::from_stored(run_id)).await?.is_none() {
            return Err(no_run(run_id));
        }
        for model_id in models {
            self.check_model(model_id).await?;
        }
        Ok(())
    }

    /// That a model points are attached to exists.
    pub(crate) async fn check_model(&self, model_id: &str) -> Result<()> {
        if self.inner.known_models.contains(model_id) {
            return Ok(());
        }
        let key = KeyBuilder::default().text(model_id).build();
        if self.inner.engine.view().get::<LoggedModel>(&key).await?.is_none() {
            return Err(Error::invalid(format!("Logged model with ID '{model_id}' not found.")));
        }
        self.inner.known_models.insert(model_id);
        Ok(())
    }
}

/// Checks each of a list and returns keys with their values, perhaps cut.
fn checked<'a>(
    pairs: &[KeyValue<'a>],
    check: impl Fn(usize, &KeyValue<'a>) -> Result<&'a str>,
) -> Result<Vec<(&'a str, &'a str)>> {
    pairs.iter().enumerate().map(|(index, pair)| Ok((pair.key, check(index, pair)?))).collect()
}

fn check_unchanged(state: &RunState, params: &[(&str, &str)]) -> Result<()> {
    let changed: Vec<String> = params
        .iter()
        .filter_map(|(key, new)| {
            let old = state.params.get(*key).filter(|old| old != new)?;
            let (key, old, new) = (text::quoted(key), text::quoted(old), text::quoted(new));
            Some(format!("{{'key': {key}, 'old_value': {old}, 'new_value': {new}}}"))
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Changing param values is not allowed. Params were already logged='[{}]' for run ID='{}'.",
        changed.join(", "),
        state.run.run_id
    )))
}

/// Adds a param unless it is there, which the caller has seen to be the same.
pub(crate) fn add_param(state: &mut RunState, write: &mut WriteBatch, key: &str, value: &str) {
    if state.params.contains_key(key) {
        return;
    }
    write.put(&Param {
        run_id: state.run.run_id.clone(),
        key: key.to_owned(),
        experiment_id: state.run.experiment_id,
        value: value.to_owned(),
    });
    state.params.insert(key.to_owned(), value.to_owned());
}

/// Checked points, their distinct series told apart.
struct Points<'a> {
    inputs: &'a [MetricInput<'a>],
    series: Vec<SeriesOf<'a>>,
    /// For each point the number of its series.
    index: Vec<u32>,
}

/// What makes a series within one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SeriesOf<'a> {
    key: &'a str,
    model_id: Option<&'a str>,
    dataset_name: Option<&'a str>,
    dataset_digest: Option<&'a str>,
}

impl<'a> SeriesOf<'a> {
    fn of(input: &'a MetricInput<'a>) -> Self {
        Self {
            key: &input.key,
            model_id: present(input.model_id.as_ref()),
            dataset_name: present(input.dataset_name.as_ref()),
            dataset_digest: present(input.dataset_digest.as_ref()),
        }
    }

    fn attribution(&self) -> Option<Arc<Attribution>> {
        let some = self.model_id.is_some() || self.dataset_name.is_some() || self.dataset_digest.is_some();
        some.then(|| {
            Arc::new(Attribution {
                model_id: self.model_id.map(str::to_owned),
                dataset_name: self.dataset_name.map(str::to_owned),
                dataset_digest: self.dataset_digest.map(str::to_owned),
            })
        })
    }
}

impl<'a> Points<'a> {
    /// Checks points; `path` says how messages name the one at an index.
    fn check(inputs: &'a [MetricInput<'a>], path: impl Fn(usize) -> Path) -> Result<Self> {
        let mut points = Self { inputs, series: Vec::new(), index: Vec::with_capacity(inputs.len()) };
        let mut known: FxHashMap<SeriesOf<'a>, u32> = FxHashMap::default();
        let mut last: Option<(SeriesOf<'a>, u32)> = None;
        for (at, input) in inputs.iter().enumerate() {
            let series = SeriesOf::of(input);
            let number = match last {
                Some((same, number)) if same == series => Some(number),
                _ => known.get(&series).copied(),
            };
            if number.is_none() {
                validate::metric_key(series.key, path(at))?;
            }
            validate::metric_time(input, path(at))?;
            let number = if let Some(number) = number {
                number
            } else {
                validate::metric_key_length(series.key)?;
                let number = u32::try_from(points.series.len()).expect("a request has far fewer series");
                points.series.push(series);
                known.insert(series, number);
                number
            };
            last = Some((series, number));
            points.index.push(number);
        }
        Ok(points)
    }

    /// Adds the points to a write.
    fn write(&self, run: &Run, write: &mut WriteBatch) {
        write.metrics = runlake_types::MetricBatch::with_capacity(self.inputs.len());
        for series in &self.series {
            write.metrics.add_series(Series {
                run_id: run.run_id.clone(),
                experiment_id: run.experiment_id,
                key: series.key.into(),
                attribution: series.attribution(),
            });
        }
        for (input, number) in self.inputs.iter().zip(&self.index) {
            let timestamp = Timestamp::from_millis(input.timestamp_ms).unwrap_or_default();
            write.metrics.push(*number, Point { step: input.step, timestamp, value: input.value });
            let series = &self.series[*number as usize];
            if let Some(model_id) = series.model_id {
                write.put(&LoggedModelMetric {
                    model_id: ModelId::from_stored(model_id),
                    key: series.key.to_owned(),
                    timestamp,
                    step: input.step,
                    run_id: run.run_id.clone(),
                    experiment_id: run.experiment_id,
                    value: input.value,
                    dataset_name: series.dataset_name.map(str::to_owned),
                    dataset_digest: series.dataset_digest.map(str::to_owned),
                });
            }
        }
    }
}

/// What the history of models keeps of one: its coordinates, and its flavors without their configuration.
fn model_summary(model_json: &str) -> Result<Value> {
    let Ok(model) = serde_json::from_str::<Value>(model_json) else {
        return Err(Error::invalid(format!("Malformed model info. \n {model_json} \n is not a valid JSON.")));
    };
    let Value::Object(mut model) = model else {
        return Err(Error::invalid("Malformed model info: it must be a JSON object."));
    };
    let missing: Vec<&str> = ["artifact_path", "flavors", "run_id", "utc_time_created"]
        .into_iter()
        .filter(|field| !model.contains_key(*field))
        .collect();
    if !missing.is_empty() {
        let missing = text::quoted_list(missing);
        let missing = missing.trim_matches(['[', ']']);
        return Err(Error::invalid(format!("Model json is missing mandatory fields: {{{missing}}}")));
    }
    let uuid = || Value::String(RunId::generate().as_str().to_owned());
    let mut summary = serde_json::Map::new();
    for field in ["run_id", "artifact_path", "utc_time_created"] {
        summary.insert(field.into(), model.remove(field).unwrap_or_default());
    }
    summary.insert("model_uuid".into(), model.remove("model_uuid").unwrap_or_else(uuid));
    let mut flavors = model.remove("flavors").unwrap_or_default();
    for flavor in flavors.as_object_mut().into_iter().flat_map(|flavors| flavors.values_mut()) {
        if let Some(settings) = flavor.as_object_mut() {
            settings.remove("config");
        }
    }
    summary.insert("flavors".into(), flavors);
    Ok(Value::Object(summary))
}

#[cfg(test)]
mod tests;
