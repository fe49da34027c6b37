//! Runs the Python suites of `tests/clients`, each in a virtual environment made for it below the target folder.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary;

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

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Runs pytest and keeps its output in `<target>/tmp/<name>.log`; more arguments come from `RUNLAKE_PYTEST_ARGS`.
fn run_suite(name: &str, args: &[&str]) {
    let binary = binary::runlake();
    let python = environment(name);
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

/// The environment's python. Made anew when the requirements change; a mark inside tells that it is finished.
fn environment(name: &str) -> PathBuf {
    let files = ["requirements", "constraints"].map(|kind| folder().join(format!("{kind}-{name}.txt")));
    let mut hasher = DefaultHasher::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.hash(&mut hasher);
    }
    let wanted = format!("{:016x}", hasher.finish());
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("venv-{name}"));
    let (mark, python) = (venv.join("finished"), venv.join("bin/python"));
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) && python.exists() {
        return python;
    }
    fs::remove_dir_all(&venv).ok();
    run(Command::new(system_python()).args(["-m", "venv"]).arg(&venv));
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"]);
    run(pip.arg(&files[0]).arg("-c").arg(&files[1]));
    fs::write(&mark, wanted).expect("the environment can be written to");
    python
}

/// A Python 3.11: `RUNLAKE_PYTHON`, or by its usual names.
fn system_python() -> String {
    let named = std::env::var("RUNLAKE_PYTHON").ok();
    let candidates = named.into_iter().chain(["python3.11", "python3", "python"].map(String::from));
    candidates
        .into_iter()
        .find(|python| {
            let check = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))";
            let status = Command::new(python).args(["-c", check]).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        })
        .unwrap_or_else(|| {
            panic!(
                "these tests run MLflow's Python clients and need Python 3.11 with its venv module: install python3.11 \
                 (Debian: python3.11-venv), or name it by RUNLAKE_PYTHON"
            )
        })
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
