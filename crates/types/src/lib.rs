//! The vocabulary every other crate shares: ids, rows, the schema and key of each table, limits, time.
//!
//! Nothing here does I/O, spawns a task or knows JSON. A new table is a variant of [`TableId`] plus a row
//! struct in [`rows`]; everything below (WAL, memtable, Delta files) then carries it without being told more.

mod cell;
mod clock;
mod convert;
mod error;
mod ids;
mod key;
mod metric;
mod table;
mod write;

pub mod limits;
pub mod rows;

pub use cell::{Cell, Record};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use convert::{arrays_from_records, batch_from_records, records_from_batch};
pub use error::{ErrorKind, SchemaError};
pub use ids::{EventId, ExperimentId, InvalidId, ModelId, RunId, unique_id};
pub use key::{Key, KeyBuilder};
pub use metric::{Attribution, MetricAggregate, MetricBatch, Point, Series};
pub use rows::Row;
pub use table::{Column, ColumnKind, TableId, TableKind};
pub use write::{Change, Epoch, Seq, WriteBatch};
