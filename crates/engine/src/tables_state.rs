//! Where some tables stand, to tell whether they changed.

use runlake_memtable::StateRows;
use runlake_types::TableId;

use crate::View;

/// What some state tables held at one moment. Two are equal if nothing was written to these tables in between, so that
/// what was made of the one is as good for the other; rows that moved from memory to files may make them differ.
#[derive(Debug, Clone)]
pub struct TablesState(Vec<TableState>);

#[derive(Debug, Clone)]
struct TableState {
    table: TableId,
    /// Version of the table's files.
    version: Option<u64>,
    /// The rows above them, newest generation first. Holding them makes the writer write beside them.
    rows: Vec<StateRows>,
}

impl TablesState {
    pub(crate) fn of(view: &View, tables: &[TableId]) -> Self {
        let of = |table: TableId| TableState {
            table,
            version: view.snapshot(table).version(),
            rows: view.memtables().filter_map(|memtable| memtable.state(table).cloned()).collect(),
        };
        Self(tables.iter().map(|table| of(*table)).collect())
    }
}

impl PartialEq for TablesState {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl PartialEq for TableState {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
            && self.version == other.version
            && self.rows.len() == other.rows.len()
            && self.rows.iter().zip(&other.rows).all(|(mine, others)| mine.ptr_eq(others))
    }
}
