use super::*;
use crate::signature::{Kind, Simple};

const IRIS: &str = r#"
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    predict_fn: predict
    python_version: 3.11.7
  sklearn:
    code: null
    sklearn_version: 1.9.1
mlflow_version: 3.17.2
model_id: m-12
model_size_bytes: 11370
model_uuid: 2d8aca6dc2584175a496b4a57a9f9d9a
saved_input_example_info:
  artifact_path: input_example.json
  serving_input_path: serving_input_example.json
  type: dataframe
signature:
  inputs: '[{"type": "double", "name": "sl", "required": true}, {"type": "object", "properties":
    {"x": {"type": "long", "required": false}}, "name": "o", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: '[{"name": "k", "default": 3, "shape": null, "type": "integer"}]'
utc_time_created: '2026-11-23 22:01:23.928753'
type_hint_from_example: false
"#;

#[test]
fn a_file_of_mlflow_is_read() {
    let model = MlModel::parse("MLmodel", IRIS).unwrap();
    let python = model.python().unwrap();
    assert_eq!((python.loader.as_str(), python.version.as_deref()), ("mlflow.sklearn", Some("3.11.7")));
    assert_eq!((python.virtualenv.as_deref(), python.conda.as_deref()), (Some("python_env.yaml"), Some("conda.yaml")));
    assert_eq!(model.flavors.len(), 2);
    assert_eq!((model.size_bytes, model.model_id.as_deref()), (Some(11370), Some("m-12")));
    let signature = model.signature.unwrap();
    let Some(Schema::Columns(columns)) = signature.inputs else { panic!("columns") };
    assert_eq!(columns[0].kind, Kind::Simple(Simple::Double));
    assert!(!columns[1].is_required && matches!(&columns[1].kind, Kind::Object(of) if !of[0].is_required));
    assert!(matches!(signature.outputs, Some(Schema::Tensors(tensors)) if tensors[0].shape == [-1]));
    assert_eq!(signature.params.unwrap()[0].default, 3);
    assert_eq!(model.other["type_hint_from_example"], false);
}

#[test]
fn what_is_written_is_read_again() {
    let model = MlModel::parse("MLmodel", IRIS).unwrap();
    let text = model.to_text();
    assert_eq!(MlModel::parse("MLmodel", &text).unwrap(), model, "{text}");
}

#[test]
fn errors_name_the_place() {
    for (text, place, problem) in [
        ("a: 1\n", "line 1", "no flavors"),
        ("flavors:\n  sklearn: 3\n", "line 2", "a flavor is to be a map"),
        ("flavors: [a\n", "MLmodel", ""),
        ("", "line 1", "empty"),
        ("flavors:\n  x: {}\nsignature:\n  inputs: '{'\n", "line 4", "no JSON"),
        (
            "flavors:\n  x: {}\nsignature:\n  inputs: '[{\"type\": \"dobule\", \"name\": \"a\"}]'\n",
            "line 4",
            "\"dobule\"",
        ),
        ("flavors:\n  x: {}\nsignature:\n  params: '[{\"type\": \"long\"}]'\n", "line 4", "without a name"),
        ("flavors:\n  x: {}\nsaved_input_example_info:\n  type: dataframe\n", "line 4", "artifact_path"),
    ] {
        let error = MlModel::parse("MLmodel", text).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn a_model_without_python_names_its_flavors() {
    let model = MlModel::parse("MLmodel", "flavors:\n  spark: {}\n  h2o: {}\n").unwrap();
    let error = model.python().unwrap_err().to_string();
    assert!(error.contains("spark, h2o"), "{error}");
}

#[test]
fn an_example_outside_of_the_folder_is_refused() {
    for path in ["../x", "/etc/passwd", "a/../../b", ""] {
        assert!(inside(Path::new("/m"), path).is_err(), "{path}");
    }
    assert_eq!(inside(Path::new("/m"), "a/b.json").unwrap(), Path::new("/m/a/b.json"));
}
