//! The tables of a lake: a closed list, each with its schema, key and sort order.
//!
//! The columns are a public contract (docs/sql.md): a column may be added at the end, never renamed or retyped.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::rows::{self, Row as _};

/// How the rows of a table live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// Append-only, never updated.
    Facts,
    /// Upserts and deletes by primary key, newest wins.
    State,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// UTF-8 text.
    Text,
    /// 64-bit integer.
    Int,
    /// Double.
    Float,
    /// Boolean.
    Bool,
    /// Microseconds since the epoch, UTC.
    Time,
    /// Text by text.
    Map,
}

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name, the same in Rust, SQL and files.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether a row may have no value there.
    pub nullable: bool,
}

impl ColumnKind {
    /// The Arrow type of such a column.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Map => DataType::Map(Arc::new(Field::new("key_value", map_fields(), false)), false),
        }
    }
}

fn map_fields() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ]))
}

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $row:ty;)*) => {
        /// A table of the lake. The discriminant is written to the WAL: never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum TableId {
            /// Metric points: the one table of facts.
            Metrics = 1,
            $($(#[$doc])* $variant = $number,)*
        }

        impl TableId {
            /// Every table, `metrics` first.
            pub const ALL: &[Self] = &[Self::Metrics, $(Self::$variant,)*];

            /// Name of the table: its folder below `tables/`, and its name in SQL.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Metrics => "metrics",
                    $(Self::$variant => $name,)*
                }
            }

            /// Columns in file order; the key columns of a state table come first.
            pub const fn columns(self) -> &'static [Column] {
                match self {
                    Self::Metrics => METRICS_COLUMNS,
                    $(Self::$variant => <$row>::COLUMNS,)*
                }
            }

            /// How many of the first columns are the primary key (state) or the sort order (facts).
            pub const fn key_len(self) -> usize {
                match self {
                    Self::Metrics => METRICS_SORT_COLUMNS,
                    $(Self::$variant => <$row>::KEY_LEN,)*
                }
            }
        }
    };
}

const fn column(name: &'static str, kind: ColumnKind, nullable: bool) -> Column {
    Column { name, kind, nullable }
}

/// `metrics` is sorted by its first five columns; identical values in them are one point.
const METRICS_SORT_COLUMNS: usize = 5;
const METRICS_COLUMNS: &[Column] = &[
    column("run_id", ColumnKind::Text, false),
    column("key", ColumnKind::Text, false),
    column("step", ColumnKind::Int, false),
    column("timestamp", ColumnKind::Time, false),
    column("value", ColumnKind::Float, false),
    column("experiment_id", ColumnKind::Text, false),
    column("model_id", ColumnKind::Text, true),
    column("dataset_name", ColumnKind::Text, true),
    column("dataset_digest", ColumnKind::Text, true),
];

tables! {
    /// Experiments, one row each.
    Experiments = 2, "experiments", rows::Experiment;
    /// Tags of experiments.
    ExperimentTags = 3, "experiment_tags", rows::ExperimentTag;
    /// Runs, one row each.
    Runs = 4, "runs", rows::Run;
    /// Parameters of runs, write-once.
    Params = 5, "params", rows::Param;
    /// Tags of runs.
    Tags = 6, "tags", rows::Tag;
    /// Per run and metric: last point, extremes, count and sum. Derived from `metrics` by the engine.
    LatestMetrics = 7, "latest_metrics", rows::LatestMetric;
    /// Datasets that runs used.
    Datasets = 8, "datasets", rows::Dataset;
    /// Which run used which dataset or model, and as what.
    RunInputs = 9, "run_inputs", rows::RunInput;
    /// Which run made which logged model.
    RunOutputs = 10, "run_outputs", rows::RunOutput;
    /// Logged models (MLflow 3), one row each.
    LoggedModels = 11, "logged_models", rows::LoggedModel;
    /// Parameters of logged models.
    LoggedModelParams = 12, "logged_model_params", rows::LoggedModelParam;
    /// Tags of logged models.
    LoggedModelTags = 13, "logged_model_tags", rows::LoggedModelTag;
    /// Metric points that were attached to a logged model.
    LoggedModelMetrics = 14, "logged_model_metrics", rows::LoggedModelMetric;
    /// Registered models, prompts among them, one row each.
    RegisteredModels = 15, "registered_models", rows::RegisteredModel;
    /// Tags of registered models.
    RegisteredModelTags = 16, "registered_model_tags", rows::RegisteredModelTag;
    /// Names for versions: which version of a model an alias means.
    RegisteredModelAliases = 17, "registered_model_aliases", rows::RegisteredModelAlias;
    /// Versions of registered models, one row each.
    ModelVersions = 18, "model_versions", rows::ModelVersion;
    /// Tags of model versions.
    ModelVersionTags = 19, "model_version_tags", rows::ModelVersionTag;
    /// Who changed what in the registry, and when: rows are added, never changed.
    RegistryEvents = 20, "registry_events", rows::RegistryEvent;
    /// Webhooks, with what their messages are signed with: not for queries.
    Webhooks = 21, "webhooks", rows::Webhook;
    /// Messages that webhooks are still owed: not for queries.
    WebhookDeliveries = 22, "webhook_deliveries", rows::WebhookDelivery;
    /// Which changes of a registered model need approval, and whose.
    ApprovalPolicies = 23, "approval_policies", rows::ApprovalPolicy;
    /// Changes of registered models that were asked for, and what became of them.
    ApprovalRequests = 24, "approval_requests", rows::ApprovalRequest;
    /// Who said what to which request.
    ApprovalVotes = 25, "approval_votes", rows::ApprovalVote;
    /// Users and service accounts. Holds hashes of passwords: not for queries.
    Users = 30, "users", rows::User;
    /// Tokens of users. Holds hashes of secrets: not for queries.
    Tokens = 31, "tokens", rows::Token;
    /// Who has which role, and for what.
    RoleGrants = 32, "role_grants", rows::RoleGrant;
    /// Batches that callers named when they sent them, so that one sent again is not written again.
    IngestedBatches = 40, "ingested_batches", rows::IngestedBatch;
    /// What served models were asked and answered: rows are added, never changed.
    InferenceLog = 41, "inference_log", rows::Inference;
}

impl TableId {
    /// The table whose WAL number is `number`.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| *table as u8 == number)
    }

    /// The table called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.name() == name)
    }

    /// Facts or state.
    pub const fn kind(self) -> TableKind {
        match self {
            Self::Metrics => TableKind::Facts,
            _ => TableKind::State,
        }
    }

    /// Whether the table holds secrets or hashes of them, which no query may show.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Users | Self::Tokens | Self::Webhooks | Self::WebhookDeliveries)
    }

    /// Position of the column called `name`.
    pub fn column_index(self, name: &str) -> Option<usize> {
        self.columns().iter().position(|column| column.name == name)
    }

    /// The Arrow schema of the table, as in its files.
    #[allow(clippy::missing_panics_doc, reason = "it never panics: every table has its schema")]
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<Vec<(TableId, SchemaRef)>> =
            LazyLock::new(|| TableId::ALL.iter().map(|table| (*table, Arc::new(schema_of(table.columns())))).collect());
        SCHEMAS
            .iter()
            .find(|(table, _)| *table == self)
            .map(|(_, schema)| Arc::clone(schema))
            .expect("every table is in TableId::ALL")
    }
}

impl std::fmt::Display for TableId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn schema_of(columns: &[Column]) -> Schema {
    Schema::new(
        columns
            .iter()
            .map(|column| Field::new(column.name, column.kind.data_type(), column.nullable))
            .collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique_and_come_back() {
        for table in TableId::ALL {
            assert_eq!(TableId::from_number(*table as u8), Some(*table));
            assert_eq!(TableId::from_name(table.name()), Some(*table));
            assert!(table.key_len() > 0 && table.key_len() <= table.columns().len());
            assert_eq!(table.schema().fields().len(), table.columns().len());
        }
    }

    #[test]
    fn key_columns_are_never_null() {
        for table in TableId::ALL {
            for column in &table.columns()[..table.key_len()] {
                assert!(!column.nullable, "{table}.{}", column.name);
            }
        }
    }

    #[test]
    fn what_hangs_on_a_run_carries_its_experiment() {
        for table in TableId::ALL {
            if table.column_index("run_id").is_some() {
                assert!(table.column_index("experiment_id").is_some(), "{table}");
            }
        }
    }
}
