//! Predicates, resolved once against the index and then evaluated run by run.

use runlake_types::Timestamp;

use super::column::{MetricColumn, TextColumn};
use super::index::{DatasetInput, Index};
use super::like::LikePattern;
use super::{Column, DatasetField, DatasetTest, MetricField, NumberOp, Predicate, RunAttribute, TextOp};

/// A predicate whose columns were looked up. `None` is unknown, as in SQL.
pub(super) enum Test<'a> {
    All(Vec<Test<'a>>),
    Any(Vec<Test<'a>>),
    Not(Box<Test<'a>>),
    /// A metric compared.
    Metric {
        column: &'a MetricColumn,
        field: MetricField,
        op: NumberOp,
        value: f64,
    },
    /// A time compared.
    Time {
        attribute: RunAttribute,
        op: NumberOp,
        value: f64,
    },
    /// A param or tag: what each distinct text answers was worked out beforehand.
    Coded {
        column: &'a TextColumn,
        matches: Vec<bool>,
    },
    /// A text attribute.
    Attribute {
        attribute: RunAttribute,
        test: TextTest,
    },
    /// Whether a column has a value.
    IsNull(Option<Present<'a>>),
    Dataset {
        field: DatasetField,
        test: TextTest,
    },
    /// The column is not there: every run lacks it.
    Unknown,
}

/// Where to look whether a value is there.
pub(super) enum Present<'a> {
    Text(&'a TextColumn),
    Metric(&'a MetricColumn),
    Attribute(RunAttribute),
}

/// A test of a text.
pub(super) enum TextTest {
    Compare(TextOp, Box<str>),
    Like(LikePattern),
    In(Vec<Box<str>>),
    NotIn(Vec<Box<str>>),
}

impl TextTest {
    fn new(op: TextOp, value: &str) -> Self {
        match op {
            TextOp::Like => Self::Like(LikePattern::new(value, false)),
            TextOp::ILike => Self::Like(LikePattern::new(value, true)),
            op => Self::Compare(op, value.into()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Compare(op, value) => match op {
                TextOp::Eq => text == &**value,
                TextOp::Ne => text != &**value,
                TextOp::Lt => text < &**value,
                TextOp::Le => text <= &**value,
                TextOp::Gt => text > &**value,
                TextOp::Ge => text >= &**value,
                TextOp::Like | TextOp::ILike => false,
            },
            Self::Like(pattern) => pattern.matches(text),
            Self::In(values) => values.iter().any(|value| text == &**value),
            Self::NotIn(values) => values.iter().all(|value| text != &**value),
        }
    }
}

impl<'a> Test<'a> {
    pub(super) fn new(index: &'a Index, predicate: &Predicate) -> Self {
        match predicate {
            Predicate::All(parts) => Self::All(parts.iter().map(|part| Self::new(index, part)).collect()),
            Predicate::Any(parts) => Self::Any(parts.iter().map(|part| Self::new(index, part)).collect()),
            Predicate::Not(part) => Self::Not(Box::new(Self::new(index, part))),
            Predicate::Number { column: Column::Metric(key, field), op, value } => index
                .metrics
                .get(key)
                .map_or(Self::Unknown, |column| Self::Metric { column, field: *field, op: *op, value: *value }),
            Predicate::Number { column: Column::Attribute(attribute), op, value } => {
                Self::Time { attribute: *attribute, op: *op, value: *value }
            }
            Predicate::Text { column, op, value } => Self::text(index, column, TextTest::new(*op, value)),
            Predicate::TextIn { column, values } => Self::text(index, column, TextTest::In(values.clone())),
            Predicate::IsNull(column) => Self::IsNull(match column {
                Column::Attribute(attribute) => Some(Present::Attribute(*attribute)),
                Column::Metric(key, _) => index.metrics.get(key).map(Present::Metric),
                Column::Param(_) | Column::Tag(_) => index.text_column(column).map(Present::Text),
            }),
            Predicate::Dataset { field, test } => Self::Dataset {
                field: *field,
                test: match test {
                    DatasetTest::Text(op, value) => TextTest::new(*op, value),
                    DatasetTest::In(values) => TextTest::In(values.clone()),
                    DatasetTest::NotIn(values) => TextTest::NotIn(values.clone()),
                },
            },
            Predicate::Number { column: Column::Param(_) | Column::Tag(_), .. } => Self::Unknown,
        }
    }

    fn text(index: &'a Index, column: &Column, test: TextTest) -> Self {
        match column {
            Column::Attribute(attribute) => Self::Attribute { attribute: *attribute, test },
            Column::Metric(..) => Self::Unknown,
            Column::Param(_) | Column::Tag(_) => index.text_column(column).map_or(Self::Unknown, |column| {
                let matches = column.values().iter().map(|text| test.matches(text)).collect();
                Self::Coded { column, matches }
            }),
        }
    }

    /// What the run answers; `None` where a value is missing.
    pub(super) fn of(&self, index: &Index, run: u32) -> Option<bool> {
        match self {
            Self::All(parts) => combine(parts.iter().map(|part| part.of(index, run)), false),
            Self::Any(parts) => combine(parts.iter().map(|part| part.of(index, run)), true),
            Self::Not(part) => part.of(index, run).map(|answer| !answer),
            Self::Metric { column, field, op, value } => column.field(run, *field).map(|has| compare(has, *op, *value)),
            Self::Time { attribute, op, value } => time(index, *attribute, run).map(|has| compare(has, *op, *value)),
            Self::Coded { column, matches } => column.code_at(run).map(|code| matches[code as usize]),
            Self::Attribute { attribute, test } => {
                Some(with_attribute(index, *attribute, run, |text| test.matches(text)))
            }
            Self::IsNull(present) => Some(match present {
                None => true,
                Some(Present::Text(column)) => column.code_at(run).is_none(),
                Some(Present::Metric(column)) => column.value(run).is_none(),
                Some(Present::Attribute(attribute)) if attribute.is_number() => time(index, *attribute, run).is_none(),
                Some(Present::Attribute(_)) => false,
            }),
            Self::Dataset { field, test } => Some(
                index
                    .datasets(run)
                    .iter()
                    .filter_map(|input| dataset_field(input, *field))
                    .any(|text| test.matches(text)),
            ),
            Self::Unknown => None,
        }
    }
}

/// Three-valued AND (`decisive` false) or OR (`decisive` true).
fn combine(answers: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut unknown = false;
    for answer in answers {
        match answer {
            Some(answer) if answer == decisive => return Some(decisive),
            Some(_) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(!decisive)
}

fn compare(has: f64, op: NumberOp, value: f64) -> bool {
    #[allow(clippy::float_cmp, reason = "equality is what was asked for")]
    match op {
        NumberOp::Eq => has == value,
        NumberOp::Ne => has != value,
        NumberOp::Lt => has < value,
        NumberOp::Le => has <= value,
        NumberOp::Gt => has > value,
        NumberOp::Ge => has >= value,
    }
}

/// Milliseconds: a time, or the time between two.
pub(super) fn time(index: &Index, attribute: RunAttribute, run: u32) -> Option<f64> {
    let row = index.run(run);
    let millis = |time: Option<Timestamp>| time.map(|time| time.millis() as f64);
    match attribute {
        RunAttribute::StartTime => millis(row.start),
        RunAttribute::EndTime => millis(row.end),
        RunAttribute::Duration => millis(row.end).zip(millis(row.start)).map(|(end, start)| end - start),
        _ => None,
    }
}

/// Calls `with` with a text attribute of a run.
pub(super) fn with_attribute<T>(index: &Index, attribute: RunAttribute, run: u32, with: impl FnOnce(&str) -> T) -> T {
    let row = index.run(run);
    match attribute {
        RunAttribute::RunId => with(row.run_id.as_str()),
        RunAttribute::RunName => with(&row.name),
        RunAttribute::Status => with(row.status.as_str()),
        RunAttribute::ArtifactUri => with(&row.artifact_uri()),
        RunAttribute::UserId => with(&row.user),
        RunAttribute::ExperimentId => with(&row.experiment_id.to_string()),
        RunAttribute::Dataset => {
            with(&index.datasets(run).first().map_or_else(String::new, |of| format!("{} {}", of.name, of.digest)))
        }
        RunAttribute::StartTime | RunAttribute::EndTime | RunAttribute::Duration => with(""),
    }
}

fn dataset_field(input: &DatasetInput, field: DatasetField) -> Option<&str> {
    match field {
        DatasetField::Name => Some(&input.name),
        DatasetField::Digest => Some(&input.digest),
        DatasetField::Context => input.context.as_deref(),
    }
}
