//! Where messages may go. A server that posts wherever a caller says would reach into the network it stands in, so
//! targets are public https addresses unless the operator says otherwise.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use crate::{Error, Result};

/// What the operator allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Plain http as well as https.
    pub allow_http: bool,
    /// Addresses of this machine and of private networks.
    pub allow_private: bool,
}

impl WebhookSettings {
    /// Checks a target before it is stored. Names are looked up when a message is sent, and checked then.
    pub(crate) fn check(self, target: &str) -> Result<Url> {
        let schemes = if self.allow_http { "http, https" } else { "https" };
        let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
        if !schemes.split(", ").any(|allowed| allowed.eq_ignore_ascii_case(scheme)) {
            return Err(Error::invalid(format!(
                "Invalid webhook URL scheme: '{scheme}'. Allowed schemes are: {schemes}."
            )));
        }
        let hostless = || Error::invalid(format!("Webhook URL must include a hostname: '{target}'"));
        let url = Url::parse(target).map_err(|_| hostless())?;
        let address = match url.host() {
            None => return Err(hostless()),
            Some(Host::Domain(name)) if is_local_name(name) && !self.allow_private => {
                return Err(private(name, "this machine"));
            }
            Some(Host::Domain(_)) => return Ok(url),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        if !self.allows(address) {
            return Err(private(&address.to_string(), &address.to_string()));
        }
        Ok(url)
    }

    /// Whether messages may go to this address.
    pub fn allows(self, address: IpAddr) -> bool {
        self.allow_private || is_public(address)
    }
}

fn private(host: &str, address: &str) -> Error {
    Error::invalid(format!(
        "Webhook URL must not resolve to a non-public IP address. '{host}' resolves to {address}. The operator of this \
         server can allow it with --webhook-allow-private."
    ))
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is one of the internet at large.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let relayed = a == 192 && b == 88 && c == 99;
            let reserved = a == 0 || a >= 240 || (a == 192 && b == 0 && c == 0) || (a == 198 && (b == 18 || b == 19));
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || shared
                || relayed
                || reserved)
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            // What is embedded counts: mapped, NAT64 and 6to4 addresses lead to IPv4 ones.
            let embedded = v6.to_ipv4_mapped().or_else(|| {
                let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
                match v6.segments() {
                    [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                        Some(v4(high, low))
                    }
                    _ => None,
                }
            });
            if let Some(v4) = embedded {
                return is_public(IpAddr::V4(v4));
            }
            // Only 2000::/3 is given out, and of that 2001::/23 is for protocols (Teredo leads to IPv4 addresses), and
            // 2001:db8::/32 and 3fff::/20 are for documents.
            let second = v6.segments()[1];
            let special =
                (first == 0x2001 && (second < 0x0200 || second == 0x0db8)) || (first == 0x3fff && second < 0x1000);
            (0x2000..0x4000).contains(&first) && !special
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https_is_taken() {
        let strict = WebhookSettings::default();
        for target in ["https://example.com/x", "HTTPS://93.184.216.34", "https://[2606:4700::1]:8443/"] {
            assert!(strict.check(target).is_ok(), "{target}");
        }
        for (target, said) in [
            ("http://example.com", "Invalid webhook URL scheme: 'http'. Allowed schemes are: https."),
            ("notaurl", "Invalid webhook URL scheme: ''."),
            ("file:///etc/passwd", "Invalid webhook URL scheme: 'file'."),
            ("https://", "must include a hostname"),
            ("https://localhost/x", "must not resolve to a non-public"),
            ("https://a.localhost./x", "must not resolve to a non-public"),
            ("https://127.1/x", "'127.0.0.1' resolves to 127.0.0.1"),
            ("https://0x7f000001/", "non-public"),
            ("https://10.0.0.1", "non-public"),
            ("https://169.254.169.254/latest", "non-public"),
            ("https://100.64.0.1", "non-public"),
            ("https://[::1]/", "non-public"),
            ("https://[::ffff:10.0.0.1]/", "non-public"),
            ("https://[64:ff9b::a00:1]/", "non-public"),
            ("https://[2002:a00:1::]/", "non-public"),
            ("https://[fd00::1]/", "non-public"),
            ("https://[2001:0:7f00:1::]/", "non-public"),
            ("https://[3fff::1]/", "non-public"),
            ("https://192.88.99.1/", "non-public"),
            ("https://[fe80::1]/", "non-public"),
            ("https://0.0.0.0/", "non-public"),
        ] {
            let message = strict.check(target).expect_err(target).to_string();
            assert!(message.contains(said), "{target}: {message}");
        }
        let open = WebhookSettings { allow_http: true, allow_private: true };
        for target in ["http://127.0.0.1:9/x", "http://localhost/x", "https://10.0.0.1/"] {
            assert!(open.check(target).is_ok(), "{target}");
        }
        assert!(open.check("ftp://x").is_err());
    }
}
