//! Envelopes: what is left of a long history when it is drawn a few hundred pixels wide, without losing a spike.

use runlake_types::Point;

use crate::EnvelopeBucket;

/// A range of steps, ends included, and the number of buckets of equal width it is cut into.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The first step.
    pub from: i64,
    /// The last step, not before the first.
    pub to: i64,
    /// Number of buckets, at least 1.
    pub buckets: u32,
}

impl Span {
    fn bucket(&self, step: i64) -> u32 {
        let width = i128::from(self.to) - i128::from(self.from) + 1;
        let at = i128::from(step) - i128::from(self.from);
        u32::try_from(at * i128::from(self.buckets) / width).unwrap_or(0)
    }
}

/// The buckets of those of `points` that are within the span; the points are one series, in order of steps. Empty buckets
/// are left out.
pub fn envelope(points: &[Point], span: &Span) -> Vec<EnvelopeBucket> {
    let mut rest = steps_within(points, span.from, span.to);
    let mut buckets = Vec::new();
    while let Some(first) = rest.first() {
        let index = span.bucket(first.step);
        // Telling a point's bucket costs a wide division: the end is looked for by halves.
        let (inside, after) = rest.split_at(rest.partition_point(|point| span.bucket(point.step) == index));
        buckets.push(summary(index, inside));
        rest = after;
    }
    buckets
}

/// Those of `points`, which are in order of steps, from one step to another, both included.
pub(crate) fn steps_within(points: &[Point], from: i64, to: i64) -> &[Point] {
    let start = points.partition_point(|point| point.step < from);
    let end = points.partition_point(|point| point.step <= to);
    &points[start..end.max(start)]
}

fn summary(index: u32, points: &[Point]) -> EnvelopeBucket {
    let (mut min, mut max): (Option<&Point>, Option<&Point>) = (None, None);
    let mut nan_count = 0;
    for point in points {
        if point.value.is_nan() {
            nan_count += 1;
            continue;
        }
        if min.is_none_or(|least| point.value < least.value) {
            min = Some(point);
        }
        if max.is_none_or(|most| point.value > most.value) {
            max = Some(point);
        }
    }
    // Recency differs from the order of files only among values of one step and time.
    let time = |point: &Point| (point.step, point.timestamp);
    let (start, end) = (points[0], points[points.len() - 1]);
    let firsts = points.iter().take_while(|point| time(point) == time(&start));
    let lasts = points.iter().rev().take_while(|point| time(point) == time(&end));
    EnvelopeBucket {
        index,
        first: firsts.min_by(|a, b| a.recency(b)).copied().unwrap_or(start),
        last: lasts
            .reduce(|last, point| if point.recency(last).is_gt() { point } else { last })
            .copied()
            .unwrap_or(end),
        min: min.copied(),
        max: max.copied(),
        count: points.len() as u64,
        nan_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use runlake_types::Timestamp;

    fn point(step: i64, value: f64) -> Point {
        Point { step, timestamp: Timestamp::from_micros(step), value }
    }

    #[test]
    fn a_spike_in_a_long_history_is_kept() {
        let mut points: Vec<Point> = (0..100_000).map(|step| point(step, 1.0)).collect();
        points[77_777].value = 1e9;
        points[77_778].value = f64::NAN;
        let span = Span { from: 0, to: 99_999, buckets: 100 };
        let buckets = envelope(&points, &span);
        assert_eq!(buckets.len(), 100);
        let spiked = &buckets[77];
        assert_eq!((spiked.index, spiked.count, spiked.nan_count), (77, 1000, 1));
        assert_eq!(spiked.max.map(|max| (max.step, max.value)), Some((77_777, 1e9)));
        assert_eq!((spiked.first.step, spiked.last.step), (77_000, 77_999));
        assert_eq!(spiked.min.map(|min| min.step), Some(77_000));
    }

    #[test]
    fn nan_alone_has_no_extremes_and_empty_buckets_are_left_out() {
        let points = [point(-5, f64::NAN), point(5, f64::NEG_INFINITY)];
        let buckets = envelope(&points, &Span { from: -5, to: 5, buckets: 11 });
        assert_eq!(buckets.iter().map(|bucket| bucket.index).collect::<Vec<_>>(), [0, 10]);
        assert_eq!((buckets[0].min, buckets[0].max, buckets[0].nan_count), (None, None, 1));
        assert_eq!(buckets[1].min.map(|min| min.value), Some(f64::NEG_INFINITY));
    }

    #[test]
    fn the_whole_range_of_steps_fits() {
        let span = Span { from: i64::MIN, to: i64::MAX, buckets: 2500 };
        assert_eq!((span.bucket(i64::MIN), span.bucket(i64::MAX)), (0, 2499));
    }

    #[test]
    fn first_and_last_go_by_recency_among_points_of_a_time() {
        let at = |value| Point { value, ..point(3, 0.0) };
        // In the order of files; NaN counts as 0.
        let points = [at(-1.0), at(2.0), at(f64::NAN)];
        let found = envelope(&points, &Span { from: 0, to: 9, buckets: 1 });
        assert_eq!((found[0].first, found[0].last), (at(-1.0), at(2.0)));
        let points =
            [at(1.0), at(f64::NAN), Point { value: -5.0, ..point(4, 0.0) }, Point { value: f64::NAN, ..point(4, 0.0) }];
        let found = envelope(&points, &Span { from: 0, to: 9, buckets: 1 });
        assert!(found[0].first.value.is_nan() && found[0].last.value.is_nan());
    }

    proptest! {
        #[test]
        fn extremes_and_counts_are_those_of_the_whole(
            values in prop::collection::vec((-50i64..50, -9.0f64..9.0), 1..200),
            buckets in 1u32..40,
        ) {
            let mut points: Vec<Point> = values.into_iter().map(|(step, value)| point(step, value)).collect();
            points.sort_by(Point::file_order);
            let span = Span { from: points[0].step, to: points[points.len() - 1].step, buckets };
            let found = envelope(&points, &span);
            prop_assert_eq!(found.iter().map(|bucket| bucket.count).sum::<u64>(), points.len() as u64);
            prop_assert!(found.windows(2).all(|pair| pair[0].index < pair[1].index));
            let max = points.iter().map(|point| point.value).fold(f64::MIN, f64::max);
            prop_assert!(found.iter().filter_map(|bucket| bucket.max).any(|point| point.value.total_cmp(&max).is_eq()));
            prop_assert_eq!(found[0].first.step, points[0].step);
            prop_assert_eq!(found[found.len() - 1].last.step, points[points.len() - 1].step);
        }
    }
}
