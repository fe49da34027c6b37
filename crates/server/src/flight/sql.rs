//! Flight SQL's verbs, on `runlake_query` and the bulk doors.
//!
//! Nothing is kept between calls: a ticket or a prepared statement's handle holds its statement, parameters and options.

use std::pin::Pin;

use arrow_array::RecordBatch;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, Command, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest,
    CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc,
    Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{Schema, SchemaRef};
use futures::{Stream, StreamExt as _, stream};
use http::request::Parts;
use prost::Message as _;
use runlake_identity::Role;
use runlake_query::{DATABASE, Described};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::running::Running;
use super::seal::Seal;
use super::{actions, metadata, options, put, read, session, status};
use crate::app::App;
use crate::caller::{Caller, Peer};
use crate::error::{ApiError, Result};
use crate::intake::Intake;
use crate::ipc::{Decoded, Decoder};
use crate::permit;
use crate::wire::{Asked, Handle};

/// Messages with parameters that one binding takes, and the memory of their rows.
const MOST_BINDINGS: usize = 64;
const MOST_BOUND_BYTES: usize = 4 << 20;
/// What the result of `CancelQuery` is called, by number, as the library does not name it.
const CANCELLED: i32 = 1;
const NOT_CANCELLABLE: i32 = 3;

/// What every call shares. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    app: App,
    stop: CancellationToken,
    running: Running,
    seal: Seal,
}

type Greetings = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;
type Info = Result<Response<FlightInfo>, Status>;
type Rows = Result<Response<read::Rows>, Status>;

impl Doors {
    pub(super) fn new(app: App, stop: CancellationToken) -> Self {
        let seal = Seal::new(&app.engine().identity().lake_id);
        Self { app, stop, running: Running::default(), seal }
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }

    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    fn intake<T>(&self, request: &Request<T>, table: &str) -> Result<Intake> {
        Ok(Intake::new(self.app.clone(), caller(request), Intake::target(table)?))
    }

    /// What a sealed ticket or handle says.
    pub(super) fn handle(&self, sealed: &[u8]) -> Result<Handle> {
        Handle::read(self.seal.open("ticket or handle", sealed)?)
    }

    /// A statement, to be answered as the call says.
    fn statement<T>(&self, sql: String, request: &Request<T>) -> Result<Handle> {
        let options = options::of_call(&self.seal, request.metadata())?;
        Ok(Handle::new(self.seal.lake(), Asked::Statement(sql), options))
    }

    fn sealed(&self, handle: &Handle) -> bytes::Bytes {
        self.seal.close(&handle.to_bytes()).into()
    }

    async fn described(&self, handle: &Handle) -> Result<Described, Status> {
        let first = handle.requests().and_then(|mut requests| requests.next()).map_err(status::of)?;
        let first = first.ok_or_else(|| Status::invalid_argument("There are no rows of parameters."))?;
        self.app.queries().describe(first).await.map_err(status::of_query)
    }

    async fn answer(&self, sealed: &[u8]) -> Rows {
        let handle = self.handle(sealed).map_err(status::of)?;
        read::rows(self.app.queries(), &self.running, &handle).await.map(Response::new)
    }
}

/// Who sends a request, as the frame around the service found out.
fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Stranger)
}

/// SQL reads everything, so it needs the role for everything.
pub(super) fn check_reader<T>(request: &Request<T>) -> Result<(), Status> {
    permit::admit_everywhere(&caller(request), Role::Viewer).map_err(status::of)
}

/// An info whose ticket is the command itself.
fn itself(command: &impl ProstMessageExt, schema: &Schema, request: Request<FlightDescriptor>) -> Info {
    check_reader(&request)?;
    let ticket = command.as_any().encode_to_vec();
    read::info(Some(schema), [ticket], request.into_inner()).map(Response::new)
}

fn rows<T>(request: &Request<T>, batch: impl FnOnce() -> Result<RecordBatch>) -> Rows {
    check_reader(request)?;
    read::of_batch(batch().map_err(status::of)?).map(Response::new)
}

fn only_reads() -> Status {
    status::of_query(runlake_query::Error::ReadOnly { statement: "An update".to_owned() })
}

fn unknown(command: &Any) -> Status {
    let name: String = command.type_url.chars().take(200).collect();
    Status::unimplemented(format!("This server does not know the command {name:?} here."))
}

fn no_transactions() -> Status {
    Status::unimplemented("There are no transactions: statements only read, and each batch is durable by itself.")
}

fn ipc_schema(schema: &Schema) -> Result<bytes::Bytes, Status> {
    let message = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into();
    let IpcMessage(bytes) =
        message.map_err(|error: arrow_schema::ArrowError| status::of(ApiError::internal(error.to_string())))?;
    Ok(bytes)
}

/// Rows of parameters, with their columns.
async fn parameters(mut messages: PeekableFlightDataStream) -> Result<(SchemaRef, Vec<RecordBatch>), Status> {
    let (mut decoder, mut schema, mut batches, mut bytes) = (Decoder::default(), None, Vec::new(), 0);
    while let Some(message) = messages.next().await.transpose()? {
        if message.data_header.is_empty() {
            continue;
        }
        match decoder.decode(&message.data_header, message.data_body).map_err(status::of)? {
            Decoded::Nothing => {}
            Decoded::Schema(columns) => schema = Some(columns),
            Decoded::Batch(batch) => {
                bytes += batch.get_array_memory_size();
                batches.push(batch);
            }
        }
        if batches.len() > MOST_BINDINGS || bytes > MOST_BOUND_BYTES {
            return Err(Status::invalid_argument(format!(
                "The parameters are too many: at most {MOST_BINDINGS} batches and {MOST_BOUND_BYTES} bytes are taken."
            )));
        }
    }
    let schema = schema.ok_or_else(|| Status::invalid_argument("The stream ended before it said what it holds."))?;
    Ok((schema, batches))
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
            return Err(unknown(&message));
        }
        let descriptor = match request.get_mut().peek().await {
            Some(Ok(first)) => first.flight_descriptor.clone().unwrap_or_default(),
            _ => return Err(Status::invalid_argument("The stream ended before it said what it is about.")),
        };
        let intake = put::table(&descriptor.path).and_then(|table| self.intake(&request, table)).map_err(status::of)?;
        Ok(Response::new(put::start(intake, request.into_inner(), self.stop.clone())))
    }

    async fn get_flight_info_fallback(&self, command: Command, _request: Request<FlightDescriptor>) -> Info {
        Err(unknown(&command.into_any()))
    }

    async fn do_get_fallback(&self, _request: Request<Ticket>, command: Any) -> Rows {
        Err(unknown(&command))
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

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        check_reader(&request)?;
        refuse_transaction(query.transaction_id.as_ref())?;
        let handle = self.statement(query.query, &request).map_err(status::of)?;
        let described = self.described(&handle).await?;
        let ticket = TicketStatementQuery { statement_handle: self.sealed(&handle) }.as_any().encode_to_vec();
        read::info(described.schema.as_deref(), [ticket], request.into_inner()).map(Response::new)
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Rows {
        check_reader(&request)?;
        self.answer(&ticket.statement_handle).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        check_reader(&request)?;
        refuse_transaction(query.transaction_id.as_ref())?;
        let handle = self.statement(query.query, &request).map_err(status::of)?;
        let described = self.described(&handle).await?;
        let columns = described.schema.as_deref();
        let handle = handle.prepared(columns, &described.parameters).map_err(status::of)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: self.sealed(&handle),
            dataset_schema: columns.map_or(Ok(bytes::Bytes::new()), ipc_schema)?,
            parameter_schema: ipc_schema(&described.parameters)?,
        })
    }

    /// The parameters go into the handle, which clients use from now on.
    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        check_reader(&request)?;
        let handle = self.handle(&query.prepared_statement_handle).map_err(status::of)?;
        let (columns, batches) = parameters(request.into_inner()).await?;
        let handle = handle.with_parameters(&columns, &batches).map_err(status::of)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(self.sealed(&handle)) })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        check_reader(&request)?;
        let handle = self.handle(&query.prepared_statement_handle).map_err(status::of)?;
        let columns = match handle.columns().map_err(status::of)? {
            Some(columns) => Some(columns),
            None => self.described(&handle).await?.schema,
        };
        let ticket = query.as_any().encode_to_vec();
        read::info(columns.as_deref(), [ticket], request.into_inner()).map(Response::new)
    }

    async fn do_get_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<Ticket>) -> Rows {
        check_reader(&request)?;
        self.answer(&query.prepared_statement_handle).await
    }

    /// There is nothing to close.
    async fn do_action_close_prepared_statement(
        &self,
        _query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn do_put_statement_update(
        &self,
        _ticket: CommandStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(only_reads())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _query: CommandPreparedStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(only_reads())
    }

    async fn get_flight_info_catalogs(&self, query: CommandGetCatalogs, request: Request<FlightDescriptor>) -> Info {
        itself(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> Rows {
        rows(&request, || {
            let mut builder = query.into_builder();
            builder.append(DATABASE);
            metadata::built(builder.build())
        })
    }

    async fn get_flight_info_schemas(&self, query: CommandGetDbSchemas, request: Request<FlightDescriptor>) -> Info {
        let schema = query.clone().into_builder().schema();
        itself(&query, &schema, request)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Rows {
        rows(&request, || metadata::schemas(query))
    }

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Info {
        let schema = query.clone().into_builder().schema();
        itself(&query, &schema, request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Rows {
        check_reader(&request)?;
        let tables = metadata::tables(self.app.queries(), query).await.map_err(status::of)?;
        read::of_batch(tables).map(Response::new)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Info {
        itself(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, request: Request<Ticket>) -> Rows {
        rows(&request, || {
            let mut builder = query.into_builder();
            metadata::TABLE_TYPES.iter().for_each(|kind| builder.append(kind));
            metadata::built(builder.build())
        })
    }

    async fn get_flight_info_sql_info(&self, query: CommandGetSqlInfo, request: Request<FlightDescriptor>) -> Info {
        let schema = query.clone().into_builder(metadata::abilities()).schema();
        itself(&query, &schema, request)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> Rows {
        rows(&request, || metadata::built(query.into_builder(metadata::abilities()).build()))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        itself(&query, &query.into_builder(metadata::types()).schema(), request)
    }

    async fn do_get_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, request: Request<Ticket>) -> Rows {
        rows(&request, || metadata::built(query.into_builder(metadata::types()).build()))
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        itself(&query, &metadata::keys_schema(), request)
    }

    async fn do_get_primary_keys(&self, query: CommandGetPrimaryKeys, request: Request<Ticket>) -> Rows {
        rows(&request, || metadata::keys(&query))
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        itself(&query, &metadata::references_schema(), request)
    }

    async fn do_get_exported_keys(&self, _query: CommandGetExportedKeys, request: Request<Ticket>) -> Rows {
        rows(&request, || Ok(metadata::references()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        itself(&query, &metadata::references_schema(), request)
    }

    async fn do_get_imported_keys(&self, _query: CommandGetImportedKeys, request: Request<Ticket>) -> Rows {
        rows(&request, || Ok(metadata::references()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Info {
        itself(&query, &metadata::references_schema(), request)
    }

    async fn do_get_cross_reference(&self, _query: CommandGetCrossReference, request: Request<Ticket>) -> Rows {
        rows(&request, || Ok(metadata::references()))
    }

    async fn do_action_begin_transaction(
        &self,
        _query: ActionBeginTransactionRequest,
        _request: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        check_reader(&request)?;
        let info = FlightInfo::decode(query.info).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let result = if actions::cancel(self, &info) { CANCELLED } else { NOT_CANCELLABLE };
        Ok(ActionCancelQueryResult { result })
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        Some(actions::all())
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        actions::act(self, request)
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}

fn refuse_transaction(id: Option<&bytes::Bytes>) -> Result<(), Status> {
    if id.is_some() { Err(no_transactions()) } else { Ok(()) }
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
            "The table {:?} cannot be {what}: rows are appended to metrics, params, tags, runs and inference_log. Use the mode append.",
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
