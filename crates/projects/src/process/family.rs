//! What a program has started, and what that has started in turn, wherever it went: a process that made a group or session
//! of its own is reached by no signal to the group. Known from `/proc`; where there is none, only the group is.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    id: i32,
    parent: i32,
    group: i32,
    /// Tells it from a later one of the same id.
    since: u64,
}

/// A program's process group, and whatever descends from it.
#[derive(Debug)]
pub(super) struct Family {
    group: i32,
    members: Vec<Member>,
}

impl Family {
    /// Of the program that leads a group.
    pub(super) fn of(group: Pid) -> Self {
        Self { group: group.as_raw_nonzero().get(), members: Vec::new() }
    }

    /// Looks who is there. Whoever was seen once stays of the family, also when its parent ends.
    pub(super) fn look(&mut self) {
        let all: Vec<Member> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| member(entry.ok()?.file_name().to_str()?.parse().ok()?))
            .collect();
        let was_known =
            |member: &Member| self.members.iter().any(|known| (known.id, known.since) == (member.id, member.since));
        let (mut known, mut others): (Vec<Member>, Vec<Member>) =
            all.into_iter().partition(|member| member.group == self.group || was_known(member));
        loop {
            let (more, rest): (Vec<Member>, Vec<Member>) =
                others.into_iter().partition(|other| known.iter().any(|member| member.id == other.parent));
            if more.is_empty() {
                break;
            }
            known.extend(more);
            others = rest;
        }
        self.members = known;
    }

    /// Whether somebody was there at the last look.
    pub(super) fn is_there(&self) -> bool {
        !self.members.is_empty()
    }

    /// Whether somebody was there who is not in the group.
    pub(super) fn is_scattered(&self) -> bool {
        self.members.iter().any(|member| member.group != self.group)
    }

    /// Signals those who are not in the group.
    pub(super) fn signal_scattered(&self, signal: Signal) {
        for member in self.members.iter().filter(|member| member.group != self.group) {
            if let Some(id) = Pid::from_raw(member.id) {
                // Who is gone needs none.
                let _gone = kill_process(id, signal);
            }
        }
    }
}

/// What `/proc/<id>/stat` says of a process, unless it has ended.
fn member(id: i32) -> Option<Member> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The program's name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let since = fields.nth(16)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Member { id, parent, group, since })
}
