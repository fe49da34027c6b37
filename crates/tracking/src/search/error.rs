//! Where in a query something is wrong, and how that is shown.

use std::fmt;
use std::ops::Range;

use runlake_types::ErrorKind;

/// Characters shown on either side of the place that is wrong.
const EXCERPT_CHARS: usize = 40;

/// Bytes of a filter or sort clause, from `start` up to `end`.
///
/// All spans are equal: two clauses are the same if they say the same, wherever they stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One after the last byte.
    pub end: usize,
}

impl Span {
    pub(crate) fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    pub(crate) fn of(self, source: &str) -> &str {
        source.get(Range::from(self)).unwrap_or_default()
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Span {}

/// A filter, sort clause or page token that is wrong. The message starts with MLflow's wording, as far as clients are
/// known to look for it, then names the position and shows the place with a caret line below it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", Shown(.place.as_ref()))]
pub struct SearchError {
    message: String,
    place: Option<Place>,
}

impl SearchError {
    /// About the query as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }

    /// About `span` of `source`.
    pub fn at(source: &str, span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), place: Some(Place::of(source, span)) }
    }

    /// With words in front.
    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        self.message.insert_str(0, prefix);
        self
    }

    /// Always the caller's mistake.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    /// What is wrong, without the excerpt.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is wrong: the first character, counted from 1. `None` when it is about the whole.
    pub fn position(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.position)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    position: usize,
    excerpt: String,
    /// Characters of the excerpt before the caret, and carets.
    carets: Range<usize>,
}

impl Place {
    fn of(source: &str, span: Span) -> Self {
        let before: Vec<char> = source.get(..span.start).unwrap_or_default().chars().collect();
        let marked: Vec<char> = span.of(source).chars().take(EXCERPT_CHARS).collect();
        let after: Vec<char> = source.get(span.start..).unwrap_or_default().chars().skip(marked.len()).collect();
        let mut excerpt = String::new();
        if before.len() > EXCERPT_CHARS {
            excerpt.push('…');
        }
        excerpt.extend(before.iter().skip(before.len().saturating_sub(EXCERPT_CHARS)));
        let start = excerpt.chars().count();
        excerpt.extend(&marked);
        excerpt.extend(after.iter().take(EXCERPT_CHARS));
        if after.len() > EXCERPT_CHARS {
            excerpt.push('…');
        }
        Self {
            position: before.len() + 1,
            excerpt: excerpt.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            carets: start..start + marked.len().max(1),
        }
    }
}

struct Shown<'a>(Option<&'a Place>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = self.0 else { return Ok(()) };
        let (indent, carets) = (place.carets.start, "^".repeat(place.carets.len()));
        write!(f, " (at position {})\n  {}\n  {:indent$}{carets}", place.position, place.excerpt, "")
    }
}

/// The start of `text`, short enough to repeat in a message.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
