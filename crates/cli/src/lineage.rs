//! `runlake lineage`: what a model was made of, or what was made of a dataset, as a tree.

mod tree;

use std::io::Write as _;

use clap::Args;
use serde::Deserialize;

use crate::client::Server;
use crate::terminal::complain;
use crate::{Failure, Result};

const EXAMPLES: &str = "\
Examples:
  runlake lineage models:/Churn/3               where version 3 comes from, and what stands on it
  runlake lineage models:/Churn@champion --up   the runs and datasets behind the version in use
  runlake lineage dataset:8c1e7a2f --down       every run and model that stands on that dataset
  runlake lineage run:0190f3… --json            nodes and edges, for a program
  runlake lineage models:/Churn --openlineage   events for what collects OpenLineage

Each line begins with what can be asked about next.";

#[allow(clippy::doc_markdown, reason = "the comments are the help that terminals show")]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LineageArgs {
    /// A model version (models:/Name/3, models:/Name@alias, models:/Name/latest), all versions of a model (models:/Name),
    /// a logged model (models:/m-…), a run (run:ID), or a dataset by its digest or name (dataset:DIGEST).
    #[arg(value_name = "WHAT")]
    what: String,

    /// Only what it was made of.
    #[arg(long, group = "way")]
    up: bool,

    /// Only what was made of it.
    #[arg(long, group = "way")]
    down: bool,

    /// Both, which is what happens when nothing is said.
    #[arg(long, group = "way")]
    both: bool,

    /// Address of the server that has the lake open.
    #[arg(long, env = "RUNLAKE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    server: String,

    /// Print the server's answer, nodes and edges, as JSON.
    #[arg(long, group = "form")]
    json: bool,

    /// Print a JSON array of OpenLineage run events.
    #[arg(long, group = "form")]
    openlineage: bool,
}

/// The server's answer.
#[derive(Debug, Deserialize)]
struct Lineage {
    start: Vec<String>,
    truncated: bool,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    kind: String,
    known: bool,
    name: Option<String>,
    experiment: Option<String>,
    status: Option<String>,
    stage: Option<String>,
    lifecycle_stage: Option<String>,
    source_type: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    from: String,
    to: String,
    kind: String,
    direction: String,
}

pub(crate) async fn run(args: LineageArgs) -> Result {
    let server = Server::at(&args.server)?;
    let ways = [(args.up, "up"), (args.down, "down"), (args.both, "both")];
    let direction = ways.into_iter().find_map(|(is_asked, way)| is_asked.then_some(way)).unwrap_or("both");
    let format = if args.openlineage { "openlineage" } else { "graph" };
    let query = [("of", args.what.as_str()), ("direction", direction), ("format", format)];
    if args.json || args.openlineage {
        let answer: serde_json::Value = server.get("lineage", &query).await?;
        return print(&format!("{answer:#}\n"));
    }
    let lineage: Lineage = server.get("lineage", &query).await?;
    print(&tree::drawn(&lineage))?;
    if lineage.truncated {
        complain(&format_args!("there is more: only the nearest {} nodes are shown", lineage.nodes.len()));
    }
    Ok(())
}

/// A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("the answer could not be written: {error}")))
        }
        _ => Ok(()),
    }
}
