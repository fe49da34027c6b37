//! The Delta tables of a lake: Parquet files, commits that carry a watermark, reads of one version.
//!
//! A [`Table`] is one Delta table. It hands out [`Snapshot`]s: the live files of one version, which keep reading after
//! later commits, until [`Table::vacuum`] deletes what its retention no longer covers.
//!
//! # The commit
//!
//! Every flush commits with an application transaction named after the lake, whose version is the position in the log
//! the flush reached ([`Watermark`]). A table therefore knows, from its own newest version, which log entries it holds.
//!
//! * One committer per table, always from its own newest version, never with retries of the Delta library: that library's
//!   conflict check passes over rewrites and would double rows. When the log has moved, the committer looks again.
//! * A commit goes ahead only if the table's watermark is the one the flushed range was cut on; otherwise the caller is
//!   told [`Error::WatermarkMoved`] and cuts its range anew.
//! * After any error the table is read again, and if what was to be committed is there, the commit has landed: an answer
//!   may be lost, and steps after the commit may fail.
//!
//! # The files
//!
//! Facts are sorted by (run, key, step, timestamp, value) inside a file; files overlap until they are compacted. Files of
//! a state table are sorted by key and do not overlap, so that a point look-up reads one file. Both orders, and the key
//! range of state files, are recorded in the tags of Delta's `add` actions; a file another tool has written has no such
//! tags and is read and merged without relying on order.

mod as_of;
mod commit;
mod compact;
mod delta;
mod error;
mod examine;
mod file;
mod lake;
mod log_reads;
mod maintain;
mod merge;
mod numbered;
mod read;
mod settings;
mod snapshot;
mod table;
mod write;

pub use compact::{CompactPolicy, CompactReport};
pub use error::Error;
pub use examine::Damage;
pub use file::DataFile;
pub use lake::Lake;
pub use maintain::VacuumReport;
pub use numbered::NumberedSeries;
pub use read::FileReader;
pub use settings::LakeSettings;
pub use snapshot::{BatchStream, Snapshot};
pub use table::{Table, Watermark};

#[cfg(test)]
mod testing;
