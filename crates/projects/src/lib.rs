//! MLflow Projects: code that says what it needs and how it is run.
//!
//! A run goes through these rooms, in this order: [`source`] fetches the project and tells its version, [`spec`] reads its
//! `MLproject`, [`parameters`] and `command` make one safe command line of the entry point, [`environment`] makes or finds
//! what the command needs, [`backend`] runs it, and [`launch`] tells the tracking server about all of it. [`sweep`]
//! launches many.
//!
//! Everything here blocks and belongs on a thread of its own. The server is reached through [`Tracking`], the terminal
//! through [`Console`]: this crate knows neither HTTP nor the command line. Nothing of a project's values is ever read as
//! code; what a project's own command does with them is its affair.

mod command;
mod error;
mod process;
mod shell;
mod tracking;

pub mod backend;
pub mod environment;
pub mod launch;
pub mod parameters;
pub mod source;
pub mod spec;
pub mod sweep;

pub use error::{Error, Result};
pub use tracking::{Cancel, Console, NewRun, Run, Status, Stream, Tracking};
