//! The typed rows of the state tables. Columns and their meaning are documented in docs/sql.md.

use crate::{
    Cell, Column, ColumnKind, EventId, ExperimentId, Key, ModelId, Record, RunId, SchemaError, TableId, Timestamp,
};

/// A row of a state table with its Rust type.
pub trait Row: Sized + Send + Sync + 'static {
    /// The table it belongs to.
    const TABLE: TableId;
    /// Its columns, key columns first.
    const COLUMNS: &'static [Column];
    /// How many columns are the key.
    const KEY_LEN: usize;

    /// The row without its type.
    fn to_record(&self) -> Record;

    /// The row back from [`Row::to_record`].
    fn from_record(record: &Record) -> Result<Self, SchemaError>;

    /// Its primary key.
    fn key(&self) -> Key {
        Key::of(Self::TABLE, &self.to_record())
    }
}

/// A Rust type that can stand in a column.
trait Value: Sized {
    const KIND: ColumnKind;
    const NULLABLE: bool = false;
    fn to_cell(&self) -> Cell;
    fn from_cell(cell: &Cell) -> Option<Self>;
}

macro_rules! rows {
    ($($(#[$doc:meta])* $table:ident => $row:ident {
        [$($(#[$key_doc:meta])* $key:ident: $key_type:ty),+ $(,)?]
        $($(#[$field_doc:meta])* $field:ident: $field_type:ty,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $row {
            $($(#[$key_doc])* pub $key: $key_type,)+
            $($(#[$field_doc])* pub $field: $field_type,)*
        }

        impl Row for $row {
            const TABLE: TableId = TableId::$table;
            const COLUMNS: &'static [Column] = &[
                $(column_of::<$key_type>(stringify!($key)),)+
                $(column_of::<$field_type>(stringify!($field)),)*
            ];
            const KEY_LEN: usize = [$(stringify!($key)),+].len();

            fn to_record(&self) -> Record {
                Record::new(vec![
                    $(self.$key.to_cell(),)+
                    $(self.$field.to_cell(),)*
                ])
            }

            fn from_record(record: &Record) -> Result<Self, SchemaError> {
                let mut cells = record.cells().iter();
                Ok(Self {
                    $($key: read(Self::TABLE, stringify!($key), cells.next())?,)+
                    $($field: read(Self::TABLE, stringify!($field), cells.next())?,)*
                })
            }
        }
    )*};
}

const fn column_of<T: Value>(name: &'static str) -> Column {
    Column { name, kind: T::KIND, nullable: T::NULLABLE }
}

fn read<T: Value>(table: TableId, column: &str, cell: Option<&Cell>) -> Result<T, SchemaError> {
    cell.and_then(T::from_cell).ok_or_else(|| SchemaError::new(table.name(), format!("column {column} holds {cell:?}")))
}

rows! {
    /// An experiment.
    Experiments => Experiment {
        [
            experiment_id: ExperimentId,
        ]
        name: String,
        artifact_location: String,
        /// `active` or `deleted`.
        lifecycle_stage: Lifecycle,
        creation_time: Timestamp,
        last_update_time: Timestamp,
    }

    /// A tag of an experiment.
    ExperimentTags => ExperimentTag {
        [
            experiment_id: ExperimentId,
            key: String,
        ]
        value: String,
    }

    /// A run.
    Runs => Run {
        [
            run_id: RunId,
        ]
        experiment_id: ExperimentId,
        run_name: String,
        user_id: String,
        status: RunStatus,
        start_time: Option<Timestamp>,
        end_time: Option<Timestamp>,
        lifecycle_stage: Lifecycle,
        deleted_time: Option<Timestamp>,
        artifact_uri: String,
        /// The run named by the tag `mlflow.parentRunId`.
        parent_run_id: Option<String>,
    }

    /// A parameter of a run. Once written it never changes.
    Params => Param {
        [
            run_id: RunId,
            key: String,
        ]
        experiment_id: ExperimentId,
        value: String,
    }

    /// A tag of a run.
    Tags => Tag {
        [
            run_id: RunId,
            key: String,
        ]
        experiment_id: ExperimentId,
        value: String,
    }

    /// What is known of one metric of one run without reading its history.
    LatestMetrics => LatestMetric {
        [
            run_id: RunId,
            key: String,
        ]
        experiment_id: ExperimentId,
        /// Step of the last point: the greatest by (step, timestamp, value), as MLflow orders them.
        step: i64,
        /// Timestamp of the last point.
        timestamp: Timestamp,
        /// Value of the last point.
        value: f64,
        /// Smallest value that is not NaN.
        min: Option<f64>,
        /// Step at which `min` was first reached.
        min_step: Option<i64>,
        /// Greatest value that is not NaN.
        max: Option<f64>,
        /// Step at which `max` was first reached.
        max_step: Option<i64>,
        /// Sum of all values.
        sum: f64,
        /// Number of points; identical ones count once.
        count: i64,
    }

    /// A dataset, known by name and digest within an experiment.
    Datasets => Dataset {
        [
            experiment_id: ExperimentId,
            name: String,
            digest: String,
        ]
        dataset_id: String,
        source_type: String,
        source: String,
        schema: Option<String>,
        profile: Option<String>,
    }

    /// A dataset or logged model that went into a run.
    RunInputs => RunInput {
        [
            run_id: RunId,
            /// `DATASET` or `MODEL`.
            input_type: String,
            /// `dataset_id` of the dataset, or id of the model.
            input_id: String,
        ]
        experiment_id: ExperimentId,
        dataset_name: Option<String>,
        dataset_digest: Option<String>,
        /// Tags of the input, such as `mlflow.data.context`.
        tags: Vec<(String, String)>,
    }

    /// A logged model that came out of a run.
    RunOutputs => RunOutput {
        [
            run_id: RunId,
            model_id: ModelId,
        ]
        experiment_id: ExperimentId,
        step: i64,
    }

    /// A logged model (MLflow 3).
    LoggedModels => LoggedModel {
        [
            model_id: ModelId,
        ]
        experiment_id: ExperimentId,
        source_run_id: Option<String>,
        name: String,
        model_type: Option<String>,
        /// MLflow's status number: 1 pending, 2 ready, 3 upload failed.
        status: i64,
        status_message: Option<String>,
        artifact_uri: String,
        lifecycle_stage: Lifecycle,
        creation_time: Timestamp,
        last_update_time: Timestamp,
    }

    /// A parameter of a logged model.
    LoggedModelParams => LoggedModelParam {
        [
            model_id: ModelId,
            key: String,
        ]
        experiment_id: ExperimentId,
        value: String,
    }

    /// A tag of a logged model.
    LoggedModelTags => LoggedModelTag {
        [
            model_id: ModelId,
            key: String,
        ]
        experiment_id: ExperimentId,
        value: String,
    }

    /// A metric point attached to a logged model; every point is kept, as MLflow does.
    LoggedModelMetrics => LoggedModelMetric {
        [
            model_id: ModelId,
            key: String,
            timestamp: Timestamp,
            step: i64,
            run_id: RunId,
        ]
        experiment_id: ExperimentId,
        value: f64,
        dataset_name: Option<String>,
        dataset_digest: Option<String>,
    }

    /// A bulk batch that was written, by the name its sender gave it.
    IngestedBatches => IngestedBatch {
        [
            /// Name of the user who sent it; empty where nobody has to log in.
            user_name: String,
            batch_id: String,
        ]
        time: Timestamp,
        rows: i64,
    }

    /// A row that a served model was given, and what it made of it. Ids of requests are time-ordered, so that new rows come
    /// after all others.
    InferenceLog => Inference {
        [
            request_id: String,
            /// Number of the row in its request, from 0.
            row: i64,
        ]
        time: Timestamp,
        /// What the model is called by its server.
        model: String,
        registered_model: Option<String>,
        version: Option<i64>,
        model_id: Option<String>,
        /// Whether nobody was given the answer.
        is_shadow: bool,
        /// Status of HTTP.
        status: i64,
        /// From request to answer.
        latency_ms: f64,
        /// Value by column, each as text. What is null, or was not to be kept, is not there.
        inputs: Vec<(String, String)>,
        /// JSON.
        output: Option<String>,
        error: Option<String>,
    }
}

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// As written in tables and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// Back from [`Self::as_str`].
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Value for $name {
            const KIND: ColumnKind = ColumnKind::Text;

            fn to_cell(&self) -> Cell {
                Cell::Text(self.as_str().into())
            }

            fn from_cell(cell: &Cell) -> Option<Self> {
                match cell {
                    Cell::Text(text) => Self::parse(text),
                    _ => None,
                }
            }
        }
    };
}

text_enum! {
    /// Whether a thing is in use or soft-deleted.
    Lifecycle {
        /// In use.
        Active = "active",
        /// Deleted, and restorable.
        Deleted = "deleted",
    }
}

text_enum! {
    /// State of a run.
    RunStatus {
        /// Writing.
        Running = "RUNNING",
        /// Not started yet.
        Scheduled = "SCHEDULED",
        /// Ended well.
        Finished = "FINISHED",
        /// Ended with an error.
        Failed = "FAILED",
        /// Stopped from outside.
        Killed = "KILLED",
    }
}

impl Value for String {
    const KIND: ColumnKind = ColumnKind::Text;

    fn to_cell(&self) -> Cell {
        Cell::Text(self.as_str().into())
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Some(text.to_string()),
            _ => None,
        }
    }
}

macro_rules! text_ids {
    ($($id:ident),+) => {$(
        impl Value for $id {
            const KIND: ColumnKind = ColumnKind::Text;

            fn to_cell(&self) -> Cell {
                Cell::Text(self.as_str().into())
            }

            fn from_cell(cell: &Cell) -> Option<Self> {
                match cell {
                    Cell::Text(text) => Some(Self::from_stored(text)),
                    _ => None,
                }
            }
        }
    )+};
}

text_ids!(RunId, EventId, ModelId);

impl Value for ExperimentId {
    const KIND: ColumnKind = ColumnKind::Text;

    fn to_cell(&self) -> Cell {
        Cell::Text(self.to_string().into())
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Self::parse(text).ok(),
            _ => None,
        }
    }
}

impl Value for Timestamp {
    const KIND: ColumnKind = ColumnKind::Time;

    fn to_cell(&self) -> Cell {
        Cell::Int(self.micros())
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Int(micros) => Some(Self::from_micros(*micros)),
            _ => None,
        }
    }
}

impl Value for i64 {
    const KIND: ColumnKind = ColumnKind::Int;

    fn to_cell(&self) -> Cell {
        Cell::Int(*self)
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Int(number) => Some(*number),
            _ => None,
        }
    }
}

impl Value for f64 {
    const KIND: ColumnKind = ColumnKind::Float;

    fn to_cell(&self) -> Cell {
        Cell::Float(*self)
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Float(number) => Some(*number),
            _ => None,
        }
    }
}

impl Value for bool {
    const KIND: ColumnKind = ColumnKind::Bool;

    fn to_cell(&self) -> Cell {
        Cell::Bool(*self)
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Bool(truth) => Some(*truth),
            _ => None,
        }
    }
}

impl Value for Vec<(String, String)> {
    const KIND: ColumnKind = ColumnKind::Map;
    const NULLABLE: bool = true;

    fn to_cell(&self) -> Cell {
        Cell::Map(self.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Map(entries) => {
                Some(entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
            }
            Cell::Null => Some(Self::new()),
            _ => None,
        }
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: ColumnKind = T::KIND;
    const NULLABLE: bool = true;

    fn to_cell(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, T::to_cell)
    }

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            other => T::from_cell(other).map(Some),
        }
    }
}

mod identity;
mod registry;

pub use identity::{Role, RoleGrant, ScopeKind, Token, User};
pub use registry::*;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{batch_from_records, records_from_batch};

    #[test]
    fn a_row_survives_the_way_to_arrow_and_back() {
        let input = RunInput {
            run_id: RunId::from_stored("r"),
            input_type: "DATASET".into(),
            input_id: "d".into(),
            experiment_id: ExperimentId::new(7),
            dataset_name: None,
            dataset_digest: Some("x".into()),
            tags: vec![("mlflow.data.context".into(), "train".into())],
        };
        let record = input.to_record();
        let batch = batch_from_records(RunInput::TABLE, [&record]).expect("fits");
        let back = records_from_batch(RunInput::TABLE, &batch).expect("fits");
        assert_eq!(RunInput::from_record(&back[0]).expect("fits"), input);
    }

    #[test]
    fn key_columns_come_first() {
        let param = Param {
            run_id: RunId::from_stored("r"),
            key: "lr".into(),
            experiment_id: ExperimentId::DEFAULT,
            value: "1".into(),
        };
        assert_eq!(param.key(), crate::KeyBuilder::default().text("r").text("lr").build());
    }
}
