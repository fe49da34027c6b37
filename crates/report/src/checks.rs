//! Checks: `assert <expression>` or `assert <expression>, "what it means"`, one a line; `#` begins a comment.

use crate::expression::{Expression, Scope, Undefined, parse_with_message};

/// One assertion and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The cell it stands in.
    pub cell: String,
    /// Its line in the file.
    pub line: usize,
    /// As it is written, without `assert`.
    pub text: String,
    /// What its author says it means.
    pub message: Option<String>,
    /// See there.
    pub verdict: Verdict,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds; the values that were compared.
    Holds(String),
    /// It does not.
    Fails(String),
    /// It cannot be computed: why.
    Unknown(String),
}

/// The checks of a cell, whose opening line is at `line`.
pub(crate) fn run(cell: &str, body: &str, line: usize, scope: Scope<'_>) -> Vec<Check> {
    statements(body)
        .into_iter()
        .map(|(offset, text)| {
            let (text, message, verdict) = judge(&text, scope);
            Check { cell: cell.to_owned(), line: line + 1 + offset, text, message, verdict }
        })
        .collect()
}

/// Lines with what continues them: a line that does not begin with `assert` belongs to the one before.
fn statements(body: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (number, line) in body.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let begins = line.strip_prefix("assert").is_some_and(|rest| rest.is_empty() || !rest.starts_with(is_of_word));
        match found.last_mut() {
            Some((_, before)) if !begins => {
                before.push(' ');
                before.push_str(line);
            }
            _ => found.push((number, line.to_owned())),
        }
    }
    found
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn judge(statement: &str, scope: Scope<'_>) -> (String, Option<String>, Verdict) {
    let Some(text) = statement.strip_prefix("assert") else {
        let told = "a check begins with assert, as in: assert p95 <= 1.05 * baseline".to_owned();
        return (statement.to_owned(), None, Verdict::Unknown(told));
    };
    let (expression, message) = match parse_with_message(text) {
        Ok(parsed) => parsed,
        Err(error) => return (text.trim().to_owned(), None, Verdict::Unknown(error)),
    };
    let verdict = match expression.value(scope) {
        Ok(crate::Value::Bool(true)) => Verdict::Holds(values(&expression, scope)),
        Ok(crate::Value::Bool(false)) => Verdict::Fails(values(&expression, scope)),
        Ok(other) => Verdict::Unknown(format!("{expression} is {}, where true or false is wanted", other.kind())),
        Err(Undefined::NotANumber(told)) => Verdict::Fails(told),
        Err(Undefined::Unknown(told)) => Verdict::Unknown(told),
    };
    (expression.to_string(), message, verdict)
}

/// What the two sides of each comparison came to.
fn values(expression: &Expression, scope: Scope<'_>) -> String {
    let mut told = Vec::new();
    sides(expression, scope, &mut told);
    told.join(", ")
}

fn sides(expression: &Expression, scope: Scope<'_>, told: &mut Vec<String>) {
    match expression {
        Expression::Both(operator, left, right) if operator.compares() => {
            for side in [left, right] {
                if let (false, Ok(value)) = (matches!(**side, Expression::Constant(_)), side.value(scope)) {
                    let text = format!("{side} = {value}");
                    if !told.contains(&text) {
                        told.push(text);
                    }
                }
            }
        }
        Expression::Both(_, left, right) => {
            sides(left, scope, told);
            sides(right, scope, told);
        }
        Expression::Not(of) => sides(of, scope, told),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::Value;

    #[test]
    fn checks_hold_fail_or_cannot_be_computed() {
        let parameters: IndexMap<String, Value> =
            [("p95".to_owned(), Value::Float(12.0)), ("baseline".to_owned(), Value::Float(10.0))].into();
        let scope = Scope { parameters: &parameters, cells: &IndexMap::new() };
        let body = "# the gate\nassert p95 <= 1.05 * baseline, \"slower than before\"\n\nassert p95 > 1\n  and p95 < 100\n\
                    assert p59 < 1\nassert p95\nassertp95 < 1\n";
        let found = run("gate", body, 10, scope);
        let of = |at: usize| (found[at].line, found[at].text.as_str(), found[at].verdict.clone());
        let fails = Verdict::Fails("p95 = 12, 1.05 * baseline = 10.5".to_owned());
        assert_eq!(of(0), (12, "p95 <= 1.05 * baseline", fails));
        assert_eq!(found[0].message.as_deref(), Some("slower than before"));
        assert_eq!(of(1), (14, "p95 > 1 and p95 < 100", Verdict::Holds("p95 = 12".to_owned())));
        assert!(matches!(of(2), (16, _, Verdict::Unknown(told)) if told.contains("did you mean p95")));
        assert!(matches!(of(3), (17, _, Verdict::Unknown(told)) if told.contains("one too many")));
        assert_eq!(found.len(), 4);
        let first = run("gate", "p95 < 1", 1, scope);
        assert!(matches!(&first[0].verdict, Verdict::Unknown(told) if told.contains("begins with assert")));
    }
}
