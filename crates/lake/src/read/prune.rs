//! Which row groups and pages of a file may hold rows with given leading key columns.

use std::ops::Range;

use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use runlake_types::TableId;

/// Rows that are wanted: those whose first text columns have these values. Empty: every row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Want(Vec<String>);

impl Want {
    pub(crate) fn rows(leading: &[&str]) -> Self {
        Self(leading.iter().map(|text| (*text).to_owned()).collect())
    }
}

/// Part of a file.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) row_groups: Vec<usize>,
    /// Rows of those row groups, one after the other.
    pub(super) rows: RowSelection,
}

/// What to read; `None` is everything.
pub(super) fn select(footer: &ParquetMetaData, table: TableId, wanted: &Want) -> Option<Selected> {
    if wanted.0.is_empty() {
        return None;
    }
    let columns: Vec<(usize, &[u8])> = table
        .columns()
        .iter()
        .zip(&wanted.0)
        .filter_map(|(column, text)| Some((leaf(footer, column.name)?, text.as_bytes())))
        .collect();
    let mut row_groups = Vec::new();
    let mut selectors = Vec::new();
    for group in 0..footer.num_row_groups() {
        if columns.iter().any(|(leaf, value)| !group_may_hold(footer, group, *leaf, value)) {
            continue;
        }
        let rows = columns
            .iter()
            .map(|(leaf, value)| page_rows(footer, group, *leaf, value))
            .reduce(|a, b| a.intersection(&b))?;
        if rows.selects_any() {
            row_groups.push(group);
            selectors.extend(rows.iter().copied());
        }
    }
    Some(Selected { row_groups, rows: RowSelection::from(selectors) })
}

fn leaf(footer: &ParquetMetaData, name: &str) -> Option<usize> {
    footer.file_metadata().schema_descr().columns().iter().position(|column| column.path().string() == name)
}

fn group_may_hold(footer: &ParquetMetaData, group: usize, leaf: usize, value: &[u8]) -> bool {
    match footer.row_group(group).column(leaf).statistics() {
        Some(Statistics::ByteArray(statistics)) => {
            let starts = statistics.min_bytes_opt().is_none_or(|min| min <= value);
            starts && statistics.max_bytes_opt().is_none_or(|max| value <= max)
        }
        _ => true,
    }
}

/// Rows of the pages that may hold `value`.
fn page_rows(footer: &ParquetMetaData, group: usize, leaf: usize, value: &[u8]) -> RowSelection {
    let total = usize::try_from(footer.row_group(group).num_rows()).unwrap_or(0);
    let everything = || RowSelection::from(vec![RowSelector::select(total)]);
    let index = footer.column_index().and_then(|groups| groups.get(group)?.get(leaf));
    let offsets = footer.offset_index().and_then(|groups| groups.get(group)?.get(leaf));
    let (Some(ColumnIndexMetaData::BYTE_ARRAY(index)), Some(offsets)) = (index, offsets) else { return everything() };
    let pages = offsets.page_locations();
    let start =
        |page: usize| pages.get(page).map_or(total, |page| usize::try_from(page.first_row_index).unwrap_or(total));
    let may_hold = |page: &usize| {
        let starts = index.min_value(*page).is_none_or(|min| min <= value);
        starts && index.max_value(*page).is_none_or(|max| value <= max)
    };
    let ranges: Vec<Range<usize>> =
        (0..pages.len()).filter(may_hold).map(|page| start(page)..start(page + 1)).collect();
    RowSelection::from_consecutive_ranges(ranges.into_iter(), total)
}
