//! The body of `POST /api/runlake/sql`.

use std::collections::HashMap;
use std::time::Duration;

use runlake_query::{Parameters, Request, Value, instant};
use runlake_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Result};

/// A statement, and how it is to be answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    sql: String,
    #[serde(default)]
    params: Option<Given>,
    #[serde(default)]
    as_of: Option<String>,
    #[serde(default)]
    row_limit: Option<u64>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

/// Values of parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Given {
    InOrder(Vec<Cell>),
    ByName(HashMap<String, Cell>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Bool(value) => Self::Bool(value),
            Cell::Int(value) => Self::Int(value),
            Cell::Float(value) => Self::Float(value),
            Cell::Text(value) => Self::Text(value),
        }
    }
}

/// The request in a body.
pub(crate) fn sql_request(body: &[u8]) -> Result<Request> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        ApiError::invalid(format!(
            "Invalid body: {error}. It is a JSON object with 'sql' and, if need be, 'params' (a list, or an object by \
             name, of texts, numbers and booleans), 'as_of', 'row_limit' and 'timeout_ms'."
        ))
    })?;
    Ok(Request {
        sql: body.sql,
        parameters: parameters(body.params),
        as_of: body.as_of.as_deref().map(as_of).transpose()?,
        row_limit: body.row_limit,
        time_limit: body.timeout_ms.map(Duration::from_millis),
        dictionaries: false,
    })
}

/// Parameters of a query.
pub(super) fn parameters(given: Option<Given>) -> Parameters {
    match given {
        None => Parameters::default(),
        Some(Given::InOrder(cells)) => Parameters::in_order(cells.into_iter().map(Value::from)),
        Some(Given::ByName(cells)) => {
            Parameters::by_name(cells.into_iter().map(|(name, cell)| (name, Value::from(cell))))
        }
    }
}

pub(super) fn as_of(text: &str) -> Result<Timestamp> {
    instant(text).ok_or_else(|| {
        ApiError::invalid(format!(
            "Invalid value {text:?} for 'as_of': it must be a UTC time such as 2026-05-03T12:00:00Z."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_and_wrong_ones_refused() {
        let request = sql_request(br#"{"sql": "SELECT $1", "params": [1, null], "row_limit": 5, "timeout_ms": 10}"#);
        let request = request.expect("a request");
        assert_eq!((request.sql.as_str(), request.row_limit), ("SELECT $1", Some(5)));
        assert_eq!(request.time_limit, Some(Duration::from_millis(10)));
        for wrong in [
            &b""[..],
            b"SELECT 1",
            br#"{"query": "SELECT 1"}"#,
            br#"{"sql": 1}"#,
            br#"{"sql": "SELECT 1", "params": [[1]]}"#,
            br#"{"sql": "SELECT 1", "row_limit": -1}"#,
            br#"{"sql": "SELECT 1", "as_of": "yesterday"}"#,
        ] {
            sql_request(wrong).expect_err(&String::from_utf8_lossy(wrong));
        }
    }
}
