//! Filtering, ordering and cutting a page.
//!
//! Without sort keys runs come in their experiment's order, so a page costs its own length. With sort keys every match is
//! ranked by a number made of its first key (which decides nearly always), and only the page is sorted.

use std::cmp::Ordering;

use runlake_types::rows::Lifecycle;

use super::eval::{Test, time, with_attribute};
use super::index::Index;
use super::{Column, Cursor, LifecycleFilter, OrderBy, RunAttribute, RunPage, RunQuery, SortValue};

/// Where missing values and NaN stand: after all numbers and texts, in both directions.
const HAS_VALUE: u8 = 0;
const IS_NAN: u8 = 1;
const IS_NULL: u8 = 2;

/// First sort key of a run as numbers that order like it; texts by their first eight bytes.
type Rank = (u8, u64);

pub(super) fn search(index: &Index, query: &RunQuery) -> RunPage {
    let test = query.predicate.as_ref().map(|predicate| Test::new(index, predicate));
    let wanted = |run: &u32| {
        lifecycle_fits(query.lifecycle, index.run(*run).lifecycle)
            && test.as_ref().is_none_or(|test| test.of(index, *run) == Some(true))
            && query.after.as_ref().is_none_or(|cursor| after(index, &query.order, *run, cursor))
    };
    let mut experiments = query.experiments.clone();
    experiments.sort_unstable();
    experiments.dedup();
    let mut page: Vec<u32> = if query.order.is_empty() && experiments.len() == 1 {
        index.of_experiment(experiments[0]).filter(wanted).take(query.limit + 1).collect()
    } else {
        let all = experiments.iter().flat_map(|experiment| index.of_experiment(*experiment)).filter(wanted);
        best(index, &query.order, all, query.limit + 1)
    };
    let more = page.len() > query.limit;
    page.truncate(query.limit);
    let next = page.last().filter(|_| more).map(|run| cursor_at(index, &query.order, *run));
    RunPage { runs: index.assemble(&page), next }
}

fn lifecycle_fits(filter: LifecycleFilter, lifecycle: Lifecycle) -> bool {
    match filter {
        LifecycleFilter::Active => lifecycle == Lifecycle::Active,
        LifecycleFilter::Deleted => lifecycle == Lifecycle::Deleted,
        LifecycleFilter::All => true,
    }
}

/// The first `count` of `runs` in the query's order.
fn best(index: &Index, order: &[OrderBy], runs: impl Iterator<Item = u32>, count: usize) -> Vec<u32> {
    let mut ranked: Vec<(Rank, u32)> = runs.map(|run| (rank(index, order.first(), run), run)).collect();
    let compare = |a: &(Rank, u32), b: &(Rank, u32)| a.0.cmp(&b.0).then_with(|| compare_runs(index, order, a.1, b.1));
    if ranked.len() > count {
        ranked.select_nth_unstable_by(count, compare);
        ranked.truncate(count);
    }
    ranked.sort_unstable_by(compare);
    ranked.into_iter().map(|(_, run)| run).collect()
}

fn rank(index: &Index, order: Option<&OrderBy>, run: u32) -> Rank {
    let Some(key) = order else {
        return (HAS_VALUE, 0);
    };
    let directed = |number: u64| if key.ascending { number } else { !number };
    match number_at(index, &key.column, run) {
        Some(Some(number)) if number.is_nan() => (IS_NAN, 0),
        Some(Some(number)) => (HAS_VALUE, directed(ordered_bits(number))),
        Some(None) => (IS_NULL, 0),
        None => with_text(index, &key.column, run, |text| match text {
            Some(text) => {
                let mut head = [0; 8];
                let length = text.len().min(8);
                head[..length].copy_from_slice(&text.as_bytes()[..length]);
                (HAS_VALUE, directed(u64::from_be_bytes(head)))
            }
            None => (IS_NULL, 0),
        }),
    }
}

/// Bits of a number that is not NaN, made to order like it; both zeros alike.
fn ordered_bits(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn compare_runs(index: &Index, order: &[OrderBy], a: u32, b: u32) -> Ordering {
    for key in order {
        let ordering =
            compare_values(&value_at(index, &key.column, a), &value_at(index, &key.column, b), key.ascending);
        if ordering.is_ne() {
            return ordering;
        }
    }
    let (a, b) = (index.run(a), index.run(b));
    // Newest first, missing last: `None` is less than every `Some`.
    b.start.cmp(&a.start).then_with(|| a.run_id.cmp(&b.run_id))
}

/// Whether `run` comes after the cursor in the query's order.
fn after(index: &Index, order: &[OrderBy], run: u32, cursor: &Cursor) -> bool {
    for (key, last) in order.iter().zip(&cursor.keys) {
        let ordering = compare_values(&value_at(index, &key.column, run), last, key.ascending);
        if ordering.is_ne() {
            return ordering.is_gt();
        }
    }
    let row = index.run(run);
    cursor.start_time.cmp(&row.start).then_with(|| row.run_id.cmp(&cursor.run_id)).is_gt()
}

fn cursor_at(index: &Index, order: &[OrderBy], run: u32) -> Cursor {
    let row = index.run(run);
    Cursor {
        keys: order.iter().map(|key| value_at(index, &key.column, run)).collect(),
        start_time: row.start,
        run_id: row.run_id.clone(),
    }
}

fn compare_values(a: &SortValue, b: &SortValue, ascending: bool) -> Ordering {
    let class = |value: &SortValue| match value {
        SortValue::Null => IS_NULL,
        SortValue::Number(number) if number.is_nan() => IS_NAN,
        SortValue::Number(_) | SortValue::Text(_) => HAS_VALUE,
    };
    let by_value = match (a, b) {
        (SortValue::Number(a), SortValue::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (SortValue::Text(a), SortValue::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    class(a).cmp(&class(b)).then(if ascending { by_value } else { by_value.reverse() })
}

fn value_at(index: &Index, column: &Column, run: u32) -> SortValue {
    match number_at(index, column, run) {
        Some(number) => number.map_or(SortValue::Null, SortValue::Number),
        None => with_text(index, column, run, |text| text.map_or(SortValue::Null, |text| SortValue::Text(text.into()))),
    }
}

/// The number in a numeric column; `None` for columns of text.
#[allow(clippy::option_option, reason = "no number here, and no numeric column, are two things")]
fn number_at(index: &Index, column: &Column, run: u32) -> Option<Option<f64>> {
    match column {
        Column::Metric(key, field) => Some(index.metric(run, key, *field)),
        Column::Attribute(attribute) if attribute.is_number() => Some(time(index, *attribute, run)),
        Column::Attribute(_) | Column::Param(_) | Column::Tag(_) => None,
    }
}

fn with_text<T>(index: &Index, column: &Column, run: u32, with: impl FnOnce(Option<&str>) -> T) -> T {
    match column {
        Column::Attribute(RunAttribute::Dataset) if index.datasets(run).is_empty() => with(None),
        Column::Attribute(attribute) => with_attribute(index, *attribute, run, |text| with(Some(text))),
        _ => with(index.text_column(column).and_then(|column| column.get(run))),
    }
}
