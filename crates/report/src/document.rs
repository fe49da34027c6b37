//! A report as it is written: front matter between `+++` lines, Markdown, and cells, which are fenced code blocks.
//!
//! A block ` ```sql ` with a name, ` ```vega-lite ` with data and ` ```check ` are cells; others are shown as code. The rest of
//! the opening line are attributes: `key=value`, `key="a value"` or `key`.

use std::ops::Range;

use indexmap::IndexMap;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde::Deserialize;

use crate::Result;
use crate::error::invalid;
use crate::parameters::Parameter;

/// What stands between the `+++` lines.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Front {
    /// Title of the page; `{{ }}` may name parameters and cells.
    pub(crate) title: Option<String>,
    /// One sentence below it.
    pub(crate) description: Option<String>,
    /// See there.
    pub(crate) parameters: IndexMap<String, Parameter>,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) kind: CellKind,
    /// Given, or made of its kind and number.
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
    pub(crate) body: String,
    /// Of its opening line in the file, from 1.
    pub(crate) line: usize,
    /// Where it stands in the text below the front matter.
    pub(crate) range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellKind {
    Sql,
    Chart,
    Check,
}

impl CellKind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Chart => "vega-lite",
            Self::Check => "check",
        }
    }

    /// The attributes a cell of this kind may have.
    const fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Sql => &["name", "caption", "hide", "rows", "limit", "digits", "empty", "source"],
            Self::Chart => &["name", "data", "caption", "file", "alt"],
            Self::Check => &["name", "caption"],
        }
    }
}

/// Words of an opening line; without a value it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(IndexMap<String, String>);

impl Attributes {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut found = IndexMap::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let (value, after) = match after.strip_prefix('=') {
                None => ("", after),
                Some(quoted) if quoted.starts_with('"') => match quoted[1..].find('"') {
                    Some(end) => (&quoted[1..=end], &quoted[end + 2..]),
                    None => return Err(format!("the quotes of {name} are not closed")),
                },
                Some(plain) => plain.split_at(plain.find(char::is_whitespace).unwrap_or(plain.len())),
            };
            if name.is_empty() || !(after.is_empty() || after.starts_with(char::is_whitespace)) {
                return Err(format!("{rest:?} is not written as key=value or key=\"a value\""));
            }
            if found.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(format!("{name} is given twice"));
            }
            rest = after.trim_start();
        }
        Ok(Self(found))
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    pub(crate) front: Front,
    /// Markdown, with the cells in it.
    pub(crate) text: String,
    /// Its first line in the file, from 1.
    pub(crate) first_line: usize,
    pub(crate) cells: Vec<Cell>,
}

pub(crate) const MARKDOWN: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_FOOTNOTES);

impl Document {
    pub(crate) fn parse(source: &str) -> Result<Self> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source).replace("\r\n", "\n");
        let (front, text) = front_matter(&source)?;
        let first_line = source[..source.len() - text.len()].matches('\n').count() + 1;
        let text = text.to_owned();
        let cells = cells(&text, first_line)?;
        for name in front.parameters.keys() {
            if !is_name(name) {
                return invalid(format!(
                    "the parameter {name:?} is not called as SQL can name it: letters, digits and _"
                ));
            }
        }
        Ok(Self { front, text, first_line, cells })
    }
}

fn front_matter(source: &str) -> Result<(Front, &str)> {
    let Some(rest) = source.strip_prefix("+++\n") else { return Ok((Front::default(), source)) };
    let (head, text) = if let Some(text) = rest.strip_prefix("+++\n") {
        ("", text)
    } else if let Some(at) = rest.find("\n+++\n") {
        (&rest[..at], &rest[at + 5..])
    } else if let Some(head) = rest.strip_suffix("\n+++") {
        (head, "")
    } else {
        return invalid("the front matter that begins with +++ does not end: close it by a line +++");
    };
    match toml::from_str(head) {
        Ok(front) => Ok((front, text)),
        Err(error) => invalid(format!("the front matter between the +++ lines is wrong: {}", error.to_string().trim())),
    }
}

/// Whether expressions and SQL can name it.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn cells(text: &str, first_line: usize) -> Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = Vec::new();
    // Only blocks that stand by themselves, not in a list or quotation.
    let mut depth = 0_usize;
    let mut open: Option<Cell> = None;
    for (event, range) in Parser::new_ext(text, MARKDOWN).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if depth == 0 => {
                depth += 1;
                let line = text[..range.start].matches('\n').count() + first_line;
                open = cell(&info, line, range, cells.len() + 1)?;
            }
            Event::Start(_) => depth += 1,
            Event::Text(part) => {
                if let Some(cell) = &mut open {
                    cell.body.push_str(&part);
                }
            }
            Event::End(end) => {
                depth -= 1;
                if let (TagEnd::CodeBlock, Some(cell)) = (end, open.take_if(|_| depth == 0)) {
                    if cells.iter().any(|other| other.name == cell.name) {
                        return invalid(format!("line {}: a second cell is called {}", cell.line, cell.name));
                    }
                    cells.push(cell);
                }
            }
            _ => {}
        }
    }
    Ok(cells)
}

fn cell(info: &str, line: usize, range: Range<usize>, number: usize) -> Result<Option<Cell>> {
    let (word, rest) = info.split_once(char::is_whitespace).unwrap_or((info, ""));
    let kind = match word {
        "sql" if !rest.trim().is_empty() => CellKind::Sql,
        "vega-lite" if !rest.trim().is_empty() => CellKind::Chart,
        "check" => CellKind::Check,
        _ => return Ok(None),
    };
    let wrong = |message: String| invalid(format!("line {line}: {message}"));
    let attributes = match Attributes::parse(rest) {
        Ok(attributes) => attributes,
        Err(message) => return wrong(message),
    };
    if let Some(unknown) = attributes.0.keys().find(|name| !kind.attributes().contains(&name.as_str())) {
        return wrong(format!(
            "a {} cell has no attribute {unknown}; it has {}",
            kind.word(),
            kind.attributes().join(", ")
        ));
    }
    let name = match (attributes.get("name"), kind) {
        (Some(name), _) if is_name(name) => name.to_owned(),
        (Some(name), _) => {
            return wrong(format!("a cell cannot be called {name:?}: letters, digits and _ make a name"));
        }
        (None, CellKind::Sql) => return wrong("an sql cell needs a name, as in ```sql name=best".to_owned()),
        (None, CellKind::Chart) => format!("chart_{number}"),
        (None, CellKind::Check) => format!("check_{number}"),
    };
    Ok(Some(Cell { kind, name, attributes, body: String::new(), line, range }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "+++\ntitle = \"Best\"\n[parameters.top]\ntype = \"integer\"\ndefault = 3\n+++\n# Head\n\n\
        ```sql name=best caption=\"The best = ones\" hide\nSELECT 1\n```\n\n```sql\nSELECT shown\n```\n\n- in a list\n\n  \
        ```sql name=inner\n  SELECT 2\n  ```\n\n```vega-lite data=best\n{}\n```\n```check\nassert best.x = 1\n```\n";

    #[test]
    fn cells_are_blocks_with_attributes() {
        let document = Document::parse(REPORT).expect("a report");
        assert_eq!(document.front.title.as_deref(), Some("Best"));
        let of = |cell: &Cell| (cell.kind, cell.name.clone(), cell.body.clone(), cell.line);
        let wanted = [
            (CellKind::Sql, "best".to_owned(), "SELECT 1\n".to_owned(), 9),
            (CellKind::Chart, "chart_2".to_owned(), "{}\n".to_owned(), 23),
            (CellKind::Check, "check_3".to_owned(), "assert best.x = 1\n".to_owned(), 26),
        ];
        assert_eq!(document.cells.iter().map(of).collect::<Vec<_>>(), wanted);
        let best = &document.cells[0];
        assert_eq!((best.attributes.get("caption"), best.attributes.has("hide")), (Some("The best = ones"), true));
        assert!(document.text[best.range.clone()].starts_with("```sql name=best"));
        let windows = Document::parse(&REPORT.replace('\n', "\r\n")).expect("a report");
        assert_eq!(windows, document);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (source, told) in [
            ("+++\ntitle = 1\n+++\n", "front matter"),
            ("+++\ntitel = \"x\"\n+++\n", "titel"),
            ("+++\ntitle = \"x\"\n", "does not end"),
            ("+++\n[parameters.a-b]\n+++\n", "\"a-b\""),
            ("```sql hide\nSELECT 1\n```", "line 1: an sql cell needs a name"),
            ("\n\n```sql name=a-b\n```", "line 3"),
            ("```sql name=a\n```\n```sql name=a\n```", "line 3: a second cell is called a"),
            ("```sql name=a nmae=b\n```", "no attribute nmae"),
            ("```sql name=\"a\n```", "not closed"),
            ("```sql name=a name=b\n```", "twice"),
            ("```check name=\"a\"b\n```", "key=value"),
        ] {
            let error = Document::parse(source).expect_err(source).to_string();
            assert!(error.contains(told), "{source}: {error}");
        }
    }
}
