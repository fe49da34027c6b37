//! Artifact URIs: paths appended before the query, relative local paths made absolute, places the server proxies.

use percent_encoding::percent_decode_str;

use crate::{ArtifactPlace, Error, Result, TrackingSettings, validate};

/// Schemes whose URIs name a host that a server reading them would connect to (MLflow 3.17's list).
const HOST_ADDRESSED: [&str; 10] =
    ["ftp", "sftp", "hdfs", "viewfs", "http", "https", "mlflow-artifacts", "r2", "b2", "abfss"];
/// Other schemes that MLflow's clients have a store for, or this server has.
const OTHERS: [&str; 13] =
    ["", "file", "s3", "s3a", "gs", "gcs", "wasbs", "az", "azure", "adl", "abfs", "dbfs", "runs"];
/// Schemes written with `//` also where no host follows.
const SLASHED: [&str; 5] = ["file", "http", "https", "ftp", "sftp"];
/// Schemes (none: a plain path) whose last path part may carry `;params`.
const WITH_PARAMS: [&str; 5] = ["", "ftp", "http", "https", "sftp"];
/// Below which a server of MLflow's REST API serves artifacts.
const PROXY_ROUTES: [&str; 2] = ["/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/"];

/// A URI, or a plain path, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    /// Empty for a plain path.
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a str) -> Self {
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ => ("", uri),
        };
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(after) => after.split_at(after.find('/').unwrap_or(after.len())),
            None => ("", rest),
        };
        Self { scheme, authority, path, query, fragment }
    }

    fn has_params(&self) -> bool {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        let params = last.split_once(';').is_some_and(|(_, params)| !params.is_empty());
        params && WITH_PARAMS.iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme))
    }

    /// The URI again, with another path.
    fn with_path(&self, path: &str) -> String {
        let mut uri =
            String::with_capacity(self.scheme.len() + self.authority.len() + path.len() + self.query.len() + 6);
        if !self.scheme.is_empty() {
            uri.push_str(self.scheme);
            uri.push(':');
        }
        let slashed = path.starts_with('/') && SLASHED.iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme));
        if !self.authority.is_empty() || slashed {
            uri.push_str("//");
            uri.push_str(self.authority);
            if !path.starts_with('/') {
                uri.push('/');
            }
        }
        uri.push_str(path);
        if !self.query.is_empty() {
            uri.push('?');
            uri.push_str(self.query);
        }
        uri
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// `segments` below `uri`; its query stays at the end.
pub(crate) fn below(uri: &str, segments: &[&str]) -> String {
    let suffix = segments.join("/");
    let parts = Parts::of(uri);
    if parts.scheme.is_empty() {
        return joined(uri, &suffix);
    }
    parts.with_path(&joined(parts.path, &suffix))
}

fn joined(prefix: &str, suffix: &str) -> String {
    if prefix.is_empty() {
        suffix.to_owned()
    } else if prefix.ends_with('/') {
        format!("{prefix}{suffix}")
    } else {
        format!("{prefix}/{suffix}")
    }
}

/// An artifact location that a caller gives a new experiment: checked, and made absolute if it is a local path.
pub(crate) fn own_location(location: &str, settings: &TrackingSettings) -> Result<String> {
    let parts = Parts::of(location);
    if !parts.fragment.is_empty() || parts.has_params() {
        return Err(Error::invalid("'artifact_location' URL can't include fragments or params."));
    }
    if climbs(parts.query) {
        return Err(Error::invalid("Invalid query string"));
    }
    if let Some(scheme) = refused_scheme(&parts, settings) {
        return Err(Error::invalid(format!(
            "'artifact_location' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other than \
             the tracking server's configured artifact storage, so the server would connect to the host named in the \
             URI. Start the server with '{scheme}' among its --allowed-artifact-schemes to allow it."
        )));
    }
    if !is_known(&parts, settings) {
        let scheme = parts.scheme;
        return Err(Error::invalid(format!(
            "'artifact_location' cannot use the '{scheme}' scheme: neither MLflow nor this server has a store for it. \
             If your clients have one from a plugin, start the server with '{scheme}' among its \
             --allowed-artifact-schemes."
        )));
    }
    if matches!(ArtifactPlace::of_uri(location), ArtifactPlace::Foreign(_))
        && parts.scheme.eq_ignore_ascii_case("mlflow-artifacts")
    {
        return Err(Error::invalid(format!(
            "'artifact_location' must stay below the artifacts of this server; '{location}' climbs out with '..'."
        )));
    }
    if location.starts_with("runs:") {
        return Err(Error::invalid(format!("Artifact location cannot be a runs:/ URI. Given: '{location}'")));
    }
    validate::artifact_location_length(location)?;
    let absolute = absolute(location)?;
    validate::artifact_location_length(&absolute)?;
    Ok(absolute)
}

/// Whether the scheme is one that clients may have a store for. A single letter is a drive of a client's machine.
fn is_known(parts: &Parts<'_>, settings: &TrackingSettings) -> bool {
    let scheme = parts.scheme.to_ascii_lowercase();
    scheme.len() == 1
        || scheme == self::scheme(&settings.default_artifact_root)
        || HOST_ADDRESSED.contains(&scheme.as_str())
        || OTHERS.contains(&scheme.as_str())
        || settings.allowed_artifact_schemes.iter().any(|allowed| allowed.eq_ignore_ascii_case(&scheme))
}

/// The scheme of a URI in lower case; empty for a plain path.
pub fn scheme(uri: &str) -> String {
    Parts::of(uri).scheme.to_ascii_lowercase()
}

/// The path of a URI, or a plain path itself.
pub fn path(uri: &str) -> &str {
    Parts::of(uri).path
}

/// The scheme of `uri`, if it names a host that this server shall not connect to on a caller's word.
pub fn foreign_scheme(uri: &str, settings: &TrackingSettings) -> Option<String> {
    refused_scheme(&Parts::of(uri), settings)
}

/// Whether a path has a part `..` or `.`, decoded as often as anybody may decode it.
pub fn has_dots(path: &str) -> bool {
    let mut text = path.to_owned();
    for _ in 0..10 {
        if text.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
            return true;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    // Nobody encodes a name ten times for a good reason.
    true
}

/// Whether a text, decoded as often as anybody may decode it, holds `..`.
fn climbs(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..10 {
        if text.contains("..") {
            return true;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    text.contains("..")
}

fn refused_scheme(parts: &Parts<'_>, settings: &TrackingSettings) -> Option<String> {
    let scheme = parts.scheme.to_ascii_lowercase();
    let names_host =
        HOST_ADDRESSED.contains(&scheme.as_str()) && (scheme != "mlflow-artifacts" || !parts.authority.is_empty());
    if !names_host || settings.allowed_artifact_schemes.iter().any(|allowed| allowed.eq_ignore_ascii_case(&scheme)) {
        return None;
    }
    let root = Parts::of(&settings.default_artifact_root);
    let own_host = family(&root.scheme.to_ascii_lowercase()) == family(&scheme)
        && !root.authority.is_empty()
        && root.authority.eq_ignore_ascii_case(parts.authority);
    (!own_host).then_some(scheme)
}

/// Schemes that reach the same host in the same way.
fn family(scheme: &str) -> &str {
    match scheme {
        "viewfs" => "hdfs",
        "https" | "mlflow-artifacts" => "http",
        other => other,
    }
}

/// The location; if it is a relative local path, then below the server's working folder.
pub(crate) fn absolute(location: &str) -> Result<String> {
    let parts = Parts::of(location);
    let local = parts.scheme.is_empty() || (parts.scheme.eq_ignore_ascii_case("file") && parts.authority.is_empty());
    let path = if parts.scheme.is_empty() { location } else { parts.path };
    if !local || path.is_empty() || path.starts_with('/') {
        return Ok(location.to_owned());
    }
    let path = std::path::absolute(path)
        .map_err(|error| Error::Internal(format!("the server's working folder is not known: {error}")))?;
    let path = path.to_string_lossy();
    let path = path.trim_end_matches('/');
    Ok(if parts.scheme.is_empty() { path.to_owned() } else { parts.with_path(path) })
}

impl ArtifactPlace {
    /// Of an artifact URI as stored: `mlflow-artifacts:` URIs, and URLs of the artifact routes of an MLflow server, are
    /// proxied by this server. A path that climbs with `..` never is.
    pub fn of_uri(uri: &str) -> Self {
        let parts = Parts::of(uri);
        let proxied = match parts.scheme.to_ascii_lowercase().as_str() {
            "mlflow-artifacts" => Some(parts.path),
            "http" | "https" => PROXY_ROUTES.iter().find_map(|route| parts.path.strip_prefix(route)),
            _ => None,
        };
        match proxied.map(|path| path.trim_matches('/')) {
            Some(path) if !has_dots(path) => Self::Proxied(path.to_owned()),
            _ => Self::Foreign(uri.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_before_the_query() {
        for (uri, expected) in [
            ("s3://b/x/?q=1", "s3://b/x/r/artifacts?q=1"),
            ("s3://b", "s3://b/r/artifacts"),
            ("mlflow-artifacts:/", "mlflow-artifacts:/r/artifacts"),
            ("mlflow-artifacts:/1", "mlflow-artifacts:/1/r/artifacts"),
            ("mlflow-artifacts://h:8/x", "mlflow-artifacts://h:8/x/r/artifacts"),
            ("dbfs:/x", "dbfs:/x/r/artifacts"),
            ("/abs//x/", "/abs//x/r/artifacts"),
            ("file:///tmp/aa/../b", "file:///tmp/aa/../b/r/artifacts"),
            ("file:/tmp/b", "file:///tmp/b/r/artifacts"),
        ] {
            assert_eq!(below(uri, &["r", "artifacts"]), expected);
        }
    }

    #[test]
    fn locations_of_callers_are_checked() {
        let settings = TrackingSettings::default();
        for (bad, part) in [
            ("s3://b/x?q=1#f", "can't include fragments or params"),
            ("http://b/x;p=1", "can't include fragments or params"),
            ("s3://b/x?q=..", "Invalid query string"),
            ("s3://b/x?q=%252e%252e", "Invalid query string"),
            ("runs:/x", "cannot be a runs:/ URI. Given: 'runs:/x'"),
            ("http://h/x", "'artifact_location' cannot use the 'http' scheme"),
            ("mlflow-artifacts://h:8/x", "cannot use the 'mlflow-artifacts' scheme"),
            ("javascript:alert(1)", "cannot use the 'javascript' scheme: neither MLflow nor"),
            ("data:text/html,x", "cannot use the 'data' scheme"),
            ("mlflow-artifacts:/../../x", "'mlflow-artifacts:/../../x' climbs out"),
            ("mlflow-artifacts:/a/%2e%2e/x", "climbs out"),
        ] {
            let message = own_location(bad, &settings).expect_err("refused").to_string();
            assert!(message.contains(part), "{bad}: {message}");
        }
        assert!(own_location(&format!("s3://b/{}", "x".repeat(3000)), &settings).is_err());
        for good in [
            "s3://b/x;p/?q=1",
            "dbfs:/x",
            "/abs//x/",
            "file:///tmp/aa/../b",
            "mlflow-artifacts:/x",
            "wasbs://c@a.blob.core.windows.net/x",
            "gs://b",
            "az://c/x",
            "C:/mlruns",
        ] {
            assert_eq!(own_location(good, &settings).expect(good), good);
        }
        let open = TrackingSettings { allowed_artifact_schemes: vec!["HTTP".into()], ..settings };
        assert!(own_location("http://h/x", &open).is_ok());
        let plugin = TrackingSettings { allowed_artifact_schemes: vec!["oss".into()], ..TrackingSettings::default() };
        assert!(own_location("oss://b/x", &plugin).is_ok() && own_location("oss://b/x", &open).is_err());
        let own = TrackingSettings { default_artifact_root: "https://h/api".into(), ..TrackingSettings::default() };
        assert!(own_location("http://h/x", &own).is_ok());
    }

    #[test]
    fn relative_locations_become_absolute() {
        let here = std::env::current_dir().expect("there is one");
        let here = here.to_string_lossy();
        let settings = TrackingSettings::default();
        assert_eq!(own_location("./rel/path", &settings).expect("fine"), format!("{here}/rel/path"));
        assert_eq!(own_location("file:rel", &settings).expect("fine"), format!("file://{here}/rel"));
    }

    #[test]
    fn proxied_places_are_told_from_foreign_ones() {
        let proxied = |path: &str| ArtifactPlace::Proxied(path.into());
        assert_eq!(ArtifactPlace::of_uri("mlflow-artifacts:/0/r/artifacts"), proxied("0/r/artifacts"));
        assert_eq!(ArtifactPlace::of_uri("mlflow-artifacts://h:8/0/r?x=1"), proxied("0/r"));
        assert_eq!(ArtifactPlace::of_uri("mlflow-artifacts:/0/a..b"), proxied("0/a..b"));
        assert_eq!(ArtifactPlace::of_uri("http://h/api/2.0/mlflow-artifacts/artifacts/0/r"), proxied("0/r"));
        for foreign in
            ["s3://b/0/r", "/tmp/x", "http://h/0", "mlflow-artifacts:/0/../../x", "mlflow-artifacts:/%2e%2e/x"]
        {
            assert_eq!(ArtifactPlace::of_uri(foreign), ArtifactPlace::Foreign(foreign.into()));
        }
    }
}
