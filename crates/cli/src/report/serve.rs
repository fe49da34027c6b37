//! `runlake report serve`: the page, rebuilt when a file of the report or the lake changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use runlake_report::Report;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::source::Lake;
use super::{ServeArgs, SourceArgs, Wanted, pages, tell, unusable};
use crate::terminal::{complain, say};
use crate::{Failure, Result};

/// How often files are looked at, and after how many looks the lake is asked.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS_PER_QUESTION: u32 = 4;
/// Files of a report that are watched.
const MOST_FILES: usize = 1000;

/// What browsers get.
#[derive(Debug, Clone)]
struct Shown {
    html: Arc<str>,
    number: u64,
}

#[derive(Debug, Clone)]
struct App {
    shown: watch::Receiver<Shown>,
    /// Names that this server may be called by; any if it listens for others.
    hosts: Option<Arc<[String]>>,
}

pub(super) async fn run(args: ServeArgs) -> Result {
    let lake = Lake::open(&args.source).await.map_err(unusable)?;
    let listener = TcpListener::bind((args.host.as_str(), args.port)).await.map_err(|error| {
        let (host, port) = (&args.host, args.port);
        Failure::usage(format!("{host}:{port} cannot be listened on: {error}; choose another --port or --host"))
    })?;
    let address =
        listener.local_addr().map_err(|error| Failure::usage(format!("the socket has no address: {error}")))?;
    let hosts = address.ip().is_loopback().then(|| {
        let names = ["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{}", address.port()));
        names.into_iter().chain([address.to_string()]).collect::<Vec<_>>().into()
    });
    let (shows, shown) = watch::channel(Shown { html: rebuilt(&args.source, &lake).await.into(), number: 1 });
    say(&format_args!("http://{address}/ shows {}; Ctrl-C ends", args.source.report.display()));
    let app = App { shown, hosts };
    let router = Router::new()
        .route("/", get(async |State(app): State<App>| Html(app.shown.borrow().html.to_string())))
        .route("/live.js", get(script))
        .route("/number", get(async |State(app): State<App>| app.shown.borrow().number.to_string()))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app);
    tokio::select! {
        served = std::future::IntoFuture::into_future(axum::serve(listener, router)) => {
            served.map_err(|error| Failure::usage(format!("the page cannot be served any more: {error}")))
        }
        () = rebuild(&args.source, &lake, &shows) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Builds again whenever something has changed.
async fn rebuild(args: &SourceArgs, lake: &Lake, shows: &watch::Sender<Shown>) {
    let folder = folder(&args.report);
    let mut files = look(&folder);
    let mut position = lake.position().await;
    let mut looks = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        looks += 1;
        let mut has_changed = false;
        let now = look(&folder);
        if now != files {
            (files, has_changed) = (now, true);
        }
        if looks % LOOKS_PER_QUESTION == 0 && args.as_of.is_none() {
            let now = lake.position().await;
            has_changed |= now != position;
            position = now;
        }
        if has_changed {
            let html = rebuilt(args, lake).await.into();
            shows.send_modify(|shown| *shown = Shown { html, number: shown.number + 1 });
        }
    }
}

/// The page, or one that says why there is none.
async fn rebuilt(args: &SourceArgs, lake: &Lake) -> String {
    match pages(args, lake, Wanted { is_live: true, markdown: None }).await {
        Ok(pages) => {
            tell(&pages);
            pages.html
        }
        Err(failure) => {
            complain(&format_args!("error: {}", failure.message));
            runlake_report::message_page(&failure.message)
        }
    }
}

fn folder(report: &Path) -> PathBuf {
    Report::open(report).map(|report| report.folder().to_owned()).unwrap_or_else(|_| {
        if report.is_dir() { report.to_owned() } else { report.parent().map_or_else(PathBuf::new, Path::to_owned) }
    })
}

/// Names, sizes and times of the files below `folder`.
fn look(folder: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if found.len() + folders.len() >= MOST_FILES {
                break;
            }
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), meta.len(), meta.modified().ok()));
            }
        }
    }
    found.sort();
    found
}

/// Reloads the page when there is another.
async fn script(State(app): State<App>) -> Response {
    let number = app.shown.borrow().number;
    let text = format!(
        "\"use strict\";\nsetInterval(async () => {{\n  try {{\n    const answer = await fetch(\"number\", {{ cache: \"no-store\" }});\n    \
         if ((await answer.text()) !== \"{number}\") location.reload();\n  }} catch {{\n    // The server may come back.\n  }}\n}}, 1000);\n"
    );
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

/// A page of elsewhere must not read reports by a name that leads here.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if app.hosts.as_ref().is_some_and(|hosts| !hosts.iter().any(|known| known.eq_ignore_ascii_case(host))) {
        return (StatusCode::FORBIDDEN, "this server is not called that\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, header::HeaderValue::from_static("DENY"));
    response
}
