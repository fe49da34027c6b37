//! Small artifacts of a run.

use std::fmt::Write as _;

use crate::runs::{Chance, Made};

/// Paths and contents.
pub(crate) fn of(run: &Made, seed: u64) -> Vec<(&'static str, Vec<u8>)> {
    let mut chance = Chance::new(seed ^ 0xF11E5, run.number);
    let config: serde_json::Map<_, _> =
        run.params.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
    let mut log = String::new();
    for step in 0..400 {
        let loss = 2.2 * (-f64::from(step) / 90.0).exp() + 0.1 + 0.02 * chance.noise();
        let _ = writeln!(log, "[{step:05}] loss={loss:.4}");
    }
    let labels = ["cat", "dog", "bird"];
    let mut confusion = "label,predicted,count\n".to_owned();
    for label in labels {
        for predicted in labels {
            let most = if label == predicted { 400.0 } else { 40.0 };
            let _ = writeln!(confusion, "{label},{predicted},{:.0}", chance.between(0.0, most));
        }
    }
    let mut path = String::new();
    for x in 0..40 {
        let _ = write!(
            path,
            "{}{} {:.1}",
            if x == 0 { "M" } else { " L" },
            x * 5,
            10.0 + 80.0 * (-f64::from(x) / 9.0).exp()
        );
    }
    let picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 200 100\"><rect width=\"200\" height=\"100\" fill=\"#eef\"/>\
         <path d=\"{path}\" transform=\"matrix(1 0 0 -1 0 100)\" stroke=\"#46c\" fill=\"none\" stroke-width=\"2\"/></svg>"
    );
    vec![
        ("config.json", serde_json::Value::Object(config).to_string().into_bytes()),
        ("logs/stdout.txt", log.into_bytes()),
        ("tables/confusion.csv", confusion.into_bytes()),
        ("images/curve.svg", picture.into_bytes()),
        ("notes.md", format!("# {}\n\nMade by **{}**. Score: {:.4}.\n", run.name, run.user, run.score).into_bytes()),
    ]
}

/// What makes a folder a model.
pub(crate) fn model(run: &Made) -> Vec<(&'static str, Vec<u8>)> {
    let signature = "signature:\n  inputs: '[{\"type\": \"tensor\", \"name\": \"image\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": \
                     [-1, 3, 224, 224]}}]'\n  outputs: '[{\"type\": \"tensor\", \"name\": \"logits\", \"tensor-spec\": {\"dtype\": \
                     \"float32\", \"shape\": [-1, 10]}}]'\n  params: null\n";
    let mlmodel = format!(
        "artifact_path: model\nflavors:\n  python_function:\n    loader_module: mlflow.pytorch\n    python_version: 3.11.4\n\
         run_id: {}\n{signature}",
        run.run_id
    );
    vec![("model/MLmodel", mlmodel.into_bytes()), ("model/requirements.txt", b"torch==2.4.0\nmlflow==3.17\n".to_vec())]
}
