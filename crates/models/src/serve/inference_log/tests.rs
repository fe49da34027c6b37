use std::sync::Arc;

use arrow_array::{Float64Array, StringArray};
use reqwest::Client;

use super::*;
use crate::json::Json;
use crate::request;
use crate::signature::{Schema, Signature, Tensor};

fn settings() -> LogSettings {
    LogSettings {
        tracking: Tracking { url: String::new(), client: Client::new() },
        sample: 100,
        redacted: HashSet::new(),
        redacts_inputs: false,
        keeps_outputs: true,
    }
}

fn head() -> Row {
    Row {
        request_id: "r".into(),
        row: 0,
        time: 1,
        model: "m".into(),
        registered_model: None,
        version: None,
        model_id: None,
        is_shadow: false,
        status: 200,
        latency_ms: 1.0,
        inputs: Vec::new(),
        output: None,
        error: None,
    }
}

fn table() -> Input {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("a", Arc::new(Float64Array::from(vec![Some(1.5), None])) as _, true),
        ("b", Arc::new(StringArray::from(vec!["x", "y"])) as _, true),
    ]);
    Input::Frame(batch.unwrap())
}

type Told<'a> = (Vec<(&'a str, &'a str)>, Option<&'a str>);

fn told(rows: &[Row]) -> Vec<Told<'_>> {
    rows.iter()
        .map(|row| {
            let inputs = row.inputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            (inputs, row.output.as_deref())
        })
        .collect()
}

#[test]
fn each_row_has_its_own_inputs_and_output() {
    let of = |settings: &LogSettings, answer: &'static str| {
        rows::of(settings, head(), Some(&table()), Ok(bytes::Bytes::from_static(answer.as_bytes())))
    };
    let rows = of(&settings(), r#"{"predictions": [NaN, "q"]}"#);
    assert_eq!(told(&rows), [(vec![("a", "1.5"), ("b", "x")], Some("NaN")), (vec![("b", "y")], Some("\"q\""))]);
    assert_eq!([rows[0].row, rows[1].row], [0, 1]);
    let rows = of(&settings(), r#"{"predictions": {"label": [1, 2], "p": [[0.5], [0.25]]}}"#);
    let second = Json::parse(rows[1].output.as_deref().unwrap()).unwrap();
    assert_eq!(second, Json::parse(r#"{"label": 2, "p": [0.25]}"#).unwrap());
    // What cannot be dealt out is kept whole, once.
    let rows = of(&settings(), r#"{"predictions": "one"}"#);
    assert_eq!(rows.iter().map(|row| row.output.as_deref()).collect::<Vec<_>>(), [Some("\"one\""), None]);
    let redacted = LogSettings { redacted: HashSet::from(["b".to_owned()]), keeps_outputs: false, ..settings() };
    assert_eq!(told(&of(&redacted, r#"{"predictions": [1, 2]}"#)), [(vec![("a", "1.5")], None), (vec![], None)]);
    let none = LogSettings { redacts_inputs: true, ..settings() };
    assert_eq!(told(&of(&none, r#"{"predictions": [1, 2]}"#)), [(vec![], Some("1")), (vec![], Some("2"))]);
}

#[test]
fn tensors_are_cut_into_rows() {
    let spec = |dtype: &str| Tensor { name: Some("x".into()), dtype: dtype.into(), shape: vec![-1, 2] };
    for (dtype, expected) in
        [("float32", "[-1.5, 2]"), ("int16", "[-1, 2]"), ("uint8", "[1, 2]"), ("float64", "[-1.5, 2.0]")]
    {
        let signature = Signature { inputs: Some(Schema::Tensors(vec![spec(dtype)])), outputs: None, params: None };
        let first = expected.split(',').next().unwrap().trim_start_matches('[');
        let body = format!(r#"{{"inputs": {{"x": [[3, 4], [{first}, 2]]}}}}"#);
        let read = request::read(Some("application/json"), body.as_bytes(), Some(&signature)).unwrap();
        let rows = rows::of(&settings(), head(), Some(&read.input), Err("no".into()));
        assert_eq!(told(&rows)[1], (vec![("x", expected)], None), "{dtype}");
        assert_eq!(rows[1].error.as_deref(), Some("no"));
    }
}

#[test]
fn a_request_that_was_not_read_is_one_row() {
    let rows = rows::of(&settings(), head(), None, Err("x".repeat(1 << 20)));
    assert_eq!(rows.len(), 1);
    assert!(rows[0].error.as_ref().unwrap().len() < 1 << 16);
    assert_eq!(rows::batch(&rows).unwrap().num_rows(), 1);
}

#[tokio::test]
async fn shares_are_even() {
    let settings = LogSettings { sample: 30, ..settings() };
    let (log, _sending) = InferenceLog::start(settings, CancellationToken::new());
    let kept: Vec<bool> = (0..200).map(|_| log.ask().is_some()).collect();
    assert_eq!(kept[..100].iter().filter(|kept| **kept).count(), 30);
    assert_eq!(kept[100..].iter().filter(|kept| **kept).count(), 30);
}
