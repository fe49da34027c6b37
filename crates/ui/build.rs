//! Builds the web app with Node and writes the table that `src/lib.rs` includes.
//!
//! The sources are copied below `OUT_DIR` first: neither `node_modules` nor the result appear in the checkout.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The oldest Node that the bundler runs on.
const NODE: (u32, u32) = (20, 19);
/// What the app is built from, below `web/`.
const SOURCES: [&str; 8] =
    ["index.html", "package.json", "package-lock.json", ".npmrc", "tsconfig.json", "vite.config.ts", "public", "src"];

fn main() {
    let web = PathBuf::from(env("CARGO_MANIFEST_DIR")).join("web");
    let out = PathBuf::from(env("OUT_DIR"));
    for source in SOURCES {
        println!("cargo::rerun-if-changed=web/{source}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUNLAKE_UI_DIST");

    // Packagers without network hand in what they have built.
    let dist = match std::env::var_os("RUNLAKE_UI_DIST") {
        Some(dist) => PathBuf::from(dist),
        None => build(&web, &out.join("web")),
    };
    if let Err(error) = write_table(&dist, &out) {
        fail(&format!("the web app cannot be embedded from {}: {error}", dist.display()));
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set: this is for cargo to run")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}

/// Builds the app in `work`, a copy of `web`, and says where the result is.
fn build(web: &Path, work: &Path) -> PathBuf {
    check_node();
    let copied = SOURCES.iter().try_for_each(|name| {
        let to = work.join(name);
        // What was deleted from the sources must not stay in the copy.
        if to.is_dir() {
            fs::remove_dir_all(&to)?;
        }
        copy(&web.join(name), &to)
    });
    if let Err(error) = copied {
        fail(&format!("the web sources cannot be copied to {}: {error}", work.display()));
    }
    // Without a change of the packages those of the last build are right, and it needs no network.
    let lock = fs::read(work.join("package-lock.json")).unwrap_or_default();
    let installed = work.join("installed-lock.json");
    if fs::read(&installed).ok().as_ref() != Some(&lock) {
        npm(work, &["ci", "--no-audit", "--no-fund"]);
        if let Err(error) = fs::write(&installed, &lock) {
            fail(&format!("{} cannot be written: {error}", installed.display()));
        }
    }
    npm(work, &["run", "build"]);
    work.join("dist")
}

fn check_node() {
    let wanted = format!("{}.{}", NODE.0, NODE.1);
    let hint = format!(
        "the web app is built with Node {wanted} or newer and npm. Install them (https://nodejs.org), or build the server \
         without the app: cargo build --no-default-features"
    );
    let Ok(output) = Command::new("node").arg("--version").output() else {
        fail(&format!("Node was not found; {hint}"));
    };
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut parts = text.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < NODE {
        fail(&format!("Node {text} is too old; {hint}"));
    }
}

fn npm(work: &Path, args: &[&str]) {
    let name = if cfg!(windows) { "npm.cmd" } else { "npm" };
    // Cargo's own variables mean nothing to npm, but one of them may look like its settings.
    let output = Command::new(name).args(args).current_dir(work).env("CI", "1").output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let told =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            for line in told.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev() {
                println!("cargo::warning={line}");
            }
            fail(&format!("`npm {}` failed in {}", args.join(" "), work.display()));
        }
        Err(error) => fail(&format!("npm cannot be run ({error}); it comes with Node (https://nodejs.org)")),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        // Equal files keep their time.
        if fs::read(to).ok() != Some(fs::read(from)?) {
            fs::copy(from, to)?;
        }
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn write_table(dist: &Path, out: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    list(dist, dist, &mut files)?;
    files.sort();
    let packed = out.join("packed");
    if packed.exists() {
        fs::remove_dir_all(&packed)?;
    }
    fs::create_dir_all(&packed)?;
    let mut table = String::from("/// Every file, by its path, in order.\nstatic ASSETS: &[(&str, Asset)] = &[\n");
    let mut index = None;
    for (number, name) in files.iter().enumerate() {
        let file = dist.join(name);
        let bytes = fs::read(&file)?;
        let short = gzip(&bytes)?;
        let gzip = if short.len() * 10 < bytes.len() * 9 {
            let file = packed.join(format!("{number}.gz"));
            fs::write(&file, &short)?;
            format!("Some(include_bytes!({:?}))", file.display().to_string())
        } else {
            "None".to_owned()
        };
        let policy = if name == "frame.html" { "FRAME_POLICY" } else { "CONTENT_SECURITY_POLICY" };
        let asset = format!(
            "Asset {{ bytes: include_bytes!({:?}), gzip: {gzip}, content_type: {:?}, etag: {:?}, immutable: {}, \
             content_security_policy: {policy} }}",
            file.display().to_string(),
            content_type(name),
            format!("\"{:016x}\"", fingerprint(&bytes)),
            name.starts_with("assets/"),
        );
        if name == "index.html" {
            index = Some(asset.clone());
        }
        let _ = writeln!(table, "    ({name:?}, {asset}),");
    }
    table.push_str("];\n\n");
    let Some(index) = index else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no index.html"));
    };
    let _ = writeln!(table, "static INDEX: Asset = {index};");
    fs::write(out.join("assets.rs"), table)
}

fn list(root: &Path, folder: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push(name.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/"));
        }
    }
    Ok(())
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// FNV-1a: enough to tell one version of a file from another.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "woff2" => "font/woff2",
        "png" => "image/png",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
