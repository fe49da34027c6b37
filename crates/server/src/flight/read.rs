//! Answers as streams of Flight.

use std::pin::Pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{Schema, SchemaRef};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use runlake_query::{Answer, Error, Queries};
use tonic::Status;

use super::running::{Place, Running};
use super::status;
use crate::error::ApiError;
use crate::wire::{Compression, Handle, Requests};

/// What a call of `DoGet` answers.
pub(super) type Rows = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send + 'static>>;

/// The rows of what a handle asks for, as they are computed: for each row of its parameters, one answer after the other.
pub(super) async fn rows(queries: &Queries, running: &Running, handle: &Handle) -> Result<Rows, Status> {
    let mut requests = handle.requests().map_err(status::of)?;
    let place = running.enter(&handle.id);
    let first = requests.next().map_err(status::of)?;
    let first = first.ok_or_else(|| Status::invalid_argument("There are no rows of parameters."))?;
    // Errors of the statement come here, while the call itself can still fail.
    let answer = tokio::select! {
        answer = queries.run(first) => answer.map_err(status::of_query)?,
        () = place.cancelled.cancelled() => return Err(status::of_query(Error::Cancelled)),
    };
    let schema = Arc::clone(answer.schema());
    let reading = Reading { answer, requests, queries: queries.clone(), place };
    encoded(schema, handle.compression(), batches(reading))
}

/// Rows that are there already.
pub(super) fn of_batch(batch: RecordBatch) -> Result<Rows, Status> {
    encoded(batch.schema(), None, stream::iter([Ok(batch)]))
}

fn encoded(
    schema: SchemaRef,
    compression: Option<Compression>,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Result<Rows, Status> {
    let options = IpcWriteOptions::default().try_with_compression(compression.map(Compression::of_ipc));
    let options = options.map_err(|error| status::of(ApiError::internal(error.to_string())))?;
    let encoder = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_options(options)
        .with_dictionary_handling(DictionaryHandling::Resend);
    Ok(Box::pin(encoder.build(batches).map_err(|error| match error {
        FlightError::Tonic(status) => *status,
        other => status::of(ApiError::internal(other.to_string())),
    })))
}

/// An answer that is being read.
struct Reading {
    answer: Answer,
    requests: Requests,
    queries: Queries,
    place: Place,
}

fn batches(reading: Reading) -> impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static {
    stream::unfold(Some(reading), |reading| async {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(reading))),
            Ok(None) => None,
            Err(status) => Some((Err(FlightError::Tonic(Box::new(status))), None)),
        }
    })
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        loop {
            let batch = tokio::select! {
                batch = self.answer.next() => batch,
                () = self.place.cancelled.cancelled() => return Err(status::of_query(Error::Cancelled)),
            };
            if let Some(batch) = batch {
                return batch.map(Some).map_err(status::of_query);
            }
            let Some(request) = self.requests.next().map_err(status::of)? else { return Ok(None) };
            let answer = tokio::select! {
                answer = self.queries.run(request) => answer.map_err(status::of_query)?,
                () = self.place.cancelled.cancelled() => return Err(status::of_query(Error::Cancelled)),
            };
            if answer.schema() != self.answer.schema() {
                return Err(Status::invalid_argument(
                    "The columns of the answer differ between rows of parameters: ask with one row at a time.",
                ));
            }
            self.answer = answer;
        }
    }
}

/// What a caller is told of rows before they ask for them: their columns, where they are known, and a ticket for each part.
pub(super) fn info(
    schema: Option<&Schema>,
    tickets: impl IntoIterator<Item = Vec<u8>>,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let mut info = FlightInfo::new().with_descriptor(descriptor);
    if let Some(schema) = schema {
        info = info.try_with_schema(schema).map_err(|error| status::of(ApiError::internal(error.to_string())))?;
    }
    for ticket in tickets {
        info = info.with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket)));
    }
    Ok(info)
}
