//! Pages of the server itself, and what it says where there is no page.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

use crate::app::empty;
use crate::call::Call;
use crate::error::{ApiError, Code, Result};
use crate::guard::Guard;
use crate::wire::{ServerInfo, UiTelemetry, json};
use crate::{MLFLOW_VERSION, VERSION, metrics as page};

/// For people who open the address in a browser.
#[cfg(not(feature = "ui"))]
pub(super) async fn front(_: Call) -> Result<Response> {
    Ok(format!(
        "runlake {VERSION}: an MLflow tracking server over a lakehouse.\n\n\
         Point a client here:\n\n    import mlflow\n    mlflow.set_tracking_uri(\"http://<this address>\")\n"
    )
    .into_response())
}

/// Whether requests can be served: not once the engine has stopped.
pub(super) async fn health(call: Call) -> Result<Response> {
    match call.app.engine().status().failure {
        None => Ok("OK".into_response()),
        // Anybody may ask; the cause may name places of the machine.
        Some(_) => Err(ApiError::new(
            Code::TemporarilyUnavailable,
            "The server takes no more writes and is about to end; its log says why.",
        )),
    }
}

pub(super) async fn version(_: Call) -> Result<Response> {
    Ok(MLFLOW_VERSION.into_response())
}

pub(super) async fn metrics(call: Call) -> Result<Response> {
    let page = call.app.metrics().page(&call.app.engine().status(), call.app.queries().load());
    let mut response = page.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page::CONTENT_TYPE));
    Ok(response)
}

pub(super) async fn server_info(_: Call) -> Result<Response> {
    Ok(json(&ServerInfo {
        store_type: "SqlStore",
        workspaces_enabled: false,
        trace_archival_enabled: false,
        multipart_uploads_enabled: false,
        multipart_downloads_enabled: false,
        presigned_upload_run_id_supported: true,
        presigned_upload_model_id_supported: true,
        runlake_version: VERSION,
    }))
}

pub(super) async fn ui_telemetry(_: Call) -> Result<Response> {
    Ok(json(&UiTelemetry { disable_ui_telemetry: true, disable_ui_events: [], ui_rollout_percentage: 0 }))
}

/// A path that is no route. Clients take the 404 as "an older server" and try an older route.
pub(super) async fn unknown(call: Call) -> Result<Response> {
    let path = call.uri().path();
    Err(ApiError::new(Code::EndpointNotFound, format!("There is no endpoint {path} here.")))
}

/// A path that is a route, but not with this method. Also where a browser asks before it sends.
pub(super) async fn wrong_method(call: Call) -> Result<Response> {
    let mut response = empty(StatusCode::NO_CONTENT);
    if Guard::preflight(call.parts(), response.headers_mut()) {
        return Ok(response);
    }
    let (method, path) = (&call.parts().method, call.uri().path());
    Err(ApiError::new(Code::BadRequest, format!("The endpoint {path} does not take {method} requests."))
        .with_status(StatusCode::METHOD_NOT_ALLOWED))
}
