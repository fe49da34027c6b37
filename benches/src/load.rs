//! Requests one after the other, and from many clients at once.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use crate::data;
use crate::http::Client;
use crate::server::Server;
use crate::stats::median;

const API: &str = "/api/2.0/mlflow";

/// Path of an endpoint of MLflow's REST API.
pub(crate) fn path(endpoint: &str) -> String {
    format!("{API}/{endpoint}")
}

/// Makes a run and returns its id.
pub(crate) async fn new_run(client: &mut Client, number: u64) -> Result<String> {
    let body = client.post_ok(&path("runs/create"), data::create_run(number).as_bytes()).await?;
    let answer: Value = serde_json::from_slice(body)?;
    let id = answer["run"]["info"]["run_id"].as_str().context("an answer without run id")?;
    Ok(id.to_owned())
}

/// Median time of `rounds` of a request, after a few that are not counted.
pub(crate) async fn one_by_one(
    server: &Server,
    rounds: usize,
    mut request: impl AsyncFnMut(&mut Client, usize) -> Result<()>,
) -> Result<Duration> {
    let mut client = server.client().await?;
    let warm = rounds / 10 + 1;
    for round in 0..warm {
        request(&mut client, round).await?;
    }
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let started = Instant::now();
        request(&mut client, warm + round).await?;
        times.push(started.elapsed());
    }
    Ok(median(&mut times))
}

/// How many times per second `clients` clients together get through `request` during `time`. Each is handed its
/// connection and its number, and does as many requests as it can until the deadline it is given; it returns how many.
pub(crate) async fn side_by_side<F>(
    server: &Server,
    clients: usize,
    time: Duration,
    request: impl Fn(Client, usize, Instant) -> F,
) -> Result<f64>
where
    F: Future<Output = Result<u64>>,
{
    let mut connections = Vec::new();
    for number in 0..clients {
        connections.push((server.client().await?, number));
    }
    let started = Instant::now();
    let deadline = started + time;
    // All on this thread: the load must leave the rest of the machine to the server.
    let all: FuturesUnordered<_> =
        connections.into_iter().map(|(client, number)| request(client, number, deadline)).collect();
    let done: u64 = all.try_fold(0, |sum, count| std::future::ready(Ok(sum + count))).await?;
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    Ok(done as f64 / started.elapsed().as_secs_f64())
}
