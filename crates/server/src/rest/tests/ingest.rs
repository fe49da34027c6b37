//! Rows in bulk over HTTP.

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;

use super::access::{CALLERS, Guarded, PASSWORD, basic, is_let_in};
use super::*;

const STREAM: &str = "application/vnd.apache.arrow.stream";

/// A stream with a batch for each list of columns.
fn stream(batches: &[Vec<(&str, Vec<&str>)>]) -> Vec<u8> {
    let batches: Vec<RecordBatch> = batches
        .iter()
        .map(|columns| {
            let columns = columns.iter().map(|(name, values)| {
                let array: ArrayRef = match *name {
                    "value" => Arc::new(values.iter().map(|value| value.parse().ok()).collect::<Float64Array>()),
                    _ => Arc::new(StringArray::from(values.clone())),
                };
                (*name, array, true)
            });
            RecordBatch::try_from_iter_with_nullable(columns).unwrap()
        })
        .collect();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, batches[0].schema_ref()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    bytes
}

fn point<'a>(run: &'a str, key: &'a str, value: &'a str) -> Vec<(&'static str, Vec<&'a str>)> {
    vec![("run_id", vec![run]), ("key", vec![key]), ("value", vec![value])]
}

async fn send(server: &Server, caller: Option<&str>, query: &str, content_type: &str, body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method("POST").uri(format!("/api/runlake/ingest{query}"));
    request = request.header(header::HOST, "localhost").header(header::CONTENT_TYPE, content_type);
    if let Some(name) = caller {
        request = request.header(header::AUTHORIZATION, basic(name, PASSWORD));
    }
    server.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_need_the_role_on_each_of_their_runs() {
    let guarded = Guarded::start().await;
    let server = &guarded.server;
    let own = point(&guarded.run, "k", "1");
    let mut of_model = own.clone();
    of_model.push(("model_id", vec![&guarded.model]));
    let unknown = point("unknown", "k", "1");
    for (name, role, of) in CALLERS {
        let may = is_let_in("editor experiment", role, of);
        for batch in [&own, &of_model] {
            let answer = send(server, Some(name), "?table=metrics", STREAM, stream(std::slice::from_ref(batch))).await;
            let expected = if may { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status, expected, "{name}: {}", answer.text());
            assert!(may || answer.text().contains("batch 0, row 0: Permission denied"), "{}", answer.text());
        }
        // What does not exist is refused like what the caller may not see.
        let answer = send(server, Some(name), "?table=metrics", STREAM, stream(std::slice::from_ref(&unknown))).await;
        let expected = if may && of.is_none() { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
        assert_eq!(answer.status, expected, "{name}: {}", answer.text());
    }
    assert_eq!(send(server, None, "?table=metrics", STREAM, stream(&[own])).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_is_all_or_nothing_and_what_came_before_stays() {
    let server = Server::start(Settings::default()).await;
    let api = "/api/2.0/mlflow";
    let run = server.call("POST", &format!("{api}/runs/create"), &json!({"experiment_id": "0"})).await.json();
    let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let history = async |key: &str| {
        let got = server.get(&format!("{api}/metrics/get-history?run_id={run}&metric_key={key}")).await.json();
        got["metrics"].as_array().map_or(0, Vec::len)
    };
    let batches = [point(&run, "a", "1"), point(&run, "a", "2")];
    let taken = send(&server, None, "?table=metrics", STREAM, stream(&batches)).await;
    assert_eq!(taken.json(), json!({"batches": 2, "rows": 2}));
    let mut second = point(&run, "b", "2");
    second.iter_mut().for_each(|(name, values)| values.push(if *name == "value" { "null" } else { values[0] }));
    let batches = [point(&run, "b", "1"), second, point(&run, "b", "3")];
    let refused = send(&server, None, "?table=metrics", STREAM, stream(&batches)).await;
    assert_eq!(refused.code(), (400, "INVALID_PARAMETER_VALUE".to_owned()));
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    let expected = "batch 1, row 1: the value is null; a value that is not a number is NaN (1 batches with 1 rows of this \
                    stream are durable.)";
    assert_eq!(message, expected);
    assert_eq!((history("a").await, history("b").await), (2, 1));
    for (turn, expected) in [(0, 2), (1, 2)] {
        let batches = [point(&run, "c", "1"), point(&run, "c", if turn == 0 { "2" } else { "3" })];
        let taken = send(&server, None, "?table=metrics&batch_id=x", STREAM, stream(&batches)).await;
        assert_eq!(taken.json(), json!({"batches": 2, "rows": 2}));
        assert_eq!(history("c").await, expected, "{turn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_told_apart() {
    let server = Server::start(Settings::default()).await;
    let body = stream(&[point("r", "k", "1")]);
    let cut = body[..body.len() - 20].to_vec();
    for (query, content_type, body, status, expected) in [
        ("", STREAM, body.clone(), 400, "'table'"),
        ("?table=experiments", STREAM, body.clone(), 400, "No table \"experiments\" takes rows in bulk"),
        ("?table=params", STREAM, body.clone(), 400, "the column 'value' is of type Float64"),
        ("?table=metrics", "application/json", body.clone(), 400, "Content-Type must be one of"),
        ("?table=metrics&batch_id=a%20b", STREAM, body.clone(), 400, "the batch_id 'a b-0' is not"),
        ("?table=metrics", STREAM, body.clone(), 404, "batch 0, row 0: Run with id=r not found"),
        ("?table=metrics", STREAM, cut, 400, "cut short"),
        ("?table=metrics", STREAM, b"hello, world".to_vec(), 400, "An Arrow message cannot be read"),
    ] {
        let answer = send(&server, None, query, content_type, body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert!(answer.text().replace("\\\"", "\"").contains(expected), "{}", answer.text());
    }
    let nothing = send(&server, None, "?table=metrics", STREAM, Vec::new()).await;
    assert_eq!(nothing.json(), json!({"batches": 0, "rows": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_models_need_the_role_on_each_registered_model() {
    let guarded = Guarded::start().await;
    let row = |registered: &str| {
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("request_id", Arc::new(StringArray::from(vec!["r"])) as ArrayRef, true),
            ("model", Arc::new(StringArray::from(vec!["served"])) as ArrayRef, true),
            ("registered_model", Arc::new(StringArray::from(vec![registered])) as ArrayRef, true),
            ("status", Arc::new(arrow_array::Int32Array::from(vec![200])) as ArrayRef, true),
            ("latency_ms", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef, true),
        ])
        .unwrap();
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        bytes
    };
    for (name, role, of) in CALLERS {
        for (registered, who) in [("m", "editor model"), ("", "editor all")] {
            let answer = send(&guarded.server, Some(name), "?table=inference_log", STREAM, row(registered)).await;
            let expected = if is_let_in(who, role, of) { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status, expected, "{name} on {registered:?}: {}", answer.text());
        }
    }
}
