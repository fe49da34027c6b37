//! The filter that hides rows of files that memory has newer versions of.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use runlake_types::{Key, KeyBuilder};
use rustc_hash::FxHashSet;

/// Whether the key in some columns is none of those that were changed.
#[derive(Debug)]
pub(crate) struct Unchanged {
    columns: Vec<Arc<dyn PhysicalExpr>>,
    changed: Arc<Changed>,
}

#[derive(Debug)]
struct Changed {
    keys: FxHashSet<Key>,
    /// The first column of the keys, by which most rows are told to be untouched.
    leading: FxHashSet<String>,
}

impl Unchanged {
    /// `columns` are the key columns of a table, and `changed` whole keys.
    pub(crate) fn new(columns: Vec<Arc<dyn PhysicalExpr>>, changed: Vec<Key>) -> Self {
        let leading = changed.iter().map(Key::leading_text).collect();
        Self { columns, changed: Arc::new(Changed { keys: changed.into_iter().collect(), leading }) }
    }
}

impl PhysicalExpr for Unchanged {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let columns = self
            .columns
            .iter()
            .map(|column| column.evaluate(batch)?.into_array(batch.num_rows()))
            .collect::<Result<Vec<_>>>()?;
        let leading = columns[0].as_string_view();
        let unchanged: BooleanArray = (0..batch.num_rows())
            .map(|row| Some(!self.changed.leading.contains(leading.value(row)) || !self.is_changed(&columns, row)))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(unchanged)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.columns.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { columns: children, changed: Arc::clone(&self.changed) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Unchanged {
    fn is_changed(&self, columns: &[ArrayRef], row: usize) -> bool {
        let mut key = KeyBuilder::default();
        for column in columns {
            key = match column.data_type() {
                DataType::Utf8View => key.text(column.as_string_view().value(row)),
                _ => key.int(column.as_primitive::<Int64Type>().value(row)),
            };
        }
        self.changed.keys.contains(&key.build())
    }
}

impl fmt::Display for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unchanged in memory ({} rows)", self.changed.keys.len())
    }
}

impl PartialEq for Unchanged {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns && Arc::ptr_eq(&self.changed, &other.changed)
    }
}

impl Eq for Unchanged {}

impl Hash for Unchanged {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.columns.hash(state);
        Arc::as_ptr(&self.changed).hash(state);
    }
}
