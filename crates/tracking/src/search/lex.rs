//! Tokens of the filter language, with the bytes they stand at.
//!
//! A name after a dot may start with a digit (`params.2x`), so a dot that follows a name or a closing quote without a
//! gap belongs to the name, never to a number. A backslash is an ordinary character; a quote inside quotes is doubled.

use super::error::Span;

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters, digits, `_`, `$`, `#`: names and keywords.
    Word,
    /// Text between quotes of one kind.
    Quoted(Quote),
    /// A number, with its sign; also `-inf`.
    Number,
    /// A run of `< > = ~ !`.
    Operator,
    /// `.` within a name.
    Dot,
    Comma,
    Open,
    Close,
    Semicolon,
}

/// The quotes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// `'`
    Single,
    /// `"`
    Double,
    /// `` ` ``
    Backtick,
}

impl Quote {
    const fn from_char(c: char) -> Option<Self> {
        match c {
            '\'' => Some(Self::Single),
            '"' => Some(Self::Double),
            '`' => Some(Self::Backtick),
            _ => None,
        }
    }

    pub(crate) const fn as_char(self) -> char {
        match self {
            Self::Single => '\'',
            Self::Double => '"',
            Self::Backtick => '`',
        }
    }

    /// The text between the quotes of `quoted`.
    pub(crate) fn strip(self, quoted: &str) -> Box<str> {
        let quote = self.as_char();
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        inner.replace(&format!("{quote}{quote}"), &quote.to_string()).into()
    }

    /// `text` between quotes.
    pub(crate) fn wrap(self, text: &str) -> String {
        let quote = self.as_char();
        format!("{quote}{}{quote}", text.replace(quote, &format!("{quote}{quote}")))
    }
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// Text that is no token: where, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LexError {
    pub(crate) span: Span,
    pub(crate) why: &'static str,
}

pub(crate) fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#')
}

/// All tokens of `source`.
pub(crate) fn lex(source: &str) -> Result<Vec<Token>, LexError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let previous = tokens.last().filter(|token| token.span.end == at).map(|token| token.kind);
        let (kind, len) = next(&source[at..], previous)
            .map_err(|why| LexError { span: Span { start: at, end: source.len() }, why })?;
        tokens.push(Token { kind, span: Span { start: at, end: at + len } });
        at += len;
    }
    Ok(tokens)
}

/// Kind and bytes of the first token of `rest`; `previous` is the token that ends right before it.
fn next(rest: &str, previous: Option<Kind>) -> Result<(Kind, usize), &'static str> {
    let after_name = matches!(previous, Some(Kind::Word | Kind::Quoted(_)));
    let Some(first) = rest.chars().next() else { return Err("expected a token") };
    let one = |kind| Ok((kind, first.len_utf8()));
    match first {
        '(' => one(Kind::Open),
        ')' => one(Kind::Close),
        ',' => one(Kind::Comma),
        ';' => one(Kind::Semicolon),
        '.' if after_name => one(Kind::Dot),
        '<' | '>' | '=' | '~' | '!' => Ok((Kind::Operator, run_of(rest, |c| "<>=~!".contains(c)))),
        _ if let Some(quote) = Quote::from_char(first) => {
            let len = quoted(rest, quote).ok_or("this quote is never closed")?;
            Ok((Kind::Quoted(quote), len))
        }
        _ if previous == Some(Kind::Dot) && is_word_char(first) => Ok((Kind::Word, run_of(rest, is_word_char))),
        '+' | '-' | '.' | '0'..='9' => {
            let len = number(rest).ok_or("expected a number; quote keys that hold such characters with backticks")?;
            match rest[len..].chars().next() {
                Some(c) if is_word_char(c) || c == '.' => Err("a number can't go on like this"),
                _ => Ok((Kind::Number, len)),
            }
        }
        _ if is_word_char(first) => Ok((Kind::Word, run_of(rest, is_word_char))),
        _ => Err("unexpected character; quote keys that hold such characters with backticks"),
    }
}

fn run_of(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

/// Bytes of the quoted text `rest` starts with, quotes included.
fn quoted(rest: &str, quote: Quote) -> Option<usize> {
    let quote = quote.as_char();
    let mut at = 1;
    loop {
        at += rest[at..].find(quote)? + 1;
        if !rest[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// Bytes of the number `rest` starts with.
fn number(rest: &str) -> Option<usize> {
    let digits = |at: usize| run_of(&rest[at..], |c| c.is_ascii_digit());
    let sign = usize::from(rest.starts_with(['+', '-']));
    let word = run_of(&rest[sign..], char::is_alphabetic);
    if sign == 1 && is_special(&rest[1..=word]) {
        return Some(1 + word);
    }
    let whole = digits(sign);
    let mut at = sign + whole;
    let mut fraction = 0;
    if rest[at..].starts_with('.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if rest[at..].starts_with(['e', 'E']) {
        let exponent_sign = usize::from(rest[at + 1..].starts_with(['+', '-']));
        let exponent = digits(at + 1 + exponent_sign);
        if exponent > 0 {
            at += 1 + exponent_sign + exponent;
        }
    }
    Some(at)
}

/// Whether the word is one of the numbers that are written as words.
pub(crate) fn is_special(word: &str) -> bool {
    ["inf", "infinity", "nan"].iter().any(|special| word.eq_ignore_ascii_case(special))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> String {
        match lex(source) {
            Ok(tokens) => tokens
                .iter()
                .map(|token| format!("{:?}:{}", token.kind, token.span.of(source)))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => format!("error at {}: {}", error.span.start, error.why),
        }
    }

    #[test]
    fn tokens() {
        let check = |source: &str, expect: &str| assert_eq!(kinds(source), expect, "{source:?}");
        check("", "");
        check("a.b >= -1.5e-3", "Word:a Dot:. Word:b Operator:>= Number:-1.5e-3");
        check("a.1x.2", "Word:a Dot:. Word:1x Dot:. Word:2");
        check("a>.5", "Word:a Operator:> Number:.5");
        check("a=5.", "Word:a Operator:= Number:5.");
        check("a=+inf", "Word:a Operator:= Number:+inf");
        check("a=-NaN", "Word:a Operator:= Number:-NaN");
        check("a!='it''s'", "Word:a Operator:!= Quoted(Single):'it''s'");
        check("a.`b``c`.d", "Word:a Dot:. Quoted(Backtick):`b``c` Dot:. Word:d");
        check("(1,2);", "Open:( Number:1 Comma:, Number:2 Close:) Semicolon:;");
        check("größe_1$", "Word:größe_1$");
        check("1e5", "Number:1e5");
        check("1e", "error at 0: a number can't go on like this");
        check("5abc", "error at 0: a number can't go on like this");
        check("1.2.3", "error at 0: a number can't go on like this");
        check("a = 'x", "error at 4: this quote is never closed");
        check("a-b", "error at 1: expected a number; quote keys that hold such characters with backticks");
        check("a ? b", "error at 2: unexpected character; quote keys that hold such characters with backticks");
    }
}
