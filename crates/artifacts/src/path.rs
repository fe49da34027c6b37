//! Paths of artifacts, safe to join with any root.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use crate::Error;

/// Rounds of percent-decoding after which a path that still changes is refused.
const DECODING_ROUNDS: usize = 10;
/// What local file systems allow for one part of a path, in bytes.
const PART_LIMIT: usize = 255;
/// Clouds allow 1024 bytes for a whole name; the rest is for the root's prefix.
const PATH_LIMIT: usize = 900;

/// A relative path of one or more plain parts, or the root of all artifacts. It cannot leave the folder it is joined to,
/// however often somebody percent-decodes it on the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// The folder that holds everything.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Takes a path as it came from outside, already percent-decoded once if it was part of a URL.
    ///
    /// Refused are `..` as a part, absolute paths, backslashes, `#`, drive letters, control characters, empty parts and
    /// names no store can hold, each also in what the path becomes by percent-decoding again and again (MLflow's rules,
    /// and a little more). `.` parts and one slash at the end mean nothing and are dropped; percent signs that hide
    /// nothing bad are kept as they are.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidPath { path: text.to_owned() };
        if !is_safe(text) || text.len() > PATH_LIMIT {
            return Err(invalid());
        }
        let parts: Vec<&str> = parts(text).filter(|part| *part != ".").collect();
        if parts.iter().any(|part| part.len() > PART_LIMIT) {
            return Err(invalid());
        }
        Ok(Self(parts.join("/")))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the folder that holds everything.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last part; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// `other`, seen from this folder.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, other.0)),
        }
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ArtifactPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.strip_suffix('/').unwrap_or(text).split('/')
}

/// Whether `text`, and all that it decodes to, stays below the folder it is joined to.
fn is_safe(text: &str) -> bool {
    let mut text = Cow::Borrowed(text);
    for round in 0..DECODING_ROUNDS {
        // A `.` that only decoding brings out would not have been dropped.
        if !is_plain(&text) || (round > 0 && parts(&text).any(|part| part == ".")) {
            return false;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if decoded == *text {
            return true;
        }
        text = Cow::Owned(decoded);
    }
    false
}

fn is_plain(text: &str) -> bool {
    let first = parts(text).find(|part| *part != ".").unwrap_or_default().as_bytes();
    let drive = first.len() >= 2 && first[0].is_ascii_alphabetic() && first[1] == b':';
    !drive
        && !text.chars().any(|c| c.is_control() || c == '\\' || c == '#')
        && parts(text).all(|part| !part.is_empty() && part != "..")
}

#[cfg(test)]
mod tests;
