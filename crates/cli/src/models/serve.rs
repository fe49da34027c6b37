//! `runlake models serve`.

use std::path::PathBuf;
use std::sync::Arc;

use runlake_models::mlmodel::MlModel;
use runlake_models::pool::Pool;
use runlake_models::request;
use runlake_models::scorer::Scorer;
use runlake_models::serve::{Loaded, LogSettings, Route, ServeSettings, Served, Server};
use runlake_server::Tls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::args::ServeArgs;
use super::{can_move, failure, graph_of, native, pool_settings, python_of};
use crate::server::Signals;
use crate::terminal::say;
use crate::{Failure, Result, logging};

pub(super) async fn run(args: ServeArgs) -> Result {
    logging::start(args.log_format, &args.log_level)?;
    let named = names(&args.models)?;
    let route =
        Route { weights: shares(&args.traffic, &named, 1_000_000)?, shadows: shares(&args.shadow, &named, 100)? };
    let settings = settings(&args)?;
    let signals = Signals::listen()?;
    let listener = TcpListener::bind((args.host.as_str(), args.port)).await.map_err(|error| {
        Failure::new(format!("{}:{} cannot be listened on: {error}; check --host and --port", args.host, args.port))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::new(format!("the socket has no address: {error}")))?;
    if !address.ip().to_canonical().is_loopback() && settings.tokens.is_empty() && !args.no_auth {
        return Err(Failure::usage(format!(
            "others can reach {address}: give a file of --tokens that requests must bear, or --no-auth to let everybody ask"
        )));
    }
    let mut models = Vec::new();
    for (name, uri) in &named {
        let (loaded, place) = load(uri, &args).await?;
        tracing::info!(model = name, uri, version = loaded.version(), "a model is ready");
        models.push((Arc::new(Served::new(name.clone(), loaded)), uri.clone(), place));
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let server = Server::new(models.iter().map(|(served, ..)| Arc::clone(served)).collect(), route, settings);
    say(&format_args!(
        "Serving {} on {scheme}://{address}/invocations",
        named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    ));
    let stop = CancellationToken::new();
    tokio::spawn(signals.obey(stop.clone(), "stopped at once; open requests got no answer"));
    let args = Arc::new(args);
    if args.follow_alias {
        for (served, uri, place) in models.into_iter().filter(|(_, uri, _)| can_move(uri)) {
            tokio::spawn(follow(served, uri, place, Arc::clone(&args), stop.clone()));
        }
    }
    server.serve(listener, stop).await;
    Ok(())
}

/// What a model is called: as it is given, or after the registered model or folder.
fn names(models: &[String]) -> Result<Vec<(String, String)>> {
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let mut named: Vec<(String, String)> = Vec::new();
    for text in models {
        let (name, uri) = match text.split_once('=') {
            Some((name, uri)) if is_name(name) => (name.to_owned(), uri.to_owned()),
            _ if models.len() == 1 => ("model".to_owned(), text.clone()),
            _ => return Err(Failure::usage(format!("several models need names: write {text:?} as NAME={text}"))),
        };
        if named.iter().any(|(known, _)| *known == name) {
            return Err(Failure::usage(format!("two models are called {name:?}; give each a name of its own")));
        }
        named.push((name, uri));
    }
    Ok(named)
}

/// `a=90` and so on, by the place of the model.
fn shares(texts: &[String], named: &[(String, String)], most: u32) -> Result<Vec<(usize, u32)>> {
    texts
        .iter()
        .map(|text| {
            let bad =
                |why: String| Failure::usage(format!("the share {text:?} is not understood: {why}; write NAME=NUMBER"));
            let (name, share) = text.split_once('=').ok_or_else(|| bad("it has no =".to_owned()))?;
            let place = named.iter().position(|(known, _)| known == name);
            let place = place.ok_or_else(|| bad(format!("no model is called {name:?}")))?;
            match share.parse::<u32>() {
                Ok(share) if share <= most => Ok((place, share)),
                _ => Err(bad(format!("{share:?} is no whole number up to {most}"))),
            }
        })
        .collect()
}

fn settings(args: &ServeArgs) -> Result<ServeSettings> {
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            let tls = Tls::read_http1(certificate, key).map_err(|error| Failure::usage(error.to_string()))?;
            Some(tls.acceptor().clone())
        }
        _ => None,
    };
    let tokens = match &args.tokens {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("the tokens in {} cannot be read: {error}", path.display())))?;
            let tokens: Vec<String> =
                text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
            if tokens.is_empty() {
                return Err(Failure::usage(format!("the file {} has no tokens", path.display())));
            }
            tokens
        }
    };
    Ok(ServeSettings {
        body_limit: args.body_limit.0,
        max_connections: args.max_connections.max(1),
        read_timeout: args.read_timeout.0,
        drain_timeout: args.drain_timeout.0,
        tls,
        tokens,
        log: args.inference_log.then(|| log_settings(args)).transpose()?,
    })
}

fn log_settings(args: &ServeArgs) -> Result<LogSettings> {
    Ok(LogSettings {
        tracking: args.source.tracking()?,
        sample: args.log_sample,
        redacts_inputs: args.log_redact.iter().any(|column| column == "*"),
        redacted: args.log_redact.iter().cloned().collect(),
        keeps_outputs: !args.log_no_outputs,
    })
}

/// Fetches a model, makes its environment, starts its workers, and scores its input example once, which loads what a first
/// request would otherwise wait for.
async fn load(uri: &str, args: &ServeArgs) -> Result<(Loaded, PathBuf)> {
    let (found, folder, model) = args.source.open(uri).await?;
    let scorer = match graph_of(&model, &folder, args.environment.engine)? {
        Some(graph) => native(&model, graph, args.workers.queue.max(1), args.workers.timeout.0),
        None => {
            let python = python_of(&model, &folder, &args.environment)?;
            let settings = pool_settings(&model, &folder, python, &args.workers)?;
            Scorer::Workers(Pool::start(settings).await.map_err(failure)?)
        }
    };
    warm(&scorer, &model, &folder).await;
    Ok((Loaded { scorer, model, registered: found.version }, folder))
}

async fn warm(scorer: &Scorer, model: &MlModel, folder: &std::path::Path) {
    let Ok(Some(body)) = model.example_request(folder) else { return };
    let outcome = match request::read(Some("application/json"), &body, model.signature.as_ref()) {
        Ok(request) => scorer.score(request).await.map(drop).map_err(|unscored| unscored.to_string()),
        Err(refused) => Err(refused.message),
    };
    if let Err(problem) = outcome {
        tracing::warn!("the model's own input example is not scored: {problem}");
    }
}

/// Serves the version that an alias names now. What cannot be loaded is told, and the old version stays.
async fn follow(served: Arc<Served>, uri: String, mut place: PathBuf, args: Arc<ServeArgs>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(args.follow_interval.0) => {}
        }
        let news = async {
            let (found, folder, _) = args.source.open(&uri).await?;
            if folder == place && found.version == served.current().registered {
                return Ok(None);
            }
            load(&uri, &args).await.map(Some)
        };
        match news.await {
            Ok(None) => {}
            Ok(Some((loaded, folder))) => {
                tracing::info!(model = served.name, version = loaded.version(), "a new version is served");
                served.replace(loaded);
                place = folder;
            }
            Err(failure) => {
                let message: Failure = failure;
                tracing::error!(model = served.name, "the version stays: {}", message.message);
            }
        }
    }
}
