//! Sorting and paging of what is held in memory: a page starts after the sort key of the last row before it.

use std::cmp::Ordering;

pub use runlake_engine::search::SortValue;

/// What a row is sorted by, most important value first, unique among the rows of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey(pub Vec<SortValue>);

/// The first `limit` rows after `after`, in order, and where the next page starts if rows are left.
pub fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> SortKey,
    ascending: &[bool],
    after: Option<&SortKey>,
    limit: usize,
) -> (Vec<T>, Option<SortKey>) {
    let keyed = items.into_iter().map(|item| (key(&item), item));
    let mut rows: Vec<(SortKey, T)> =
        keyed.filter(|(key, _)| after.is_none_or(|after| compare(key, after, ascending).is_gt())).collect();
    rows.sort_by(|(left, _), (right, _)| compare(left, right, ascending));
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|(key, _)| key.clone()) } else { None };
    (rows.into_iter().map(|(_, item)| item).collect(), next)
}

fn compare(left: &SortKey, right: &SortKey, ascending: &[bool]) -> Ordering {
    let pairs = left.0.iter().zip(&right.0).zip(ascending);
    pairs
        .map(|((left, right), &ascending)| compare_values(left, right, ascending))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Missing values come last and NaN before them, whatever the direction.
fn compare_values(left: &SortValue, right: &SortValue, ascending: bool) -> Ordering {
    let rank = |value: &SortValue| match value {
        SortValue::Number(number) if number.is_nan() => 1,
        SortValue::Number(_) | SortValue::Text(_) => 0,
        SortValue::Null => 2,
    };
    let values = match (left, right) {
        (SortValue::Number(left), SortValue::Number(right)) => left.partial_cmp(right).unwrap_or(Ordering::Equal),
        (SortValue::Text(left), SortValue::Text(right)) => left.cmp(right),
        // Only a forged token mixes numbers and texts: any fixed order will do.
        (SortValue::Number(_), SortValue::Text(_)) => Ordering::Less,
        (SortValue::Text(_), SortValue::Number(_)) => Ordering::Greater,
        (SortValue::Null, _) | (_, SortValue::Null) => Ordering::Equal,
    };
    rank(left).cmp(&rank(right)).then(if ascending { values } else { values.reverse() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(ascending: bool) -> Vec<String> {
        let values = [2.0, f64::NAN, -1.0, f64::INFINITY, f64::NEG_INFINITY].map(SortValue::Number);
        let rows = values.into_iter().chain([SortValue::Null]).enumerate();
        let key = |(id, value): &(usize, SortValue)| SortKey(vec![value.clone(), SortValue::Number(*id as f64)]);
        let (rows, next) = page(rows, key, &[ascending, true], None, 10);
        assert_eq!(next, None);
        rows.into_iter()
            .map(|(_, value)| match value {
                SortValue::Number(number) => number.to_string(),
                SortValue::Null => "missing".into(),
                SortValue::Text(text) => text.into(),
            })
            .collect()
    }

    #[test]
    fn missing_and_nan_come_last_both_ways() {
        assert_eq!(sorted(true), ["-inf", "-1", "2", "inf", "NaN", "missing"]);
        assert_eq!(sorted(false), ["inf", "2", "-1", "-inf", "NaN", "missing"]);
    }

    #[test]
    fn pages_join_without_gap_or_overlap() {
        let rows: Vec<i32> = (0..23).map(|number| number * 7 % 23).collect();
        let key = |row: &i32| SortKey(vec![SortValue::Number(f64::from(row / 3)), SortValue::Number(f64::from(*row))]);
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, next) = page(rows.clone(), key, &[false, true], after.as_ref(), 5);
            seen.extend(page);
            pages += 1;
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut expect = rows.clone();
        expect.sort_by_key(|row| (-(row / 3), *row));
        assert_eq!((seen, pages), (expect, 5));
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let key = |row: &f64| SortKey(vec![SortValue::Number(*row)]);
        assert_eq!(page([1.0, 2.0], key, &[true], None, 2), (vec![1.0, 2.0], None));
        assert_eq!(page([1.0, 2.0], key, &[true], None, 1).1, Some(SortKey(vec![SortValue::Number(1.0)])));
    }
}
