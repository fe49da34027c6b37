//! How a file is sent: always as an attachment that browsers do not interpret, since anybody who may log an artifact
//! would otherwise put a page on the server's own origin.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use runlake_artifacts::{ArtifactPath, Artifacts, ByteRange, Error, Meta};

use crate::error::{ApiError, Code, Result};

/// Sends the file at `path`, or the part of it that a `Range` header asks for.
pub(super) async fn send(artifacts: &Artifacts, path: &ArtifactPath, request: &HeaderMap) -> Result<Response> {
    let range = request.get(header::RANGE).and_then(|range| parse_range(range.to_str().ok()?));
    let is_partial = range.is_some();
    let (meta, body) = match artifacts.get(path, range).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Err(ApiError::new(Code::ResourceDoesNotExist, format!("No such artifact: '{path}'")));
        }
        Err(error) => return beyond_the_end(error),
    };
    let mut response = Response::new(Body::from_stream(body));
    set_headers(response.headers_mut(), &meta);
    if is_partial {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {}-{}/{}", meta.range.start, meta.range.end.saturating_sub(1), meta.size);
        response.headers_mut().insert(header::CONTENT_RANGE, text(range));
    }
    Ok(response)
}

fn set_headers(headers: &mut HeaderMap, meta: &Meta) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(meta.content_type));
    headers.insert(header::CONTENT_DISPOSITION, content_disposition(&meta.filename));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(meta.range.end - meta.range.start));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(Ok(tag)) = meta.e_tag.as_deref().map(HeaderValue::from_str) {
        headers.insert(header::ETAG, tag);
    }
}

/// A range without a byte of the file is told with the file's size, so that the caller can ask again.
fn beyond_the_end(error: Error) -> Result<Response> {
    let Error::Range { size, .. } = &error else { return Err(error.into()) };
    let size = text(format!("bytes */{size}"));
    let mut response = ApiError::from(error).with_status(StatusCode::RANGE_NOT_SATISFIABLE).into_response();
    response.headers_mut().insert(header::CONTENT_RANGE, size);
    Ok(response)
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("numbers and ASCII marks")
}

/// One range of bytes (RFC 9110, 14.1.2). `None` for anything else, which is then ignored, as the RFC allows.
fn parse_range(value: &str) -> Option<ByteRange> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    match (first.is_empty(), last.is_empty()) {
        (true, _) => Some(ByteRange::Suffix(last.parse().ok()?)),
        (false, true) => Some(ByteRange::Offset(first.parse().ok()?)),
        (false, false) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then(|| ByteRange::Bounded(first..last.saturating_add(1)))
        }
    }
}

/// Characters beside letters and digits that an HTTP token may have.
const TOKEN_MARKS: &str = "!#$%&'*+-.^_`|~";

/// `Content-Disposition` for a file of this name (RFC 6266): names beyond ASCII go percent-encoded, beside a stand-in
/// for clients that do not understand that.
fn content_disposition(name: &str) -> HeaderValue {
    let mut plain: String = name.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
    if plain.is_empty() {
        "download".clone_into(&mut plain);
    }
    let is_token = plain.chars().all(|c| c.is_ascii_alphanumeric() || TOKEN_MARKS.contains(c));
    let mut value = String::from("attachment; filename=");
    if is_token {
        value.push_str(&plain);
    } else {
        write!(value, "\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"")).expect("writing to memory");
    }
    if !name.is_ascii() {
        value.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => value.push(byte.into()),
                other => write!(value, "%{other:02X}").expect("writing to memory"),
            }
        }
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_ignored() {
        for (value, expected) in [
            ("bytes=0-99", Some(ByteRange::Bounded(0..100))),
            ("bytes=5-", Some(ByteRange::Offset(5))),
            ("bytes=-7", Some(ByteRange::Suffix(7))),
            ("bytes=9-5", None),
            ("bytes=1-2,4-5", None),
            ("lines=1-2", None),
            ("bytes=-", None),
        ] {
            assert_eq!(parse_range(value), expected, "{value}");
        }
    }

    #[test]
    fn every_name_fits_a_header() {
        for (name, expected) in [
            ("x.txt", "attachment; filename=x.txt"),
            ("a b.txt", "attachment; filename=\"a b.txt\""),
            ("q\"uote", "attachment; filename=\"q\\\"uote\""),
            ("Überschrift.md", "attachment; filename=berschrift.md; filename*=UTF-8''%C3%9Cberschrift.md"),
            ("日本", "attachment; filename=download; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
            ("a\r\nb", "attachment; filename=ab"),
        ] {
            assert_eq!(content_disposition(name).to_str().unwrap(), expected, "{name:?}");
        }
    }
}
