//! A container image that serves a model: its Dockerfile, and the folder it is built in.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

const PORT: u16 = 8080;
const UV: &str = "0.9.8";

/// What serves the model in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Python of this version, with the model's packages.
    Python(String),
    /// No Python: the graph is scored in process.
    Native,
}

/// The Dockerfile of a folder that has `runlake` and `model` beside it.
pub fn dockerfile(base: &Base) -> String {
    let (from, make, engine) = match base {
        Base::Python(version) => (
            format!("python:{version}-slim-trixie"),
            format!(
                "RUN pip install --no-cache-dir uv=={UV}\n\
                 COPY model /opt/model\n\
                 RUN runlake models prepare-env /opt/model --env-cache /opt/environments && chmod -R a+rX /opt/environments\n"
            ),
            "\"--env-cache\", \"/opt/environments\"",
        ),
        Base::Native => {
            ("debian:trixie-slim".to_owned(), "COPY model /opt/model\n".to_owned(), "\"--engine\", \"native\"")
        }
    };
    format!(
        "# Serves the model beside it. Everybody who reaches the port may ask: give the container --tokens FILE and a file, or\n\
         # put it behind something that asks who comes.\n\
         FROM {from}\n\
         COPY runlake /usr/local/bin/runlake\n\
         {make}\
         RUN useradd --create-home --uid 10001 runlake\n\
         USER 10001\n\
         EXPOSE {PORT}\n\
         ENTRYPOINT [\"runlake\", \"models\", \"serve\", \"--model\", \"/opt/model\", \"--host\", \"0.0.0.0\", \"--port\", \
         \"{PORT}\", {engine}]\n\
         CMD [\"--no-auth\"]\n"
    )
}

/// Makes the folder: the Dockerfile, the program and the model's files.
pub fn write(folder: &Path, base: &Base, program: &Path, model: &Path) -> Result {
    fs::create_dir_all(folder).map_err(Error::at("make", folder))?;
    let place = folder.join("model");
    if place.exists() {
        return Err(Error::usage(format!("{} is there already; name a new folder", place.display())));
    }
    copy(model, &place)?;
    let to = folder.join("runlake");
    fs::copy(program, &to).map_err(Error::at("write", &to))?;
    let path = folder.join("Dockerfile");
    fs::write(&path, dockerfile(base)).map_err(Error::at("write", &path))
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to).map_err(Error::at("make", to))?;
    for entry in fs::read_dir(from).map_err(Error::at("read", from))? {
        let entry = entry.map_err(Error::at("read", from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        // Links lead to files of this machine, which are not the model's.
        let kind = entry.file_type().map_err(Error::at("read", &path))?;
        if kind.is_dir() {
            copy(&path, &to)?;
        } else if kind.is_file() {
            fs::copy(&path, &to).map_err(Error::at("write", &to))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_program_and_the_model() {
        let python = dockerfile(&Base::Python("3.11".to_owned()));
        assert!(python.contains("FROM python:3.11-slim") && python.contains("prepare-env /opt/model"));
        let native = dockerfile(&Base::Native);
        assert!(!native.contains("pip") && native.contains("\"--engine\", \"native\""));
        let place = tempfile::tempdir().unwrap();
        let (model, program) = (place.path().join("m"), place.path().join("p"));
        fs::create_dir_all(model.join("a/b")).unwrap();
        fs::write(model.join("a/b/c"), "x").unwrap();
        fs::write(&program, "y").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", model.join("link")).unwrap();
        let folder = place.path().join("image");
        write(&folder, &Base::Native, &program, &model).unwrap();
        assert_eq!(fs::read_to_string(folder.join("model/a/b/c")).unwrap(), "x");
        assert!(folder.join("runlake").is_file() && folder.join("Dockerfile").is_file());
        assert!(!folder.join("model/link").exists());
        assert!(write(&folder, &Base::Native, &program, &model).is_err());
    }
}
