//! The `runlake` binary: command line, configuration, wiring, signals.

mod client;
mod config;
mod demo;
mod doctor;
mod environments;
mod lake;
mod lineage;
mod logging;
mod models;
mod registry;
mod report;
mod run;
mod secret_input;
mod server;
mod sql;
mod terminal;
mod tokens;
mod units;
mod upkeep;
mod users;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{LakeArgs, ServerArgs};
use crate::demo::DemoArgs;
use crate::environments::EnvironmentCommand;
use crate::lineage::LineageArgs;
use crate::models::ModelsCommand;
use crate::registry::RegistryCommand;
use crate::report::ReportCommand;
use crate::run::RunArgs;
use crate::sql::SqlArgs;
use crate::terminal::complain;
use crate::tokens::TokenCommand;
use crate::upkeep::{Target, VacuumArgs};
use crate::users::UserCommand;

/// What a command ends with when it fails: one sentence on what went wrong, and what to do.
type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Tracks machine learning experiments: an MLflow server whose data is a lake of Delta tables.
///
/// Start a server, point any MLflow client at it, and query the tables with whatever reads Delta Lake.
#[derive(Debug, Parser)]
#[command(name = "runlake", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  runlake server                                  a lake in ./runlake-data, on http://127.0.0.1:5000
  runlake demo                                    a lake of made-up experiments to look around in
  runlake server --lake s3://bucket/experiments   a lake on an object store
  runlake flush --server http://127.0.0.1:5000    bring the tables up to date now
  runlake user add ann --role admin --lake ./runlake-data
                                                  an administrator, while no server has the lake open
  runlake lineage models:/MyModel/3               what a model was made of, and what stands on it
  runlake sql \"SELECT * FROM runs_wide('iris')\"   every run with its params and metrics
  runlake models serve -m models:/MyModel@champion --port 8080
                                                  scores with a model over HTTP
  runlake report build reports/leaderboard        a page of tables, charts and checks, from Markdown and SQL
  runlake run ./project -P alpha=0.5              run an MLflow project, and track it
  runlake doctor --lake ./runlake-data            is this lake in order?";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves a lake to MLflow clients.
    ///
    /// Every option can also be set by an environment variable (shown with it) or by a key of the same name in a TOML
    /// file, e.g. `memory-budget = "2GB"`. A flag wins over the environment, the environment over the file.
    Server(Box<ServerArgs>),
    /// Fills a lake with made-up experiments, serves it and opens the web app.
    ///
    /// Sweeps of noisy curves, nested runs, runs that failed, datasets, artifacts, and a registry with versions, aliases and
    /// approvals: the same for the same --seed.
    Demo(DemoArgs),
    /// Writes everything that was acknowledged into the tables, so that other engines see it.
    Flush(Target),
    /// Rewrites small table files into large sorted ones.
    Compact(Target),
    /// Deletes table files that no recent version of the tables names.
    Vacuum(VacuumArgs),
    /// Approves changes of registered models, and tells what was done to one.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Manages who may use a lake: users, roles, passwords.
    ///
    /// Through the server that owns the lake (--server, as an administrator), or on a lake that no server has open
    /// (--lake), which also makes the first administrator: `runlake user add NAME --role admin --lake PLACE`.
    #[command(subcommand)]
    User(UserCommand),
    /// Manages tokens, which programs log in with.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Tells what a model was made of, or what was made of a dataset.
    Lineage(LineageArgs),
    /// Asks a lake in SQL: one statement, those of a file or pipe, or whatever you type.
    ///
    /// Through a server (--server), or straight from the lake, also while a server writes it (--lake).
    Sql(Box<SqlArgs>),
    /// Looks into, scores with and serves models that MLflow's flavors saved.
    ///
    /// A model is models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest, models:/m-ID, runs:/RUN_ID/PATH, a folder, or a
    /// place such as s3://bucket/path.
    #[command(subcommand)]
    Models(Box<ModelsCommand>),
    /// Builds reports: Markdown with SQL, charts and checks, kept in git beside the code.
    ///
    /// `runlake report new` makes one to start from; docs/reports.md tells how they are written.
    #[command(subcommand)]
    Report(ReportCommand),
    /// Runs an MLflow project: fetches it, makes what it needs, and tracks the run on a server.
    Run(Box<RunArgs>),
    /// Lists and removes the environments that were made for projects.
    #[command(subcommand)]
    Env(EnvironmentCommand),
    /// Checks a lake and says what it finds. Exit code 1 if something is wrong.
    ///
    /// Reads only, and can be used beside a running server.
    Doctor(LakeArgs),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The command could not be done.
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// The command was not meant like that.
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

fn main() -> ExitCode {
    runlake_allocator::return_memory_soon();
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!("error: the threads of the server cannot be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(command));
    // What still runs in the background after an orderly end is of no use to anybody.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                complain(&format_args!("error: {}", failure.message));
            }
            ExitCode::from(failure.code)
        }
    }
}

async fn run(command: Command) -> Result {
    match command {
        Command::Server(args) => server::run(*args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Flush(target) => upkeep::flush(target).await,
        Command::Compact(target) => upkeep::compact(target).await,
        Command::Vacuum(args) => upkeep::vacuum(args).await,
        Command::Registry(command) => registry::run(command).await,
        Command::User(command) => users::run(command).await,
        Command::Token(command) => tokens::run(command).await,
        Command::Lineage(args) => lineage::run(args).await,
        Command::Sql(args) => sql::run(*args).await,
        Command::Models(command) => models::run(*command).await,
        Command::Report(command) => report::run(command).await,
        Command::Run(args) => run::run(*args).await,
        Command::Env(command) => environments::run(&command),
        Command::Doctor(args) => doctor::run(args).await,
    }
}

#[cfg(test)]
mod tests;
