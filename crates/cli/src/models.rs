//! `runlake models`: looking into models, scoring with them, serving them.

mod args;
mod packaging;
mod serve;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runlake_models::fetch::{self, Found, Registered, Tracking};
use runlake_models::mlmodel::MlModel;
use runlake_models::onnx::Onnx;
use runlake_models::pool::{Pool, PoolSettings};
use runlake_models::scorer::{Native, Scorer};
use runlake_models::table::Format;
use runlake_models::{environment, request};
use serde_json::json;

pub(crate) use args::ModelsCommand;
use args::{Engine, EnvManager, EnvironmentArgs, InfoArgs, PredictArgs, SourceArgs, ValidateArgs, WorkerArgs};

use crate::client::Server;
use crate::terminal::{complain, say};
use crate::{Failure, Result};

/// What puts requests together by itself: flavors whose rows do not know of each other.
const ROW_BY_ROW: [&str; 5] =
    ["mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm", "mlflow.catboost", "mlflow.statsmodels"];

pub(crate) async fn run(command: ModelsCommand) -> Result {
    match command {
        ModelsCommand::Info(args) => info(args).await,
        ModelsCommand::Serve(args) => serve::run(*args).await,
        ModelsCommand::Predict(args) => predict(args).await,
        ModelsCommand::Validate(args) => validate(args).await,
        ModelsCommand::PrepareEnv(args) => {
            let (_, folder, model) = args.source.open(&args.model).await?;
            let python = python_of(&model, &folder, &args.environment)?;
            say(&python.display());
            Ok(())
        }
        ModelsCommand::UpdateEnv(args) => packaging::update(args).await,
        ModelsCommand::Log(args) => packaging::log(args).await,
        ModelsCommand::GenerateDockerfile(args) => packaging::dockerfile(args).await,
        ModelsCommand::BuildDocker(args) => packaging::build(args).await,
    }
}

fn failure(error: runlake_models::Error) -> Failure {
    match error {
        runlake_models::Error::Usage(message) => Failure::usage(message),
        other => Failure::new(other.to_string()),
    }
}

impl SourceArgs {
    fn tracking(&self) -> Result<Tracking> {
        Server::at(&self.server)?.tracking()
    }

    fn cache(&self) -> Result<PathBuf> {
        if let Some(cache) = &self.cache {
            return Ok(cache.clone());
        }
        let from = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
        base.map(|base| base.join("runlake"))
            .ok_or_else(|| Failure::usage("there is no HOME to keep models in; give a --cache"))
    }

    /// Finds and fetches a model.
    async fn open(&self, uri: &str) -> Result<(Found, PathBuf, MlModel)> {
        let is_through_server = ["models:", "runs:", "mlflow-artifacts:"].iter().any(|scheme| uri.starts_with(scheme));
        let tracking = if is_through_server { Some(self.tracking()?) } else { None };
        let found = match &tracking {
            Some(tracking) => tracking.find(uri).await.map_err(failure)?,
            None => Found { location: uri.to_owned(), version: None },
        };
        let folder = fetch::folder(&found, tracking.as_ref(), &self.cache()?).await.map_err(failure)?;
        let model = MlModel::read(&folder).map_err(failure)?;
        Ok((found, folder, model))
    }
}

/// The Python that a model is scored with.
fn python_of(model: &MlModel, folder: &Path, args: &EnvironmentArgs) -> Result<PathBuf> {
    match args.env_manager {
        EnvManager::Local => Ok(args.python.clone().unwrap_or_else(|| PathBuf::from("python3"))),
        EnvManager::Uv => {
            let needs = environment::Needs::of(model, folder).map_err(failure)?;
            environment::prepare(&needs, &args.source_cache()?, &|words| complain(&words)).map_err(failure)
        }
    }
}

impl EnvironmentArgs {
    fn source_cache(&self) -> Result<PathBuf> {
        SourceArgs { server: String::new(), cache: self.env_cache.clone() }.cache()
    }
}

/// The graph of a model that is to be scored in this process.
fn graph_of(model: &MlModel, folder: &Path, engine: Engine) -> Result<Option<Onnx>> {
    if engine == Engine::Python {
        return Ok(None);
    }
    match Onnx::of(model, folder) {
        Some(Ok(graph)) => Ok(Some(graph)),
        Some(Err(error)) if engine == Engine::Auto && model.python().is_ok() => {
            complain(&format_args!("{error}; Python scores it"));
            Ok(None)
        }
        Some(Err(error)) => Err(failure(error)),
        None if engine == Engine::Native => {
            let flavors: Vec<&str> = model.flavors.iter().map(|(name, _)| name.as_str()).collect();
            Err(Failure::usage(format!(
                "--engine native scores models of the flavor onnx, and this one has {}",
                flavors.join(", ")
            )))
        }
        None => Ok(None),
    }
}

fn native(model: &MlModel, graph: Onnx, queue: usize, timeout: Duration) -> Scorer {
    Scorer::Native(Native::new(graph, queue, timeout, model.mlflow_version.clone().unwrap_or_default()))
}

/// How a model is scored by these options.
fn pool_settings(model: &MlModel, folder: &Path, python: PathBuf, args: &WorkerArgs) -> Result<PoolSettings> {
    let loader = model.python().map_err(failure)?.loader;
    let is_batched = args.batch.unwrap_or_else(|| ROW_BY_ROW.contains(&loader.as_str()));
    Ok(PoolSettings {
        python,
        model: folder.to_owned(),
        workers: args.workers.max(1),
        queue: args.queue.max(1),
        batch_rows: args.batch_rows.max(1),
        batch_requests: if is_batched { 256 } else { 1 },
        batch_wait: args.batch_wait.0,
        timeout: args.timeout.0,
        load_timeout: args.load_timeout.0,
        memory_bytes: args.worker_memory.map(|size| size.0 as u64),
    })
}

async fn info(args: InfoArgs) -> Result {
    let (found, folder, model) = args.source.open(&args.model).await?;
    let signature = model.signature.clone().unwrap_or_default();
    if args.json {
        let schema = |schema: &Option<runlake_models::signature::Schema>| {
            schema.as_ref().map(runlake_models::signature::Schema::to_json)
        };
        let params = signature
            .params
            .as_ref()
            .map(|params| params.iter().map(runlake_models::signature::Param::to_json).collect::<Vec<_>>());
        say(&json!({
            "location": found.location, "folder": folder, "version": found.version,
            "flavors": model.flavors.iter().cloned().collect::<serde_json::Map<_, _>>(),
            "inputs": schema(&signature.inputs), "outputs": schema(&signature.outputs), "params": params,
            "model_id": model.model_id, "run_id": model.run_id, "mlflow_version": model.mlflow_version,
            "created": model.created, "size_bytes": model.size_bytes,
        }));
        return Ok(());
    }
    let line = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            say(&format_args!("{name:<12}{value}"));
        }
    };
    if let Some((name, version)) = &found.version {
        say(&format_args!("{:<12}{name}, version {version}", "registered"));
    }
    line("location", Some(&found.location));
    line("folder", Some(&folder.display().to_string()));
    let flavors: Vec<&str> = model.flavors.iter().map(|(name, _)| name.as_str()).collect();
    line("flavors", Some(&flavors.join(", ")));
    line("model id", model.model_id.as_deref());
    line("run", model.run_id.as_deref());
    line("mlflow", model.mlflow_version.as_deref());
    line("created", model.created.as_deref());
    line("bytes", model.size_bytes.map(|bytes| bytes.to_string()).as_deref());
    line("example", model.example.as_ref().map(|example| example.path.as_str()));
    match environment::Needs::of(&model, &folder) {
        Ok(needs) => {
            line("python", needs.python.as_deref());
            line("packages", Some(&needs.packages.join(", ")));
        }
        Err(error) => complain(&format_args!("no environment: {error}")),
    }
    for (name, schema) in [("inputs", &signature.inputs), ("outputs", &signature.outputs)] {
        if let Some(schema) = schema {
            say(&format_args!("{name}"));
            schema.lines().iter().for_each(|line| say(&format_args!("  {line}")));
        }
    }
    if let Some(params) = &signature.params {
        say(&"params");
        for param in params {
            let list = if param.shape.is_some() { "list of " } else { "" };
            say(&format_args!("  {}: {list}{} (default {})", param.name, param.kind, param.default));
        }
    }
    Ok(())
}

/// Who gives one answer.
async fn scorer(model: &MlModel, folder: &Path, environment: &EnvironmentArgs, timeout: Duration) -> Result<Scorer> {
    if let Some(graph) = graph_of(model, folder, environment.engine)? {
        return Ok(native(model, graph, 1, timeout));
    }
    model.python().map_err(failure)?;
    let python = python_of(model, folder, environment)?;
    let settings = PoolSettings {
        python,
        model: folder.to_owned(),
        workers: 1,
        queue: 1,
        batch_rows: 1,
        batch_requests: 1,
        batch_wait: Duration::ZERO,
        timeout,
        load_timeout: timeout,
        memory_bytes: None,
    };
    Pool::start(settings).await.map(Scorer::Workers).map_err(failure)
}

async fn score(scorer: &Scorer, model: &MlModel, kind: &str, body: &[u8]) -> Result<Vec<u8>> {
    let request = request::read(Some(kind), body, model.signature.as_ref())
        .map_err(|refused| Failure::new(format!("the input does not suit the model: {}", refused.message)))?;
    scorer.score(request).await.map(|text| text.to_vec()).map_err(|unscored| Failure::new(unscored.to_string()))
}

async fn predict(args: PredictArgs) -> Result {
    let kind = match (&args.content_type, args.input.as_deref().and_then(Path::extension)) {
        (Some(kind), _) => kind.clone(),
        (None, Some(ending)) if ending == "csv" => "text/csv".to_owned(),
        (None, Some(ending)) if ending == "parquet" => "application/vnd.apache.parquet".to_owned(),
        (None, Some(ending)) if ending == "arrow" || ending == "arrows" => {
            "application/vnd.apache.arrow.stream".to_owned()
        }
        _ => "application/json".to_owned(),
    };
    let body = match &args.input {
        Some(path) => std::fs::read(path)
            .map_err(|error| Failure::usage(format!("the input {} cannot be read: {error}", path.display())))?,
        None => {
            let mut body = Vec::new();
            let read = std::io::stdin().read_to_end(&mut body);
            read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
            body
        }
    };
    // A file of Arrow holds the same batches as a stream, and a list of them at its end.
    let body =
        if body.starts_with(b"ARROW1") { runlake_models::table::stream_of_file(body).map_err(failure)? } else { body };
    let (_, folder, model) = args.source.open(&args.model).await?;
    let scorer = scorer(&model, &folder, &args.environment, args.timeout.0).await?;
    let answer = score(&scorer, &model, &kind, &body).await?;
    match &args.output {
        Some(path) => {
            let format = Format::of_ending(path.extension().and_then(|ending| ending.to_str()));
            std::fs::write(path, format.write(&answer).map_err(failure)?)
                .map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))
        }
        None => {
            let mut out = std::io::stdout();
            // A reader that went away wants no more.
            let _unheard = out.write_all(&answer).and_then(|()| out.write_all(b"\n"));
            Ok(())
        }
    }
}

async fn validate(args: ValidateArgs) -> Result {
    let (_, folder, model) = args.source.open(&args.model).await?;
    let example = model.example_request(&folder).map_err(failure)?;
    let scorer = scorer(&model, &folder, &args.environment, args.timeout.0).await?;
    match &scorer {
        Scorer::Workers(pool) => {
            let versions = pool.versions();
            say(&format_args!("loaded with Python {}, mlflow {}", versions.python, versions.mlflow));
        }
        Scorer::Native(_) => say(&"loaded in process, without Python"),
    }
    match example {
        Some(body) => {
            let answer = score(&scorer, &model, "application/json", &body).await?;
            say(&format_args!("its input example gives {}", String::from_utf8_lossy(&answer)));
        }
        None => say(&"it has no input example that could be scored"),
    }
    if model.signature.is_none() {
        say(&"it has no signature: requests are not checked before they reach it");
    }
    Ok(())
}

/// Whether another version may be behind a URI tomorrow.
fn can_move(uri: &str) -> bool {
    uri.starts_with("models:") && Registered::parse(uri).is_ok_and(|registered| registered.can_move())
}
