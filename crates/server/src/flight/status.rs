//! One mapping from errors to gRPC's codes. The sentences are those of REST.

use tonic::{Code as GrpcCode, Status};

use crate::app::log;
use crate::error::{ApiError, Code};

/// What a caller is told of an error.
pub(super) fn of(error: ApiError) -> Status {
    Status::new(code(error.code()), error.message())
}

/// The same of a query, which may have been ended from outside.
pub(super) fn of_query(error: runlake_query::Error) -> Status {
    use runlake_query::Error;
    match error {
        // Not CANCELLED: that is for callers who gave up themselves, and pyarrow takes it for Ctrl-C in its process.
        Error::Cancelled => Status::aborted(error.to_string()),
        Error::TimedOut(_) | Error::Abandoned(_) => Status::deadline_exceeded(error.to_string()),
        error => {
            let error = ApiError::from(error);
            log(&error);
            of(error)
        }
    }
}

const fn code(code: Code) -> GrpcCode {
    match code {
        Code::InvalidParameterValue | Code::BadRequest => GrpcCode::InvalidArgument,
        Code::ResourceDoesNotExist | Code::EndpointNotFound => GrpcCode::NotFound,
        Code::ResourceAlreadyExists => GrpcCode::AlreadyExists,
        Code::InvalidState => GrpcCode::FailedPrecondition,
        Code::Unauthenticated => GrpcCode::Unauthenticated,
        Code::PermissionDenied => GrpcCode::PermissionDenied,
        Code::NotImplemented => GrpcCode::Unimplemented,
        Code::RequestLimitExceeded => GrpcCode::ResourceExhausted,
        Code::TemporarilyUnavailable => GrpcCode::Unavailable,
        Code::InternalError => GrpcCode::Internal,
    }
}

/// The HTTP status that says nearly the same, for the metrics page.
pub(super) const fn http(code: GrpcCode) -> u16 {
    match code {
        GrpcCode::Ok => 200,
        GrpcCode::InvalidArgument | GrpcCode::OutOfRange => 400,
        GrpcCode::Unauthenticated => 401,
        GrpcCode::PermissionDenied => 403,
        GrpcCode::NotFound => 404,
        GrpcCode::AlreadyExists | GrpcCode::FailedPrecondition | GrpcCode::Aborted => 409,
        GrpcCode::ResourceExhausted => 429,
        GrpcCode::Cancelled => 499,
        GrpcCode::Unimplemented => 501,
        GrpcCode::Unavailable => 503,
        GrpcCode::DeadlineExceeded => 504,
        GrpcCode::Internal | GrpcCode::DataLoss | GrpcCode::Unknown => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_that_were_ended_are_told_apart() {
        use runlake_query::Error;
        for (error, code) in [
            (Error::Cancelled, GrpcCode::Aborted),
            (Error::TimedOut(std::time::Duration::from_secs(1)), GrpcCode::DeadlineExceeded),
            (Error::Invalid("x".into()), GrpcCode::InvalidArgument),
            (Error::NotFound("x".into()), GrpcCode::NotFound),
            (Error::Busy(1), GrpcCode::ResourceExhausted),
        ] {
            assert_eq!(of_query(error).code(), code);
        }
    }

    #[test]
    fn every_code_has_its_own() {
        for (given, expected, status) in [
            (Code::InvalidParameterValue, GrpcCode::InvalidArgument, 400),
            (Code::BadRequest, GrpcCode::InvalidArgument, 400),
            (Code::ResourceDoesNotExist, GrpcCode::NotFound, 404),
            (Code::EndpointNotFound, GrpcCode::NotFound, 404),
            (Code::ResourceAlreadyExists, GrpcCode::AlreadyExists, 409),
            (Code::InvalidState, GrpcCode::FailedPrecondition, 409),
            (Code::Unauthenticated, GrpcCode::Unauthenticated, 401),
            (Code::PermissionDenied, GrpcCode::PermissionDenied, 403),
            (Code::NotImplemented, GrpcCode::Unimplemented, 501),
            (Code::RequestLimitExceeded, GrpcCode::ResourceExhausted, 429),
            (Code::TemporarilyUnavailable, GrpcCode::Unavailable, 503),
            (Code::InternalError, GrpcCode::Internal, 500),
        ] {
            let status_of = of(ApiError::new(given, "why"));
            assert_eq!((status_of.code(), status_of.message()), (expected, "why"), "{given:?}");
            assert_eq!(http(expected), status, "{given:?}");
        }
    }
}
