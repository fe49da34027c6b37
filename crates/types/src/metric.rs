//! Metric points in columns, and what is derived from them.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::ArrowError;

use crate::{ExperimentId, RunId, SchemaError, Timestamp};

/// What a point was measured on, where that was said: a logged model, a dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attribution {
    /// Id of the logged model the point belongs to.
    pub model_id: Option<String>,
    /// Name of the dataset it was measured on.
    pub dataset_name: Option<String>,
    /// Digest of that dataset.
    pub dataset_digest: Option<String>,
}

/// One metric of one run: what the points of a [`MetricBatch`] refer to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Series {
    /// The run.
    pub run_id: RunId,
    /// The run's experiment.
    pub experiment_id: ExperimentId,
    /// The metric's key.
    pub key: Arc<str>,
    /// What it was measured on; `None` for most points.
    pub attribution: Option<Arc<Attribution>>,
}

/// One measured value.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Training step; may be negative.
    pub step: i64,
    /// When it was logged.
    pub timestamp: Timestamp,
    /// The value; NaN and infinities are kept as such.
    pub value: f64,
}

impl Point {
    /// Order of `metrics` files within a series, total also over NaN. Points that compare equal are one point.
    pub fn file_order(&self, other: &Self) -> Ordering {
        (self.step, self.timestamp).cmp(&(other.step, other.timestamp)).then_with(|| self.value.total_cmp(&other.value))
    }

    /// Which of two points MLflow calls the latest: by step, then timestamp, then value, NaN counting as 0
    /// (`SqlAlchemyStore._update_latest_metrics_if_necessary` of 3.17).
    pub fn recency(&self, other: &Self) -> Ordering {
        let number = |value: f64| if value.is_nan() { 0.0 } else { value };
        (self.step, self.timestamp)
            .cmp(&(other.step, other.timestamp))
            .then_with(|| number(self.value).total_cmp(&number(other.value)))
    }
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        self.file_order(other).is_eq()
    }
}

impl Eq for Point {}

/// Points of any number of series, as columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricBatch {
    series: Vec<Series>,
    series_index: Vec<u32>,
    steps: Vec<i64>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

impl MetricBatch {
    /// An empty batch with room for `points`.
    pub fn with_capacity(points: usize) -> Self {
        Self {
            series: Vec::new(),
            series_index: Vec::with_capacity(points),
            steps: Vec::with_capacity(points),
            timestamps: Vec::with_capacity(points),
            values: Vec::with_capacity(points),
        }
    }

    /// A batch whose points refer to `series` by place.
    ///
    /// # Panics
    /// When the columns are not of one length, or a point refers to a series that is not there.
    pub fn of_columns(
        series: Vec<Series>,
        series_index: Vec<u32>,
        steps: Vec<i64>,
        timestamps: Vec<i64>,
        values: Vec<f64>,
    ) -> Self {
        let count = values.len();
        assert!(
            series_index.len() == count && steps.len() == count && timestamps.len() == count,
            "columns of different lengths"
        );
        assert!(
            series_index.iter().all(|index| (*index as usize) < series.len()),
            "points of series that are not there"
        );
        Self { series, series_index, steps, timestamps, values }
    }

    /// Makes `series` known and returns the number its points refer to it by.
    ///
    /// # Panics
    /// On more than `u32::MAX` series in one batch, which no door lets through.
    pub fn add_series(&mut self, series: Series) -> u32 {
        let index = u32::try_from(self.series.len()).expect("a batch has far fewer series");
        self.series.push(series);
        index
    }

    /// Adds a point of a series that [`Self::add_series`] numbered.
    pub fn push(&mut self, series: u32, point: Point) {
        debug_assert!((series as usize) < self.series.len());
        self.series_index.push(series);
        self.steps.push(point.step);
        self.timestamps.push(point.timestamp.micros());
        self.values.push(point.value);
    }

    /// Appends all of `other`.
    ///
    /// # Panics
    ///
    /// When this batch has more than `u32::MAX` series.
    pub fn append(&mut self, other: &Self) {
        let offset = u32::try_from(self.series.len()).expect("a group has far fewer series");
        self.series.extend_from_slice(&other.series);
        self.series_index.extend(other.series_index.iter().map(|index| index + offset));
        self.steps.extend_from_slice(&other.steps);
        self.timestamps.extend_from_slice(&other.timestamps);
        self.values.extend_from_slice(&other.values);
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The series that points refer to.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Number of each point's series, in the order of the points.
    pub fn series_index(&self) -> &[u32] {
        &self.series_index
    }

    /// Steps of the points.
    pub fn steps(&self) -> &[i64] {
        &self.steps
    }

    /// Times of the points, microseconds since the Unix epoch.
    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    /// Values of the points.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The points in the order they were pushed, with the number of their series.
    pub fn points(&self) -> impl ExactSizeIterator<Item = (u32, Point)> + '_ {
        (0..self.len()).map(|at| (self.series_index[at], self.point(at)))
    }

    /// The point that was pushed as number `at`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn point(&self, at: usize) -> Point {
        Point { step: self.steps[at], timestamp: Timestamp::from_micros(self.timestamps[at]), value: self.values[at] }
    }

    /// Memory the points and their series take, roughly.
    pub fn bytes(&self) -> usize {
        self.len() * 32
            + self
                .series
                .iter()
                .map(|series| std::mem::size_of::<Series>() + series.key.len() + series.run_id.as_str().len())
                .sum::<usize>()
    }

    /// The batch as two Arrow batches, for the WAL: the series, and the points that refer to them by row number.
    pub fn to_arrow(&self) -> Result<(RecordBatch, RecordBatch), SchemaError> {
        let points = RecordBatch::try_from_iter_with_nullable([
            ("series", Arc::new(UInt32Array::from(self.series_index.clone())) as ArrayRef, false),
            ("step", Arc::new(Int64Array::from(self.steps.clone())), false),
            ("timestamp", Arc::new(Int64Array::from(self.timestamps.clone())), false),
            ("value", Arc::new(Float64Array::from(self.values.clone())), false),
        ])
        .map_err(unfit)?;
        Ok((self.series_to_arrow()?, points))
    }

    /// The series alone as an Arrow batch.
    pub fn series_to_arrow(&self) -> Result<RecordBatch, SchemaError> {
        let mut run_ids = StringBuilder::with_capacity(self.series.len(), self.series.len() * 32);
        let mut keys = StringBuilder::with_capacity(self.series.len(), self.series.len() * 16);
        let mut model_ids = StringBuilder::new();
        let mut dataset_names = StringBuilder::new();
        let mut dataset_digests = StringBuilder::new();
        for series in &self.series {
            run_ids.append_value(&series.run_id);
            keys.append_value(&series.key);
            let attribution = series.attribution.as_deref();
            model_ids.append_option(attribution.and_then(|a| a.model_id.as_deref()));
            dataset_names.append_option(attribution.and_then(|a| a.dataset_name.as_deref()));
            dataset_digests.append_option(attribution.and_then(|a| a.dataset_digest.as_deref()));
        }
        let experiments = self.series.iter().map(|series| series.experiment_id.number());
        RecordBatch::try_from_iter_with_nullable([
            ("run_id", Arc::new(run_ids.finish()) as ArrayRef, false),
            ("experiment_id", Arc::new(UInt64Array::from_iter_values(experiments)), false),
            ("key", Arc::new(keys.finish()), false),
            ("model_id", Arc::new(model_ids.finish()), true),
            ("dataset_name", Arc::new(dataset_names.finish()), true),
            ("dataset_digest", Arc::new(dataset_digests.finish()), true),
        ])
        .map_err(unfit)
    }

    /// The batch back from [`Self::to_arrow`].
    pub fn from_arrow(series: &RecordBatch, points: &RecordBatch) -> Result<Self, SchemaError> {
        let batch = Self {
            series: Self::series_from_arrow(series)?,
            series_index: primitive::<UInt32Type>(points, "series")?,
            steps: primitive::<Int64Type>(points, "step")?,
            timestamps: primitive::<Int64Type>(points, "timestamp")?,
            values: primitive::<Float64Type>(points, "value")?,
        };
        match batch.series_index.iter().find(|index| **index as usize >= batch.series.len()) {
            Some(index) => {
                Err(SchemaError::new("metrics", format!("points refer to series {index}, which is not there")))
            }
            None => Ok(batch),
        }
    }

    /// The series back from [`Self::series_to_arrow`].
    pub fn series_from_arrow(series: &RecordBatch) -> Result<Vec<Series>, SchemaError> {
        let text = |name: &str| column(series, name)?.as_string_opt::<i32>().ok_or_else(|| wrong_type(name));
        let run_ids = text("run_id")?;
        let keys = text("key")?;
        let model_ids = text("model_id")?;
        let dataset_names = text("dataset_name")?;
        let dataset_digests = text("dataset_digest")?;
        let experiments = column(series, "experiment_id")?
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| wrong_type("experiment_id"))?;
        let some =
            |array: &arrow_array::StringArray, row: usize| array.is_valid(row).then(|| array.value(row).to_owned());
        let rows = (0..series.num_rows()).map(|row| {
            let attribution = Attribution {
                model_id: some(model_ids, row),
                dataset_name: some(dataset_names, row),
                dataset_digest: some(dataset_digests, row),
            };
            Series {
                run_id: RunId::from_stored(run_ids.value(row)),
                experiment_id: ExperimentId::new(experiments.value(row)),
                key: keys.value(row).into(),
                attribution: (attribution != Attribution::default()).then(|| Arc::new(attribution)),
            }
        });
        Ok(rows.collect())
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, SchemaError> {
    batch.column_by_name(name).ok_or_else(|| SchemaError::new("metrics", format!("column {name} is missing")))
}

fn primitive<T: arrow_array::types::ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
) -> Result<Vec<T::Native>, SchemaError> {
    let array = column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| wrong_type(name))?;
    Ok(array.values().to_vec())
}

fn wrong_type(name: &str) -> SchemaError {
    SchemaError::new("metrics", format!("column {name} has another type"))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unfit(error: ArrowError) -> SchemaError {
    SchemaError::new("metrics", error.to_string())
}

/// What is known of a series without its history; folds over points and merges with itself in any order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricAggregate {
    /// The latest point by [`Point::recency`].
    pub last: Point,
    /// Step and timestamp of the first point in file order: a point that comes after [`Self::last`] is surely new.
    pub first: (i64, Timestamp),
    /// Smallest value that is not NaN and the first step that reached it.
    pub min: Option<(f64, i64)>,
    /// Greatest value that is not NaN and the first step that reached it.
    pub max: Option<(f64, i64)>,
    /// Sum of all values.
    pub sum: f64,
    /// Number of points.
    pub count: u64,
}

impl MetricAggregate {
    /// Of a single point.
    pub fn of(point: Point) -> Self {
        let extreme = (!point.value.is_nan()).then_some((point.value, point.step));
        Self {
            last: point,
            first: (point.step, point.timestamp),
            min: extreme,
            max: extreme,
            sum: point.value,
            count: 1,
        }
    }

    /// Of many points; `None` when there is none.
    pub fn of_all(points: impl IntoIterator<Item = Point>) -> Option<Self> {
        points.into_iter().fold(None, |aggregate: Option<Self>, point| {
            Some(aggregate.map_or_else(|| Self::of(point), |sum| sum.merged(&Self::of(point))))
        })
    }

    /// Adds one point that is not in here yet.
    pub fn add(&mut self, point: Point) {
        *self = self.merged(&Self::of(point));
    }

    /// Adds one point that comes after all that are in here, in file order.
    pub fn add_later(&mut self, point: Point) {
        let Point { step, timestamp, value } = point;
        if (step, timestamp) > (self.last.step, self.last.timestamp) || point.recency(&self.last).is_gt() {
            self.last = point;
        }
        if !value.is_nan() {
            // At the same value the earlier step stays.
            if self.min.is_none_or(|(least, _)| value < least) {
                self.min = Some((value, step));
            }
            if self.max.is_none_or(|(greatest, _)| value > greatest) {
                self.max = Some((value, step));
            }
        }
        self.sum += value;
        self.count += 1;
    }

    /// Both together. The caller knows that they share no point.
    #[must_use]
    #[allow(clippy::float_cmp, reason = "only the very same value is a tie")]
    pub fn merged(&self, other: &Self) -> Self {
        let better = |a: Option<(f64, i64)>, b: Option<(f64, i64)>, wins: fn(&f64, &f64) -> bool| match (a, b) {
            (Some(a), Some(b)) if wins(&b.0, &a.0) || (b.0 == a.0 && b.1 < a.1) => Some(b),
            (None, b) => b,
            (a, _) => a,
        };
        Self {
            last: if other.last.recency(&self.last).is_gt() { other.last } else { self.last },
            first: self.first.min(other.first),
            min: better(self.min, other.min, f64::lt),
            max: better(self.max, other.max, f64::gt),
            sum: self.sum + other.sum,
            count: self.count + other.count,
        }
    }

    /// Whether the two may have points in common: only where their ranges of (step, timestamp) overlap.
    pub fn may_share_points(&self, other: &Self) -> bool {
        self.first <= (other.last.step, other.last.timestamp) && other.first <= (self.last.step, self.last.timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(step: i64, value: f64) -> Point {
        Point { step, timestamp: Timestamp::from_micros(step), value }
    }

    #[test]
    fn latest_is_by_step_then_time_then_value_with_nan_as_zero() {
        assert!(point(2, 0.0).recency(&point(1, 9.0)).is_gt());
        assert!(point(1, f64::NAN).recency(&point(1, -1.0)).is_gt());
        assert!(point(1, f64::NAN).recency(&point(1, 1.0)).is_lt());
    }

    #[test]
    fn a_batch_survives_the_way_to_arrow_and_back() {
        let mut batch = MetricBatch::with_capacity(3);
        let plain = Series {
            run_id: RunId::from_stored("r1"),
            experiment_id: ExperimentId::new(3),
            key: "loss".into(),
            attribution: None,
        };
        let attributed = Series {
            attribution: Some(Arc::new(Attribution { model_id: Some("m-1".into()), ..Attribution::default() })),
            ..plain.clone()
        };
        let first = batch.add_series(plain);
        let second = batch.add_series(attributed);
        batch.push(first, point(-1, 1.5));
        batch.push(second, point(i64::MAX, f64::INFINITY));
        let (series, points) = batch.to_arrow().expect("fits");
        assert_eq!(MetricBatch::from_arrow(&series, &points).expect("fits"), batch);
        let mut twice = batch.clone();
        twice.append(&batch);
        assert_eq!(twice.len(), 4);
        assert_eq!(twice.series_index(), [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn merging_is_folding(values in prop::collection::vec((-5i64..5, -3.0f64..3.0), 1..20), cut in 0usize..20) {
            let points: Vec<_> = values.iter().map(|(step, value)| point(*step, value.round())).collect();
            let cut = cut.min(points.len());
            let whole = MetricAggregate::of_all(points.iter().copied()).expect("not empty");
            let parts = [&points[..cut], &points[cut..]].map(|part| MetricAggregate::of_all(part.iter().copied()));
            let merged = match parts {
                [Some(a), Some(b)] => b.merged(&a),
                [Some(a), None] | [None, Some(a)] => a,
                [None, None] => unreachable!("not empty"),
            };
            prop_assert_eq!(merged, whole);
        }

        #[test]
        fn adding_in_order_is_adding(values in prop::collection::vec((-3i64..3, -2i8..3), 1..20)) {
            let value = |value: i8| if value == -2 { f64::NAN } else { f64::from(value) };
            let mut points: Vec<_> = values.iter().map(|(step, number)| point(*step, value(*number))).collect();
            points.sort_by(Point::file_order);
            points.dedup();
            let mut each = MetricAggregate::of(points[0]);
            let mut later = each;
            for point in &points[1..] {
                each.add(*point);
                later.add_later(*point);
            }
            prop_assert_eq!(format!("{each:?}"), format!("{later:?}"));
        }
    }
}
