//! Lineage over a lake of many runs and models.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::http::Client;
use crate::load::{new_run, one_by_one, path, side_by_side};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};
use crate::stats::{millis, whole};

const RUNS: u64 = 10_000;
/// One run in five makes a model, and each of those is a version.
const MODELS: u64 = RUNS / 5;
const VERSIONS_OF_EACH: u64 = 10;
/// Datasets that share the runs, beside one that all of them use.
const PARTS: u64 = 50;
const CLIENTS: usize = 16;

/// Makes the lake unless it is there, and asks from both ends. MLflow has nothing to compare with.
pub(crate) async fn lineage(setup: &Setup, report: &mut Report) -> Result<()> {
    let is_new = !setup.data(Kind::Runlake, "lineage").exists();
    let server = setup.start(Kind::Runlake, "lineage").await?;
    if is_new {
        fill(&server).await?;
    }
    server.client().await?.post_ok("/api/runlake/flush", b"{}").await?;
    for (figure, query) in [
        ("lineage of a version, up", "of=models:/model-7/3&direction=up"),
        ("lineage of a dataset of 200 runs, down", "of=dataset:part-7&direction=down"),
        ("lineage of a dataset of 10,000 runs, down", "of=dataset:common&direction=down"),
    ] {
        let target = format!("/api/runlake/lineage?{query}");
        let answer: Value = serde_json::from_slice(server.client().await?.get_ok(&target).await?)?;
        let nodes = answer["nodes"].as_array().map_or(0, Vec::len);
        ensure!(nodes > 3, "{target} answered {nodes} nodes");
        let time = one_by_one(&server, 50, async |client, _| client.get_ok(&target).await.map(drop)).await?;
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let nodes = whole(nodes as f64);
        report.add(figure, Kind::Runlake.name(), format!("{} ({nodes} nodes)", millis(time)));
    }
    server.stop()
}

async fn fill(server: &Server) -> Result<()> {
    let started = Instant::now();
    let mut client = server.client().await?;
    for number in 0..MODELS / VERSIONS_OF_EACH {
        post(&mut client, "registered-models/create", &json!({"name": format!("model-{number}")})).await?;
    }
    let next = Cell::new(0);
    side_by_side(server, CLIENTS, Duration::ZERO, |mut client, _, _| {
        let next = &next;
        async move {
            let mut done = 0;
            loop {
                let number = next.get();
                if number >= RUNS {
                    return Ok(done);
                }
                next.set(number + 1);
                add_run(&mut client, number).await?;
                done += 1;
            }
        }
    })
    .await?;
    eprintln!("  {RUNS} runs and {MODELS} models logged in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// A run with two datasets; now and then with a model, a version of it, and an alias.
async fn add_run(client: &mut Client, number: u64) -> Result<()> {
    let run_id = new_run(client, number).await?;
    let dataset = |name: &str| {
        json!({"dataset": {"name": name, "digest": format!("digest-of-{name}"), "source_type": "s3",
                           "source": format!("{{\"uri\": \"s3://bucket/{name}\"}}")}})
    };
    let datasets = [dataset("common"), dataset(&format!("part-{}", number % PARTS))];
    post(client, "runs/log-inputs", &json!({"run_id": run_id, "datasets": datasets})).await?;
    if !number.is_multiple_of(RUNS / MODELS) {
        return Ok(());
    }
    let model = json!({"experiment_id": "0", "name": "model", "source_run_id": run_id});
    let answer = post(client, "logged-models", &model).await?;
    let model_id = answer["model"]["info"]["model_id"].as_str().context("no model id")?;
    post(client, "runs/outputs", &json!({"run_id": run_id, "models": [{"model_id": model_id, "step": 0}]})).await?;
    let name = format!("model-{}", number / (RUNS / MODELS) / VERSIONS_OF_EACH);
    let version =
        json!({"name": name, "source": format!("models:/{model_id}"), "run_id": run_id, "model_id": model_id});
    let answer = post(client, "model-versions/create", &version).await?;
    let version = answer["model_version"]["version"].as_str().context("no version")?;
    post(client, "registered-models/alias", &json!({"name": name, "alias": "champion", "version": version})).await?;
    Ok(())
}

async fn post(client: &mut Client, endpoint: &str, body: &Value) -> Result<Value> {
    Ok(serde_json::from_slice(client.post_ok(&path(endpoint), &serde_json::to_vec(body)?).await?)?)
}
