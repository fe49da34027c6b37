//! SQL over a lake.
//!
//! [`Queries`] takes a statement and gives rows. Each query stands at one position of the log: a `View` of the engine, whose
//! tables are the table files and the rows in memory above them. Statements only read, which is checked on their plan.
//! Queries compute on threads of their own, within a memory that they share, spilling to disk; each has a time limit.
//!
//! Nothing of DataFusion is in the interface, so that the doors do not depend on it.

mod answer;
mod bounded;
mod catalog;
mod error;
mod extremes;
pub mod format;
mod functions;
mod kept;
mod parameters;
mod queries;
mod series;
mod session;
mod settings;
mod statement;
mod table;
mod windows;
mod yielding;

pub use answer::Answer;
pub use catalog::{DATABASE, MLFLOW, PUBLIC, functions, tables};
pub use error::{Error, Result, Unbound};
pub use parameters::{Parameters, Value};
pub use queries::{Described, Load, Queries, Request, instant};
pub use settings::Settings;

#[cfg(test)]
mod tests;
