//! Which row groups and pages of a file may hold the rows that are wanted.

use std::ops::Range;

use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use runlake_types::TableId;

/// Rows that are wanted. Without conditions: every row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Want {
    /// For each of the first text columns the values to look for, ascending.
    texts: Vec<Vec<String>>,
    /// Microseconds that the column `timestamp` is to lie between, both ends inclusive.
    times: Option<(i64, i64)>,
}

impl Want {
    /// Rows whose first text columns have these values.
    pub(crate) fn rows(leading: &[&str]) -> Self {
        Self { texts: leading.iter().map(|text| vec![(*text).to_owned()]).collect(), times: None }
    }

    /// Rows whose first text column has one of these values.
    pub(crate) fn any_of(mut leading: Vec<String>) -> Self {
        leading.sort_unstable();
        Self { texts: vec![leading], times: None }
    }

    /// Of those, the ones between two times.
    pub(crate) fn between(self, since: i64, until: i64) -> Self {
        Self { times: Some((since, until)), ..self }
    }
}

/// Part of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Selected {
    pub(super) row_groups: Vec<usize>,
    /// Rows of those row groups, one after the other.
    selectors: Vec<RowSelector>,
}

impl Selected {
    fn add(&mut self, group: usize, rows: &RowSelection) {
        if rows.selects_any() {
            self.row_groups.push(group);
            self.selectors.extend(rows.iter().copied());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.row_groups.is_empty()
    }

    pub(super) fn rows(&self) -> RowSelection {
        RowSelection::from(self.selectors.clone())
    }

    /// Of these rows those with the given numbers, which ascend.
    pub(super) fn only(&self, numbers: &[usize]) -> Self {
        let rows = self.rows();
        let ranges = numbers.iter().map(|number| *number..*number + 1);
        let picked = RowSelection::from_consecutive_ranges(ranges, rows.row_count());
        Self { row_groups: self.row_groups.clone(), selectors: rows.and_then(&picked).into() }
    }
}

/// What to read; `None` is everything.
pub(super) fn select(footer: &ParquetMetaData, table: TableId, wanted: &Want) -> Option<Selected> {
    if wanted.texts.is_empty() && wanted.times.is_none() {
        return None;
    }
    let search = Search::new(footer, table, wanted);
    let mut selected = Selected::default();
    for group in search.groups() {
        selected.add(group, &search.candidates(group));
    }
    Some(selected)
}

/// A series in a file: pages that hold nothing else, whose text need not be read, and the others.
#[derive(Debug, Default)]
pub(super) struct SeriesPages {
    pub(super) pure: Selected,
    pub(super) mixed: Selected,
}

pub(super) fn select_series(footer: &ParquetMetaData, table: TableId, wanted: &Want) -> SeriesPages {
    let search = Search::new(footer, table, wanted);
    let mut pages = SeriesPages::default();
    for group in search.groups() {
        let candidates = search.candidates(group);
        let pure = search.pure(group);
        pages.pure.add(group, &candidates.intersection(&pure));
        pages.mixed.add(group, &candidates.intersection(&inverse(&pure)));
    }
    pages
}

/// Part of a series in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeSpan {
    /// Earliest and latest time of its rows, as far as the file tells.
    pub(crate) times: (i64, i64),
    /// How many of its rows are certainly of the series.
    pub(crate) rows: usize,
}

/// When the rows of a series were logged, page by page.
pub(super) fn time_spans(footer: &ParquetMetaData, table: TableId, wanted: &Want) -> Vec<TimeSpan> {
    let search = Search::new(footer, table, wanted);
    let mut spans = Vec::new();
    for group in search.groups() {
        let (candidates, pure) = (search.candidates(group), search.pure(group));
        let of_series = candidates.intersection(&pure);
        for (rows, times) in search.times_of_pages(group) {
            let page = RowSelection::from_consecutive_ranges(std::iter::once(rows), search.rows_in(group));
            if candidates.intersection(&page).selects_any() {
                spans.push(TimeSpan { times, rows: of_series.intersection(&page).row_count() });
            }
        }
    }
    spans
}

/// Smallest and greatest step in the pages that hold nothing but the series; `None` where the file does not say.
pub(super) fn steps_of_pure(footer: &ParquetMetaData, table: TableId, wanted: &Want) -> Option<(i64, i64)> {
    let search = Search::new(footer, table, wanted);
    let step = leaf(footer, "step")?;
    let mut steps: Option<(i64, i64)> = None;
    for group in search.groups() {
        let pure = search.candidates(group).intersection(&search.pure(group));
        let Some(ColumnIndexMetaData::INT64(index)) = search.index(group, step) else { return None };
        for (page, rows) in search.page_rows(group, step).enumerate() {
            let within = RowSelection::from_consecutive_ranges(std::iter::once(rows), search.rows_in(group));
            if pure.intersection(&within).selects_any() {
                let (min, max) = (*index.min_value(page)?, *index.max_value(page)?);
                steps = Some(steps.map_or((min, max), |(first, last)| (first.min(min), last.max(max))));
            }
        }
    }
    steps
}

fn inverse(rows: &RowSelection) -> RowSelection {
    rows.iter().map(|selector| RowSelector { skip: !selector.skip, ..*selector }).collect::<Vec<_>>().into()
}

struct Search<'a> {
    footer: &'a ParquetMetaData,
    /// Text columns and the values wanted there.
    texts: Vec<(usize, &'a [String])>,
    timestamp: Option<usize>,
    times: Option<(i64, i64)>,
}

impl<'a> Search<'a> {
    fn new(footer: &'a ParquetMetaData, table: TableId, wanted: &'a Want) -> Self {
        let texts = table.columns().iter().zip(&wanted.texts);
        Self {
            footer,
            texts: texts.filter_map(|(column, values)| Some((leaf(footer, column.name)?, values.as_slice()))).collect(),
            timestamp: leaf(footer, "timestamp"),
            times: wanted.times,
        }
    }

    /// Row groups that may hold wanted rows.
    fn groups(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.footer.num_row_groups())
            .filter(|group| self.texts.iter().all(|(leaf, values)| self.group_may_hold(*group, *leaf, values)))
    }

    fn group_may_hold(&self, group: usize, leaf: usize, values: &[String]) -> bool {
        match self.footer.row_group(group).column(leaf).statistics() {
            Some(Statistics::ByteArray(statistics)) => {
                some_within(values, statistics.min_bytes_opt(), statistics.max_bytes_opt())
            }
            _ => true,
        }
    }

    fn rows_in(&self, group: usize) -> usize {
        usize::try_from(self.footer.row_group(group).num_rows()).unwrap_or(0)
    }

    /// Rows of the pages that may hold what is wanted.
    fn candidates(&self, group: usize) -> RowSelection {
        let mut rows = everything(self.rows_in(group));
        for (leaf, values) in &self.texts {
            rows = rows.intersection(&self.pages(group, *leaf, |min, max| some_within(values, min, max)));
        }
        if let Some((since, until)) = self.times {
            let total = self.rows_in(group);
            let pages = self.times_of_pages(group).filter(|(_, (min, max))| *max >= since && *min <= until);
            let within = RowSelection::from_consecutive_ranges(pages.map(|(rows, _)| rows), total);
            rows = rows.intersection(&within);
        }
        rows
    }

    /// Rows of the pages that hold a single text in each text column, and a wanted one.
    fn pure(&self, group: usize) -> RowSelection {
        let mut rows = everything(self.rows_in(group));
        for (leaf, values) in &self.texts {
            // Bounds that were cut short differ: the upper one is rounded up.
            let single =
                |min: Option<&[u8]>, max: Option<&[u8]>| min.is_some() && min == max && some_within(values, min, max);
            rows = match self.index(group, *leaf) {
                Some(_) => rows.intersection(&self.pages(group, *leaf, single)),
                None => nothing(self.rows_in(group)),
            };
        }
        rows
    }

    fn index(&self, group: usize, leaf: usize) -> Option<&ColumnIndexMetaData> {
        self.footer.column_index().and_then(|groups| groups.get(group)?.get(leaf))
    }

    /// Rows of each page of a column; none where the file does not say.
    fn page_rows(&self, group: usize, leaf: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let total = self.rows_in(group);
        let offsets = self.footer.offset_index().and_then(|groups| groups.get(group)?.get(leaf));
        let pages = offsets.map_or(&[][..], |offsets| offsets.page_locations());
        let start = move |page: usize| {
            pages.get(page).map_or(total, |page| usize::try_from(page.first_row_index).unwrap_or(total))
        };
        (0..pages.len()).map(move |page| start(page)..start(page + 1))
    }

    /// Rows of the pages of a text column whose bounds pass; all rows where there are no bounds.
    fn pages(&self, group: usize, leaf: usize, passes: impl Fn(Option<&[u8]>, Option<&[u8]>) -> bool) -> RowSelection {
        let total = self.rows_in(group);
        let Some(ColumnIndexMetaData::BYTE_ARRAY(index)) = self.index(group, leaf) else { return everything(total) };
        let pages = self.page_rows(group, leaf).enumerate();
        let passing = pages.filter(|(page, _)| passes(index.min_value(*page), index.max_value(*page)));
        let mut ranges = passing.map(|(_, rows)| rows).peekable();
        if ranges.peek().is_none() && self.page_rows(group, leaf).next().is_none() {
            return everything(total);
        }
        RowSelection::from_consecutive_ranges(ranges, total)
    }

    /// The pages of the column `timestamp` with the times they span.
    fn times_of_pages(&self, group: usize) -> impl Iterator<Item = (Range<usize>, (i64, i64))> + '_ {
        let index = self.timestamp.and_then(|leaf| match self.index(group, leaf)? {
            ColumnIndexMetaData::INT64(index) => Some((leaf, index)),
            _ => None,
        });
        let known = index.into_iter().flat_map(move |(leaf, index)| {
            self.page_rows(group, leaf).enumerate().map(move |(page, rows)| {
                let min = index.min_value(page).copied().unwrap_or(i64::MIN);
                (rows, (min, index.max_value(page).copied().unwrap_or(i64::MAX)))
            })
        });
        let unknown = index.is_none().then_some((0..self.rows_in(group), (i64::MIN, i64::MAX)));
        known.chain(unknown)
    }
}

fn leaf(footer: &ParquetMetaData, name: &str) -> Option<usize> {
    footer.file_metadata().schema_descr().columns().iter().position(|column| column.path().string() == name)
}

fn everything(rows: usize) -> RowSelection {
    RowSelection::from(vec![RowSelector::select(rows)])
}

fn nothing(rows: usize) -> RowSelection {
    RowSelection::from(vec![RowSelector::skip(rows)])
}

/// Whether one of `values`, which ascend, is within the bounds; a missing bound is no bound.
fn some_within(values: &[String], min: Option<&[u8]>, max: Option<&[u8]>) -> bool {
    let first = min.map_or(0, |min| values.partition_point(|value| value.as_bytes() < min));
    values.get(first).is_some_and(|value| max.is_none_or(|max| value.as_bytes() <= max))
}
