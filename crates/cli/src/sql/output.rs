//! Where answers go: a table on the terminal, or a file of some format.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_cast::display::FormatOptions;
use arrow_cast::pretty::pretty_format_batches_with_options;
use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use runlake_query::format::{Encoder, Format};

use super::source::{Question, Rows, Source};
use super::{Wanted, seconds};
use crate::terminal::complain;
use crate::{Failure, Result};

/// Rows of a table: more are of no use to a reader.
const TABLE_ROWS: u64 = 10_000;
/// After this a query says that it is still at it.
const SILENCE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) target: Target,
    pub(super) wanted: Wanted,
    pub(super) timing: bool,
}

/// Where to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Terminal,
    File(PathBuf),
}

impl Output {
    /// Asks and writes the answer.
    pub(super) async fn answer(&self, source: &Source, question: Question) -> Result {
        let started = Instant::now();
        let progress = Progress::begin();
        let rows = match self.wanted.format() {
            None => self.table(source, question, &progress).await?,
            Some(format) => self.encoded(source.ask(question).await?, format, &progress).await?,
        };
        progress.end();
        if self.timing {
            complain(&format_args!("{} in {}", counted(rows), seconds(started.elapsed())));
        }
        Ok(())
    }

    async fn table(&self, source: &Source, mut question: Question, progress: &Progress) -> Result<u64> {
        let most = question.limit.unwrap_or(TABLE_ROWS);
        // One more tells whether there are more.
        question.limit = Some(question.limit.unwrap_or(TABLE_ROWS + 1));
        let Rows { schema, mut batches } = source.ask(question).await?;
        let mut found = Vec::new();
        let mut count = 0;
        while let Some(batch) = batches.try_next().await? {
            count += batch.num_rows() as u64;
            progress.rows(count);
            found.push(batch);
        }
        if found.is_empty() {
            found.push(RecordBatch::new_empty(schema));
        }
        progress.end();
        let shown = count.min(most);
        let text = drawn(&cut(found, shown))?;
        match &self.target {
            Target::Terminal => page(&format!("{text}\n{}\n", foot(shown, count > shown))),
            Target::File(path) => write_file(path, |file| file.write_all(text.as_bytes())),
        }?;
        Ok(shown)
    }

    async fn encoded(&self, rows: Rows, format: Format, progress: &Progress) -> Result<u64> {
        let Rows { schema, mut batches } = rows;
        let mut sink = Sink::open(&self.target)?;
        let mut encoder = Encoder::new(format, &schema).map_err(|error| Failure::new(error.to_string()))?;
        let mut count = 0;
        while let Some(batch) = batches.try_next().await? {
            encoder.write(&batch).map_err(|error| Failure::new(error.to_string()))?;
            count += batch.num_rows() as u64;
            progress.rows(count);
            if !sink.write(&encoder.take())? {
                return Ok(count);
            }
        }
        let end = encoder.finish(false).map_err(|error| Failure::new(error.to_string()))?;
        sink.write(&end)?;
        sink.finish()?;
        Ok(count)
    }
}

fn counted(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

fn foot(rows: u64, more: bool) -> String {
    if more {
        format!("{} and more: --limit shows more of them, --output writes all to a file", counted(rows))
    } else {
        counted(rows)
    }
}

fn cut(batches: Vec<RecordBatch>, rows: u64) -> Vec<RecordBatch> {
    let mut left = usize::try_from(rows).unwrap_or(usize::MAX);
    let take = |batch: RecordBatch| {
        let rows = batch.num_rows().min(left);
        left -= rows;
        batch.slice(0, rows)
    };
    batches.into_iter().map(take).collect()
}

/// A table, or the text of a plan as it is.
fn drawn(batches: &[RecordBatch]) -> Result<String> {
    let options = FormatOptions::default().with_null("").with_display_error(true);
    let unfit = |error: arrow_schema::ArrowError| Failure::new(format!("the answer cannot be shown: {error}"));
    if let Some(plan) = plan(batches) {
        return Ok(plan);
    }
    let table = pretty_format_batches_with_options(batches, &options).map_err(unfit)?.to_string();
    // Control characters of values must not reach the terminal.
    Ok(table.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect())
}

/// The answer of EXPLAIN is text of many lines, which a table would only frame.
fn plan(batches: &[RecordBatch]) -> Option<String> {
    let schema = batches.first()?.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if names != ["plan_type", "plan"] {
        return None;
    }
    let mut text = String::new();
    for batch in batches {
        let column = |at: usize| batch.column(at).as_any().downcast_ref::<arrow_array::StringArray>();
        let (kinds, plans) = (column(0)?, column(1)?);
        for row in 0..batch.num_rows() {
            text.push_str(&format!("-- {}\n{}\n", kinds.value(row), plans.value(row)));
        }
    }
    Some(text)
}

/// Shows text a screen at a time where it is longer than one, by the pager of the user's choice.
fn page(text: &str) -> Result {
    let is_long = text.lines().count() > 50 || text.lines().any(|line| line.chars().count() > 200);
    if is_long && io::stdout().is_terminal() {
        let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
        let pager = pager.unwrap_or_else(|| "less -SFX".to_owned());
        let mut words = pager.split_whitespace();
        let program = words.next().unwrap_or("less");
        if let Ok(mut child) = Command::new(program).args(words).stdin(Stdio::piped()).spawn() {
            if let Some(mut input) = child.stdin.take() {
                // A reader that has seen enough closes it.
                let _unread = input.write_all(text.as_bytes());
            }
            let _whatever = child.wait();
            return Ok(());
        }
    }
    let mut sink = Sink::open(&Target::Terminal)?;
    sink.write(text.as_bytes())?;
    sink.finish()
}

fn write_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result {
    File::create(path).and_then(|mut file| write(&mut file)).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", path.display()))
}

/// Bytes on their way out. A file gets its name when it is whole, so that a failed query leaves none.
enum Sink {
    Stdout(io::Stdout),
    File { file: BufWriter<File>, part: PathBuf, path: PathBuf },
}

impl Sink {
    fn open(target: &Target) -> Result<Self> {
        Ok(match target {
            Target::Terminal => Self::Stdout(io::stdout()),
            Target::File(path) => {
                let mut name = path.file_name().unwrap_or_default().to_owned();
                name.push(".part");
                let part = path.with_file_name(name);
                let file = File::create(&part).map_err(|error| unwritable(path, &error))?;
                Self::File { file: BufWriter::new(file), part, path: path.clone() }
            }
        })
    }

    /// Whether anybody still reads.
    fn write(&mut self, bytes: &[u8]) -> Result<bool> {
        match self {
            Self::Stdout(out) => match out.write_all(bytes) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                Err(error) => Err(Failure::new(format!("the answer could not be written: {error}"))),
            },
            Self::File { file, path, .. } => {
                file.write_all(bytes).map_err(|error| unwritable(path, &error))?;
                Ok(true)
            }
        }
    }

    fn finish(&mut self) -> Result {
        match self {
            Self::Stdout(out) => {
                let _unheard = out.flush();
                Ok(())
            }
            Self::File { file, part, path } => {
                file.flush().and_then(|()| std::fs::rename(&*part, &*path)).map_err(|error| unwritable(path, &error))
            }
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Self::File { part, .. } = self {
            // Gone already if the file was finished.
            let _gone = std::fs::remove_file(part);
        }
    }
}

/// A line on standard error while a query takes long, if somebody sits before it.
struct Progress(ProgressBar);

impl Progress {
    fn begin() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message("computing");
        bar.enable_steady_tick(SILENCE);
        Self(bar)
    }

    fn rows(&self, count: u64) {
        self.0.set_message(counted(count));
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
