//! `runlake models log`, `update-env`, `generate-dockerfile` and `build-docker`.

use std::path::{Path, PathBuf};
use std::process::Command;

use runlake_models::image::{self, Base};
use runlake_models::log::NewModel;
use runlake_models::onnx::Onnx;
use runlake_models::{environment, update};

use super::args::{BaseArgs, DockerfileArgs, ImageArgs, LogArgs, UpdateArgs};
use super::{failure, graph_of};
use crate::terminal::say;
use crate::{Failure, Result};

/// The Python of an image whose model names none.
const PYTHON: &str = "3.11";

pub(super) async fn log(args: LogArgs) -> Result {
    let signature = Onnx::signature_of(&args.onnx).map_err(failure)?;
    let new = NewModel {
        file: &args.onnx,
        signature,
        name: &args.name,
        run_id: &args.run,
        registered: args.register.as_deref(),
    };
    let logged = args.source.tracking()?.log(&new).await.map_err(failure)?;
    say(&format_args!("models:/{}", logged.model_id));
    if let (Some(name), Some(version)) = (&args.register, &logged.version) {
        say(&format_args!("models:/{name}/{version}"));
    }
    Ok(())
}

pub(super) async fn update(args: UpdateArgs) -> Result {
    let (found, folder, _) = args.source.open(&args.model).await?;
    let is_remote = found.location.starts_with("mlflow-artifacts:");
    let is_local = !is_remote && !found.location.trim_start_matches("file://").contains("://");
    if !is_remote && !is_local {
        return Err(Failure::usage(format!(
            "the model is in {}, which is not written to: change a folder, or a model that a server keeps",
            found.location
        )));
    }
    // What was fetched is kept under the hash of its files: a copy of it is changed.
    let copy = tempfile::tempdir().map_err(|error| Failure::new(format!("there is no folder for a copy: {error}")))?;
    let place: &Path = if is_remote { copy.path() } else { &folder };
    if is_remote {
        for name in ["MLmodel", "requirements.txt", "conda.yaml"] {
            if folder.join(name).is_file() {
                std::fs::copy(folder.join(name), place.join(name))
                    .map_err(|error| Failure::new(format!("{name} cannot be copied: {error}")))?;
            }
        }
    }
    let files = update::requirements(place, &args.add, &args.remove).map_err(failure)?;
    if is_remote {
        args.source.tracking()?.write(&found.location, &files).await.map_err(failure)?;
    }
    for (name, _) in &files {
        say(&format_args!("{}/{name}", found.location.trim_end_matches('/')));
    }
    Ok(())
}

/// Makes the folder of an image.
async fn prepare(args: &BaseArgs, folder: &Path) -> Result {
    let (_, model_folder, model) = args.source.open(&args.model).await?;
    let base = match graph_of(&model, &model_folder, args.engine)? {
        Some(_) => Base::Native,
        None => {
            let needs = environment::Needs::of(&model, &model_folder).map_err(failure)?;
            // An image has the newest patch of a minor version.
            let minor = |version: &str| version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
            Base::Python(needs.python.as_deref().map_or_else(|| PYTHON.to_owned(), minor))
        }
    };
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|error| Failure::new(format!("this program has no file: {error}")))?,
    };
    image::write(folder, &base, &program, &model_folder).map_err(failure)
}

pub(super) async fn dockerfile(args: DockerfileArgs) -> Result {
    prepare(&args.base, &args.directory).await?;
    say(&args.directory.join("Dockerfile").display());
    Ok(())
}

pub(super) async fn build(args: ImageArgs) -> Result {
    let folder =
        tempfile::tempdir().map_err(|error| Failure::new(format!("there is no folder to build in: {error}")))?;
    prepare(&args.base, folder.path()).await?;
    let builders = match args.builder {
        Some(builder) => vec![builder],
        None => ["docker", "podman"].map(PathBuf::from).to_vec(),
    };
    for builder in &builders {
        match Command::new(builder).args(["build", "--tag", &args.name]).arg(folder.path()).status() {
            Ok(status) if status.success() => return Ok(say(&args.name)),
            Ok(status) => return Err(Failure::new(format!("{} did not build the image: {status}", builder.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::new(format!("{} does not run: {error}", builder.display()))),
        }
    }
    let names: Vec<String> = builders.iter().map(|builder| builder.display().to_string()).collect();
    Err(Failure::usage(format!(
        "there is no {}; install one, or build the image elsewhere from what generate-dockerfile writes",
        names.join(" and no ")
    )))
}
