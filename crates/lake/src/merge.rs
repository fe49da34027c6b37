//! Copy on write for state tables: changed rows go into new copies of the few files they fall into.
//!
//! Files of a state table do not overlap. Changes are dealt out to the files by key range; what falls between two files
//! goes to a neighbour that is not full, else into a file of its own. Should another tool have written files that do
//! overlap, those are rewritten together and come out in order.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch, UInt64Array};
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave_record_batch;
use arrow_select::take::take_record_batch;
use futures::TryStreamExt as _;
use runlake_types::{ColumnKind, Key, KeyBuilder, Record, TableId, batch_from_records};

use crate::error::Told as _;
use crate::file::{DataFile, KeyRange, Written};
use crate::read::{self, Want};
use crate::snapshot::Snapshot;
use crate::write::write_files;
use crate::{Error, LakeSettings};

/// Rows of a merged batch.
const MERGED_ROWS: usize = 8192;
/// Bytes of new rows in it, about.
const MERGED_BYTES: usize = 16 << 20;

/// A key set or deleted.
pub(crate) type Change = (Key, Option<Arc<Record>>);

/// Writes the files that hold the rows of `base` with `changes` applied, and says which files they replace.
pub(crate) async fn rewrite(
    base: &Snapshot,
    settings: &LakeSettings,
    changes: &[Change],
) -> Result<(Vec<Written>, Vec<Arc<DataFile>>), Error> {
    let mut adds = Vec::new();
    let mut removes = Vec::new();
    // One group after the other: only its rows are in memory.
    for group in deal(base, settings.state_target_bytes, changes) {
        let old = read_all(base, &group.files).await?;
        let changed: Vec<Change> = group.changes.iter().map(|at| changes[*at].clone()).collect();
        let table = base.table();
        let merging = Merging { table, old, changes: changed, from: 0, next: 0 };
        let target = even_split(&group.files, merging.rows() as u64, settings.state_target_bytes);
        let settings = LakeSettings { state_target_bytes: target, ..settings.clone() };
        adds.extend(write_files(base.shared(), &settings, merging).await?);
        removes.extend(group.files);
    }
    Ok((adds, removes))
}

/// After how many bytes to begin a new file when `files` become `rows` rows: a file may outgrow the target by a quarter,
/// then it becomes files of equal size, so that one that keeps growing does not leave a crumb behind each time.
fn even_split(files: &[Arc<DataFile>], rows: u64, target: u64) -> u64 {
    let old_rows: u64 = files.iter().filter_map(|file| file.rows()).sum();
    let old_bytes: u64 = files.iter().map(|file| file.weight()).sum();
    if old_rows == 0 {
        return target;
    }
    let bytes = u64::try_from(u128::from(old_bytes) * u128::from(rows) / u128::from(old_rows)).unwrap_or(u64::MAX);
    let most = target + target / 4;
    if bytes <= most {
        return most;
    }
    let even = bytes / bytes.div_ceil(target);
    even + even / 16
}

/// Files to rewrite together, and the changes (by position) that go into them, in key order.
#[derive(Debug, Default)]
struct Group {
    files: Vec<Arc<DataFile>>,
    changes: Vec<usize>,
}

fn deal(base: &Snapshot, target_bytes: u64, changes: &[Change]) -> Vec<Group> {
    let clusters = clusters(base.files());
    // Groups at even places are new files between clusters, those at odd places the clusters themselves.
    let mut groups: Vec<Group> = (0..=2 * clusters.len()).map(|_| Group::default()).collect();
    let has_room =
        |cluster: usize| clusters[cluster].files.iter().map(|file| file.weight()).sum::<u64>() < target_bytes;
    for (at, (key, row)) in changes.iter().enumerate() {
        let next = clusters.partition_point(|cluster| cluster.range.is_before(key));
        let is_inside = clusters.get(next).is_some_and(|cluster| !cluster.range.is_after(key));
        let place = match next {
            _ if is_inside => 2 * next + 1,
            _ if row.is_none() => continue,
            1.. if has_room(next - 1) => 2 * (next - 1) + 1,
            _ if next < clusters.len() && has_room(next) => 2 * next + 1,
            _ => 2 * next,
        };
        groups[place].changes.push(at);
    }
    for (cluster, group) in clusters.into_iter().zip(groups.iter_mut().skip(1).step_by(2)) {
        group.files = cluster.files;
    }
    groups.into_iter().filter(|group| !group.changes.is_empty()).collect()
}

/// Files whose ranges overlap; normally each file is alone.
#[derive(Debug)]
struct Cluster {
    range: KeyRange,
    files: Vec<Arc<DataFile>>,
}

fn clusters(files: &[Arc<DataFile>]) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::with_capacity(files.len());
    for file in files {
        match clusters.last_mut() {
            Some(last) if last.range.overlaps(file.range()) => {
                last.range = last.range.joined(file.range());
                last.files.push(Arc::clone(file));
            }
            _ => clusters.push(Cluster { range: file.range().clone(), files: vec![Arc::clone(file)] }),
        }
    }
    clusters
}

/// The rows of `files`, in key order.
pub(crate) async fn read_all(base: &Snapshot, files: &[Arc<DataFile>]) -> Result<RecordBatch, Error> {
    let table = base.table();
    let mut batches = Vec::new();
    for file in files {
        let rows = read::rows(base.shared(), file, None, &Want::default()).await?;
        batches.extend(rows.try_collect::<Vec<_>>().await?);
    }
    let rows = concat_batches(&table.schema(), &batches).told(table, "read rows")?;
    let in_order = files.iter().all(|file| file.is_sorted())
        && files.windows(2).all(|pair| !pair[0].range().overlaps(pair[1].range()));
    if in_order { Ok(rows) } else { sorted(table, &rows) }
}

fn sorted(table: TableId, rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let keys = RowKeys::of(table, rows);
    let mut order: Vec<(Key, u64)> = (0..rows.num_rows()).map(|row| (keys.at(row), row as u64)).collect();
    order.sort();
    let order = UInt64Array::from_iter_values(order.into_iter().map(|(_, row)| row));
    take_record_batch(rows, &order).told(table, "sort rows")
}

/// `old` (in key order) with `changes` applied, in batches that are made as they are written.
#[derive(Debug)]
struct Merging {
    table: TableId,
    old: RecordBatch,
    changes: Vec<Change>,
    /// The next row of `old`.
    from: usize,
    /// The next of the changes.
    next: usize,
}

impl Merging {
    /// How many rows there will be.
    fn rows(&self) -> usize {
        let keys = RowKeys::of(self.table, &self.old);
        let mut rows = self.old.num_rows();
        let mut from = 0;
        for (key, row) in &self.changes {
            from = keys.first_not_before(from, key);
            let replaced = from < self.old.num_rows() && keys.at(from) == *key;
            rows = rows + usize::from(row.is_some()) - usize::from(replaced);
        }
        rows
    }

    fn batch(&mut self) -> Result<RecordBatch, Error> {
        let keys = RowKeys::of(self.table, &self.old);
        let end = self.old.num_rows();
        let mut rows = Vec::new();
        let mut new = Vec::new();
        let mut new_bytes = 0;
        while rows.len() < MERGED_ROWS && new_bytes < MERGED_BYTES {
            let change = self.changes.get(self.next);
            let until = change.map_or(end, |(key, _)| keys.first_not_before(self.from, key));
            let reached = until.min(self.from + MERGED_ROWS - rows.len());
            rows.extend((self.from..reached).map(|row| (0, row)));
            self.from = reached;
            if reached < until {
                break;
            }
            let Some((key, row)) = change else { break };
            self.from += usize::from(until < end && keys.at(until) == *key);
            self.next += 1;
            if let Some(record) = row {
                rows.push((1, new.len()));
                new_bytes += record.bytes();
                new.push(record.as_ref());
            }
        }
        let new = batch_from_records(self.table, new)?;
        interleave_record_batch(&[&self.old, &new], &rows).told(self.table, "merge rows")
    }
}

impl Iterator for Merging {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.from < self.old.num_rows() || self.next < self.changes.len() {
            match self.batch() {
                Ok(batch) if batch.num_rows() == 0 => {}
                other => return Some(other),
            }
        }
        None
    }
}

/// The keys of the rows of a batch.
#[derive(Debug)]
struct RowKeys<'a> {
    table: TableId,
    rows: &'a RecordBatch,
}

impl<'a> RowKeys<'a> {
    fn of(table: TableId, rows: &'a RecordBatch) -> Self {
        Self { table, rows }
    }

    fn at(&self, row: usize) -> Key {
        let columns = &self.table.columns()[..self.table.key_len()];
        let key = columns.iter().zip(self.rows.columns()).fold(KeyBuilder::default(), |key, (column, array)| {
            match column.kind {
                ColumnKind::Text if array.is_null(row) => key.text(""),
                ColumnKind::Text => key.text(array.as_string::<i32>().value(row)),
                ColumnKind::Time => key.int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
                _ => key.int(array.as_primitive::<Int64Type>().value(row)),
            }
        });
        key.build()
    }

    /// The first row at or after `from` whose key is not before `key`. Gallops: cheap for neighbours and for leaps.
    fn first_not_before(&self, from: usize, key: &Key) -> usize {
        let end = self.rows.num_rows();
        let (mut low, mut step) = (from, 1);
        while low < end && self.at((low + step - 1).min(end - 1)) < *key {
            low = (low + step).min(end);
            step *= 2;
        }
        let mut high = (low + step - 1).min(end);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.at(middle) < *key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests;
