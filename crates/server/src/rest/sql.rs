//! `POST /api/runlake/sql`: one statement, answered in the format the caller accepts.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use runlake_query::Answer;
use runlake_query::format::{Encoder, Format};

use crate::call::Call;
use crate::error::{ApiError, Code, Result};
use crate::wire::sql_request;

/// Bytes gathered before they are sent.
const PIECE: usize = 64 << 10;

/// Tells the position of the lake's log that an answer stands at.
const POSITION: HeaderName = HeaderName::from_static("runlake-position");

/// What callers may ask for. The first answers those who take anything.
const FORMATS: &[(&str, Format)] = &[
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::JsonLines),
    ("text/csv", Format::Csv),
    ("application/vnd.apache.arrow.stream", Format::Arrow),
    ("application/vnd.apache.parquet", Format::Parquet),
];

pub(super) async fn sql(mut call: Call) -> Result<Response> {
    let (media_type, format) = accepted(call.headers())?;
    let request = sql_request(&call.json_bytes().await?)?;
    let mut answer = call.app.queries().run(request).await?;
    // Most of what goes wrong does so before the first rows: then there is still a status to say it with.
    let first = answer.next().await.transpose()?;
    let position = HeaderValue::from(answer.position().0);
    let mut encoder = Encoder::new(format, answer.schema())?;
    if let Some(batch) = &first {
        encoder.write(batch)?;
    }
    let mut response = Response::new(Body::from_stream(pieces(answer, encoder)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(POSITION, position);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The rest of an answer as it is computed. An error cuts the body off, so that what was sent is not taken for all.
fn pieces(answer: Answer, encoder: Encoder) -> impl Stream<Item = runlake_query::Result<Bytes>> + Send {
    stream::unfold(Some((answer, encoder)), |state| async {
        let (mut answer, mut encoder) = state?;
        let mut piece = encoder.take();
        while piece.len() < PIECE {
            match answer.next().await {
                Some(Ok(batch)) => {
                    if let Err(error) = encoder.write(&batch) {
                        return Some((Err(error), None));
                    }
                    piece.extend(encoder.take());
                }
                Some(Err(error)) => {
                    tracing::debug!("an answer was cut off: {error}");
                    return Some((Err(error), None));
                }
                None => {
                    let end = encoder.finish(answer.is_truncated());
                    return Some((
                        end.map(|end| {
                            piece.extend(end);
                            piece.into()
                        }),
                        None,
                    ));
                }
            }
        }
        Some((Ok(piece.into()), Some((answer, encoder))))
    })
}

/// The first format of `Accept` that there is; weights are left aside, order counts.
fn accepted(headers: &HeaderMap) -> Result<(&'static str, Format)> {
    let mut asked = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if asked.peek().is_none() {
        return Ok(FORMATS[0]);
    }
    let mut ranges = asked.flat_map(|list| list.split(',')).map(|range| range.split(';').next().unwrap_or("").trim());
    let of = |range: &str| match range {
        "*/*" | "application/*" => Some(FORMATS[0]),
        "text/*" => FORMATS.iter().copied().find(|(_, format)| *format == Format::Csv),
        range => FORMATS.iter().copied().find(|(known, _)| range.eq_ignore_ascii_case(known)),
    };
    ranges.find_map(of).ok_or_else(|| {
        let known: Vec<&str> = FORMATS.iter().map(|(known, _)| *known).collect();
        ApiError::new(Code::InvalidParameterValue, format!("Accept names no format there is: {}.", known.join(", ")))
            .with_status(http::StatusCode::NOT_ACCEPTABLE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        accepted(&headers).ok().map(|(_, format)| format)
    }

    #[test]
    fn the_first_format_that_is_known_is_taken() {
        assert_eq!(of("*/*"), Some(Format::Json));
        assert_eq!(of("text/html, text/csv;q=0.5, */*;q=0.1"), Some(Format::Csv));
        assert_eq!(of("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(of("Application/Vnd.Apache.Parquet"), Some(Format::Parquet));
        assert_eq!(of("image/png"), None);
        assert_eq!(accepted(&HeaderMap::new()).ok().map(|(_, format)| format), Some(Format::Json));
    }
}
