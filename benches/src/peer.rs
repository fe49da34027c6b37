//! MLflow's own server: its virtual environment, and its database filled past it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::figures::{self, Scale};
use crate::server::{Kind, Setup};

const MLFLOW: &str = "mlflow==3.17.*";
const SERVERS: [&str; 6] = [MLFLOW, "scikit-learn", "skl2onnx", "onnxruntime", "onnx", "pyarrow"];
const READERS: [&str; 6] =
    ["duckdb==1.*", "deltalake==1.*", "pandas==2.*", "pyarrow", "polars==1.*", "adbc-driver-flightsql==1.*"];

/// A python with MLflow in a virtual environment in `folder`, made if it is not there.
pub(crate) fn environment(folder: &Path) -> Result<PathBuf> {
    python_with(&folder.join("venv-bench"), &[MLFLOW])
}

/// The same with what reads the tables of a lake.
pub(crate) fn readers(folder: &Path) -> Result<PathBuf> {
    python_with(&folder.join("venv-readers"), &READERS)
}

/// The same with what models are saved and served with.
pub(crate) fn servers(folder: &Path) -> Result<PathBuf> {
    python_with(&folder.join("venv-serving"), &SERVERS)
}

fn python_with(venv: &Path, packages: &[&str]) -> Result<PathBuf> {
    let (python, mark) = (venv.join("bin/python"), venv.join("finished"));
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&mark).ok().as_ref() != Some(&wanted) {
        eprintln!("installing {} into {}", packages.join(", "), venv.display());
        run(Command::new("python3.11").args(["-m", "venv", "--clear"]).arg(venv))?;
        let mut install = Command::new(&python);
        run(install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
        std::fs::write(&mark, wanted)?;
    }
    Ok(python)
}

/// Puts the runs to search in place, unless they are there; returns the id of the run with the long history.
pub(crate) async fn fill(setup: &Setup, kind: Kind, scale: Scale) -> Result<String> {
    let mark = setup.data(kind, "runs").join("filled");
    let wanted = format!("{} {}", scale.runs, scale.points);
    if std::fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return long_run(setup, kind, scale);
    }
    eprintln!("filling {} with {} runs", kind.name(), scale.runs);
    let folder = setup.data(kind, "runs");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    if kind == Kind::Runlake {
        figures::fill_runlake(setup, scale).await?;
    } else {
        // The first start makes the tables.
        setup.start(kind, "runs").await?.stop()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/fill_mlflow.py");
        let python = setup.python.as_deref().unwrap_or(Path::new("python3"));
        let counts = [scale.runs.to_string(), scale.points.to_string()];
        run(Command::new(python).arg(script).arg(setup.database("runs")).args(counts))?;
    }
    std::fs::write(&mark, wanted)?;
    long_run(setup, kind, scale)
}

fn long_run(setup: &Setup, kind: Kind, scale: Scale) -> Result<String> {
    match kind {
        Kind::Runlake => Ok(std::fs::read_to_string(setup.folder.join("long-run"))?),
        _ => Ok(format!("{:032x}", scale.runs)),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
