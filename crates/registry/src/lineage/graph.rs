//! What the tables say, as one graph.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use runlake_engine::{TablesState, View};
use runlake_types::rows::{
    LoggedModel, ModelVersion, RegisteredModelAlias, RegistryAction, RegistryEvent, RunInput, RunOutput,
};
use runlake_types::{EventId, ExperimentId, Key, KeyBuilder, TableId, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use super::walk::{Link, Links};
use super::{Detail, EdgeKind, NodeId};
use crate::Result;
use crate::models::key_of;

/// `input_type` of a logged model that went into a run; the other one is a dataset.
const MODEL: &str = "MODEL";

/// The tables that a graph is read from.
const TABLES: [TableId; 6] = [
    TableId::RunInputs,
    TableId::RunOutputs,
    TableId::LoggedModels,
    TableId::ModelVersions,
    TableId::RegisteredModelAliases,
    TableId::RegistryEvents,
];

/// Nodes of a graph that is worth its memory between two questions: some hundred megabytes.
const KEPT_NODES: usize = 500_000;

/// The graph of the last question, for the next one if nothing was written to its tables since.
#[derive(Debug, Default)]
pub(crate) struct LastGraph(Mutex<Option<(TablesState, Arc<Graph>)>>);

impl LastGraph {
    pub(super) async fn read(&self, view: &View) -> Result<Arc<Graph>> {
        let state = view.tables_state(&TABLES);
        let last = self.0.lock().as_ref().filter(|(of, _)| *of == state).map(|(_, graph)| Arc::clone(graph));
        if let Some(graph) = last {
            return Ok(graph);
        }
        let graph = Arc::new(Graph::read(view).await?);
        *self.0.lock() = (graph.ids.len() <= KEPT_NODES).then(|| (state, Arc::clone(&graph)));
        Ok(graph)
    }
}

/// Nodes by number, and the edges between them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    ids: Vec<NodeId>,
    numbers: FxHashMap<NodeId, u32>,
    links: Links,
    /// Of logged models, versions and aliases, which are read anyway.
    details: FxHashMap<u32, Detail>,
    /// Of datasets: the experiments that use them.
    experiments: FxHashMap<u32, BTreeSet<ExperimentId>>,
}

impl Graph {
    /// Reads each of the tables once.
    pub(super) async fn read(view: &View) -> Result<Self> {
        let all = KeyBuilder::default().build();
        let (inputs, outputs, models, versions, aliases) = tokio::try_join!(
            view.scan::<RunInput>(&all),
            view.scan::<RunOutput>(&all),
            view.scan::<LoggedModel>(&all),
            view.scan::<ModelVersion>(&all),
            view.scan::<RegisteredModelAlias>(&all),
        )?;
        let originals = originals(view, &versions).await?;
        let mut graph = Self::default();
        graph.add_inputs(inputs);
        let made = graph.add_models(outputs, models);
        graph.add_versions(versions, &originals, &made);
        for RegisteredModelAlias { name, alias, version } in aliases {
            let from = graph.number(NodeId::Version { name: name.clone(), version });
            let to = graph.number(NodeId::Alias { name, alias });
            graph.details.insert(to, Detail::Alias);
            graph.links.add(Link { from, to, kind: EdgeKind::Alias });
        }
        Ok(graph)
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn id(&self, number: u32) -> &NodeId {
        &self.ids[number as usize]
    }

    /// All nodes with their numbers.
    pub(super) fn ids(&self) -> impl Iterator<Item = (u32, &NodeId)> {
        (0..).zip(&self.ids)
    }

    pub(super) fn find(&self, id: &NodeId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub(super) fn detail(&self, number: u32) -> Option<&Detail> {
        self.details.get(&number)
    }

    pub(super) fn experiments_of(&self, dataset: u32) -> impl Iterator<Item = ExperimentId> {
        self.experiments.get(&dataset).into_iter().flatten().copied()
    }

    /// The number of a node, which may be new.
    pub(super) fn number(&mut self, id: NodeId) -> u32 {
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        let number = u32::try_from(self.ids.len()).expect("memory ends before");
        self.ids.push(id.clone());
        self.numbers.insert(id, number);
        number
    }

    fn add_inputs(&mut self, inputs: Vec<RunInput>) {
        for input in inputs {
            let from = if input.input_type == MODEL {
                self.number(NodeId::LoggedModel(input.input_id))
            } else {
                let (name, digest) = (input.dataset_name.unwrap_or_default(), input.dataset_digest.unwrap_or_default());
                let dataset = self.number(NodeId::Dataset { name, digest });
                self.experiments.entry(dataset).or_default().insert(input.experiment_id);
                dataset
            };
            let to = self.number(NodeId::Run(input.run_id.as_str().to_owned()));
            self.links.add(Link { from, to, kind: EdgeKind::Input });
        }
    }

    /// Logged models, and which runs made them: what a run says of its outputs, and a model of its source.
    fn add_models(&mut self, outputs: Vec<RunOutput>, models: Vec<LoggedModel>) -> FxHashSet<(u32, u32)> {
        let mut made = FxHashSet::default();
        for output in outputs {
            let from = self.number(NodeId::Run(output.run_id.as_str().to_owned()));
            let to = self.number(NodeId::LoggedModel(output.model_id.as_str().to_owned()));
            made.insert((from, to));
            self.links.add(Link { from, to, kind: EdgeKind::Output });
        }
        for model in models {
            let to = self.number(NodeId::LoggedModel(model.model_id.as_str().to_owned()));
            if let Some(run_id) = &model.source_run_id {
                let from = self.number(NodeId::Run(run_id.clone()));
                if made.insert((from, to)) {
                    self.links.add(Link { from, to, kind: EdgeKind::Output });
                }
            }
            self.details.insert(to, Detail::LoggedModel(Box::new(model)));
        }
        made
    }

    /// A copy has the run and logged model of its original; it hangs on the original only, unless it has others.
    fn add_versions(
        &mut self,
        versions: Vec<ModelVersion>,
        originals: &FxHashMap<(String, i64), (String, i64)>,
        made: &FxHashSet<(u32, u32)>,
    ) {
        let by_name: FxHashMap<(&str, i64), &ModelVersion> =
            versions.iter().map(|version| ((version.name.as_str(), version.version), version)).collect();
        for version in &versions {
            let to = self.number(NodeId::Version { name: version.name.clone(), version: version.version });
            let (mut run_id, mut model_id) = (version.run_id.as_ref(), version.model_id.as_ref());
            if let Some((name, number)) = originals.get(&(version.name.clone(), version.version)) {
                let original = by_name.get(&(name.as_str(), *number));
                // One that is younger than its copy, or the copy itself, got the name after the original was deleted.
                let is_it = original.is_none_or(|original| {
                    original.creation_time <= version.creation_time && !std::ptr::eq(*original, version)
                });
                if is_it {
                    let from = self.number(NodeId::Version { name: name.clone(), version: *number });
                    self.links.add(Link { from, to, kind: EdgeKind::Copied });
                    run_id = run_id.filter(|id| original.and_then(|of| of.run_id.as_ref()) != Some(*id));
                    model_id = model_id.filter(|id| original.and_then(|of| of.model_id.as_ref()) != Some(*id));
                }
            }
            let model = model_id.map(|id| self.number(NodeId::LoggedModel(id.clone())));
            if let Some(from) = model {
                self.links.add(Link { from, to, kind: EdgeKind::Registered });
            }
            if let Some(run_id) = run_id {
                let from = self.number(NodeId::Run(run_id.clone()));
                if model.is_none_or(|model| !made.contains(&(from, model))) {
                    self.links.add(Link { from, to, kind: EdgeKind::Registered });
                }
            }
        }
        for version in versions {
            let number = self.number(NodeId::Version { name: version.name.clone(), version: version.version });
            self.details.insert(number, Detail::Version(Box::new(version)));
        }
    }
}

/// A version that was made of another one, which may have got another name since.
struct Copied {
    copy: (String, i64),
    original: (String, i64),
    /// When the original had that name.
    at: Timestamp,
    /// The last renaming followed.
    after: Option<EventId>,
}

/// By name and number of each copy: what its original is called today.
async fn originals(view: &View, versions: &[ModelVersion]) -> Result<FxHashMap<(String, i64), (String, i64)>> {
    let copied = |version: &ModelVersion| {
        let (name, number) = version.source.strip_prefix("models:/")?.rsplit_once('/')?;
        Some(Copied {
            copy: (version.name.clone(), version.version),
            original: (name.to_owned(), number.parse().ok()?),
            at: version.creation_time,
            after: None,
        })
    };
    let mut open: Vec<Copied> = versions.iter().filter_map(copied).collect();
    let mut found = FxHashMap::default();
    while !open.is_empty() {
        let mut names: Vec<Key> = open.iter().map(|copied| key_of(&copied.original.0)).collect();
        names.sort_unstable();
        names.dedup();
        let mut renamed: FxHashMap<String, Vec<RegistryEvent>> = FxHashMap::default();
        for event in view.scan_all::<RegistryEvent>(&names).await? {
            // A renaming is entered under both names; this one tells what became of the old one.
            if event.action == RegistryAction::ModelRenamed && event.old_value.as_deref() == Some(&*event.name) {
                renamed.entry(event.name.clone()).or_default().push(event);
            }
        }
        let mut still_open = Vec::new();
        for mut copied in open {
            let later = |event: &&RegistryEvent| match &copied.after {
                Some(after) => event.event_id > *after,
                None => event.time >= copied.at,
            };
            let next = renamed.get(&copied.original.0).and_then(|events| events.iter().find(later));
            match next.and_then(|event| Some((event.new_value.clone()?, event.event_id.clone()))) {
                Some((name, event_id)) => {
                    copied.original.0 = name;
                    copied.after = Some(event_id);
                    still_open.push(copied);
                }
                None => drop(found.insert(copied.copy, copied.original)),
            }
        }
        open = still_open;
    }
    Ok(found)
}
