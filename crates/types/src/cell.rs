//! A row without its Rust type: what WAL, memtable and files pass around.

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// UTF-8 text.
    Text(Box<str>),
    /// A 64-bit integer, or a time in microseconds.
    Int(i64),
    /// A double.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text by text, in the order it was given.
    Map(Box<[(Box<str>, Box<str>)]>),
}

impl Cell {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Map(entries) => entries.iter().map(|(k, v)| 32 + k.len() + v.len()).sum(),
            Self::Null | Self::Int(_) | Self::Float(_) | Self::Bool(_) => 0,
        }
    }
}

/// The cells of one row of a state table, in the order of [`crate::TableId::columns`].
#[derive(Debug, Clone, PartialEq)]
pub struct Record(Box<[Cell]>);

impl Record {
    /// From cells in column order.
    pub fn new(cells: impl Into<Box<[Cell]>>) -> Self {
        Self(cells.into())
    }

    /// The cells in column order.
    pub fn cells(&self) -> &[Cell] {
        &self.0
    }

    /// Memory the record takes, roughly.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val::<[Cell]>(&self.0) + self.0.iter().map(Cell::heap_bytes).sum::<usize>()
    }
}
