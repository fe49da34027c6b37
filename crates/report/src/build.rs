//! From a folder to what can be written: reading, asking, drawing, judging.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::answer::{Answer, Asks, Question, Unanswered};
use crate::charts::{self, Chart};
use crate::checks::{self, Check, Verdict};
use crate::document::{Cell, CellKind, Document};
use crate::error::invalid;
use crate::expression::Scope;
use crate::{Error, FILE, Result, Value, parameters};

/// Rows that a cell gets unless it says `limit=`.
const ROW_LIMIT: u64 = 100_000;
/// Files of a report may have so many bytes.
const MOST_BYTES: u64 = 8 << 20;

/// A report as it lies in its folder.
#[derive(Debug, Clone)]
pub struct Report {
    pub(crate) document: Document,
    pub(crate) folder: PathBuf,
    name: String,
}

/// What a lake answered, by cell.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    pub(crate) cells: IndexMap<String, Result<Answer, String>>,
}

/// When a report is built, as its foot tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    /// The time whose snapshot answers; then the page is the same whenever it is built.
    pub as_of: Option<String>,
    /// The time of building, told where there is no snapshot.
    pub now: String,
}

/// A cell that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name; empty for the text between cells.
    pub cell: String,
    /// Its line in the file.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// What a cell became.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Table(Answer),
    /// An SVG picture and what it shows.
    Chart(String, String),
    Checks(Vec<Check>),
    /// Nothing to show, and no fault.
    Note(&'static str),
    Fault(String),
}

/// A report that is ready to be written.
#[derive(Debug, Clone)]
pub struct Built<'a> {
    pub(crate) report: &'a Report,
    pub(crate) parameters: IndexMap<String, Value>,
    pub(crate) answers: Answers,
    pub(crate) moment: Moment,
    pub(crate) outcomes: Vec<Outcome>,
    faults: Vec<Fault>,
}

impl Report {
    /// Reads `report.md` of the folder `path`, or the Markdown file `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let source = match std::fs::read_to_string(&file) {
            Ok(source) => source,
            Err(error) => {
                return invalid(format!(
                    "{} cannot be read: {error}. A report is a folder with a {FILE}; `runlake report new` makes one.",
                    file.display()
                ));
            }
        };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let stem = if path.is_dir() { std::path::absolute(path).ok() } else { Some(path.with_extension("")) };
        let name = stem.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let document =
            Document::parse(&source).map_err(|error| Error::Invalid(format!("{}: {error}", file.display())))?;
        Ok(Self { document, folder, name: name.unwrap_or_else(|| "report".to_owned()) })
    }

    /// What it is called without a title.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder its files lie in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The value of each parameter: the given one, or else its default.
    pub fn parameters(&self, given: &[(String, String)]) -> Result<IndexMap<String, Value>> {
        parameters::bind(&self.document.front.parameters, given)
    }

    /// Asks for every SQL cell, in order. `told` hears of each before it is asked.
    pub async fn answer(
        &self,
        parameters: &IndexMap<String, Value>,
        asks: &dyn Asks,
        mut told: impl FnMut(&str) + Send,
    ) -> Result<Answers> {
        let mut answers = Answers::default();
        for cell in self.document.cells.iter().filter(|cell| cell.kind == CellKind::Sql) {
            told(&cell.name);
            let answer = match question(cell, parameters) {
                Ok(question) => match asks.ask(question).await {
                    Ok(answer) => Ok(answer),
                    Err(Unanswered::Refused(message)) => Err(message),
                    Err(Unanswered::Away(message)) => return Err(Error::Unanswered(message)),
                },
                Err(message) => Err(message),
            };
            answers.cells.insert(cell.name.clone(), answer);
        }
        Ok(answers)
    }

    /// Judges checks and draws charts.
    pub fn build(&self, parameters: IndexMap<String, Value>, answers: Answers, moment: Moment) -> Built<'_> {
        let cells = &self.document.cells;
        let scope = Scope { parameters: &parameters, cells: &answers.cells };
        let mut charts: Vec<Option<Chart>> = Vec::new();
        let mut outcomes: Vec<Outcome> = Vec::new();
        for cell in cells {
            let mut chart = None;
            outcomes.push(match cell.kind {
                CellKind::Sql => match answers.cells.get(&cell.name) {
                    Some(Ok(answer)) => Outcome::Table(answer.clone()),
                    Some(Err(message)) => Outcome::Fault(message.clone()),
                    None => Outcome::Fault("nobody was asked".to_owned()),
                },
                CellKind::Check => Outcome::Checks(checks::run(&cell.name, &cell.body, cell.line, scope)),
                CellKind::Chart => match self.chart(cell, &parameters, &answers) {
                    Ok(Some(made)) => {
                        chart = Some(made);
                        Outcome::Note("")
                    }
                    Ok(None) => Outcome::Note("There are no rows to draw."),
                    Err(message) => Outcome::Fault(message),
                },
            });
            charts.push(chart);
        }
        let to_draw: Vec<&Chart> = charts.iter().flatten().collect();
        let mut drawn = charts::draw(&to_draw).into_iter();
        for ((cell, outcome), chart) in cells.iter().zip(&mut outcomes).zip(&charts) {
            let Some(chart) = chart else { continue };
            *outcome = match drawn.next() {
                Some(Ok(picture)) => Outcome::Chart(picture, alternative(cell, chart)),
                Some(Err(message)) => Outcome::Fault(message),
                None => Outcome::Fault("it was not drawn".to_owned()),
            };
        }
        let faults = cells.iter().zip(&outcomes).flat_map(|(cell, outcome)| faults(cell, outcome)).collect();
        let mut built = Built { report: self, parameters, answers, moment, outcomes, faults };
        built.look_at_the_text();
        built
    }

    /// The chart of a cell; none where there is nothing to draw and that is well.
    fn chart(
        &self,
        cell: &Cell,
        parameters: &IndexMap<String, Value>,
        answers: &Answers,
    ) -> Result<Option<Chart>, String> {
        let spec = match cell.attributes.get("file") {
            Some(_) if !cell.body.trim().is_empty() => {
                return Err("it has a file= and a specification of its own: keep one".to_owned());
            }
            Some(name) => String::from_utf8(self.file(name)?).map_err(|_| format!("{name} is no text"))?,
            None => cell.body.clone(),
        };
        let names =
            cell.attributes.get("data").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut data: Vec<(&str, &Answer)> = Vec::new();
        for name in names {
            match answers.cells.get(name) {
                Some(Ok(answer)) => data.push((name, answer)),
                Some(Err(_)) => return Err(format!("its data, the cell {name}, has no answer")),
                None => return Err(format!("there is no sql cell {name} to take its data from")),
            }
        }
        if let Some((name, _)) = data.first().filter(|(_, answer)| answer.rows.is_empty()) {
            let may_be = self.document.cells.iter().any(|cell| cell.name == *name && cell.attributes.has("empty"));
            return if may_be { Ok(None) } else { Err(format!("its data, the cell {name}, has no rows")) };
        }
        Chart::new(&spec, &data, parameters).map(Some)
    }

    /// A file of the report's folder, and of nowhere else.
    pub(crate) fn file(&self, name: &str) -> Result<Vec<u8>, String> {
        let unreadable = |error: std::io::Error| format!("the file {name} of the report cannot be read: {error}");
        let folder = self.folder.canonicalize().map_err(unreadable)?;
        let path = folder.join(name).canonicalize().map_err(unreadable)?;
        if !path.starts_with(&folder) {
            return Err(format!("the file {name} lies outside of the report's folder"));
        }
        let size = path.metadata().map_err(unreadable)?.len();
        if size > MOST_BYTES {
            return Err(format!(
                "the file {name} has {} MiB; files of a report have at most {}",
                size >> 20,
                MOST_BYTES >> 20
            ));
        }
        std::fs::read(path).map_err(unreadable)
    }
}

/// What a chart shows, for those who do not see it.
fn alternative(cell: &Cell, chart: &Chart) -> String {
    let given = cell.attributes.get("alt").or(cell.attributes.get("caption")).map(str::to_owned);
    given.or_else(|| chart.title.clone()).unwrap_or_else(|| format!("Chart {}", cell.name))
}

fn question(cell: &Cell, parameters: &IndexMap<String, Value>) -> Result<Question, String> {
    let row_limit = match cell.attributes.get("limit") {
        None => ROW_LIMIT,
        Some(text) => text.parse().map_err(|_| format!("limit={text} is no number of rows"))?,
    };
    for attribute in ["rows", "digits"] {
        if let Some(text) = cell.attributes.get(attribute)
            && text.parse::<u16>().is_err()
        {
            return Err(format!("{attribute}={text} is no number"));
        }
    }
    let sql = cell.body.trim().trim_end_matches(';').trim_end().to_owned();
    let named = |name: &str| {
        sql.match_indices('$').any(|(at, _)| {
            let rest = &sql[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            &rest[..end] == name
        })
    };
    let wanted = parameters.iter().filter(|(name, _)| named(name));
    let parameters = wanted.map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(Question { sql, parameters, row_limit })
}

fn faults(cell: &Cell, outcome: &Outcome) -> Vec<Fault> {
    let fault = |line: usize, message: &str| Fault { cell: cell.name.clone(), line, message: message.to_owned() };
    match outcome {
        Outcome::Fault(message) => vec![fault(cell.line, message)],
        Outcome::Table(answer) if answer.rows.is_empty() && !cell.attributes.has("empty") => {
            vec![fault(cell.line, EMPTY)]
        }
        Outcome::Checks(checks) => checks
            .iter()
            .filter_map(|check| match &check.verdict {
                Verdict::Unknown(message) => Some(fault(check.line, message)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// What is said of an answer without rows.
pub(crate) const EMPTY: &str = "the answer has no rows (write empty=ok where that is well)";

impl Built<'_> {
    /// What could not be computed.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// All checks, in order.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.outcomes.iter().flat_map(|outcome| match outcome {
            Outcome::Checks(checks) => checks.as_slice(),
            _ => &[],
        })
    }

    /// The positions of the log that its answers stand at: the first and the last.
    pub fn positions(&self) -> Option<(u64, u64)> {
        let positions = || self.answers.cells.values().flatten().filter_map(|answer| answer.position);
        Some((positions().min()?, positions().max()?))
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { parameters: &self.parameters, cells: &self.answers.cells }
    }

    /// Each cell with what it became.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (&Cell, &Outcome)> {
        self.report.document.cells.iter().zip(&self.outcomes)
    }

    /// Expressions in the text and pictures of the folder may be wrong, too.
    fn look_at_the_text(&mut self) {
        let woven = self.woven();
        let mut more = woven.faults();
        for file in crate::html::pictures(&woven) {
            if let Err(message) = crate::html::picture(self.report, &file) {
                more.push(Fault { cell: String::new(), line: 0, message });
            }
        }
        self.faults.append(&mut more);
    }
}
