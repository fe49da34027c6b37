//! Containers by docker or podman.

use std::path::PathBuf;
use std::process::Command;

use super::{Manager, Prepared, Workshop};
use crate::process;
use crate::spec::Docker;
use crate::{Error, Result};

/// An image, and the program that runs it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) engine: PathBuf,
    pub(crate) docker: Docker,
}

pub(super) fn prepare(docker: &Docker, workshop: &Workshop<'_>) -> Result<Prepared> {
    let Some(engine) = ["docker", "podman"].into_iter().find_map(process::on_path) else {
        return Err(Error::environment(
            "the project runs in a docker image, and there is neither docker nor podman; install one, e.g. `apt install \
             docker.io` or `apt install podman`, or use --env-manager local",
        ));
    };
    let mut version = Command::new(&engine);
    if engine.file_name().is_some_and(|name| name == "podman") {
        version.arg("info");
    } else {
        version.args(["version", "--format", "{{.Server.Version}}"]);
    }
    if let Err(reason) = process::answer(&mut version, workshop.cancel)? {
        return Err(Error::environment(format!(
            "{} is there, but its engine does not answer: {reason}; start it, e.g. with `systemctl start docker`, or use \
             --env-manager local",
            engine.display()
        )));
    }
    let image = Some(Image { engine, docker: docker.clone() });
    Ok(Prepared { manager: Manager::Docker, image, ..Prepared::local() })
}
