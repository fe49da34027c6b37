//! What is asked about.

use std::sync::Arc;

use runlake_engine::View;
use runlake_types::KeyBuilder;
use runlake_types::rows::{ModelVersion, Run};

use super::graph::Graph;
use super::{Detail, NodeId};
use crate::{Error, Result, names};

/// A question, read but not yet looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// Digest, name, or `name@digest` of a dataset.
    Dataset(&'a str),
    Run(&'a str),
    /// A logged model, or all versions of a registered one.
    Model(&'a str),
    /// By number, stage, or `latest`.
    Version {
        name: &'a str,
        which: &'a str,
    },
    /// `name@alias`, taken apart at the last `@`; names of models may have some, too.
    Alias {
        name: &'a str,
        alias: &'a str,
    },
}

pub(super) fn parse(of: &str) -> Result<Asked<'_>> {
    let asked = if let Some(dataset) = of.strip_prefix("dataset:") {
        Asked::Dataset(dataset)
    } else if let Some(run_id) = of.strip_prefix("run:") {
        Asked::Run(run_id)
    } else if let Some(path) = of.strip_prefix("runs:/") {
        Asked::Run(path.trim_start_matches('/').split('/').next().unwrap_or_default())
    } else if let Some(path) = of.strip_prefix("models:/") {
        let path = path.trim_start_matches('/');
        match path.rfind(['/', '@']).map(|at| (&path[..at], &path[at..=at], &path[at + 1..])) {
            None => Asked::Model(path),
            Some(("", _, _) | (_, _, "")) => return Err(malformed(of)),
            Some((name, _, _)) if name.contains('/') => return Err(malformed(of)),
            Some((name, "/", which)) => Asked::Version { name, which },
            Some((name, _, alias)) => Asked::Alias { name, alias },
        }
    } else {
        return Err(malformed(of));
    };
    match asked {
        Asked::Dataset("") | Asked::Run("") | Asked::Model("") => Err(malformed(of)),
        asked => Ok(asked),
    }
}

/// The nodes that are meant. A run that has no edges is taken into the graph, or a copy of it if others look at it.
pub(super) async fn find(view: &View, graph: &mut Arc<Graph>, asked: &Asked<'_>) -> Result<Vec<u32>> {
    match *asked {
        Asked::Dataset(text) => datasets(graph, text),
        Asked::Run(run_id) => {
            let id = NodeId::Run(run_id.to_owned());
            if let Some(number) = graph.find(&id) {
                return Ok(vec![number]);
            }
            let row = view.get::<Run>(&KeyBuilder::default().text(run_id).build()).await?;
            row.ok_or_else(|| Error::not_found(format!("Run '{run_id}' not found: check the id.")))?;
            Ok(vec![Arc::make_mut(graph).number(id)])
        }
        Asked::Model(name) => {
            let logged = graph.find(&NodeId::LoggedModel(name.to_owned()));
            let versions = || Some(versions(graph, name).into_iter().map(|(number, _)| number).collect());
            let found =
                logged.map(|number| vec![number]).or_else(versions).filter(|found: &Vec<u32>| !found.is_empty());
            found.ok_or_else(|| {
                Error::not_found(format!(
                    "'models:/{name}' not found: there is neither a logged model with that id nor a version of a \
                     registered model with that name."
                ))
            })
        }
        Asked::Version { name, which } => version(graph, name, which).map(|number| vec![number]),
        Asked::Alias { name, alias } => {
            if let Some(number) = by_alias(graph, name, alias) {
                return Ok(vec![number]);
            }
            let whole = format!("{name}@{alias}");
            let all: Vec<u32> = versions(graph, &whole).into_iter().map(|(number, _)| number).collect();
            if all.is_empty() {
                return Err(Error::not_found(format!(
                    "'models:/{whole}' not found: the registered model '{name}' has no alias '{alias}'."
                )));
            }
            Ok(all)
        }
    }
}

fn datasets(graph: &Graph, text: &str) -> Result<Vec<u32>> {
    let is_meant = |id: &NodeId| match id {
        NodeId::Dataset { name, digest } => {
            let both = text.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('@'));
            digest == text || name == text || both == Some(digest.as_str())
        }
        _ => false,
    };
    let found: Vec<u32> = graph.ids().filter(|(_, id)| is_meant(id)).map(|(number, _)| number).collect();
    if found.is_empty() {
        return Err(Error::not_found(format!(
            "Dataset '{text}' not found: no run has an input with that digest or name."
        )));
    }
    Ok(found)
}

fn version(graph: &Graph, name: &str, which: &str) -> Result<u32> {
    if which.bytes().all(|byte| byte.is_ascii_digit()) {
        let version = names::version(which)?;
        let found = graph.find(&NodeId::Version { name: name.to_owned(), version });
        return found.ok_or_else(|| {
            Error::not_found(format!("'models:/{name}/{which}' not found: that model has no such version."))
        });
    }
    let stage = if names::is_latest(which) { None } else { Some(names::stage(which)?) };
    let fits = |version: &&ModelVersion| stage.is_none_or(|stage| version.current_stage == stage);
    let found = versions(graph, name).into_iter().rfind(|(_, version)| fits(version));
    found.map(|(number, _)| number).ok_or_else(|| {
        Error::not_found(format!("'models:/{name}/{which}' not found: that model has no version in that stage."))
    })
}

/// The version that an alias means.
fn by_alias(graph: &Graph, name: &str, alias: &str) -> Option<u32> {
    if names::is_latest(alias) {
        return versions(graph, name).pop().map(|(number, _)| number);
    }
    let alias = graph.find(&NodeId::Alias { name: name.to_owned(), alias: alias.to_owned() })?;
    graph.links().parents(alias).next()
}

/// Versions of a registered model by rising number.
fn versions<'a>(graph: &'a Graph, name: &str) -> Vec<(u32, &'a ModelVersion)> {
    let mut found: Vec<(u32, &ModelVersion)> = graph
        .ids()
        .filter(|(_, id)| matches!(id, NodeId::Version { name: of, .. } if of == name))
        .filter_map(|(number, _)| match graph.detail(number) {
            Some(Detail::Version(version)) => Some((number, version.as_ref())),
            _ => None,
        })
        .collect();
    found.sort_unstable_by_key(|(_, version)| version.version);
    found
}

fn malformed(of: &str) -> Error {
    Error::invalid(format!(
        "Cannot tell whose lineage '{of}' asks for. Ask for a model version (models:/Name/3, models:/Name@alias), all \
         versions of a model (models:/Name), a logged model (models:/m-…), a run (run:<run id>), or a dataset \
         (dataset:<digest>, dataset:<name>)."
    ))
}
