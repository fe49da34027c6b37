//! Options of the server, from flags, environment and file.

#![allow(clippy::doc_markdown, reason = "the comments on options are the help that terminals show")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::units::{Size, Span};
use crate::{Failure, Result};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "runlake.toml";

/// Values below which a server cannot be used.
const LEAST_CONNECTIONS: usize = 1;
const LEAST_BODY: Size = Size(64 << 10);
const LEAST_BUDGET: Size = Size(8 << 20);
const LEAST_QUERY_MEMORY: Size = Size(16 << 20);
const LEAST_INTERVAL: Span = Span(Duration::from_millis(100));

/// Where a lake is.
#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    /// The lake: a folder, or a URL such as s3://bucket/path, gs://bucket/path or az://container/path.
    #[arg(long, env = "RUNLAKE_LAKE", value_name = "PLACE", default_value = "./runlake-data")]
    pub(crate) lake: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether callers must say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Auth {
    /// Only if the server listens beyond this machine.
    #[default]
    Auto,
    /// Nobody: whoever reaches the server may do everything.
    None,
    /// Everybody.
    Required,
}

macro_rules! options {
    ($($(#[$attribute:meta])* $name:ident: $kind:ty,)*) => {
        /// Options of `runlake server`; what is not given is `None`.
        #[derive(Debug, Default, Args, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub(crate) struct ServerArgs {
            $($(#[$attribute])* pub(crate) $name: Option<$kind>,)*

            /// Read options from this TOML file [default: runlake.toml, where there is one].
            #[arg(long, env = "RUNLAKE_CONFIG", value_name = "FILE")]
            #[serde(skip)]
            pub(crate) config: Option<PathBuf>,
        }

        impl ServerArgs {
            /// These options, and from `lower` those that are not given here.
            fn or(self, lower: Self) -> Self {
                Self { $($name: self.$name.or(lower.$name),)* config: self.config }
            }
        }
    };
}

options! {
    /// Address to listen on; 0.0.0.0 for every network of the machine [default: 127.0.0.1].
    #[arg(long, env = "RUNLAKE_HOST", value_name = "ADDRESS")]
    host: String,

    /// Port to listen on; 0 picks a free one [default: 5000].
    #[arg(long, env = "RUNLAKE_PORT")]
    port: u16,

    /// The lake: a folder (made when missing), or a URL such as s3://bucket/path, gs://bucket/path or
    /// az://container/path [default: ./runlake-data].
    #[arg(long, env = "RUNLAKE_LAKE", value_name = "PLACE")]
    lake: String,

    /// Root of the artifact locations of new experiments. With mlflow-artifacts:/ clients send files to this server;
    /// with another URL they write there themselves [default: mlflow-artifacts:/].
    #[arg(long, env = "RUNLAKE_DEFAULT_ARTIFACT_ROOT", value_name = "URI")]
    default_artifact_root: String,

    /// Where the server keeps the files that clients send to it [default: the folder "artifacts" of the lake].
    #[arg(long, env = "RUNLAKE_ARTIFACTS_DESTINATION", value_name = "PLACE")]
    artifacts_destination: String,

    /// Schemes that an experiment's own artifact location may have although they name a host, such as http or sftp;
    /// refused otherwise, as the server would connect wherever a caller says.
    #[arg(long, env = "RUNLAKE_ALLOWED_ARTIFACT_SCHEMES", value_name = "SCHEMES", value_delimiter = ',')]
    allowed_artifact_schemes: Vec<String>,

    /// Let webhooks go to plain http addresses as well; refused otherwise, as anybody on the way could read them.
    #[arg(long, env = "RUNLAKE_WEBHOOK_ALLOW_HTTP", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", value_parser = BoolishValueParser::new())]
    webhook_allow_http: bool,

    /// Let webhooks go to addresses of this machine and of private networks; refused otherwise, as whoever may make a
    /// webhook could make the server reach into the network it stands in.
    #[arg(long, env = "RUNLAKE_WEBHOOK_ALLOW_PRIVATE", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", value_parser = BoolishValueParser::new())]
    webhook_allow_private: bool,

    /// Memory for rows that no table file holds yet and for the state of open runs; caches, the search index and
    /// requests come on top [default: 512MiB].
    #[arg(long, env = "RUNLAKE_MEMORY_BUDGET", value_name = "SIZE")]
    memory_budget: Size,

    /// How long rows wait at most until the tables hold them [default: 60s].
    #[arg(long, env = "RUNLAKE_FLUSH_INTERVAL", value_name = "TIME")]
    flush_interval: Span,

    /// How long table files that newer ones replaced are kept, for readers of older versions [default: 7d].
    #[arg(long, env = "RUNLAKE_RETAIN", value_name = "TIME")]
    retain: Span,

    /// How long the log of a table keeps what a checkpoint covers: how far back `runlake sql --as-of` reaches, as far as
    /// --retain leaves the files [default: 1d].
    #[arg(long, env = "RUNLAKE_TIME_TRAVEL", value_name = "TIME")]
    time_travel: Span,

    /// Memory that SQL queries share for sorting, grouping and joining; beyond it they write to disk [default: 1GiB].
    #[arg(long, env = "RUNLAKE_QUERY_MEMORY", value_name = "SIZE")]
    query_memory: Size,

    /// Time of one SQL query, without waiting for its turn and for its reader [default: 5m].
    #[arg(long, env = "RUNLAKE_QUERY_TIMEOUT", value_name = "TIME")]
    query_timeout: Span,

    /// Rows that the answer of one SQL query may have [default: as many as there are].
    #[arg(long, env = "RUNLAKE_QUERY_ROWS", value_name = "NUMBER")]
    query_rows: u64,

    /// SQL queries that run at once; further ones wait for their turn [default: 4 for each core].
    #[arg(long, env = "RUNLAKE_QUERIES", value_name = "NUMBER")]
    queries: usize,

    /// Folder for what queries write when memory is short [default: the system's folder for temporary files].
    #[arg(long, env = "RUNLAKE_QUERY_SPILL", value_name = "FOLDER")]
    query_spill: PathBuf,

    /// Longest request other than a file, in bytes [default: 64MiB].
    #[arg(long, env = "RUNLAKE_BODY_LIMIT", value_name = "SIZE")]
    body_limit: Size,

    /// Connections served at once [default: 4096].
    #[arg(long, env = "RUNLAKE_MAX_CONNECTIONS", value_name = "NUMBER")]
    max_connections: usize,

    /// How long open requests may take to finish at the end [default: 10s].
    #[arg(long, env = "RUNLAKE_DRAIN_TIMEOUT", value_name = "TIME")]
    drain_timeout: Span,

    /// Names by which clients call this server, besides localhost and private addresses; * stands for any text.
    #[arg(long, env = "RUNLAKE_ALLOWED_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
    allowed_hosts: Vec<String>,

    /// Origins of other web pages that may change data here; * stands for any text.
    #[arg(long, env = "RUNLAKE_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    allowed_origins: Vec<String>,

    /// Whether callers must say who they are, with a password or token (see `runlake user --help`). With auto they must
    /// as soon as the server listens on another address than localhost [default: auto].
    #[arg(long, env = "RUNLAKE_AUTH")]
    auth: Auth,

    /// Certificate of the server, to speak HTTPS: a PEM file, with the certificates that signed it after it.
    #[arg(long, env = "RUNLAKE_TLS_CERT", value_name = "FILE")]
    tls_cert: PathBuf,

    /// Private key of the certificate: a PEM file without a pass phrase.
    #[arg(long, env = "RUNLAKE_TLS_KEY", value_name = "FILE")]
    tls_key: PathBuf,

    /// Refuse param and tag values that are too long instead of cutting them.
    #[arg(long, env = "RUNLAKE_REFUSE_LONG_VALUES", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    refuse_long_values: bool,

    /// Serve the lake for reading only, beside the server that writes it.
    #[arg(long, env = "RUNLAKE_READ_ONLY", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", value_parser = BoolishValueParser::new())]
    read_only: bool,

    /// Take the lake over from another server, which then can write no more.
    #[arg(long, env = "RUNLAKE_TAKEOVER", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", value_parser = BoolishValueParser::new())]
    takeover: bool,

    /// How log lines look [default: text].
    #[arg(long, env = "RUNLAKE_LOG_FORMAT")]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, also by part: info,runlake_engine=debug [default: info].
    #[arg(long, env = "RUNLAKE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: String,
}

impl ServerArgs {
    /// Fills in what the file says; the path of the file, if one was read.
    pub(crate) fn with_file(self) -> Result<(Self, Option<PathBuf>)> {
        let path = match &self.config {
            Some(path) => path.clone(),
            None if Path::new(DEFAULT_FILE).is_file() => PathBuf::from(DEFAULT_FILE),
            None => return Ok((self, None)),
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::usage(format!("the file {} cannot be read: {error}", path.display())))?;
        let file = parse(&text).map_err(|problem| Failure::usage(format!("in {}: {problem}", path.display())))?;
        Ok((self.or(file), Some(path)))
    }

    /// Refuses values that no server can work with.
    pub(crate) fn check(&self) -> Result {
        let small = |option: &str, given: String, least: String, why: &str| {
            Err(Failure::usage(format!("--{option} {given} is too little: {why}. The least is {least}")))
        };
        if self.max_connections.is_some_and(|connections| connections < LEAST_CONNECTIONS) {
            let why = "nobody could connect";
            return small("max-connections", "0".to_owned(), LEAST_CONNECTIONS.to_string(), why);
        }
        if let Some(limit) = self.body_limit.filter(|limit| *limit < LEAST_BODY) {
            let why = "ordinary requests of clients would be refused";
            return small("body-limit", limit.to_string(), LEAST_BODY.to_string(), why);
        }
        if let Some(budget) = self.memory_budget.filter(|budget| *budget < LEAST_BUDGET) {
            let why = "writers would wait for each other's rows to be flushed";
            return small("memory-budget", budget.to_string(), LEAST_BUDGET.to_string(), why);
        }
        if let Some(interval) = self.flush_interval.filter(|interval| *interval < LEAST_INTERVAL) {
            let why = "the tables would be rewritten without a pause";
            return small("flush-interval", interval.to_string(), LEAST_INTERVAL.to_string(), why);
        }
        if let Some(memory) = self.query_memory.filter(|memory| *memory < LEAST_QUERY_MEMORY) {
            let why = "ordinary queries would fail";
            return small("query-memory", memory.to_string(), LEAST_QUERY_MEMORY.to_string(), why);
        }
        if self.queries.is_some_and(|queries| queries < 1) {
            return small("queries", "0".to_owned(), "1".to_owned(), "no query could run");
        }
        Ok(())
    }

    /// Whether `--read-only` is set.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.unwrap_or(false)
    }
}

/// Reads a file's text. The message names the key that is wrong.
fn parse(text: &str) -> Result<ServerArgs, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_set_every_option() {
        let file = parse(
            "host = \"0.0.0.0\"\nport = 5001\nlake = \"s3://b/p\"\ndefault-artifact-root = \"s3://a\"\n\
             artifacts-destination = \"/data\"\nallowed-artifact-schemes = [\"http\"]\nmemory-budget = \"1GB\"\n\
             flush-interval = \"5s\"\nretain = \"2d\"\nbody-limit = \"1MiB\"\ntime-travel = \"1h\"\nquery-memory = \"2GiB\"\n\
             query-timeout = \"1m\"\nquery-rows = 7\nqueries = 3\nquery-spill = \"/tmp\"\n\
             max-connections = 9\ndrain-timeout = \"1s\"\nallowed-hosts = [\"a\"]\nallowed-origins = [\"b\"]\n\
             auth = \"required\"\ntls-cert = \"c.pem\"\ntls-key = \"k.pem\"\n\
             refuse-long-values = true\nread-only = true\ntakeover = false\nlog-format = \"json\"\nlog-level = \"warn\"\n",
        )
        .unwrap();
        assert_eq!(file.port, Some(5001));
        assert_eq!(file.memory_budget, Some(Size(1_000_000_000)));
        assert_eq!(file.log_format, Some(LogFormat::Json));
        assert_eq!((file.auth, file.tls_key), (Some(Auth::Required), Some(PathBuf::from("k.pem"))));
        assert_eq!(file.allowed_hosts, Some(vec!["a".to_owned()]));
        assert_eq!(file.allowed_artifact_schemes, Some(vec!["http".to_owned()]));
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named() {
        let unknown = parse("prot = 5000\n").unwrap_err();
        assert!(unknown.contains("unknown field `prot`") && unknown.contains("`port`"), "{unknown}");
        let bad = parse("memory-budget = \"lots\"\n").unwrap_err();
        assert!(bad.contains("memory-budget") && bad.contains("512MB"), "{bad}");
        assert!(parse("config = \"x\"\n").is_err());
    }

    #[test]
    fn values_that_nobody_can_work_with_are_refused() {
        for (text, least) in [
            ("max-connections = 0", "The least is 1"),
            ("body-limit = \"0\"", "The least is 64KiB"),
            ("body-limit = \"65535\"", "64KiB"),
            ("memory-budget = \"1\"", "The least is 8MiB"),
            ("flush-interval = \"0s\"", "The least is 100ms"),
            ("query-memory = \"1MiB\"", "16MiB"),
            ("queries = 0", "The least is 1"),
        ] {
            let failure = parse(text).unwrap().check().unwrap_err();
            let name = text.split(' ').next().unwrap();
            assert!(failure.code == 2 && failure.message.contains(name), "{text}: {}", failure.message);
            assert!(failure.message.contains(least), "{text}: {}", failure.message);
        }
        let small = "max-connections = 1\nbody-limit = \"64KiB\"\nmemory-budget = \"8MiB\"\nflush-interval = \"100ms\"";
        assert!(parse(small).unwrap().check().is_ok());
        assert!(ServerArgs::default().check().is_ok());
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = ServerArgs { port: Some(1), ..ServerArgs::default() };
        let file = parse("port = 2\nhost = \"h\"\n").unwrap();
        let merged = flags.or(file);
        assert_eq!((merged.port, merged.host.as_deref()), (Some(1), Some("h")));
    }
}
