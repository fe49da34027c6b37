//! Searching runs: MLflow's names, lowered to the columns of the search index.
//!
//! | written | means |
//! |---|---|
//! | `metrics.k`, `metric.k` | last value of metric `k` |
//! | `metrics.k.min`, `.max`, `.mean`, `.count`, `.last` | that aggregate of metric `k` |
//! | ``metrics.`k.min` ``, `metrics."k.min"` | last value of a metric whose key is `k.min` |
//! | `params.k`, `param.k`, `parameters.k`, `parameter.k` | param `k` |
//! | `tags.k`, `tag.k` | tag `k` |
//! | `attributes.k`, `attribute.k`, `attr.k`, `run.k`, `k` | field `k` of the run |
//! | `datasets.k`, `dataset.k` (`name`, `digest`, `context`) | some dataset input |
//!
//! Only the first dot splits: `tags.mlflow.user` is the tag `mlflow.user`.
//!
//! A comparison with what a run doesn't have is unknown: `params.lr != '1'` asks for runs with another `lr`, and so does
//! `NOT params.lr = '1'`. `params.lr IS NULL` finds those without one; for metrics write `metrics.loss.last IS NULL`.

use runlake_engine::search::{
    Column, DatasetField, DatasetTest, MetricField, NumberOp, OrderBy, Predicate, RunAttribute, TextOp,
};

use super::ast::{Comparison, Expr, Field, Name, joined_texts};
use super::compare::{Clause, Lists, NumberTest, Signed, TextOperator, Wording, WrittenText, listed};
use super::error::SearchError;
use super::parse::{parse, parse_order};

/// Sort clauses of one search.
pub const MAX_ORDER_BY: usize = 100;

const ENTITIES: &[&str] = &["metric", "parameter", "tag", "attribute", "dataset"];

/// The attributes of runs that a part of a search knows.
struct Attributes {
    named: &'static [&'static str],
    /// Those that MLflow does not know, and that its errors do not name.
    own: &'static [&'static str],
}

const IN_FILTERS: Attributes = Attributes { named: ATTRIBUTES, own: &["duration"] };
const IN_ORDER: Attributes = Attributes { named: ORDER_ATTRIBUTES, own: &["duration", "dataset"] };
const ATTRIBUTES: &[&str] = &[
    "run_id",
    "run_name",
    "status",
    "artifact_uri",
    "user_id",
    "start_time",
    "end_time",
    "created",
    "Created",
    "run name",
    "Run name",
    "Run Name",
];
const ORDER_ATTRIBUTES: &[&str] =
    &["run_id", "run_name", "status", "artifact_uri", "user_id", "start_time", "end_time", "created", "Created"];
const DATASET_KEYS: &[&str] = &["name", "digest", "context"];
const NUMBER_OPERATORS: &[&str] = &["=", "!=", "<", "<=", ">", ">=", "BETWEEN", "NOT BETWEEN"];
const STRING_OPERATORS: &[&str] = &["=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"];
const KEY_OPERATORS: &[&str] = &["=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"];

/// The predicate of a filter; `None` takes all runs.
pub fn run_filter(filter: &str) -> Result<Option<Predicate>, SearchError> {
    parse(filter)?.map(|expr| lower(filter, &expr)).transpose()
}

/// The sort keys of `order_by` clauses, most important first. A field must not come twice.
pub fn run_order<S: AsRef<str>>(order_by: &[S]) -> Result<Vec<OrderBy>, SearchError> {
    if order_by.len() > MAX_ORDER_BY {
        return Err(SearchError::new(format!(
            "Invalid order_by: {} clauses, at most {MAX_ORDER_BY} are accepted.",
            order_by.len()
        )));
    }
    let mut keys: Vec<OrderBy> = Vec::with_capacity(order_by.len());
    for clause in order_by {
        let clause = clause.as_ref();
        let (field, ascending) = parse_order(clause)?;
        let column = match target(&field, &IN_ORDER) {
            Ok(Target::Column(column) | Target::Aggregate(column)) => column,
            Ok(Target::Dataset(_)) => {
                let message = "Invalid identifier type 'dataset': runs can't be ordered by datasets.";
                return Err(SearchError::at(clause, field.span, message));
            }
            Err(message) => return Err(SearchError::at(clause, field.span, message)),
        };
        if keys.iter().any(|key| key.column == column) {
            let all: Vec<&str> = order_by.iter().map(AsRef::as_ref).collect();
            return Err(SearchError::new(format!("`order_by` contains duplicate fields: {}", listed(&all))));
        }
        keys.push(OrderBy { column, ascending: ascending.unwrap_or(true) });
    }
    Ok(keys)
}

fn lower(source: &str, expr: &Expr) -> Result<Predicate, SearchError> {
    let all = |terms: &[Expr]| terms.iter().map(|term| lower(source, term)).collect::<Result<Vec<_>, _>>();
    match expr {
        Expr::And(terms) => Ok(Predicate::All(all(terms)?)),
        Expr::Or(terms) => Ok(Predicate::Any(all(terms)?)),
        Expr::Not(term) => Ok(not(true, lower(source, term)?)),
        Expr::Test(comparison) => test(Clause { source, comparison }),
    }
}

/// What a field of a run search names.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    Column(Column),
    /// A metric with its aggregate spelled out.
    Aggregate(Column),
    Dataset(DatasetField),
}

fn target(field: &Field, attributes: &Attributes) -> Result<Target, String> {
    if let [name] = field.parts.as_slice()
        && name.quote.is_some()
        && let Some((before, _)) = name.text.split_once('.')
    {
        // MLflow splits at the first dot even within quotes: what stands before it is no entity.
        return Err(invalid_entity(&format!("`{before}")));
    }
    let entity = field.entity().unwrap_or("attribute");
    let key = || field.key();
    match entity {
        "metric" | "metrics" => Ok(metric(field.keys())),
        "parameter" | "parameters" | "param" | "params" => Ok(Target::Column(Column::Param(key().into()))),
        "tag" | "tags" => Ok(Target::Column(Column::Tag(key().into()))),
        "attribute" | "attributes" | "attr" | "run" => attribute(&key(), attributes)
            .map(|attribute| Target::Column(Column::Attribute(attribute)))
            .ok_or_else(|| {
                format!("Invalid attribute key '{}' specified. Valid keys are '{}'", key(), listed(attributes.named))
            }),
        "dataset" | "datasets" => match key().as_str() {
            "name" => Ok(Target::Dataset(DatasetField::Name)),
            "digest" => Ok(Target::Dataset(DatasetField::Digest)),
            "context" => Ok(Target::Dataset(DatasetField::Context)),
            other => Err(format!("Invalid dataset key '{other}' specified. Valid keys are '{}'", listed(DATASET_KEYS))),
        },
        other => Err(invalid_entity(other)),
    }
}

fn invalid_entity(entity: &str) -> String {
    format!("Invalid entity type '{entity}'. Valid values are {}", listed(ENTITIES))
}

fn metric(keys: &[Name]) -> Target {
    let aggregate = match keys {
        [_, .., Name { text, quote: None }] => match &**text {
            "min" => Some(MetricField::Min),
            "max" => Some(MetricField::Max),
            "mean" => Some(MetricField::Mean),
            "count" => Some(MetricField::Count),
            "last" => Some(MetricField::Last),
            _ => None,
        },
        _ => None,
    };
    match aggregate {
        Some(field) => Target::Aggregate(Column::Metric(joined_texts(&keys[..keys.len() - 1]).into(), field)),
        None => Target::Column(Column::Metric(joined_texts(keys).into(), MetricField::Last)),
    }
}

fn attribute(key: &str, valid: &Attributes) -> Option<RunAttribute> {
    if !valid.named.contains(&key) && !valid.own.contains(&key) {
        return None;
    }
    match key {
        "duration" => Some(RunAttribute::Duration),
        "dataset" => Some(RunAttribute::Dataset),
        "run_id" => Some(RunAttribute::RunId),
        "run_name" | "run name" | "Run name" | "Run Name" => Some(RunAttribute::RunName),
        "status" => Some(RunAttribute::Status),
        "artifact_uri" => Some(RunAttribute::ArtifactUri),
        "user_id" => Some(RunAttribute::UserId),
        "start_time" | "created" | "Created" => Some(RunAttribute::StartTime),
        "end_time" => Some(RunAttribute::EndTime),
        _ => None,
    }
}

fn test(clause: Clause<'_>) -> Result<Predicate, SearchError> {
    let Comparison { field, .. } = clause.comparison;
    let target = target(field, &IN_FILTERS).map_err(|message| clause.bad_field(message))?;
    match target {
        Target::Aggregate(column) => metric_test(clause, column, true),
        Target::Column(column @ Column::Metric(..)) => metric_test(clause, column, false),
        Target::Column(column @ Column::Param(_)) => key_test(clause, column, "parameter"),
        Target::Column(column @ Column::Tag(_)) => key_test(clause, column, "tag"),
        Target::Column(Column::Attribute(attribute)) => attribute_test(clause, attribute),
        Target::Dataset(field) => dataset_test(clause, field),
    }
}

/// MLflow knows `IS NULL` for tags and params only. A metric with its aggregate spelled out is ours, and so may have it.
fn metric_test(clause: Clause<'_>, column: Column, spelled_out: bool) -> Result<Predicate, SearchError> {
    let no_null = no_null(clause, "metric");
    let wording = Wording {
        value: &|text| format!("Expected numeric value type for metric. Found {text}"),
        operator: &bad_comparator(NUMBER_OPERATORS),
        lists: Lists::Taken,
        null: if spelled_out { None } else { Some(&no_null) },
        bare_text: false,
        operator_first: false,
    };
    Ok(number_predicate(column, clause.number_test(&wording)?))
}

fn attribute_test(clause: Clause<'_>, attribute: RunAttribute) -> Result<Predicate, SearchError> {
    let column = Column::Attribute(attribute);
    let no_null = no_null(clause, "attribute");
    if attribute.is_number() {
        let key = clause.comparison.field.key();
        let wording = Wording {
            value: &|text| format!("Expected numeric value type for numeric attribute: {key}. Found {text}"),
            operator: &bad_comparator(NUMBER_OPERATORS),
            lists: Lists::Taken,
            null: Some(&no_null),
            bare_text: false,
            operator_first: false,
        };
        return Ok(number_predicate(column, clause.number_test(&wording)?));
    }
    let no_list =
        |_: &str| "Only the 'run_id' attribute supports comparison with a list of quoted string values.".to_owned();
    let wording = Wording {
        value: &|text| format!("Expected a quoted string value for attributes. Got value {text}"),
        operator: &bad_comparator(STRING_OPERATORS),
        lists: if attribute == RunAttribute::RunId { Lists::Taken } else { Lists::Refused(&no_list) },
        null: Some(&no_null),
        bare_text: false,
        operator_first: false,
    };
    Ok(text_predicate(column, clause.text_test(&wording)?))
}

fn key_test(clause: Clause<'_>, column: Column, entity: &str) -> Result<Predicate, SearchError> {
    let wording = Wording {
        value: &|text| format!("Expected a quoted string value for {entity} (e.g. 'my-value'). Got value {text}"),
        operator: &bad_comparator(KEY_OPERATORS),
        lists: Lists::Extra,
        null: None,
        bare_text: false,
        operator_first: false,
    };
    Ok(text_predicate(column, clause.text_test(&wording)?))
}

/// A dataset test holds if some input meets it; so `!=` and `NOT IN` ask for another dataset, not for none of these.
fn dataset_test(clause: Clause<'_>, field: DatasetField) -> Result<Predicate, SearchError> {
    let no_null = no_null(clause, "dataset");
    let wording = Wording {
        value: &|text| format!("Expected a quoted string value for dataset attributes. Got value {text}"),
        operator: &bad_comparator(STRING_OPERATORS),
        lists: Lists::Taken,
        null: Some(&no_null),
        bare_text: false,
        operator_first: false,
    };
    let Signed { negated, test } = clause.text_test(&wording)?;
    let test = match (test, negated) {
        (WrittenText::Compare(op, value), false) => DatasetTest::Text(text_op(op), value),
        (WrittenText::In(values), false) => DatasetTest::In(values),
        (WrittenText::In(values), true) => DatasetTest::NotIn(values),
        // "Some other dataset" or "no such dataset"? Refused, as both readings make sense.
        (WrittenText::Compare(..), true) => {
            let operator = clause.comparison.test.operator();
            let advice = "Write NOT (datasets.… LIKE '…') for runs without such a dataset.";
            return Err(clause.bad(format!("{}. {advice}", bad_comparator(STRING_OPERATORS)(operator))));
        }
        (WrittenText::IsNull, _) => return Err(clause.bad(no_null("IS NULL"))),
    };
    Ok(Predicate::Dataset { field, test })
}

fn bad_comparator(valid: &'static [&'static str]) -> impl Fn(&str) -> String {
    move |operator| format!("Invalid comparator '{operator}' not one of '{}'", listed(valid))
}

fn no_null(clause: Clause<'_>, entity: &str) -> impl Fn(&str) -> String {
    let key = clause.comparison.field.key();
    move |_| format!("IS NULL / IS NOT NULL is only supported for tags and params, not for '{entity}' '{key}'")
}

fn number_predicate(column: Column, Signed { negated, test }: Signed<NumberTest>) -> Predicate {
    let compared = |column, op, value| Predicate::Number { column, op, value };
    let predicate = match test {
        NumberTest::Compare(op, value) => compared(column, op, value),
        NumberTest::Between(low, high) => {
            Predicate::All(vec![compared(column.clone(), NumberOp::Ge, low), compared(column, NumberOp::Le, high)])
        }
        NumberTest::IsNull => Predicate::IsNull(column),
    };
    not(negated, predicate)
}

fn text_predicate(column: Column, Signed { negated, test }: Signed<WrittenText>) -> Predicate {
    let predicate = match test {
        WrittenText::Compare(op, value) => Predicate::Text { column, op: text_op(op), value },
        WrittenText::In(values) => Predicate::TextIn { column, values },
        WrittenText::IsNull => Predicate::IsNull(column),
    };
    not(negated, predicate)
}

fn not(negated: bool, predicate: Predicate) -> Predicate {
    if negated { Predicate::Not(Box::new(predicate)) } else { predicate }
}

const fn text_op(op: TextOperator) -> TextOp {
    match op {
        TextOperator::Eq => TextOp::Eq,
        TextOperator::Ne => TextOp::Ne,
        TextOperator::Like => TextOp::Like,
        TextOperator::ILike => TextOp::ILike,
    }
}

#[cfg(test)]
mod tests;
