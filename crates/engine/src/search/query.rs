//! What can be asked of the search index: typed predicates over the columns of runs. No grammar, no wire names.

use runlake_types::{ExperimentId, RunId, Timestamp};

/// A search over runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunQuery {
    /// Runs of these experiments only; none means no runs at all.
    pub experiments: Vec<ExperimentId>,
    /// Which lifecycle stages to look at.
    pub lifecycle: LifecycleFilter,
    /// What a run must meet; `None` takes all.
    pub predicate: Option<Predicate>,
    /// Sort keys, most important first. After them come start time (newest first, missing last), then run id.
    pub order: Vec<OrderBy>,
    /// Where the page before this one ended.
    pub after: Option<Cursor>,
    /// At most this many runs.
    pub limit: usize,
}

/// Which lifecycle stages a search looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LifecycleFilter {
    /// Runs in use.
    #[default]
    Active,
    /// Soft-deleted runs.
    Deleted,
    /// Both.
    All,
}

/// A column of a run that can be compared and sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Column {
    /// A field of the run itself.
    Attribute(RunAttribute),
    /// A param, by key: text.
    Param(Box<str>),
    /// A tag, by key: text.
    Tag(Box<str>),
    /// An aggregate of a metric, by key: a number.
    Metric(Box<str>, MetricField),
}

/// Fields of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunAttribute {
    /// Text.
    RunId,
    /// Text.
    RunName,
    /// Text: `RUNNING`, `FINISHED`, …
    Status,
    /// Text.
    ArtifactUri,
    /// Text.
    UserId,
    /// Number: milliseconds since the epoch.
    StartTime,
    /// Number: milliseconds since the epoch; missing while the run goes on.
    EndTime,
    /// Text.
    ExperimentId,
    /// Number: milliseconds from start to end; missing while the run goes on.
    Duration,
    /// Text: name and digest of the run's first dataset.
    Dataset,
}

impl RunAttribute {
    /// Whether it compares as a number (milliseconds) rather than as text.
    pub const fn is_number(self) -> bool {
        matches!(self, Self::StartTime | Self::EndTime | Self::Duration)
    }
}

/// What of a metric's history to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricField {
    /// Value of the latest point by (step, timestamp, value).
    #[default]
    Last,
    /// Smallest value.
    Min,
    /// Greatest value.
    Max,
    /// Mean of all points.
    Mean,
    /// Number of points.
    Count,
}

/// What a run must meet. Missing values make a comparison unknown, as in SQL: neither it nor its negation matches.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// All of them (none: true).
    All(Vec<Predicate>),
    /// At least one of them (none: false).
    Any(Vec<Predicate>),
    /// Not that one.
    Not(Box<Predicate>),
    /// A number compared: metrics, start and end time. NaN equals nothing and orders nowhere.
    Number {
        /// A metric or a numeric attribute.
        column: Column,
        /// How.
        op: NumberOp,
        /// With what.
        value: f64,
    },
    /// A text compared: params, tags, text attributes.
    Text {
        /// A param, tag or text attribute.
        column: Column,
        /// How.
        op: TextOp,
        /// With what.
        value: Box<str>,
    },
    /// A text that is one of a list.
    TextIn {
        /// A param, tag or text attribute.
        column: Column,
        /// The list.
        values: Vec<Box<str>>,
    },
    /// No value there. Never unknown.
    IsNull(Column),
    /// Some dataset input of the run whose field meets the test.
    Dataset {
        /// Which field of the input.
        field: DatasetField,
        /// How.
        test: DatasetTest,
    },
}

/// Comparison of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// Comparison of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`, by Unicode code points.
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// SQL `LIKE`, case-sensitive: `%` any text, `_` any character.
    Like,
    /// `LIKE` without regard to case.
    ILike,
}

/// Fields of a dataset input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatasetField {
    /// Name of the dataset.
    Name,
    /// Digest of the dataset.
    Digest,
    /// The input's tag `mlflow.data.context`.
    Context,
}

/// Test of a dataset field.
#[derive(Debug, Clone, PartialEq)]
pub enum DatasetTest {
    /// Compared with one text.
    Text(TextOp, Box<str>),
    /// One of a list.
    In(Vec<Box<str>>),
    /// None of a list.
    NotIn(Vec<Box<str>>),
}

/// One sort key.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderBy {
    /// By what.
    pub column: Column,
    /// Smallest first? Missing values come last either way; NaN after numbers and before missing ones.
    pub ascending: bool,
}

/// The sort key of the last run of a page: the next page starts after it, whatever was added meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// A value for each [`RunQuery::order`].
    pub keys: Vec<SortValue>,
    /// Start time of the run.
    pub start_time: Option<Timestamp>,
    /// Id of the run.
    pub run_id: RunId,
}

/// A value to sort by.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    /// Missing.
    Null,
    /// A number (or NaN).
    Number(f64),
    /// A text.
    Text(Box<str>),
}
