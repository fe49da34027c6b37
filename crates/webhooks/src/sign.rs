//! How a receiver can tell that a message is this server's: MLflow's scheme.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// `v1,` and the base64 HMAC-SHA256 of `<delivery id>.<seconds>.<body>`.
pub(crate) fn signature(secret: &str, delivery_id: &str, seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{delivery_id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_scheme_is_mlflows() {
        // By Python: base64(hmac.new(b"s", b"id.1.{}", sha256).digest())
        assert_eq!(super::signature("s", "id", 1, "{}"), "v1,FBhQvUxwRZEwPkHvJlYP68fzcPeHBTuRJdaSnq1LtyA=");
    }
}
