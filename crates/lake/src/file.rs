//! One live file of a table, and the range of keys it holds.

use std::collections::HashMap;

use deltalake_core::kernel::{Add, Remove};
use object_store::path::Path;
use runlake_types::{Cell, ColumnKind, Key, KeyBuilder, Record, TableId, TableKind};
use serde_json::{Map, Value, json};

/// Tag of an `add` action: the key columns of the file's first row, as a JSON array. Only on files sorted by key.
const TAG_FIRST: &str = "runlake.first";
/// Tag of an `add` action: the key columns of the file's last row.
const TAG_LAST: &str = "runlake.last";
/// Tag of an `add` action of facts: the file has the table's sort order.
const TAG_SORTED: &str = "runlake.sorted";
/// Tag of an `add` action of state: bytes the rows take in memory.
const TAG_RAW: &str = "runlake.raw";
/// Rows may take this many times the target size of a file in memory, however well they compress: a merge holds the rows
/// of a file, and Arrow counts the text of a batch in 31 bits.
const RAW_FACTOR: u64 = 8;
/// Key columns whose smallest and greatest text a file remembers.
const BOUND_COLUMNS: usize = 2;

/// A live file of one version of a table. It never changes; a rewrite makes other files.
#[derive(Debug, Clone)]
pub struct DataFile {
    name: String,
    location: Path,
    size: u64,
    raw: u64,
    rows: Option<u64>,
    sorted: bool,
    range: KeyRange,
    bounds: Vec<Option<(String, String)>>,
}

/// What is known of a file that was just written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// Name below the table's root.
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Bytes the rows take in memory.
    pub(crate) raw: u64,
    pub(crate) rows: u64,
    /// Key columns of the first and the last row.
    pub(crate) first: Vec<Cell>,
    pub(crate) last: Vec<Cell>,
    /// Smallest and greatest value of each text or integer key column, in column order, where known.
    pub(crate) bounds: Vec<Option<(Cell, Cell)>>,
    pub(crate) modified_millis: i64,
}

impl DataFile {
    /// Where the file is, relative to the root of the lake.
    pub fn location(&self) -> &Path {
        &self.location
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What counts against the target size: bytes on disk, or in memory where the rows compress very well.
    pub(crate) fn weight(&self) -> u64 {
        weight(self.size, self.raw)
    }

    /// Number of rows, if the log says so: always, for files written by this crate.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Smallest and greatest text of a key column (0 or 1), inclusive; `None` when unknown.
    pub fn bounds(&self, column: usize) -> Option<(&str, &str)> {
        self.bounds.get(column)?.as_ref().map(|(min, max)| (min.as_str(), max.as_str()))
    }

    /// Whether the rows are known to be in the table's order.
    pub fn is_sorted(&self) -> bool {
        self.sorted
    }

    /// Whether rows whose first key columns are `values` may be in the file.
    pub(crate) fn may_hold_text(&self, values: &[&str]) -> bool {
        values
            .iter()
            .enumerate()
            .all(|(column, value)| self.bounds(column).is_none_or(|(min, max)| min <= *value && *value <= max))
    }

    pub(crate) fn range(&self) -> &KeyRange {
        &self.range
    }

    /// Whether rows under one of `keys`, which ascend, may be in the file: whole keys of a state table.
    pub fn may_hold_any(&self, keys: &[Key]) -> bool {
        let first = match &self.range.first {
            Some(first) => keys.partition_point(|key| key < first),
            None => 0,
        };
        keys.get(first).is_some_and(|key| !self.range.is_before(key))
    }

    /// Name below the table's root: how the log knows the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads an `add` action. Missing or foreign statistics only make the file harder to prune.
    pub(crate) fn from_add(table: TableId, root: &Path, add: Add) -> Self {
        let stats: Value = add.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        let tags = add.tags.unwrap_or_default();
        let tag = |name: &str| tags.get(name).and_then(Option::as_deref);
        let bounds: Vec<_> =
            key_columns(table).take(BOUND_COLUMNS).map(|(name, kind)| bound(&stats, name, kind)).collect();
        let exact = tag(TAG_FIRST).zip(tag(TAG_LAST)).and_then(|(first, last)| {
            Some(KeyRange { first: Some(key_from_tag(first)?), last: Some(key_from_tag(last)?) })
        });
        let range = exact.clone().unwrap_or_else(|| {
            let leading = bounds.first().and_then(Option::as_ref);
            KeyRange {
                first: leading.map(|(min, _)| KeyBuilder::default().text(min).build()),
                last: leading.map(|(_, max)| KeyBuilder::default().text(max).build()),
            }
        });
        let sorted = match table.kind() {
            TableKind::State => exact.is_some(),
            TableKind::Facts => tag(TAG_SORTED).is_some(),
        };
        Self {
            location: below(root, &add.path),
            name: add.path,
            size: u64::try_from(add.size).unwrap_or(0),
            raw: tag(TAG_RAW).and_then(|raw| raw.parse().ok()).unwrap_or(0),
            rows: stats["numRecords"].as_u64(),
            sorted,
            range,
            bounds,
        }
    }

    /// The `add` action of a file that was just written.
    pub(crate) fn add_of(table: TableId, written: &Written, data_change: bool) -> Add {
        let mut min = Map::new();
        let mut max = Map::new();
        for ((name, _), bounds) in key_columns(table).zip(&written.bounds) {
            if let Some((low, high)) = bounds {
                min.insert(name.to_owned(), json_of(low));
                max.insert(name.to_owned(), json_of(high));
            }
        }
        let nulls: Map<_, _> = min.keys().map(|name| (name.clone(), json!(0))).collect();
        let stats = json!({"numRecords": written.rows, "minValues": min, "maxValues": max, "nullCount": nulls});
        let tag = |cells: &[Cell]| Some(cells.iter().map(json_of).collect::<Value>().to_string());
        let tags = match table.kind() {
            TableKind::State => HashMap::from([
                (TAG_FIRST.to_owned(), tag(&written.first)),
                (TAG_LAST.to_owned(), tag(&written.last)),
                (TAG_RAW.to_owned(), Some(written.raw.to_string())),
            ]),
            TableKind::Facts => HashMap::from([(TAG_SORTED.to_owned(), Some("true".to_owned()))]),
        };
        Add {
            path: written.name.clone(),
            size: i64::try_from(written.size).unwrap_or(i64::MAX),
            modification_time: written.modified_millis,
            data_change,
            stats: Some(stats.to_string()),
            tags: Some(tags),
            ..Add::default()
        }
    }

    /// The `remove` action of this file.
    pub(crate) fn remove(&self, now_millis: i64, data_change: bool) -> Remove {
        Remove {
            path: self.name.clone(),
            data_change,
            deletion_timestamp: Some(now_millis),
            extended_file_metadata: Some(true),
            partition_values: Some(HashMap::new()),
            size: i64::try_from(self.size).ok(),
            ..Remove::default()
        }
    }
}

/// See [`DataFile::weight`].
pub(crate) fn weight(size: u64, raw: u64) -> u64 {
    size.max(raw / RAW_FACTOR)
}

/// The keys a file may hold, both ends inclusive; `None` is unbounded.
///
/// `last` may be only the first columns of a key: keys that start with it are then inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) first: Option<Key>,
    pub(crate) last: Option<Key>,
}

impl KeyRange {
    /// Whether every key of the range, and every key that starts with one, comes before `key`.
    pub(crate) fn is_before(&self, key: &Key) -> bool {
        self.last.as_ref().is_some_and(|last| last < key && !key.starts_with(last))
    }

    /// Whether every key of the range comes after `key` and does not start with it.
    pub(crate) fn is_after(&self, key: &Key) -> bool {
        self.first.as_ref().is_some_and(|first| first > key && !first.starts_with(key))
    }

    /// Whether some key that starts with `prefix` may be in the range.
    pub(crate) fn may_hold(&self, prefix: &Key) -> bool {
        let ends_before = self
            .last
            .as_ref()
            .is_some_and(|last| last < prefix && !prefix.starts_with(last) && !last.starts_with(prefix));
        !ends_before && !self.is_after(prefix)
    }

    /// Whether the two have keys in common, or may have.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| b.first.as_ref().is_some_and(|first| a.is_before(first));
        !before(self, other) && !before(other, self)
    }

    /// The range that holds both.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        let last = match (&self.last, &other.last) {
            // A prefix reaches further than the keys that start with it.
            (Some(a), Some(b)) if a.starts_with(b) => Some(b.clone()),
            (Some(a), Some(b)) if b.starts_with(a) => Some(a.clone()),
            (Some(a), Some(b)) => Some(a.max(b).clone()),
            _ => None,
        };
        Self { first: self.first.clone().zip(other.first.clone()).map(|(a, b)| a.min(b)), last }
    }
}

/// The key columns of a row as cells.
pub(crate) fn key_cells(table: TableId, record: &Record) -> Vec<Cell> {
    record.cells()[..table.key_len()].to_vec()
}

/// Names and kinds of the key columns that have statistics: never floats, whose NaN and infinities would vanish from
/// filtered reads, nor times, which readers round.
pub(crate) fn key_columns(table: TableId) -> impl Iterator<Item = (&'static str, ColumnKind)> {
    table.columns()[..table.key_len()]
        .iter()
        .take_while(|column| matches!(column.kind, ColumnKind::Text | ColumnKind::Int))
        .map(|column| (column.name, column.kind))
}

fn below(root: &Path, name: &str) -> Path {
    let name = Path::parse(name).unwrap_or_else(|_| Path::from(name));
    root.parts().chain(name.parts()).collect()
}

fn bound(stats: &Value, name: &str, kind: ColumnKind) -> Option<(String, String)> {
    let text = |which: &str| stats[which][name].as_str().map(str::to_owned);
    (kind == ColumnKind::Text).then(|| text("minValues").zip(text("maxValues"))).flatten()
}

fn key_from_tag(tag: &str) -> Option<Key> {
    let Ok(Value::Array(columns)) = serde_json::from_str(tag) else { return None };
    let mut key = KeyBuilder::default();
    for column in columns {
        key = match column {
            Value::String(text) => key.text(&text),
            Value::Number(number) => key.int(number.as_i64()?),
            _ => return None,
        };
    }
    Some(key.build())
}

fn json_of(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) => Value::from(text.as_ref()),
        Cell::Int(number) => Value::from(*number),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
