//! The options of `runlake models`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand, ValueEnum};

use crate::config::LogFormat;
use crate::units::{Size, Span};

const SERVE_EXAMPLES: &str = "\
Examples:
  runlake models serve -m models:/Iris@champion --follow-alias     goes to the new version when the alias moves
  runlake models serve -m ./model --env-manager local --python .venv/bin/python
  runlake models serve -m a=models:/A/1 -m b=models:/A/2 --traffic a=90,b=10
                                                                   nine requests of ten to a
  runlake models serve -m a=models:/A/1 -m b=models:/A/2 --shadow b=20
                                                                   b gets a copy of every fifth request
  curl 127.0.0.1:8080/invocations -H 'Content-Type: application/json' -d '{\"inputs\": {\"x\": [1.5]}}'

One model is also at /models/NAME/invocations. /ping, /health, /version, /metrics and /openapi.json are there.";

#[allow(clippy::large_enum_variant, reason = "there is one, and it is boxed")]
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Tells what a model is: flavors, what it takes and gives, what it needs.
    Info(InfoArgs),
    /// Serves models over HTTP, as `mlflow models serve` does.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Scores a file: JSON as for /invocations, CSV with a header, Parquet, or an Arrow stream.
    Predict(PredictArgs),
    /// Loads a model in its environment and scores its input example. Exit code 1 if that fails.
    Validate(ValidateArgs),
    /// Makes a model's environment ahead of time, and prints its Python.
    PrepareEnv(PrepareArgs),
    /// Changes the packages that a model says it needs. Where it was fetched from a server, the change is written there.
    UpdateEnv(UpdateArgs),
    /// Saves an ONNX graph as a model of a run, with its signature, and prints its URI. Needs no Python.
    Log(LogArgs),
    /// Writes a folder to build an image from that serves a model: a Dockerfile, this program, the model.
    GenerateDockerfile(DockerfileArgs),
    /// Builds that image with docker or podman.
    BuildDocker(ImageArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Address of the server that models:/, runs:/ and mlflow-artifacts:/ are asked of.
    #[arg(long, env = "RUNLAKE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    pub(crate) server: String,

    /// Folder that fetched models are kept in [default: runlake in the user's folder for caches].
    #[arg(long, env = "RUNLAKE_CACHE", value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
}

/// Who makes a model's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum EnvManager {
    /// uv, from the model's python_env.yaml and requirements.txt; kept for the next time.
    #[default]
    Uv,
    /// Nobody: --python has the model's packages.
    Local,
}

/// Who scores a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Engine {
    /// This program, where the model has the flavor onnx and its operators are known; else Python.
    #[default]
    Auto,
    /// This program.
    Native,
    /// Python.
    Python,
}

#[derive(Debug, Args)]
pub(crate) struct EnvironmentArgs {
    /// Who scores the model.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) engine: Engine,

    /// Who makes the Python environment that the model runs in.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) env_manager: EnvManager,

    /// With --env-manager local: the Python, with mlflow, pyarrow and the model's packages [default: python3].
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) python: Option<PathBuf>,

    /// Folder that environments are kept in [default: runlake in the user's folder for caches].
    #[arg(long, env = "RUNLAKE_ENV_CACHE", value_name = "FOLDER")]
    pub(crate) env_cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The model.
    pub(crate) model: String,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// The model.
    pub(crate) model: String,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The model.
    pub(crate) model: String,

    /// Time of loading and of scoring.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) timeout: Span,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The model.
    pub(crate) model: String,

    /// Packages to add, or to need in another version: --add numpy==2.1.
    #[arg(long, value_name = "PACKAGE", required_unless_present = "remove")]
    pub(crate) add: Vec<String>,

    /// Packages that are not needed any more.
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) remove: Vec<String>,

    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The file of the graph.
    #[arg(long, value_name = "FILE")]
    pub(crate) onnx: PathBuf,

    /// The model's name.
    #[arg(long)]
    pub(crate) name: String,

    /// Id of the run it belongs to.
    #[arg(long, value_name = "ID")]
    pub(crate) run: String,

    /// Make it the next version of this registered model, too.
    #[arg(long, value_name = "NAME")]
    pub(crate) register: Option<String>,

    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BaseArgs {
    /// The model.
    #[arg(short, long)]
    pub(crate) model: String,

    /// Who scores the model in the image.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) engine: Engine,

    /// The program in the image: a runlake for its processor and libc [default: this one].
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DockerfileArgs {
    /// The folder to write.
    #[arg(short, long, value_name = "FOLDER", default_value = "runlake-image")]
    pub(crate) directory: PathBuf,

    #[command(flatten)]
    pub(crate) base: BaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The image's name.
    #[arg(short, long, default_value = "runlake-model")]
    pub(crate) name: String,

    /// What builds it [default: docker, or podman where there is none].
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) builder: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) base: BaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The model.
    #[arg(short, long)]
    pub(crate) model: String,

    /// The file to score [default: standard input].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Where the answer is written, by the ending as Parquet, Arrow stream, CSV, or JSON [default: JSON to standard output].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// What the input is, such as text/csv [default: by the file's ending, else application/json].
    #[arg(short = 't', long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,

    /// Time of loading and of scoring.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) timeout: Span,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Processes for each model.
    #[arg(long, short = 'w', value_name = "NUMBER", default_value_t = 1)]
    pub(crate) workers: usize,

    /// Requests that may wait for each model; beyond it the answer is 503 with Retry-After.
    #[arg(long, value_name = "NUMBER", default_value_t = 256)]
    pub(crate) queue: usize,

    /// Whether requests that wait are scored together. Right only for models whose answer to a row does not depend on
    /// other rows [default: for scikit-learn, XGBoost, LightGBM, CatBoost and statsmodels].
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub(crate) batch: Option<bool>,

    /// Rows that are scored together at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 4096)]
    pub(crate) batch_rows: usize,

    /// How long a free worker waits for more requests to score together.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub(crate) batch_wait: Span,

    /// Time of one request in the model; then its process is stopped and the answer is 504.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) timeout: Span,

    /// Time of loading a model.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) load_timeout: Span,

    /// Memory of one process; above it, it is started anew [default: as much as it takes].
    #[arg(long, value_name = "SIZE")]
    pub(crate) worker_memory: Option<Size>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The model, or several, each as NAME=MODEL.
    #[arg(short, long = "model", required = true, value_name = "[NAME=]MODEL")]
    pub(crate) models: Vec<String>,

    /// Address to listen on.
    #[arg(long, short = 'H', value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: String,

    /// Port to listen on; 0 picks a free one.
    #[arg(long, short, default_value_t = 8080)]
    pub(crate) port: u16,

    /// Shares of /invocations by model: a=90,b=10 [default: all to the first model].
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    pub(crate) traffic: Vec<String>,

    /// Models that get copies of requests to /invocations, by percent: b=20. Nobody sees their answers.
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    pub(crate) shadow: Vec<String>,

    /// Look whether models:/NAME@ALIAS, a stage or latest has moved, and serve the new version once it is loaded.
    #[arg(long)]
    pub(crate) follow_alias: bool,

    /// How often --follow-alias looks.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) follow_interval: Span,

    /// Longest request.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub(crate) body_limit: Size,

    /// Connections served at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 4096)]
    pub(crate) max_connections: usize,

    /// Time that the headers of a request, and its body, may take to come.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) read_timeout: Span,

    /// How long open requests may take to finish at the end.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) drain_timeout: Span,

    /// File of tokens, one a line, of which a request must bear one.
    #[arg(long, env = "RUNLAKE_MODELS_TOKENS", value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,

    /// Let everybody who reaches the server ask, also beyond this machine.
    #[arg(long, conflicts_with = "tokens")]
    pub(crate) no_auth: bool,

    /// Certificate of the server, to speak HTTPS: a PEM file, with the certificates that signed it after it.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of the certificate: a PEM file without a pass phrase.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Keep requests and answers in the table inference_log of the server of --server.
    #[arg(long)]
    pub(crate) inference_log: bool,

    /// Percent of the requests that --inference-log keeps.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100), requires = "inference_log")]
    pub(crate) log_sample: u32,

    /// Columns whose values --inference-log leaves out; * for all.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "inference_log")]
    pub(crate) log_redact: Vec<String>,

    /// Leave answers out of --inference-log.
    #[arg(long, requires = "inference_log")]
    pub(crate) log_no_outputs: bool,

    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,

    #[command(flatten)]
    pub(crate) workers: WorkerArgs,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
}
