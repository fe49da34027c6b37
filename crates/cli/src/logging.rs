//! Log lines on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::terminal::Forgiving;
use crate::{Failure, Result};

/// Directives for libraries that talk too much.
const QUIET: &str = "buoyant_kernel=off,buoyant_kernel_engine=off,delta_kernel=off,deltalake_core=warn";

/// Starts logging. `level` is a level, or directives such as `info,runlake_engine=debug`.
pub(crate) fn start(format: LogFormat, level: &str) -> Result {
    // The libraries below report every look into a table, and a table that is not there yet as an error. What is wrong
    // reaches us as an error value, and is told once. Directives of the operator come later and win.
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| {
        Failure::usage(format!(
            "--log-level {level:?} is not understood ({error}); use error, warn, info, debug or trace"
        ))
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Forgiving(std::io::stderr()))
        // It would tell of a line that could not be written by writing to the same place, and panic.
        .log_internal_errors(false)
        .with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
