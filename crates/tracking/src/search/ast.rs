//! What a filter says, before any entity gives its names a meaning.
//!
//! `Display` writes a filter that parses to the same tree.

use std::fmt;

use super::error::Span;
use super::lex::{Quote, is_special};

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// All of two or more.
    And(Vec<Expr>),
    /// At least one of two or more.
    Or(Vec<Expr>),
    /// Not that.
    Not(Box<Expr>),
    /// One comparison.
    Test(Comparison),
}

/// `field test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What is compared.
    pub field: Field,
    /// How, and with what.
    pub test: Test,
    /// The whole comparison.
    pub span: Span,
}

/// Names joined by dots: `metrics.loss.min`, `` params.`batch size` ``, `status`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The names.
    pub parts: Vec<Name>,
    /// All of them.
    pub span: Span,
}

/// A name, perhaps in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Without the quotes.
    pub text: Box<str>,
    /// How it was quoted.
    pub quote: Option<Quote>,
}

/// The right side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `op value`
    Compare(Operator, Value),
    /// `[NOT] BETWEEN low AND high`, both included.
    Between {
        /// With `NOT`?
        negated: bool,
        /// Lower bound.
        low: Value,
        /// Upper bound.
        high: Value,
    },
    /// `[NOT] IN (…)`
    In {
        /// With `NOT`?
        negated: bool,
        /// What stands between the parentheses.
        values: Vec<Value>,
        /// Parentheses included.
        span: Span,
    },
    /// `IS [NOT] NULL`
    IsNull {
        /// With `NOT`?
        negated: bool,
    },
}

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What kind of value, without its quotes.
    pub literal: Literal,
    /// Quotes included.
    pub span: Span,
}

/// Kinds of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// Text in single or double quotes.
    Text(Name),
    /// A number with its sign.
    Number(Box<str>),
    /// Names without such quotes: `inf`, or a mistake.
    Bare(Field),
    /// A list where one value belongs, a mistake too: lists go with `IN`.
    List(Vec<Value>),
}

/// Comparison operators between a field and one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `[NOT] LIKE`
    Like {
        /// With `NOT`?
        negated: bool,
    },
    /// `[NOT] ILIKE`
    ILike {
        /// With `NOT`?
        negated: bool,
    },
    /// One that no field knows, such as `==` or `RLIKE`: refused when the field is known, naming those it has.
    Unknown(Box<str>),
}

impl Field {
    /// What stands before the first dot, if there is one: `metrics`.
    pub fn entity(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [entity, _, ..] => Some(&entity.text),
            _ => None,
        }
    }

    /// What stands after it, without quotes: `loss.min`.
    pub fn key(&self) -> String {
        joined_texts(self.keys())
    }

    /// The names of [`Self::key`].
    pub(crate) fn keys(&self) -> &[Name] {
        match self.parts.as_slice() {
            [_, keys @ ..] if !keys.is_empty() => keys,
            parts => parts,
        }
    }
}

/// Names joined by dots, without quotes.
pub(crate) fn joined_texts(names: &[Name]) -> String {
    names.iter().map(|name| &*name.text).collect::<Vec<_>>().join(".")
}

impl Operator {
    pub(crate) fn from_signs(signs: &str) -> Self {
        match signs {
            "=" => Self::Eq,
            "!=" => Self::Ne,
            "<" => Self::Lt,
            "<=" => Self::Le,
            ">" => Self::Gt,
            ">=" => Self::Ge,
            other => Self::Unknown(other.into()),
        }
    }

    /// As written, in upper case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Like { negated: false } => "LIKE",
            Self::Like { negated: true } => "NOT LIKE",
            Self::ILike { negated: false } => "ILIKE",
            Self::ILike { negated: true } => "NOT ILIKE",
            Self::Unknown(text) => text,
        }
    }
}

impl Test {
    /// The operator as written, in upper case.
    pub fn operator(&self) -> &str {
        match self {
            Self::Compare(operator, _) => operator.as_str(),
            Self::Between { negated: false, .. } => "BETWEEN",
            Self::Between { negated: true, .. } => "NOT BETWEEN",
            Self::In { negated: false, .. } => "IN",
            Self::In { negated: true, .. } => "NOT IN",
            Self::IsNull { negated: false } => "IS NULL",
            Self::IsNull { negated: true } => "IS NOT NULL",
        }
    }
}

impl Value {
    /// The number it is, if it is one.
    pub fn number(&self) -> Option<f64> {
        match &self.literal {
            Literal::Number(text) => text.parse().ok(),
            Literal::Bare(Field { parts, .. }) => match parts.as_slice() {
                [Name { text, quote: None }] if is_special(text) => text.parse().ok(),
                _ => None,
            },
            Literal::Text(_) | Literal::List(_) => None,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (joint, terms) = match self {
            Self::And(terms) => (" AND ", terms),
            Self::Or(terms) => (" OR ", terms),
            Self::Not(term) => return write!(f, "NOT {}", Term(term)),
            Self::Test(comparison) => return write!(f, "{comparison}"),
        };
        for (number, term) in terms.iter().enumerate() {
            let joint = if number == 0 { "" } else { joint };
            write!(f, "{joint}{}", Term(term))?;
        }
        Ok(())
    }
}

/// An expression as part of another one.
struct Term<'a>(&'a Expr);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::And(_) | Expr::Or(_) => write!(f, "({})", self.0),
            Expr::Not(_) | Expr::Test(_) => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.test.operator())?;
        match &self.test {
            Test::Compare(_, value) => write!(f, " {value}"),
            Test::Between { low, high, .. } => write!(f, " {low} AND {high}"),
            Test::In { values, .. } => write!(f, " ({})", joined(values, ", ")),
            Test::IsNull { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(&self.parts, "."))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quote {
            Some(quote) => f.write_str(&quote.wrap(&self.text)),
            None => f.write_str(&self.text),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.literal {
            Literal::Text(name) => write!(f, "{name}"),
            Literal::Number(text) => f.write_str(text),
            Literal::Bare(field) => write!(f, "{field}"),
            Literal::List(values) => write!(f, "({})", joined(values, ", ")),
        }
    }
}

fn joined(items: &[impl fmt::Display], by: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(by)
}
