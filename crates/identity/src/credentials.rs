//! What a caller presents.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Credentials of a request. They are shown to no log.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name with a password.
    Password {
        /// The user.
        name: String,
        /// The password.
        password: String,
    },
    /// A token, which says by itself whose it is.
    Token(String),
}

impl Credentials {
    /// From the value of an `Authorization` header (RFC 7617, RFC 6750); `None` if it is neither Basic nor Bearer.
    pub fn from_header(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token(rest.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        Some(Self::Password { name: name.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { name, .. } => write!(f, "password of {name:?}"),
            Self::Token(_) => f.write_str("token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_or_not() {
        let basic =
            |name: &str, password: &str| Some(Credentials::Password { name: name.into(), password: password.into() });
        for (value, expected) in [
            ("Basic YW5uOnNlY3JldA==", basic("ann", "secret")),
            ("basic  YW5uOmE6Yg==", basic("ann", "a:b")),
            ("Basic Og==", basic("", "")),
            ("Basic YW5uOnNlY3JldA", basic("ann", "secret")),
            ("Bearer rl_x_y", Some(Credentials::Token("rl_x_y".into()))),
            ("Basic ", None),
            ("Basic !!", None),
            ("Basic YW5u", None),
            ("Digest x", None),
            ("", None),
        ] {
            assert_eq!(Credentials::from_header(value), expected, "{value:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Credentials::from_header("Basic YW5uOnNlY3JldA=="));
        assert!(shown.contains("ann") && !shown.contains("secret"), "{shown}");
    }
}
