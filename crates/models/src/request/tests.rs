use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::signature::Param;

fn signature(inputs: &str, params: Option<&str>) -> Signature {
    Signature {
        inputs: Some(Schema::parse(inputs).unwrap()),
        outputs: None,
        params: params.map(|text| Param::parse_all(text).unwrap()),
    }
}

fn two() -> Signature {
    signature(
        r#"[{"type":"double","name":"a"},{"type":"long","name":"b"},{"type":"string","name":"c","required":false}]"#,
        None,
    )
}

fn json(body: &str, signature: Option<&Signature>) -> Result<Request> {
    read(Some("application/json"), body.as_bytes(), signature)
}

fn frame(request: Result<Request>) -> RecordBatch {
    match request.unwrap().input {
        Input::Frame(batch) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn columns_come_in_the_order_of_the_signature_and_extra_ones_go() {
    for body in [
        r#"{"dataframe_split": {"columns": ["x", "b", "a"], "data": [[0, 2, 1]]}}"#,
        r#"{"dataframe_records": [{"b": 2, "a": 1, "x": 3}]}"#,
        r#"{"inputs": {"b": [2], "a": [1.0]}}"#,
        r#"{"inputs": {"b": 2, "a": 1.0}}"#,
        r#"{"instances": [{"b": 2, "a": 1.0}]}"#,
    ] {
        let batch = frame(json(body, Some(&two())));
        let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["a", "b"], "{body}");
        assert_eq!(batch.column(0).as_primitive::<Float64Type>().value(0), 1.0);
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 2);
    }
    let batch = frame(read(Some("text/csv; charset=utf-8"), b"b,a,zz\n2,1,\n", Some(&two())));
    assert_eq!(batch.num_columns(), 2);
}

#[test]
fn refusals_name_the_column_and_the_row() {
    for (body, parts) in [
        (r#"{"dataframe_records": [{"a": 1}]}"#, &["\"b\"", "not sent"][..]),
        (r#"{"dataframe_records": [{"a": 1, "B": 2}]}"#, &["\"b\"", "\"B\""]),
        (r#"{"dataframe_records": [{"a": "x", "b": 2}]}"#, &["column \"a\", row 0", "\"x\" is no number"]),
        (r#"{"dataframe_records": [{"a": 1, "b": 2}, {"a": 1, "b": 2.5}]}"#, &["column \"b\", row 1", "fraction"]),
        (r#"{"dataframe_records": [{"a": 1, "b": null}]}"#, &["column \"b\", row 0", "missing"]),
        (r#"{"dataframe_records": [{"a": 1, "b": NaN}]}"#, &["column \"b\", row 0", "whole numbers"]),
        (r#"{"dataframe_records": [{"a": 1, "b": 9223372036854775808}]}"#, &["beyond 64 bits"]),
        (r#"{"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}"#, &["row 0", "2 columns"]),
        (r#"{"dataframe_split": {"data": [[1, 2]]}}"#, &["no names"]),
        (r#"{"dataframe_split": []}"#, &["a list"]),
        (r#"{"inputs": {"a": [1], "b": [1, 2]}}"#, &["\"b\" of inputs has 2 values"]),
        (r#"{"inputs": "x"}"#, &["a text", "a, b, c"]),
        (r#"{"inputs": [], "instances": []}"#, &["instances and inputs"]),
        ("{}", &["none of them"]),
        ("[]", &["a list"]),
        ("{", &["no JSON", "byte 2"]),
    ] {
        let refused = json(body, Some(&two())).unwrap_err();
        assert_eq!(refused.status, 400, "{body}");
        for part in parts {
            assert!(refused.message.contains(part), "{body}: {}", refused.message);
        }
    }
}

#[test]
fn content_types_are_those_of_mlflow_and_arrow() {
    for kind in ["text/plain", "", "APPLICATION/JSON", "text/csv;foo=bar", "text/csv; charset=latin-1"] {
        assert_eq!(read(Some(kind), b"{}", None).unwrap_err().status, 415, "{kind}");
    }
    assert_eq!(read(None, b"{}", None).unwrap_err().status, 415);
}

#[test]
fn tensors_keep_their_shape() {
    let one = signature(r#"[{"type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,2]}}]"#, None);
    let request = json(r#"{"inputs": [[1, 2], [3, null]]}"#, Some(&one)).unwrap();
    let Input::Tensors(batch) = request.input else { panic!("tensors") };
    assert_eq!(batch.column(0).as_binary::<i64>().value(0).len(), 16);
    assert_eq!(batch.schema_ref().field(0).metadata()["runlake.shape"], "[2,2]");
    for body in [
        r#"{"inputs": [[1]]}"#,
        r#"{"inputs": [1, 2]}"#,
        r#"{"inputs": [[1, 2], [3]]}"#,
        r#"{"inputs": [["a", 2]]}"#,
        r#"{"inputs": []}"#,
        r#"{"inputs": {"a": [[1, 2]]}}"#,
        r#"{"inputs": null}"#,
        r#"{"inputs": [[[1], 2]]}"#,
    ] {
        assert_eq!(json(body, Some(&one)).unwrap_err().status, 400, "{body}");
    }
    let named = signature(
        r#"[{"name":"a","type":"tensor","tensor-spec":{"dtype":"uint8","shape":[-1]}},
            {"name":"b","type":"tensor","tensor-spec":{"dtype":"bool","shape":[-1]}}]"#,
        None,
    );
    let request = json(r#"{"instances": [{"a": 1, "b": true}, {"a": 255, "b": false}]}"#, Some(&named)).unwrap();
    let Input::Tensors(batch) = request.input else { panic!("tensors") };
    assert_eq!(batch.column(0).as_binary::<i64>().value(0), [1, 255]);
    assert_eq!(json(r#"{"inputs": {"a": [256], "b": [true]}}"#, Some(&named)).unwrap_err().status, 400);
    assert!(json(r#"{"inputs": {"a": [1]}}"#, Some(&named)).unwrap_err().message.contains("\"b\""));
}

#[test]
fn params_are_checked_and_unknown_ones_left_out() {
    let known = r#"[{"name":"k","default":3,"shape":null,"type":"integer"},{"name":"l","default":["a"],"shape":[-1],"type":"string"}]"#;
    let signature = signature(r#"[{"type":"double","name":"a"}]"#, Some(known));
    let with = |params: &str| json(&format!(r#"{{"inputs": {{"a": [1]}}, "params": {params}}}"#), Some(&signature));
    assert_eq!(with(r#"{"k": 4, "zz": 1}"#).unwrap().params.as_deref(), Some(r#"{"k":4}"#));
    assert_eq!(with(r#"{"l": ["x"]}"#).unwrap().params.as_deref(), Some(r#"{"l":["x"]}"#));
    assert_eq!(with("null").unwrap().params, None);
    for bad in [r#"{"k": 4.5}"#, r#"{"k": true}"#, r#"{"l": "x"}"#, r#"{"l": [1]}"#, "[1]"] {
        assert_eq!(with(bad).unwrap_err().status, 400, "{bad}");
    }
}

#[test]
fn an_arrow_stream_that_claims_too_much_is_refused_before_memory_is_taken() {
    for claim in [[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], [0xf0, 0xff, 0xff, 0x7f, 0, 0, 0, 0]] {
        let refused = read(Some("application/vnd.apache.arrow.stream"), &claim, None).unwrap_err();
        assert!(refused.message.contains("ends within a message"), "{}", refused.message);
    }
}

#[test]
fn times_are_read_as_people_write_them() {
    let day = 1_577_836_800_000_000_000;
    for text in
        ["2020-01-01", "2020-01-01T00:00:00", "2020-01-01 00:00:00.000", "20200101", "01/01/2020", "2020-01-01T00:00"]
    {
        assert_eq!(columns::datetime_text(text), Ok(day), "{text}");
    }
    for text in ["x", "2020-13-01", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00", "", "ä"] {
        assert!(columns::datetime_text(text).is_err(), "{text}");
    }
}

#[test]
fn arrow_and_parquet_bodies_are_cast_where_no_value_changes() {
    use arrow_array::{ArrayRef, Float32Array, Int32Array};
    use std::sync::Arc;
    let body = |b: ArrayRef| {
        let batch =
            RecordBatch::try_from_iter([("b", b), ("a", Arc::new(Float32Array::from(vec![1.5])) as ArrayRef)]).unwrap();
        let mut stream = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
        stream.write(&batch).unwrap();
        let mut file = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        file.write(&batch).unwrap();
        [
            ("application/vnd.apache.arrow.stream", stream.into_inner().unwrap()),
            ("application/vnd.apache.parquet", file.into_inner().unwrap()),
        ]
    };
    for (kind, bytes) in body(Arc::new(Int32Array::from(vec![7]))) {
        let batch = frame(read(Some(kind), &bytes, Some(&two())));
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 7, "{kind}");
        assert!(read(Some(kind), &bytes[..bytes.len() / 2], Some(&two())).is_err());
    }
    for (kind, bytes) in body(Arc::new(Float32Array::from(vec![7.5]))) {
        assert!(read(Some(kind), &bytes, Some(&two())).unwrap_err().message.contains("not whole"), "{kind}");
    }
    for (kind, bytes) in body(Arc::new(Int32Array::from(vec![None]))) {
        assert!(read(Some(kind), &bytes, Some(&two())).unwrap_err().message.contains("empty"), "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same table is the same batch in every form.
    #[test]
    fn every_form_says_the_same(rows in prop::collection::vec((-1e9..1e9, any::<i64>(), "[a-z]{1,5}"), 1..8)) {
        let signature = two();
        let split: Vec<_> = rows.iter().map(|(a, b, c)| serde_json::json!([c, b, a])).collect();
        let records: Vec<_> = rows.iter().map(|(a, b, c)| serde_json::json!({"b": b, "c": c, "a": a})).collect();
        let columns = serde_json::json!({
            "a": rows.iter().map(|row| row.0).collect::<Vec<_>>(),
            "b": rows.iter().map(|row| row.1).collect::<Vec<_>>(),
            "c": rows.iter().map(|row| row.2.clone()).collect::<Vec<_>>(),
        });
        let first = frame(json(&serde_json::json!({"dataframe_split": {"columns": ["c", "b", "a"], "data": split}}).to_string(), Some(&signature)));
        prop_assert_eq!(first.num_rows(), rows.len());
        for body in [
            serde_json::json!({"dataframe_records": records}),
            serde_json::json!({"instances": records}),
            serde_json::json!({"inputs": columns}),
        ] {
            prop_assert_eq!(&frame(json(&body.to_string(), Some(&signature))), &first);
        }
    }

    /// Whatever comes, it is read or refused.
    #[test]
    fn nothing_breaks_the_reader(body in "[\\[\\]{}\",:a-c0-9.eN ]{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for content in ["inputs", "instances", "dataframe_split", "dataframe_records"] {
            let _read = json(&format!("{{\"{content}\": {body}}}"), Some(&two()));
        }
        for (kind, _) in CONTENT_TYPES {
            let _read = read(Some(kind), &bytes, Some(&two()));
        }
    }
}
