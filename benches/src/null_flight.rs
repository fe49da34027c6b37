//! A Flight server that takes everything and does nothing: the ceiling of `DoPut` on this machine. What it was sent under the
//! path `keep` it gives out again and again: the ceiling of `DoGet`.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::{self, BoxStream, StreamExt as _};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tonic::{Request, Response, Status, Streaming};

/// Serves until it is killed.
pub(crate) fn serve(port: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let service = FlightServiceServer::new(Null::default()).max_decoding_message_size(64 << 20);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let mut http = auto::Builder::new(TokioExecutor::new());
                http.http2().initial_stream_window_size(4 << 20).initial_connection_window_size(8 << 20);
                let _ended = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

#[derive(Debug, Clone, Default)]
struct Null {
    kept: Arc<Mutex<Vec<FlightData>>>,
}

fn rows_of(message: &FlightData) -> i64 {
    let header = arrow_ipc::root_as_message(&message.data_header).ok();
    header.and_then(|header| header.header_as_record_batch()).map_or(0, |batch| batch.length())
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn no<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("it does nothing"))
}

#[tonic::async_trait]
impl FlightService for Null {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    /// Counts rows by what the messages say, without looking at them; or keeps them.
    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let kept = Arc::clone(&self.kept);
        let answers = stream::unfold((request.into_inner(), 0, None), move |(mut messages, rows, mut keeps)| {
            let kept = Arc::clone(&kept);
            async move {
                let message = match messages.message().await {
                    Ok(message) => message?,
                    Err(status) => return Some((Err(status), (messages, rows, keeps))),
                };
                let keeps_this = *keeps.get_or_insert_with(|| {
                    let path = message.flight_descriptor.as_ref().map(|descriptor| descriptor.path.as_slice());
                    path.is_some_and(|path| path == ["keep"])
                });
                let rows = rows + rows_of(&message);
                if keeps_this {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    if message.flight_descriptor.is_some() {
                        kept.clear();
                    }
                    kept.push(FlightData { flight_descriptor: None, ..message });
                }
                let told = format!("{{\"rows\":{rows}}}");
                Some((Ok(PutResult { app_metadata: told.into() }), (messages, rows, keeps)))
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    /// As many rows of what was kept as the ticket says.
    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let wanted = std::str::from_utf8(&request.get_ref().ticket).ok().and_then(|text| text.parse::<i64>().ok());
        let wanted = wanted.ok_or_else(|| Status::invalid_argument("the ticket is a number of rows"))?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((schema, rest)) = kept.split_first() else {
            return Err(Status::failed_precondition("nothing was kept"));
        };
        let first = stream::iter([Ok(schema.clone())]);
        let rest = rest.to_vec();
        let again = stream::unfold((0, 0), move |(at, rows)| {
            let message = (rows < wanted).then(|| rest[at].clone());
            let next = (at + 1) % rest.len();
            std::future::ready(message.map(|message| {
                let rows = rows + rows_of(&message);
                (Ok(message), (next, rows))
            }))
        });
        Ok(Response::new(Box::pin(first.chain(again))))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        no()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        no()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        no()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        no()
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        no()
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        no()
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        no()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        no()
    }
}
