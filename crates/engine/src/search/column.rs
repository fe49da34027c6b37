//! Columns of the index: a value for some of the runs, addressed by the run's number.

use runlake_types::{MetricAggregate, Point, Timestamp};
use rustc_hash::FxHashMap;

use crate::latest;

/// A sparse column turns dense when it holds a value for at least one run in this many.
const DENSE_FROM: usize = 4;

/// Values of some runs. Few: a map; many: an array.
#[derive(Debug, Clone)]
pub(crate) enum Slots<T> {
    Sparse(FxHashMap<u32, T>),
    Dense(Vec<Option<T>>),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::Sparse(FxHashMap::default())
    }
}

impl<T: Copy> Slots<T> {
    pub(crate) fn get(&self, run: u32) -> Option<T> {
        match self {
            Self::Sparse(map) => map.get(&run).copied(),
            Self::Dense(values) => values.get(run as usize).copied().flatten(),
        }
    }

    /// Sets a value; `runs` is how many runs the index has.
    pub(crate) fn set(&mut self, run: u32, value: T, runs: usize) {
        if let Self::Sparse(map) = self {
            map.insert(run, value);
            if map.len() >= 16 && map.len() * DENSE_FROM >= runs {
                let mut values = vec![None; runs];
                for (run, value) in map.drain() {
                    values[run as usize] = Some(value);
                }
                *self = Self::Dense(values);
            }
        } else if let Self::Dense(values) = self {
            if values.len() <= run as usize {
                values.resize(run as usize + 1, None);
            }
            values[run as usize] = Some(value);
        }
    }

    pub(crate) fn unset(&mut self, run: u32) {
        match self {
            Self::Sparse(map) => {
                map.remove(&run);
            }
            Self::Dense(values) => {
                if let Some(value) = values.get_mut(run as usize) {
                    *value = None;
                }
            }
        }
    }
}

/// Texts, each distinct one stored once.
#[derive(Debug, Default)]
pub(crate) struct TextColumn {
    codes: Slots<u32>,
    values: Vec<std::sync::Arc<str>>,
    code_of: FxHashMap<std::sync::Arc<str>, u32>,
}

impl TextColumn {
    pub(crate) fn get(&self, run: u32) -> Option<&str> {
        self.codes.get(run).map(|code| &*self.values[code as usize])
    }

    pub(crate) fn code(&self, run: u32) -> Option<u32> {
        self.codes.get(run)
    }

    /// Every distinct text, by code.
    pub(crate) fn values(&self) -> &[std::sync::Arc<str>] {
        &self.values
    }

    pub(crate) fn set(&mut self, run: u32, text: &str, runs: usize) {
        let code = if let Some(code) = self.code_of.get(text) {
            *code
        } else {
            let text: std::sync::Arc<str> = text.into();
            let code = u32::try_from(self.values.len()).expect("fewer distinct texts than u32 counts");
            self.values.push(std::sync::Arc::clone(&text));
            self.code_of.insert(text, code);
            code
        };
        self.codes.set(run, code, runs);
    }

    pub(crate) fn unset(&mut self, run: u32) {
        self.codes.unset(run);
    }
}

/// The latest point of a metric.
#[derive(Debug, Clone, Copy)]
struct Last {
    value: f64,
    step: i64,
    timestamp: i64,
}

/// What a metric with more than one point adds to its latest one.
#[derive(Debug, Clone, Copy)]
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

/// A metric: its latest point, and min, max, sum and count. A run without an extent has a single point, and that one is
/// in a file: the common case of a final score costs three words.
#[derive(Debug, Default)]
pub(crate) struct MetricColumn {
    last: Slots<Last>,
    extent: Slots<Extent>,
}

impl MetricColumn {
    pub(crate) fn value(&self, run: u32) -> Option<f64> {
        self.last.get(run).map(|last| last.value)
    }

    pub(crate) fn point(&self, run: u32) -> Option<Point> {
        self.last.get(run).map(|last| Point {
            step: last.step,
            timestamp: Timestamp::from_micros(last.timestamp),
            value: last.value,
        })
    }

    /// Smallest value; NaN where every value is NaN.
    pub(crate) fn min(&self, run: u32) -> Option<f64> {
        self.extent.get(run).map(|extent| extent.min).or_else(|| self.value(run))
    }

    /// Greatest value; NaN where every value is NaN.
    pub(crate) fn max(&self, run: u32) -> Option<f64> {
        self.extent.get(run).map(|extent| extent.max).or_else(|| self.value(run))
    }

    pub(crate) fn mean(&self, run: u32) -> Option<f64> {
        self.extent.get(run).map(|extent| extent.sum / extent.count as f64).or_else(|| self.value(run))
    }

    pub(crate) fn count(&self, run: u32) -> Option<f64> {
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
        let flushed = match (self.extent.get(run), self.last.get(run)) {
            (Some(extent), _) => extent.flushed,
            (None, Some(last)) => {
                Flushed { sum: last.value, count: 1, last_step: last.step, last_timestamp: last.timestamp }
            }
            (None, None) => Flushed::default(),
        };
        self.put(run, aggregate, flushed, runs);
    }

    /// Sets what files hold of the metric; where they hold all of it, that is the metric.
    pub(crate) fn set_flushed(&mut self, run: u32, aggregate: &MetricAggregate, runs: usize) {
        let flushed = Flushed {
            sum: aggregate.sum,
            count: aggregate.count,
            last_step: aggregate.last.step,
            last_timestamp: aggregate.last.timestamp.micros(),
        };
        match (self.extent.get(run), self.point(run)) {
            (Some(extent), Some(_)) if extent.count > aggregate.count => {
                self.extent.set(run, Extent { flushed, ..extent }, runs);
            }
            _ => self.put(run, aggregate, flushed, runs),
        }
    }

    fn put(&mut self, run: u32, aggregate: &MetricAggregate, flushed: Flushed, runs: usize) {
        let last = Last {
            value: aggregate.last.value,
            step: aggregate.last.step,
            timestamp: aggregate.last.timestamp.micros(),
        };
        self.last.set(run, last, runs);
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
