//! Random secrets, the form of a token, and keyed hashes by which secrets are remembered.

use std::fmt::Write as _;

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{Error, Result};

/// What every token starts with, so that people and scanners know one when they see it.
const PREFIX: &str = "rl_";
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 8;

/// A keyed hash of a secret: of no use to anybody outside this process.
pub(crate) type Fingerprint = [u8; 32];

/// A new secret of 256 random bits, as hex digits.
pub(crate) fn random() -> Result<String> {
    random_hex::<SECRET_BYTES>()
}

/// A new id of a token.
pub(crate) fn token_id() -> Result<String> {
    random_hex::<ID_BYTES>()
}

/// A token as it is shown once.
pub(crate) fn token(id: &str, secret: &str) -> String {
    format!("{PREFIX}{id}_{secret}")
}

/// Id and secret of a token; `None` if the text cannot be one.
pub(crate) fn parse_token(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let fits = |part: &str, bytes: usize| part.len() == 2 * bytes && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (fits(id, ID_BYTES) && fits(secret, SECRET_BYTES)).then_some((id, secret))
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Internal("this machine gives no random numbers".into()))?;
    Ok(bytes)
}

fn random_hex<const N: usize>() -> Result<String> {
    let mut hex = String::with_capacity(2 * N);
    for byte in random_bytes::<N>()? {
        write!(hex, "{byte:02x}").expect("writing to memory");
    }
    Ok(hex)
}

/// Makes fingerprints under a key that nobody else has and that ends with the process.
#[derive(Debug)]
pub(crate) struct Fingerprints(hmac::Key);

impl Fingerprints {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()?)))
    }

    /// Of several texts; where one ends and the next starts counts.
    pub(crate) fn of(&self, parts: &[&str]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }

    /// Whether two secrets are the same, in a time that does not tell how far they agree.
    pub(crate) fn same(&self, left: &str, right: &str) -> bool {
        self.of(&[left]) == self.of(&[right])
    }
}
