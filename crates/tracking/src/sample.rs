//! Sampling a history to a number of points, as MLflow 3.17 does for its charts.
//!
//! The points, in order of (step, timestamp, value), are cut into as many runs of equal length as points are wanted; where
//! that does not come out even, the first ones are longer by one. The first point of each is taken. The very last point of
//! all always is: it joins where there is still room, and takes the place of the last one taken where there is not.

use std::cmp::Ordering;

use runlake_types::Point;

use crate::history::value_order;

/// At most `wanted` (not 0) of `points`, which are one series in order of steps.
pub(crate) fn sample(points: &[Point], wanted: usize) -> Vec<Point> {
    let order = |a: &Point, b: &Point| -> Ordering {
        (a.step, a.timestamp).cmp(&(b.step, b.timestamp)).then_with(|| value_order(a, b))
    };
    let mut reordered;
    let points = if points.is_sorted_by(|a, b| order(a, b).is_le()) {
        points
    } else {
        // NaN counts as 0 here, and stands elsewhere in files.
        reordered = points.to_vec();
        reordered.sort_unstable_by(order);
        &reordered
    };
    let mut taken: Vec<Point> = starts(points.len(), wanted).map(|number| points[number]).collect();
    let Some(last) = points.last() else {
        return taken;
    };
    // NaNs are all alike here.
    let same = |a: &Point| a.step == last.step && a.timestamp == last.timestamp && value_order(a, last).is_eq();
    if !taken.last().is_some_and(same) {
        if taken.len() >= wanted {
            taken.pop();
        }
        taken.push(*last);
    }
    taken
}

/// The numbers of the points that [`sample`] takes of `count` points that are all different.
pub(crate) fn sampled_numbers(count: usize, wanted: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = starts(count, wanted).collect();
    if let Some(last) = count.checked_sub(1)
        && numbers.last() != Some(&last)
    {
        if numbers.len() >= wanted {
            numbers.pop();
        }
        numbers.push(last);
    }
    numbers
}

/// Where each of `wanted` runs of equal length starts.
fn starts(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let (length, longer) = (count / wanted, count % wanted);
    (0..wanted.min(count)).map(move |part| part * length + part.min(longer))
}

#[cfg(test)]
mod tests;
