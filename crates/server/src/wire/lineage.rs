//! Lineage, as runlake's own answer tells it.

use runlake_registry::{Detail, Direction, Lineage, Node};
use runlake_types::Timestamp;
use serde::Serialize;

use super::Fields;
use super::models::status_name;
use crate::error::{ApiError, Result};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineageFormat {
    /// Nodes and edges.
    Graph,
    /// Events as OpenLineage has them.
    OpenLineage,
}

impl Fields {
    /// `direction` of `/api/runlake/lineage`; both when it is left out.
    pub(crate) fn direction(&self) -> Result<Direction> {
        let Some(text) = self.text("direction")?.filter(|text| !text.is_empty()) else { return Ok(Direction::Both) };
        Direction::parse(&text).ok_or_else(|| {
            ApiError::invalid(format!(
                "Invalid value {text} for parameter 'direction' supplied: it must be up, down or both."
            ))
        })
    }

    /// `format` of `/api/runlake/lineage`.
    pub(crate) fn lineage_format(&self) -> Result<LineageFormat> {
        match self.text("format")?.as_deref() {
            None | Some("" | "graph") => Ok(LineageFormat::Graph),
            Some("openlineage") => Ok(LineageFormat::OpenLineage),
            Some(other) => Err(ApiError::invalid(format!(
                "Invalid value {other} for parameter 'format' supplied: it must be graph or openlineage."
            ))),
        }
    }
}

/// Answer of `GET /api/runlake/lineage`.
#[derive(Debug, Serialize)]
pub(crate) struct LineageAnswer<'a> {
    start: Vec<&'a str>,
    direction: &'static str,
    truncated: bool,
    nodes: Vec<NodeAnswer<'a>>,
    edges: Vec<EdgeAnswer<'a>>,
}

/// A node: its id can be asked for in turn.
#[derive(Debug, Serialize)]
struct NodeAnswer<'a> {
    id: &'a str,
    kind: &'static str,
    /// Whether the lake has more of it than references.
    known: bool,
    #[serde(flatten)]
    about: Option<About<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum About<'a> {
    Dataset {
        source_type: &'a str,
        source: &'a str,
        experiment_ids: Vec<String>,
    },
    Run {
        name: &'a str,
        experiment_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        experiment: Option<&'a str>,
        status: &'static str,
        lifecycle_stage: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        start_time: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        end_time: Option<i64>,
    },
    LoggedModel {
        name: &'a str,
        experiment_id: String,
        status: &'static str,
        lifecycle_stage: &'static str,
        creation_time: i64,
    },
    Version {
        stage: &'static str,
        status: &'static str,
        creation_time: i64,
    },
}

#[derive(Debug, Serialize)]
struct EdgeAnswer<'a> {
    from: &'a str,
    to: &'a str,
    kind: &'static str,
    direction: &'static str,
    depth: u32,
}

impl<'a> LineageAnswer<'a> {
    /// `ids` are those of the nodes, written out.
    pub(crate) fn new(lineage: &'a Lineage, ids: &'a [String], direction: Direction) -> Self {
        Self {
            start: lineage.start.iter().map(|place| ids[*place].as_str()).collect(),
            direction: direction.as_str(),
            truncated: lineage.truncated,
            nodes: lineage.nodes.iter().zip(ids).map(|(node, id)| NodeAnswer::new(node, id)).collect(),
            edges: lineage
                .edges
                .iter()
                .map(|edge| EdgeAnswer {
                    from: &ids[edge.from],
                    to: &ids[edge.to],
                    kind: edge.kind.as_str(),
                    direction: edge.direction.as_str(),
                    depth: edge.depth,
                })
                .collect(),
        }
    }
}

impl<'a> NodeAnswer<'a> {
    fn new(node: &'a Node, id: &'a str) -> Self {
        let about = match &node.detail {
            None | Some(Detail::Alias) => None,
            Some(Detail::Dataset { source_type, source, experiment_ids }) => Some(About::Dataset {
                source_type,
                source,
                experiment_ids: experiment_ids.iter().map(ToString::to_string).collect(),
            }),
            Some(Detail::Run { run, experiment }) => Some(About::Run {
                name: &run.run_name,
                experiment_id: run.experiment_id.to_string(),
                experiment: experiment.as_deref(),
                status: run.status.as_str(),
                lifecycle_stage: run.lifecycle_stage.as_str(),
                start_time: run.start_time.map(Timestamp::millis),
                end_time: run.end_time.map(Timestamp::millis),
            }),
            Some(Detail::LoggedModel(model)) => Some(About::LoggedModel {
                name: &model.name,
                experiment_id: model.experiment_id.to_string(),
                status: status_name(model.status),
                lifecycle_stage: model.lifecycle_stage.as_str(),
                creation_time: model.creation_time.millis(),
            }),
            Some(Detail::Version(version)) => Some(About::Version {
                stage: version.current_stage.as_str(),
                status: version.status.as_str(),
                creation_time: version.creation_time.millis(),
            }),
        };
        Self { id, kind: node.id.kind(), known: node.detail.is_some(), about }
    }
}
