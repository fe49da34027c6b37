//! What the operator sets.

use std::path::PathBuf;
use std::time::Duration;

/// Limits of queries. All of them are of the whole server, but for those that say otherwise.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Memory for sorting, grouping, joining. Beyond it queries spill to disk, or fail if they cannot.
    pub memory_bytes: usize,
    /// Threads that compute, at least 1.
    pub threads: usize,
    /// Queries that run at the same time, at least 1.
    pub running: usize,
    /// Queries that wait for their turn, first come first served. More are refused.
    pub waiting: usize,
    /// Time of one query, waiting for its turn and for its reader left out.
    pub time_limit: Duration,
    /// How long a query waits for its turn, and for a reader that takes nothing.
    pub patience: Duration,
    /// Rows of one answer; `None`: as many as there are.
    pub row_limit: Option<u64>,
    /// Folder for what does not fit into memory; `None`: the system's temporary one.
    pub spill_dir: Option<PathBuf>,
    /// Size of that folder's contents.
    pub spill_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            memory_bytes: 1 << 30,
            threads,
            running: 2 * threads.max(4),
            waiting: 256,
            time_limit: Duration::from_mins(5),
            patience: Duration::from_mins(1),
            row_limit: None,
            spill_dir: None,
            spill_bytes: 64 << 30,
        }
    }
}
