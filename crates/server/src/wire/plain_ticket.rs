//! Tickets of plain Flight: JSON that a client can write by itself, a statement or the rows of a table.

use runlake_query::{Parameters, Request, Value};
use runlake_types::{TableId, TableKind};
use serde::{Deserialize, Serialize};

use super::flight::{Compression, Options};
use super::sql::{Given, parameters};
use crate::error::{ApiError, Result};

/// Parts of an answer that can be read side by side.
const MOST_PARTS: usize = 4;
/// Where a table is cut by its runs: their ids are hex digits as a rule, and spread evenly.
const CUTS: [&str; MOST_PARTS - 1] = ["4", "8", "c"];
/// Bytes of a ticket.
const MOST_BYTES: usize = 4 << 20;
/// Runs and keys that a ticket may name.
const MOST_NAMES: usize = 10_000;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlainTicket {
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Given>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<String>>,
    /// Runs from this id on, and before that one: how a table is cut into parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<Compression>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dictionaries: Option<bool>,
}

impl PlainTicket {
    /// The ticket in some bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MOST_BYTES {
            return Err(ApiError::invalid(format!(
                "The ticket has {} bytes; at most {MOST_BYTES} are taken.",
                bytes.len()
            )));
        }
        let ticket: Self = serde_json::from_slice(bytes).map_err(|error| {
            ApiError::invalid(format!(
                "Invalid ticket: {error}. It is a JSON object with 'sql' and, if need be, 'params'; or with 'table' and, if \
                 need be, 'run_ids', 'keys' and 'columns'; both may have 'as_of', 'row_limit', 'timeout_ms', 'compression' \
                 and 'dictionaries'."
            ))
        })?;
        let names = [&ticket.run_ids, &ticket.keys];
        if names.into_iter().flatten().any(|names| names.len() > MOST_NAMES) {
            return Err(ApiError::invalid(format!("A ticket names at most {MOST_NAMES} runs and keys.")));
        }
        // What is wrong with it is told now, not when it is used.
        ticket.request(&Options::default())?;
        Ok(ticket)
    }

    /// All rows of a table.
    pub(crate) fn of_table(name: &str) -> Result<Self> {
        let ticket = Self { table: Some(name.to_owned()), ..Self::default() };
        ticket.request(&Options::default())?;
        Ok(ticket)
    }

    /// How it is to be answered.
    pub(crate) fn options(&self) -> Options {
        Options {
            as_of: self.as_of.clone(),
            row_limit: self.row_limit,
            timeout_ms: self.timeout_ms,
            compression: self.compression,
            dictionaries: self.dictionaries,
        }
    }

    /// The query, answered as the ticket says, and else as `others` do.
    pub(crate) fn request(&self, others: &Options) -> Result<Request> {
        let options = self.options().or(others);
        match (&self.sql, &self.table) {
            (Some(sql), None) => {
                let of_table = [&self.run_ids, &self.keys, &self.columns].into_iter().any(Option::is_some)
                    || [&self.runs_from, &self.runs_before].into_iter().any(Option::is_some);
                if of_table {
                    return Err(ApiError::invalid(
                        "A ticket with 'sql' says in SQL which rows and columns it is about.",
                    ));
                }
                options.request(sql.clone(), parameters(self.params.clone()))
            }
            (None, Some(name)) if self.params.is_none() => {
                let (sql, values) = self.select(table(name)?)?;
                options.request(sql, Parameters::in_order(values))
            }
            _ => Err(ApiError::invalid("A ticket has either 'sql', perhaps with 'params', or 'table'.")),
        }
    }

    fn select(&self, table: TableId) -> Result<(String, Vec<Value>)> {
        let columns: Vec<String> =
            self.columns.iter().flatten().map(|name| column(table, name)).collect::<Result<_>>()?;
        let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
        let mut values = Vec::new();
        let mut place = |text: &String| {
            values.push(Value::Text(text.clone()));
            format!("${}", values.len())
        };
        let mut conditions = Vec::new();
        for (name, given) in [("run_id", &self.run_ids), ("key", &self.keys)] {
            let Some(given) = given else { continue };
            let column = column(table, name)?;
            if given.is_empty() {
                return Err(ApiError::invalid(format!(
                    "The list of the ticket for {name} is empty: leave it out for all."
                )));
            }
            let places: Vec<String> = given.iter().map(&mut place).collect();
            conditions.push(format!("{column} IN ({})", places.join(", ")));
        }
        for (compare, given) in [(">=", &self.runs_from), ("<", &self.runs_before)] {
            if let Some(given) = given {
                conditions.push(format!("{} {compare} {}", column(table, "run_id")?, place(given)));
            }
        }
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        Ok((format!("SELECT {columns} FROM runlake.public.\"{}\"{filter}", table.name()), values))
    }

    /// The tickets that together give the same rows, each once: by the runs it names, or by ranges of runs.
    pub(crate) fn parts(&self) -> Vec<Self> {
        // The first rows of all are not the first of each part.
        let is_whole = self.row_limit.is_some() || self.runs_from.is_some() || self.runs_before.is_some();
        let table = self.table.as_deref().and_then(|name| table(name).ok());
        match (&self.run_ids, table) {
            _ if is_whole => vec![self.clone()],
            (Some(run_ids), Some(_)) => {
                // A run that is named twice is there once.
                let run_ids: Vec<String> =
                    run_ids.iter().collect::<std::collections::BTreeSet<_>>().into_iter().cloned().collect();
                let part = |run_ids: &[String]| Self { run_ids: Some(run_ids.to_vec()), ..self.clone() };
                run_ids.chunks(run_ids.len().div_ceil(MOST_PARTS).max(1)).map(part).collect()
            }
            (None, Some(table)) if table.kind() == TableKind::Facts => {
                let cuts = CUTS.map(|cut| Some(cut.to_owned()));
                let from = std::iter::once(None).chain(cuts.clone());
                let before = cuts.into_iter().chain([None]);
                let part = |(runs_from, runs_before)| Self { runs_from, runs_before, ..self.clone() };
                from.zip(before).map(part).collect()
            }
            _ => vec![self.clone()],
        }
    }
}

fn table(name: &str) -> Result<TableId> {
    runlake_query::tables().find(|table| table.name() == name).ok_or_else(|| {
        let name: String = name.chars().take(100).collect();
        let known: Vec<&str> = runlake_query::tables().map(TableId::name).collect();
        ApiError::new(
            crate::error::Code::ResourceDoesNotExist,
            format!("There is no table {name:?}; there are {}.", known.join(", ")),
        )
    })
}

/// A column's name in SQL, if the table has it.
fn column(table: TableId, name: &str) -> Result<String> {
    let known: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
    if known.contains(&name) {
        return Ok(format!("\"{name}\""));
    }
    let name: String = name.chars().take(100).collect();
    Err(ApiError::invalid(format!("The table {table} has no column {name:?}; it has {}.", known.join(", "))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tickets_become_statements() {
        for (ticket, expected) in [
            (r#"{"table": "runs"}"#, Ok(r#"SELECT * FROM runlake.public."runs""#)),
            (
                r#"{"table": "metrics", "run_ids": ["a", "b"], "keys": ["k"], "columns": ["step", "value"]}"#,
                Ok(
                    r#"SELECT "step", "value" FROM runlake.public."metrics" WHERE "run_id" IN ($1, $2) AND "key" IN ($3)"#,
                ),
            ),
            (
                r#"{"table": "metrics", "runs_from": "4", "runs_before": "8"}"#,
                Ok(r#"SELECT * FROM runlake.public."metrics" WHERE "run_id" >= $1 AND "run_id" < $2"#),
            ),
            (r#"{"sql": "SELECT $1", "params": [1]}"#, Ok("SELECT $1")),
            (r#"{"table": "users"}"#, Err("There is no table \"users\"")),
            (r#"{"table": "experiments", "keys": ["k"]}"#, Err("The table experiments has no column \"key\"")),
            (r#"{"table": "runs", "columns": ["a\" b"]}"#, Err("has no column")),
            (r#"{"table": "runs", "run_ids": []}"#, Err("is empty")),
            (r#"{"table": "runs", "rows": 1}"#, Err("unknown field")),
            (r#"{"table": 1}"#, Err("Invalid ticket")),
            (r#"{"table": "runs", "sql": "SELECT 1"}"#, Err("either 'sql'")),
            (r#"{"table": "runs", "params": [1]}"#, Err("either 'sql'")),
            (r#"{"sql": "SELECT 1", "keys": ["k"]}"#, Err("in SQL")),
            (r#"{"sql": "SELECT 1", "as_of": "yesterday"}"#, Err("as_of")),
            ("{}", Err("either 'sql'")),
            ("{", Err("Invalid ticket")),
        ] {
            let read = PlainTicket::read(ticket.as_bytes()).and_then(|ticket| ticket.request(&Options::default()));
            match (read, expected) {
                (Ok(request), Ok(sql)) => assert_eq!(request.sql, sql),
                (Err(error), Err(part)) => assert!(error.message().contains(part), "{}", error.message()),
                (found, _) => panic!("{ticket}: {found:?}"),
            }
        }
    }

    #[test]
    fn parts_give_each_run_once() {
        let parts = |ticket: &str| PlainTicket::read(ticket.as_bytes()).expect("a ticket").parts();
        let by_run = parts(r#"{"table": "params", "run_ids": ["e", "a", "b", "a", "c", "d"]}"#);
        let runs: Vec<&str> =
            by_run.iter().flat_map(|part| part.run_ids.iter().flatten()).map(String::as_str).collect();
        assert_eq!((by_run.len(), runs), (3, vec!["a", "b", "c", "d", "e"]));
        let ranges = parts(r#"{"table": "metrics", "keys": ["m"]}"#);
        assert_eq!(ranges.len(), MOST_PARTS);
        for run in ["0", "3fff", "4", "7", "8", "bcd", "c", "ffff", "Zulu", "zulu"] {
            let is_in = |part: &&PlainTicket| {
                part.runs_from.as_deref().is_none_or(|from| run >= from)
                    && part.runs_before.as_deref().is_none_or(|before| run < before)
            };
            assert_eq!(ranges.iter().filter(is_in).count(), 1, "{run}");
        }
        for whole in [
            r#"{"sql": "SELECT 1"}"#,
            r#"{"table": "runs"}"#,
            r#"{"table": "metrics", "row_limit": 5}"#,
            r#"{"table": "metrics", "runs_from": "5"}"#,
        ] {
            assert_eq!(parts(whole).len(), 1, "{whole}");
        }
    }

    proptest! {
        /// Whatever is in a ticket ends up as a bound value or in an error, never in the text of a statement.
        #[test]
        fn nothing_of_a_ticket_gets_into_the_statement(texts in prop::collection::vec(".{1,20}", 4)) {
            let text = |place: usize| serde_json::Value::from(texts[place].as_str());
            let ticket = serde_json::json!({
                "table": "metrics", "run_ids": [text(0)], "keys": [text(1)], "runs_from": text(2), "runs_before": text(3),
            });
            let request = PlainTicket::read(ticket.to_string().as_bytes()).and_then(|ticket| ticket.request(&Options::default()));
            prop_assert_eq!(
                request.expect("a request").sql,
                r#"SELECT * FROM runlake.public."metrics" WHERE "run_id" IN ($1) AND "key" IN ($2) AND "run_id" >= $3 AND "run_id" < $4"#
            );
        }

        #[test]
        fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(PlainTicket::read(&noise).is_err());
        }
    }
}
