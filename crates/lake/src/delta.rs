//! What a table is in Delta's words: its log store, schema, properties, and what of other tools' doing is refused.

use std::sync::Arc;
use std::time::Duration;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::{
    DataType, MapType, Metadata, MetadataExt as _, Protocol, StructField, StructType, new_metadata,
};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::table::state::DeltaTableState;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, path::Path};
use runlake_types::{ColumnKind, TableId};
use serde_json::json;
use url::Url;

use crate::error::Told as _;
use crate::file::key_columns;
use crate::{Error, LakeSettings};

/// Features of Delta that change nothing for a reader of plain Parquet files.
const HARMLESS_FEATURES: &[&str] = &["timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "appendOnly", "invariants"];

/// The log of the table at `root`. The Delta library sees the lake's objects under a URL of its own making, so that any
/// store works, and nothing is registered anywhere.
pub(crate) fn log_store(objects: &Arc<dyn ObjectStore>, root: &Path) -> LogStoreRef {
    let url = Url::parse(&format!("runlake:///{root}/")).expect("a path of plain names is a URL");
    let table = Arc::new(PrefixStore::new(Arc::clone(objects), root.clone()));
    default_logstore(table, Arc::clone(objects), &url, &StorageConfig::default())
}

/// Schema, protocol and properties of a new table.
pub(crate) fn create(table: TableId, settings: &LakeSettings) -> Result<(Protocol, Metadata), Error> {
    let protocol = serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}))
        .map_err(DeltaTableError::from)
        .told(table, "describe the protocol")?;
    let statistics: Vec<_> = key_columns(table).map(|(name, _)| name).collect();
    let properties = [
        ("delta.dataSkippingStatsColumns", statistics.join(",")),
        ("delta.logRetentionDuration", interval(settings.log_retention)),
        ("delta.deletedFileRetentionDuration", interval(settings.tombstone_retention)),
    ];
    let metadata = new_metadata(&schema(table)?, Vec::<String>::new(), properties)
        .map_err(DeltaTableError::from)
        .and_then(|metadata| Ok(metadata.with_name(table.name().to_owned())?))
        .told(table, "describe the schema")?;
    Ok((protocol, metadata))
}

/// Metadata with the columns that the table did not have when it was created; `None` when it has them all.
pub(crate) fn evolved(table: TableId, state: &DeltaTableState) -> Result<Option<Metadata>, Error> {
    let present = state.schema();
    let missing: Vec<_> = table.columns().iter().filter(|column| present.field(column.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    // Old files have no values for a new column, so it may be null there whatever the newest rows have.
    let added = missing.iter().map(|column| StructField::nullable(column.name, data_type(column.kind)));
    let schema = StructType::try_new(present.fields().cloned().chain(added))
        .map_err(DeltaTableError::from)
        .told(table, "extend the schema")?;
    let metadata = state.metadata().clone().with_schema(&schema);
    Ok(Some(metadata.map_err(DeltaTableError::from).told(table, "extend the schema")?))
}

/// Refuses a table that needs more than reading and writing plain Parquet files, or whose columns changed their type.
pub(crate) fn check(table: TableId, state: &DeltaTableState) -> Result<(), Error> {
    let unsupported = |problem: String| Err(Error::Unsupported { table, problem });
    let protocol = state.protocol();
    if protocol.min_reader_version() > 3 || protocol.min_writer_version() > 7 {
        return unsupported(format!(
            "its Delta protocol is {}/{}, this version knows 3/7: use a newer runlake",
            protocol.min_reader_version(),
            protocol.min_writer_version()
        ));
    }
    let features = protocol.reader_features().unwrap_or_default();
    if let Some(feature) = features.iter().find(|feature| !HARMLESS_FEATURES.contains(&feature.as_ref())) {
        return unsupported(format!("another tool switched on the Delta feature {:?}", feature.as_ref()));
    }
    let mapping = state.metadata().configuration().get("delta.columnMapping.mode");
    if mapping.is_some_and(|mode| mode != "none") {
        return unsupported("another tool switched on column mapping".to_owned());
    }
    let schema = state.schema();
    for column in table.columns() {
        if let Some(field) = schema.field(column.name)
            && !same_type(field.data_type(), &data_type(column.kind))
        {
            return unsupported(format!("column {} is {} there", column.name, field.data_type()));
        }
    }
    Ok(())
}

fn same_type(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (DataType::Map(found), DataType::Map(wanted)) => {
            found.key_type() == wanted.key_type() && found.value_type() == wanted.value_type()
        }
        _ => found == wanted,
    }
}

fn schema(table: TableId) -> Result<StructType, Error> {
    let fields =
        table.columns().iter().map(|column| StructField::new(column.name, data_type(column.kind), column.nullable));
    StructType::try_new(fields).map_err(DeltaTableError::from).told(table, "describe the schema")
}

fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Text => DataType::STRING,
        ColumnKind::Int => DataType::LONG,
        ColumnKind::Float => DataType::DOUBLE,
        ColumnKind::Bool => DataType::BOOLEAN,
        ColumnKind::Time => DataType::TIMESTAMP,
        ColumnKind::Map => MapType::new(DataType::STRING, DataType::STRING, true).into(),
    }
}

fn interval(duration: Duration) -> String {
    format!("interval {} seconds", duration.as_secs())
}

#[cfg(test)]
mod tests;
