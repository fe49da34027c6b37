//! A look at everything the tables name, for `runlake doctor`: slower than opening a lake, and changes nothing.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use futures::{StreamExt as _, TryStreamExt as _};
use runlake_lake::Snapshot;
use runlake_storage::names;
use runlake_types::rows::Run;
use runlake_types::{KeyBuilder, TableId, TableKind};
use rustc_hash::FxHashSet;

use crate::{Engine, Error, Result, View};

/// Files looked at side by side.
const FILES_AT_ONCE: usize = 16;
/// Ids that a sentence names at most.
const NAMED: usize = 5;

/// Tables whose rows belong to rows of another one, or never come without them: `(rows here, want rows there)`.
const BELONGS: [(TableId, TableId); 19] = [
    (TableId::ExperimentTags, TableId::Experiments),
    (TableId::Runs, TableId::Experiments),
    // The name of a run is a tag of it.
    (TableId::Runs, TableId::Tags),
    (TableId::Params, TableId::Runs),
    (TableId::Tags, TableId::Runs),
    (TableId::Metrics, TableId::Runs),
    (TableId::Metrics, TableId::LatestMetrics),
    (TableId::LatestMetrics, TableId::Metrics),
    (TableId::LoggedModelParams, TableId::LoggedModels),
    (TableId::LoggedModelTags, TableId::LoggedModels),
    (TableId::LoggedModelMetrics, TableId::LoggedModels),
    (TableId::RegisteredModelTags, TableId::RegisteredModels),
    (TableId::RegisteredModelAliases, TableId::RegisteredModels),
    (TableId::ModelVersions, TableId::RegisteredModels),
    (TableId::ModelVersionTags, TableId::ModelVersions),
    (TableId::RegisteredModels, TableId::RegistryEvents),
    (TableId::ApprovalPolicies, TableId::RegisteredModels),
    (TableId::ApprovalRequests, TableId::RegisteredModels),
    (TableId::ApprovalVotes, TableId::ApprovalRequests),
];

/// How far an examination has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Files looked at.
    pub files: usize,
    /// Files there are.
    pub of: usize,
}

impl Engine {
    /// Looks at every file that the tables name, and at whether the tables fit each other. A sentence for each thing that
    /// is wrong. `progress` hears of each file.
    pub async fn examine(&self, mut progress: impl FnMut(Examined)) -> Result<Vec<String>> {
        let view = self.view();
        let mut wrong = Vec::new();
        let of = TableId::ALL.iter().map(|table| view.snapshot(*table).files().len()).sum();
        let mut examined = Examined { files: 0, of };
        let mut whole = FxHashSet::default();
        for &table in TableId::ALL {
            let snapshot = view.snapshot(table);
            let found = wrong.len();
            let mut looks = futures::stream::iter(snapshot.files())
                .map(|file| async move { (file.location(), snapshot.examine(file).await) })
                .buffered(FILES_AT_ONCE);
            while let Some((location, outcome)) = looks.next().await {
                if let Err(damage) = outcome {
                    wrong.push(format!("{location} {damage}"));
                }
                examined.files += 1;
                progress(examined);
            }
            if snapshot.version().is_none() && self.has_files(table).await? {
                wrong.push(format!("tables/{table} holds files, but no log that names them"));
            }
            if wrong.len() == found {
                whole.insert(table);
            }
        }
        wrong.extend(missing_tables(&view));
        // What a damaged table says of others is of no use; its damage has been told.
        if [TableId::Metrics, TableId::LatestMetrics].iter().all(|table| whole.contains(table)) {
            wrong.extend(lost_points(&view).await?);
        }
        if whole.contains(&TableId::Runs) {
            wrong.extend(homeless_rows(&view, &whole).await?);
        }
        Ok(wrong)
    }

    async fn has_files(&self, table: TableId) -> Result<bool> {
        let root = names::table_root(table.name());
        let store = self.store();
        let first = store.objects().list(Some(&root)).next().await.transpose();
        let failed = |source| Error::from(store.failed("list", &root, source));
        Ok(first.map_err(failed)?.is_some())
    }
}

/// Whether a table has rows in this view. A state row in memory may be a deletion, which also says that there were rows.
fn has_rows(view: &View, table: TableId) -> bool {
    let in_memory = view.memtables().any(|memtable| match table.kind() {
        TableKind::Facts => !memtable.metrics().is_empty(),
        TableKind::State => memtable.state(table).is_some(),
    });
    in_memory || view.snapshot(table).version().is_some()
}

/// Tables that were never written to, though rows of others cannot be without rows of theirs.
fn missing_tables(view: &View) -> Vec<String> {
    let mut missing: Vec<(TableId, TableId)> = Vec::new();
    for (here, there) in BELONGS {
        let implied = view.snapshot(here).rows() > 0 && !has_rows(view, there);
        if implied && !missing.iter().any(|(_, told)| *told == there) {
            missing.push((here, there));
        }
    }
    let told = missing.into_iter().map(|(here, there)| {
        format!("tables/{there} is missing: there are rows in tables/{here}, which never come without rows of it")
    });
    told.collect()
}

/// Points that `latest_metrics` counted and `metrics` does not hold. It may hold more: a point that was flushed twice
/// stays twice until compaction.
async fn lost_points(view: &View) -> Result<Option<String>> {
    let (latest, metrics) = (view.snapshot(TableId::LatestMetrics), view.snapshot(TableId::Metrics));
    // `latest_metrics` is flushed first; after a flush that was cut short the rest comes from the log.
    let in_memory: usize = view.memtables().map(|memtable| memtable.metrics().len()).sum();
    let held = metrics.rows() + if latest.watermark() > metrics.watermark() { in_memory as u64 } else { 0 };
    let mut counted = 0;
    let mut batches = latest.scan(Some(&["count"]));
    while let Some(batch) = batches.try_next().await? {
        let counts = batch.column(0).as_primitive::<Int64Type>();
        counted += counts.iter().flatten().map(|count| u64::try_from(count).unwrap_or(0)).sum::<u64>();
    }
    let told = || format!("tables/metrics holds {held} points, but tables/latest_metrics counted {counted}");
    Ok((held < counted).then(told))
}

/// Rows of runs that are not there.
async fn homeless_rows(view: &View, whole: &FxHashSet<TableId>) -> Result<Vec<String>> {
    let runs = view.scan::<Run>(&KeyBuilder::default().build()).await?;
    let known: FxHashSet<&str> = runs.iter().map(|run| run.run_id.as_str()).collect();
    let mut wrong = Vec::new();
    let of_runs = |table: &TableId| table.kind() == TableKind::State && table.columns()[0].name == "run_id";
    for &table in TableId::ALL.iter().filter(|table| **table != TableId::Runs && of_runs(table)) {
        if whole.contains(&table) {
            let unknown = unknown_runs(view.snapshot(table), &known).await?;
            if !unknown.is_empty() {
                let named: Vec<_> = unknown.iter().take(NAMED).map(String::as_str).collect();
                let (count, named) = (unknown.len(), named.join(", "));
                wrong.push(format!(
                    "tables/{table} has rows of {count} runs that tables/runs does not know, among them {named}"
                ));
            }
        }
    }
    Ok(wrong)
}

async fn unknown_runs(snapshot: &Snapshot, known: &FxHashSet<&str>) -> Result<Vec<String>> {
    let mut unknown: Vec<String> = Vec::new();
    let mut batches = snapshot.scan(Some(&["run_id"]));
    while let Some(batch) = batches.try_next().await? {
        for run_id in batch.column(0).as_string::<i32>().iter().flatten() {
            // Rows of a run follow each other.
            if !known.contains(run_id) && unknown.last().is_none_or(|last| last != run_id) {
                unknown.push(run_id.to_owned());
            }
        }
    }
    Ok(unknown)
}
