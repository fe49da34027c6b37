//! The web app, as bytes in the binary.
//!
//! `build.rs` builds `web/` with Node and puts every file of the result into one table. A server answers [`asset`] for the
//! paths it knows, and [`index`] for other paths that a browser wants to see as a page: the app finds its own way from
//! there. Both bring the policy that has to be sent with them.

/// Content security policy of the app: scripts, styles and connections of this origin alone, nothing inline, nothing evaluated.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    font-src 'self'; media-src 'self' blob:; connect-src 'self'; worker-src 'self'; frame-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Content security policy of `frame.html`, in which pages that a run logged are shown: an origin of their own, without
/// network, cookies or forms.
pub const FRAME_POLICY: &str = "sandbox allow-scripts; default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; \
    style-src 'unsafe-inline'; img-src data: blob:; font-src data:; media-src data: blob:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'self'";

/// A file of the web app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The file.
    pub bytes: &'static [u8],
    /// The file with gzip, where that is shorter.
    pub gzip: Option<&'static [u8]>,
    pub content_type: &'static str,
    /// A strong entity tag, with its quotes.
    pub etag: &'static str,
    /// Whether the path changes with the content, so that it may be cached for ever.
    pub immutable: bool,
    pub content_security_policy: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at `path`, with or without a slash in front.
pub fn asset(path: &str) -> Option<Asset> {
    let path = path.strip_prefix('/').unwrap_or(path);
    ASSETS.binary_search_by(|(name, _)| (*name).cmp(path)).ok().map(|at| ASSETS[at].1)
}

/// The page that every route of the app starts from.
pub fn index() -> Asset {
    INDEX
}

#[cfg(test)]
mod tests;
