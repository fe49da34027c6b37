//! `DoGet` of metric points, beside a Flight server that gives out the very same messages without making them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::transport::Channel;

use crate::figures::Scale;
use crate::flight::{MOST_MESSAGE_BYTES, endpoint, fill};
use crate::peer;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};
use crate::stats::rate;

/// Messages of rows that the null server repeats.
const KEPT: usize = 128;
/// Measured so often; the best counts.
const ROUNDS: usize = 3;

/// Measures points per second that a client has as Arrow batches.
pub(crate) async fn flight_read(setup: &Setup, scale: Scale, report: &mut Report) -> Result<()> {
    let server = setup.start(Kind::Runlake, "flight-read").await?;
    let points = fill(&server, scale.read_points).await?;
    server.client().await?.post_ok("/api/runlake/flush", b"{}").await?;
    let null = setup.start(Kind::NullFlight, "null-flight-read").await?;
    for (dictionaries, figure, in_parts) in FIGURES {
        let asked = format!(r#"{{"table": "metrics", "dictionaries": {dictionaries}}}"#);
        let parts = parts(&server, &asked).await?;
        keep(&server, &null, &asked).await?;
        let found = best(&null, &[points.to_string().into()], None).await?;
        report.limit(figure, format!("null Flight server: {}", rate(found, "points")));
        let found = best(&server, &[asked.into_bytes()], Some(points)).await?;
        report.add(figure, Kind::Runlake.name(), rate(found, "points"));
        let found = best(&server, &parts, Some(points)).await?;
        report.add(in_parts, Kind::Runlake.name(), rate(found, "points"));
    }
    into_polars(setup, &server, &null, points, report)?;
    null.stop()?;
    server.stop()?;
    Ok(())
}

/// Whether text comes in dictionaries, and what the figures are called.
const FIGURES: [(bool, &str, &str); 2] = [
    (true, "DoGet, text in dictionaries", "DoGet, text in dictionaries, all parts side by side"),
    (false, "DoGet, text plain", "DoGet, text plain, all parts side by side"),
];

/// Reads by ADBC into Polars. The null server still holds the messages of plain text that were kept last, as ADBC asks for.
fn into_polars(setup: &Setup, server: &Server, null: &Server, points: u64, report: &mut Report) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/polars_read.py");
    let mut ask = Command::new(peer::readers(&setup.programs)?);
    ask.arg(script);
    ask.args([server.port, null.port].map(|port| format!("grpc://127.0.0.1:{port}"))).arg(points.to_string());
    let answer = ask.stderr(Stdio::inherit()).output()?;
    ensure!(answer.status.success(), "{ask:?} ended with {}", answer.status);
    let (adbc, kept): (f64, f64) = serde_json::from_slice(&answer.stdout)?;
    let figure = "all points into Polars by ADBC";
    report.limit(figure, format!("null Flight server into Polars: {}", rate(kept, "points")));
    report.add(figure, Kind::Runlake.name(), rate(adbc, "points"));
    Ok(())
}

async fn client(server: &Server) -> Result<FlightServiceClient<Channel>> {
    let client = FlightServiceClient::new(endpoint(server)?.connect().await?);
    Ok(client.max_decoding_message_size(MOST_MESSAGE_BYTES).max_encoding_message_size(MOST_MESSAGE_BYTES))
}

/// Tickets of the parts of an answer.
async fn parts(server: &Server, asked: &str) -> Result<Vec<Vec<u8>>> {
    let descriptor = FlightDescriptor::new_cmd(asked.to_owned());
    let info = client(server).await?.get_flight_info(descriptor).await?.into_inner();
    let tickets = info.endpoint.into_iter().filter_map(|endpoint| endpoint.ticket);
    Ok(tickets.map(|ticket| ticket.ticket.to_vec()).collect())
}

/// Gives the null server the first messages of an answer.
async fn keep(server: &Server, null: &Server, asked: &str) -> Result<()> {
    let messages = client(server).await?.do_get(Ticket::new(asked.to_owned())).await?.into_inner();
    let mut messages: Vec<FlightData> = messages.take(1 + KEPT).try_collect().await?;
    // Dictionaries stand before their batch.
    while messages.last().is_some_and(|message| !is_batch(message)) {
        messages.pop();
    }
    let first = messages.first_mut().context("an answer without a schema")?;
    first.flight_descriptor = Some(FlightDescriptor::new_path(vec!["keep".into()]));
    let answers = client(null).await?.do_put(stream::iter(messages)).await?.into_inner();
    answers.try_for_each(|_| std::future::ready(Ok(()))).await?;
    Ok(())
}

fn is_batch(message: &FlightData) -> bool {
    let header = arrow_ipc::root_as_message(&message.data_header).ok();
    header.is_some_and(|header| header.header_as_record_batch().is_some())
}

/// Rows per second of the best round; all tickets are read at the same time.
async fn best(server: &Server, tickets: &[Vec<u8>], expected: Option<u64>) -> Result<f64> {
    let mut best = 0f64;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let readers: FuturesUnordered<_> =
            tickets.iter().map(|ticket| read(server, Ticket::new(ticket.clone()))).collect();
        let rows: u64 = readers.try_fold(0, |sum, rows| std::future::ready(Ok(sum + rows))).await?;
        if let Some(expected) = expected {
            ensure!(rows == expected, "{expected} points were written, and {rows} are read");
        }
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let found = rows as f64 / started.elapsed().as_secs_f64();
        best = best.max(found);
    }
    Ok(best)
}

/// Reads an answer into batches; answers their rows.
async fn read(server: &Server, ticket: Ticket) -> Result<u64> {
    let messages = client(server).await?.do_get(ticket).await?.into_inner();
    let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}
