//! The names SQL knows: database `runlake`, schema `public` with the tables of the lake, schema `mlflow` with views for
//! people who come from elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::ViewTable as SqlView;
use datafusion::error::Result;
use runlake_engine::View;
use runlake_types::TableId;

use crate::functions::Lake;
use crate::table::ViewTable;

/// Name of the one database.
pub const DATABASE: &str = "runlake";
/// The schema that names without one are looked up in.
pub const PUBLIC: &str = "public";
/// The schema of the views.
pub const MLFLOW: &str = "mlflow";

/// Tables SQL does not show beside those that hold secrets: who may do what is the server's business.
const HIDDEN: &[TableId] = &[TableId::RoleGrants, TableId::IngestedBatches];

/// The tables SQL shows.
pub fn tables() -> impl Iterator<Item = TableId> {
    TableId::ALL.iter().copied().filter(|table| !table.is_secret() && !HIDDEN.contains(table))
}

/// How each table function is called.
pub fn functions() -> impl Iterator<Item = &'static str> {
    crate::functions::Kind::ALL.iter().map(|kind| kind.signature().usage)
}

/// Views in the schema `mlflow`, named and shaped as the system tables of Databricks are
/// (<https://docs.databricks.com/aws/en/admin/system-tables/mlflow>), without the columns of accounts and workspaces.
pub(crate) const VIEWS: &[(&str, &str)] = &[
    (
        "experiments_latest",
        "SELECT experiment_id, name, creation_time AS create_time, last_update_time AS update_time, \
         CASE WHEN lifecycle_stage = 'deleted' THEN last_update_time END AS delete_time FROM runlake.public.experiments",
    ),
    (
        "runs_latest",
        "SELECT r.run_id, r.experiment_id, r.user_id AS created_by, r.start_time, r.end_time, r.run_name, r.status, \
         p.params, t.tags, m.aggregated_metrics, r.deleted_time AS delete_time \
         FROM runlake.public.runs r \
         LEFT JOIN (SELECT run_id, map(array_agg(arrow_cast(key, 'Utf8')), array_agg(value)) AS params FROM runlake.public.params \
         GROUP BY run_id) p ON p.run_id = r.run_id \
         LEFT JOIN (SELECT run_id, map(array_agg(arrow_cast(key, 'Utf8')), array_agg(value)) AS tags FROM runlake.public.tags \
         GROUP BY run_id) t ON t.run_id = r.run_id \
         LEFT JOIN (SELECT run_id, array_agg(named_struct('metric_name', key, 'latest_value', value, 'min_value', min, \
         'max_value', max)) AS aggregated_metrics FROM runlake.public.latest_metrics GROUP BY run_id) m \
         ON m.run_id = r.run_id",
    ),
    (
        "run_metrics_history",
        "SELECT experiment_id, run_id, key AS metric_name, timestamp AS metric_time, step AS metric_step, \
         value AS metric_value FROM runlake.public.metrics",
    ),
];

/// The catalog at one position of the log.
#[derive(Debug)]
pub(crate) struct Catalog {
    schemas: Vec<(&'static str, Arc<dyn SchemaProvider>)>,
}

impl Catalog {
    /// The tables.
    pub(crate) fn new(view: View) -> Self {
        Self { schemas: vec![(PUBLIC, Arc::new(Tables(view)))] }
    }

    /// The tables, and the views over them.
    pub(crate) fn with_views(lake: &Lake) -> Self {
        let mut catalog = Self::new(lake.view.clone());
        catalog.schemas.push((MLFLOW, Arc::new(Views(lake.clone()))));
        catalog
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.schemas.iter().find(|(known, _)| *known == name).map(|(_, schema)| Arc::clone(schema))
    }
}

/// The tables at one position of the log.
#[derive(Debug)]
struct Tables(View);

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = tables().map(|table| table.name().to_owned()).collect();
        names.sort_unstable();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let table = tables().find(|table| table.name() == name);
        Ok(table.map(|table| Arc::new(ViewTable::new(self.0.clone(), table)) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        tables().any(|table| table.name() == name)
    }
}

/// The views, planned when a query asks for them.
#[derive(Debug)]
struct Views(Lake);

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        VIEWS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some((_, sql)) = VIEWS.iter().find(|(known, _)| *known == name) else { return Ok(None) };
        let plan = self.0.tables().create_logical_plan(sql).await?;
        Ok(Some(Arc::new(SqlView::new(plan, Some((*sql).to_owned())))))
    }

    fn table_exist(&self, name: &str) -> bool {
        VIEWS.iter().any(|(known, _)| *known == name)
    }
}

/// A sentence for a table that is not there, naming those that are most like it.
pub(crate) fn no_table(name: &str, names: &[String]) -> String {
    let mut near: Vec<(f64, &String)> =
        names.iter().map(|known| (strsim::jaro_winkler(name, known), known)).filter(|(like, _)| *like > 0.8).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<&str> = if near.is_empty() {
        names.iter().map(String::as_str).collect()
    } else {
        near.iter().take(3).map(|(_, known)| known.as_str()).collect()
    };
    let offer = if near.is_empty() { "there are" } else { "did you mean" };
    format!("there is no table {name:?}; {offer} {}{}", names.join(", "), if near.is_empty() { "" } else { "?" })
}
