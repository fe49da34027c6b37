//! The web app: its files, and the page that each of its own addresses begins with.
//!
//! Everybody may fetch them, as they hold nothing of the lake: whoever has to log in does so on a page of the app.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use runlake_ui::Asset;

use crate::app::empty;
use crate::call::Call;
use crate::error::{ApiError, Code, Result};

/// Addresses that the app finds its way from, beside `/`.
pub(super) const PAGES: &[&str] = &[
    "/compare",
    "/experiments",
    "/experiments/{ids}",
    "/lineage",
    "/logged-models/{id}",
    "/models",
    "/models/{name}",
    "/models/{name}/{part}",
    "/runs/{id}",
    "/runs/{id}/{tab}",
    "/sql",
];
/// Where its files are.
pub(super) const FILES: &[&str] =
    &["/assets/{*path}", "/favicon.svg", "/frame.html", "/frame.js", "/index.html", "/theme.js"];

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Asked for again each time; the entity tag saves the bytes.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

pub(super) async fn page(call: Call) -> Result<Response> {
    Ok(sent(&runlake_ui::index(), call.headers()))
}

pub(super) async fn file(call: Call) -> Result<Response> {
    let path = call.uri().path();
    match runlake_ui::asset(path) {
        Some(asset) => Ok(sent(&asset, call.headers())),
        None => Err(ApiError::new(Code::EndpointNotFound, format!("The web app has no file {path}."))),
    }
}

fn sent(asset: &Asset, asked: &HeaderMap) -> Response {
    let says = |name, text: &str| {
        asked.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| list.contains(text))
    };
    let mut response = if says(header::IF_NONE_MATCH, asset.etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        match asset.gzip.filter(|_| says(header::ACCEPT_ENCODING, "gzip")) {
            Some(gzip) => {
                let mut response = Response::new(Body::from(gzip));
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            None => Response::new(Body::from(asset.bytes)),
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(asset.content_security_policy));
    headers.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    headers.insert(header::CACHE_CONTROL, if asset.immutable { FOR_EVER } else { ASK_AGAIN });
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
