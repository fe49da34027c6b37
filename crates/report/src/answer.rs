//! What a report asks of a lake, and what it gets.

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::Value;

/// A question of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// One statement.
    pub sql: String,
    /// The parameters it names, to be bound.
    pub parameters: IndexMap<String, Value>,
    /// Rows after which the answer ends.
    pub row_limit: u64,
}

/// Rows, as `POST /api/runlake/sql` gives them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Answer {
    /// What the columns are.
    pub columns: Vec<Column>,
    /// Values by row; NaN and infinities are the texts `NaN`, `Infinity`, `-Infinity`.
    pub rows: Vec<Vec<Json>>,
    /// Whether there are more rows than were asked for.
    #[serde(default)]
    pub truncated: bool,
    /// The position of the lake's log that it stands at, where that is known.
    #[serde(skip)]
    pub position: Option<u64>,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Column {
    /// Whether its values are numbers.
    pub(crate) fn is_number(&self) -> bool {
        self.is_float() || self.is_integer()
    }

    pub(crate) fn is_float(&self) -> bool {
        matches!(self.kind.as_str(), "DOUBLE" | "REAL") || self.kind.starts_with("Decimal")
    }

    pub(crate) fn is_integer(&self) -> bool {
        let kind = self.kind.strip_suffix(" UNSIGNED").unwrap_or(&self.kind);
        matches!(kind, "BIGINT" | "INTEGER" | "SMALLINT" | "TINYINT")
    }

    pub(crate) fn is_time(&self) -> bool {
        self.kind.starts_with("TIMESTAMP")
    }
}

impl Answer {
    /// The place of the column called `name`.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// A value as checks reckon with it.
    pub(crate) fn value(&self, row: usize, column: usize) -> Value {
        let Some(json) = self.rows.get(row).and_then(|row| row.get(column)) else { return Value::Null };
        let is_float = self.columns.get(column).is_some_and(Column::is_float);
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(number) if !is_float => Value::Int(number),
                _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) if is_float => match text.as_str() {
                "Infinity" => Value::Float(f64::INFINITY),
                "-Infinity" => Value::Float(f64::NEG_INFINITY),
                // Decimals come as texts.
                text => Value::Float(text.parse().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(_) | Json::Object(_) => Value::Text(json.to_string()),
        }
    }
}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// The question is wrong, or could not be computed: the others may well be.
    Refused(String),
    /// There is nobody to answer any.
    Away(String),
}

/// Who answers.
#[async_trait]
pub trait Asks: Send + Sync {
    /// Answers one question.
    async fn ask(&self, question: Question) -> Result<Answer, Unanswered>;
}
