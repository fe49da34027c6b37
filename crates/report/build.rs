//! Fetches the scripts that draw charts with npm, as `js/package-lock.json` pins them, for `src/charts/engine.rs`.
//!
//! The lockfile is copied below `OUT_DIR` first: no `node_modules` appears in the checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// What npm needs, in `js/`.
const SOURCES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
/// What is embedded.
const SCRIPTS: [&str; 2] = ["vega/build/vega.min.js", "vega-lite/build/vega-lite.min.js"];
const HINT: &str = "the scripts that draw the charts of reports are fetched with npm, which comes with Node \
                    (https://nodejs.org). Install it, hand in a folder that holds vega/build/vega.min.js and \
                    vega-lite/build/vega-lite.min.js as RUNLAKE_CHARTS_DIST, or build without charts: cargo build \
                    --no-default-features";

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed=js/{source}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUNLAKE_CHARTS_DIST");
    if std::env::var_os("CARGO_FEATURE_CHARTS").is_none() {
        return;
    }
    let out = PathBuf::from(env("OUT_DIR"));
    // Packagers without network hand in what they have fetched.
    let from = match std::env::var_os("RUNLAKE_CHARTS_DIST") {
        Some(dist) => PathBuf::from(dist),
        None => fetch(&PathBuf::from(env("CARGO_MANIFEST_DIR")).join("js"), &out.join("js")),
    };
    for script in SCRIPTS {
        let name = script.rsplit('/').next().unwrap_or(script);
        if let Err(error) = fs::copy(from.join(script), out.join(name)) {
            fail(&format!("{} cannot be read: {error}; {HINT}", from.join(script).display()));
        }
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set: this is for cargo to run")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}

/// Installs what the lockfile says in `work`, and says where it is.
fn fetch(from: &Path, work: &Path) -> PathBuf {
    let copied = fs::create_dir_all(work)
        .and_then(|()| SOURCES.iter().try_for_each(|name| fs::copy(from.join(name), work.join(name)).map(drop)));
    if let Err(error) = copied {
        fail(&format!("the list of scripts cannot be copied to {}: {error}", work.display()));
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    match Command::new(npm).args(args).current_dir(work).env("CI", "1").output() {
        Ok(output) if output.status.success() => work.join("node_modules"),
        Ok(output) => {
            for line in String::from_utf8_lossy(&output.stderr).lines().take(40) {
                println!("cargo::warning={line}");
            }
            fail(&format!("`npm {}` failed in {}; {HINT}", args.join(" "), work.display()))
        }
        Err(error) => fail(&format!("npm cannot be run ({error}); {HINT}")),
    }
}
