//! From text to tree, by recursive descent.
//!
//! ```text
//! filter     = or
//! or         = and { OR and }
//! and        = not { AND not }
//! not        = NOT not | "(" or ")" | comparison
//! comparison = field ( sign value | [NOT] LIKE value | [NOT] ILIKE value
//!                    | [NOT] BETWEEN value AND value | [NOT] IN "(" value { "," value } ")" | IS [NOT] NULL )
//! field      = name { "." name }         name = word | `…` | "…" | '…' (quoted with ' only after a dot)
//! value      = '…' | "…" | number
//! ```
//!
//! Keywords may be in any case. Length, nesting and the number of comparisons are bounded, so no
//! filter can exhaust the stack or the searcher.

use super::ast::{Comparison, Expr, Field, Literal, Name, Operator, Test, Value};
use super::error::{SearchError, Span, shortened};
use super::lex::{Kind, LexError, Quote, Token, lex};

/// Bytes of a filter. Generous, as lists of run ids grow long.
pub const MAX_FILTER_BYTES: usize = 1 << 20;
/// Parentheses and `NOT`s around one comparison.
pub const MAX_DEPTH: usize = 100;
/// Comparisons of one filter: each is a test of every run searched.
pub const MAX_COMPARISONS: usize = 1000;

/// The tree of a filter; `None` when there is nothing but white space.
pub fn parse(source: &str) -> Result<Option<Expr>, SearchError> {
    if source.len() > MAX_FILTER_BYTES {
        return Err(SearchError::new(format!(
            "Invalid filter: it is {} bytes long, at most {MAX_FILTER_BYTES} are accepted. Split the search.",
            source.len()
        )));
    }
    let mut parser = Parser::new(source).map_err(|LexError { span, why }| unclear(source, span, why))?;
    if parser.peek().is_none() {
        return Ok(None);
    }
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(Some(expr)),
        Some(token) => Err(parser.trailing(token)),
    }
}

/// A sort clause: a field, and the words after it.
pub fn parse_order(source: &str) -> Result<(Field, Option<bool>), SearchError> {
    let unclear = |span| {
        SearchError::at(source, span, format!("Invalid order_by clause '{}'. Could not be parsed.", shortened(source)))
    };
    let mut parser = Parser::new(source).map_err(|error| unclear(error.span))?;
    let Some(field) = parser.field(Place::Left) else { return Err(unclear(parser.here())) };
    let direction = parser.peek();
    let ascending = match direction.map(|token| (token.kind, token.span.of(source))) {
        None => return Ok((field, None)),
        Some((Kind::Word, word)) if word.eq_ignore_ascii_case("asc") => Some(true),
        Some((Kind::Word, word)) if word.eq_ignore_ascii_case("desc") => Some(false),
        Some((Kind::Word, _)) => None,
        Some(_) => return Err(unclear(parser.here())),
    };
    let direction = parser.here();
    parser.at += 1;
    match (parser.peek(), ascending) {
        (Some(more), _) => Err(unclear(more.span)),
        (None, Some(_)) => Ok((field, ascending)),
        (None, None) => Err(SearchError::at(
            source,
            direction,
            format!("Invalid ordering key in order_by clause '{}'. Use ASC or DESC.", shortened(source)),
        )),
    }
}

/// What is no clause. MLflow's words for it, then what was expected.
fn unclear(source: &str, span: Span, why: &str) -> SearchError {
    let text = shortened(span.of(source));
    SearchError::at(source, span, format!("Invalid clause(s) in filter string: '{text}': {why}."))
}

/// Which side of an operator a name stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Left,
    Right,
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    comparisons: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Result<Self, LexError> {
        Ok(Self { source, tokens: lex(source)?, at: 0, depth: 0, comparisons: 0 })
    }

    fn or(&mut self) -> Result<Expr, SearchError> {
        self.chain("OR", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Expr, SearchError> {
        self.chain("AND", Self::not, Expr::And)
    }

    /// One or more terms with a keyword between them.
    fn chain(
        &mut self,
        keyword: &str,
        term: fn(&mut Self) -> Result<Expr, SearchError>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, SearchError> {
        let first = term(self)?;
        if !self.is_keyword(keyword) {
            return Ok(first);
        }
        let mut terms = vec![first];
        while self.take_keyword(keyword) {
            terms.push(term(self)?);
        }
        Ok(join(terms))
    }

    fn not(&mut self) -> Result<Expr, SearchError> {
        let nested = if self.take_keyword("NOT") {
            Self::negation
        } else if self.take(Kind::Open).is_some() {
            Self::group
        } else {
            return self.comparison().map(Expr::Test);
        };
        if self.depth == MAX_DEPTH {
            let why = format!("parentheses and NOT are nested more than {MAX_DEPTH} deep");
            return Err(self.unclear_from(self.before(), &why));
        }
        self.depth += 1;
        let expr = nested(self)?;
        self.depth -= 1;
        Ok(expr)
    }

    fn negation(&mut self) -> Result<Expr, SearchError> {
        Ok(Expr::Not(Box::new(self.not()?)))
    }

    fn group(&mut self) -> Result<Expr, SearchError> {
        let open = self.before();
        let expr = self.or()?;
        match self.take(Kind::Close) {
            Some(_) => Ok(expr),
            None if self.peek().is_none() => Err(self.unclear_from(open, "this parenthesis is never closed")),
            None => Err(self.unclear("expected AND, OR or a closing parenthesis")),
        }
    }

    fn comparison(&mut self) -> Result<Comparison, SearchError> {
        if ["AND", "OR"].iter().any(|keyword| self.is_keyword(keyword)) {
            return Err(self.unclear("expected a comparison before it"));
        }
        let Some(field) = self.field(Place::Left) else {
            return Err(match self.peek() {
                Some(token) if matches!(token.kind, Kind::Number | Kind::Quoted(_)) => SearchError::at(
                    self.source,
                    token.span,
                    format!(
                        "Invalid comparison clause. Expected 'Identifier' found '{}'",
                        shortened(token.span.of(self.source))
                    ),
                ),
                Some(_) => self.unclear("expected a comparison such as metrics.loss < 0.1"),
                None => self.unclear("expected a comparison at the end, such as metrics.loss < 0.1"),
            });
        };
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            let why = format!("a filter has at most {MAX_COMPARISONS} comparisons; lists of values go with IN");
            return Err(self.unclear_from(field.span, &why));
        }
        let test = self.test(&field)?;
        let span = field.span.to(self.before());
        Ok(Comparison { field, test, span })
    }

    fn test(&mut self, field: &Field) -> Result<Test, SearchError> {
        if let Some(signs) = self.take(Kind::Operator) {
            let operator = Operator::from_signs(signs.span.of(self.source));
            return Ok(Test::Compare(operator, self.value()?));
        }
        if self.take_keyword("IS") {
            let negated = self.take_keyword("NOT");
            if !self.take_keyword("NULL") {
                return Err(self.unclear("expected NULL or NOT NULL after IS"));
            }
            return Ok(Test::IsNull { negated });
        }
        let negated = self.take_keyword("NOT");
        if self.take_keyword("IN") {
            let (values, span) = self.list()?;
            return Ok(Test::In { negated, values, span });
        }
        if self.take_keyword("BETWEEN") {
            let low = self.value()?;
            if !self.take_keyword("AND") {
                return Err(self.unclear("expected AND and the upper bound of BETWEEN"));
            }
            return Ok(Test::Between { negated, low, high: self.value()? });
        }
        let operator = if self.take_keyword("LIKE") {
            Operator::Like { negated }
        } else if self.take_keyword("ILIKE") {
            Operator::ILike { negated }
        } else if !negated && self.take_keyword("RLIKE") {
            Operator::Unknown("RLIKE".into())
        } else if negated {
            return Err(self.unclear("expected IN, LIKE, ILIKE or BETWEEN after NOT"));
        } else {
            let why = format!("expected an operator after {}", shortened(field.span.of(self.source)));
            return Err(self.unclear(&why));
        };
        Ok(Test::Compare(operator, self.value()?))
    }

    fn value(&mut self) -> Result<Value, SearchError> {
        if self.peek().is_some_and(|token| token.kind == Kind::Open) {
            let (values, span) = self.list()?;
            return Ok(Value { literal: Literal::List(values), span });
        }
        self.literal().ok_or_else(|| self.unclear("expected a value: a number, or text in quotes"))
    }

    fn literal(&mut self) -> Option<Value> {
        let token = self.peek()?;
        let text = token.span.of(self.source);
        let literal = match token.kind {
            Kind::Number => Literal::Number(text.into()),
            Kind::Quoted(quote @ (Quote::Single | Quote::Double)) => {
                Literal::Text(Name { text: quote.strip(text), quote: Some(quote) })
            }
            _ if ["AND", "OR", "NOT"].iter().any(|keyword| self.is_keyword(keyword)) => return None,
            _ => {
                let field = self.field(Place::Right)?;
                let span = field.span;
                return Some(Value { literal: Literal::Bare(field), span });
            }
        };
        self.at += 1;
        Some(Value { literal, span: token.span })
    }

    /// What follows `IN`.
    fn list(&mut self) -> Result<(Vec<Value>, Span), SearchError> {
        let Some(open) = self.take(Kind::Open) else { return Err(self.unclear("expected a list in parentheses")) };
        let mut values = Vec::new();
        loop {
            if let Some(close) = self.take(Kind::Close) {
                return Ok((values, open.span.to(close.span)));
            }
            match self.literal() {
                Some(value) => values.push(value),
                None => return Err(self.ill_formed(open)),
            }
            if self.take(Kind::Comma).is_none() && self.peek().is_none_or(|token| token.kind != Kind::Close) {
                return Err(self.ill_formed(open));
            }
        }
    }

    fn ill_formed(&self, open: Token) -> SearchError {
        if !self.tokens[self.at..].iter().any(|token| token.kind == Kind::Close) {
            return self.unclear_from(open.span, "this list is never closed");
        }
        SearchError::at(
            self.source,
            self.here(),
            "While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.",
        )
    }

    /// Names joined by dots; takes nothing if there is none here.
    fn field(&mut self, place: Place) -> Option<Field> {
        let mut parts = Vec::new();
        let first = self.peek()?;
        if matches!(first.kind, Kind::Quoted(quote) if quote == Quote::Single || place == Place::Right && quote == Quote::Double)
        {
            return None;
        }
        let start = self.at;
        loop {
            let Some(name) = self.name() else {
                self.at = start;
                return None;
            };
            parts.push(name);
            if self.take(Kind::Dot).is_none() {
                return Some(Field { parts, span: first.span.to(self.before()) });
            }
        }
    }

    fn name(&mut self) -> Option<Name> {
        let token = self.peek()?;
        let text = token.span.of(self.source);
        let name = match token.kind {
            Kind::Word => Name { text: text.into(), quote: None },
            Kind::Quoted(quote) => Name { text: quote.strip(text), quote: Some(quote) },
            _ => return None,
        };
        self.at += 1;
        Some(name)
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self, kind: Kind) -> Option<Token> {
        let token = self.peek().filter(|token| token.kind == kind)?;
        self.at += 1;
        Some(token)
    }

    /// A word is no keyword if a dot makes it part of a field.
    fn is_keyword(&self, keyword: &str) -> bool {
        let dotted = self.tokens.get(self.at + 1).is_some_and(|token| token.kind == Kind::Dot);
        !dotted
            && self.peek().is_some_and(|token| {
                token.kind == Kind::Word && token.span.of(self.source).eq_ignore_ascii_case(keyword)
            })
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.is_keyword(keyword);
        self.at += usize::from(found);
        found
    }

    /// Where the next token is, or the end.
    fn here(&self) -> Span {
        let end = Span { start: self.source.len(), end: self.source.len() };
        self.peek().map_or(end, |token| token.span)
    }

    /// Where the token before is.
    fn before(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map(|token| token.span).unwrap_or_default()
    }

    fn unclear(&self, why: &str) -> SearchError {
        self.unclear_from(self.here(), why)
    }

    fn unclear_from(&self, span: Span, why: &str) -> SearchError {
        unclear(self.source, span, why)
    }

    /// A whole filter, and then more.
    fn trailing(&self, token: Token) -> SearchError {
        match token.kind {
            Kind::Semicolon if self.at + 1 < self.tokens.len() => SearchError::at(
                self.source,
                token.span,
                format!(
                    "Search filter contained multiple expression '{}'. Provide AND-ed expression list.",
                    shortened(self.source)
                ),
            ),
            Kind::Semicolon => self.unclear("leave it out"),
            Kind::Close => self.unclear("this parenthesis was never opened"),
            _ => self.unclear("expected AND, OR or the end"),
        }
    }
}

#[cfg(test)]
mod tests;
