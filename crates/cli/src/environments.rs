//! `runlake env`: the environments that were made for projects.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use runlake_projects::environment::{Cache, Cached};
use runlake_types::{Clock as _, SystemClock};

use crate::terminal::say;
use crate::units::{Size, Span};
use crate::{Failure, Result};

#[derive(Debug, Subcommand)]
pub(crate) enum EnvironmentCommand {
    /// Lists the environments, the least recently used first.
    List(CacheArgs),
    /// Removes environments that nobody has used for some time, and what failures left.
    ///
    /// One that a run uses right now stays. What is removed is made again when a project needs it.
    Gc(GcArgs),
}

#[allow(clippy::doc_markdown, reason = "the comments are the help that terminals show")]
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Where environments are kept [default: $XDG_CACHE_HOME/runlake, or ~/.cache/runlake].
    #[arg(long, env = "RUNLAKE_CACHE_DIR", value_name = "FOLDER")]
    pub(crate) cache_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    cache: CacheArgs,

    /// Remove what was last used longer ago than this.
    #[arg(long, value_name = "TIME", default_value = "30d")]
    older_than: Span,

    /// Remove all of them.
    #[arg(long, conflicts_with = "older_than")]
    all: bool,

    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

impl CacheArgs {
    pub(crate) fn open(&self) -> Result<Cache> {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let known = self.cache_dir.clone().or_else(|| Some(of("XDG_CACHE_HOME")?.join("runlake")));
        let folder = known.or_else(|| Some(of("HOME")?.join(".cache/runlake"))).ok_or_else(|| {
            Failure::usage("there is no place for environments, as HOME is not set; name one with --cache-dir")
        })?;
        // Environments hold their own absolute paths.
        let folder = std::path::absolute(&folder)
            .map_err(|error| Failure::usage(format!("--cache-dir {}: {error}", folder.display())))?;
        Ok(Cache::at(folder))
    }
}

pub(crate) fn run(command: &EnvironmentCommand) -> Result {
    let failed = |error: runlake_projects::Error| Failure::new(error.to_string());
    match command {
        EnvironmentCommand::List(args) => {
            let cache = args.open()?;
            let all = cache.list().map_err(failed)?;
            for cached in &all {
                say(&line(cached));
            }
            if all.is_empty() {
                say(&format_args!("there are none in {}", cache.root().display()));
            }
        }
        EnvironmentCommand::Gc(args) => {
            let cache = args.cache.open()?;
            let before = SystemClock.now().earlier_by(if args.all { Duration::ZERO } else { args.older_than.0 });
            for cached in cache.list().map_err(failed)? {
                if cached.is_in_use || (!args.all && cached.used >= before) {
                    continue;
                }
                if args.dry_run || cache.remove(&cached.key).map_err(failed)? {
                    say(&format_args!("{}  {}", if args.dry_run { "would remove" } else { "removed" }, line(&cached)));
                }
            }
            if !args.dry_run {
                for name in cache.sweep(before).map_err(failed)? {
                    say(&format_args!("removed  {name}, which was not whole"));
                }
            }
        }
    }
    Ok(())
}

fn line(cached: &Cached) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(cached.used.millis()).unwrap_or_default());
    let megabytes =
        Size(usize::try_from(cached.bytes.div_ceil(1_000_000)).unwrap_or(usize::MAX).saturating_mul(1_000_000));
    format!(
        "{}  {}  used {}{}  {}",
        cached.key,
        megabytes,
        humantime::format_rfc3339_seconds(time),
        if cached.is_in_use { ", in use" } else { "" },
        cached.summary
    )
}
