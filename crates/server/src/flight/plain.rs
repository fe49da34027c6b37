//! Plain Flight beside Flight SQL: tickets and commands in JSON, descriptors that name a table by its path, and sealed
//! tickets for the parts of an answer.
//!
//! A command of Flight SQL is a protobuf message, which begins neither with a brace nor with the mark of what is sealed.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo, SchemaAsIpc,
    SchemaResult, Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::seal::Seal;
use super::sql::{Doors, check_reader};
use super::{options, read, status};
use crate::error::{ApiError, Result};
use crate::wire::{Asked, Handle, Options, PlainTicket};

/// Tables that are looked at ahead of who lists them.
const AHEAD: usize = 2;

/// The whole service.
#[derive(Debug, Clone)]
pub(super) struct Plain(pub(super) Doors);

fn is_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

/// The ticket that a descriptor asks for, if it is none of Flight SQL's.
fn ticket_of(descriptor: &FlightDescriptor) -> Result<Option<PlainTicket>> {
    match descriptor.path.as_slice() {
        [] if is_json(&descriptor.cmd) => PlainTicket::read(&descriptor.cmd).map(Some),
        [] if descriptor.cmd.is_empty() => Err(ApiError::invalid(
            "The descriptor is empty. It is a path of one part, a table; or a command, of Flight SQL or in JSON.",
        )),
        [] => Ok(None),
        [table] => PlainTicket::of_table(table).map(Some),
        path => Err(ApiError::invalid(format!(
            "The path of the descriptor has {} parts; it is one, the name of a table.",
            path.len()
        ))),
    }
}

/// What the library says of bytes that are no message names its own insides: `sentence` is told instead.
fn readable(status: Status, sentence: &str) -> Status {
    let of_bytes = ["DecodeError", "ParseError"].iter().any(|start| status.message().starts_with(start));
    if of_bytes { Status::invalid_argument(sentence) } else { status }
}

impl Plain {
    async fn info(
        doors: &Doors,
        ticket: PlainTicket,
        options: Options,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let handle = Handle::new(doors.seal().lake(), Asked::Plain(ticket), options);
        let request = handle.requests().and_then(|mut requests| requests.next()).map_err(status::of)?;
        let described = doors.app().queries().describe(request.unwrap_or_default()).await.map_err(status::of_query)?;
        let tickets = handle.parts().into_iter().map(|part| doors.seal().close(&part.to_bytes()));
        read::info(described.schema.as_deref(), tickets, descriptor)
    }

    /// The handle of a ticket that is none of Flight SQL's.
    fn handle(&self, request: &Request<Ticket>) -> Result<Option<Handle>> {
        let ticket = &request.get_ref().ticket;
        if Seal::is_sealed(ticket) {
            return self.0.handle(ticket).map(Some);
        }
        if is_json(ticket) {
            let options = options::of_call(self.0.seal(), request.metadata())?;
            return Ok(Some(Handle::new(self.0.seal().lake(), Asked::Plain(PlainTicket::read(ticket)?), options)));
        }
        Ok(None)
    }
}

#[tonic::async_trait]
impl FlightService for Plain {
    type HandshakeStream = <Doors as FlightService>::HandshakeStream;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = <Doors as FlightService>::DoGetStream;
    type DoPutStream = <Doors as FlightService>::DoPutStream;
    type DoExchangeStream = <Doors as FlightService>::DoExchangeStream;
    type DoActionStream = <Doors as FlightService>::DoActionStream;
    type ListActionsStream = <Doors as FlightService>::ListActionsStream;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let Some(ticket) = ticket_of(request.get_ref()).map_err(status::of)? else {
            return self.0.get_flight_info(request).await.map_err(|status| {
                readable(status, "The command of the descriptor is neither one of Flight SQL nor one in JSON.")
            });
        };
        check_reader(&request)?;
        let options = options::of_call(self.0.seal(), request.metadata()).map_err(status::of)?;
        Self::info(&self.0, ticket, options, request.into_inner()).await.map(Response::new)
    }

    /// Answers are begun when they are asked for, so an info is complete at once.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let info = self.get_flight_info(request).await?.into_inner();
        Ok(Response::new(PollInfo { info: Some(info), progress: Some(1.0), ..PollInfo::default() }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let info = self.get_flight_info(request).await?.into_inner();
        if info.schema.is_empty() {
            return Err(Status::invalid_argument(
                "A parameter decides what columns there are: bind its value first, or write it out.",
            ));
        }
        let unreadable = |error: arrow_schema::ArrowError| status::of(ApiError::internal(error.to_string()));
        let schema = info.try_decode_schema().map_err(unreadable)?;
        SchemaAsIpc::new(&schema, &IpcWriteOptions::default()).try_into().map(Response::new).map_err(unreadable)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        check_reader(&request)?;
        match self.handle(&request).map_err(status::of)? {
            Some(handle) => {
                let rows = read::rows(self.0.app().queries(), self.0.running(), &handle).await?;
                Ok(Response::new(rows))
            }
            None => self.0.do_get(request).await.map_err(|status| {
                readable(
                    status,
                    "It is no ticket: neither one that this server gave out, nor one in JSON ({\"sql\": …} or {\"table\": …}), \
                     nor a command of Flight SQL.",
                )
            }),
        }
    }

    /// The tables of the lake, or those whose names begin as the expression says.
    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        check_reader(&request)?;
        let options = options::of_call(self.0.seal(), request.metadata()).map_err(status::of)?;
        let expression = request.into_inner().expression;
        let start = std::str::from_utf8(&expression)
            .map_err(|_| Status::invalid_argument("The expression is the beginning of tables' names, a text."))?;
        let names: Vec<&str> =
            runlake_query::tables().map(|table| table.name()).filter(|name| name.starts_with(start)).collect();
        let doors = self.0.clone();
        let infos = names.into_iter().map(move |name| {
            let (doors, options) = (doors.clone(), options.clone());
            async move {
                let ticket = PlainTicket::of_table(name).map_err(status::of)?;
                Self::info(&doors, ticket, options, FlightDescriptor::new_path(vec![name.to_owned()])).await
            }
        });
        Ok(Response::new(stream::iter(infos).buffered(AHEAD).boxed()))
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.0.handshake(request).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let no_command = "The command of the descriptor is none of Flight SQL; to name a table, use a path.";
        self.0.do_put(request).await.map_err(|status| readable(status, no_command))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("There is no DoExchange: DoPut takes rows in, DoGet gives them out."))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.0.do_action(request).await.map_err(|status| readable(status, "The body of the action cannot be read."))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.0.list_actions(request).await
    }
}
