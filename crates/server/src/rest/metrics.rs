//! `metrics/…`: points of metrics, whole, sampled or as envelopes.

use axum::response::Response;
use http::StatusCode;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{
    EnvelopeAnswer, EnvelopeFormat, HistoryAnswer, IntervalAnswer, curves_answer, history_bulk_answer, json, json_bytes,
};

pub(super) async fn history(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.metric_history()?;
    let page = call.app.tracking().metric_history(&request).await?;
    Ok(json(&HistoryAnswer::of(&request.metric_key, &page)))
}

pub(super) async fn history_bulk(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.metric_history_bulk()?;
    let points = call.app.tracking().metric_history_bulk(&request).await?;
    Ok(json_bytes(StatusCode::OK, history_bulk_answer(&request.metric_key, &points)))
}

pub(super) async fn history_interval(mut call: Call) -> Result<Response> {
    let request = call.fields().await?.metric_history_interval()?;
    let points = call.app.tracking().metric_history_interval(&request).await?;
    Ok(json(&IntervalAnswer::of(&request.metric_key, &points)))
}

pub(super) async fn envelope(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let (request, format) = (fields.envelope()?, fields.envelope_format()?);
    let envelopes = call.app.tracking().metric_envelopes(&request).await?;
    Ok(match format {
        EnvelopeFormat::Buckets => json(&EnvelopeAnswer::of(&request.metric_key, &envelopes)),
        EnvelopeFormat::Curves => json_bytes(StatusCode::OK, curves_answer(&request.metric_key, &envelopes)),
    })
}
