//! The web app: the tests of its logic, and a walk through its pages in a real browser (`tests/ui`).
//!
//! Both run on copies below the target folder, beside their packages: no `node_modules` appear in the checkout.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::server::Server;
use crate::{binary, tools};

/// Types, and what needs no browser.
#[test]
fn logic() {
    let web = repository().join("crates/ui/web");
    let work = tools::node_modules(&web, "web").with_file_name("");
    copy(&web, &work, &["src", "index.html", "public", "tsconfig.json", "vite.config.ts"]);
    tools::run(Command::new("npm").args(["run", "check"]).current_dir(&work));
    tools::run(Command::new("npm").args(["test"]).current_dir(&work).env("CI", "1"));
}

/// Every page, with axe, and with names and files that try to run scripts. Screenshots and the walk's own words are left
/// in `<target>/tmp/web-screenshots`.
#[test]
fn every_page_in_a_browser() {
    let Some(chromium) = chromium() else {
        aloud(
            "NOT RUN: the walk through the pages of the web app, for want of a Chromium. Install one (Debian: apt-get \
             install chromium), or name one by CHROMIUM",
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(&folder.path().join("lake"), &[]);
    let app = server.get("/").expect("an answer");
    if app.status != 200 || !app.body.contains("<!doctype html>") {
        aloud("NOT RUN: the walk through the pages of the web app: the binary was built without it");
        return;
    }
    let python = tools::python(&repository().join("tests/clients"), "mlflow3", &[repository().join("crates/python")]);
    tools::run(Command::new(python).arg(repository().join("data/ui/seed.py")).arg(server.url()));

    let ui = repository().join("tests/ui");
    let work = tools::node_modules(&ui, "ui").with_file_name("");
    copy(&ui, &work, &["run.mjs", "serve.mjs"]);
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web-screenshots");
    fs::remove_dir_all(&screenshots).ok();
    fs::create_dir_all(&screenshots).expect("the target folder can be written to");
    let output = Command::new("node")
        .arg(work.join("run.mjs"))
        .arg(server.url())
        .arg(&screenshots)
        .arg("--direct")
        .arg("--binary")
        .arg(binary::runlake())
        .env("CHROMIUM", chromium)
        .stdin(Stdio::null())
        .output()
        .expect("node can be run");
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat();
    fs::write(screenshots.join("walk.log"), &text).expect("the target folder can be written to");
    println!("{text}");
    assert!(
        output.status.success(),
        "the walk through the web app ended with {}; screenshots are in {}",
        output.status,
        screenshots.display()
    );
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Copies files and folders of `from` that are there, in place of what was copied before.
fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        let (from, to) = (from.join(name), to.join(name));
        fs::remove_dir_all(&to).ok();
        if from.is_dir() {
            fs::create_dir_all(&to).expect("the target folder can be written to");
            let entries = fs::read_dir(&from).expect("a folder of the checkout can be read");
            let names: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").file_name()).collect();
            let names: Vec<_> = names.iter().filter_map(|name| name.to_str()).collect();
            copy(&from, &to, &names);
        } else if from.is_file() {
            fs::copy(&from, &to).expect("the target folder can be written to");
        }
    }
}

/// A Chromium that starts: the one of `CHROMIUM`, one on the path, or else what apt-get installs, where that is allowed.
fn chromium() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            if let Some(named) = std::env::var_os("CHROMIUM").map(PathBuf::from) {
                assert!(starts(&named), "CHROMIUM names no browser that starts: {}", named.display());
                return Some(named);
            }
            installed().or_else(|| {
                aloud("the web app's tests need a Chromium and found none: trying apt-get install chromium");
                install().then(installed).flatten()
            })
        })
        .as_deref()
}

fn installed() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.filter(|candidate| candidate.is_file()).find(|candidate| starts(candidate))
}

/// Ubuntu's package, for one, is a script that only asks for something else.
fn starts(browser: &Path) -> bool {
    let version = Command::new(browser).args(["--version", "--no-sandbox"]).stdin(Stdio::null()).output();
    version.is_ok_and(|version| version.status.success() && !version.stdout.is_empty())
}

fn install() -> bool {
    let who = Command::new("id").arg("-u").output();
    if !who.is_ok_and(|who| who.stdout.trim_ascii() == b"0") {
        return false;
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command.output().is_ok_and(|output| output.status.success())
    };
    let wanted = ["install", "-y", "--no-install-recommends", "chromium"];
    apt(&wanted) || (apt(&["update"]) && apt(&wanted))
}

/// To the terminal, also when the test passes and cargo keeps its output.
fn aloud(text: &str) {
    writeln!(std::io::stderr(), "\n*** {text}\n").ok();
}
