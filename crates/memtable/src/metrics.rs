//! Metric points by series, ordered as the files are.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{ArrowError, Field, Schema};
use imbl::OrdMap;
use imbl::ordmap::Entry;
use runlake_types::{Attribution, MetricBatch, Point, RunId, Series, TableId};

use crate::MemTable;
use crate::series::SeriesRows;

/// Memory of a series beside its points: map slot, key text, aggregate.
const SERIES_BYTES: usize = 320;
/// Memory of one point.
const POINT_BYTES: usize = 24;

/// What makes a series in memory: points of one key that were measured on different datasets are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesId {
    /// The run.
    pub run_id: RunId,
    /// The metric's key.
    pub key: Arc<str>,
    /// What the points were measured on.
    pub attribution: Option<Arc<Attribution>>,
}

impl Ord for SeriesId {
    fn cmp(&self, other: &Self) -> Ordering {
        // Most comparisons are between ids that share their text.
        let runs = if std::ptr::eq(self.run_id.as_str(), other.run_id.as_str()) {
            Ordering::Equal
        } else {
            self.run_id.cmp(&other.run_id)
        };
        runs.then_with(|| self.key.cmp(&other.key)).then_with(|| self.attribution.cmp(&other.attribution))
    }
}

impl PartialOrd for SeriesId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The metric points of one generation.
#[derive(Debug, Clone, Default)]
pub struct MetricTable {
    series: OrdMap<SeriesId, Arc<SeriesRows>>,
    points: usize,
}

impl MetricTable {
    /// Adds points; one that is there already counts once.
    #[allow(clippy::missing_panics_doc, reason = "it never panics: chunks are not empty")]
    pub fn insert(&mut self, batch: &MetricBatch) {
        let order = by_series(batch);
        for group in order.chunk_by(|a, b| batch.series_index()[*a as usize] == batch.series_index()[*b as usize]) {
            let (first, rest) = group.split_first().expect("chunks are not empty");
            let first = batch.point(*first as usize);
            let series = &batch.series()[batch.series_index()[group[0] as usize] as usize];
            self.points += self.insert_series(series, first, rest.iter().map(|at| batch.point(*at as usize)));
        }
    }

    /// Adds points of one series and returns how many of them were new.
    fn insert_series(&mut self, series: &Series, first: Point, rest: impl Iterator<Item = Point>) -> usize {
        let id = SeriesId {
            run_id: series.run_id.clone(),
            key: Arc::clone(&series.key),
            attribution: series.attribution.clone(),
        };
        let mut added = 0;
        let rows = match self.series.entry(id) {
            Entry::Occupied(entry) => {
                let rows = Arc::make_mut(entry.into_mut());
                added += usize::from(rows.insert(first));
                rows
            }
            Entry::Vacant(entry) => {
                added += 1;
                Arc::make_mut(entry.insert(Arc::new(SeriesRows::new(series.experiment_id, first))))
            }
        };
        added + rows.extend(rest)
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.points
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.points == 0
    }

    /// Memory the points take, roughly.
    pub fn bytes(&self) -> usize {
        self.series.len() * SERIES_BYTES + self.points * POINT_BYTES
    }

    /// Every series, in order of run id and key.
    pub fn series(&self) -> impl Iterator<Item = (&SeriesId, &SeriesRows)> {
        self.series.iter().map(|(id, rows)| (id, rows.as_ref()))
    }

    /// The series of one run, in order of key.
    pub fn of_run<'a>(&'a self, run_id: &'a RunId) -> impl Iterator<Item = (&'a SeriesId, &'a SeriesRows)> {
        let from = SeriesId { run_id: run_id.clone(), key: "".into(), attribution: None };
        self.series.range(from..).take_while(move |(id, _)| id.run_id == *run_id).map(|(id, rows)| (id, rows.as_ref()))
    }

    /// The series of one metric of one run: more than one where datasets differ.
    pub fn of_key<'a>(
        &'a self,
        run_id: &'a RunId,
        key: &'a str,
    ) -> impl Iterator<Item = (&'a SeriesId, &'a SeriesRows)> {
        let from = SeriesId { run_id: run_id.clone(), key: key.into(), attribution: None };
        self.series
            .range(from..)
            .take_while(move |(id, _)| id.run_id == *run_id && &*id.key == key)
            .map(|(id, rows)| (id, rows.as_ref()))
    }

    /// The series that come after `last` (from the first one on where it is `None`), of one run or of all, as one batch
    /// for a table file: sorted by the table's order, text dictionary-encoded, about `rows` rows (it ends with a metric).
    /// `None` at the end.
    fn batch_after(
        &self,
        last: Option<&SeriesId>,
        run: Option<&RunId>,
        rows: usize,
    ) -> Option<(Result<RecordBatch, ArrowError>, SeriesId)> {
        let first = run.map(|run_id| SeriesId { run_id: run_id.clone(), key: "".into(), attribution: None });
        let from = match (last, &first) {
            (Some(last), _) => Bound::Excluded(last),
            (None, Some(first)) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        let mut rest = self
            .series
            .range::<_, SeriesId>((from, Bound::Unbounded))
            .take_while(|(id, _)| run.is_none_or(|run| *run == id.run_id))
            .peekable();
        let mut batch = BatchBuilder::default();
        let mut last = None;
        while let Some((id, series)) = rest.next() {
            last = Some(id);
            match rest.peek() {
                // Series that differ in attribution only are woven together: the file is sorted by step within a key.
                Some((next, _)) if next.run_id == id.run_id && next.key == id.key => {
                    let mut woven: Vec<_> = series.points().map(|point| (point, id)).collect();
                    while let Some((other, rows)) =
                        rest.next_if(|(next, _)| next.run_id == id.run_id && next.key == id.key)
                    {
                        woven.extend(rows.points().map(|point| (point, other)));
                        last = Some(other);
                    }
                    woven.sort_by(|(a, _), (b, _)| a.file_order(b));
                    for (point, id) in woven {
                        batch.append(id, series, std::iter::once(point));
                    }
                }
                _ => batch.append(id, series, series.points()),
            }
            if batch.len() >= rows {
                break;
            }
        }
        Some((batch.finish(), last?.clone()))
    }
}

/// Batches of a generation's points, made as they are asked for.
#[derive(Debug)]
pub(crate) struct SortedBatches {
    generation: Arc<MemTable>,
    rows: usize,
    last: Option<SeriesId>,
    /// The runs that are still to come, the next one last; `None`: all runs.
    runs: Option<Vec<RunId>>,
}

impl SortedBatches {
    pub(crate) fn new(generation: Arc<MemTable>, rows: usize) -> Self {
        Self { generation, rows, last: None, runs: None }
    }

    pub(crate) fn of_runs(generation: Arc<MemTable>, mut runs: Vec<RunId>, rows: usize) -> Self {
        runs.reverse();
        Self { generation, rows, last: None, runs: Some(runs) }
    }
}

impl Iterator for SortedBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let run = match &self.runs {
                None => None,
                Some(runs) => Some(runs.last()?),
            };
            if let Some((batch, last)) = self.generation.metrics().batch_after(self.last.as_ref(), run, self.rows) {
                self.last = Some(last);
                return Some(batch);
            }
            self.last = None;
            self.runs.as_mut()?.pop();
        }
    }
}

/// Numbers of the points, those of one series together and in their order: one look-up per series and not per point.
fn by_series(batch: &MetricBatch) -> Vec<u32> {
    let index = batch.series_index();
    let count = u32::try_from(index.len()).expect("a group has far fewer points");
    if index.is_sorted() {
        return (0..count).collect();
    }
    let mut next = vec![0u32; batch.series().len() + 1];
    for series in index {
        next[*series as usize + 1] += 1;
    }
    for at in 1..next.len() {
        next[at] += next[at - 1];
    }
    let mut order = vec![0; index.len()];
    for (at, series) in (0..count).zip(index) {
        let slot = &mut next[*series as usize];
        order[*slot as usize] = at;
        *slot += 1;
    }
    order
}

/// Columns of a batch under construction. Text columns refer to what was appended last, so that a value is stored once
/// per series and not once per point.
#[derive(Default)]
struct BatchBuilder {
    run_id: TextColumn,
    key: TextColumn,
    experiment_id: TextColumn,
    model_id: TextColumn,
    dataset_name: TextColumn,
    dataset_digest: TextColumn,
    step: PrimitiveBuilder<Int64Type>,
    timestamp: PrimitiveBuilder<TimestampMicrosecondType>,
    value: PrimitiveBuilder<Float64Type>,
}

impl BatchBuilder {
    fn len(&self) -> usize {
        arrow_array::builder::ArrayBuilder::len(&self.value)
    }

    fn append(&mut self, id: &SeriesId, rows: &SeriesRows, points: impl Iterator<Item = Point>) {
        let before = self.len();
        for point in points {
            self.step.append_value(point.step);
            self.timestamp.append_value(point.timestamp.micros());
            self.value.append_value(point.value);
        }
        let count = self.len() - before;
        let attribution = id.attribution.as_deref();
        self.run_id.append(Some(id.run_id.as_str()), count);
        self.key.append(Some(&id.key), count);
        self.experiment_id.append(Some(&rows.experiment_id().to_string()), count);
        self.model_id.append(attribution.and_then(|a| a.model_id.as_deref()), count);
        self.dataset_name.append(attribution.and_then(|a| a.dataset_name.as_deref()), count);
        self.dataset_digest.append(attribution.and_then(|a| a.dataset_digest.as_deref()), count);
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("run_id", self.run_id.finish()?),
            ("key", self.key.finish()?),
            ("step", Arc::new(self.step.finish())),
            ("timestamp", Arc::new(self.timestamp.finish().with_timezone("UTC"))),
            ("value", Arc::new(self.value.finish())),
            ("experiment_id", self.experiment_id.finish()?),
            ("model_id", self.model_id.finish()?),
            ("dataset_name", self.dataset_name.finish()?),
            ("dataset_digest", self.dataset_digest.finish()?),
        ];
        let fields: Vec<Field> = TableId::Metrics
            .columns()
            .iter()
            .zip(&columns)
            .map(|(column, (name, array))| {
                debug_assert_eq!(column.name, *name);
                Field::new(*name, array.data_type().clone(), column.nullable)
            })
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
    }
}

/// A dictionary column whose values come in long runs.
#[derive(Default)]
struct TextColumn {
    values: Vec<String>,
    keys: Vec<Option<u32>>,
}

impl TextColumn {
    fn append(&mut self, text: Option<&str>, count: usize) {
        let key = text.map(|text| {
            if self.values.last().is_none_or(|last| last != text) {
                self.values.push(text.to_owned());
            }
            u32::try_from(self.values.len() - 1).expect("a batch has far fewer series")
        });
        self.keys.extend(std::iter::repeat_n(key, count));
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let keys = UInt32Array::from(self.keys);
        let dictionary = DictionaryArray::<UInt32Type>::try_new(keys, Arc::new(StringArray::from(self.values)))?;
        Ok(Arc::new(dictionary))
    }
}
