//! What there is to ask, for `\d` and for completion.

use arrow_array::cast::AsArray as _;
use futures::TryStreamExt as _;

use super::source::{Question, Source};
use crate::Result;

/// Tables with their columns.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog {
    pub(super) tables: Vec<String>,
    pub(super) columns: Vec<String>,
}

impl Catalog {
    pub(super) async fn read(source: &Source) -> Result<Self> {
        let mut catalog = Self::default();
        let sql = "SELECT table_schema, table_name, column_name FROM information_schema.columns \
                   WHERE table_schema IN ('public', 'mlflow') ORDER BY 1, 2";
        let question = Question { sql: sql.to_owned(), params: Vec::new(), as_of: None, limit: None, timeout: None };
        let mut rows = source.ask(question).await?.batches;
        while let Some(batch) = rows.try_next().await? {
            let text = |column: usize| batch.column(column).as_string::<i32>();
            for row in 0..batch.num_rows() {
                let (schema, table) = (text(0).value(row), text(1).value(row));
                let table = if schema == "public" { table.to_owned() } else { format!("{schema}.{table}") };
                if catalog.tables.last() != Some(&table) {
                    catalog.tables.push(table);
                }
                catalog.columns.push(text(2).value(row).to_owned());
            }
        }
        catalog.columns.sort_unstable();
        catalog.columns.dedup();
        Ok(catalog)
    }
}
