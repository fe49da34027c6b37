//! One table of a [`View`] as DataFusion sees it.
//!
//! Facts are the rows of the table files and the points in memory. For state tables the rows changed in memory hide those
//! of the files that have the same key. Files that cannot hold rows of the leading key column that a query asks for are
//! left out before any footer is read; pages within files are left out by the Parquet reader.

mod files;
mod memory;
mod prune;
mod readers;
mod unchanged;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Constraint;
use datafusion::common::Constraints;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::path::Path;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use runlake_engine::View;
use runlake_memtable::StateRows;
use runlake_types::rows::Row as _;
use runlake_types::{Column, ColumnKind, Key, Record, RunId, TableId, TableKind};

use crate::Error;
use files::FileScan;
pub(crate) use files::STORE;
use prune::Wanted;

/// A table at one position of the log.
#[derive(Debug)]
pub(crate) struct ViewTable {
    view: View,
    table: TableId,
    schema: SchemaRef,
    constraints: Constraints,
}

impl ViewTable {
    pub(crate) fn new(view: View, table: TableId) -> Self {
        let keys = match table.kind() {
            TableKind::State => vec![Constraint::PrimaryKey((0..table.key_len()).collect())],
            TableKind::Facts => Vec::new(),
        };
        Self { view, table, schema: schema(table), constraints: Constraints::new_unverified(keys) }
    }

    /// How many rows it has at most, in files and in memory together, as far as that is known without looking.
    pub(crate) fn rows(&self) -> u64 {
        let in_memory = self.view.memtables().map(|memtable| match self.table {
            TableId::Metrics | TableId::LatestMetrics => memtable.metrics().len(),
            table => memtable.state(table).map_or(0, StateRows::len),
        });
        self.view.snapshot(self.table).rows() + in_memory.map(|rows| rows as u64).sum::<u64>()
    }

    /// Rows that memory changed, by key; `None` where one was deleted.
    async fn changed(&self, wanted: &Wanted) -> Result<Vec<(Key, Option<Arc<Record>>)>, Error> {
        if self.table != TableId::LatestMetrics {
            return Ok(self.view.changed(self.table, &wanted.prefixes()));
        }
        let runs: Option<Vec<RunId>> = wanted.leading().map(|runs| runs.into_iter().map(RunId::from_stored).collect());
        let rows = self.view.changed_latest(runs.as_deref()).await?;
        Ok(rows.iter().map(|row| (row.key(), Some(Arc::new(row.to_record())))).collect())
    }

    /// Rows of memory that hide rows of files, or are new.
    async fn scan_state(&self, scan: FileScan<'_>, wanted: &Wanted) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let changed = self.changed(wanted).await?;
        if changed.is_empty() {
            return Ok(scan.plain()?.into_iter().collect());
        }
        let keys: Vec<Key> = changed.iter().map(|(key, _)| key.clone()).collect();
        let (touched, untouched) = scan.split(|file| file.may_hold_any(&keys));
        let mut plans = Vec::with_capacity(3);
        plans.extend(untouched.plain()?);
        plans.extend(touched.without(keys)?);
        let rows: Vec<_> = changed.into_iter().filter_map(|(_, row)| row).collect();
        plans.extend(memory::state(self.table, &self.schema, rows, touched.projection().cloned())?);
        Ok(plans)
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters only narrow what is read: DataFusion applies them again.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::of(self.table, filters);
        let snapshot = self.view.snapshot(self.table);
        let live: Vec<_> = snapshot.files().iter().filter(|file| wanted.may_be_in(file)).cloned().collect();
        let scan = FileScan::new(snapshot, &self.schema, live, projection, limit).ordered(wanted.leading().is_some());
        let mut plans = match self.table.kind() {
            TableKind::State => self.scan_state(scan, &wanted).await?,
            TableKind::Facts => {
                let mut plans: Vec<_> = scan.plain()?.into_iter().collect();
                plans.extend(memory::points(&self.view, &self.schema, &wanted, projection, limit)?);
                plans
            }
        };
        match plans.len() {
            0 => {
                let schema = match projection {
                    Some(columns) => Arc::new(self.schema.project(columns)?),
                    None => Arc::clone(&self.schema),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => Ok(plans.swap_remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

/// Whether an object is a file of `table`.
pub(crate) fn is_file_of(table: TableId, location: &Path) -> bool {
    location.prefix_matches(&runlake_storage::names::table_root(table.name()))
}

/// The columns of a table as queries see them. Text is read as views, which neither copy nor look at a text twice.
pub(crate) fn schema(table: TableId) -> SchemaRef {
    let field = |column: &Column| {
        let kind = match column.kind {
            ColumnKind::Text => DataType::Utf8View,
            kind => kind.data_type(),
        };
        Field::new(column.name, kind, column.nullable)
    };
    Arc::new(Schema::new(table.columns().iter().map(field).collect::<Vec<_>>()))
}
