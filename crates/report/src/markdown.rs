//! A report as Markdown, with its charts as files beside it.

use std::fmt::Write as _;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};

use crate::answer::Answer;
use crate::build::{Built, EMPTY, Outcome};
use crate::checks::{Check, Verdict};
use crate::document::{Cell, MARKDOWN};
use crate::html::{cut, is_hidden, themed, told};
use crate::weave::{CELL, Inset, Woven};

/// Markdown, and the files it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Charts as SVG, by name.
    pub pictures: Vec<(String, String)>,
}

impl Built<'_> {
    /// As Markdown that shows pictures from `folder`, with that `extension` (they are SVG; the caller may make others of them).
    pub fn markdown(&self, folder: &str, extension: &str) -> Written {
        let woven = self.woven();
        let mut text = String::new();
        let begins_with_heading = woven.text.trim_start().starts_with("# ");
        if !begins_with_heading {
            let _ = writeln!(text, "# {}\n", escape(&self.title(None)));
        }
        let Places { cells, code } = places(&woven);
        let mut at = 0;
        for (number, range) in &cells {
            push_text(&mut text, &woven, at..range.start, &code);
            if let Some((cell, outcome)) = self.cells().nth(*number) {
                push_cell(&mut text, cell, outcome, folder, extension);
            }
            at = range.end;
        }
        push_text(&mut text, &woven, at..woven.text.len(), &code);
        text.truncate(text.trim_end().len());
        text.push_str("\n\n---\n\n");
        let facts: Vec<String> =
            self.facts().iter().map(|(term, value)| format!("{}: {}", escape(term), escape(value))).collect();
        let _ = writeln!(text, "{}", facts.join(" · "));
        let pictures = self.cells().filter_map(|(cell, outcome)| match outcome {
            Outcome::Chart(picture, _) => Some((cell.name.clone(), themed(picture))),
            _ => None,
        });
        Written { text, pictures: pictures.collect() }
    }
}

/// Where cells stand, by number, and where code does, in which marks are what they were written as.
#[derive(Default)]
struct Places {
    cells: Vec<(usize, Range<usize>)>,
    code: Vec<Range<usize>>,
}

fn places(woven: &Woven) -> Places {
    let Places { mut cells, mut code } = Places::default();
    for (event, range) in Parser::new_ext(&woven.text, MARKDOWN).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if info.starts_with(CELL) => {
                cells.extend(info[CELL.len_utf8()..].parse().ok().map(|number: usize| (number, range)));
            }
            Event::Start(Tag::CodeBlock(_)) | Event::Code(_) => code.push(range),
            _ => {}
        }
    }
    Places { cells, code }
}

/// The text of `range` with values in the place of their marks.
fn push_text(out: &mut String, woven: &Woven, range: Range<usize>, code: &[Range<usize>]) {
    for part in woven.parts(&woven.text[range]) {
        match part {
            Ok(plain) => out.push_str(plain),
            Err(inset) => out.push_str(&inset_text(inset, code.iter().any(|range| range.contains(&inset.at)))),
        }
    }
}

fn inset_text(inset: &Inset, is_code: bool) -> String {
    match (&inset.value, is_code) {
        (_, true) => inset.source.clone(),
        (Ok(value), false) => escape(value),
        (Err(message), false) => format!("**{}: {}**", escape(&inset.source), escape(message)),
    }
}

/// Text that Markdown shows as it is, in one line.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '!' | '&' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn push_cell(out: &mut String, cell: &Cell, outcome: &Outcome, folder: &str, extension: &str) {
    if is_hidden(cell, outcome) {
        return;
    }
    if let Some(caption) = cell.attributes.get("caption") {
        let _ = writeln!(out, "**{}**\n", escape(caption));
    }
    match outcome {
        Outcome::Table(answer) => table(out, cell, answer),
        Outcome::Chart(_, alternative) => {
            let _ = writeln!(out, "![{}](<{folder}/{}.{extension}>)", escape(alternative), cell.name);
        }
        Outcome::Checks(checks) => checklist(out, checks),
        Outcome::Note(text) => {
            let _ = writeln!(out, "*{}*", escape(text));
        }
        Outcome::Fault(message) => {
            let _ = writeln!(out, "> **The cell {} could not be computed.** {}", escape(&cell.name), escape(message));
        }
    }
    if cell.attributes.has("source") {
        let _ = writeln!(out, "\n```sql\n{}\n```", cell.body.trim_end());
    }
}

fn table(out: &mut String, cell: &Cell, answer: &Answer) {
    if answer.rows.is_empty() {
        let text = if cell.attributes.has("empty") { "No rows." } else { EMPTY };
        let _ = writeln!(out, "*{}: {}*", escape(&cell.name), escape(text));
        return;
    }
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let _ = writeln!(out, "{}", line(answer.columns.iter().map(|column| escape(&column.name)).collect()));
    let rule = |number: bool| if number { "---:".to_owned() } else { "---".to_owned() };
    let _ = writeln!(out, "{}", line(answer.columns.iter().map(|column| rule(column.is_number())).collect()));
    let (rows, note) = cut(cell, answer);
    for row in 0..rows {
        let cells = (0..answer.columns.len())
            .map(|place| told(cell, answer, row, place).map_or_else(|| "–".to_owned(), |text| escape(&text)));
        let _ = writeln!(out, "{}", line(cells.collect()));
    }
    if let Some(note) = note {
        let _ = writeln!(out, "\n*{}*", escape(&note));
    }
}

fn checklist(out: &mut String, checks: &[Check]) {
    for check in checks {
        let (word, values) = match &check.verdict {
            Verdict::Holds(values) => ("holds", values),
            Verdict::Fails(values) => ("FAILS", values),
            Verdict::Unknown(why) => ("not computed", why),
        };
        let _ = write!(out, "* **{word}** {}", escape(&check.text));
        if let Some(message) = &check.message {
            let _ = write!(out, " – {}", escape(message));
        }
        if !values.is_empty() {
            let _ = write!(out, " ({})", escape(values));
        }
        out.push('\n');
    }
}
