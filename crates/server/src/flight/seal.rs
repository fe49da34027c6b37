//! What this server gives out and takes back (tickets, handles of statements, cookies of sessions) is sealed: nothing but its
//! own words come back to it, so what they hold is read without fear.
//!
//! The key lives as long as the process. After a restart clients ask for new ones.

use std::sync::Arc;

use ring::hmac;
use ring::rand::SystemRandom;

use crate::error::{ApiError, Result};
use crate::wire::lake_of;

/// What everything sealed begins with. No protobuf message of Flight SQL does, and no JSON.
const MARK: &[u8] = b"rlt1";
const TAG_BYTES: usize = 32;
/// Bytes of something sealed at most: a statement and its parameters are far smaller.
const MOST_BYTES: usize = 8 << 20;

/// The key of this process. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Seal {
    key: Arc<hmac::Key>,
    lake: Arc<str>,
}

impl Seal {
    /// A new key, of a server of the lake called `lake`.
    pub(super) fn new(lake: &str) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("the system has random bytes");
        Self { key: Arc::new(key), lake: lake.into() }
    }

    /// The lake that sealed things name.
    pub(super) fn lake(&self) -> &str {
        &self.lake
    }

    /// Whether these bytes claim to be sealed.
    pub(super) fn is_sealed(bytes: &[u8]) -> bool {
        bytes.starts_with(MARK)
    }

    /// Seals a payload, which is JSON.
    pub(super) fn close(&self, payload: &[u8]) -> Vec<u8> {
        let tag = hmac::sign(&self.key, payload);
        [MARK, tag.as_ref(), payload].concat()
    }

    /// The payload of what this server has sealed; `what` is what it is called in errors.
    pub(super) fn open<'a>(&self, what: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let nothing = || {
            ApiError::invalid(format!(
                "The {what} is none of this server's, or was cut short: send it as it was given out, or ask for a new one."
            ))
        };
        let parts = bytes.strip_prefix(MARK).and_then(|rest| rest.split_at_checked(TAG_BYTES));
        let (tag, payload) = parts.filter(|_| bytes.len() <= MOST_BYTES).ok_or_else(nothing)?;
        if hmac::verify(&self.key, payload, tag).is_ok() {
            return Ok(payload);
        }
        Err(match lake_of(payload) {
            Some(lake) if lake != *self.lake => ApiError::invalid(format!(
                "The {what} is of another server, which serves another lake: ask this server for one."
            )),
            Some(_) => ApiError::invalid(format!(
                "The {what} was changed, or given out before this server was started: ask for a new one."
            )),
            None => nothing(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAYLOAD: &[u8] = br#"{"lake":"a","id":"1","asked":{"statement":"SELECT 1"}}"#;

    fn refusal(seal: &Seal, bytes: &[u8]) -> String {
        seal.open("ticket", bytes).expect_err("refused").message().to_owned()
    }

    #[test]
    fn only_its_own_words_come_back() {
        let (ours, restarted, other) = (Seal::new("a"), Seal::new("a"), Seal::new("b"));
        let sealed = ours.close(PAYLOAD);
        assert!(Seal::is_sealed(&sealed));
        assert_eq!(ours.open("ticket", &sealed).expect("ours"), PAYLOAD);
        assert!(refusal(&restarted, &sealed).contains("before this server was started"));
        assert!(refusal(&other, &sealed).contains("of another server"));
        for nothing in [&b""[..], b"rlt1", b"hello", &sealed[..20], &sealed[..40], PAYLOAD] {
            assert!(refusal(&ours, nothing).contains("none of this server's"), "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn a_change_anywhere_is_seen(place in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>()) {
            let seal = Seal::new("a");
            let sealed = seal.close(PAYLOAD);
            let mut changed = sealed.clone();
            changed[place.index(sealed.len())] ^= flip;
            prop_assert!(seal.open("ticket", &changed).is_err());
            prop_assert!(seal.open("ticket", &sealed[..cut.index(sealed.len())]).is_err());
        }

        #[test]
        fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let seal = Seal::new("a");
            prop_assert!(seal.open("ticket", &noise).is_err());
            prop_assert!(seal.open("ticket", &[MARK, &noise].concat()).is_err());
        }
    }
}
