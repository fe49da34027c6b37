//! One request on its way through a handler.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::RawPathParams;
use bytes::BytesMut;
use futures::{Stream, StreamExt as _};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::{ApiError, Result};
use crate::wire::Fields;

/// A request whose body is not read yet.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: App,
    parts: Parts,
    body: Body,
    params: Option<RawPathParams>,
    caller: Caller,
}

impl Call {
    pub(crate) fn new(app: App, parts: Parts, body: Body, params: Option<RawPathParams>) -> Self {
        Self { app, parts, body, params, caller: Caller::Everybody }
    }

    /// Who sends it.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn set_caller(&mut self, caller: Caller) {
        self.caller = caller;
    }

    /// The address it comes from; none without a socket.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        caller::peer(&self.parts)
    }

    /// [`Call::fields`], which the handler can still ask for.
    pub(crate) async fn peek_fields(&mut self) -> Result<Fields> {
        if matches!(self.parts.method, Method::GET | Method::HEAD) {
            return Ok(self.query());
        }
        Ok(Fields::from_json(&self.peek_json().await?))
    }

    /// [`Call::json_bytes`], which the handler can still ask for.
    pub(crate) async fn peek_json(&mut self) -> Result<Bytes> {
        let bytes = self.json_bytes().await?;
        self.body = Body::from(bytes.clone());
        Ok(bytes)
    }

    /// The parsed fields: query parameters of a GET, else the JSON body.
    pub(crate) async fn fields(&mut self) -> Result<Fields> {
        if matches!(self.parts.method, Method::GET | Method::HEAD) {
            return Ok(self.query());
        }
        Ok(Fields::from_json(&self.json_bytes().await?))
    }

    /// The fields of a route of our own, which takes nothing it does not know: no body, or a JSON object of `known` ones.
    pub(crate) async fn own_fields(&mut self, known: &[&str]) -> Result<Fields> {
        Fields::strict(&self.json_bytes().await?, known)
    }

    /// The query parameters, whatever the method.
    pub(crate) fn query(&self) -> Fields {
        Fields::from_query(self.parts.uri.query().unwrap_or_default())
    }

    /// The body of a JSON request, unparsed.
    pub(crate) async fn json_bytes(&mut self) -> Result<Bytes> {
        let bytes = self.bytes(self.app.settings().body_limit).await?;
        if !bytes.is_empty() || self.parts.headers.contains_key(header::CONTENT_TYPE) {
            check_content_type(&self.parts.headers)?;
        }
        Ok(bytes)
    }

    /// The body, at most `limit` bytes of it.
    pub(crate) async fn bytes(&mut self, limit: usize) -> Result<Bytes> {
        if self.content_length().is_some_and(|length| length > limit as u64) {
            return Err(ApiError::too_large(limit));
        }
        let mut chunks = std::pin::pin!(self.chunks());
        let Some(first) = chunks.next().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = chunks.next().await.transpose()? else {
            return if first.len() > limit { Err(ApiError::too_large(limit)) } else { Ok(first) };
        };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while whole.len() <= limit {
            let Some(chunk) = chunks.next().await.transpose()? else { return Ok(whole.freeze()) };
            whole.extend_from_slice(&chunk);
        }
        Err(ApiError::too_large(limit))
    }

    /// The body as it arrives. It ends with an error when nothing arrives for too long.
    pub(crate) fn chunks(&mut self) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let body = std::mem::take(&mut self.body);
        futures::stream::unfold((body, self.app.settings().body_timeout), |(mut body, patience)| async move {
            let chunk = next_chunk(&mut body, patience).await.transpose()?;
            // After an error there is nothing more to read.
            let rest = if chunk.is_ok() { body } else { Body::empty() };
            Some((chunk, (rest, patience)))
        })
    }

    /// `Content-Length`, where it is sent.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// A part of the path that the route names, percent-decoded once.
    pub(crate) fn param(&self, name: &str) -> Result<String> {
        let not_text = || ApiError::invalid("Invalid path: it is not UTF-8 once percent-decoded.");
        // The router takes no parameters out of a path that is not text.
        let params = self.params.as_ref().ok_or_else(not_text)?;
        let raw = params.iter().find_map(|(key, value)| (key == name).then_some(value));
        let raw = raw.ok_or_else(|| ApiError::internal(format!("the route has no parameter {name:?}")))?;
        match percent_decode_str(raw).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err(not_text()),
        }
    }

    /// `http` or `https`, as the client called this server, also through a proxy that says so.
    pub(crate) fn scheme(&self) -> &str {
        let forwarded = self.parts.headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        match forwarded {
            Some(list) => list.split(',').next().unwrap_or_default().trim(),
            None if self.app.settings().tls.is_some() => "https",
            None => "http",
        }
    }

    /// Name of the user who calls; none where nobody has to log in.
    pub(crate) fn actor(&self) -> Option<&str> {
        Some(self.caller.name()).filter(|name| !name.is_empty())
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }
}

/// The next bytes of a body; trailers are skipped.
async fn next_chunk(body: &mut Body, patience: Duration) -> Result<Option<Bytes>> {
    loop {
        let frame = timeout(patience, body.frame()).await.map_err(|_| ApiError::too_slow())?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(ApiError::broken_body(error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Err(ApiError::invalid("Bad Request. Content-Type header is missing."));
    };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(ApiError::invalid("Bad Request. Content-Type must be one of ['application/json']."))
    }
}
