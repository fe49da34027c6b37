//! Searching experiments: few enough to be tested one by one in memory.
//!
//! Fields are `name`, `experiment_id`, `creation_time`, `last_update_time` (with or without `attribute.`) and `tags.k`
//! or `tag.k`.

use std::borrow::Borrow;

use runlake_engine::search::SortValue;
use runlake_types::ExperimentId;

use super::ast::{Field, Literal, Test};
use super::compare::{
    Clause, Condition, Lists, NumberTest, Signed, TextOperator, TextTest, Wording, WrittenText, listed,
};
use super::error::SearchError;
use super::parse::{parse, parse_order};
use super::sort::{SortKey, page};
use super::token::ValueKind;
use crate::ExperimentInfo;

const ATTRIBUTES: &[&str] = &["name", "experiment_id", "creation_time", "last_update_time"];
const STRING_OPERATORS: &[&str] = &["=", "!=", "LIKE", "ILIKE"];
const NUMBER_OPERATORS: &[&str] = &["=", "!=", "<", "<=", ">", ">=", "BETWEEN", "NOT BETWEEN"];

/// What experiments must meet.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentFilter(Option<Condition<ExperimentTest>>);

#[derive(Debug, Clone, PartialEq)]
enum ExperimentTest {
    Name(TextTest),
    Id(Vec<ExperimentId>),
    /// Milliseconds.
    Time(TimeField, NumberTest),
    Tag(Box<str>, TextTest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeField {
    Creation,
    LastUpdate,
}

impl ExperimentFilter {
    /// Reads a filter; an empty one takes all.
    pub fn parse(filter: &str) -> Result<Self, SearchError> {
        let expr = parse(filter)?;
        let condition =
            expr.map(|expr| Condition::lower(&expr, &mut |comparison| lower(Clause { source: filter, comparison })));
        Ok(Self(condition.transpose()?))
    }

    /// Whether the experiment meets it.
    pub fn matches(&self, info: &ExperimentInfo) -> bool {
        let Some(condition) = &self.0 else { return true };
        condition.evaluate(&|test| evaluate(test, info)) == Some(true)
    }
}

fn evaluate(test: &ExperimentTest, info: &ExperimentInfo) -> Option<bool> {
    match test {
        ExperimentTest::Name(test) => test.evaluate(Some(&info.experiment.name)),
        ExperimentTest::Id(ids) => Some(ids.contains(&info.experiment.experiment_id)),
        ExperimentTest::Time(field, test) => test.evaluate(Some(millis(*field, info))),
        ExperimentTest::Tag(key, test) => test.evaluate(info.tags.get(&**key).map(String::as_str)),
    }
}

fn millis(field: TimeField, info: &ExperimentInfo) -> f64 {
    let time = match field {
        TimeField::Creation => info.experiment.creation_time,
        TimeField::LastUpdate => info.experiment.last_update_time,
    };
    time.millis() as f64
}

/// What a field of an experiment search names.
enum Target {
    Attribute(Attribute),
    Tag(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Name,
    Id,
    Time(TimeField),
}

fn target(field: &Field) -> Result<Target, String> {
    let (entity, key) = (field.entity().unwrap_or("attribute"), field.key());
    match (entity, key.as_str()) {
        ("tag" | "tags", _) => Ok(Target::Tag(key.into())),
        ("attribute", "name") => Ok(Target::Attribute(Attribute::Name)),
        ("attribute", "experiment_id") => Ok(Target::Attribute(Attribute::Id)),
        ("attribute", "creation_time") => Ok(Target::Attribute(Attribute::Time(TimeField::Creation))),
        ("attribute", "last_update_time") => Ok(Target::Attribute(Attribute::Time(TimeField::LastUpdate))),
        ("attribute", key) => {
            Err(format!("Invalid attribute key '{key}' specified. Valid keys are '{}'", listed(ATTRIBUTES)))
        }
        (entity, _) => {
            Err(format!("Invalid entity type '{entity}'. Valid entity types are ('attribute', 'tag', 'tags')"))
        }
    }
}

fn lower(clause: Clause<'_>) -> Result<Condition<ExperimentTest>, SearchError> {
    let target = target(&clause.comparison.field).map_err(|message| clause.bad_field(message))?;
    match target {
        Target::Tag(key) => {
            let wording = Wording {
                value: &|text| format!("Expected a quoted string value for tag (e.g. 'my-value'). Got value {text}"),
                operator: &|operator| format!("Invalid comparator for tag: {operator}"),
                lists: Lists::Extra,
                null: None,
                bare_text: false,
                operator_first: false,
            };
            let Signed { negated, test } = clause.text_test(&wording)?;
            Ok(Condition::test(negated, ExperimentTest::Tag(key, test.into())))
        }
        Target::Attribute(Attribute::Name) => {
            let Signed { negated, test } = string_attribute(clause, "name", false, &|operator| {
                format!("Invalid comparator '{operator}' not one of '{}'", listed(STRING_OPERATORS))
            })?;
            Ok(Condition::test(negated, ExperimentTest::Name(test.into())))
        }
        Target::Attribute(Attribute::Id) => id_test(clause),
        Target::Attribute(Attribute::Time(field)) => time_test(clause, field),
    }
}

fn string_attribute(
    clause: Clause<'_>,
    key: &str,
    lists: bool,
    operator: &dyn Fn(&str) -> String,
) -> Result<Signed<WrittenText>, SearchError> {
    let no_list = |_: &str| {
        "Only ['experiment_id'] attributes support comparison with a list of quoted string values.".to_owned()
    };
    clause.text_test(&Wording {
        value: &|text| format!("Expected a quoted string value for attributes. Got value {text}"),
        operator,
        lists: if lists { Lists::Taken } else { Lists::Refused(&no_list) },
        null: Some(&no_null(key)),
        bare_text: false,
        operator_first: false,
    })
}

fn no_null(key: &str) -> impl Fn(&str) -> String {
    move |_| format!("IS NULL / IS NOT NULL is only supported for tags, not for attribute '{key}'")
}

fn id_test(clause: Clause<'_>) -> Result<Condition<ExperimentTest>, SearchError> {
    let bad_operator = |operator: &str| format!("Invalid comparator for experiment_id: {operator}");
    let Signed { negated, test } = string_attribute(clause, "experiment_id", true, &bad_operator)?;
    let (negated, ids) = match test {
        WrittenText::Compare(TextOperator::Eq, id) => (negated, vec![id]),
        WrittenText::Compare(TextOperator::Ne, id) => (!negated, vec![id]),
        WrittenText::In(ids) => (negated, ids),
        WrittenText::Compare(TextOperator::Like | TextOperator::ILike, _) | WrittenText::IsNull => {
            return Err(clause.bad(bad_operator(clause.comparison.test.operator())));
        }
    };
    let ids = ids.iter().map(|id| {
        let message = || format!("Invalid experiment ID '{id}'. Experiment ID must be a valid integer.");
        ExperimentId::parse(id).map_err(|_| clause.bad(message()))
    });
    Ok(Condition::test(negated, ExperimentTest::Id(ids.collect::<Result<_, _>>()?)))
}

fn time_test(clause: Clause<'_>, field: TimeField) -> Result<Condition<ExperimentTest>, SearchError> {
    let key = if field == TimeField::Creation { "creation_time" } else { "last_update_time" };
    let wording = Wording {
        value: &|text| format!("Expected numeric value type for numeric attribute: {key}. Found {text}"),
        operator: &|operator| format!("Invalid comparator '{operator}' not one of '{}'", listed(NUMBER_OPERATORS)),
        lists: Lists::Taken,
        null: Some(&no_null(key)),
        bare_text: false,
        operator_first: false,
    };
    let Signed { negated, test } = clause.number_test(&wording)?;
    let values = match &clause.comparison.test {
        Test::Compare(_, value) => vec![value],
        Test::Between { low, high, .. } => vec![low, high],
        Test::In { .. } | Test::IsNull { .. } => Vec::new(),
    };
    for value in values {
        let whole = matches!(&value.literal, Literal::Number(text) if text.parse::<i64>().is_ok());
        if !whole {
            let message =
                format!("Invalid value for numeric attribute '{key}': '{value}'. Expected whole milliseconds.");
            return Err(SearchError::at(clause.source, value.span, message));
        }
    }
    Ok(Condition::test(negated, ExperimentTest::Time(field, test)))
}

/// How experiments are sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentOrder {
    keys: Vec<(Attribute, bool)>,
}

impl ExperimentOrder {
    /// Reads `order_by` clauses. Without any: newest first, ties by rising id. With some that leave out
    /// `experiment_id`: ties by falling id, as MLflow has it.
    pub fn parse<S: AsRef<str>>(order_by: &[S]) -> Result<Self, SearchError> {
        if order_by.is_empty() {
            return Ok(Self { keys: vec![(Attribute::Time(TimeField::Creation), false), (Attribute::Id, true)] });
        }
        let mut keys = order_by.iter().map(|clause| order_key(clause.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if !keys.iter().any(|(attribute, _)| *attribute == Attribute::Id) {
            keys.push((Attribute::Id, false));
        }
        Ok(Self { keys })
    }

    /// What the values of a sort key are.
    pub fn kinds(&self) -> Vec<ValueKind> {
        let kind = |attribute: &Attribute| match attribute {
            Attribute::Name => ValueKind::Text,
            Attribute::Id | Attribute::Time(_) => ValueKind::Finite,
        };
        self.keys.iter().map(|(attribute, _)| kind(attribute)).collect()
    }

    /// The first `limit` experiments after `after`, in order, and where the next page starts if some are left.
    pub fn page<T: Borrow<ExperimentInfo>>(
        &self,
        experiments: impl IntoIterator<Item = T>,
        after: Option<&SortKey>,
        limit: usize,
    ) -> (Vec<T>, Option<SortKey>) {
        let ascending: Vec<bool> = self.keys.iter().map(|(_, ascending)| *ascending).collect();
        page(experiments, |info| self.key(info.borrow()), &ascending, after, limit)
    }

    fn key(&self, info: &ExperimentInfo) -> SortKey {
        let values = self.keys.iter().map(|(attribute, _)| match attribute {
            Attribute::Name => SortValue::Text(info.experiment.name.as_str().into()),
            Attribute::Id => SortValue::Number(info.experiment.experiment_id.number() as f64),
            Attribute::Time(field) => SortValue::Number(millis(*field, info)),
        });
        SortKey(values.collect())
    }
}

fn order_key(clause: &str) -> Result<(Attribute, bool), SearchError> {
    let (field, ascending) = parse_order(clause)?;
    match target(&field) {
        Ok(Target::Attribute(attribute)) => Ok((attribute, ascending.unwrap_or(true))),
        Ok(Target::Tag(_)) => Err(SearchError::at(clause, field.span, "Invalid order_by entity: tag")),
        Err(message) => Err(SearchError::at(clause, field.span, message)),
    }
}

#[cfg(test)]
mod tests;
