//! Log lines on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::LogFormat;
use crate::{Failure, Result};

/// Starts logging. `level` is a level, or directives such as `info,runlake_engine=debug`.
pub(crate) fn start(format: LogFormat, level: &str) -> Result {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Failure::usage(format!("--log-level {level:?} is not understood ({error}); use error, warn, info, debug or trace"))
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
