//! Lineage: what a thing was made of, and what was made of it.
//!
//! dataset → run → logged model → model version → alias. Nothing is stored for this: the edges are read from the tables
//! of inputs, outputs, logged models, versions and aliases, all at one position of the log, each table once for a
//! question, or once for several if nothing was written to them in between. Which run started another (`parent_run_id`)
//! is no lineage.

mod graph;
mod start;
mod walk;

use std::fmt;
use std::sync::Arc;

use runlake_engine::View;
use runlake_types::rows::{Dataset, Experiment, LoggedModel, ModelVersion, Run};
use runlake_types::{ExperimentId, Key, KeyBuilder, RunId};
use rustc_hash::FxHashMap;

use crate::{Registry, Result};
use graph::Graph;
pub(crate) use graph::LastGraph;
use start::Asked;

/// Nodes of an answer at most, unless the caller asks for fewer.
pub const LINEAGE_NODES: usize = 10_000;

/// Which way to go from where one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// To what it was made of.
    Up,
    /// To what was made of it.
    Down,
    /// Both: ancestors and descendants, not what else descends from the ancestors.
    #[default]
    Both,
}

impl Direction {
    /// As callers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        }
    }

    /// Back from [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Up, Self::Down, Self::Both].into_iter().find(|direction| direction.as_str() == text)
    }
}

/// What one node is. Written out it is a text that can be asked about in turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeId {
    /// A dataset: one by its name and digest, whichever experiments use it.
    Dataset {
        /// Its name.
        name: String,
        /// Its digest.
        digest: String,
    },
    /// A run.
    Run(String),
    /// A logged model.
    LoggedModel(String),
    /// A version of a registered model.
    Version {
        /// The registered model.
        name: String,
        /// Number of the version.
        version: i64,
    },
    /// An alias of a registered model.
    Alias {
        /// The registered model.
        name: String,
        /// The alias.
        alias: String,
    },
}

impl NodeId {
    /// Kind of the node, as answers name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dataset { .. } => "dataset",
            Self::Run(_) => "run",
            Self::LoggedModel(_) => "logged_model",
            Self::Version { .. } => "model_version",
            Self::Alias { .. } => "alias",
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dataset { name, digest } => write!(f, "dataset:{name}@{digest}"),
            Self::Run(run_id) => write!(f, "run:{run_id}"),
            Self::LoggedModel(model_id) => write!(f, "models:/{model_id}"),
            Self::Version { name, version } => write!(f, "models:/{name}/{version}"),
            Self::Alias { name, alias } => write!(f, "models:/{name}@{alias}"),
        }
    }
}

/// A node of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub id: NodeId,
    /// What the lake knows of it; nothing if it only knows that something else refers to it, such as a run of another
    /// server or a version that was deleted.
    pub detail: Option<Detail>,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// Of a dataset.
    Dataset {
        /// As first logged.
        source_type: String,
        /// As first logged.
        source: String,
        /// Experiments whose runs use it.
        experiment_ids: Vec<ExperimentId>,
    },
    /// Of a run.
    Run {
        /// The run.
        run: Box<Run>,
        /// Name of its experiment.
        experiment: Option<String>,
    },
    /// A logged model.
    LoggedModel(Box<LoggedModel>),
    /// A version.
    Version(Box<ModelVersion>),
    /// An alias has nothing beside its name.
    Alias,
}

/// How one node was made of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// A dataset or logged model went into a run.
    Input,
    /// A logged model came out of a run.
    Output,
    /// A version was made of a logged model, or of files of a run.
    Registered,
    /// A version was made of another version.
    Copied,
    /// An alias means a version.
    Alias,
}

impl EdgeKind {
    /// As answers name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Registered => "registered",
            Self::Copied => "copied",
            Self::Alias => "alias",
        }
    }
}

/// An edge of an answer; `to` was made of `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Place of a node in the answer.
    pub from: usize,
    /// Place of a node in the answer.
    pub to: usize,
    /// How.
    pub kind: EdgeKind,
    /// Whether it was met on the way up or down.
    pub direction: Direction,
    /// How many edges it takes from the start to the far end of this one: 1 for the start's own.
    pub depth: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lineage {
    /// Places of the nodes that were asked about: several for a registered model, or a dataset's name.
    pub start: Vec<usize>,
    /// By distance from the start.
    pub nodes: Vec<Node>,
    /// By distance from the start.
    pub edges: Vec<Edge>,
    /// Whether nodes are missing because there are too many.
    pub truncated: bool,
}

impl Registry {
    /// The lineage of `of` as it is now: see [`Lineage::read`].
    pub async fn lineage(&self, of: &str, direction: Direction, most: usize) -> Result<Lineage> {
        let (view, asked) = (self.view(), start::parse(of)?);
        let graph = self.inner.last_graph.read(&view).await?;
        Lineage::walk(&view, graph, &asked, direction, most).await
    }
}

impl Lineage {
    /// What `of` was made of, or what was made of it, as far as `most` nodes. `of` is a version (`models:/Name/3`,
    /// `models:/Name@alias`), all versions of a model (`models:/Name`), a logged model (`models:/m-…`), a run
    /// (`run:<id>`), or a dataset (`dataset:<digest>`, `dataset:<name>`).
    pub async fn read(view: &View, of: &str, direction: Direction, most: usize) -> Result<Self> {
        let asked = start::parse(of)?;
        let graph = Arc::new(Graph::read(view).await?);
        Self::walk(view, graph, &asked, direction, most).await
    }

    async fn walk(
        view: &View,
        mut graph: Arc<Graph>,
        asked: &Asked<'_>,
        direction: Direction,
        most: usize,
    ) -> Result<Self> {
        let start = start::find(view, &mut graph, asked).await?;
        let walked = walk::walk(graph.links(), &start, direction, most);
        let mut places = FxHashMap::default();
        for (place, number) in walked.nodes.iter().enumerate() {
            places.insert(*number, place);
        }
        let edges = walked.steps.iter().map(|step| Edge {
            from: places[&step.link.from],
            to: places[&step.link.to],
            kind: step.link.kind,
            direction: step.direction,
            depth: step.depth,
        });
        let start = start.iter().filter_map(|number| places.get(number).copied()).collect();
        let edges = edges.collect();
        let nodes = described(view, &graph, &walked.nodes).await?;
        Ok(Self { start, nodes, edges, truncated: walked.truncated })
    }
}

/// The nodes with what is known of them. Runs and datasets are read only now, those of the answer at once.
async fn described(view: &View, graph: &Graph, numbers: &[u32]) -> Result<Vec<Node>> {
    let mut runs = Vec::new();
    let mut datasets: Vec<Key> = Vec::new();
    for number in numbers {
        match graph.id(*number) {
            NodeId::Run(run_id) => runs.push(RunId::from_stored(run_id)),
            NodeId::Dataset { name, digest } => {
                let key =
                    |id: ExperimentId| KeyBuilder::default().text(&id.to_string()).text(name).text(digest).build();
                datasets.extend(graph.experiments_of(*number).map(key));
            }
            NodeId::LoggedModel(_) | NodeId::Version { .. } | NodeId::Alias { .. } => {}
        }
    }
    let runs = view.of_runs::<Run>(&runs).await?;
    let experiments = experiment_names(view, &runs).await?;
    let mut runs: FxHashMap<RunId, Run> = runs.into_iter().map(|run| (run.run_id.clone(), run)).collect();
    datasets.sort_unstable();
    datasets.dedup();
    let mut described: FxHashMap<(String, String), Dataset> = FxHashMap::default();
    for dataset in view.scan_all::<Dataset>(&datasets).await? {
        described.entry((dataset.name.clone(), dataset.digest.clone())).or_insert(dataset);
    }
    let mut nodes = Vec::with_capacity(numbers.len());
    for number in numbers {
        let id = graph.id(*number).clone();
        let detail = match &id {
            NodeId::Run(run_id) => runs.remove(run_id.as_str()).map(|run| Detail::Run {
                experiment: experiments.get(&run.experiment_id).cloned(),
                run: Box::new(run),
            }),
            NodeId::Dataset { name, digest } => {
                described.remove(&(name.clone(), digest.clone())).map(|dataset| Detail::Dataset {
                    source_type: dataset.source_type,
                    source: dataset.source,
                    experiment_ids: graph.experiments_of(*number).collect(),
                })
            }
            NodeId::LoggedModel(_) | NodeId::Version { .. } | NodeId::Alias { .. } => graph.detail(*number).cloned(),
        };
        nodes.push(Node { id, detail });
    }
    Ok(nodes)
}

async fn experiment_names(view: &View, runs: &[Run]) -> Result<FxHashMap<ExperimentId, String>> {
    let mut keys: Vec<Key> =
        runs.iter().map(|run| KeyBuilder::default().text(&run.experiment_id.to_string()).build()).collect();
    keys.sort_unstable();
    keys.dedup();
    let experiments = view.scan_all::<Experiment>(&keys).await?;
    Ok(experiments.into_iter().map(|experiment| (experiment.experiment_id, experiment.name)).collect())
}

#[cfg(test)]
mod tests;
