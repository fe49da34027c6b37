//! Many points as bytes: columns of as few bytes as their numbers need.
//!
//! A count (u32), then four columns: series, steps, times, values; everything little-endian. A column of integers is one of
//! * `8`: each as an i64;
//! * `1`, `2`, `4`: the first as an i64, then what each has beyond the one before it, as integers of that many bytes;
//! * `0`: a count (u32) of runs, then for each run its number as an i64 and how often it comes (u32).
//!
//! Values are doubles. What a training loop logs (steps that go up by one, times that go up by little, series that take
//! turns or come one after the other) takes 13 to 15 bytes a point instead of 28.

use runlake_types::{MetricBatch, Series};

use super::broken;
use crate::Result;

const RUNS: u8 = 0;
const PLAIN: u8 = 8;
/// Bytes of a run: its number and its length.
const RUN_BYTES: usize = 12;

/// Appends the points of a batch to `out`.
pub(super) fn encode(batch: &MetricBatch, out: &mut Vec<u8>) {
    let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    debug_assert_eq!(count as usize, batch.len(), "a batch has far fewer points");
    out.extend(count.to_le_bytes());
    integers(out, batch.series_index(), |index| i64::from(*index));
    integers(out, batch.steps(), |step| *step);
    integers(out, batch.timestamps(), |time| *time);
    let start = grow(out, 8 * batch.len());
    for (place, value) in out[start..].as_chunks_mut::<8>().0.iter_mut().zip(batch.values()) {
        *place = value.to_le_bytes();
    }
}

/// The batch back, with the series its points refer to.
pub(super) fn decode(series: Vec<Series>, bytes: &[u8]) -> Result<MetricBatch> {
    let mut bytes = Bytes(bytes);
    let count = u32::from_le_bytes(bytes.array()?) as usize;
    let index: Option<Vec<u32>> = bytes.integers(count)?.into_iter().map(|index| u32::try_from(index).ok()).collect();
    let index = index.filter(|index| index.iter().all(|index| (*index as usize) < series.len()));
    let index = index.ok_or_else(|| broken("points refer to series that are not there"))?;
    let (steps, times) = (bytes.integers(count)?, bytes.integers(count)?);
    let values = bytes.take(8 * count)?.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value)).collect();
    if !bytes.0.is_empty() {
        return Err(broken("something follows the points"));
    }
    Ok(MetricBatch::of_columns(series, index, steps, times, values))
}

fn grow(out: &mut Vec<u8>, bytes: usize) -> usize {
    let start = out.len();
    out.resize(start + bytes, 0);
    start
}

/// Appends a column in the form that takes least.
fn integers<T>(out: &mut Vec<u8>, column: &[T], number: impl Fn(&T) -> i64 + Copy) {
    let beyond = |pair: &[T]| number(&pair[1]).wrapping_sub(number(&pair[0]));
    let (mut least, mut most, mut changes) = (0i64, 0i64, 0usize);
    for pair in column.windows(2) {
        let beyond = beyond(pair);
        least = least.min(beyond);
        most = most.max(beyond);
        changes += usize::from(beyond != 0);
    }
    let fits = |low: i64, high: i64| low <= least && most <= high;
    let width = if fits(i8::MIN.into(), i8::MAX.into()) {
        1
    } else if fits(i16::MIN.into(), i16::MAX.into()) {
        2
    } else if fits(i32::MIN.into(), i32::MAX.into()) {
        4
    } else {
        PLAIN
    };
    if (changes + 1) * RUN_BYTES < column.len() * usize::from(width) {
        return runs(out, column, number, changes);
    }
    out.push(width);
    let first = column.first().map_or(0, number);
    match width {
        1 => deltas(out, column, first, beyond, |delta| i8::try_from(delta).unwrap_or(0).to_le_bytes()),
        2 => deltas(out, column, first, beyond, |delta| i16::try_from(delta).unwrap_or(0).to_le_bytes()),
        4 => deltas(out, column, first, beyond, |delta| i32::try_from(delta).unwrap_or(0).to_le_bytes()),
        _ => {
            let start = grow(out, 8 * column.len());
            for (place, value) in out[start..].as_chunks_mut::<8>().0.iter_mut().zip(column) {
                *place = number(value).to_le_bytes();
            }
        }
    }
}

fn deltas<T, const WIDTH: usize>(
    out: &mut Vec<u8>,
    column: &[T],
    first: i64,
    beyond: impl Fn(&[T]) -> i64,
    narrow: impl Fn(i64) -> [u8; WIDTH],
) {
    out.extend(first.to_le_bytes());
    let start = grow(out, WIDTH * column.len().saturating_sub(1));
    for (place, pair) in out[start..].as_chunks_mut::<WIDTH>().0.iter_mut().zip(column.windows(2)) {
        *place = narrow(beyond(pair));
    }
}

fn runs<T>(out: &mut Vec<u8>, column: &[T], number: impl Fn(&T) -> i64 + Copy, changes: usize) {
    out.push(RUNS);
    out.extend(u32::try_from(changes + 1).unwrap_or(u32::MAX).to_le_bytes());
    for run in column.chunk_by(|a, b| number(a) == number(b)) {
        out.extend(number(&run[0]).to_le_bytes());
        out.extend(u32::try_from(run.len()).unwrap_or(u32::MAX).to_le_bytes());
    }
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| broken("points are cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| broken("points are cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A column of `count` integers.
    fn integers(&mut self, count: usize) -> Result<Vec<i64>> {
        let [form] = self.array()?;
        match form {
            RUNS => self.runs(count),
            1 => self.deltas(count, |[byte]: [u8; 1]| i64::from(i8::from_le_bytes([byte]))),
            2 => self.deltas(count, |bytes: [u8; 2]| i64::from(i16::from_le_bytes(bytes))),
            4 => self.deltas(count, |bytes: [u8; 4]| i64::from(i32::from_le_bytes(bytes))),
            PLAIN => {
                Ok(self.take(8 * count)?.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
            }
            form => Err(broken(format!("a column of points is of the unknown form {form}"))),
        }
    }

    fn deltas<const WIDTH: usize>(&mut self, count: usize, widen: impl Fn([u8; WIDTH]) -> i64) -> Result<Vec<i64>> {
        let mut last = i64::from_le_bytes(self.array()?);
        let deltas = self.take(WIDTH * count.saturating_sub(1))?;
        let mut column = Vec::with_capacity(count);
        column.extend((count > 0).then_some(last));
        column.extend(deltas.as_chunks::<WIDTH>().0.iter().map(|delta| {
            last = last.wrapping_add(widen(*delta));
            last
        }));
        Ok(column)
    }

    fn runs(&mut self, count: usize) -> Result<Vec<i64>> {
        let mut column = Vec::new();
        for _ in 0..u32::from_le_bytes(self.array()?) {
            let (number, times) = (i64::from_le_bytes(self.array()?), u32::from_le_bytes(self.array()?) as usize);
            if times > count - column.len() {
                return Err(broken("a column of points is too long"));
            }
            column.extend(std::iter::repeat_n(number, times));
        }
        if column.len() == count { Ok(column) } else { Err(broken("a column of points is too short")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use runlake_types::{ExperimentId, RunId};

    use super::*;

    fn series(count: u32) -> Vec<Series> {
        let series = |number: u32| Series {
            run_id: RunId::from_stored("r"),
            experiment_id: ExperimentId::DEFAULT,
            key: number.to_string().into(),
            attribution: None,
        };
        (0..count).map(series).collect()
    }

    fn check(index: Vec<u32>, steps: Vec<i64>, times: Vec<i64>) -> usize {
        let values = steps.iter().map(|step| f64::from_bits(step.cast_unsigned())).collect();
        let batch = MetricBatch::of_columns(series(200), index, steps, times, values);
        let mut bytes = Vec::new();
        encode(&batch, &mut bytes);
        let back = decode(series(200), &bytes).expect("decodes");
        assert_eq!(format!("{back:?}"), format!("{batch:?}"));
        for length in 0..bytes.len().min(200) {
            assert!(decode(series(200), &bytes[..length]).is_err(), "cut at {length}");
        }
        bytes.len()
    }

    #[test]
    fn what_training_logs_takes_little() {
        let count = 10_000usize;
        let steps = |every: usize| (0..count).map(|at| (at / every) as i64).collect::<Vec<_>>();
        let times = |every: usize| (0..count).map(|at| 1_700_000_000_000_000 + (at / every) as i64 * 37_000).collect();
        let turns = check((0..count).map(|at| (at % 10) as u32).collect(), steps(10), times(10));
        assert!(turns < 15 * count, "{turns}");
        let sorted = check((0..count).map(|at| (at / 1000) as u32).collect(), steps(1), times(1));
        assert!(sorted < 14 * count, "{sorted}");
        let still = check(vec![7; count], vec![0; count], vec![5; count]);
        assert!(still < 8 * count + 100, "{still}");
        check(vec![], vec![], vec![]);
        check(vec![0, 1], vec![i64::MIN, i64::MAX], vec![i64::MAX, i64::MIN]);
    }

    proptest! {
        #[test]
        fn any_points_come_back(points in prop::collection::vec((0u32..200, any::<i64>(), -3_000_000_000i64..3_000_000_000), 0..80)) {
            let index = points.iter().map(|point| point.0).collect();
            let steps = points.iter().map(|point| point.1).collect();
            check(index, steps, points.iter().map(|point| point.2).collect());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut counted = 3u32.to_le_bytes().to_vec();
            counted.extend(&bytes);
            for bytes in [bytes, counted] {
                if let Ok(batch) = decode(series(2), &bytes) {
                    prop_assert!(batch.len() <= 1 << 20);
                }
            }
        }
    }
}
