use arrow_array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use runlake_storage::Store;
use runlake_types::{
    ErrorKind, KeyBuilder, Row as _,
    rows::{Dataset, Param},
};
use serde_json::Value;

use super::*;
use crate::testing::{memory, next, open, param, put};
use crate::{CompactPolicy, Table};

/// A table as another tool, or an older version of ours, may have left it.
struct Foreign {
    table: TableId,
    columns: Vec<&'static str>,
    protocol: Value,
    properties: Value,
}

impl Default for Foreign {
    fn default() -> Self {
        Self {
            table: TableId::Params,
            columns: vec!["run_id", "key", "experiment_id", "value"],
            protocol: json!({"minReaderVersion": 1, "minWriterVersion": 2}),
            properties: json!({}),
        }
    }
}

impl Foreign {
    /// Writes the table with one file per group of rows (run, key, value), without statistics or tags.
    async fn write(&self, store: &Store, files: &[&[(&str, &str, &str)]]) {
        let fields: Vec<_> = self
            .columns
            .iter()
            .map(|name| json!({"name": name, "type": "string", "nullable": true, "metadata": self.mapping(name)}))
            .collect();
        let schema = json!({"type": "struct", "fields": fields}).to_string();
        let metadata = json!({"id": "x", "format": {"provider": "parquet", "options": {}}, "schemaString": schema,
            "partitionColumns": [], "configuration": self.properties, "createdTime": 0});
        let mut log = vec![json!({"protocol": self.protocol}), json!({"metaData": metadata})];
        for (at, rows) in files.iter().enumerate() {
            let bytes = self.parquet(rows);
            let name = format!("foreign-{at}.parquet");
            log.push(json!({"add": {"path": name, "partitionValues": {}, "size": bytes.len(), "modificationTime": 0, "dataChange": true}}));
            store.put_new(&Path::from(format!("tables/{}/{name}", self.table)), bytes).await.unwrap();
        }
        let log: Vec<_> = log.iter().map(Value::to_string).collect();
        let path = Path::from(format!("tables/{}/_delta_log/00000000000000000000.json", self.table));
        store.put_new(&path, log.join("\n").into()).await.unwrap();
    }

    fn mapping(&self, name: &str) -> Value {
        match self.properties.get("delta.columnMapping.mode") {
            Some(_) => json!({"delta.columnMapping.id": name.len(), "delta.columnMapping.physicalName": name}),
            None => json!({}),
        }
    }

    fn parquet(&self, rows: &[(&str, &str, &str)]) -> Bytes {
        let columns = self.columns.iter().map(|name| {
            let values = rows.iter().map(|(run, key, value)| match *name {
                "run_id" => *run,
                "key" => *key,
                "value" => *value,
                _ => "1",
            });
            (*name, Arc::new(StringArray::from_iter_values(values)) as ArrayRef)
        });
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }
}

async fn params(table: &Table, prefix: &[&str]) -> Vec<Param> {
    let prefix = prefix.iter().fold(KeyBuilder::default(), |key, text| key.text(text)).build();
    let rows = table.snapshot().records(&prefix).await.unwrap();
    rows.iter().map(|(_, record)| Param::from_record(record).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_other_tools_are_read_merged_and_put_in_order() {
    let store = memory().await;
    let files: [&[_]; 2] = [&[("c", "k", "1"), ("a", "k", "2")], &[("b", "z", "3"), ("b", "k", "4")]];
    Foreign { columns: vec!["extra", "value", "key", "run_id", "experiment_id"], ..Foreign::default() }
        .write(&store, &files)
        .await;
    let table = open(&store, TableId::Params).await;
    let rows = [param("a", "k", "2"), param("b", "k", "4"), param("b", "z", "3"), param("c", "k", "1")];
    assert_eq!(params(&table, &[]).await, rows);
    assert_eq!(params(&table, &["b"]).await, rows[1..3]);
    assert_eq!(params(&table, &["b", "z"]).await, rows[2..3]);

    table.merge(vec![put("b", "k", "new"), put("d", "k", "5")], next(&table)).await.unwrap();
    let rows = [&rows[..1], &[param("b", "k", "new")], &rows[2..], &[param("d", "k", "5")]].concat();
    assert_eq!(params(&table, &[]).await, rows);
    assert_eq!(table.snapshot().files().len(), 1);
    assert!(table.snapshot().files()[0].is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_untangles_files_of_other_tools() {
    let store = memory().await;
    Foreign::default().write(&store, &[&[("c", "k", "1"), ("a", "k", "2")], &[("b", "z", "3")]]).await;
    let table = open(&store, TableId::Params).await;
    assert_eq!(table.compact(&CompactPolicy::default()).await.unwrap().files_before, 2);
    assert_eq!(params(&table, &[]).await, [param("a", "k", "2"), param("b", "z", "3"), param("c", "k", "1")]);
    assert!(table.snapshot().files()[0].is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_column_is_added_by_the_next_commit() {
    let store = memory().await;
    let columns = vec!["experiment_id", "name", "digest", "dataset_id", "source_type", "source"];
    Foreign { table: TableId::Datasets, columns, ..Foreign::default() }.write(&store, &[&[("a", "k", "")]]).await;
    let table = open(&store, TableId::Datasets).await;
    let everything = KeyBuilder::default().build();
    let old = table.snapshot().records(&everything).await.unwrap();
    assert_eq!(Dataset::from_record(&old[0].1).unwrap().profile, None);
    let mut dataset = Dataset::from_record(&old[0].1).unwrap();
    dataset.name = "2".to_owned();
    dataset.profile = Some("{}".to_owned());
    table.merge(vec![(dataset.key(), Some(Arc::new(dataset.to_record())))], next(&table)).await.unwrap();
    let rows = table.snapshot().records(&everything).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(Dataset::from_record(&rows[1].1).unwrap(), dataset);

    let mut delta = deltalake_core::DeltaTable::new(log_store(store.objects(), &table.files().root));
    delta.load().await.unwrap();
    let state = delta.snapshot().unwrap();
    assert_eq!(state.version(), 1);
    assert_eq!(evolved(TableId::Datasets, state).unwrap(), None);
    assert!(state.schema().field("profile").is_some_and(StructField::is_nullable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_right_is_refused() {
    let features = |features: Value| json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features});
    let foreign = [
        Foreign { protocol: json!({"minReaderVersion": 4, "minWriterVersion": 9}), ..Foreign::default() },
        Foreign { protocol: features(json!(["deletionVectors"])), ..Foreign::default() },
        Foreign { protocol: features(json!(["somethingNew"])), ..Foreign::default() },
        Foreign {
            protocol: json!({"minReaderVersion": 2, "minWriterVersion": 5}),
            properties: json!({"delta.columnMapping.mode": "name"}),
            ..Foreign::default()
        },
    ];
    for table in foreign {
        let store = memory().await;
        table.write(&store, &[]).await;
        let opened = Table::open(&store, TableId::Params, "test", &LakeSettings::default()).await;
        let error = opened.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let store = memory().await;
    Foreign { protocol: features(json!(["timestampNtz"])), ..Foreign::default() }.write(&store, &[]).await;
    open(&store, TableId::Params).await;
}
