//! Runs the Python suites of `tests/clients`, each in a virtual environment made for it below the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{binary, tools};

/// The whole suite, with today's client.
#[test]
fn mlflow_3() {
    run_suite("mlflow3", &[]);
}

/// What the clients of two major versions can both do, with the older one.
#[test]
fn mlflow_2() {
    run_suite("mlflow2", &["-m", "both"]);
}

/// The Python package on its own, against a server in memory.
#[test]
fn python_package() {
    let python = tools::python(&folder(), "mlflow3", &[package()]);
    let output = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .current_dir(package())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the environment's python can be run");
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "pytest of the Python package ended with {}\n{text}", output.status);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/python")
}

/// Runs pytest and keeps its output in `<target>/tmp/<name>.log`; more arguments come from `RUNLAKE_PYTEST_ARGS`.
fn run_suite(name: &str, args: &[&str]) {
    let binary = binary::runlake();
    let python = tools::python(&folder(), name, &[package()]);
    let more = std::env::var("RUNLAKE_PYTEST_ARGS").unwrap_or_default();
    let output = Command::new(python)
        .args(["-m", "pytest", "-q", "--durations=5"])
        .args(args)
        .args(more.split_whitespace())
        .current_dir(folder())
        .env("RUNLAKE_BIN", binary)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the environment's python can be run");
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat();
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
    fs::write(&log, &text).expect("the target folder can be written to");
    println!("{text}");
    assert!(
        output.status.success(),
        "pytest ({name}) ended with {}; its output is in {}",
        output.status,
        log.display()
    );
}
