//! One mapping from what goes wrong below to what MLflow's clients understand: an error code and a status.
//!
//! The clients retry 408, 429, 500, 502, 503 and 504 with back-off and then lose the message, so a 500 is only for
//! faults of ours, never for a mistake in the request.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use runlake_types::ErrorKind;

use crate::wire;

/// Result of a request.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Seconds after which a refused request is worth sending again.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What MLflow's server answers those who do not say who they are.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"mlflow\"");

/// MLflow's error codes, as far as this server uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The request is wrong.
    InvalidParameterValue,
    /// The request cannot be read at all.
    BadRequest,
    /// What was asked for is not there.
    ResourceDoesNotExist,
    /// There is no such route.
    EndpointNotFound,
    /// A name or id is taken.
    ResourceAlreadyExists,
    /// The thing is in a state that forbids the request.
    InvalidState,
    /// The caller did not prove who they are.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// This server does not offer it.
    NotImplemented,
    /// Too much at once.
    RequestLimitExceeded,
    /// Not now.
    TemporarilyUnavailable,
    /// A fault of ours.
    InternalError,
}

impl Code {
    /// As MLflow spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidParameterValue => "INVALID_PARAMETER_VALUE",
            Self::BadRequest => "BAD_REQUEST",
            Self::ResourceDoesNotExist => "RESOURCE_DOES_NOT_EXIST",
            Self::EndpointNotFound => "ENDPOINT_NOT_FOUND",
            Self::ResourceAlreadyExists => "RESOURCE_ALREADY_EXISTS",
            Self::InvalidState => "INVALID_STATE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::RequestLimitExceeded => "REQUEST_LIMIT_EXCEEDED",
            Self::TemporarilyUnavailable => "TEMPORARILY_UNAVAILABLE",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// The status it goes out with. As in MLflow, except that `INVALID_STATE` is 409 and not 500.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidParameterValue | Self::BadRequest | Self::ResourceAlreadyExists => StatusCode::BAD_REQUEST,
            Self::ResourceDoesNotExist | Self::EndpointNotFound => StatusCode::NOT_FOUND,
            Self::InvalidState => StatusCode::CONFLICT,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::RequestLimitExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What each kind of error below is called here.
    pub(crate) const fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::InvalidParameterValue,
            ErrorKind::NotFound => Self::ResourceDoesNotExist,
            ErrorKind::AlreadyExists => Self::ResourceAlreadyExists,
            ErrorKind::Conflict => Self::InvalidState,
            ErrorKind::Unauthenticated => Self::Unauthenticated,
            ErrorKind::Denied => Self::PermissionDenied,
            ErrorKind::Unsupported => Self::NotImplemented,
            ErrorKind::Overloaded => Self::RequestLimitExceeded,
            ErrorKind::Unavailable | ErrorKind::Closed => Self::TemporarilyUnavailable,
            ErrorKind::Corrupt | ErrorKind::Internal => Self::InternalError,
        }
    }
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    code: Code,
    status: StatusCode,
    message: String,
    /// What went wrong, for the log only: it may name places of the server.
    cause: Option<String>,
    /// After how many seconds it is worth asking again.
    retry_after: Option<u32>,
}

impl ApiError {
    /// An error with the usual status of its code.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, status: code.status(), message: message.into(), cause: None, retry_after: None }
    }

    /// The same error with another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// A mistake in the request.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    /// Something this server does not offer.
    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(Code::NotImplemented, message)
    }

    /// A body longer than `limit` bytes.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            Code::BadRequest,
            format!(
                "The request body is longer than {limit} bytes. Send less at once, or start the server with a \
                 larger --body-limit."
            ),
        )
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// A body that did not arrive in time.
    pub(crate) fn too_slow() -> Self {
        Self::new(Code::BadRequest, "The request body stopped arriving; the server gave up waiting for it.")
            .with_status(StatusCode::REQUEST_TIMEOUT)
    }

    /// A body that broke off.
    pub(crate) fn broken_body(reason: impl std::fmt::Display) -> Self {
        Self::new(Code::BadRequest, format!("The request body could not be read: {reason}"))
    }

    /// A fault of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::InternalError, message)
    }

    /// What it is called.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The same error about a part of the request, which `place` names; `after` says what was done before it.
    pub(crate) fn about(mut self, place: impl FnOnce(&str) -> String) -> Self {
        self.message = place(&self.message);
        self
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What whoever runs the server should know, and the caller should not.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The same error, which tells the caller where to look for its cause, if it has one.
    pub(crate) fn with_request_id(mut self, id: &str) -> Self {
        if self.cause.is_some() {
            self.message = format!("{}; the server's log says why, at request {id}", self.message);
        }
        self
    }

    /// The message in the answer.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = wire::ErrorAnswer { error_code: self.code.name(), message: &self.message };
        let mut response = wire::json_with(self.status, &body);
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let seconds = self.retry_after.unwrap_or(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, BASIC);
        }
        response
    }
}

macro_rules! from_errors {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for ApiError {
            fn from(error: $error) -> Self {
                Self::new(Code::of(error.kind()), error.to_string())
            }
        }
    )+};
}

from_errors!(
    runlake_tracking::Error,
    runlake_registry::Error,
    runlake_webhooks::Error,
    runlake_query::Error,
    runlake_engine::Error,
);

impl From<runlake_identity::Error> for ApiError {
    fn from(error: runlake_identity::Error) -> Self {
        let retry_after = match error {
            runlake_identity::Error::SlowDown { seconds } => Some(seconds),
            _ => None,
        };
        Self { retry_after, ..Self::new(Code::of(error.kind()), error.to_string()) }
    }
}

impl From<runlake_artifacts::Error> for ApiError {
    fn from(error: runlake_artifacts::Error) -> Self {
        let told = Self::new(Code::of(error.kind()), error.for_clients());
        match error {
            runlake_artifacts::Error::TooLarge { .. } => told.with_status(StatusCode::PAYLOAD_TOO_LARGE),
            // What went wrong with reading the request is an answer already.
            runlake_artifacts::Error::Body { source, .. } => source.downcast().map_or(told, |told| *told),
            runlake_artifacts::Error::Object { .. } | runlake_artifacts::Error::Storage(_) => {
                Self { cause: Some(error.to_string()), ..told }
            }
            _ => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code_and_status() {
        let table = [
            (ErrorKind::Invalid, "INVALID_PARAMETER_VALUE", 400),
            (ErrorKind::NotFound, "RESOURCE_DOES_NOT_EXIST", 404),
            (ErrorKind::AlreadyExists, "RESOURCE_ALREADY_EXISTS", 400),
            (ErrorKind::Conflict, "INVALID_STATE", 409),
            (ErrorKind::Unauthenticated, "UNAUTHENTICATED", 401),
            (ErrorKind::Denied, "PERMISSION_DENIED", 403),
            (ErrorKind::Unsupported, "NOT_IMPLEMENTED", 501),
            (ErrorKind::Overloaded, "REQUEST_LIMIT_EXCEEDED", 429),
            (ErrorKind::Unavailable, "TEMPORARILY_UNAVAILABLE", 503),
            (ErrorKind::Corrupt, "INTERNAL_ERROR", 500),
            (ErrorKind::Closed, "TEMPORARILY_UNAVAILABLE", 503),
            (ErrorKind::Internal, "INTERNAL_ERROR", 500),
        ];
        for (kind, name, status) in table {
            let code = Code::of(kind);
            assert_eq!((code.name(), code.status().as_u16()), (name, status), "{kind:?}");
        }
    }

    #[test]
    fn refusals_that_pass_say_when_to_come_back() {
        for (code, expected) in [
            (Code::RequestLimitExceeded, Some("1")),
            (Code::TemporarilyUnavailable, Some("1")),
            (Code::InvalidState, None),
        ] {
            let response = ApiError::new(code, "x").into_response();
            let value = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected, "{code:?}");
        }
    }
}
