//! `GET /api/runlake/lineage?of=…`: what a thing was made of, and what was made of it.

use axum::response::Response;
use runlake_registry::LINEAGE_NODES;

use crate::call::Call;
use crate::error::Result;
use crate::wire::{LineageAnswer, LineageFormat, json, run_events};

pub(super) async fn lineage(mut call: Call) -> Result<Response> {
    let fields = call.fields().await?;
    let of = fields.required_text("of")?;
    let (direction, format) = (fields.direction()?, fields.lineage_format()?);
    let lineage = call.app.registry().lineage(&of, direction, LINEAGE_NODES).await?;
    let ids: Vec<String> = lineage.nodes.iter().map(|node| node.id.to_string()).collect();
    Ok(match format {
        LineageFormat::Graph => json(&LineageAnswer::new(&lineage, &ids, direction)),
        LineageFormat::OpenLineage => {
            let engine = call.app.engine();
            let namespace = format!("runlake://{}", engine.identity().lake_id);
            json(&run_events(&lineage, &ids, &namespace, engine.clock().now()))
        }
    })
}
