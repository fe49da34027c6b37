//! Random text that makes one attempt at a write distinct from every other.

/// 32 random hex digits. The only place that makes nonces.
#[allow(clippy::disallowed_methods, reason = "the one place that makes nonces")]
pub fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn nonces_differ() {
        let (one, two) = (super::nonce(), super::nonce());
        assert_ne!(one, two);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
