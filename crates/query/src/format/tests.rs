use std::io::Cursor;

use arrow_ipc::reader::StreamReader;
use datafusion::arrow::array::{Float64Array, Int64Array, ListArray};
use datafusion::arrow::datatypes::Int64Type;

use super::*;

fn batch() -> RecordBatch {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    RecordBatch::try_from_iter_with_nullable([
        ("name", Arc::new(StringArray::from(vec![Some("a,\"b\""), None, Some("<script>\n")])) as ArrayRef, true),
        ("step", Arc::new(Int64Array::from(vec![i64::MAX, -1, 0])), false),
        ("value", Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, 0.1])), false),
        ("list", Arc::new(lists), true),
    ])
    .expect("columns of one length")
}

fn written(format: Format, truncated: bool) -> Vec<u8> {
    let batch = batch();
    let mut encoder = Encoder::new(format, &batch.schema()).expect("a schema");
    let mut bytes = encoder.take();
    encoder.write(&batch).expect("rows");
    bytes.extend(encoder.take());
    bytes.extend(encoder.finish(truncated).expect("an end"));
    bytes
}

#[test]
fn json_keeps_every_value() {
    let json: serde_json::Value = serde_json::from_slice(&written(Format::Json, true)).expect("JSON");
    assert_eq!(json["columns"][1], serde_json::json!({"name": "step", "type": "BIGINT"}));
    assert_eq!(json["rows"][0], serde_json::json!(["a,\"b\"", i64::MAX, "NaN", [1, null]]));
    assert_eq!(json["rows"][1], serde_json::json!([null, -1, "-Infinity", null]));
    assert_eq!(json["rows"][2], serde_json::json!(["<script>\n", 0, 0.1, []]));
    assert_eq!((&json["row_count"], &json["truncated"]), (&3.into(), &true.into()));
}

#[test]
fn json_lines_are_objects() {
    let text = String::from_utf8(written(Format::JsonLines, false)).expect("UTF-8");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[1], serde_json::json!({"name": null, "step": -1, "value": "-Infinity", "list": null}));
    assert_eq!(lines.len(), 3);
}

#[test]
fn csv_quotes_and_flattens() {
    let text = String::from_utf8(written(Format::Csv, false)).expect("UTF-8");
    assert!(text.starts_with("name,step,value,list\n\"a,\"\"b\"\"\",9223372036854775807,NaN,\"[1, ]\"\n"), "{text}");
}

#[test]
fn a_csv_without_rows_has_a_header() {
    let encoder = Encoder::new(Format::Csv, &batch().schema()).expect("a schema");
    assert_eq!(encoder.finish(false).expect("an end"), b"name,step,value,list\n");
}

#[test]
fn arrow_comes_back_as_it_went() {
    for format in [Format::Arrow, Format::ArrowZstd] {
        let bytes = written(format, false);
        let read: Vec<_> = StreamReader::try_new(Cursor::new(bytes), None).expect("a stream").collect();
        assert_eq!(read.len(), 1);
        let read = read[0].as_ref().expect("a batch");
        assert_eq!(read.num_rows(), 3);
        assert_eq!(read.schema(), batch().schema());
    }
}

#[test]
fn parquet_is_whole() {
    let bytes = bytes::Bytes::from(written(Format::Parquet, false));
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
    assert_eq!(reader.metadata().file_metadata().num_rows(), 3);
}
