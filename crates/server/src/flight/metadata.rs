//! What Flight SQL tells of the lake: databases, schemas, tables, keys, types, abilities.

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, Nullable, Searchable, SqlInfo,
    SqlSupportedTransaction, XdbcDataType,
};
use arrow_schema::{DataType, Field, Schema};
use futures::StreamExt as _;
use runlake_query::{DATABASE, MLFLOW, PUBLIC, Queries, Request};
use runlake_types::{TableId, TableKind};

use crate::error::{ApiError, Result};

/// Version of the Arrow format that is spoken.
const ARROW_FORMAT: &str = "1.5";
/// Kinds of table, as SQL calls them.
pub(super) const TABLE_TYPES: [&str; 2] = ["BASE TABLE", "VIEW"];
const SCHEMAS: [&str; 3] = [PUBLIC, MLFLOW, "information_schema"];

/// A batch that the library made of what matches a command's filters.
pub(super) fn built(batch: arrow_flight::error::Result<RecordBatch>) -> Result<RecordBatch> {
    batch.map_err(|error| ApiError::invalid(error.to_string()))
}

/// Schemas that match a command's filters.
pub(super) fn schemas(command: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = command.into_builder();
    SCHEMAS.iter().for_each(|schema| builder.append(DATABASE, schema));
    built(builder.build())
}

/// Tables that match a command's filters, with their columns where it asks for them.
pub(super) async fn tables(queries: &Queries, command: CommandGetTables) -> Result<RecordBatch> {
    let with_columns = command.include_schema;
    let mut builder = command.into_builder();
    let sql = "SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY 1, 2";
    let mut answer = queries.run(Request::new(sql)).await?;
    while let Some(batch) = answer.next().await.transpose()? {
        for row in 0..batch.num_rows() {
            let [schema, name, kind] = [0, 1, 2].map(|column| text(&batch, column, row));
            let columns = if with_columns { columns(queries, schema, name).await? } else { Schema::empty() };
            let appended = builder.append(DATABASE, schema, name, kind, &columns);
            appended.map_err(|error| ApiError::internal(error.to_string()))?;
        }
    }
    built(builder.build())
}

async fn columns(queries: &Queries, schema: &str, name: &str) -> Result<Schema> {
    let sql = format!("SELECT * FROM \"{DATABASE}\".\"{schema}\".\"{name}\"");
    let described = queries.describe(Request::new(sql)).await?;
    Ok(described.schema.map_or_else(Schema::empty, |schema| schema.as_ref().clone()))
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> &str {
    batch.column(column).as_string_opt::<i32>().map_or("", |texts| texts.value(row))
}

fn nullable(names: &[&str], kind: &DataType, is_nullable: bool) -> Vec<Field> {
    names.iter().map(|name| Field::new(*name, kind.clone(), is_nullable)).collect()
}

/// Columns of an answer about primary keys.
pub(super) fn keys_schema() -> Schema {
    let mut fields = nullable(&["catalog_name", "db_schema_name"], &DataType::Utf8, true);
    fields.extend(nullable(&["table_name", "column_name"], &DataType::Utf8, false));
    fields.push(Field::new("key_name", DataType::Utf8, true));
    fields.push(Field::new("key_sequence", DataType::Int32, false));
    Schema::new(fields)
}

/// The primary key of a table; none of one that has none, or is not there.
pub(super) fn keys(command: &CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let is_here = command.catalog.as_deref().is_none_or(|catalog| catalog == DATABASE)
        && command.db_schema.as_deref().is_none_or(|schema| schema == PUBLIC);
    let name = command.table.as_str();
    let is_asked = |table: &TableId| is_here && table.name() == name && table.kind() == TableKind::State;
    let columns: Vec<&str> = runlake_query::tables()
        .find(is_asked)
        .map_or_else(Vec::new, |table| table.columns()[..table.key_len()].iter().map(|column| column.name).collect());
    let all = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; columns.len()])) };
    let arrays: Vec<ArrayRef> = vec![
        all(DATABASE),
        all(PUBLIC),
        all(name),
        Arc::new(StringArray::from(columns.clone())),
        Arc::new(StringArray::new_null(columns.len())),
        Arc::new(Int32Array::from_iter_values((1..).take(columns.len()))),
    ];
    Ok(RecordBatch::try_new(Arc::new(keys_schema()), arrays)?)
}

/// Columns of an answer about foreign keys, of which there are none.
pub(super) fn references_schema() -> Schema {
    let mut fields = Vec::new();
    for side in ["pk", "fk"] {
        for (name, is_nullable) in
            [("catalog_name", true), ("db_schema_name", true), ("table_name", false), ("column_name", false)]
        {
            fields.push(Field::new(format!("{side}_{name}"), DataType::Utf8, is_nullable));
        }
    }
    fields.push(Field::new("key_sequence", DataType::Int32, false));
    fields.extend(nullable(&["fk_key_name", "pk_key_name"], &DataType::Utf8, true));
    fields.extend(nullable(&["update_rule", "delete_rule"], &DataType::UInt8, false));
    Schema::new(fields)
}

/// No foreign keys.
pub(super) fn references() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(references_schema()))
}

/// What the server can do.
pub(super) fn abilities() -> &'static SqlInfoData {
    static ABILITIES: LazyLock<SqlInfoData> = LazyLock::new(|| {
        let mut info = SqlInfoDataBuilder::new();
        info.append(SqlInfo::FlightSqlServerName, "runlake");
        info.append(SqlInfo::FlightSqlServerVersion, crate::VERSION);
        info.append(SqlInfo::FlightSqlServerArrowVersion, ARROW_FORMAT);
        // What is ingested in bulk is not SQL.
        info.append(SqlInfo::FlightSqlServerReadOnly, true);
        info.append(SqlInfo::FlightSqlServerSql, true);
        info.append(SqlInfo::FlightSqlServerSubstrait, false);
        info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
        info.append(SqlInfo::FlightSqlServerCancel, true);
        info.append(SqlInfo::FlightSqlServerBulkIngestion, true);
        info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
        info.append(SqlInfo::FlightSqlServerStatementTimeout, 0i32);
        info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
        info.append(SqlInfo::SqlDdlCatalog, false);
        info.append(SqlInfo::SqlDdlSchema, false);
        info.append(SqlInfo::SqlDdlTable, false);
        info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        info.build().expect("the list above is in order")
    });
    &ABILITIES
}

/// Types that columns have.
pub(super) fn types() -> &'static XdbcTypeInfoData {
    static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
        let mut types = XdbcTypeInfoDataBuilder::new();
        for (name, kind, quote, size) in [
            ("BOOLEAN", XdbcDataType::XdbcBit, None, 1),
            ("BIGINT", XdbcDataType::XdbcBigint, None, 64),
            ("DOUBLE", XdbcDataType::XdbcDouble, None, 53),
            ("VARCHAR", XdbcDataType::XdbcVarchar, Some("'"), i32::MAX),
            ("TIMESTAMP", XdbcDataType::XdbcTimestamp, Some("'"), 26),
        ] {
            types.append(XdbcTypeInfo {
                type_name: name.to_owned(),
                data_type: kind,
                column_size: Some(size),
                literal_prefix: quote.map(str::to_owned),
                literal_suffix: quote.map(str::to_owned),
                create_params: None,
                nullable: Nullable::NullabilityNullable,
                case_sensitive: quote.is_some(),
                searchable: Searchable::Full,
                unsigned_attribute: Some(false),
                fixed_prec_scale: false,
                auto_increment: None,
                local_type_name: Some(name.to_owned()),
                minimum_scale: None,
                maximum_scale: None,
                sql_data_type: kind,
                datetime_subcode: None,
                num_prec_radix: None,
                interval_precision: None,
            });
        }
        types.build().expect("each type is whole")
    });
    &TYPES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(table: &str, catalog: Option<&str>) -> Vec<String> {
        let command =
            CommandGetPrimaryKeys { catalog: catalog.map(str::to_owned), db_schema: None, table: table.to_owned() };
        let batch = keys(&command).expect("keys");
        (0..batch.num_rows()).map(|row| text(&batch, 3, row).to_owned()).collect()
    }

    #[test]
    fn keys_are_those_of_the_tables() {
        assert_eq!(key_of("params", None), ["run_id", "key"]);
        assert_eq!(key_of("runs", Some(DATABASE)), ["run_id"]);
        assert!(key_of("runs", Some("elsewhere")).is_empty());
        assert!(key_of("metrics", None).is_empty(), "facts have no key");
        assert!(key_of("users", None).is_empty(), "what SQL hides is hidden here");
    }

    #[test]
    fn what_is_told_of_the_server_is_whole() {
        assert!(abilities().schema().fields().len() >= 2);
        assert_eq!(references().num_rows(), 0);
        assert_eq!(references_schema().fields().len(), 13);
        types();
    }
}
