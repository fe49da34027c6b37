//! The way through the graph.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::{Direction, EdgeKind};

/// An edge between two nodes by their numbers; `to` was made of `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) kind: EdgeKind,
}

/// All edges, to be followed either way.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    all: Vec<Link>,
    /// By node: edges that end there, by their place in `all`.
    up: Vec<Vec<u32>>,
    /// By node: edges that begin there.
    down: Vec<Vec<u32>>,
}

impl Links {
    pub(super) fn add(&mut self, link: Link) {
        let place = u32::try_from(self.all.len()).expect("memory ends before");
        self.all.push(link);
        for (ends, node) in [(&mut self.up, link.to), (&mut self.down, link.from)] {
            let node = node as usize;
            if ends.len() <= node {
                ends.resize_with(node + 1, Vec::new);
            }
            ends[node].push(place);
        }
    }

    /// What a node was made of.
    pub(super) fn parents(&self, node: u32) -> impl Iterator<Item = u32> {
        self.at(node, Direction::Up).iter().map(|place| self.all[*place as usize].from)
    }

    fn at(&self, node: u32, direction: Direction) -> &[u32] {
        let ends = if direction == Direction::Up { &self.up } else { &self.down };
        ends.get(node as usize).map_or(&[], Vec::as_slice)
    }
}

/// An edge that was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) link: Link,
    /// Up or down.
    pub(super) direction: Direction,
    /// Edges from the start to the far end.
    pub(super) depth: u32,
}

/// What a walk came by.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// In the order they were reached, the start first.
    pub(super) nodes: Vec<u32>,
    pub(super) steps: Vec<Step>,
    pub(super) truncated: bool,
}

/// Everything that can be reached from `start`, nearest first, up to `most` nodes. No node is gone through twice in one
/// direction, so cycles come to an end.
pub(super) fn walk(links: &Links, start: &[u32], direction: Direction, most: usize) -> Walked {
    let directions: &[Direction] = match direction {
        Direction::Both => &[Direction::Up, Direction::Down],
        Direction::Up => &[Direction::Up],
        Direction::Down => &[Direction::Down],
    };
    let mut walked = Walked::default();
    let mut known = FxHashSet::default();
    let mut queued = FxHashSet::default();
    let mut queue = VecDeque::new();
    for node in start {
        if !known.contains(node) {
            if walked.nodes.len() >= most {
                walked.truncated = true;
                continue;
            }
            known.insert(*node);
            walked.nodes.push(*node);
        }
        for direction in directions {
            if queued.insert((*node, *direction == Direction::Up)) {
                queue.push_back((*node, *direction, 1));
            }
        }
    }
    let mut followed = FxHashSet::default();
    while let Some((node, direction, depth)) = queue.pop_front() {
        for place in links.at(node, direction) {
            let link = links.all[*place as usize];
            let next = if direction == Direction::Up { link.from } else { link.to };
            if !known.contains(&next) {
                if walked.nodes.len() >= most {
                    walked.truncated = true;
                    continue;
                }
                known.insert(next);
                walked.nodes.push(next);
            }
            if followed.insert(*place) {
                walked.steps.push(Step { link, direction, depth });
            }
            if queued.insert((next, direction == Direction::Up)) {
                queue.push_back((next, direction, depth + 1));
            }
        }
    }
    walked
}
