//! Values for the `$1`, `$name` or `?` of a statement.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Value as Token;

use crate::answer::plain;
use crate::{Error, Result};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

impl From<Value> for ScalarValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Boolean(Some(value)),
            Value::Int(value) => Self::Int64(Some(value)),
            Value::Float(value) => Self::Float64(Some(value)),
            Value::Text(value) => Self::Utf8(Some(value)),
        }
    }
}

/// Values of a statement's parameters.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Given);

#[derive(Debug, Clone, Default)]
enum Given {
    #[default]
    None,
    InOrder(Vec<ScalarValue>),
    ByName(HashMap<String, ScalarValue>),
}

impl Parameters {
    /// Values for `$1`, `$2` and so on.
    pub fn in_order(values: impl IntoIterator<Item = Value>) -> Self {
        let values: Vec<_> = values.into_iter().map(Into::into).collect();
        if values.is_empty() { Self::default() } else { Self(Given::InOrder(values)) }
    }

    /// Values for `$name`.
    pub fn by_name(values: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self(Given::ByName(values.into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    /// Values in one row of a batch, in the order of its columns; a column called `$name` or `name` may go by its name
    /// as well where no column is a number.
    pub fn of_row(batch: &RecordBatch, row: usize) -> Result<Self> {
        let values = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        Ok(if values.is_empty() { Self::default() } else { Self(Given::InOrder(values)) })
    }

    pub(crate) fn values(&self) -> Option<ParamValues> {
        match &self.0 {
            Given::None => None,
            Given::InOrder(values) => Some(values.clone().into()),
            Given::ByName(values) => Some(values.clone().into()),
        }
    }

    /// The value of the placeholder `name` (`$1`, `$name`) as it is written in SQL.
    pub(crate) fn token(&self, name: &str) -> Option<Token> {
        let name = name.strip_prefix('$')?;
        let value = match &self.0 {
            Given::None => None,
            Given::InOrder(values) => values.get(name.parse::<usize>().ok()?.checked_sub(1)?),
            Given::ByName(values) => values.get(name),
        }?;
        Some(match value {
            ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
                Token::SingleQuotedString(text.clone())
            }
            ScalarValue::Boolean(Some(value)) => Token::Boolean(*value),
            value if value.data_type().is_numeric() && !value.is_null() => Token::Number(value.to_string(), false),
            _ => return None,
        })
    }
}

impl TryFrom<ScalarValue> for Value {
    type Error = Error;

    fn try_from(value: ScalarValue) -> Result<Self> {
        Ok(match value {
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
                Self::Text(text)
            }
            ScalarValue::Int64(Some(number)) => Self::Int(number),
            ScalarValue::Float64(Some(number)) => Self::Float(number),
            ScalarValue::Boolean(Some(value)) => Self::Bool(value),
            other if other.is_null() => Self::Null,
            other => return Err(Error::Invalid(format!("{other} is neither a text nor a number"))),
        })
    }
}

/// The parameters of a plan as columns, in order.
pub(crate) fn schema(plan: &LogicalPlan) -> Result<SchemaRef> {
    let mut found: Vec<(String, Option<FieldRef>)> = plan.get_parameter_fields()?.into_iter().collect();
    found.sort_by_key(|(name, _)| (name.trim_start_matches('$').parse::<usize>().unwrap_or(usize::MAX), name.clone()));
    let fields = found.into_iter().map(|(name, field)| {
        let kind = field.map_or(DataType::Utf8, |field| plain(field.data_type()));
        Field::new(name, kind, true)
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}
