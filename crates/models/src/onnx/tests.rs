//! Graphs in `data/onnx`, with what onnxruntime gave for them.

use serde_json::Value;
use tract_onnx::pb::AttributeProto;

use super::*;
use crate::request;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/onnx")
}

fn ask(graph: &Onnx, body: &Value, signature: Option<&Signature>) -> Result<Value, String> {
    let body = body.to_string();
    let read =
        request::read(Some("application/json"), body.as_bytes(), signature).map_err(|refused| refused.message)?;
    let answer = graph.score(&read).map_err(|unscored| unscored.to_string())?;
    Ok(serde_json::from_slice::<Value>(&answer).unwrap()["predictions"].take())
}

fn is_near(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-5 * b.abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_near(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_near(a, b)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn answers_are_those_of_onnxruntime() {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap().replace("NaN", "null");
    let all: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for (name, expected) in &all {
        let graph = match Onnx::read(&folder().join(format!("{name}.onnx"))) {
            Ok(graph) => graph,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        // By name, and with the signature that the graph itself gives: nulls become NaN.
        let signature = graph.signature();
        let answer = ask(&graph, &serde_json::json!({"inputs": expected["inputs"]}), Some(&signature));
        if !answer.as_ref().is_ok_and(|answer| is_near(answer, &expected["predictions"])) {
            wrong.push(format!("{name}: {answer:?}, and not {}", expected["predictions"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(all.len() > 15);
}

#[test]
fn a_table_gives_rows_and_tensors_give_lists() {
    let graph = Onnx::read(&folder().join("forest.onnx")).unwrap();
    let columns = ["a", "b", "c", "d"];
    let rows = serde_json::json!([[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]);
    let table = serde_json::json!({"dataframe_split": {"columns": columns, "data": rows}});
    let answer = ask(&graph, &table, None).unwrap();
    assert_eq!(answer[1]["output_label"], 2);
    let keys: Vec<&String> = answer[0]["output_probability"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["0", "1", "2"]);
    let answer = ask(&graph, &serde_json::json!({"inputs": rows}), None).unwrap();
    assert_eq!(answer["output_label"], serde_json::json!([0, 2]));
    for (body, said) in [
        (serde_json::json!({"inputs": [[5, 3, 1, 0]]}), "is int64, and the model takes float32"),
        (serde_json::json!({"inputs": [[5.1, 3.5]]}), "shape [1, 2], and the model takes [-1, 4]"),
        (serde_json::json!({"inputs": {"Z": [[5.1, 3.5, 1.4, 0.2]]}}), "\"X\" was not sent"),
        (serde_json::json!({"inputs": [["a", 1, 1, 1]]}), "\"a\" stands among the numbers"),
        (serde_json::json!({"inputs": [[5.1, 3.5], [1.0]]}), "different lengths"),
        (serde_json::json!({"inputs": []}), "no values"),
        (
            serde_json::json!({"dataframe_split": {"columns": columns, "data": [["x", 1, 1, 1]]}}),
            "\"a\" holds no numbers",
        ),
        (serde_json::json!({"dataframe_split": {"columns": columns, "data": [[1, 2, 3, 4]]}}), "int64"),
        (serde_json::json!({"messages": []}), "no messages"),
    ] {
        let refused = ask(&graph, &body, None).unwrap_err();
        assert!(refused.contains(said), "{body}: {refused}");
    }
    let sums = Onnx::read(&folder().join("sums.onnx")).unwrap();
    let table = serde_json::json!({"dataframe_records": [{"b": 2.5, "a": 1.5, "more": "x"}]});
    assert_eq!(ask(&sums, &table, None).unwrap(), serde_json::json!([{"sum": 4.0, "product": 3.75}]));
    let missing = serde_json::json!({"dataframe_records": [{"b": 2.5}]});
    assert!(ask(&sums, &missing, None).unwrap_err().contains("the column \"a\""));
}

#[test]
fn a_graph_tells_its_signature() {
    let signature = Onnx::read(&folder().join("forest_plain.onnx")).unwrap().signature();
    assert_eq!(signature.inputs.unwrap().lines(), ["X: tensor of float32, shape [-1, 4]"]);
    assert_eq!(
        signature.outputs.unwrap().lines(),
        ["label: tensor of int64, shape [-1]", "probabilities: tensor of float32, shape [-1, 3]"]
    );
    let with_maps = Onnx::read(&folder().join("forest.onnx")).unwrap().signature();
    assert_eq!(with_maps.outputs, None);
}

/// The forest, changed by somebody who means harm, or by chance.
fn changed(change: impl Fn(&mut ModelProto)) -> Result<(), String> {
    let place = tempfile::tempdir().unwrap();
    let mut proto = tract_onnx::onnx().proto_model_for_path(folder().join("forest.onnx")).unwrap();
    change(&mut proto);
    let path = place.path().join("model.onnx");
    std::fs::write(&path, prost::Message::encode_to_vec(&proto)).unwrap();
    Onnx::read(&path).map(drop).map_err(|error| error.to_string())
}

fn attribute<'a>(proto: &'a mut ModelProto, name: &str) -> &'a mut AttributeProto {
    let nodes = &mut proto.graph.as_mut().unwrap().node;
    nodes[0].attribute.iter_mut().find(|attribute| attribute.name == name).unwrap()
}

#[test]
fn graphs_that_are_not_sound_are_refused() {
    changed(|_| {}).unwrap();
    type Change = fn(&mut ModelProto);
    let changes: [(Change, &str); 9] = [
        (|proto| attribute(proto, "class_ids").ints[0] = 1 << 40, "a leaf votes for"),
        (|proto| attribute(proto, "class_ids").ints[0] = -1, "a leaf votes for"),
        (|proto| attribute(proto, "nodes_truenodeids").ints[0] = 99, "node 99 is not there"),
        (|proto| attribute(proto, "nodes_truenodeids").ints[0] = 0, "lead to the same node"),
        (|proto| attribute(proto, "nodes_values").floats.truncate(3), "nodes_values has"),
        (|proto| attribute(proto, "nodes_featureids").ints[0] = -7, "negative"),
        (|proto| attribute(proto, "post_transform").s = b"PROBIT".to_vec(), "PROBIT"),
        (|proto| proto.graph.as_mut().unwrap().node[0].op_type = "Magic".into(), "operators are not known: Magic"),
        (|proto| proto.graph = None, "no graph"),
    ];
    for (change, said) in changes {
        let refused = changed(change).unwrap_err();
        assert!(refused.contains(said), "{refused}, and not {said}");
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model.onnx");
    for bytes in [&b"\xff\xff\xff\xff"[..], b"", b"\x3a\x7f"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(Onnx::read(&path).is_err());
    }
}

#[test]
fn numbers_are_read_from_the_models_own_folder_only() {
    use tract_onnx::pb::{StringStringEntryProto, TensorProto};
    let place = tempfile::tempdir().unwrap();
    let (model, outside) = (place.path().join("model"), place.path().join("outside"));
    std::fs::create_dir(&model).unwrap();
    std::fs::write(&outside, [0u8; 16]).unwrap();
    std::fs::write(model.join("own"), [0u8; 16]).unwrap();
    std::os::unix::fs::symlink(&outside, model.join("link")).unwrap();
    let read = |location: &str| {
        let mut proto = tract_onnx::onnx().proto_model_for_path(folder().join("forest.onnx")).unwrap();
        let entry = StringStringEntryProto { key: "location".into(), value: location.into() };
        proto.graph.as_mut().unwrap().initializer.push(TensorProto {
            name: "beside".into(),
            dims: vec![4],
            data_type: 1,
            data_location: Some(1),
            external_data: vec![entry],
            ..TensorProto::default()
        });
        std::fs::write(model.join("model.onnx"), prost::Message::encode_to_vec(&proto)).unwrap();
        Onnx::read(&model.join("model.onnx")).map(drop).map_err(|error| error.to_string())
    };
    read("own").unwrap();
    for location in [outside.to_str().unwrap(), "../outside", "link"] {
        let refused = read(location).unwrap_err();
        assert!(refused.contains("model directory") || refused.contains("not in the model's folder"), "{refused}");
    }
    assert!(Onnx::signature_of(&model.join("model.onnx")).unwrap_err().to_string().contains("one file"));
}
