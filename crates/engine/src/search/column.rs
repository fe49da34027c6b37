//! Columns of the index: a value for some of the runs, addressed by the run's number.

use std::sync::Arc;

use runlake_types::{MetricAggregate, Point, Timestamp};
use rustc_hash::FxHashMap;

use super::MetricField;
use crate::latest;

/// A sparse column turns dense when it holds a value for at least one run in this many.
const DENSE_FROM: usize = 4;

/// Values of some runs.
#[derive(Debug, Clone)]
pub(crate) enum Slots<T> {
    /// Few, set in the order of the runs so far: how a column begins when the index is built.
    Ascending(Vec<(u32, T)>),
    /// Few, set in any order.
    Scattered(FxHashMap<u32, T>),
    /// Many.
    Dense(Dense<T>),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::Ascending(Vec::new())
    }
}

impl<T: Copy + Default> Slots<T> {
    pub(crate) fn get(&self, run: u32) -> Option<T> {
        match self {
            Self::Ascending(values) => values.binary_search_by_key(&run, |(run, _)| *run).ok().map(|at| values[at].1),
            Self::Scattered(values) => values.get(&run).copied(),
            Self::Dense(values) => values.get(run),
        }
    }

    /// Sets a value; `runs` is how many runs the index has.
    pub(crate) fn set(&mut self, run: u32, value: T, runs: usize) {
        let held = match self {
            Self::Dense(values) => return values.set(run, value),
            Self::Ascending(values) => match values.last() {
                Some((last, _)) if *last >= run => {
                    if let Ok(at) = values.binary_search_by_key(&run, |(run, _)| *run) {
                        values[at].1 = value;
                        return;
                    }
                    let scattered: FxHashMap<u32, T> = values.drain(..).chain(std::iter::once((run, value))).collect();
                    let held = scattered.len();
                    *self = Self::Scattered(scattered);
                    held
                }
                _ => {
                    values.push((run, value));
                    values.len()
                }
            },
            Self::Scattered(values) => {
                values.insert(run, value);
                values.len()
            }
        };
        if held >= 16 && held * DENSE_FROM >= runs {
            let mut dense = Dense::with_room(runs);
            match self {
                Self::Ascending(values) => values.drain(..).for_each(|(run, value)| dense.set(run, value)),
                Self::Scattered(values) => values.drain().for_each(|(run, value)| dense.set(run, value)),
                Self::Dense(_) => {}
            }
            *self = Self::Dense(dense);
        }
    }

    pub(crate) fn unset(&mut self, run: u32) {
        match self {
            Self::Ascending(values) => {
                if let Ok(at) = values.binary_search_by_key(&run, |(run, _)| *run) {
                    values.remove(at);
                }
            }
            Self::Scattered(values) => {
                values.remove(&run);
            }
            Self::Dense(values) => values.unset(run),
        }
    }
}

/// A value for most runs: an array, and a bit for each run that tells whether its value counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dense<T> {
    present: Vec<u64>,
    values: Vec<T>,
}

impl<T: Copy + Default> Dense<T> {
    fn with_room(runs: usize) -> Self {
        Self { present: Vec::with_capacity(runs.div_ceil(64)), values: Vec::with_capacity(runs) }
    }

    fn get(&self, run: u32) -> Option<T> {
        let (word, bit) = place(run);
        (self.present.get(word)? >> bit & 1 == 1).then(|| self.values[run as usize])
    }

    fn set(&mut self, run: u32, value: T) {
        let (word, bit) = place(run);
        if self.values.len() <= run as usize {
            self.values.resize(run as usize + 1, T::default());
            self.present.resize(word + 1, 0);
        }
        self.present[word] |= 1 << bit;
        self.values[run as usize] = value;
    }

    fn unset(&mut self, run: u32) {
        let (word, bit) = place(run);
        if let Some(word) = self.present.get_mut(word) {
            *word &= !(1 << bit);
        }
    }
}

fn place(run: u32) -> (usize, u32) {
    (run as usize / 64, run % 64)
}

/// Texts, each distinct one stored once, and as long as a run has it.
#[derive(Debug, Default)]
pub(crate) struct TextColumn {
    codes: Slots<u32>,
    values: Vec<Arc<str>>,
    /// How many runs have each text.
    uses: Vec<u32>,
    /// Codes of texts that no run has any more.
    free: Vec<u32>,
    code_of: FxHashMap<Arc<str>, u32>,
}

impl TextColumn {
    pub(crate) fn get(&self, run: u32) -> Option<&str> {
        self.codes.get(run).map(|code| &*self.values[code as usize])
    }

    pub(crate) fn code_at(&self, run: u32) -> Option<u32> {
        self.codes.get(run)
    }

    /// Every distinct text, by code. Where no run has that code any more, an empty one.
    pub(crate) fn values(&self) -> &[Arc<str>] {
        &self.values
    }

    pub(crate) fn set(&mut self, run: u32, text: &str, runs: usize) {
        let before = self.codes.get(run);
        let code = self.code(text);
        if before == Some(code) {
            return;
        }
        self.uses[code as usize] += 1;
        self.codes.set(run, code, runs);
        self.release(before);
    }

    pub(crate) fn unset(&mut self, run: u32) {
        let before = self.codes.get(run);
        self.codes.unset(run);
        self.release(before);
    }

    fn code(&mut self, text: &str) -> u32 {
        if let Some(code) = self.code_of.get(text) {
            return *code;
        }
        let text: Arc<str> = text.into();
        let code = if let Some(code) = self.free.pop() {
            self.values[code as usize] = Arc::clone(&text);
            code
        } else {
            self.values.push(Arc::clone(&text));
            self.uses.push(0);
            u32::try_from(self.values.len() - 1).expect("fewer distinct texts than u32 counts")
        };
        self.code_of.insert(text, code);
        code
    }

    /// One run less has the text of that code. Tags such as a heartbeat change for as long as a run lasts.
    fn release(&mut self, code: Option<u32>) {
        let Some(code) = code else { return };
        let uses = &mut self.uses[code as usize];
        *uses -= 1;
        if *uses == 0 {
            let gone = std::mem::replace(&mut self.values[code as usize], "".into());
            self.code_of.remove(&gone);
            self.free.push(code);
        }
    }
}

/// Where the latest point of a metric lies.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    step: i64,
    timestamp: i64,
}

/// What a metric with more than one point adds to its latest one.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    min: f64,
    max: f64,
    sum: f64,
    count: u64,
    /// Of these, what table files hold.
    flushed: Flushed,
}

/// What table files hold of a metric.
#[derive(Debug, Clone, Copy, Default)]
struct Flushed {
    sum: f64,
    count: u64,
    last_step: i64,
    last_timestamp: i64,
}

impl Flushed {
    fn of(aggregate: &MetricAggregate) -> Self {
        Self {
            sum: aggregate.sum,
            count: aggregate.count,
            last_step: aggregate.last.step,
            last_timestamp: aggregate.last.timestamp.micros(),
        }
    }
}

/// A metric: its latest point, and min, max, sum and count. A run without an extent has a single point, and that one is
/// in a file: the common case of a final score costs three words. Values stand alone, as filters and orders read them.
#[derive(Debug, Default)]
pub(crate) struct MetricColumn {
    value: Slots<f64>,
    place: Slots<Place>,
    extent: Slots<Extent>,
}

impl MetricColumn {
    pub(crate) fn value(&self, run: u32) -> Option<f64> {
        self.value.get(run)
    }

    pub(crate) fn point(&self, run: u32) -> Option<Point> {
        let (value, place) = (self.value.get(run)?, self.place.get(run)?);
        Some(Point { step: place.step, timestamp: Timestamp::from_micros(place.timestamp), value })
    }

    pub(crate) fn field(&self, run: u32, field: MetricField) -> Option<f64> {
        match field {
            MetricField::Last => self.value(run),
            MetricField::Min => self.min(run),
            MetricField::Max => self.max(run),
            MetricField::Mean => self.mean(run),
            MetricField::Count => self.count(run),
        }
    }

    /// Smallest value; NaN where every value is NaN.
    fn min(&self, run: u32) -> Option<f64> {
        self.extent.get(run).map(|extent| extent.min).or_else(|| self.value(run))
    }

    /// Greatest value; NaN where every value is NaN.
    fn max(&self, run: u32) -> Option<f64> {
        self.extent.get(run).map(|extent| extent.max).or_else(|| self.value(run))
    }

    fn mean(&self, run: u32) -> Option<f64> {
        self.extent.get(run).map(|extent| extent.sum / extent.count as f64).or_else(|| self.value(run))
    }

    fn count(&self, run: u32) -> Option<f64> {
        self.extent.get(run).map(|extent| extent.count as f64).or_else(|| self.value(run).map(|_| 1.0))
    }

    /// What files hold of a run's metric. Its extremes may be those of newer points, which does no harm: merging is
    /// idempotent for them.
    pub(crate) fn flushed(&self, run: u32) -> Option<MetricAggregate> {
        let point = self.point(run)?;
        let Some(extent) = self.extent.get(run) else {
            return Some(MetricAggregate::of(point));
        };
        let last = Point {
            step: extent.flushed.last_step,
            timestamp: Timestamp::from_micros(extent.flushed.last_timestamp),
            value: point.value,
        };
        (extent.flushed.count > 0).then(|| MetricAggregate {
            last,
            first: latest::UNKNOWN_FIRST,
            min: (!extent.min.is_nan()).then_some((extent.min, i64::MAX)),
            max: (!extent.max.is_nan()).then_some((extent.max, i64::MAX)),
            sum: extent.flushed.sum,
            count: extent.flushed.count,
        })
    }

    /// Sets the metric of a run to what its points add up to; what files hold of it stays as it was.
    pub(crate) fn set(&mut self, run: u32, aggregate: &MetricAggregate, runs: usize) {
        let flushed = match (self.extent.get(run), self.point(run)) {
            (Some(extent), _) => extent.flushed,
            (None, Some(last)) => Flushed::of(&MetricAggregate::of(last)),
            (None, None) => Flushed::default(),
        };
        self.put(run, aggregate, flushed, runs);
    }

    /// Sets what files hold of the metric; where they hold all of it, that is the metric.
    pub(crate) fn set_flushed(&mut self, run: u32, aggregate: &MetricAggregate, runs: usize) {
        let flushed = Flushed::of(aggregate);
        match (self.extent.get(run), self.point(run)) {
            (Some(extent), Some(_)) if extent.count > aggregate.count => {
                self.extent.set(run, Extent { flushed, ..extent }, runs);
            }
            _ => self.put(run, aggregate, flushed, runs),
        }
    }

    /// Sets a metric the column does not have yet, and of which files hold all.
    pub(crate) fn load(&mut self, run: u32, aggregate: &MetricAggregate, runs: usize) {
        self.put(run, aggregate, Flushed::of(aggregate), runs);
    }

    fn put(&mut self, run: u32, aggregate: &MetricAggregate, flushed: Flushed, runs: usize) {
        let place = Place { step: aggregate.last.step, timestamp: aggregate.last.timestamp.micros() };
        self.value.set(run, aggregate.last.value, runs);
        self.place.set(run, place, runs);
        if aggregate.count == 1 && flushed.count == 1 {
            self.extent.unset(run);
            return;
        }
        let extent = Extent {
            min: aggregate.min.map_or(f64::NAN, |(value, _)| value),
            max: aggregate.max.map_or(f64::NAN, |(value, _)| value),
            sum: aggregate.sum,
            count: aggregate.count,
            flushed,
        };
        self.extent.set(run, extent, runs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_with_the_last_run_that_has_them() {
        let mut column = TextColumn::default();
        for beat in 0..1000 {
            for run in 0..3 {
                column.set(run, &format!("beat {beat} of {run}"), 3);
            }
        }
        column.set(0, "beat 999 of 1", 3);
        assert_eq!((column.get(0), column.get(1)), (Some("beat 999 of 1"), Some("beat 999 of 1")));
        column.unset(1);
        assert_eq!((column.get(0), column.get(1)), (Some("beat 999 of 1"), None));
        assert!(column.values().len() <= 4 && column.code_of.len() == 2, "{column:?}");
    }

    #[test]
    fn slots_answer_like_a_map_in_whatever_order_they_are_set() {
        let orders: [Vec<u32>; 3] =
            [(0..100).collect(), (0..100).rev().collect(), (0..100).map(|n| n * 37 % 101).collect()];
        for (order, runs) in orders.iter().flat_map(|order| [(order, 101), (order, 10_000)]) {
            let (mut slots, mut map) = (Slots::default(), std::collections::BTreeMap::new());
            for (value, run) in order.iter().enumerate() {
                slots.set(*run, value as u64, runs);
                map.insert(*run, value as u64);
                if value % 5 == 0 {
                    slots.unset(order[value / 2]);
                    map.remove(&order[value / 2]);
                }
            }
            assert!((0..110).all(|run| slots.get(run) == map.get(&run).copied()), "{order:?} of {runs}");
        }
    }
}
