//! A lake of made-up experiments, of any size and the same for the same seed: sweeps of noisy curves, nested runs, runs that
//! failed, datasets, artifacts, and a registry with versions, aliases and approvals.
//!
//! [`Runs`] makes runs one after the other and knows nothing of a lake; [`Batch`] holds many of them as Arrow batches, in the
//! columns that bulk ingest takes; [`fill`] writes them through the services of a lake that is open. Benchmarks may use each.

mod batch;
mod files;
mod fill;
mod registered;
mod runs;

pub use batch::Batch;
pub use fill::{Error, Filled, Progress, Services, fill};
pub use runs::{Chance, EXPERIMENTS, Experiment, Made, Runs, Series};

/// How much there is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Runs in all.
    pub runs: u64,
    /// Points of each training curve; curves of validation have a tenth.
    pub points: u64,
    /// What everything is made of.
    pub seed: u64,
}

impl Default for Scale {
    fn default() -> Self {
        Self { runs: 500, points: 200, seed: 1 }
    }
}
