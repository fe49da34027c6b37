//! Ids of the things a lake holds.

use std::fmt;
use std::sync::Arc;

/// Text that is not an id of its kind.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{text:?} is not a valid {kind}")]
pub struct InvalidId {
    /// Which id was expected, for people: `run id`, `experiment id`, `model id`.
    pub kind: &'static str,
    /// What was given.
    pub text: String,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts ids of MLflow's form: a letter or digit, then up to 255 letters, digits, `_` or `-`.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if is_id(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { kind: $kind, text: text.to_owned() })
                }
            }

            /// Takes text that was an id when it was stored.
            pub fn from_stored(text: &str) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// Hashes and compares as its text.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// Id of a run. New ids are time-ordered (`UUIDv7` as 32 hex digits), so that live runs sit together in the newest
    /// files; ids of imported runs are kept as they are.
    RunId,
    "run id"
);

text_id!(
    /// Id of a logged model: `m-` and 32 hex digits, time-ordered like run ids.
    ModelId,
    "model id"
);

text_id!(
    /// Id of an entry of the registry's audit log: 32 hex digits, time-ordered like run ids.
    EventId,
    "event id"
);

impl EventId {
    /// A new id, later in order than every id this process made before.
    #[allow(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string().into())
    }
}

impl RunId {
    /// A new id, later in order than every id this process made before.
    #[allow(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string().into())
    }
}

impl ModelId {
    /// A new id, later in order than every id this process made before.
    #[allow(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
    pub fn generate() -> Self {
        Self(format!("m-{}", uuid::Uuid::now_v7().simple()).into())
    }
}

/// A new id for what has no type of its own: a UUID in its usual form.
#[allow(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
pub fn unique_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn is_id(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && text.len() <= 256
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// Id of an experiment: a number, written in decimal at every door. `0` is the Default experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExperimentId(u64);

impl ExperimentId {
    /// The experiment every lake starts with.
    pub const DEFAULT: Self = Self(0);

    /// From a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// From decimal text.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let digits_only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits_only => Ok(Self(number)),
            _ => Err(InvalidId { kind: "experiment id", text: text.to_owned() }),
        }
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ExperimentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_run_ids_are_ordered_hex() {
        let ids: Vec<_> = (0..1000).map(|_| RunId::generate()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id.as_str().len() == 32));
        assert!(ModelId::generate().as_str().starts_with("m-"));
    }

    #[test]
    fn ids_are_checked() {
        assert!(RunId::parse("a-b_C9").is_ok());
        for bad in ["", "-a", "a b", "a/b", "../x", &"x".repeat(257)] {
            assert!(RunId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ExperimentId::parse("12").map(ExperimentId::number), Ok(12));
        for bad in ["", "-1", "+1", "1.0", "abc", "99999999999999999999999"] {
            assert!(ExperimentId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
