//! One version of a table: its live files, and reads of them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use deltalake_core::table::state::DeltaTableState;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore;
use object_store::path::Path;
use runlake_types::{Key, Point, Record, RunId, Seq, TableId, TableKind, Timestamp, records_from_batch};
use rustc_hash::FxHashMap;

use crate::Error;
use crate::commit::Plan;
use crate::file::DataFile;
use crate::read::{self, Caches, FileReader, TimeSpan, Want};

/// Files read at the same time by one call.
const FILES_AT_ONCE: usize = 8;

/// Rows of a table, batch by batch.
pub type BatchStream = BoxStream<'static, Result<RecordBatch, Error>>;

/// Where the files of a table are, and what is shared by all its snapshots.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) table: TableId,
    /// The objects of the lake.
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// The same objects, as the Delta library reads them.
    pub(crate) log_objects: Arc<dyn ObjectStore>,
    /// Root of the table below the lake.
    pub(crate) root: Path,
    pub(crate) caches: Arc<Caches>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("root", &self.root).finish_non_exhaustive()
    }
}

/// One version of a table. It stays readable while later versions are committed, until its files are vacuumed.
#[derive(Debug, Clone)]
pub struct Snapshot {
    files: Files,
    version: Option<u64>,
    watermark: Seq,
    live: Vec<Arc<DataFile>>,
}

impl Snapshot {
    /// Version in the Delta log; `None` while nothing was committed.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Up to where the table holds the log. [`Seq`] 0 is nothing.
    pub fn watermark(&self) -> Seq {
        self.watermark
    }

    /// The table.
    pub fn table(&self) -> TableId {
        self.files.table
    }

    /// The live files: those of a state table in key order.
    pub fn files(&self) -> &[Arc<DataFile>] {
        &self.live
    }

    /// Number of rows, of those files whose number the log says. Points that were flushed twice count until compaction.
    pub fn rows(&self) -> u64 {
        self.live.iter().filter_map(|file| file.rows()).sum()
    }

    /// Size of all live files.
    pub fn bytes(&self) -> u64 {
        self.live.iter().map(|file| file.size()).sum()
    }

    /// State: every row whose key starts with `prefix` (an empty one: every row), in key order.
    pub async fn records(&self, prefix: &Key) -> Result<Vec<(Key, Record)>, Error> {
        self.records_of(std::slice::from_ref(prefix)).await
    }

    /// State: every row whose key starts with one of `prefixes`, in key order. They ascend, none starts with another,
    /// and each file is read once for all of them.
    pub async fn records_of(&self, prefixes: &[Key]) -> Result<Vec<(Key, Record)>, Error> {
        debug_assert!(prefixes.windows(2).all(|pair| pair[0] < pair[1] && !pair[1].starts_with(&pair[0])));
        let mut reads = Vec::new();
        for file in &self.live {
            let within: Vec<Key> = prefixes.iter().filter(|prefix| file.range().may_hold(prefix)).cloned().collect();
            if !within.is_empty() {
                reads.push(self.records_in(Arc::clone(file), within));
            }
        }
        let parts: Vec<Vec<_>> = stream::iter(reads).buffered(FILES_AT_ONCE).try_collect().await?;
        let mut rows: Vec<_> = parts.into_iter().flatten().collect();
        if !rows.is_sorted_by(|(a, _), (b, _)| a <= b) {
            rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        Ok(rows)
    }

    async fn records_in(&self, file: Arc<DataFile>, prefixes: Vec<Key>) -> Result<Vec<(Key, Record)>, Error> {
        let table = self.files.table;
        let all = prefixes.iter().any(|prefix| prefix.as_bytes().is_empty());
        let wanted = if all { Want::default() } else { Want::any_of(prefixes.iter().map(Key::leading_text).collect()) };
        let mut batches = read::rows(&self.files, &file, None, &wanted).await?;
        let mut rows = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            let found = records_from_batch(table, &batch)?.into_iter().map(|record| (Key::of(table, &record), record));
            rows.extend(found.filter(|(key, _)| {
                let after = prefixes.partition_point(|prefix| prefix <= key);
                after > 0 && key.starts_with(&prefixes[after - 1])
            }));
        }
        Ok(rows)
    }

    /// Facts: every point of one series in [`Point::file_order`], identical points once.
    pub async fn points(&self, run_id: &RunId, key: &str) -> Result<Vec<Point>, Error> {
        self.points_between(run_id, key, None).await
    }

    /// Facts: points of one series from `since` on, about `count` of them if there are as many, and the time up to
    /// which they are complete; `None`: to the end. Earlier and later points may be among them. In file order, identical
    /// ones once.
    pub async fn points_since(
        &self,
        run_id: &RunId,
        key: &str,
        since: Timestamp,
        count: usize,
    ) -> Result<(Vec<Point>, Option<Timestamp>), Error> {
        let series = [run_id.as_str(), key];
        let mut spans = Vec::new();
        for file in self.live.iter().filter(|file| file.may_hold_text(&series)) {
            spans.extend(read::time_spans(&self.files, file, series).await?);
        }
        let until = enough(spans, since.micros(), count);
        let points = self.points_between(run_id, key, Some((since.micros(), until.unwrap_or(i64::MAX)))).await?;
        Ok((points, until.map(Timestamp::from_micros)))
    }

    async fn points_between(&self, run_id: &RunId, key: &str, times: Option<(i64, i64)>) -> Result<Vec<Point>, Error> {
        let series = [run_id.as_str(), key];
        let candidates: Vec<_> = self.live.iter().filter(|file| file.may_hold_text(&series)).cloned().collect();
        let parts: Vec<Vec<Point>> = stream::iter(candidates)
            .map(|file| async move { read::points(&self.files, &file, series, times).await })
            .buffered(FILES_AT_ONCE)
            .try_collect()
            .await?;
        let mut parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.sort_by(|a, b| a[0].file_order(&b[0]));
        let mut points = if parts.len() == 1 { parts.swap_remove(0) } else { parts.concat() };
        if !points.is_sorted_by(|a, b| a.file_order(b).is_lt()) {
            // Stable merge sort: the parts are sorted runs already.
            points.sort_by(Point::file_order);
            points.dedup();
        }
        Ok(points)
    }

    /// The whole table, file by file (a state table in key order), with the table's column names and types. `columns`
    /// keeps only these, in the table's order.
    pub fn scan(&self, columns: Option<&[&str]>) -> BatchStream {
        let columns: Option<Arc<[String]>> = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let files = self.files.clone();
        stream::iter(self.live.clone())
            .then(move |file| {
                let (files, columns) = (files.clone(), columns.clone());
                async move { read::rows(&files, &file, columns.as_deref(), &Want::default()).await }
            })
            .try_flatten()
            .boxed()
    }

    /// Reads the file at `location`, which has `size` bytes, as the Parquet library asks for it.
    pub fn reader(&self, location: Path, size: u64) -> FileReader {
        FileReader::at(&self.files, location, size)
    }

    pub(crate) fn empty(files: Files) -> Self {
        Self { files, version: None, watermark: Seq(0), live: Vec::new() }
    }

    /// The version that `state` holds. Files this snapshot knows already are not parsed again.
    pub(crate) fn reread(&self, state: &DeltaTableState, watermark: Seq) -> Self {
        let known: FxHashMap<&str, &Arc<DataFile>> = self.live.iter().map(|file| (file.name(), file)).collect();
        let log = state.log_data();
        let live = log.iter().map(|view| {
            known.get(view.path().as_ref()).map_or_else(
                || {
                    #[allow(deprecated, reason = "the only public way to an action's tags")]
                    let add = view.add_action();
                    Arc::new(DataFile::from_add(self.files.table, &self.files.root, add))
                },
                |file| Arc::clone(file),
            )
        });
        Self::of(self.files.clone(), state.version(), watermark, live.collect())
    }

    /// The version after `plan` was committed on top of this one.
    pub(crate) fn committed(&self, version: u64, watermark: Seq, plan: &Plan) -> Self {
        let (table, root) = (self.files.table, &self.files.root);
        let kept = self.live.iter().filter(|file| !plan.removes.iter().any(|removed| removed.name() == file.name()));
        let added = plan
            .adds
            .iter()
            .map(|written| Arc::new(DataFile::from_add(table, root, DataFile::add_of(table, written, true))));
        Self::of(self.files.clone(), version, watermark, kept.cloned().chain(added).collect())
    }

    fn of(files: Files, version: u64, watermark: Seq, mut live: Vec<Arc<DataFile>>) -> Self {
        match files.table.kind() {
            TableKind::State => live.sort_by(|a, b| a.range().first.cmp(&b.range().first)),
            TableKind::Facts => live.sort_by(|a, b| (a.bounds(0), a.name()).cmp(&(b.bounds(0), b.name()))),
        }
        Self { files, version: Some(version), watermark, live }
    }

    pub(crate) fn is_live(&self, file: &DataFile) -> bool {
        self.has_name(file.name())
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.live.iter().any(|file| file.name() == name)
    }

    pub(crate) fn shared(&self) -> &Files {
        &self.files
    }
}

/// The time by which `count` rows after `since` have come for certain; `None`: all there are may be needed.
fn enough(mut spans: Vec<TimeSpan>, since: i64, count: usize) -> Option<i64> {
    spans.retain(|span| span.times.0 >= since);
    spans.sort_unstable_by_key(|span| span.times.1);
    let mut rows = 0;
    spans
        .iter()
        .find(|span| {
            rows += span.rows;
            rows >= count
        })
        .map(|span| span.times.1)
        .filter(|until| *until < i64::MAX)
}
