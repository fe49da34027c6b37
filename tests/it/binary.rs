//! Where the runlake binary is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary under test: `RUNLAKE_BIN` when set, otherwise built once by the cargo that runs the tests.
pub(crate) fn runlake() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("RUNLAKE_BIN") {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "RUNLAKE_BIN names no file: {}", path.display());
            path
        }
        None => built(|message| message["target"]["name"] == "runlake" && message["profile"]["test"] == false),
    })
}

/// The tests of the engine, which run over any store (`crates/engine/tests/it`).
pub(crate) fn engine_tests() -> PathBuf {
    built(|message| {
        let manifest = message["manifest_path"].as_str().unwrap_or_default();
        message["target"]["name"] == "it" && Path::new(manifest).ends_with("crates/engine/Cargo.toml")
    })
}

/// The executable whose message from cargo is the wanted one.
fn built(is_wanted: impl Fn(&serde_json::Value) -> bool) -> PathBuf {
    static MESSAGES: OnceLock<Vec<serde_json::Value>> = OnceLock::new();
    let messages = MESSAGES.get_or_init(build);
    messages
        .iter()
        .filter(|message| is_wanted(message))
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the executable it built")
}

/// Builds into the same target folder and with the same profile as this test, and asks cargo where the result is.
///
/// The whole workspace with its tests is named, since features are united over what is named: after
/// `cargo test --workspace` only the binary itself is left to link, while `-p runlake-cli` alone would compile half of
/// the dependencies anew.
fn build() -> Vec<serde_json::Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--workspace", "--bins", "--tests", "--message-format=json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What cargo tells this test about itself would make some build scripts run again.
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
        if name.to_str().is_some_and(|name| told.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    let output =
        cargo.stderr(std::process::Stdio::inherit()).output().expect("cargo, which runs this test, can be run");
    assert!(output.status.success(), "cargo cannot build the runlake binary");
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
