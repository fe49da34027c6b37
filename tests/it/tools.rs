//! Python environments and Node packages, made below the target folder when a test needs them, and anew when their lists
//! change; a mark inside tells that one is finished.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

const MARK: &str = "finished";

/// Held by whoever makes one: several tests want the same.
static MAKING: Mutex<()> = Mutex::new(());

/// The python of the environment that `requirements-<name>.txt` and `constraints-<name>.txt` of `folder` describe. The
/// `packages` of this repository are in it as they are at any time (editable); what builds them is among the requirements.
pub(crate) fn python(folder: &Path, name: &str, packages: &[PathBuf]) -> PathBuf {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut files = ["requirements", "constraints"].map(|kind| folder.join(format!("{kind}-{name}.txt"))).to_vec();
    files.extend(packages.iter().map(|package| package.join("pyproject.toml")));
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("venv-{name}"));
    let python = venv.join("bin/python");
    let Some(wanted) = unfinished(&venv, &files) else { return python };
    run(Command::new(system_python()).args(["-m", "venv"]).arg(&venv));
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"]);
    run(pip.arg(&files[0]).arg("-c").arg(&files[1]));
    for package in packages {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        run(pip.args(["--no-deps", "--no-build-isolation", "--editable"]).arg(package));
    }
    fs::write(venv.join(MARK), wanted).expect("the environment can be written to");
    python
}

/// The folder with the packages that `package.json` and `package-lock.json` of `folder` name.
pub(crate) fn node_modules(folder: &Path, name: &str) -> PathBuf {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let files = ["package.json", "package-lock.json"].map(|file| folder.join(file));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("node-{name}"));
    let modules = made.join("node_modules");
    let Some(wanted) = unfinished(&made, &files) else { return modules };
    fs::create_dir_all(&made).expect("the target folder can be written to");
    for file in &files {
        let name = file.file_name().expect("files have names");
        fs::copy(file, made.join(name)).expect("the target folder can be written to");
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&made));
    fs::write(made.join(MARK), wanted).expect("the target folder can be written to");
    modules
}

/// What to write into the mark once `made` is finished; `None` when it is, from these very files. What is there otherwise
/// is removed.
fn unfinished(made: &Path, files: &[PathBuf]) -> Option<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.hash(&mut hasher);
    }
    let wanted = format!("{:016x}", hasher.finish());
    if fs::read_to_string(made.join(MARK)).is_ok_and(|found| found == wanted) {
        return None;
    }
    fs::remove_dir_all(made).ok();
    Some(wanted)
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
                "these tests run Python programs and need Python 3.11 with its venv module: install python3.11 \
                 (Debian: python3.11-venv), or name it by RUNLAKE_PYTHON"
            )
        })
}

/// Runs a command to its end, which must be a success.
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
