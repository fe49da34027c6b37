//! What the tests of several crates share. Never a normal dependency, and it knows nothing above `types`, so that every
//! crate of the lower half can use it in its own unit tests.
//!
//! * [`FaultyStore`] wraps any object store: it counts requests, and refuses, delays, pauses or loses the answer of those
//!   it was told to, one by one ([`FaultyStore::plan`]), by number ([`FaultyStore::plan_after`]), by seeded chance
//!   ([`FaultyStore::randomly`]) or all ([`FaultyStore::cut`]).
//! * [`Random`] and [`Seed`] make a failure repeatable: the seed is printed when a test fails.
//! * [`clock`] stands still until it is moved.

use std::sync::Arc;

use runlake_types::{ManualClock, Timestamp};

mod faulty;
mod gate;
mod random;

pub use faulty::{Chances, Counts, Fault, FaultyStore, Verb};
pub use gate::Gate;
pub use random::{Random, Seed};

/// A clock that shows a date of 2023 until it is moved.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)))
}
