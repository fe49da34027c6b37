//! Refuses what a foreign web page makes a browser send: requests to a foreign `Host` (DNS rebinding) and writes
//! with a foreign `Origin`. Clients that are not browsers send no `Origin` and call the server by an address.

use std::net::{IpAddr, Ipv6Addr};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::settings::Settings;

const BAD_HOST: &str = "Invalid Host header - possible DNS rebinding attack detected";
const BAD_ORIGIN: &str = "Cross-origin request blocked";
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS, PATCH");
const ANY: HeaderValue = HeaderValue::from_static("*");
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// Decides which hosts and origins are trusted.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Why a request is not let in; the text is the body of the 403.
pub(crate) type Refusal = &'static str;

impl Guard {
    pub(crate) fn new(settings: &Settings) -> Self {
        let lower = |patterns: &[String]| patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        Self { hosts: lower(&settings.allowed_hosts), origins: lower(&settings.allowed_origins) }
    }

    /// Lets a request in or not. `/health` and `/version` are open to every host, as probes need them.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Refusal> {
        let probe = matches!(request.uri.path(), "/health" | "/version");
        let host = request
            .headers
            .get(header::HOST)
            .map_or_else(|| request.uri.authority().map(http::uri::Authority::as_str), |host| host.to_str().ok());
        if !probe && !host.is_none_or(|host| self.trusts_host(host)) {
            return Err(BAD_HOST);
        }
        let writes = matches!(request.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
        match request.headers.get(header::ORIGIN) {
            Some(origin) if writes && !self.trusts_origin(origin, host) => Err(BAD_ORIGIN),
            _ => Ok(()),
        }
    }

    /// Headers that let a trusted page of another origin read the answer.
    pub(crate) fn allow(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let Some(origin) = origin.filter(|origin| self.trusts_origin(origin, None)) else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANY);
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
    }

    /// Answers a browser that asks before it sends: which methods and headers it may use. `false` if it is not that.
    pub(crate) fn preflight(request: &Parts, answer: &mut HeaderMap) -> bool {
        if request.method != Method::OPTIONS || !request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return false;
        }
        let headers = request.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(ANY);
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        true
    }

    fn trusts_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = name_of(&host);
        is_near(name)
            || self.hosts.iter().any(|pattern| matches_pattern(pattern, &host) || matches_pattern(pattern, name))
    }

    fn trusts_origin(&self, origin: &HeaderValue, own_host: Option<&str>) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let own = own_host.is_some_and(|host| authority == Some(host.to_ascii_lowercase().as_str()));
        own || authority.is_some_and(|authority| is_loopback(name_of(authority)))
            || self.origins.iter().any(|pattern| matches_pattern(pattern, &origin))
    }
}

/// `host:port` or `[v6]:port` without the port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !name.is_empty() => name,
        _ => authority,
    }
}

fn address(name: &str) -> Option<IpAddr> {
    name.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || address(name).is_some_and(|address| address.is_loopback())
}

/// Localhost, or an address that only exists within a network.
fn is_near(name: &str) -> bool {
    name == "localhost"
        || address(name).is_some_and(|address| match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_unspecified() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6 == Ipv6Addr::UNSPECIFIED,
        })
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    while let Some((middle, tail)) = rest.split_once('*') {
        let Some(at) = text.find(middle) else { return false };
        text = &text[at + middle.len()..];
        rest = tail;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &Settings, method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Guard::new(settings).check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_near_and_named_hosts_are_let_in() {
        let named = Settings { allowed_hosts: vec!["runlake.corp".into(), "*.Lab.Org".into()], ..Settings::default() };
        let near =
            ["localhost", "localhost:5000", "127.0.0.1:5000", "10.1.2.3", "192.168.1.1:80", "172.16.0.9", "[::1]:5000"];
        for host in near {
            assert_eq!(check(&Settings::default(), "GET", "/api", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["runlake.corp:5000", "RUNLAKE.corp", "a.lab.org:1"] {
            assert_eq!(check(&named, "GET", "/api", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.com", "localhost.evil.com", "172.32.0.1", "8.8.8.8:5000", "lab.org.evil"] {
            assert_eq!(check(&named, "GET", "/api", &[("host", host)]), Err(BAD_HOST), "{host}");
        }
        assert_eq!(check(&named, "GET", "/health", &[("host", "evil.com")]), Ok(()));
    }

    #[test]
    fn writes_of_foreign_pages_are_refused() {
        let origin = |value| [("host", "127.0.0.1:5000"), ("origin", value)];
        let none = Settings::default();
        assert_eq!(check(&none, "POST", "/api", &origin("http://evil.com")), Err(BAD_ORIGIN));
        assert_eq!(check(&none, "GET", "/api", &origin("http://evil.com")), Ok(()));
        assert_eq!(check(&none, "POST", "/api", &origin("http://localhost:3000")), Ok(()));
        assert_eq!(check(&none, "POST", "/api", &origin("null")), Err(BAD_ORIGIN));
        let named = Settings { allowed_origins: vec!["https://*.corp".into()], ..Settings::default() };
        assert_eq!(check(&named, "DELETE", "/api", &origin("https://a.corp")), Ok(()));
        assert_eq!(check(&named, "DELETE", "/api", &origin("https://a.corp.evil")), Err(BAD_ORIGIN));
        let own = [("host", "10.0.0.5:5000"), ("origin", "http://10.0.0.5:5000")];
        assert_eq!(check(&none, "POST", "/api", &own), Ok(()));
    }
}
