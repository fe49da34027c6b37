//! `lineage`: what a thing was made of, and what was made of it.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use runlake_registry::{Direction, Lineage};
use runlake_types::ErrorKind;

use super::{Arguments, Lake, Signature};
use crate::{Error, Result};

pub(super) static SIGNATURE: Signature = Signature {
    name: "lineage",
    usage: "lineage('models:/Name/3' | 'models:/Name@alias' | 'run:<id>' | 'dataset:<digest>' [, 'up' | 'down' | 'both'])",
};

/// Nodes of an answer.
const NODES: usize = 1_000_000;

/// The edges dataset → run → logged model → model version → alias around a node, one row each, nearest first. `target`
/// was made of `source`; `depth` is how many edges it takes from the start to the far end.
pub(super) async fn rows(lake: &Lake, arguments: &Arguments) -> Result<RecordBatch> {
    arguments.count(1..=2)?;
    let direction = match arguments.len() {
        1 => Direction::Both,
        _ => Direction::parse(arguments.text(1)?)
            .ok_or_else(|| Error::Invalid(format!("call it as {}", SIGNATURE.usage)))?,
    };
    let found = Lineage::read(&lake.view, arguments.text(0)?, direction, NODES).await.map_err(told)?;
    if found.truncated {
        return Err(Error::Resources(format!("the lineage has more than {NODES} nodes")));
    }
    let text = |of: fn(&Lineage, usize) -> String| -> ArrayRef {
        Arc::new((0..found.edges.len()).map(|edge| Some(of(&found, edge))).collect::<StringArray>())
    };
    let depth: UInt32Array = found.edges.iter().map(|edge| Some(edge.depth)).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("depth", Arc::new(depth) as ArrayRef, false),
        ("direction", text(|found, edge| found.edges[edge].direction.as_str().to_owned()), false),
        ("kind", text(|found, edge| found.edges[edge].kind.as_str().to_owned()), false),
        ("source_kind", text(|found, edge| found.nodes[found.edges[edge].from].id.kind().to_owned()), false),
        ("source", text(|found, edge| found.nodes[found.edges[edge].from].id.to_string()), false),
        ("target_kind", text(|found, edge| found.nodes[found.edges[edge].to].id.kind().to_owned()), false),
        ("target", text(|found, edge| found.nodes[found.edges[edge].to].id.to_string()), false),
    ])?)
}

fn told(error: runlake_registry::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NotFound(error.to_string()),
        ErrorKind::Invalid => Error::Invalid(error.to_string()),
        ErrorKind::Unavailable => Error::Storage(error.to_string()),
        _ => Error::Internal(error.to_string()),
    }
}
