//! Serving a forest and its ONNX twin, beside `mlflow models serve` with the same files.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::figures::Scale;
use crate::load::side_by_side;
use crate::peer;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};
use crate::stats::{mebibytes, median, millis, rate};

const BODY: &[u8] = br#"{"dataframe_split":{"columns":["sepal_length","sepal_width","petal_length","petal_width"],"data":[[6.1,2.8,4.7,1.2]]}}"#;

/// A model, and what its figures are called: cold start, memory, and for each number of clients the rate and times.
struct Subject {
    folder: &'static str,
    start: &'static str,
    memory: &'static str,
    loads: [(usize, &'static str); 3],
}

const SUBJECTS: [Subject; 2] = [
    Subject {
        folder: "forest",
        start: "serve a forest of scikit-learn, until the first answer",
        memory: "serve a forest of scikit-learn, memory after the load",
        loads: [
            (1, "serve a forest of scikit-learn, 1 client"),
            (16, "serve a forest of scikit-learn, 16 clients"),
            (64, "serve a forest of scikit-learn, 64 clients"),
        ],
    },
    Subject {
        folder: "forest-onnx",
        start: "serve its ONNX twin, until the first answer",
        memory: "serve its ONNX twin, memory after the load",
        loads: [
            (1, "serve its ONNX twin, 1 client"),
            (16, "serve its ONNX twin, 16 clients"),
            (64, "serve its ONNX twin, 64 clients"),
        ],
    },
];

/// Saves both models, serves each with both servers, and sees that they answer the same.
pub(crate) async fn serving(setup: &Setup, scale: Scale, report: &mut Report) -> Result<()> {
    let python = peer::servers(&setup.programs)?;
    let models = setup.folder.join("serving");
    if !models.join("forest-onnx/MLmodel").exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/serving.py");
        let status = Command::new(&python).arg(script).arg(&models).status()?;
        ensure!(status.success(), "the models were not saved: {status}");
    }
    let kinds: &[Kind] = if setup.python.is_some() { &[Kind::Runlake, Kind::Mlflow] } else { &[Kind::Runlake] };
    for subject in &SUBJECTS {
        let mut answers = Vec::new();
        for kind in kinds {
            let server =
                setup.spawn(*kind, |port| command(setup, *kind, &python, &models.join(subject.folder), port)).await?;
            let name = kind.name();
            // `/ping` may answer before the model was asked for the first time.
            let asked = Instant::now();
            let answer = server.client().await?.post_ok("/invocations", BODY).await?.to_vec();
            report.add(subject.start, name, millis(server.started_in + asked.elapsed()));
            answers.push(serde_json::from_slice::<Value>(&answer)?);
            for (clients, figure) in subject.loads {
                let (requests, mut times) = load(&server, clients, scale.load).await?;
                let half = median(&mut times);
                let most = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
                let told = format!("{}, p50 {}, p99 {}", rate(requests, "requests"), millis(half), millis(most));
                report.add(figure, name, told);
            }
            report.add(subject.memory, name, mebibytes(server.memory()));
            server.stop()?;
        }
        ensure!(answers.windows(2).all(|pair| is_near(&pair[0], &pair[1])), "the answers differ: {answers:?}");
    }
    Ok(())
}

/// Floats may be summed in another order.
fn is_near(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_near(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_near(a, b)))
        }
        _ => match (one.as_f64(), other.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-5 * b.abs().max(1.0),
            _ => one == other,
        },
    }
}

async fn load(server: &Server, clients: usize, time: Duration) -> Result<(f64, Vec<Duration>)> {
    let times = RefCell::new(Vec::new());
    let requests = side_by_side(server, clients, time, |mut client, _, deadline| {
        let times = &times;
        async move {
            let mut done = 0;
            while Instant::now() < deadline {
                let started = Instant::now();
                client.post_ok("/invocations", BODY).await?;
                times.borrow_mut().push(started.elapsed());
                done += 1;
            }
            Ok(done)
        }
    })
    .await?;
    Ok((requests, times.into_inner()))
}

fn command(setup: &Setup, kind: Kind, python: &PathBuf, model: &Path, port: u16) -> Result<Command> {
    let port = port.to_string();
    let mut command;
    if kind == Kind::Runlake {
        command = Command::new(&setup.runlake);
        command.args(["models", "serve", "--port", &port, "--env-manager", "local", "--model"]).arg(model);
        command.arg("--python").arg(python);
    } else {
        command = Command::new(python);
        command.args(["-m", "mlflow", "models", "serve", "--port", &port, "--host", "127.0.0.1"]);
        command.args(["--env-manager", "local", "--model-uri"]).arg(model);
        // It looks for its own Python on the path.
        let folder = python.parent().context("a Python lies in a folder")?;
        command.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()));
    }
    Ok(command)
}
