//! `runlake sql`: statements from the command line, a file, a pipe or a prompt.

mod catalog;
mod output;
mod shell;
mod source;
mod split;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use runlake_query::format::Format;

use crate::units::Span;
use crate::{Failure, Result};
use output::{Output, Target};
use source::{Question, Source};

const EXAMPLES: &str = "\
Examples:
  runlake sql \"SELECT * FROM runs_wide('iris') ORDER BY \\\"metrics.loss\\\" LIMIT 10\"
  runlake sql --lake ./runlake-data \"SELECT key, max(value) FROM metrics GROUP BY key\"
  runlake sql \"SELECT * FROM params WHERE key = \\$1\" --param lr
  runlake sql \"SELECT * FROM metrics\" --output metrics.parquet
  runlake sql                                    a prompt: \\d lists the tables, \\? tells the rest
  runlake sql < questions.sql                    statements one after the other

Tables and functions are described in docs/sql.md.";

#[allow(clippy::doc_markdown, reason = "the comments are the help that terminals show")]
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SqlArgs {
    /// One statement. Without it they are read from --file, from a pipe, or from a prompt.
    #[arg(value_name = "STATEMENT")]
    statement: Option<String>,

    /// Address of the server to ask.
    #[arg(long, env = "RUNLAKE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    server: String,

    /// Read this lake itself instead of asking a server: a folder or URL. A server may have it open meanwhile.
    #[arg(long, value_name = "PLACE")]
    lake: Option<String>,

    /// Read statements from this file, each ended by a semicolon.
    #[arg(long, short, value_name = "FILE", conflicts_with = "statement")]
    file: Option<PathBuf>,

    /// A value for $1, the next one for $2, and so on: a number, true, false, null, or a text. A text that looks like
    /// one of these goes in single quotes.
    #[arg(long = "param", short, value_name = "VALUE", allow_hyphen_values = true, requires = "statement")]
    params: Vec<String>,

    /// How answers are written [default: table; with --output what its name says].
    #[arg(long, value_name = "FORMAT")]
    format: Option<Wanted>,

    /// Write the answer to this file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The tables as their files were at this time, such as 2026-05-03T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,

    /// Stop after so many rows [default: 10000 for tables].
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,

    /// Give up after this time.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,

    /// Memory for sorting, grouping and joining with --lake.
    #[arg(long, env = "RUNLAKE_QUERY_MEMORY", value_name = "SIZE", default_value = "1GiB")]
    query_memory: crate::units::Size,

    /// Say how long each statement took.
    #[arg(long)]
    timing: bool,
}

/// Formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// For people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object with columns and rows.
    Json,
    /// One JSON object for each row.
    Jsonl,
    /// Arrow IPC stream.
    Arrow,
    /// Parquet.
    Parquet,
}

impl Wanted {
    /// What the end of a file's name says.
    fn of_name(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "txt" => Some(Self::Table),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "arrow" | "arrows" | "ipc" => Some(Self::Arrow),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// None for a table.
    fn format(self) -> Option<Format> {
        match self {
            Self::Table => None,
            Self::Csv => Some(Format::Csv),
            Self::Json => Some(Format::Json),
            Self::Jsonl => Some(Format::JsonLines),
            Self::Arrow => Some(Format::Arrow),
            Self::Parquet => Some(Format::Parquet),
        }
    }
}

pub(crate) async fn run(args: SqlArgs) -> Result {
    let source = match &args.lake {
        Some(place) => Source::lake(place, args.query_memory.0).await?,
        None => Source::server(&args.server)?,
    };
    let answered = answer(&args, &source).await;
    source.close().await;
    answered
}

async fn answer(args: &SqlArgs, source: &Source) -> Result {
    let output = output(args)?;
    let question = Question {
        sql: String::new(),
        params: args.params.iter().map(|text| source::value(text)).collect(),
        as_of: args.as_of.clone(),
        limit: args.limit,
        timeout: args.timeout.map(|span| span.0),
    };
    if let Some(statement) = &args.statement {
        let question = Question { sql: statement.trim().trim_end_matches(';').to_owned(), ..question };
        return output.answer(source, question).await.map(drop);
    }
    let text = match &args.file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("the file {} cannot be read: {error}", path.display())))?,
        None if std::io::stdin().is_terminal() => return shell::run(source, output, question).await,
        None => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::usage(format!("what was piped in is no text: {error}")))?;
            text
        }
    };
    let statements = split::statements(&text);
    if statements.is_empty() {
        return Err(Failure::usage("there is no statement to answer; give one in quotes, see `runlake sql --help`"));
    }
    if statements.len() > 1 && args.output.is_some() {
        return Err(Failure::usage("one file holds the answer of one statement; give one, or leave --output away"));
    }
    for sql in statements {
        output.answer(source, Question { sql: sql.to_owned(), ..question.clone() }).await?;
    }
    Ok(())
}

fn output(args: &SqlArgs) -> Result<Output> {
    let target = match &args.output {
        Some(path) => Target::File(path.clone()),
        None => Target::Terminal,
    };
    let wanted = match (args.format, &args.output) {
        (Some(wanted), _) => wanted,
        (None, None) => Wanted::Table,
        (None, Some(path)) => Wanted::of_name(path).ok_or_else(|| {
            Failure::usage(format!(
                "the name of {} does not say its format; end it in .csv, .json, .jsonl, .arrow or .parquet, or say --format",
                path.display()
            ))
        })?,
    };
    if wanted.format().is_some_and(|format| matches!(format, Format::Arrow | Format::Parquet))
        && args.output.is_none()
        && std::io::stdout().is_terminal()
    {
        return Err(Failure::usage("bytes of this format do not belong on a terminal; give a file with --output"));
    }
    Ok(Output { target, wanted, timing: args.timing })
}

/// A time as people read it.
fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}
