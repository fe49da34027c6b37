//! YAML as a tree that remembers where everything stood.
//!
//! MLflow's files are made for `PyYAML`, which reads YAML 1.1: `yes` is true, `010` is eight and `1e-3` a text. What a plain
//! value means there, and how Python writes it, is [`Node::python_text`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Result of this crate.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is far longer than such files are.
    #[error("{file} is too long for such a file; at most {MOST_BYTES} bytes are read")]
    TooLong {
        /// The file.
        file: String,
    },
    /// The system does not let us.
    #[error("cannot read {file}: {problem}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        problem: String,
    },
    /// At a line and column that count from one.
    #[error("{file}, line {line}, column {column}: {problem}")]
    At {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
}

#[cfg(test)]
mod tests;

/// A file longer than this is none that people wrote.
const MOST_BYTES: usize = 1 << 20;
/// Aliases may repeat what they name: a file may not grow without end, neither in values nor in their texts.
const MOST_WEIGHT: usize = 100_000;
/// So many bytes of a text weigh as much as another value.
const BYTES_PER_WEIGHT: usize = 40;
const MOST_DEPTH: usize = 64;

/// A value, and where it begins.
#[derive(Debug, Clone)]
pub struct Node {
    pub line: usize,
    pub column: usize,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    /// A text as it was written; `is_plain` if without quotes.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; of a key that stands twice the last one counts.
    Map(Vec<(Node, Node)>),
}

/// The text of a file that can be parsed. What is too long is not read to its end.
pub fn text(path: &Path) -> Result<String> {
    let file = path.display().to_string();
    let unreadable = |error: std::io::Error| Error::Unreadable { file: file.clone(), problem: error.to_string() };
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(unreadable)?;
    if opened.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)? > MOST_BYTES {
        return Err(Error::TooLong { file });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = good.rsplit('\n').next().unwrap_or_default();
        Error::At {
            file,
            line: good.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            problem: "what follows is not UTF-8; save the file in that encoding".to_owned(),
        }
    })
}

/// Reads the only document of a file; `file` is what errors call it.
pub fn parse(file: &str, text: &str) -> Result<Node> {
    if text.len() > MOST_BYTES {
        return Err(Error::TooLong { file: file.to_owned() });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Builder { file, anchors: HashMap::new(), open: Vec::new(), root: None, weight: 0 }.build(text)
}

const TOO_MUCH: &str = "there is too much in this file";
const TOO_DEEP: &str = "this is nested too deeply";

struct Builder<'a> {
    file: &'a str,
    anchors: HashMap<usize, Node>,
    open: Vec<Open>,
    root: Option<Node>,
    weight: usize,
}

/// A list or map whose end has not come.
struct Open {
    node: Node,
    anchor: usize,
    /// A map's key that waits for its value.
    key: Option<Node>,
}

impl Builder<'_> {
    fn build(mut self, text: &str) -> Result<Node> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let mark = error.marker();
                self.error(mark.line(), mark.col() + 1, error.info())
            })?;
            self.take(event, span)?;
        }
        self.root.take().ok_or_else(|| self.error(1, 1, "the file is empty"))
    }

    fn error(&self, line: usize, column: usize, problem: &str) -> Error {
        Error::At { file: self.file.to_owned(), line, column, problem: problem.to_owned() }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let node = |value| Node { line, column, value };
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(self.error(line, column, "a second document begins here; one is expected"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                // `!!str 1` is a text whatever it looks like.
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                self.finish(node(Value::Scalar { text: text.into_owned(), is_plain }), anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.begin(node(Value::List(Vec::new())), anchor)?,
            Event::MappingStart(anchor, _) => self.begin(node(Value::Map(Vec::new())), anchor)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let ended = self.open.pop().expect("the parser ends only what it began");
                self.finish(ended.node, ended.anchor)?;
            }
            Event::Alias(anchor) => {
                let Some(named) = self.anchors.get(&anchor) else {
                    return Err(self.error(line, column, "this alias names nothing that ended before it"));
                };
                let (weight, depth) = measure(named);
                if self.weight + weight > MOST_WEIGHT {
                    return Err(self.error(line, column, TOO_MUCH));
                }
                if self.open.len() + depth > MOST_DEPTH {
                    return Err(self.error(line, column, TOO_DEEP));
                }
                let named = named.clone();
                self.weight += weight;
                self.put(named, 0);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result {
        if self.open.len() >= MOST_DEPTH {
            return Err(self.error(node.line, node.column, TOO_DEEP));
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result {
        self.weight += weight(&node);
        if self.weight > MOST_WEIGHT {
            return Err(self.error(node.line, node.column, TOO_MUCH));
        }
        self.put(node, anchor);
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut parent.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match parent.key.take() {
                None => parent.key = Some(node),
                Some(key) if key.is_text("<<") => entries.splice(0..0, node.into_entries()).for_each(drop),
                Some(key) => entries.push((key, node)),
            },
            Value::Scalar { .. } => unreachable!("only lists and maps are open"),
        }
    }
}

/// What a value adds to its file, without what is in it.
fn weight(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { text, .. } => 1 + text.len() / BYTES_PER_WEIGHT,
        Value::List(_) | Value::Map(_) => 1,
    }
}

/// What a value adds with all that is in it, and how many lists and maps are in one another there.
fn measure(node: &Node) -> (usize, usize) {
    let add = |(sum, most): (usize, usize), (weight, depth): (usize, usize)| (sum + weight, most.max(depth));
    let (inner, depth) = match &node.value {
        Value::Scalar { .. } => return (weight(node), 0),
        Value::List(items) => items.iter().map(measure).fold((0, 0), add),
        Value::Map(entries) => entries.iter().flat_map(|(key, value)| [measure(key), measure(value)]).fold((0, 0), add),
    };
    (weight(node) + inner, depth + 1)
}

impl Node {
    pub fn error(&self, file: &str, problem: impl Into<String>) -> Error {
        Error::At { file: file.to_owned(), line: self.line, column: self.column, problem: problem.into() }
    }

    fn is_text(&self, wanted: &str) -> bool {
        matches!(&self.value, Value::Scalar { text, .. } if text == wanted)
    }

    fn into_entries(self) -> Vec<(Node, Node)> {
        match self.value {
            Value::Map(entries) => entries,
            Value::List(maps) => maps.into_iter().rev().flat_map(Node::into_entries).collect(),
            Value::Scalar { .. } => Vec::new(),
        }
    }

    /// The value of a map's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().rev().find(|(name, _)| name.is_text(key)).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The entries of a map; an empty value has none.
    pub fn entries(&self, file: &str, what: &str) -> Result<&[(Node, Node)]> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            _ if self.is_null() => Ok(&[]),
            _ => Err(self.error(file, format!("{what} is to be a map (`key: value` lines), and is {}", self.kind()))),
        }
    }

    /// The items of a list; an empty value has none.
    pub fn items(&self, file: &str, what: &str) -> Result<&[Node]> {
        match &self.value {
            Value::List(items) => Ok(items),
            _ if self.is_null() => Ok(&[]),
            _ => Err(self.error(file, format!("{what} is to be a list (`- item` lines), and is {}", self.kind()))),
        }
    }

    /// A text, or anything that Python can write as one.
    pub fn text(&self, file: &str, what: &str) -> Result<String> {
        match self.python_text() {
            Some(text) => Ok(text),
            None => Err(self.error(file, format!("{what} is to be a text, and is {}", self.kind()))),
        }
    }

    /// A text as it was written, such as `3.10`, which as a number would lose its zero.
    pub fn verbatim(&self, file: &str, what: &str) -> Result<String> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Ok(text.clone()),
            _ => Err(self.error(file, format!("{what} is to be a text, and is {}", self.kind()))),
        }
    }

    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, is_plain: true } => matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        }
    }

    fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "empty",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// What Python's `str` makes of a single value that `PyYAML` has read; `None` for null, lists and maps.
    pub fn python_text(&self) -> Option<String> {
        match &self.value {
            _ if self.is_null() => None,
            Value::Scalar { text, is_plain: true } => Some(plain(text)),
            Value::Scalar { text, .. } => Some(text.clone()),
            _ => None,
        }
    }

    /// What Python's `repr` makes of it, and so `str` of a list or map.
    pub fn python_repr(&self) -> String {
        let all = |items: Vec<String>| items.join(", ");
        match &self.value {
            _ if self.is_null() => "None".to_owned(),
            Value::List(items) => format!("[{}]", all(items.iter().map(Node::python_repr).collect())),
            Value::Map(entries) => {
                let entry = |(key, value): &(Node, Node)| format!("{}: {}", key.python_repr(), value.python_repr());
                format!("{{{}}}", all(entries.iter().map(entry).collect()))
            }
            Value::Scalar { text, is_plain: true } if is_typed(text) => plain(text),
            Value::Scalar { text, .. } => quoted(text),
        }
    }

    /// As JSON, by the same reading.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => Json::Object(
                entries.iter().map(|(key, value)| (key.python_text().unwrap_or_default(), value.to_json())).collect(),
            ),
            Value::Scalar { .. } if self.is_null() => Json::Null,
            Value::Scalar { text, is_plain: false } => Json::String(text.clone()),
            Value::Scalar { text, .. } => match boolean(text) {
                Some(truth) => Json::Bool(truth),
                None => match (integer(text).and_then(|number| i64::try_from(number).ok()), float(text)) {
                    (Some(number), _) => Json::from(number),
                    (None, Some(number)) => Json::from(number),
                    (None, None) => Json::String(text.clone()),
                },
            },
        }
    }
}

fn plain(text: &str) -> String {
    if let Some(truth) = boolean(text) {
        return if truth { "True".to_owned() } else { "False".to_owned() };
    }
    if let Some(number) = integer(text) {
        return number.to_string();
    }
    float(text).map_or_else(|| text.to_owned(), python_float)
}

/// Whether a plain value is anything but a text.
fn is_typed(text: &str) -> bool {
    boolean(text).is_some() || integer(text).is_some() || float(text).is_some()
}

/// A text as Python's `repr` quotes it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.extend(["\\x".to_owned(), format!("{:02x}", u32::from(c))]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// An integer of YAML 1.1: binary, octal, decimal, hexadecimal or base sixty.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let radix = |digits: &str, radix: u32| {
        let digits = digits.replace('_', "");
        let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        is_number.then(|| i128::from_str_radix(&digits, radix).ok()).flatten()
    };
    let value = if let Some(rest) = digits.strip_prefix("0b") {
        radix(rest, 2)?
    } else if let Some(rest) = digits.strip_prefix("0x") {
        radix(rest, 16)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        radix(digits, 8)?
    } else if let Some((first, rest)) = digits.split_once(':') {
        sixties(radix(first, 10)?, rest)?
    } else {
        radix(digits, 10)?
    };
    Some(sign * value)
}

/// `30:15` behind a first part: each is below sixty.
fn sixties(first: i128, rest: &str) -> Option<i128> {
    rest.split(':').try_fold(first, |sum, part| {
        let is_part = (1..=2).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
        let number = part.parse::<i128>().ok().filter(|number| is_part && *number < 60)?;
        sum.checked_mul(60)?.checked_add(number)
    })
}

/// A float of YAML 1.1: with a point, and an exponent only with its sign.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if text == unsigned => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    if let Some((first, rest)) = whole.split_once(':') {
        let is_number = first.starts_with(|c: char| c.is_ascii_digit()) && exponent.is_none();
        let first = is_number.then(|| first.replace('_', "").parse().ok()).flatten()?;
        let whole = sixties(first, rest)? as f64;
        return format!("0.{}", fraction.replace('_', "")).parse::<f64>().ok().map(|part| sign * (whole + part));
    }
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '_');
    let has_digit = whole.starts_with(|c: char| c.is_ascii_digit())
        || (whole.is_empty() && text == unsigned && fraction.starts_with(|c: char| c.is_ascii_digit()));
    let is_signed = |text: &str| {
        text.strip_prefix(['-', '+']).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
    };
    if !has_digit || !digits(whole) || !digits(fraction) || !exponent.is_none_or(is_signed) {
        return None;
    }
    unsigned.replace('_', "").parse::<f64>().ok().map(|number| sign * number)
}

/// A float as Python writes it: the shortest digits, scientific below 1e-4 and from 1e16 on.
#[allow(clippy::missing_panics_doc, reason = "it never panics: Rust writes exponents as it says it does")]
pub fn python_float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent when asked to");
    let exponent: i32 = exponent.parse().expect("Rust writes whole exponents");
    if (-4..16).contains(&exponent) {
        format!("{number:?}")
    } else {
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}

/// Writes a value in block style; texts stand in double quotes where they could be read as something else.
pub fn write(out: &mut String, value: &serde_json::Value, indent: usize) {
    use serde_json::Value as Json;
    let pad = "  ".repeat(indent);
    match value {
        Json::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _in_memory = write!(out, "{pad}{}:", scalar(key));
                write_value(out, value, indent);
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                let _in_memory = write!(out, "{pad}-");
                write_value(out, item, indent);
            }
        }
        other => {
            let _in_memory = writeln!(out, "{pad}{other}");
        }
    }
}

fn write_value(out: &mut String, value: &serde_json::Value, indent: usize) {
    use serde_json::Value as Json;
    let is_block = match value {
        Json::Object(entries) => !entries.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        write(out, value, indent + 1);
    } else if let Json::String(text) = value {
        let _in_memory = write!(out, " {}\n", scalar(text));
    } else {
        let _in_memory = write!(out, " {value}\n");
    }
}

/// A text that only a text can be is written as it is; JSON's quotes are YAML's too.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
        && boolean(text).is_none()
        && !matches!(text, "null" | "Null" | "NULL");
    if is_word { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
