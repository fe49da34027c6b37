//! Changing what a model says it needs: `requirements.txt`, and the same in `conda.yaml`.

use std::fs;
use std::path::Path;

use runlake_yaml as yaml;
use serde_json::Value;

use crate::mlmodel::{FILE, inside};
use crate::{Error, Result};

const REQUIREMENTS: &str = "requirements.txt";
const CONDA: &str = "conda.yaml";

/// The name that a requirement is about, as pip compares names.
fn name_of(requirement: &str) -> String {
    let end = requirement.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
    let name = &requirement[..end.unwrap_or(requirement.len())];
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Requirements with some added, each in the place of an older one of its name, and some removed.
fn changed(old: &[String], add: &[String], remove: &[String]) -> Result<Vec<String>> {
    for requirement in add.iter().chain(remove) {
        if name_of(requirement).is_empty() || requirement.contains(['\n', '\r']) {
            return Err(Error::usage(format!(
                "{requirement:?} is no requirement; write it as pip does, such as numpy==2.1"
            )));
        }
    }
    for requirement in remove {
        if !old.iter().any(|line| name_of(line) == name_of(requirement)) {
            return Err(Error::usage(format!("the model does not need {requirement:?}; it needs {}", old.join(", "))));
        }
    }
    let is_gone = |line: &String| remove.iter().any(|requirement| name_of(requirement) == name_of(line));
    let mut new: Vec<String> = old.iter().filter(|line| !is_gone(line)).cloned().collect();
    for requirement in add {
        match new.iter_mut().find(|line| name_of(line) == name_of(requirement)) {
            Some(line) => line.clone_from(requirement),
            None => new.push(requirement.clone()),
        }
    }
    Ok(new)
}

/// Changes a model's folder; the files that changed, by name.
pub fn requirements(folder: &Path, add: &[String], remove: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
    let path = inside(folder, REQUIREMENTS)?;
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::usage(format!(
            "the model in {} has no {REQUIREMENTS}, so nothing says what it needs",
            folder.display()
        )),
        _ => Error::at("read", &path)(error),
    })?;
    let old: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let new = changed(&old, add, remove)?;
    let mut files = vec![(REQUIREMENTS.to_owned(), (new.join("\n") + "\n").into_bytes())];
    let conda = inside(folder, CONDA)?;
    if let Ok(text) = fs::read_to_string(&conda) {
        let mut root = yaml::parse(&conda.display().to_string(), &text)?.to_json();
        let lists = root["dependencies"].as_array_mut();
        let pip = lists.and_then(|lists| lists.iter_mut().find_map(|entry| entry.get_mut("pip")));
        if let Some(pip) = pip {
            *pip = Value::from(new);
            let mut out = String::new();
            yaml::write(&mut out, &root, 0);
            files.push((CONDA.to_owned(), out.into_bytes()));
        }
    }
    for (name, bytes) in &files {
        let path = folder.join(name);
        // Another process may read it meanwhile.
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(Error::at("write", folder))?;
        std::io::Write::write_all(&mut new, bytes).map_err(Error::at("write", &path))?;
        new.persist(&path).map_err(|error| Error::at("write", &path)(error.error))?;
    }
    debug_assert!(folder.join(FILE).exists(), "it was read as a model before");
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_replaced_by_name() {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
        let old = all(&["mlflow==3.1", "scikit_learn[x]>=1; python_version > '3'", "numpy"]);
        let new = changed(&old, &all(&["Scikit-Learn==1.5", "torch"]), &all(&["numpy"])).unwrap();
        assert_eq!(new, all(&["mlflow==3.1", "Scikit-Learn==1.5", "torch"]));
        assert!(changed(&old, &[], &all(&["pandas"])).unwrap_err().to_string().contains("does not need"));
        for bad in ["", "==1", "a\nb"] {
            assert!(changed(&old, &all(&[bad]), &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_files_change() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        write(FILE, "flavors: {x: {}}\n");
        write(REQUIREMENTS, "mlflow==3.1\n");
        write(CONDA, "channels:\n- conda-forge\ndependencies:\n- python=3.11\n- pip:\n  - mlflow==3.1\nname: e\n");
        let add = ["numpy==2".to_owned()];
        assert_eq!(requirements(place.path(), &add, &[]).unwrap().len(), 2);
        assert_eq!(fs::read_to_string(place.path().join(REQUIREMENTS)).unwrap(), "mlflow==3.1\nnumpy==2\n");
        let conda = fs::read_to_string(place.path().join(CONDA)).unwrap();
        let read = yaml::parse("c", &conda).unwrap().to_json();
        assert_eq!(read["dependencies"][1]["pip"], serde_json::json!(["mlflow==3.1", "numpy==2"]), "{conda}");
        assert_eq!(read["name"], "e");
    }
}
