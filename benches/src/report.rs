//! The table that is printed: one line per figure, one column per server.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Figures in the order they were first measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<&'static str>,
    cells: BTreeMap<(&'static str, &'static str), String>,
    limits: BTreeMap<&'static str, String>,
}

impl Report {
    /// Notes what `server` did, and tells it at once, since a run takes long.
    pub(crate) fn add(&mut self, figure: &'static str, server: &'static str, value: String) {
        eprintln!("  {figure}, {server}: {value}");
        self.know(figure);
        self.cells.insert((figure, server), value);
    }

    /// Notes what the machine could do at best.
    pub(crate) fn limit(&mut self, figure: &'static str, value: String) {
        eprintln!("  {figure}, limit: {value}");
        self.know(figure);
        self.limits.insert(figure, value);
    }

    fn know(&mut self, figure: &'static str) {
        if !self.figures.contains(&figure) {
            self.figures.push(figure);
        }
    }

    /// As a Markdown table.
    pub(crate) fn table(&self, servers: &[&'static str]) -> String {
        let mut text = format!("| figure | {} | limit of this machine |\n", servers.join(" | "));
        let _ = writeln!(text, "|---|{}---|", "---|".repeat(servers.len()));
        for figure in &self.figures {
            let _ = write!(text, "| {figure} |");
            for server in servers {
                let _ = write!(text, " {} |", self.cells.get(&(*figure, *server)).map_or("–", String::as_str));
            }
            let _ = writeln!(text, " {} |", self.limits.get(figure).map_or("", String::as_str));
        }
        text
    }
}
