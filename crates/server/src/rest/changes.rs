//! `GET /api/runlake/changes`: tells, as server-sent events, that the lake has moved on.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use runlake_types::Seq;

use crate::call::Call;
use crate::error::Result;

/// Events come at most this often.
const PAUSE: Duration = Duration::from_millis(500);
/// A silent connection says so much, for proxies that cut silent ones, and to notice that the caller went away.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn changes(call: Call) -> Result<Response> {
    let engine = call.app.engine().clone();
    let events = stream::unfold((engine, None), |(engine, told): (_, Option<Seq>)| async move {
        let mut silent = Duration::ZERO;
        loop {
            let now = engine.view().seq();
            if told != Some(now) {
                let event = format!("event: change\ndata: {{\"position\": {now}}}\n\n");
                return Some((Ok::<_, std::convert::Infallible>(Bytes::from(event)), (engine, Some(now))));
            }
            if silent >= HEARTBEAT {
                return Some((Ok(Bytes::from_static(b": nothing new\n\n")), (engine, told)));
            }
            tokio::time::sleep(PAUSE).await;
            silent += PAUSE;
        }
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
