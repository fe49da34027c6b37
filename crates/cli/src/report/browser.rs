//! PDF and PNG by a Chromium, where there is one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, Result};

const NAMES: [&str; 6] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"];
const PATIENCE: Duration = Duration::from_mins(2);

/// The program: the one that the variable CHROMIUM names, or the first that is installed.
pub(super) fn find() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("CHROMIUM").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty()) {
        return Ok(given);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| NAMES.iter().map(move |name| folder.join(name)))
        .find(|program| program.is_file());
    found.ok_or_else(|| {
        Failure::usage(
            "PDF and PNG are made by a Chromium, and none is installed: install chromium or google-chrome, name one by the \
             variable CHROMIUM, or write .html or .md with SVG",
        )
    })
}

/// Prints a page.
pub(super) async fn pdf(page: &str, to: &Path) -> Result {
    let flags = |out: &Path| vec![format!("--print-to-pdf={}", out.display()), "--no-pdf-header-footer".to_owned()];
    shoot(page, ["page.html", "page.pdf"], to, flags).await
}

/// Draws a picture, at twice its size.
pub(super) async fn png(picture: &str, to: &Path) -> Result {
    let size = |name: &str| {
        let after = picture.split_once(&format!(" {name}=\""))?.1;
        after.split('"').next()?.parse::<f64>().ok()
    };
    let (width, height) = (size("width").unwrap_or(800.0).ceil(), size("height").unwrap_or(600.0).ceil());
    let flags = |out: &Path| {
        vec![
            format!("--screenshot={}", out.display()),
            format!("--window-size={width},{height}"),
            "--force-device-scale-factor=2".to_owned(),
            "--hide-scrollbars".to_owned(),
        ]
    };
    shoot(picture, ["picture.svg", "picture.png"], to, flags).await
}

/// Has a Chromium open `content` and write a file.
async fn shoot(content: &str, [name, out_name]: [&str; 2], to: &Path, flags: impl Fn(&Path) -> Vec<String>) -> Result {
    let failed = |told: String| Failure::usage(format!("{} cannot be made: {told}", to.display()));
    let program = find()?;
    let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let (source, out) = (folder.path().join(name), folder.path().join(out_name));
    std::fs::write(&source, content).map_err(|error| failed(error.to_string()))?;
    let mut told = String::new();
    // Its sandbox is not to be had for root and in many containers. The page is ours, and has no scripts.
    for more in [&[][..], &["--no-sandbox"][..]] {
        let mut command = Command::new(&program);
        command.args(["--headless", "--disable-gpu", "--no-first-run", "--disable-extensions"]).args(more);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display())).args(flags(&out));
        command.arg(format!("file://{}", source.display()));
        let log = folder.path().join("log");
        let waited = tokio::task::spawn_blocking(move || wait(command, &log)).await;
        match waited.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(_) if out.is_file() => {
                let bytes = std::fs::read(&out).map_err(|error| failed(error.to_string()))?;
                return super::write(to, &bytes);
            }
            Ok(last) => told = last,
            Err(error) => return Err(failed(format!("{}: {error}", program.display()))),
        }
    }
    Err(failed(format!("{} ended without it: {told}", program.display())))
}

/// Runs a program to its end, and gives the last line it wrote.
fn wait(mut command: Command, log: &Path) -> Result<String, String> {
    let file = std::fs::File::create(log).map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let mut child = command.spawn().map_err(|error| format!("it cannot be run: {error}"))?;
    let begun = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if begun.elapsed() > PATIENCE {
            let _gone = child.kill();
            let _gone = child.wait();
            return Err(format!("it took longer than {} seconds", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(std::fs::read_to_string(log).unwrap_or_default().lines().last().unwrap_or("").to_owned())
}
