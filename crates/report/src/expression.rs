//! Expressions of checks and of `{{ }}` in the text: numbers, texts, parameters and values of cells.
//!
//! `best.loss` is the value of a column of a cell that has one row; `max(runs.loss)` reduces a column of any cell;
//! `rows(runs)` counts. A name by itself is a parameter, else the column of that name in the only cell of one row that has
//! one, else the only value of the cell of that name.

mod parse;

use indexmap::IndexMap;

use crate::Value;
use crate::answer::Answer;

pub(crate) use parse::{parse, parse_with_message};

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Constant(Value),
    /// A name, or cell and column.
    Name(Vec<String>),
    Call(String, Vec<Expression>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Both(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
    NotEqual,
    Plus,
    Minus,
    Times,
    By,
}

impl Operator {
    const fn sign(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::More => ">",
            Self::MoreOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::By => "/",
        }
    }

    pub(crate) const fn compares(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::More | Self::MoreOrEqual | Self::Equal | Self::NotEqual)
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undefined {
    /// It cannot be computed.
    Unknown(String),
    /// It compares with NaN, which no comparison holds for: a check fails.
    NotANumber(String),
}

type Found<T = Value> = Result<T, Undefined>;

fn unknown<T>(message: impl Into<String>) -> Found<T> {
    Err(Undefined::Unknown(message.into()))
}

/// What names stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) parameters: &'a IndexMap<String, Value>,
    /// By cell; what went wrong for those without an answer.
    pub(crate) cells: &'a IndexMap<String, Result<Answer, String>>,
}

impl Scope<'_> {
    fn cell(&self, name: &str) -> Found<&Answer> {
        match self.cells.get(name) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(_)) => unknown(format!("the cell {name} has no answer")),
            None => unknown(format!("there is no cell {name}{}", nearest(name, self.cells.keys()))),
        }
    }

    /// The place of a column of a cell.
    fn column(&self, cell: &str, column: &str) -> Found<(&Answer, usize)> {
        let answer = self.cell(cell)?;
        if let Some(place) = answer.column(column) {
            return Ok((answer, place));
        }
        let near = nearest(column, answer.columns.iter().map(|column| &column.name));
        unknown(format!("the cell {cell} has no column {column}{near}"))
    }

    fn name(&self, path: &[String]) -> Found {
        let [name] = path else {
            let (cell, column) = (&path[0], path[1..].join("."));
            let (answer, place) = self.column(cell, &column)?;
            return match answer.rows.len() {
                1 => Ok(answer.value(0, place)),
                rows => unknown(format!(
                    "{cell}.{column} is a column of {rows} rows, of which one would do: reduce it, as in max({cell}.{column})"
                )),
            };
        };
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone());
        }
        let with: Vec<(&String, Value)> = self
            .cells
            .iter()
            .filter_map(|(cell, answer)| Some((cell, answer.as_ref().ok().filter(|answer| answer.rows.len() == 1)?)))
            .filter_map(|(cell, answer)| Some((cell, answer.value(0, answer.column(name)?))))
            .collect();
        match with.as_slice() {
            [(_, value)] => return Ok(value.clone()),
            [] => {}
            many => {
                let many: Vec<String> = many.iter().map(|(cell, _)| format!("{cell}.{name}")).collect();
                return unknown(format!("{name} may be {}: write which", many.join(" or ")));
            }
        }
        match self.cells.get(name) {
            Some(Ok(answer)) if answer.rows.len() == 1 && answer.columns.len() == 1 => Ok(answer.value(0, 0)),
            Some(Ok(answer)) => unknown(format!(
                "the cell {name} is no single value: it has {} rows and the columns {}",
                answer.rows.len(),
                answer.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
            )),
            Some(Err(_)) => unknown(format!("the cell {name} has no answer")),
            None => {
                let columns =
                    self.cells.values().flatten().flat_map(|answer| &answer.columns).map(|column| &column.name);
                let known = self.parameters.keys().chain(self.cells.keys()).chain(columns);
                unknown(format!("nothing is called {name}{}", nearest(name, known)))
            }
        }
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let near = known.map(|other| (strsim::damerau_levenshtein(name, other), other)).min();
    match near {
        Some((distance, other)) if distance <= 1 + name.len() / 4 => format!("; did you mean {other}?"),
        _ => String::new(),
    }
}

impl Expression {
    pub(crate) fn value(&self, scope: Scope<'_>) -> Found {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Name(path) => scope.name(path),
            Self::Call(name, arguments) => call(name, arguments, scope),
            Self::Not(of) => Ok(Value::Bool(!truth(&of.value(scope)?)?)),
            Self::Negative(of) => Ok(Value::Float(-number(&of.value(scope)?, of)?)),
            Self::Both(Operator::And, left, right) => {
                Ok(Value::Bool(truth(&left.value(scope)?)? && truth(&right.value(scope)?)?))
            }
            Self::Both(Operator::Or, left, right) => {
                Ok(Value::Bool(truth(&left.value(scope)?)? || truth(&right.value(scope)?)?))
            }
            Self::Both(operator, left, right) if operator.compares() => compare(*operator, left, right, scope),
            Self::Both(operator, left, right) => {
                let (a, b) = (number(&left.value(scope)?, left)?, number(&right.value(scope)?, right)?);
                Ok(Value::Float(match operator {
                    Operator::Plus => a + b,
                    Operator::Minus => a - b,
                    Operator::Times => a * b,
                    _ => a / b,
                }))
            }
        }
    }
}

fn truth(value: &Value) -> Found<bool> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => unknown(format!("{other} is {}, where true or false is wanted", other.kind())),
    }
}

fn number(value: &Value, of: &Expression) -> Found<f64> {
    match value {
        Value::Null => unknown(format!("{of} has no value")),
        value => value.number().map_or_else(|| unknown(format!("{of} is {}, not a number", value.kind())), Ok),
    }
}

fn compare(operator: Operator, left: &Expression, right: &Expression, scope: Scope<'_>) -> Found {
    let (a, b) = (left.value(scope)?, right.value(scope)?);
    for (value, of) in [(&a, left), (&b, right)] {
        match value {
            Value::Null => return unknown(format!("{of} has no value")),
            Value::Float(number) if number.is_nan() => return Err(Undefined::NotANumber(format!("{of} is NaN"))),
            _ => {}
        }
    }
    let order = match (&a, &b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => a.number().zip(b.number()).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    let Some(order) = order else {
        return unknown(format!("{left} is {} and {right} is {}: they cannot be compared", a.kind(), b.kind()));
    };
    Ok(Value::Bool(match operator {
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::More => order.is_gt(),
        Operator::MoreOrEqual => order.is_ge(),
        Operator::NotEqual => order.is_ne(),
        _ => order.is_eq(),
    }))
}

/// What functions there are, for messages and the documentation's test.
pub(crate) const FUNCTIONS: &[&str] = &[
    "rows", "count", "min", "max", "sum", "avg", "median", "first", "last", "all", "any", "abs", "round", "is_null",
    "is_nan",
];

fn call(name: &str, arguments: &[Expression], scope: Scope<'_>) -> Found {
    if !FUNCTIONS.contains(&name) {
        return unknown(format!("there is no function {name}; there are {}", FUNCTIONS.join(", ")));
    }
    match (name, arguments) {
        ("rows", [Expression::Name(path)]) if path.len() == 1 => Ok(count(scope.cell(&path[0])?.rows.len())),
        ("rows", _) => unknown("rows takes the name of a cell, as in rows(runs)"),
        ("abs", [of]) => Ok(Value::Float(number(&of.value(scope)?, of)?.abs())),
        ("round", [of]) => Ok(Value::Float(number(&of.value(scope)?, of)?.round())),
        ("round", [of, digits]) => {
            let scale = 10_f64.powf(number(&digits.value(scope)?, digits)?);
            Ok(Value::Float((number(&of.value(scope)?, of)? * scale).round() / scale))
        }
        ("is_null", [of]) => Ok(Value::Bool(of.value(scope)? == Value::Null)),
        ("is_nan", [of]) => Ok(Value::Bool(number(&of.value(scope)?, of)?.is_nan())),
        ("abs" | "round" | "is_null" | "is_nan", _) => unknown(format!("{name} takes one value")),
        ("min" | "max", several) if several.len() > 1 => {
            let values: Found<Vec<Value>> = several.iter().map(|one| one.value(scope)).collect();
            reduce(name, &values?, &name)
        }
        (_, [of @ Expression::Name(path)]) if path.len() > 1 => {
            let (answer, place) = scope.column(&path[0], &path[1..].join("."))?;
            if answer.truncated {
                return unknown(format!(
                    "the answer of {} was cut, so {name} of it says nothing: raise its limit",
                    path[0]
                ));
            }
            let values: Vec<Value> = (0..answer.rows.len()).map(|row| answer.value(row, place)).collect();
            reduce(name, &values, of)
        }
        _ => unknown(format!("{name} takes a column of a cell, as in {name}(runs.loss)")),
    }
}

fn count(rows: usize) -> Value {
    Value::Int(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Values without nulls, as SQL's aggregates see them.
fn reduce(name: &str, values: &[Value], of: &dyn std::fmt::Display) -> Found {
    let given: Vec<&Value> = values.iter().filter(|value| **value != Value::Null).collect();
    if name == "count" {
        return Ok(count(given.len()));
    }
    if let "first" | "last" = name {
        let value = if name == "first" { values.first() } else { values.last() };
        return value.map_or_else(|| unknown(format!("{of} has no rows")), |value| Ok(value.clone()));
    }
    if let "all" | "any" = name {
        let truths: Vec<bool> = given.iter().map(|value| truth(value)).collect::<Found<_>>()?;
        let holds = if name == "all" { truths.iter().all(|one| *one) } else { truths.iter().any(|one| *one) };
        return Ok(Value::Bool(holds));
    }
    if given.is_empty() {
        return unknown(format!("{of} has no values"));
    }
    if let ("min" | "max", true) = (name, given.iter().all(|value| matches!(value, Value::Text(_)))) {
        let mut texts: Vec<String> = given.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        let text = if name == "min" { texts.first() } else { texts.last() };
        return Ok(text.map_or(Value::Null, |text| Value::Text(text.clone())));
    }
    let numbers: Option<Vec<f64>> = given.iter().map(|value| value.number()).collect();
    let Some(mut numbers) = numbers else { return unknown(format!("{of} are not all numbers")) };
    if numbers.iter().any(|number| number.is_nan()) {
        return Ok(Value::Float(f64::NAN));
    }
    numbers.sort_by(f64::total_cmp);
    let (sum, many) = (numbers.iter().sum::<f64>(), numbers.len());
    Ok(Value::Float(match name {
        "min" => numbers[0],
        "max" => numbers[many - 1],
        "sum" => sum,
        "avg" => sum / many as f64,
        _ => f64::midpoint(numbers[(many - 1) / 2], numbers[many / 2]),
    }))
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant(Value::Text(text)) => write!(f, "{text:?}"),
            Self::Constant(Value::Float(number)) => number.fmt(f),
            Self::Constant(Value::Int(number)) => number.fmt(f),
            Self::Constant(value) => value.fmt(f),
            Self::Name(path) => f.write_str(&path.join(".")),
            Self::Call(name, arguments) => {
                let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
                write!(f, "{name}({})", arguments.join(", "))
            }
            Self::Not(of) => write!(f, "not {of}"),
            Self::Negative(of) => write!(f, "-{of}"),
            Self::Both(operator, left, right) => write!(f, "{left} {} {right}", operator.sign()),
        }
    }
}

#[cfg(test)]
mod tests;
