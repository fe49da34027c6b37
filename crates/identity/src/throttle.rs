//! Slows down who guesses: after some failures a name, and the address that asks, wait longer and longer.
//!
//! Names that do not exist wait like those that do. What was found right before is not slowed down at all (it does not
//! come here), so guessing somebody's password does not lock out the programs they have running.

use std::net::IpAddr;

use parking_lot::Mutex;
use runlake_types::Timestamp;
use rustc_hash::FxHashMap;

use crate::{Error, Result};

/// Failures of one name before it waits.
const FREE_BY_NAME: u32 = 5;
/// Failures from one address before it waits; many people may share one.
const FREE_BY_PEER: u32 = 50;
/// Longest wait.
const MOST_SECONDS: u32 = 30;
/// Failures are forgotten after this time without another.
const MEMORY_MICROS: i64 = 15 * 60 * 1_000_000;
/// Names and addresses remembered.
const MOST_ENTRIES: usize = 10_000;
/// Bytes of a name that count.
const NAME_BYTES: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Name(Box<[u8]>),
    Peer(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<FxHashMap<Key, Failures>>);

impl Throttle {
    /// Lets an attempt through, or says how long to wait.
    pub(crate) fn admit(&self, name: &str, peer: Option<IpAddr>, now: Timestamp) -> Result<()> {
        let failures = self.0.lock();
        let wait = keys(name, peer).filter_map(|key| Some(wait(&key, failures.get(&key)?, now))).max();
        match wait {
            Some(seconds @ 1..) => Err(Error::SlowDown { seconds }),
            _ => Ok(()),
        }
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, name: &str, peer: Option<IpAddr>, now: Timestamp) {
        let mut failures = self.0.lock();
        if failures.len() + 2 > MOST_ENTRIES {
            make_room(&mut failures, now);
        }
        for key in keys(name, peer) {
            let entry = failures.entry(key).or_insert(Failures { count: 0, last: now });
            let count = if is_forgotten(entry, now) { 0 } else { entry.count };
            *entry = Failures { count: count.saturating_add(1), last: now };
        }
    }

    /// Forgets the failures of a name whose secret was given. Those of the address stay: it may guess other names.
    pub(crate) fn succeeded(&self, name: &str) {
        for key in keys(name, None) {
            self.0.lock().remove(&key);
        }
    }
}

fn keys(name: &str, peer: Option<IpAddr>) -> impl Iterator<Item = Key> {
    let name = name.as_bytes();
    let name = Key::Name(name[..name.len().min(NAME_BYTES)].into());
    std::iter::once(name).chain(peer.map(|peer| Key::Peer(network(peer))))
}

/// The address, or of IPv6 the network: whoever has one address there has 2^64 (RFC 6177).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

fn is_forgotten(failures: &Failures, now: Timestamp) -> bool {
    now.micros().saturating_sub(failures.last.micros()) > MEMORY_MICROS
}

/// Seconds until the next attempt is looked at.
fn wait(key: &Key, failures: &Failures, now: Timestamp) -> u32 {
    let free = match key {
        Key::Name(_) => FREE_BY_NAME,
        Key::Peer(_) => FREE_BY_PEER,
    };
    if failures.count < free || is_forgotten(failures, now) {
        return 0;
    }
    let pause = 1_u32.checked_shl((failures.count - free).min(16)).unwrap_or(MOST_SECONDS).min(MOST_SECONDS);
    let since = now.micros().saturating_sub(failures.last.micros()).max(0) / 1_000_000;
    pause.saturating_sub(u32::try_from(since).unwrap_or(u32::MAX))
}

/// Drops what is forgotten, and then the half that failed least recently.
fn make_room(failures: &mut FxHashMap<Key, Failures>, now: Timestamp) {
    failures.retain(|_, entry| !is_forgotten(entry, now));
    if failures.len() + 2 > MOST_ENTRIES {
        let mut times: Vec<Timestamp> = failures.values().map(|entry| entry.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        failures.retain(|_, entry| entry.last > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * SECOND)
    }

    fn waits(throttle: &Throttle, name: &str, peer: Option<IpAddr>, now: Timestamp) -> u32 {
        match throttle.admit(name, peer, now) {
            Ok(()) => 0,
            Err(Error::SlowDown { seconds }) => seconds,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_name_waits_longer_with_each_failure_and_is_forgiven() {
        let throttle = Throttle::default();
        let mut seen = Vec::new();
        for _ in 0..12 {
            throttle.failed("ann", None, at(0));
            seen.push(waits(&throttle, "ann", None, at(0)));
        }
        assert_eq!(seen, [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(waits(&throttle, "bob", None, at(0)), 0);
        assert_eq!(waits(&throttle, "ann", None, at(29)), 1);
        assert_eq!(waits(&throttle, "ann", None, at(30)), 0);
        throttle.succeeded("ann");
        assert_eq!(waits(&throttle, "ann", None, at(0)), 0);
    }

    #[test]
    fn an_address_that_tries_many_names_waits_too() {
        let throttle = Throttle::default();
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        for index in 0..FREE_BY_PEER {
            throttle.failed(&format!("u{index}"), Some(peer), at(0));
        }
        assert_eq!(waits(&throttle, "new", Some(peer), at(0)), 1);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(waits(&throttle, "new", Some(mapped), at(0)), 1);
        assert_eq!(waits(&throttle, "new", "10.0.0.2".parse().ok(), at(0)), 0);
        assert_eq!(waits(&throttle, "new", Some(peer), at(16 * 60)), 0);
    }

    #[test]
    fn addresses_of_one_ipv6_network_wait_together() {
        let throttle = Throttle::default();
        for index in 0..FREE_BY_PEER {
            throttle.failed(&format!("u{index}"), format!("2001:db8:0:1::{index:x}").parse().ok(), at(0));
        }
        assert_eq!(waits(&throttle, "new", "2001:db8:0:1:ffff::1".parse().ok(), at(0)), 1);
        assert_eq!(waits(&throttle, "new", "2001:db8:0:2::1".parse().ok(), at(0)), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for index in 0..3 * i64::try_from(MOST_ENTRIES).unwrap() {
            throttle.failed(&format!("u{index}"), None, at(index / 100));
            assert!(throttle.0.lock().len() <= MOST_ENTRIES);
        }
    }
}
