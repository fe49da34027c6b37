//! What the entities share: from a parsed test to a typed one, its evaluation, and conditions made of them.
//!
//! A missing value makes a test unknown (`None`), and neither an unknown test nor its negation holds: SQL's logic.

use runlake_engine::search::{LikePattern, NumberOp};

use super::ast::{Comparison, Expr, Literal, Operator, Test, Value};
use super::error::{SearchError, Span, shortened};

/// Tests joined by AND, OR and NOT.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition<T> {
    All(Vec<Condition<T>>),
    Any(Vec<Condition<T>>),
    Not(Box<Condition<T>>),
    Test(T),
}

impl<T> Condition<T> {
    /// Gives every comparison of `expr` its meaning.
    pub fn lower(
        expr: &Expr,
        test: &mut dyn FnMut(&Comparison) -> Result<Self, SearchError>,
    ) -> Result<Self, SearchError> {
        match expr {
            Expr::And(terms) => {
                Ok(Self::All(terms.iter().map(|term| Self::lower(term, test)).collect::<Result<_, _>>()?))
            }
            Expr::Or(terms) => {
                Ok(Self::Any(terms.iter().map(|term| Self::lower(term, test)).collect::<Result<_, _>>()?))
            }
            Expr::Not(term) => Ok(Self::Not(Box::new(Self::lower(term, test)?))),
            Expr::Test(comparison) => test(comparison),
        }
    }

    /// A test, or its negation.
    pub fn test(negated: bool, test: T) -> Self {
        if negated { Self::Not(Box::new(Self::Test(test))) } else { Self::Test(test) }
    }

    /// Whether it holds, given what each test says.
    pub fn evaluate(&self, test: &impl Fn(&T) -> Option<bool>) -> Option<bool> {
        match self {
            Self::All(terms) => decide(terms.iter().map(|term| term.evaluate(test)), false),
            Self::Any(terms) => decide(terms.iter().map(|term| term.evaluate(test)), true),
            Self::Not(term) => term.evaluate(test).map(|holds| !holds),
            Self::Test(one) => test(one),
        }
    }

    /// Whether some test is such a one.
    pub fn any(&self, such: &impl Fn(&T) -> bool) -> bool {
        match self {
            Self::All(terms) | Self::Any(terms) => terms.iter().any(|term| term.any(such)),
            Self::Not(term) => term.any(such),
            Self::Test(one) => such(one),
        }
    }
}

/// `decisive` as soon as one term says so; else unknown if one is unknown; else the opposite.
fn decide(mut terms: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut unknown = false;
    let decided = terms.any(|term| {
        unknown |= term.is_none();
        term == Some(decisive)
    });
    if decided {
        Some(decisive)
    } else if unknown {
        None
    } else {
        Some(!decisive)
    }
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum TextTest {
    Eq(Box<str>),
    Ne(Box<str>),
    Like(LikePattern),
    In(Vec<Box<str>>),
    IsNull,
}

impl TextTest {
    pub fn evaluate(&self, text: Option<&str>) -> Option<bool> {
        if matches!(self, Self::IsNull) {
            return Some(text.is_none());
        }
        let text = text?;
        Some(match self {
            Self::Eq(value) => text == &**value,
            Self::Ne(value) => text != &**value,
            Self::Like(pattern) => pattern.matches(text),
            Self::In(values) => values.iter().any(|value| text == &**value),
            Self::IsNull => false,
        })
    }
}

/// A test of a number. NaN differs from every number, itself too, and is neither smaller nor greater.
#[derive(Debug, Clone, PartialEq)]
pub enum NumberTest {
    Compare(NumberOp, f64),
    Between(f64, f64),
    IsNull,
}

impl NumberTest {
    pub fn evaluate(&self, number: Option<f64>) -> Option<bool> {
        if matches!(self, Self::IsNull) {
            return Some(number.is_none());
        }
        let number = number?;
        Some(match *self {
            Self::Compare(op, value) => compare(number, op, value),
            Self::Between(low, high) => low <= number && number <= high,
            Self::IsNull => false,
        })
    }
}

#[allow(clippy::float_cmp, reason = "= and != of the filter language are exact")]
fn compare(number: f64, op: NumberOp, value: f64) -> bool {
    match op {
        NumberOp::Eq => number == value,
        NumberOp::Ne => number != value,
        NumberOp::Lt => number < value,
        NumberOp::Le => number <= value,
        NumberOp::Gt => number > value,
        NumberOp::Ge => number >= value,
    }
}

/// A test with what its `NOT` said: `NOT LIKE`, `NOT IN`, `IS NOT NULL`.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed<T> {
    pub negated: bool,
    pub test: T,
}

/// `LIKE` and `ILIKE` patterns stay text where the engine matches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOperator {
    Eq,
    Ne,
    Like,
    ILike,
}

/// A test of a text, patterns as written.
#[derive(Debug, Clone, PartialEq)]
pub enum WrittenText {
    Compare(TextOperator, Box<str>),
    In(Vec<Box<str>>),
    IsNull,
}

impl From<WrittenText> for TextTest {
    fn from(written: WrittenText) -> Self {
        match written {
            WrittenText::Compare(TextOperator::Eq, value) => Self::Eq(value),
            WrittenText::Compare(TextOperator::Ne, value) => Self::Ne(value),
            WrittenText::Compare(TextOperator::Like, value) => Self::Like(LikePattern::new(&value, false)),
            WrittenText::Compare(TextOperator::ILike, value) => Self::Like(LikePattern::new(&value, true)),
            WrittenText::In(values) => Self::In(values),
            WrittenText::IsNull => Self::IsNull,
        }
    }
}

/// How an entity words its refusals. Each takes the offending text.
#[allow(missing_debug_implementations, reason = "it holds closures")]
pub struct Wording<'a> {
    /// The value is of the wrong kind.
    pub value: &'a dyn Fn(&str) -> String,
    /// The operator isn't one of the field's.
    pub operator: &'a dyn Fn(&str) -> String,
    /// Whether the field takes lists.
    pub lists: Lists<'a>,
    /// `IS NULL` is not for this field; `None` where it is.
    pub null: Option<&'a dyn Fn(&str) -> String>,
    /// Whether text may go without quotes.
    pub bare_text: bool,
    /// Which of two mistakes to tell: the operator's, or the value's.
    pub operator_first: bool,
}

/// What a field says to `IN`.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it holds a closure")]
pub enum Lists<'a> {
    /// Takes a list; what is wrong in one is told as a bad list.
    Taken,
    /// Takes a list, which MLflow doesn't; what is wrong in one is told as a bad value, as MLflow tells of any list.
    Extra,
    /// Takes none.
    Refused(&'a dyn Fn(&str) -> String),
}

/// A comparison in its filter.
#[derive(Debug, Clone, Copy)]
pub struct Clause<'a> {
    /// The filter.
    pub source: &'a str,
    /// The comparison.
    pub comparison: &'a Comparison,
}

impl Clause<'_> {
    /// A refusal that points at the field.
    pub fn bad_field(&self, message: impl Into<String>) -> SearchError {
        SearchError::at(self.source, self.comparison.field.span, message)
    }

    /// A refusal that points at the whole comparison.
    pub fn bad(&self, message: impl Into<String>) -> SearchError {
        SearchError::at(self.source, self.comparison.span, message)
    }

    fn bad_text(&self, span: Span, wording: &dyn Fn(&str) -> String) -> SearchError {
        SearchError::at(self.source, span, wording(&shortened(span.of(self.source))))
    }

    /// The test as one of numbers.
    pub fn number_test(&self, wording: &Wording<'_>) -> Result<Signed<NumberTest>, SearchError> {
        let number = |value: &Value| value.number().ok_or_else(|| self.bad_text(value.span, wording.value));
        let refused = || self.bad((wording.operator)(self.comparison.test.operator()));
        match &self.comparison.test {
            Test::Compare(op, value) => {
                let op = number_op(op).ok_or_else(refused);
                let (op, value) = in_order(wording.operator_first, op, || number(value))?;
                Ok(Signed { negated: false, test: NumberTest::Compare(op, value) })
            }
            Test::Between { negated, low, high } => {
                Ok(Signed { negated: *negated, test: NumberTest::Between(number(low)?, number(high)?) })
            }
            Test::In { .. } if wording.operator_first => Err(refused()),
            Test::In { span, .. } => Err(self.bad_text(*span, wording.value)),
            Test::IsNull { negated } => self.null_test(*negated, wording, NumberTest::IsNull),
        }
    }

    /// The test as one of text.
    pub fn text_test(&self, wording: &Wording<'_>) -> Result<Signed<WrittenText>, SearchError> {
        let refused = || self.bad((wording.operator)(self.comparison.test.operator()));
        match &self.comparison.test {
            Test::Compare(op, value) => {
                let op = text_op(op).ok_or_else(&refused);
                let ((negated, op), value) = in_order(wording.operator_first, op, || self.text(value, wording))?;
                Ok(Signed { negated, test: WrittenText::Compare(op, value) })
            }
            Test::Between { .. } => Err(refused()),
            Test::In { negated, values, span } => {
                Ok(Signed { negated: *negated, test: WrittenText::In(self.texts(values, *span, wording)?) })
            }
            Test::IsNull { negated } => self.null_test(*negated, wording, WrittenText::IsNull),
        }
    }

    fn null_test<T>(&self, negated: bool, wording: &Wording<'_>, test: T) -> Result<Signed<T>, SearchError> {
        match wording.null {
            Some(no_null) => Err(self.bad(no_null(self.comparison.test.operator()))),
            None => Ok(Signed { negated, test }),
        }
    }

    fn text(&self, value: &Value, wording: &Wording<'_>) -> Result<Box<str>, SearchError> {
        match &value.literal {
            Literal::Text(name) => Ok(name.text.clone()),
            Literal::Number(_) | Literal::Bare(_) if wording.bare_text => Ok(value.span.of(self.source).into()),
            Literal::Number(_) => Err(self.bad_text(value.span, wording.value)),
            Literal::List(values) => Err(self.misplaced_list(values, value.span, wording)),
            Literal::Bare(_) => Err(self.bad_text(value.span, &|text| {
                format!(
                    "Parameter value is either not quoted or unidentified quote types used for string value {text}. \
                     Use either single or double quotes."
                )
            })),
        }
    }

    /// A list after an operator that takes one value.
    fn misplaced_list(&self, values: &[Value], span: Span, wording: &Wording<'_>) -> SearchError {
        match self.texts(values, span, wording) {
            Err(error) => error,
            Ok(_) if !matches!(&self.comparison.test, Test::Compare(op, _) if text_op(op).is_some()) => {
                self.bad((wording.operator)(self.comparison.test.operator()))
            }
            Ok(_) => self.bad_text(span, &|text| format!("{}. A list needs IN", (wording.value)(text))),
        }
    }

    fn texts(&self, values: &[Value], span: Span, wording: &Wording<'_>) -> Result<Vec<Box<str>>, SearchError> {
        const START: &str = "While parsing a list in the query, expected";
        let quoted = |value: &Value| matches!(value.literal, Literal::Text(_));
        match wording.lists {
            Lists::Refused(no_list) => return Err(self.bad_text(span, no_list)),
            Lists::Extra if values.is_empty() || !values.iter().all(quoted) => {
                return Err(self.bad_text(span, wording.value));
            }
            Lists::Extra | Lists::Taken => {}
        }
        if values.is_empty() {
            let message = format!("{START} a non-empty list of string values, but got empty list");
            return Err(SearchError::at(self.source, span, message));
        }
        let texts = values.iter().map(|value| match &value.literal {
            Literal::Text(name) => Ok(name.text.clone()),
            Literal::Number(_) | Literal::Bare(_) | Literal::List(_) => Err(SearchError::at(
                self.source,
                value.span,
                format!(
                    "{START} string value, punctuation, or whitespace, but got different type in list: {}",
                    shortened(span.of(self.source))
                ),
            )),
        });
        texts.collect()
    }
}

/// Both, or the error of the one that comes first.
fn in_order<O, V>(
    operator_first: bool,
    operator: Result<O, SearchError>,
    value: impl FnOnce() -> Result<V, SearchError>,
) -> Result<(O, V), SearchError> {
    if operator_first {
        let operator = operator?;
        return Ok((operator, value()?));
    }
    let value = value()?;
    Ok((operator?, value))
}

const fn number_op(op: &Operator) -> Option<NumberOp> {
    match op {
        Operator::Eq => Some(NumberOp::Eq),
        Operator::Ne => Some(NumberOp::Ne),
        Operator::Lt => Some(NumberOp::Lt),
        Operator::Le => Some(NumberOp::Le),
        Operator::Gt => Some(NumberOp::Gt),
        Operator::Ge => Some(NumberOp::Ge),
        Operator::Like { .. } | Operator::ILike { .. } | Operator::Unknown(_) => None,
    }
}

const fn text_op(op: &Operator) -> Option<(bool, TextOperator)> {
    match op {
        Operator::Eq => Some((false, TextOperator::Eq)),
        Operator::Ne => Some((false, TextOperator::Ne)),
        Operator::Like { negated } => Some((*negated, TextOperator::Like)),
        Operator::ILike { negated } => Some((*negated, TextOperator::ILike)),
        _ => None,
    }
}

/// Names as MLflow prints a list of them.
pub fn listed(names: &[&str]) -> String {
    format!("['{}']", names.join("', '"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_neither_true_nor_false() {
        let (yes, no, unknown) = (Some(true), Some(false), None);
        let check = |terms: &[Option<bool>], all: Option<bool>, any: Option<bool>| {
            assert_eq!(decide(terms.iter().copied(), false), all, "AND of {terms:?}");
            assert_eq!(decide(terms.iter().copied(), true), any, "OR of {terms:?}");
        };
        check(&[], yes, no);
        check(&[yes, yes], yes, yes);
        check(&[yes, no], no, yes);
        check(&[yes, unknown], unknown, yes);
        check(&[no, unknown], no, unknown);
        check(&[unknown, no], no, unknown);
        check(&[unknown, unknown], unknown, unknown);
    }

    #[test]
    fn nan_differs_from_everything() {
        let check = |op, expect| assert_eq!(NumberTest::Compare(op, 0.0).evaluate(Some(f64::NAN)), Some(expect));
        check(NumberOp::Ne, true);
        for op in [NumberOp::Eq, NumberOp::Lt, NumberOp::Le, NumberOp::Gt, NumberOp::Ge] {
            check(op, false);
        }
        assert_eq!(NumberTest::Compare(NumberOp::Ne, 0.0).evaluate(None), None);
        assert_eq!(NumberTest::IsNull.evaluate(None), Some(true));
    }
}
