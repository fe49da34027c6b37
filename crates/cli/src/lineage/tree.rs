//! The answer drawn as a tree.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::{Edge, Lineage, Node};

/// One way from the start.
struct Way<'a> {
    heading: &'static str,
    /// By node: the nodes next to it that way, and how they are connected.
    next: HashMap<&'a str, Vec<(&'a str, &'a str)>>,
}

/// Every start as a tree: below a node what it was made of, or what was made of it. A node that has branches shows them
/// once; where it comes again it is marked.
pub(super) fn drawn(lineage: &Lineage) -> String {
    let nodes: HashMap<&str, &Node> = lineage.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let of = |direction: &str, heading, turn: fn(&Edge) -> (&str, &str)| {
        let mut next: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
        for edge in lineage.edges.iter().filter(|edge| edge.direction == direction) {
            let (near, far) = turn(edge);
            next.entry(near).or_default().push((far, edge.kind.as_str()));
        }
        Way { heading, next }
    };
    let up = of("up", "made of", |edge| (edge.to.as_str(), edge.from.as_str()));
    let down = of("down", "went into", |edge| (edge.from.as_str(), edge.to.as_str()));
    let mut text = String::new();
    for start in &lineage.start {
        let _ = writeln!(text, "{}", label(start, nodes.get(start.as_str()).copied()));
        let ways: Vec<&Way> = [&up, &down].into_iter().filter(|way| way.next.contains_key(start.as_str())).collect();
        for (count, way) in ways.iter().enumerate() {
            let is_last = count + 1 == ways.len();
            let _ = writeln!(text, "{}{}", if is_last { "└─ " } else { "├─ " }, way.heading);
            branches(&mut text, &nodes, way, start, if is_last { "   " } else { "│  " });
        }
        if ways.is_empty() {
            let _ = writeln!(text, "└─ nothing is recorded that way");
        }
    }
    text
}

/// What is below `start`. Not recursive: a chain may be as long as the answer.
fn branches(text: &mut String, nodes: &HashMap<&str, &Node>, way: &Way, start: &str, indent: &str) {
    let below = |id: &str| way.next.get(id).map_or(&[][..], Vec::as_slice);
    let mut shown = HashSet::from([start]);
    let mut open = vec![(below(start).iter(), indent.to_owned())];
    while let Some((rest, indent)) = open.last_mut() {
        let Some((id, how)) = rest.next() else {
            open.pop();
            continue;
        };
        let is_last = rest.len() == 0;
        let (branch, deeper) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let is_again = !shown.insert(id) && (!below(id).is_empty() || *id == start);
        let mark = if is_again { "  (see above)" } else { "" };
        let _ = writeln!(text, "{indent}{branch}{}{}{mark}", label(id, nodes.get(id).copied()), connection(how));
        if !is_again {
            let deeper = format!("{indent}{deeper}");
            open.push((below(id).iter(), deeper));
        }
    }
}

/// A node in a line: its id, and what helps to recognise it.
fn label(id: &str, node: Option<&Node>) -> String {
    let mut about: Vec<String> = Vec::new();
    if let Some(node) = node {
        about.extend(node.name.clone());
        about.extend(node.experiment.as_ref().map(|name| format!("in {name}")));
        about.extend(node.source_type.clone());
        about.extend(node.status.as_deref().and_then(worth_telling));
        about.extend(node.stage.clone().filter(|stage| stage != "None"));
        if node.lifecycle_stage.as_deref() == Some("deleted") {
            about.push("deleted".to_owned());
        }
        if !node.known {
            about.push(format!("{} not in this lake", node.kind.replace('_', " ")));
        }
    }
    let about = if about.is_empty() { String::new() } else { format!("  {}", about.join(", ")) };
    harmless(&format!("{id}{about}"))
}

/// The state of a run or model, unless it is the usual one.
fn worth_telling(status: &str) -> Option<String> {
    let status = status.trim_start_matches("LOGGED_MODEL_");
    (!matches!(status, "READY" | "FINISHED")).then(|| status.to_lowercase().replace('_', " "))
}

/// Only copies need a word: what else connects two nodes follows from their kinds.
fn connection(how: &str) -> &'static str {
    if how == "copied" { "  (copy)" } else { "" }
}

/// Names are anybody's; they must not steer the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tree(start: &[&str], nodes: &[Value], edges: &[(&str, &str, &str, &str)]) -> String {
        let edges: Vec<Value> = edges
            .iter()
            .map(|(direction, from, kind, to)| json!({"direction": direction, "from": from, "kind": kind, "to": to}))
            .collect();
        let answer = json!({"start": start, "truncated": false, "nodes": nodes, "edges": edges});
        drawn(&serde_json::from_value(answer).expect("an answer"))
    }

    fn node(id: &str) -> Value {
        json!({"id": id, "kind": "run", "known": true})
    }

    #[test]
    fn both_ways_below_one_start() {
        let nodes = [
            json!({"id": "models:/m/1", "kind": "model_version", "known": true, "status": "READY", "stage": "Staging"}),
            json!({"id": "run:r", "kind": "run", "known": true, "name": "owl", "experiment": "tour", "status": "FAILED",
                   "lifecycle_stage": "deleted"}),
            json!({"id": "dataset:iris@d1", "kind": "dataset", "known": true, "source_type": "local"}),
            json!({"id": "models:/m-0", "kind": "logged_model", "known": false}),
            node("models:/m@a"),
            node("models:/n/1"),
        ];
        let edges = [
            ("up", "run:r", "registered", "models:/m/1"),
            ("up", "dataset:iris@d1", "input", "run:r"),
            ("up", "models:/m-0", "input", "run:r"),
            ("down", "models:/m/1", "alias", "models:/m@a"),
            ("down", "models:/m/1", "copied", "models:/n/1"),
        ];
        let expected = "\
models:/m/1  Staging
├─ made of
│  └─ run:r  owl, in tour, failed, deleted
│     ├─ dataset:iris@d1  local
│     └─ models:/m-0  logged model not in this lake
└─ went into
   ├─ models:/m@a
   └─ models:/n/1  (copy)
";
        assert_eq!(tree(&["models:/m/1"], &nodes, &edges), expected);
    }

    #[test]
    fn what_comes_again_is_marked_and_cycles_end() {
        let nodes = ["a", "b", "c", "d"].map(node);
        let edges = [
            ("down", "a", "input", "b"),
            ("down", "a", "input", "c"),
            ("down", "b", "output", "d"),
            ("down", "c", "output", "b"),
            ("down", "c", "output", "d"),
            ("down", "d", "input", "a"),
        ];
        let expected = "\
a
└─ went into
   ├─ b
   │  └─ d
   │     └─ a  (see above)
   └─ c
      ├─ b  (see above)
      └─ d  (see above)
";
        assert_eq!(tree(&["a"], &nodes, &edges), expected);
    }

    #[test]
    fn a_start_alone_and_names_that_steer() {
        let nodes = [json!({"id": "dataset:\u{1b}[2J@d", "kind": "dataset", "known": true})];
        let text = tree(&["dataset:\u{1b}[2J@d"], &nodes, &[]);
        assert_eq!(text, "dataset:\u{fffd}[2J@d\n└─ nothing is recorded that way\n");
    }
}
