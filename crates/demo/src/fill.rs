//! Writes a demonstration into a lake, through its services.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use runlake_artifacts::{ArtifactPath, Artifacts};
use runlake_registry::Registry;
use runlake_tracking::ingest::{Ingested, Rows, Target};
use runlake_tracking::{CreateExperiment, DatasetInfo, DatasetInput, LogInputs, SearchExperiments, Tracking};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::batch::Batch;
use crate::registered;
use crate::runs::{EXPERIMENTS, Made, Runs};
use crate::{Scale, files};

/// Runs and points that are made together, and batches made ahead of those that are written.
const RUNS_PER_BATCH: usize = 2000;
const POINTS_PER_BATCH: usize = 1 << 18;
const AHEAD: usize = 2;
/// Batches on their way to the log.
const UNDER_WAY: usize = 4;
/// Runs that have files.
const WITH_FILES: usize = 12;
/// The best runs of each experiment are remembered, to be registered.
const BEST: usize = 5;
/// Tag of the first experiment once everything is written.
const WHOLE: &str = "demo";

/// The services of an open lake.
#[derive(Debug, Clone)]
pub struct Services {
    /// Experiments and runs.
    pub tracking: Tracking,
    /// Models.
    pub registry: Registry,
    /// Files.
    pub artifacts: Artifacts,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled {
    /// Runs.
    pub runs: u64,
    /// Points of metrics.
    pub points: u64,
}

/// Hears how far it has come.
pub type Progress<'a> = &'a mut (dyn FnMut(Filled) + Send);

/// Why a lake could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It holds something already, which a demonstration must not be mixed with.
    #[error("the lake holds experiments already: {0}")]
    NotEmpty(String),
    /// A service refused.
    #[error("{0}")]
    Refused(String),
}

/// Says what was refused.
pub(crate) fn refused(error: impl std::fmt::Display) -> Error {
    Error::Refused(error.to_string())
}

/// Fills a lake. `None` where the demonstration is there already.
pub async fn fill(services: &Services, scale: Scale, told: Progress<'_>) -> Result<Option<Filled>, Error> {
    if is_there(&services.tracking).await? {
        return Ok(None);
    }
    let mut ids = Vec::new();
    for experiment in EXPERIMENTS {
        let tags = [("mlflow.note.content", experiment.note), ("team", experiment.team)];
        let request = CreateExperiment {
            name: experiment.name.to_owned(),
            artifact_location: None,
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        };
        ids.push(services.tracking.create_experiment(request).await.map_err(refused)?.to_string());
    }
    let mut filled = Filled::default();
    let mut best: Vec<Vec<Made>> = vec![Vec::new(); EXPERIMENTS.len()];
    let mut with_files = 0;
    let mut under_way = VecDeque::new();
    let (mut batches, making) = made_ahead(scale, ids.clone());
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        write(&services.tracking, &batch, &mut under_way).await?;
        log_inputs(&services.tracking, &batch.made).await?;
        filled.runs += batch.made.len() as u64;
        filled.points += batch.points() as u64;
        for run in batch.made {
            if run.experiment == 0 && with_files < WITH_FILES {
                with_files += 1;
                upload(services, &ids, &run, files::of(&run, scale.seed)).await?;
            }
            remember(&mut best, run);
        }
        told(filled);
    }
    making.await.map_err(|error| Error::Refused(format!("runs could not be made: {error}")))?;
    for mut ingested in under_way {
        ingested.durable().await.map_err(refused)?;
    }
    registered::register(services, &ids, &best).await?;
    let made = format!("{} runs, {} points, seed {}", scale.runs, scale.points, scale.seed);
    services.tracking.set_experiment_tag(&ids[0], WHOLE, &made).await.map_err(refused)?;
    Ok(Some(filled))
}

/// Whether the demonstration is there. Other experiments but the first are a reason to stop.
async fn is_there(tracking: &Tracking) -> Result<bool, Error> {
    let all = SearchExperiments { max_results: 100, ..SearchExperiments::default() };
    let found = tracking.search_experiments(&all).await.map_err(refused)?.items;
    if found.iter().any(|found| found.tags.contains_key(WHOLE)) {
        return Ok(true);
    }
    let names: Vec<&str> = found.iter().map(|found| found.experiment.name.as_str()).collect();
    let others: Vec<&str> = names.into_iter().filter(|name| *name != "Default").collect();
    if others.is_empty() { Ok(false) } else { Err(Error::NotEmpty(others.join(", "))) }
}

/// Makes batches on a thread of its own, a few ahead.
fn made_ahead(scale: Scale, ids: Vec<String>) -> (mpsc::Receiver<Result<Batch, Error>>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let making = tokio::task::spawn_blocking(move || {
        let mut runs = Runs::new(scale).peekable();
        while runs.peek().is_some() {
            let mut points = 0;
            let mut made = Vec::new();
            while made.len() < RUNS_PER_BATCH && points < POINTS_PER_BATCH {
                let Some(run) = runs.next() else { break };
                points += run.points();
                made.push(run);
            }
            // Nobody waits any more if it fails.
            if sender.blocking_send(Batch::of(made, &ids).map_err(refused)).is_err() {
                return;
            }
        }
    });
    (receiver, making)
}

async fn write(tracking: &Tracking, batch: &Batch, under_way: &mut VecDeque<Ingested>) -> Result<(), Error> {
    let parts = [(Target::Runs, &batch.runs), (Target::Params, &batch.params), (Target::Tags, &batch.tags)];
    let metrics = batch.metrics.iter().map(|metrics| (Target::Metrics, metrics));
    for (target, rows) in parts.into_iter().chain(metrics) {
        let now = tracking.engine().clock().now();
        let rows = Rows::read(target, rows, now, false).map_err(refused)?;
        under_way.push_back(tracking.ingest(rows, None).await.map_err(refused)?);
        if under_way.len() > UNDER_WAY
            && let Some(mut first) = under_way.pop_front()
        {
            first.durable().await.map_err(refused)?;
        }
    }
    Ok(())
}

/// The datasets of every tenth run, and of all of a small demonstration.
async fn log_inputs(tracking: &Tracking, made: &[Made]) -> Result<(), Error> {
    let wanted = made.iter().filter(|run| run.parent.is_none() && (run.number < 1000 || run.number % 100 < 10));
    stream::iter(wanted.map(Ok))
        .try_for_each_concurrent(64, |run| async move {
            let datasets = datasets(run);
            let request = LogInputs { run_id: run.run_id.clone(), datasets, models: Vec::new() };
            tracking.log_inputs(request).await.map_err(refused)
        })
        .await
}

fn datasets(run: &Made) -> Vec<DatasetInput> {
    let (name, digests, rows) = match run.experiment {
        0 => ("birds", ["b1rd5v2", "b1rd5v3"], 60_000),
        1 => ("customers", ["cu5t2025", "cu5t2026"], 410_000),
        _ => ("books", ["b00k5a1", "b00k5a2"], 12_000_000),
    };
    let digest = digests[usize::from(!run.number.is_multiple_of(4))];
    let input = |context: &str, name: &str, rows: u64| DatasetInput {
        dataset: DatasetInfo {
            name: name.to_owned(),
            digest: digest.to_owned(),
            source_type: "s3".to_owned(),
            source: serde_json::json!({ "uri": format!("s3://datasets/{name}/{digest}") }).to_string(),
            schema: Some(
                r#"{"mlflow_colspec": [{"name": "input", "type": "binary"}, {"name": "label", "type": "string"}]}"#
                    .to_owned(),
            ),
            profile: Some(serde_json::json!({ "num_rows": rows }).to_string()),
        },
        tags: vec![("mlflow.data.context".to_owned(), context.to_owned())],
    };
    vec![input("training", name, rows), input("validation", &format!("{name}-valid"), rows / 5)]
}

/// Keeps the best finished runs of each experiment.
fn remember(best: &mut [Vec<Made>], run: Made) {
    if run.status != runlake_types::rows::RunStatus::Finished || run.name.starts_with("sweep-") && run.parent.is_none()
    {
        return;
    }
    let best = &mut best[run.experiment];
    let place = best.iter().position(|other| other.score < run.score).unwrap_or(best.len());
    best.insert(place, run);
    best.truncate(BEST);
}

/// Writes artifacts of a run where the server finds them.
pub(crate) async fn upload(
    services: &Services,
    ids: &[String],
    run: &Made,
    files: Vec<(&'static str, Vec<u8>)>,
) -> Result<(), Error> {
    for (path, content) in files {
        let path = format!("{}/{}/artifacts/{path}", ids[run.experiment], run.run_id);
        let path = ArtifactPath::parse(&path).map_err(refused)?;
        let body = stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(content)) }).boxed();
        services.artifacts.put(&path, body, None).await.map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runlake_engine::{Engine, Settings};
    use runlake_storage::{Store, StoreSettings};
    use runlake_tracking::{SearchRuns, TrackingSettings};
    use runlake_types::SystemClock;

    use super::*;

    async fn services() -> Services {
        let store = Store::open("memory://", &StoreSettings::default()).await.expect("a store");
        let engine = Engine::open(store.clone(), Settings::default(), Arc::new(SystemClock)).await.expect("a lake");
        let tracking = Tracking::open(engine, TrackingSettings::default()).await.expect("a lake");
        Services {
            registry: Registry::new(tracking.clone()),
            tracking,
            artifacts: Artifacts::new(store.folder("artifacts")),
        }
    }

    #[tokio::test]
    async fn a_lake_is_filled_once() {
        let services = services().await;
        let scale = Scale { runs: 60, points: 20, seed: 1 };
        let mut heard = Vec::new();
        let filled =
            fill(&services, scale, &mut |filled| heard.push(filled)).await.expect("filled").expect("it was empty");
        assert_eq!((filled.runs, heard.last()), (60, Some(&filled)));
        let all = SearchRuns { experiment_ids: vec!["1".into(), "2".into(), "3".into()], ..SearchRuns::default() };
        assert_eq!(services.tracking.search_runs(&all).await.expect("runs").items.len(), 60);
        let champion = services.registry.version_by_alias("birds-classifier", "champion").await.expect("a version");
        assert_eq!(champion.version.version, 5);
        assert_eq!(fill(&services, scale, &mut |_| ()).await.expect("nothing to do"), None);
    }

    #[tokio::test]
    async fn what_holds_something_else_is_left_alone() {
        let services = services().await;
        let mine = CreateExperiment { name: "mine".to_owned(), ..CreateExperiment::default() };
        services.tracking.create_experiment(mine).await.expect("an experiment");
        let error = fill(&services, Scale::default(), &mut |_| ()).await.expect_err("it is not empty");
        assert!(matches!(&error, Error::NotEmpty(names) if names == "mine"), "{error}");
    }
}
