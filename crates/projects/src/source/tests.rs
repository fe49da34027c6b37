use std::fs;
use std::io::Write as _;
use std::process::Command;

use super::*;
use crate::tracking::Stream;

#[derive(Debug, Default)]
struct Heard(std::sync::Mutex<String>);

impl Console for Heard {
    fn say(&self, line: &str) {
        self.0.lock().unwrap().push_str(line);
    }

    fn write(&self, _: Stream, _: &[u8]) {}
}

fn get(uri: &str, version: Option<&str>, here: &Path) -> Result<Source> {
    fetch(uri, version, here, &Heard::default(), &Cancel::default())
}

fn git(folder: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=ann", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").args(identity).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// `main` and tag `v1` say 1, `dev` says 2; `sub` is a project of its own, `out` a link that leads out.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("sub")).unwrap();
    fs::write(path.join("say"), "1").unwrap();
    fs::write(path.join("sub/MLproject"), "name: sub").unwrap();
    std::os::unix::fs::symlink("/tmp", path.join("out")).unwrap();
    git(path, &["init", "--quiet"]);
    git(path, &["add", "--all"]);
    git(path, &["commit", "--quiet", "-m", "one"]);
    git(path, &["tag", "v1"]);
    git(path, &["checkout", "--quiet", "-b", "dev"]);
    fs::write(path.join("say"), "2").unwrap();
    git(path, &["commit", "--quiet", "--all", "-m", "two"]);
    git(path, &["branch", "feat/x"]);
    git(path, &["checkout", "--quiet", "main"]);
    folder
}

fn said(source: &Source) -> String {
    fs::read_to_string(source.directory.join("say")).unwrap()
}

#[test]
fn versions_of_a_repository() {
    let folder = repository();
    let url = format!("git+file://{}", folder.path().display());
    let one = git(folder.path(), &["rev-parse", "v1"]);
    for (version, says, branch) in [
        (None, "1", None),
        (Some("dev"), "2", Some("dev")),
        (Some("v1"), "1", None),
        (Some(one.as_str()), "1", None),
        (Some(&one[..9]), "1", None),
    ] {
        let source = get(&url, version, Path::new("/")).unwrap();
        assert_eq!(said(&source), says, "{version:?}");
        assert_eq!(source.version.branch.as_deref(), branch);
        assert_eq!(source.version.commit.as_deref() == Some(&one), says == "1");
        assert_eq!((source.name.as_str(), source.version.is_dirty), (url.as_str(), false));
        let directory = source.directory.clone();
        drop(source);
        assert!(!directory.exists());
    }
    let error = get(&url, Some("gone"), Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("\"gone\"") && error.ends_with("it has dev, feat/x, main, v1"), "{error}");
    for (version, part) in [
        ("--upload-pack=x", "begins with a dash"),
        ("", "is no branch"),
        ("main:refs/heads/evil", "is no branch"),
        ("+main", "is no branch"),
    ] {
        let error = get(&url, Some(version), Path::new("/")).unwrap_err().to_string();
        assert!(error.contains(part), "{version}: {error}");
    }
    let error = get("git+file:///no/such/place", None, Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("/no/such/place") && error.contains("cannot be read"), "{error}");
}

#[test]
fn a_local_repository_and_its_version() {
    let folder = repository();
    let path = folder.path();
    let here = path.canonicalize().unwrap();
    let source = get("sub", None, path).unwrap();
    assert_eq!(source.name, format!("file://{}#sub", here.display()));
    assert_eq!((source.version.is_dirty, source.version.repository), (false, None));
    // A version is taken from the repository, and the working tree stays as it is.
    let source = get(&path.display().to_string(), Some("dev"), Path::new("/")).unwrap();
    assert_eq!((said(&source).as_str(), source.version.branch.as_deref()), ("2", Some("dev")));
    assert_eq!(fs::read_to_string(path.join("say")).unwrap(), "1");
    let source = get(&format!("file://{}#sub", here.display()), Some("v1"), path).unwrap();
    assert!(source.directory.ends_with("sub") && !source.directory.starts_with(&here));

    git(path, &["remote", "add", "origin", "https://ann:secret@example.com/x.git"]);
    fs::write(path.join("say"), "3").unwrap();
    let heard = Heard::default();
    let source = fetch(".", None, path, &heard, &Cancel::default()).unwrap();
    assert!(source.version.is_dirty && heard.0.lock().unwrap().contains("not committed"));
    assert_eq!(source.version.repository.as_deref(), Some("https://example.com/x.git"));
    // What changed elsewhere in the repository is not this project's.
    assert!(!get("sub", None, path).unwrap().version.is_dirty);
}

#[test]
fn nothing_outside_is_run() {
    let folder = repository();
    let url = format!("git+file://{}", folder.path().display());
    for uri in [format!("{url}#out"), format!("{url}#sub/../.."), format!("{}#out", folder.path().display())] {
        let error = get(&uri, None, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("leads out of the project"), "{error}");
    }
    let error = get(&format!("{url}#gone"), None, Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("no directory \"gone\""), "{error}");
    assert!(get(&format!("{url}#say"), None, Path::new("/")).unwrap_err().to_string().contains("is no directory"));
}

#[test]
fn addresses() {
    let here = tempfile::tempdir().unwrap();
    for (text, place) in [
        ("git+https://h/r", Place::Git("https://h/r".into())),
        ("git+ssh://git@h/r", Place::Git("ssh://git@h/r".into())),
        ("git@h:r.git", Place::Git("git@h:r.git".into())),
        ("https://h/r.git", Place::Git("https://h/r.git".into())),
        (".", Place::Local(here.path().join("."))),
    ] {
        assert_eq!(read(text, here.path()).unwrap(), place, "{text}");
    }
    for (text, part) in [
        ("", "no address"),
        ("gone", "no project at"),
        ("s3://b/p", "not by s3"),
        ("https://h/p.zip", "download it first"),
        ("file:relative", "no project at"),
    ] {
        let error = read(text, here.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    fs::write(here.path().join("x.py"), "").unwrap();
    assert!(read("x.py", here.path()).unwrap_err().to_string().contains("-e script.py"));
    assert_eq!(bare("https://u:p@h/r"), "https://h/r");
    assert_eq!(bare("ssh://git@h/r"), "ssh://git@h/r");
}

fn zip(path: &Path, entries: &[(&str, &[u8], u32)]) {
    let mut out = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
    for (name, bytes, mode) in entries {
        let (mut entry, config) = archive
            .new_file(name)
            .compression_method(CompressionMethod::DEFLATE)
            .unix_permissions(*mode)
            .start()
            .unwrap();
        let mut writer = config.wrap(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast()));
        writer.write_all(bytes).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    fs::write(path, out).unwrap();
}

use rawzip::CompressionMethod;

#[test]
fn a_zip_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zip");
    zip(&path, &[("say", b"1", 0o100_644), ("sub/run.sh", b"#!/bin/sh", 0o100_755)]);
    let source = get("p.zip", None, folder.path()).unwrap();
    assert_eq!((said(&source).as_str(), source.name.as_str()), ("1", path.to_str().unwrap()));
    let mode = source.directory.join("sub/run.sh").metadata().unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o755);
    let source = get(&format!("file://{}#sub", path.display()), None, folder.path()).unwrap();
    assert!(source.directory.join("run.sh").is_file());
    assert!(get("p.zip", Some("v1"), folder.path()).unwrap_err().to_string().contains("no versions"));
    let (cancel, into) = (Cancel::default(), tempfile::tempdir().unwrap());
    cancel.ask();
    assert!(matches!(archive::unpack(&path, into.path(), &cancel), Err(Error::Cancelled)));
}

#[test]
fn a_zip_file_that_wants_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zip");
    for name in ["../evil", "a/../../evil", "/evil", "..\\evil", "C:/evil"] {
        zip(&path, &[(name, b"x", 0o100_644)]);
        let bytes = fs::read(&path).unwrap();
        if !bytes.windows(name.len()).any(|window| window == name.as_bytes()) {
            continue;
        }
        let error = get("p.zip", None, folder.path()).unwrap_err().to_string();
        assert!(error.contains("leads out"), "{name}: {error}");
    }
    // As the writer above cleans names, one is made evil in the bytes.
    zip(&path, &[("aa/evil", b"x", 0o100_644)]);
    let bytes = fs::read(&path).unwrap();
    let text: Vec<u8> = bytes.windows(7).enumerate().fold(bytes.clone(), |mut all, (at, window)| {
        if window == b"aa/evil" {
            all[at..at + 2].copy_from_slice(b"..");
        }
        all
    });
    fs::write(&path, text).unwrap();
    assert!(get("p.zip", None, folder.path()).unwrap_err().to_string().contains("leads out"));
    zip(&path, &[("link", b"/etc", 0o120_777)]);
    assert!(get("p.zip", None, folder.path()).unwrap_err().to_string().contains("is a link"));
    fs::write(&path, b"PK no zip at all").unwrap();
    assert!(get("p.zip", None, folder.path()).unwrap_err().to_string().contains("cannot be used"));
}
