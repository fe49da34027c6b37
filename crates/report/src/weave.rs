//! The text of a report with marks in it: where a cell stands, and where the value of a `{{ expression }}` belongs. Values
//! come in after Markdown was understood, so that nothing in them is taken for Markdown.

use std::fmt::Write as _;

use crate::build::{Built, Fault};
use crate::expression::{Undefined, parse};

/// Begins and ends the mark of a value, and begins that of a cell: characters for private use, which no report holds.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';
pub(crate) const CELL: char = '\u{e002}';

/// A value in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inset {
    /// As it is written, with its braces.
    pub(crate) source: String,
    pub(crate) value: Result<String, String>,
    /// Where its mark begins.
    pub(crate) at: usize,
    line: usize,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Woven {
    pub(crate) text: String,
    pub(crate) insets: Vec<Inset>,
}

impl Built<'_> {
    pub(crate) fn woven(&self) -> Woven {
        let document = &self.report.document;
        let mut woven = Woven { text: String::new(), insets: Vec::new() };
        let mut from = 0;
        for (number, cell) in document.cells.iter().enumerate() {
            self.weave(&document.text[from..cell.range.start], from, &mut woven);
            let _ = write!(woven.text, "```{CELL}{number}\n```");
            if document.text[cell.range.clone()].ends_with('\n') {
                woven.text.push('\n');
            }
            from = cell.range.end;
        }
        self.weave(&document.text[from..], from, &mut woven);
        woven
    }

    /// `text`, which stands at `offset`, with its expressions marked.
    fn weave(&self, text: &str, offset: usize, woven: &mut Woven) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inner, behind)) = after.split_once("}}").filter(|(inner, _)| !inner.contains('\n')) else {
                push_plain(&mut woven.text, before);
                woven.text.push_str("{{");
                rest = after;
                continue;
            };
            push_plain(&mut woven.text, before);
            let at = offset + text.len() - rest.len() + before.len();
            let line = self.report.document.text.get(..at).map_or(0, |text| text.matches('\n').count())
                + self.report.document.first_line;
            let begins = woven.text.len();
            let _ = write!(woven.text, "{OPEN}{}{CLOSE}", woven.insets.len());
            woven.insets.push(Inset { source: format!("{{{{{inner}}}}}"), value: self.inset(inner), at: begins, line });
            rest = behind;
        }
        push_plain(&mut woven.text, rest);
    }

    fn inset(&self, text: &str) -> Result<String, String> {
        match parse(text)?.value(self.scope()) {
            Ok(value) => Ok(value.to_string()),
            Err(Undefined::Unknown(message) | Undefined::NotANumber(message)) => Err(message),
        }
    }

    /// A text of the front matter with its expressions replaced.
    pub(crate) fn filled(&self, text: &str) -> String {
        let mut woven = Woven { text: String::new(), insets: Vec::new() };
        self.weave(text, 0, &mut woven);
        woven
            .parts(&woven.text)
            .map(|part| part.unwrap_or_else(|inset| inset.value.as_deref().unwrap_or("?")))
            .collect()
    }
}

/// Without characters that would be taken for marks.
fn push_plain(out: &mut String, text: &str) {
    out.extend(text.chars().filter(|c| ![OPEN, CLOSE, CELL].contains(c)));
}

impl Woven {
    /// Pieces of `text`: plain ones, and marks.
    pub(crate) fn parts<'a, 't>(&'a self, text: &'t str) -> impl Iterator<Item = Result<&'t str, &'a Inset>> {
        text.split(OPEN).enumerate().flat_map(|(number, piece)| {
            let marked = if number == 0 { None } else { piece.split_once(CLOSE) };
            let inset = marked.and_then(|(number, _)| self.insets.get(number.parse::<usize>().ok()?));
            let plain = marked.map_or(piece, |(_, plain)| plain);
            inset.map(Err).into_iter().chain((!plain.is_empty()).then_some(Ok(plain)))
        })
    }

    /// As it was written: for code.
    pub(crate) fn source(&self, text: &str) -> String {
        self.parts(text).map(|part| part.unwrap_or_else(|inset| &inset.source)).collect()
    }

    /// For addresses: values cannot add parts to them.
    pub(crate) fn address(&self, text: &str) -> String {
        let mut out = String::new();
        for part in self.parts(text) {
            match part {
                Ok(plain) => out.push_str(plain),
                Err(inset) => {
                    for byte in inset.value.as_deref().unwrap_or_default().bytes() {
                        match byte {
                            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                                out.push(byte.into());
                            }
                            byte => {
                                let _ = write!(out, "%{byte:02X}");
                            }
                        }
                    }
                }
            }
        }
        out
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        let of = |inset: &Inset| {
            let message = format!("{}: {}", inset.source, inset.value.as_ref().err()?);
            Some(Fault { cell: String::new(), line: inset.line, message })
        };
        self.insets.iter().filter_map(of).collect()
    }
}
