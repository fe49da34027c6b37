//! The engine of a lake: one writer, one flusher, one consistent view.
//!
//! A write goes [`Engine::admit`] (back-pressure) → [`Engine::submit`] → the writer thread, which gathers what is waiting
//! into a group, gives it the next [`Seq`](runlake_types::Seq), makes it durable in the WAL, applies it to the active
//! memtable and only then answers: durable, then visible, then acknowledged. The flusher freezes memtables and writes them
//! to the Delta tables, each commit carrying the position it reached; afterwards the WAL is trimmed.
//!
//! A read takes one [`View`]: the table snapshots and the memtables above their watermarks at one position of the log.
//!
//! The engine knows tables, rows and positions. It does not know MLflow's names, JSON or SQL.

mod budget;
mod codec;
mod engine;
mod error;
mod examine;
mod flush;
mod identity;
mod latest;
mod open;
mod runs;
mod settings;
mod state;
mod status;
mod tables_state;
mod tasks;
mod view;
mod writer;

pub mod search;

pub use engine::Engine;
pub use error::{Error, Result};
pub use examine::Examined;
pub use flush::{CompactSummary, FlushSummary, VacuumSummary};
pub use identity::Identity;
pub use runlake_lake::{CompactPolicy, LakeSettings, NumberedSeries};
pub use runlake_wal::Settings as WalSettings;
pub use runs::{RunEntry, RunGuard, RunState, RunStates};
pub use settings::{Access, Settings};
pub use status::{APPEND_BUCKETS_MICROS, Status};
pub use tables_state::TablesState;
pub use view::View;
pub use writer::Ticket;
