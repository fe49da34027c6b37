//! Interpreters of this machine.

use std::path::PathBuf;
use std::process::Command;

use crate::process;
use crate::tracking::Cancel;
use crate::{Error, Result};

/// A Python of this version (`3.11` is any 3.11), or any Python 3.
pub(super) fn find(version: Option<&str>, cancel: &Cancel) -> Result<Option<PathBuf>> {
    for candidate in candidates(version) {
        let mut command = Command::new(&candidate);
        command.args(["-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]);
        if let Ok(Ok(found)) = process::answer(&mut command, cancel)
            && version.map_or(found.starts_with("3."), |wanted| is_version(&found, wanted))
        {
            return Ok(Some(candidate));
        }
        cancel.check()?;
    }
    Ok(None)
}

/// `3.11.4` is 3.11.4, 3.11 and 3.
fn is_version(found: &str, wanted: &str) -> bool {
    found == wanted || found.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
}

fn candidates(version: Option<&str>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(version) = version {
        let minor = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        found.extend(process::on_path(&format!("python{minor}")));
    }
    found.extend(["python3", "python"].into_iter().filter_map(process::on_path));
    if let Some(version) = version {
        found.extend(of_pyenv(version));
    }
    found
}

/// What pyenv has installed, without asking it to switch.
fn of_pyenv(version: &str) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let Some(root) = variable("PYENV_ROOT").or_else(|| Some(variable("HOME")?.join(".pyenv"))) else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(root.join("versions")) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| is_version(name, version)))
        .map(|entry| entry.path().join("bin/python"))
        .collect()
}

/// The sentence for a Python that is not there.
pub(super) fn missing(version: Option<&str>) -> Error {
    let version = version.unwrap_or("3");
    Error::environment(format!(
        "there is no Python {version} on this machine; install it, e.g. with `pyenv install {version}` or `uv python \
         install {version}`, or use --env-manager uv, which fetches it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_by_parts() {
        for (found, wanted, matches) in
            [("3.11.4", "3.11", true), ("3.11.4", "3.11.4", true), ("3.11.4", "3.1", false), ("3.1.1", "3.11", false)]
        {
            assert_eq!(is_version(found, wanted), matches, "{found} {wanted}");
        }
        let cancel = Cancel::default();
        assert!(find(None, &cancel).unwrap().is_some());
        assert_eq!(find(Some("3.999"), &cancel).unwrap(), None);
    }
}
