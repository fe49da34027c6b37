//! `runlake report`: makes, builds, checks and serves reports.

mod browser;
mod serve;
mod source;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use runlake_report::{Check, Fault, Moment, Report, TEMPLATES, Template, Verdict, Written};
use runlake_types::{Clock as _, SystemClock};

use crate::terminal::{complain, say};
use crate::units::{Size, Span};
use crate::{Failure, Result};
use source::Lake;

const EXAMPLES: &str = "\
Examples:
  runlake report new leaderboard reports/iris -P experiment=iris
  runlake report build reports/iris -o iris.html           one page: open, mail or publish it
  runlake report build reports/iris -o iris.md -o iris.pdf Markdown with pictures; PDF by Chromium
  runlake report build reports/iris --as-of 2026-05-03T12:00:00Z  the same bytes again and again
  runlake report check reports/gate -P model=birds         for CI: status 1 if a check fails
  runlake report serve reports/iris --lake ./runlake-data  rebuilt as you write and runs come in

How reports are written is told in docs/reports.md.";

/// Subcommands of `runlake report`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum ReportCommand {
    /// Makes a report to start from.
    New(NewArgs),
    /// Builds a report: one HTML page, Markdown with pictures, or a PDF.
    ///
    /// Ends with status 2 if a part of it could not be computed: that part says so, and the rest is there.
    Build(Box<BuildArgs>),
    /// Judges the checks of a report and writes nothing.
    ///
    /// Ends with status 1 if a check fails, and says which; with 2 if something could not be computed.
    Check(Box<SourceArgs>),
    /// Serves a report to a browser, and rebuilds it when its files or the lake change.
    Serve(Box<ServeArgs>),
}

/// What `runlake report new` is told.
#[derive(Debug, Args)]
#[command(after_help = templates())]
pub(crate) struct NewArgs {
    /// What to start from.
    #[arg(value_name = "TEMPLATE", value_parser = TEMPLATES.iter().map(|template| template.name).collect::<Vec<_>>())]
    template: String,

    /// The folder to make it in.
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// A default for a parameter of the template.
    #[arg(short = 'P', long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
}

/// Which report, and who answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// The report: a folder with a report.md, or a Markdown file.
    #[arg(value_name = "DIR")]
    report: PathBuf,

    /// Address of the server to ask.
    #[arg(long, env = "RUNLAKE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    server: String,

    /// Read this lake itself instead of asking a server: a folder or URL. A server may have it open meanwhile.
    #[arg(long, value_name = "PLACE")]
    lake: Option<String>,

    /// A value for a parameter of the report.
    #[arg(short = 'P', long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,

    /// Build from the tables as their files were at this time, such as 2026-05-03T12:00:00Z: the report can be built
    /// again, byte for byte, for as long as the lake keeps that time.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,

    /// Give a cell up after this time.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,

    /// Memory for sorting, grouping and joining with --lake.
    #[arg(long, env = "RUNLAKE_QUERY_MEMORY", value_name = "SIZE", default_value = "1GiB")]
    query_memory: Size,
}

/// What `runlake report build` is told.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Where to write: a name that ends in .html, .md or .pdf. May be given several times [default: the report's name,
    /// with .html, here].
    #[arg(long, short, value_name = "FILE")]
    output: Vec<PathBuf>,

    /// Show charts of Markdown as PNG, made by a Chromium, beside the SVG ones.
    #[arg(long)]
    png: bool,
}

/// What `runlake report serve` is told.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// Port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 5050)]
    port: u16,
}

fn templates() -> String {
    let lines = TEMPLATES.iter().map(|template| format!("  {:<17}{}", template.name, template.about));
    format!("Templates:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

pub(crate) async fn run(command: ReportCommand) -> Result {
    match command {
        ReportCommand::New(args) => new(&args),
        ReportCommand::Build(args) => build(*args).await,
        ReportCommand::Check(args) => check(*args).await,
        ReportCommand::Serve(args) => serve::run(*args).await,
    }
}

fn new(args: &NewArgs) -> Result {
    let written = Template::named(&args.template).and_then(|template| template.write(&args.folder, &args.params));
    written.map_err(|error| failed(&error))?;
    let folder = args.folder.display();
    say(&format_args!(
        "{folder}/report.md is made from the template {}. Next:\n  runlake report serve {folder}    see it while you change \
         it\n  runlake report build {folder}    write a page",
        args.template
    ));
    Ok(())
}

/// A report that could not be built ends with status 2, so that 1 tells of checks only.
fn failed(error: &runlake_report::Error) -> Failure {
    Failure::usage(error.to_string())
}

fn unusable(failure: Failure) -> Failure {
    Failure { code: 2, ..failure }
}

/// What came of building a report.
struct Pages {
    html: String,
    markdown: Option<Written>,
    faults: Vec<Fault>,
    checks: Vec<Check>,
}

/// How it is to be written.
#[derive(Debug, Clone, Default)]
struct Wanted {
    is_live: bool,
    /// The folder of its pictures and what they end in, if it is to be Markdown.
    markdown: Option<(String, &'static str)>,
}

/// Reads, asks and builds.
async fn pages(args: &SourceArgs, lake: &Lake, wanted: Wanted) -> Result<Pages> {
    let report = Report::open(&args.report).map_err(|error| failed(&error))?;
    let parameters = report.parameters(&args.params).map_err(|error| failed(&error))?;
    let bar = spinner();
    let answers = report
        .answer(&parameters, lake, |cell| bar.set_message(format!("asking for {cell}")))
        .await
        .map_err(|error| failed(&error))?;
    bar.set_message("drawing");
    let moment = Moment { as_of: args.as_of.clone(), now: now() };
    let building = tokio::task::spawn_blocking(move || {
        let built = report.build(parameters, answers, moment);
        Pages {
            html: built.html(wanted.is_live),
            markdown: wanted.markdown.map(|(folder, extension)| built.markdown(&folder, extension)),
            faults: built.faults().to_vec(),
            checks: built.checks().cloned().collect(),
        }
    });
    let pages = building.await.map_err(|error| Failure::usage(format!("the report could not be built: {error}")));
    bar.finish_and_clear();
    pages
}

fn now() -> String {
    let micros = u64::try_from(SystemClock.now().micros()).unwrap_or(0);
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_micros(micros)).to_string()
}

fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The forms a report is written in, by the ends of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Markdown,
    Pdf,
}

fn form(path: &Path) -> Result<Form> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("html" | "htm") => Ok(Form::Html),
        Some("md" | "markdown") => Ok(Form::Markdown),
        Some("pdf") => Ok(Form::Pdf),
        _ => Err(Failure::usage(format!(
            "the name of {} does not say its form; end it in .html, .md or .pdf",
            path.display()
        ))),
    }
}

async fn build(args: BuildArgs) -> Result {
    let mut outputs = args.output.clone();
    if outputs.is_empty() {
        let report = Report::open(&args.source.report).map_err(|error| failed(&error))?;
        outputs.push(PathBuf::from(format!("{}.html", report.name())));
    }
    let forms = outputs.iter().map(|path| form(path)).collect::<Result<Vec<_>>>()?;
    if args.png || forms.contains(&Form::Pdf) {
        browser::find()?;
    }
    let markdown = outputs.iter().zip(&forms).find(|(_, form)| **form == Form::Markdown).map(|(path, _)| path);
    let folder = markdown.map(|path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        format!("{stem}.files")
    });
    let extension = if args.png { "png" } else { "svg" };
    let wanted = Wanted { is_live: false, markdown: folder.clone().map(|folder| (folder, extension)) };
    let lake = Lake::open(&args.source).await.map_err(unusable)?;
    let pages = pages(&args.source, &lake, wanted).await;
    lake.close().await;
    let pages = pages?;
    for (path, form) in outputs.iter().zip(forms) {
        match form {
            Form::Html => write(path, pages.html.as_bytes())?,
            Form::Pdf => browser::pdf(&pages.html, path).await?,
            Form::Markdown => {
                let (Some(written), Some(folder)) = (&pages.markdown, &folder) else { continue };
                write(path, written.text.as_bytes())?;
                for (name, picture) in &written.pictures {
                    let picture_path = path.with_file_name(folder).join(format!("{name}.svg"));
                    write(&picture_path, picture.as_bytes())?;
                    if args.png {
                        browser::png(picture, &picture_path.with_extension("png")).await?;
                    }
                }
            }
        }
        say(&path.display());
    }
    tell(&pages);
    match pages.faults.len() {
        0 => Ok(()),
        1 => Err(Failure::usage("one part of the report could not be computed; the rest was built")),
        many => Err(Failure::usage(format!("{many} parts of the report could not be computed; the rest was built"))),
    }
}

/// Faults, and checks that fail, on standard error.
fn tell(pages: &Pages) {
    for fault in &pages.faults {
        complain(&format_args!("{}", told(fault)));
    }
    for check in pages.checks.iter().filter(|check| matches!(check.verdict, Verdict::Fails(_))) {
        complain(&format_args!("{}", verdict(check)));
    }
}

fn told(fault: &Fault) -> String {
    let place = match (fault.cell.as_str(), fault.line) {
        ("", 0) => "the text".to_owned(),
        ("", line) => format!("line {line}"),
        (cell, line) => format!("cell {cell}, line {line}"),
    };
    printable(&format!("{place}: {}", fault.message))
}

fn verdict(check: &Check) -> String {
    let (word, values) = match &check.verdict {
        Verdict::Holds(values) => ("ok     ", values),
        Verdict::Fails(values) => ("FAILED ", values),
        Verdict::Unknown(why) => ("UNKNOWN", why),
    };
    let message = check.message.as_ref().map(|message| format!(" – {message}")).unwrap_or_default();
    let values = if values.is_empty() { String::new() } else { format!(" ({values})") };
    printable(&format!("{word} {}, line {}: {}{message}{values}", check.cell, check.line, check.text))
}

/// Control characters of values must not reach the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

async fn check(args: SourceArgs) -> Result {
    let lake = Lake::open(&args).await.map_err(unusable)?;
    let pages = pages(&args, &lake, Wanted::default()).await;
    lake.close().await;
    let pages = pages?;
    for check in &pages.checks {
        say(&verdict(check));
    }
    for fault in &pages.faults {
        let is_check = pages.checks.iter().any(|check| check.cell == fault.cell);
        if !is_check {
            complain(&told(fault));
        }
    }
    let failed = pages.checks.iter().filter(|check| matches!(check.verdict, Verdict::Fails(_))).count();
    let all = pages.checks.len();
    if failed > 0 {
        return Err(Failure::new(format!("{failed} of {all} checks failed")));
    }
    if !pages.faults.is_empty() {
        return Err(Failure::usage(format!("{} parts of the report could not be computed", pages.faults.len())));
    }
    if all == 0 {
        return Err(Failure::usage("the report has no checks: add a ```check cell"));
    }
    say(&if all == 1 { "the check holds".to_owned() } else { format!("{all} checks hold") });
    Ok(())
}

/// Writes a whole file or none.
fn write(path: &Path, bytes: &[u8]) -> Result {
    let unwritable = |error: std::io::Error| Failure::usage(format!("{} cannot be written: {error}", path.display()));
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path)).map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_form() {
        for (name, wanted) in [("a.html", Form::Html), ("b/c.md", Form::Markdown), ("x.y.pdf", Form::Pdf)] {
            assert_eq!(form(Path::new(name)), Ok(wanted));
        }
        assert!(form(Path::new("report")).is_err_and(|failure| failure.code == 2 && failure.message.contains(".pdf")));
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=a").is_err());
    }
}
