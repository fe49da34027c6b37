//! Points in bulk: series are told apart by the numbers of their texts, so that a row costs no hash of text and no
//! allocation.

use std::sync::Arc;

use arrow_array::RecordBatch;
use runlake_engine::RunGuard;
use runlake_types::rows::LoggedModelMetric;
use runlake_types::{Attribution, MetricBatch, ModelId, Series, Timestamp, WriteBatch};
use rustc_hash::FxHashMap;

use super::texts::{NONE, Texts};
use super::{Content, NamedRun, Refused, Rows, columns, homes_of, runs_of};
use crate::validate;

/// Memory of a point and of a series on their way, roughly.
const POINT_BYTES: usize = 32;
const SERIES_BYTES: usize = 256;
/// Memory of a point that is also kept with its logged model.
const MODEL_POINT_BYTES: usize = 600;

/// Checked points.
#[derive(Debug)]
pub(super) struct MetricRows {
    series: Vec<SeriesOf>,
    index: Vec<u32>,
    steps: Vec<i64>,
    times: Vec<i64>,
    values: Vec<f64>,
    models: Vec<(String, usize)>,
}

/// A series of one of the batch's runs.
#[derive(Debug)]
struct SeriesOf {
    run: u32,
    key: Arc<str>,
    attribution: Option<Arc<Attribution>>,
}

pub(super) fn read(batch: &RecordBatch, now: Timestamp) -> Result<Rows, Refused> {
    let run_ids = Texts::required(batch, "run_id")?;
    let runs = runs_of(&run_ids)?;
    let homes = homes_of(batch, &run_ids)?;
    let keys = Texts::required(batch, "key")?;
    for (key, row) in &keys.distinct {
        let checked = validate::key(key, || "key".into()).and_then(|()| validate::metric_key_length(key));
        checked.map_err(|error| Refused::at(*row, error))?;
    }
    let count = batch.num_rows();
    let values = columns::values(columns::required(batch, "value")?)?;
    let steps = columns::steps(columns::column(batch, "step"), count)?;
    let times = columns::times(columns::column(batch, "timestamp"), count, "timestamp", now.micros())?;
    let attributions = Attributions::read(batch)?;
    let (series, index) = number(&runs, &run_ids, &keys, &attributions);
    let content = MetricRows { series, index, steps, times, values, models: attributions.models };
    Ok(Rows { count, runs, homes, content: Content::Metrics(content) })
}

impl MetricRows {
    pub(super) fn models(&self) -> &[(String, usize)] {
        &self.models
    }

    pub(super) fn bytes(&self) -> usize {
        let of_models = if self.models.is_empty() { 0 } else { MODEL_POINT_BYTES * self.values.len() };
        POINT_BYTES * self.values.len() + SERIES_BYTES * self.series.len() + of_models
    }

    /// Adds the points to a write; returns the bytes that the states of the runs grew by: none.
    pub(super) fn write(self, guards: &mut [RunGuard<'_>], guard_of: &[usize], write: &mut WriteBatch) -> usize {
        let series: Vec<Series> = self
            .series
            .into_iter()
            .map(|series| {
                let run = &guards[guard_of[series.run as usize]].run;
                Series {
                    run_id: run.run_id.clone(),
                    experiment_id: run.experiment_id,
                    key: series.key,
                    attribution: series.attribution,
                }
            })
            .collect();
        write.metrics = MetricBatch::of_columns(series, self.index, self.steps, self.times, self.values);
        if !self.models.is_empty() {
            keep_with_models(write);
        }
        0
    }
}

/// Points that belong to logged models are kept there as well, each of them.
fn keep_with_models(write: &mut WriteBatch) {
    let WriteBatch { metrics, changes } = write;
    for (number, point) in metrics.points() {
        let series = &metrics.series()[number as usize];
        let Some(attribution) = series.attribution.as_deref() else { continue };
        let Some(model_id) = &attribution.model_id else { continue };
        changes.push(runlake_types::Change::put(&LoggedModelMetric {
            model_id: ModelId::from_stored(model_id),
            key: series.key.to_string(),
            timestamp: point.timestamp,
            step: point.step,
            run_id: series.run_id.clone(),
            experiment_id: series.experiment_id,
            value: point.value,
            dataset_name: attribution.dataset_name.clone(),
            dataset_digest: attribution.dataset_digest.clone(),
        }));
    }
}

/// What points were measured on: each distinct one once, and for each row which; no codes where no row says.
#[derive(Debug, Default)]
struct Attributions {
    codes: Vec<u32>,
    distinct: Vec<Option<Arc<Attribution>>>,
    models: Vec<(String, usize)>,
}

impl Attributions {
    fn read(batch: &RecordBatch) -> Result<Self, Refused> {
        let parts = [
            Texts::optional(batch, "model_id")?,
            Texts::optional(batch, "dataset_name")?,
            Texts::optional(batch, "dataset_digest")?,
        ];
        if parts.iter().flatten().all(|texts| texts.codes.iter().all(|code| *code == NONE)) {
            return Ok(Self { distinct: vec![None], ..Self::default() });
        }
        let models = parts[0].iter().flat_map(|texts| &texts.distinct);
        let models = models.filter(|(model, _)| !model.is_empty()).map(|(model, row)| ((*model).to_owned(), *row));
        let mut attributions = Self { models: models.collect(), ..Self::default() };
        let mut known: FxHashMap<[u32; 3], u32> = FxHashMap::default();
        let mut last = None;
        for row in 0..batch.num_rows() {
            let triple = parts.each_ref().map(|texts| texts.as_ref().map_or(NONE, |texts| texts.codes[row]));
            let code = match last {
                Some((same, code)) if same == triple => code,
                _ => *known.entry(triple).or_insert_with(|| {
                    attributions.distinct.push(attribution(&parts, triple));
                    code_of(attributions.distinct.len() - 1)
                }),
            };
            last = Some((triple, code));
            attributions.codes.push(code);
        }
        Ok(attributions)
    }

    fn code(&self, row: usize) -> u32 {
        self.codes.get(row).copied().unwrap_or(0)
    }
}

fn attribution(parts: &[Option<Texts<'_>>; 3], triple: [u32; 3]) -> Option<Arc<Attribution>> {
    let text = |part: usize| {
        let texts = parts[part].as_ref().filter(|_| triple[part] != NONE)?;
        Some(texts.distinct[triple[part] as usize].0.to_owned())
    };
    (triple != [NONE; 3])
        .then(|| Arc::new(Attribution { model_id: text(0), dataset_name: text(1), dataset_digest: text(2) }))
}

/// A batch has far fewer rows than there are numbers.
fn code_of(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}

/// Numbers the series in the order in which rows name them.
fn number(
    runs: &[NamedRun],
    run_ids: &Texts<'_>,
    keys: &Texts<'_>,
    attributions: &Attributions,
) -> (Vec<SeriesOf>, Vec<u32>) {
    let rows = run_ids.codes.len();
    let shared: Vec<Arc<str>> = keys.distinct.iter().map(|(key, _)| Arc::from(*key)).collect();
    let mut numbers = Numbers::new([runs.len(), shared.len(), attributions.distinct.len()], rows);
    let mut series = Vec::new();
    let mut index = Vec::with_capacity(rows);
    let mut last = None;
    for (row, (run, key)) in run_ids.codes.iter().zip(&keys.codes).enumerate() {
        let triple = [*run, *key, attributions.code(row)];
        let number = match last {
            Some((same, number)) if same == triple => number,
            _ => *numbers.slot(triple, code_of(series.len())),
        };
        if number as usize == series.len() {
            series.push(SeriesOf {
                run: *run,
                key: Arc::clone(&shared[*key as usize]),
                attribution: attributions.distinct[triple[2] as usize].clone(),
            });
        }
        last = Some((triple, number));
        index.push(number);
    }
    (series, index)
}

/// Numbers of series by the numbers of their parts: a table where that is small beside the batch, else a map.
enum Numbers {
    Table { slots: Vec<u32>, strides: [usize; 2] },
    Map(FxHashMap<[u32; 3], u32>),
}

impl Numbers {
    fn new(sizes: [usize; 3], rows: usize) -> Self {
        let slots = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        match slots {
            Some(slots) if slots <= 4 * rows.max(1024) => {
                Self::Table { slots: vec![NONE; slots], strides: [sizes[1] * sizes[2], sizes[2]] }
            }
            _ => Self::Map(FxHashMap::default()),
        }
    }

    /// The number of a series, `new` if it has none yet.
    fn slot(&mut self, [run, key, attribution]: [u32; 3], new: u32) -> &u32 {
        match self {
            Self::Table { slots, strides } => {
                let slot = &mut slots[run as usize * strides[0] + key as usize * strides[1] + attribution as usize];
                if *slot == NONE {
                    *slot = new;
                }
                slot
            }
            Self::Map(map) => map.entry([run, key, attribution]).or_insert(new),
        }
    }
}
