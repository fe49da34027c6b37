//! Actions beside those of the library: sessions, and what is cancelled.

use arrow_flight::sql::{Any, CommandPreparedStatementQuery, TicketStatementQuery};
use arrow_flight::{Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use bytes::Bytes;
use prost::Message;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response, Status};

use super::options;
use super::sql::{Doors, check_reader};
use super::status;
use crate::error::Result;

/// What an action answers.
type Answer = futures::stream::BoxStream<'static, Result<arrow_flight::Result, Status>>;

const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const SET_OPTIONS: &str = "SetSessionOptions";
const GET_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";

/// The actions of this file, as clients ask for them.
pub(super) fn all() -> Vec<Result<ActionType, Status>> {
    let action = |(name, what): (&str, &str)| {
        let description = format!("{what}\n\nRequest Message: {name}Request\n\nResponse Message: {name}Result");
        Ok(ActionType { r#type: name.to_owned(), description })
    };
    let actions = [
        (CANCEL_FLIGHT_INFO, "Cancels the query that a FlightInfo is of."),
        (
            SET_OPTIONS,
            "Sets options of the session, which a cookie carries: as_of, row_limit, timeout_ms, compression, \
                       dictionaries.",
        ),
        (GET_OPTIONS, "Tells the options of the session."),
        (CLOSE_SESSION, "Ends the session."),
    ];
    actions.into_iter().map(action).collect()
}

/// Does an action that the library knows nothing of.
pub(super) fn act(doors: &Doors, request: Request<Action>) -> Result<Response<Answer>, Status> {
    check_reader(&request)?;
    let (metadata, _, Action { r#type, body }) = request.into_parts();
    let seal = doors.seal();
    match r#type.as_str() {
        CANCEL_FLIGHT_INFO => {
            let info = read::<CancelFlightInfoRequest>(body)?.info.unwrap_or_default();
            let status = if cancel(doors, &info) { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
            Ok(answer(&CancelFlightInfoResult { status: status as i32 }, None))
        }
        SET_OPTIONS => {
            let (result, cookie) = options::set(seal, &metadata, read(body)?).map_err(status::of)?;
            Ok(answer(&result, Some(cookie)))
        }
        GET_OPTIONS => Ok(answer(&options::get(seal, &metadata).map_err(status::of)?, None)),
        CLOSE_SESSION => {
            let (result, cookie) = options::close().map_err(status::of)?;
            Ok(answer(&result, Some(cookie)))
        }
        other => {
            let name: String = other.chars().take(100).collect();
            Err(Status::unimplemented(format!("There is no action {name:?}.")))
        }
    }
}

fn read<M: Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| Status::invalid_argument(format!("The body of the action cannot be read: {error}")))
}

fn answer(result: &impl Message, cookie: Option<AsciiMetadataValue>) -> Response<Answer> {
    let result = arrow_flight::Result { body: result.encode_to_vec().into() };
    let mut response = Response::new(Box::pin(futures::stream::iter([Ok(result)])) as Answer);
    if let Some(cookie) = cookie {
        response.metadata_mut().insert("set-cookie", cookie);
    }
    response
}

/// Cancels what the tickets of an info are of; whether any of it was being read.
pub(super) fn cancel(doors: &Doors, info: &FlightInfo) -> bool {
    let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
    let handles = tickets.filter_map(|ticket| doors.handle(&sealed_in(&ticket.ticket)?).ok());
    // Each of them, though one was found.
    handles.filter(|handle| doors.running().cancel(&handle.id)).count() > 0
}

/// What is sealed in a ticket: the whole of it, or what its command holds.
fn sealed_in(ticket: &Bytes) -> Option<Bytes> {
    if super::seal::Seal::is_sealed(ticket) {
        return Some(ticket.clone());
    }
    let any = Any::decode(ticket.clone()).ok()?;
    if let Ok(Some(ticket)) = any.unpack::<TicketStatementQuery>() {
        return Some(ticket.statement_handle);
    }
    Some(any.unpack::<CommandPreparedStatementQuery>().ok()??.prepared_statement_handle)
}
