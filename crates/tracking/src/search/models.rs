//! Searching logged models, in memory.
//!
//! Entities are written in the plural (`attributes.`, `params.`, `tags.`, `metrics.`); without one it is an attribute.
//! Text may go without quotes (`params.lr = 0.01`). A metric condition holds if some point of the metric meets it, on
//! one of the given datasets if there are any.

use std::borrow::Borrow;

use runlake_engine::search::SortValue;
use runlake_types::rows::{LoggedModel, LoggedModelMetric};

use super::ast::Field;
use super::compare::{Clause, Condition, Lists, NumberTest, Signed, TextTest, Wording, WrittenText, listed};
use super::error::{SearchError, shortened};
use super::parse::parse;
use super::sort::{SortKey, page};
use super::token::ValueKind;
use crate::{DatasetScope, LoggedModelInfo, LoggedModelOrder};

const ENTITIES: &[&str] = &["attributes", "metrics", "params", "tags"];
const ATTRIBUTES: &[&str] = &[
    "model_id",
    "experiment_id",
    "name",
    "artifact_location",
    "creation_time",
    "creation_timestamp",
    "last_updated_timestamp",
    "status",
    "status_message",
    "lifecycle_stage",
    "model_type",
    "source_run_id",
];
const NUMBER_OPERATORS: &str = "('<', '<=', '>', '>=', '=', '!=')";
const STRING_OPERATORS: &str = "('=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN')";

/// What logged models must meet.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFilter {
    condition: Option<Condition<ModelTest>>,
    datasets: Vec<DatasetScope>,
}

#[derive(Debug, Clone, PartialEq)]
enum ModelTest {
    Text(TextField, TextTest),
    /// Milliseconds.
    Time(TimeField, NumberTest),
    Param(Box<str>, TextTest),
    Tag(Box<str>, TextTest),
    Metric(Box<str>, NumberTest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextField {
    ModelId,
    ExperimentId,
    Name,
    ArtifactLocation,
    Status,
    StatusMessage,
    LifecycleStage,
    ModelType,
    SourceRunId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeField {
    Creation,
    LastUpdated,
}

impl ModelFilter {
    /// Reads a filter, an empty one takes all, and the datasets its metric conditions are restricted to. With datasets
    /// but no metric condition a model must have some metric on one of them.
    pub fn parse(filter: &str, datasets: &[DatasetScope]) -> Result<Self, SearchError> {
        if datasets.iter().any(|dataset| dataset.dataset_name.as_deref().unwrap_or_default().is_empty()) {
            return Err(SearchError::new("`dataset_name` in the `datasets` clause must be specified."));
        }
        let expr = parse(filter)
            .map_err(|error| error.prefixed(&format!("Invalid filter string: '{}'. ", shortened(filter))))?;
        let condition =
            expr.map(|expr| Condition::lower(&expr, &mut |comparison| lower(Clause { source: filter, comparison })));
        Ok(Self { condition: condition.transpose()?, datasets: datasets.to_vec() })
    }

    /// Whether the model meets it.
    pub fn matches(&self, info: &LoggedModelInfo) -> bool {
        let mut by_metrics = false;
        if let Some(condition) = &self.condition {
            by_metrics = condition.any(&|test| matches!(test, ModelTest::Metric(..)));
            if condition.evaluate(&|test| self.evaluate(test, info)) != Some(true) {
                return false;
            }
        }
        self.datasets.is_empty() || by_metrics || info.metrics.iter().any(|metric| self.in_scope(metric))
    }

    fn evaluate(&self, test: &ModelTest, info: &LoggedModelInfo) -> Option<bool> {
        match test {
            ModelTest::Text(field, test) => test.evaluate(text(*field, &info.model).as_deref()),
            ModelTest::Time(field, test) => test.evaluate(Some(millis(*field, &info.model))),
            ModelTest::Param(key, test) => test.evaluate(find(&info.params, key)),
            ModelTest::Tag(key, test) => test.evaluate(find(&info.tags, key)),
            ModelTest::Metric(key, test) => {
                let mut values = info.metrics.iter().filter(|metric| metric.key == **key && self.in_scope(metric));
                match values.next() {
                    None => test.evaluate(None),
                    Some(first) => {
                        Some(std::iter::once(first).chain(values).any(|m| test.evaluate(Some(m.value)) == Some(true)))
                    }
                }
            }
        }
    }

    fn in_scope(&self, metric: &LoggedModelMetric) -> bool {
        self.datasets.is_empty()
            || self.datasets.iter().any(|DatasetScope { dataset_name, dataset_digest }| {
                on_dataset(metric, dataset_name.as_deref(), dataset_digest.as_deref())
            })
    }
}

/// Whether the metric was measured on that dataset; what is absent or empty is not asked for.
fn on_dataset(metric: &LoggedModelMetric, name: Option<&str>, digest: Option<&str>) -> bool {
    let same = |asked: Option<&str>, is: Option<&str>| {
        asked.is_none_or(|asked| asked.is_empty() || is.is_some_and(|is| is == asked))
    };
    same(name, metric.dataset_name.as_deref()) && same(digest, metric.dataset_digest.as_deref())
}

fn find<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn text(field: TextField, model: &LoggedModel) -> Option<String> {
    match field {
        TextField::ModelId => Some(model.model_id.to_string()),
        TextField::ExperimentId => Some(model.experiment_id.to_string()),
        TextField::Name => Some(model.name.clone()),
        TextField::ArtifactLocation => Some(model.artifact_uri.clone()),
        TextField::Status => Some(status(model.status).to_owned()),
        TextField::StatusMessage => model.status_message.clone(),
        TextField::LifecycleStage => Some(model.lifecycle_stage.to_string()),
        TextField::ModelType => model.model_type.clone(),
        TextField::SourceRunId => model.source_run_id.clone(),
    }
}

/// The status as MLflow's clients spell it.
const fn status(number: i64) -> &'static str {
    match number {
        1 => "PENDING",
        2 => "READY",
        3 => "FAILED",
        _ => "UNSPECIFIED",
    }
}

fn millis(field: TimeField, model: &LoggedModel) -> f64 {
    let time = match field {
        TimeField::Creation => model.creation_time,
        TimeField::LastUpdated => model.last_update_time,
    };
    time.millis() as f64
}

#[derive(Debug, Clone, PartialEq)]
enum Target {
    Text(TextField),
    Time(TimeField),
    Param(Box<str>),
    Tag(Box<str>),
    Metric(Box<str>),
}

fn target(field: &Field) -> Result<Target, String> {
    let (entity, key) = (field.entity().unwrap_or("attributes"), field.key());
    match entity {
        "metrics" => Ok(Target::Metric(key.into())),
        "params" => Ok(Target::Param(key.into())),
        "tags" => Ok(Target::Tag(key.into())),
        "attributes" => attribute(&key)
            .ok_or_else(|| format!("Invalid attribute key '{key}' specified. Valid keys are '{}'", listed(ATTRIBUTES))),
        other => Err(format!("Invalid entity type: '{other}'. Expected one of {}.", listed(ENTITIES))),
    }
}

fn attribute(key: &str) -> Option<Target> {
    Some(match key {
        "model_id" => Target::Text(TextField::ModelId),
        "experiment_id" => Target::Text(TextField::ExperimentId),
        "name" => Target::Text(TextField::Name),
        "artifact_location" => Target::Text(TextField::ArtifactLocation),
        "status" => Target::Text(TextField::Status),
        "status_message" => Target::Text(TextField::StatusMessage),
        "lifecycle_stage" => Target::Text(TextField::LifecycleStage),
        "model_type" => Target::Text(TextField::ModelType),
        "source_run_id" => Target::Text(TextField::SourceRunId),
        "creation_time" | "creation_timestamp" | "creation_timestamp_ms" => Target::Time(TimeField::Creation),
        "last_updated_timestamp" | "last_updated_timestamp_ms" => Target::Time(TimeField::LastUpdated),
        _ => return None,
    })
}

fn lower(clause: Clause<'_>) -> Result<Condition<ModelTest>, SearchError> {
    let field = &clause.comparison.field;
    let target = target(field).map_err(|message| clause.bad_field(message))?;
    let numeric = matches!(target, Target::Metric(_) | Target::Time(_));
    let operators = if numeric { NUMBER_OPERATORS } else { STRING_OPERATORS };
    let attribute = matches!(target, Target::Text(_) | Target::Time(_));
    let entity = format!("{}.{}", field.entity().unwrap_or("attributes"), field.key());
    let no_null = |operator: &str| {
        format!("Invalid comparison operator for {entity}: '{operator}'. Only params, tags and metrics can be missing.")
    };
    let wording = Wording {
        value: &|text| format!("Expected numeric value type for {entity}. Found {text}"),
        operator: &|operator| {
            format!("Invalid comparison operator for {entity}: '{operator}'. Expected one of {operators}.")
        },
        lists: Lists::Taken,
        null: if attribute { Some(&no_null) } else { None },
        bare_text: true,
        operator_first: true,
    };
    let number = |test: fn(TimeField, NumberTest) -> ModelTest, field| -> Result<_, SearchError> {
        let Signed { negated, test: number } = clause.number_test(&wording)?;
        Ok(Condition::test(negated, test(field, number)))
    };
    let text = |test: &dyn Fn(TextTest) -> ModelTest| -> Result<_, SearchError> {
        let Signed { negated, test: written } = clause.text_test(&wording)?;
        Ok(Condition::test(negated, test(written.into())))
    };
    match target {
        Target::Metric(key) => {
            let Signed { negated, test } = clause.number_test(&wording)?;
            Ok(Condition::test(negated, ModelTest::Metric(key, test)))
        }
        Target::Time(field) => number(ModelTest::Time, field),
        Target::Param(key) => text(&|test| ModelTest::Param(key.clone(), test)),
        Target::Tag(key) => text(&|test| ModelTest::Tag(key.clone(), test)),
        Target::Text(TextField::Status) => {
            let Signed { negated, test } = clause.text_test(&wording)?;
            Ok(Condition::test(negated, ModelTest::Text(TextField::Status, status_test(test))))
        }
        Target::Text(field) => text(&|test| ModelTest::Text(field, test)),
    }
}

/// `LOGGED_MODEL_READY`, as the wire spells it, means `READY`.
fn status_test(test: WrittenText) -> TextTest {
    let plain = |name: Box<str>| match &*name {
        "LOGGED_MODEL_PENDING" => "PENDING".into(),
        "LOGGED_MODEL_READY" => "READY".into(),
        "LOGGED_MODEL_UPLOAD_FAILED" => "FAILED".into(),
        _ => name,
    };
    match TextTest::from(test) {
        TextTest::Eq(name) => TextTest::Eq(plain(name)),
        TextTest::Ne(name) => TextTest::Ne(plain(name)),
        TextTest::In(names) => TextTest::In(names.into_iter().map(plain).collect()),
        other => other,
    }
}

/// How logged models are sorted. After the keys given come creation (newest first) and model id.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOrder {
    keys: Vec<(Key, bool)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Key {
    Text(TextField),
    Time(TimeField),
    Metric(LoggedModelOrder, String),
}

impl ModelOrder {
    /// Reads `order_by` entries: attributes, or metrics by their latest point (on the dataset named, if any).
    pub fn parse(order_by: &[LoggedModelOrder]) -> Result<Self, SearchError> {
        let mut keys = order_by
            .iter()
            .map(|order| Ok((order_key(order)?, order.ascending)))
            .collect::<Result<Vec<_>, SearchError>>()?;
        for (key, ascending) in [(Key::Time(TimeField::Creation), false), (Key::Text(TextField::ModelId), true)] {
            if !keys.iter().any(|(given, _)| *given == key) {
                keys.push((key, ascending));
            }
        }
        Ok(Self { keys })
    }

    /// What the values of a sort key are.
    pub fn kinds(&self) -> Vec<ValueKind> {
        let kind = |key: &Key| match key {
            Key::Text(_) => ValueKind::Text,
            Key::Time(_) => ValueKind::Finite,
            Key::Metric(..) => ValueKind::Number,
        };
        self.keys.iter().map(|(key, _)| kind(key)).collect()
    }

    /// The first `limit` models after `after`, in order, and where the next page starts if some are left.
    pub fn page<T: Borrow<LoggedModelInfo>>(
        &self,
        models: impl IntoIterator<Item = T>,
        after: Option<&SortKey>,
        limit: usize,
    ) -> (Vec<T>, Option<SortKey>) {
        let ascending: Vec<bool> = self.keys.iter().map(|(_, ascending)| *ascending).collect();
        page(models, |info| self.key(info.borrow()), &ascending, after, limit)
    }

    fn key(&self, info: &LoggedModelInfo) -> SortKey {
        let values = self.keys.iter().map(|(key, _)| match key {
            Key::Text(field) => text(*field, &info.model).map_or(SortValue::Null, |text| SortValue::Text(text.into())),
            Key::Time(field) => SortValue::Number(millis(*field, &info.model)),
            Key::Metric(order, key) => {
                latest(&info.metrics, key, order).map_or(SortValue::Null, |metric| SortValue::Number(metric.value))
            }
        });
        SortKey(values.collect())
    }
}

fn order_key(order: &LoggedModelOrder) -> Result<Key, SearchError> {
    let field = order.field_name.as_str();
    let refuse = |why: &str| Err(SearchError::new(format!("Invalid order by field name: {}{why}", shortened(field))));
    match field.split_once('.') {
        None => match attribute(field) {
            Some(Target::Text(field)) => Ok(Key::Text(field)),
            Some(Target::Time(field)) => Ok(Key::Time(field)),
            _ => refuse(&format!(". Valid attributes are {}", listed(ATTRIBUTES))),
        },
        Some(("metrics", key)) => Ok(Key::Metric(order.clone(), unquoted(key).to_owned())),
        Some(_) => refuse(". Only metrics are supported."),
    }
}

/// Metric keys hold no quotes, so quotes around one are the caller's.
fn unquoted(key: &str) -> &str {
    let inner = |quote| key.strip_prefix(quote).and_then(|key: &str| key.strip_suffix(quote));
    inner('`').or_else(|| inner('"')).unwrap_or(key)
}

/// The latest point by (timestamp, step); of several runs at the same moment that of the smallest run id.
fn latest<'a>(metrics: &'a [LoggedModelMetric], key: &str, order: &LoggedModelOrder) -> Option<&'a LoggedModelMetric> {
    metrics
        .iter()
        .filter(|metric| metric.key == key)
        .filter(|metric| on_dataset(metric, order.dataset_name.as_deref(), order.dataset_digest.as_deref()))
        .max_by(|left, right| {
            let at = |metric: &LoggedModelMetric| (metric.timestamp, metric.step);
            at(left).cmp(&at(right)).then_with(|| right.run_id.cmp(&left.run_id))
        })
}

#[cfg(test)]
mod tests;
