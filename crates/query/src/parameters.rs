//! Values for the `$1`, `$name` or `?` of a statement.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Value as Token;

use crate::answer::plain;
use crate::format::type_name;
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters(Given);

#[derive(Debug, Clone, Default, PartialEq)]
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

    /// Values in one row of a batch: by the number of their column, and by its name.
    pub fn of_row(batch: &RecordBatch, row: usize) -> Result<Self> {
        if batch.num_columns() == 0 {
            return Ok(Self::default());
        }
        let mut values = HashMap::with_capacity(2 * batch.num_columns());
        // Numbers last: a column called "0" is not the parameter $0.
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let name = field.name().trim_start_matches('$');
            values.insert(name.to_owned(), ScalarValue::try_from_array(column, row)?);
        }
        for (index, column) in batch.columns().iter().enumerate() {
            values.insert((index + 1).to_string(), ScalarValue::try_from_array(column, row)?);
        }
        Ok(Self(Given::ByName(values)))
    }

    /// That columns of values fit the parameters of a statement, which [`Described`](crate::Described) told.
    pub fn check(expected: &Schema, given: &Schema) -> Result<()> {
        let (asked, there) = (expected.fields().len(), given.fields().len());
        if asked != there {
            return Err(Error::Invalid(format!("the statement has {asked} parameters, and {there} were given")));
        }
        for (place, field) in expected.fields().iter().enumerate() {
            let name = field.name().trim_start_matches('$');
            let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
            let found = if is_number {
                // Names of columns do not count here: clients number them as they please.
                given.field(
                    name.parse::<usize>().ok().and_then(|number| number.checked_sub(1)).unwrap_or(place).min(there - 1),
                )
            } else {
                let found = given.fields().iter().find(|given| given.name().trim_start_matches('$') == name);
                found.ok_or_else(|| Error::Invalid(format!("there is no value for the parameter ${name}")))?
            };
            if !field.metadata().contains_key(GUESS) && !Family::of(field.data_type()).takes(found.data_type()) {
                return Err(Error::Invalid(format!(
                    "the parameter ${name} takes {}, and was given {}",
                    type_name(field.data_type()),
                    type_name(found.data_type())
                )));
            }
        }
        Ok(())
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

/// Types between which values are cast without a loss that would surprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Number,
    Text,
    Bool,
    Time,
    Other,
}

impl Family {
    fn of(kind: &DataType) -> Self {
        match kind {
            DataType::Dictionary(_, value) => Self::of(value),
            kind if kind.is_numeric() => Self::Number,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Boolean => Self::Bool,
            kind if kind.is_temporal() => Self::Time,
            _ => Self::Other,
        }
    }

    fn takes(self, given: &DataType) -> bool {
        let given = match given {
            DataType::Null => return true,
            given => Self::of(given),
        };
        // Times are written as texts, too.
        given == self || self == Self::Other || (self == Self::Time && given == Self::Text)
    }
}

/// Metadata of a parameter whose type the statement does not tell.
const GUESS: &str = "runlake.guess";

fn parameter(name: &str, kind: Option<DataType>) -> Field {
    match kind {
        Some(kind) => Field::new(name, kind, true),
        None => {
            let guess = HashMap::from([(GUESS.to_owned(), "true".to_owned())]);
            Field::new(name, DataType::Utf8, true).with_metadata(guess)
        }
    }
}

/// Parameters of which nothing but their names is known.
pub(crate) fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| parameter(name, None)).collect::<Vec<_>>()))
}

/// The parameters of a plan as columns, in order.
pub(crate) fn schema(plan: &LogicalPlan) -> Result<SchemaRef> {
    let mut found: Vec<(String, Option<FieldRef>)> = plan.get_parameter_fields()?.into_iter().collect();
    found.sort_by_key(|(name, _)| (name.trim_start_matches('$').parse::<usize>().unwrap_or(usize::MAX), name.clone()));
    let fields = found.into_iter().map(|(name, field)| parameter(&name, field.map(|field| plain(field.data_type()))));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn values_fit_by_place_or_by_name_and_by_family() {
        let numbered = schema(&[("$1", DataType::Int64), ("$2", DataType::Utf8)]);
        let named = schema(&[("$key", DataType::Utf8), ("$step", DataType::Int64)]);
        let time = schema(&[("$1", DataType::Timestamp(TimeUnit::Microsecond, None))]);
        let boolean = schema(&[("$1", DataType::Boolean)]);
        for (expected, given, outcome) in [
            (&numbered, schema(&[("0", DataType::Int32), ("1", DataType::LargeUtf8)]), Ok(())),
            (&numbered, schema(&[("0", DataType::Float64), ("1", DataType::Null)]), Ok(())),
            (&numbered, schema(&[("2", DataType::Utf8), ("1", DataType::Int64)]), Err("$1 takes BIGINT")),
            (&numbered, schema(&[("0", DataType::Int64)]), Err("has 2 parameters, and 1 were given")),
            (&numbered, schema(&[]), Err("and 0 were given")),
            (&named, schema(&[("step", DataType::Int64), ("key", DataType::Utf8)]), Ok(())),
            (
                &named,
                schema(&[("step", DataType::Utf8), ("key", DataType::Utf8)]),
                Err("$step takes BIGINT, and was given VARCHAR"),
            ),
            (
                &named,
                schema(&[("step", DataType::Int64), ("kex", DataType::Utf8)]),
                Err("no value for the parameter $key"),
            ),
            (&time, schema(&[("a", DataType::Utf8)]), Ok(())),
            (&boolean, schema(&[("a", DataType::Int64)]), Err("$1 takes BOOLEAN")),
        ] {
            match (Parameters::check(expected, &given), outcome) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, _) => panic!("{given:?}: {found:?}"),
            }
        }
        let guess = Schema::new(vec![parameter("$1", None)]);
        assert!(Parameters::check(&guess, &schema(&[("0", DataType::Float64)])).is_ok());
    }
}
