use super::*;

fn read(body: &str) -> Batch<'_> {
    Batch::read(body.as_bytes()).unwrap()
}

fn is_fast(body: &str) -> bool {
    serde_json::from_str::<RawBatch<'_>>(body).is_ok_and(|raw| raw.is_complete())
}

#[test]
fn what_clients_send_takes_the_fast_path() {
    let python = r#"{"run_id": "r", "metrics": [{"key": "loss", "value": 0.5, "timestamp": 7, "step": 3},
        {"key": "nan", "value": "NaN", "timestamp": 7, "step": 3, "model_id": "m-1", "dataset_name": "d"}],
        "params": [{"key": "lr", "value": "0.1"}], "tags": [{"key": "t\u00fc", "value": ""}]}"#;
    assert!(is_fast(python));
    let batch = read(python);
    assert_eq!((batch.metrics.len(), batch.metrics[0].step, batch.metrics[0].timestamp_ms), (2, 3, 7));
    assert!(matches!(batch.metrics[0].key, Cow::Borrowed("loss")));
    assert!(batch.metrics[1].value.is_nan());
    assert_eq!(batch.metrics[1].model_id.as_deref(), Some("m-1"));
    assert_eq!(batch.params(), [KeyValue { key: "lr", value: "0.1" }]);
    assert_eq!(batch.tags(), [KeyValue { key: "tü", value: "" }]);
    let java = r#"{"run_id": "r", "metrics": [{"key": "k", "value": 1, "timestamp": "7", "step": "2"}]}"#;
    assert!(is_fast(java));
    assert_eq!((read(java).metrics[0].timestamp_ms, read(java).metrics[0].step), (7, 2));
}

#[test]
fn the_slow_path_reads_what_the_fast_one_does_not() {
    for body in [
        r#"{"run_uuid": "r", "metrics": [{"key": "k", "value": true, "timestamp": 1}]}"#,
        r#"{"runId": "r", "metrics": [{"key": "k", "value": "1.0", "timestamp": 1.0}]}"#,
        r#""{\"run_id\": \"r\", \"metrics\": [{\"key\": \"k\", \"value\": 1, \"timestamp\": 1}]}""#,
        r#"{"run_id": "r", "params": null, "metrics": [{"key": "k", "value": 1, "timestamp": 1, "step": null}]}"#,
    ] {
        assert!(!is_fast(body), "{body}");
        let batch = read(body);
        assert_eq!((batch.run_id.as_ref(), batch.metrics[0].value), ("r", 1.0), "{body}");
    }
    assert!(
        read(r#"{"run_id": "r", "metrics": [{"key": "k", "value": NaN, "timestamp": 1}]}"#).metrics[0].value.is_nan()
    );
}

#[test]
fn errors_name_the_position() {
    for (body, expected) in [
        ("{}", "Missing value for required parameter 'run_id'."),
        (r#"{"run_id": ""}"#, "Missing value for required parameter 'run_id'."),
        (r#"{"run_id": "r", "metrics": 5}"#, "Invalid value 5 for parameter 'metrics' supplied"),
        (
            r#"{"run_id": "r", "metrics": [{"key": "k", "value": 1}]}"#,
            "Missing value for required parameter 'metrics[0].timestamp'.",
        ),
        (
            r#"{"run_id": "r", "metrics": [{"value": 1, "timestamp": 1}]}"#,
            "Missing value for required parameter 'metrics[0].key'.",
        ),
        (
            r#"{"run_id": "r", "metrics": [{"key": "a", "value": 1, "timestamp": 1}, {"key": "k", "timestamp": 1}]}"#,
            "Missing value for required parameter 'metrics[1].value'.",
        ),
        (
            r#"{"run_id": "r", "metrics": [{"key": "k", "value": "x", "timestamp": 1}]}"#,
            "Invalid value \"x\" for parameter 'metrics[0].value' supplied",
        ),
        (
            r#"{"run_id": "r", "params": [{"key": "a", "value": "b"}, {"key": ""}]}"#,
            "Missing value for required parameter 'params[1].key'.",
        ),
        (r#"{"run_id": "r", "tags": [{}]}"#, "Missing value for required parameter 'tags[0].key'."),
        (
            r#"{"run_id": "r", "params": [{"key": "a", "value": 1}]}"#,
            "Invalid value 1 for parameter 'params[0].value' supplied",
        ),
    ] {
        let error = Batch::read(body.as_bytes()).unwrap_err();
        assert!(error.message().starts_with(expected), "{body}: {error}");
    }
}

#[test]
fn floats_survive_bit_for_bit() {
    let mut bits: u64 = 0x9E37_79B9_7F4A_7C15;
    for round in 0..20_000 {
        // A plain generator of well-spread bits (splitmix).
        bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = bits;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let value = f64::from_bits(mixed ^ (mixed >> 31));
        let value = if value.is_finite() { value } else { f64::from(round) };
        let body = format!(r#"{{"run_id":"r","metrics":[{{"key":"k","value":{value:e},"timestamp":1}}]}}"#);
        let (fast, slow) = (read(&body), Batch::read_fields(&Fields::from_json(body.as_bytes())).unwrap());
        assert_eq!(fast.metrics[0].value.to_bits(), value.to_bits(), "{body}");
        assert_eq!(slow.metrics[0].value.to_bits(), value.to_bits(), "{body}");
        let answered = serde_json::to_string(&crate::wire::Double(value)).unwrap();
        assert_eq!(answered.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{answered}");
    }
}
