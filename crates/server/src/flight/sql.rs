//! The Flight service: Flight SQL's verbs, with plain Flight where a descriptor or ticket is none of its commands.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{Any, CommandStatementIngest, SqlInfo};
use arrow_flight::{HandshakeRequest, HandshakeResponse};
use futures::{Stream, stream};
use http::request::Parts;
use std::pin::Pin;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{put, session, status};
use crate::app::App;
use crate::caller::{Caller, Peer};
use crate::error::{ApiError, Result};
use crate::intake::Intake;

/// What every call shares. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    app: App,
    stop: CancellationToken,
}

type Greetings = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;

impl Doors {
    pub(super) fn new(app: App, stop: CancellationToken) -> Self {
        Self { app, stop }
    }

    fn intake<T>(&self, request: &Request<T>, table: &str) -> Result<Intake> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Stranger);
        Ok(Intake::new(self.app.clone(), caller, Intake::target(table)?))
    }
}

#[tonic::async_trait]
impl FlightSqlService for Doors {
    type FlightService = Self;

    async fn do_handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Result<Response<Greetings>, Status> {
        let parts = parts_of(&request);
        let authorization = session::shake_hands(&self.app, request.metadata(), &parts).await.map_err(status::of)?;
        let token = authorization.rsplit(' ').next().unwrap_or_default().to_owned();
        let greeting = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let mut response = Response::new(Box::pin(stream::iter([Ok(greeting)])) as Greetings);
        let value = authorization.parse().map_err(|_| Status::internal("a token that no header takes"))?;
        response.metadata_mut().insert("authorization", value);
        Ok(response)
    }

    async fn do_put_fallback(
        &self,
        mut request: Request<PeekableFlightDataStream>,
        message: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        if !message.type_url.is_empty() {
            let name: String = message.type_url.chars().take(200).collect();
            return Err(Status::unimplemented(format!("This server does not take {name} in a DoPut.")));
        }
        let descriptor = match request.get_mut().peek().await {
            Some(Ok(first)) => first.flight_descriptor.clone().unwrap_or_default(),
            _ => return Err(Status::invalid_argument("The stream ended before it said what it is about.")),
        };
        let intake = put::table(&descriptor.path).and_then(|table| self.intake(&request, table)).map_err(status::of)?;
        Ok(Response::new(put::start(intake, request.into_inner(), self.stop.clone())))
    }

    async fn do_put_error_callback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(Status::invalid_argument(format!(
            "The first message of a DoPut names the table in its descriptor. {error}"
        )))
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        check_ingest(&command).map_err(status::of)?;
        let intake = self.intake(&request, &command.table).map_err(status::of)?;
        let durable = put::whole(intake, request.into_inner(), self.stop.clone()).await?;
        Ok(i64::try_from(durable.rows).unwrap_or(i64::MAX))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}

/// Rows can be appended to tables that are there, and nothing else.
fn check_ingest(command: &CommandStatementIngest) -> Result<()> {
    use arrow_flight::sql::{TableExistsOption, TableNotExistOption};
    let options = command.table_definition_options.unwrap_or_default();
    let refused = match (options.if_exists(), options.if_not_exist()) {
        (TableExistsOption::Append, _) => None,
        (TableExistsOption::Replace, _) => Some("replaced"),
        (TableExistsOption::Fail, TableNotExistOption::Create) => Some("created"),
        // Nothing is said: nothing but appending makes sense.
        (TableExistsOption::Unspecified | TableExistsOption::Fail, _) => None,
    };
    if let Some(what) = refused {
        return Err(ApiError::not_implemented(format!(
            "The table {:?} cannot be {what}: rows are appended to metrics, params and tags. Use the mode append.",
            command.table.chars().take(100).collect::<String>()
        )));
    }
    if command.temporary {
        return Err(ApiError::not_implemented("There are no temporary tables."));
    }
    if command.transaction_id.is_some() {
        return Err(ApiError::not_implemented("There are no transactions: each batch is durable by itself."));
    }
    Ok(())
}

/// What of a call the checks of credentials look at.
fn parts_of<T>(request: &Request<T>) -> Parts {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.headers = request.metadata().clone().into_headers();
    if let Some(peer) = request.extensions().get::<Peer>() {
        parts.extensions.insert(*peer);
    }
    parts
}
