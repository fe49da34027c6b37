//! Uploads in parts through the server: `mlflow-artifacts/mpu/…`.
//!
//! A client asks for an upload, sends each part by PUT to a URL it is given, and completes it with the tags of the
//! parts. MLflow's servers hand out URLs of the cloud; here they are URLs of this server, on the host the client
//! called. On local files an upload in parts gains nothing, and is answered as MLflow's servers do: clients then send
//! the file in one piece.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use runlake_artifacts::{ArtifactPath, PartRef};

use super::artifacts::{file_of, folder_of, refuse_if_read_only};
use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::wire::{Empty, MultipartAnswer, PartAnswer, json};

const NOT_SUPPORTED: &str = "Multipart upload is not supported for the current artifact repository";
/// Parts of one upload, at most.
const PARTS_LIMIT: i64 = 10_000;
/// What stays as it is in the path of a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) async fn create(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let path = target(&call, &fields.required_text("path")?)?;
    let parts = fields.int("num_parts")?.unwrap_or(1);
    if !(1..=PARTS_LIMIT).contains(&parts) {
        return Err(ApiError::invalid(format!(
            "Invalid value {parts} for parameter 'num_parts' supplied: an upload has 1 to {PARTS_LIMIT} parts."
        )));
    }
    let upload_id = call.app.artifacts().create_upload(&path).await?;
    let base =
        format!("{}/api/2.0/mlflow-artifacts/mpu/part/{}", own_url(&call)?, utf8_percent_encode(path.as_str(), PATH));
    // Clients send parts to wherever they are told, with these headers and none of their own.
    let authorization = call.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let headers: BTreeMap<String, String> =
        authorization.map(|value| ("Authorization".to_owned(), value.to_owned())).into_iter().collect();
    let part = |part_number| PartAnswer {
        url: format!("{base}?upload_id={upload_id}&part_number={part_number}"),
        part_number,
        headers: headers.clone(),
    };
    Ok(json(&MultipartAnswer { credentials: (1..=parts).map(part).collect(), upload_id: upload_id.clone() }))
}

/// Takes one part.
pub(super) async fn part(mut call: Call) -> Result<Response> {
    refuse_unless_offered(&call)?;
    let path = file_of(&call.param("path")?)?;
    let query = call.query();
    let (id, number) = (query.required_text("upload_id")?, query.required_int("part_number")?);
    let number = part_number(number)?;
    let artifacts = call.app.artifacts().clone();
    let tag = artifacts.put_part(&path, &id, number, call.chunks(), None).await?;
    let mut response = json(&Empty {});
    if let Ok(tag) = HeaderValue::try_from(tag.e_tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

pub(super) async fn complete(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let path = target(&call, &fields.required_text("path")?)?;
    let id = fields.required_text("upload_id")?;
    let mut parts = Vec::new();
    for part in fields.objects("parts")? {
        let number = part_number(part.required_int("part_number")?)?;
        parts.push(PartRef { number, e_tag: part.text("etag")?.filter(|tag| !tag.is_empty()) });
    }
    call.app.artifacts().complete_upload(&path, &id, &parts).await?;
    Ok(json(&Empty {}))
}

pub(super) async fn abort(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let path = target(&call, &fields.required_text("path")?)?;
    call.app.artifacts().abort_upload(&path, &fields.required_text("upload_id")?).await?;
    Ok(json(&Empty {}))
}

/// The file an upload is for: the folder is in the URL, the name is that of the client's local file.
fn target(call: &Call, local_file: &str) -> Result<ArtifactPath> {
    refuse_unless_offered(call)?;
    let name = local_file.rsplit(['/', '\\']).next().unwrap_or_default();
    Ok(folder_of(Some(&call.param("path")?))?.join(&file_of(name)?))
}

fn refuse_unless_offered(call: &Call) -> Result<()> {
    if call.app.artifacts().store().local_root().is_some() {
        return Err(ApiError::not_implemented(NOT_SUPPORTED));
    }
    refuse_if_read_only(call)
}

fn part_number(number: i64) -> Result<u32> {
    u32::try_from(number)
        .map_err(|_| ApiError::invalid(format!("Invalid value {number} for parameter 'part_number' supplied.")))
}

/// This server as the client calls it, also through a proxy that says so.
fn own_url(call: &Call) -> Result<String> {
    let header = |name: &str| call.headers().get(name).and_then(|value| value.to_str().ok());
    let first = |list: &str| list.split(',').next().unwrap_or_default().trim().to_owned();
    let host = header("x-forwarded-host").or_else(|| header("host")).map(first);
    let host = host.or_else(|| call.uri().authority().map(ToString::to_string));
    let host = host.ok_or_else(|| ApiError::invalid("The request has no Host header."))?;
    Ok(format!("{}://{host}", call.scheme()))
}
