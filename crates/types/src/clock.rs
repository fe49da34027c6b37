//! The only place that reads the time.

use std::sync::atomic::{AtomicI64, Ordering};

/// A point in time, microseconds since the Unix epoch, UTC: the unit of every time column of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch (MLflow's unit); `None` when microseconds would overflow.
    pub const fn from_millis(millis: i64) -> Option<Self> {
        match millis.checked_mul(1000) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time `span` earlier; the earliest there is when that is out of reach.
    #[must_use]
    pub fn earlier_by(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Tells the time. Components take one, so that tests decide what time it is.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the time")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.micros()))
    }

    /// Moves the clock forward by `micros`.
    pub fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_has_a_beginning() {
        let at = Timestamp::from_micros(5_000_000);
        assert_eq!(at.earlier_by(std::time::Duration::from_secs(7)), Timestamp::from_micros(-2_000_000));
        assert_eq!(at.earlier_by(std::time::Duration::MAX), Timestamp::from_micros(i64::MIN));
    }

    #[test]
    fn millis_round_down_and_overflow_is_seen() {
        assert_eq!(Timestamp::from_micros(-1).millis(), -1);
        assert_eq!(Timestamp::from_micros(1999).millis(), 1);
        assert_eq!(Timestamp::from_millis(i64::MAX), None);
        assert_eq!(Timestamp::from_millis(7).map(Timestamp::micros), Some(7000));
    }
}
