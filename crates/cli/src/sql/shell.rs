//! The prompt.

use std::borrow::Cow;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::catalog::Catalog;
use super::output::{Output, Target};
use super::source::{Question, Source};
use super::{Wanted, split};
use crate::terminal::{complain, say};
use crate::{Failure, Result};
use clap::ValueEnum as _;

const HELP: &str = "\
A statement ends with a semicolon and may take several lines.

  \\d              tables               \\d NAME         columns of a table
  \\f              table functions      \\timing         say how long statements take, or stop
  \\format NAME    table, csv, json, jsonl
  \\o FILE         write the next answers to FILE; \\o alone: to the screen again
  \\as-of TIME     the tables as they were then; \\as-of alone: as they are
  \\i FILE         statements of a file
  \\q              end (so does Ctrl-D)

Ctrl-C cancels a query. Tab completes names.";

const TABLES: &str = "SELECT table_schema AS schema, table_name AS name, table_type AS type \
                      FROM information_schema.tables WHERE table_schema IN ('public', 'mlflow') ORDER BY 1 DESC, 2";
const COLUMNS: &str = "SELECT column_name AS column, data_type AS type, is_nullable AS nullable \
                       FROM information_schema.columns WHERE table_schema || '.' || table_name = $1 OR table_name = $1 \
                       ORDER BY ordinal_position";
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "USING",
    "ON",
    "WITH",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "LIKE",
    "BETWEEN",
    "IS NULL",
    "DESC",
    "ASC",
    "DISTINCT",
    "UNION ALL",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "CASE WHEN",
    "count(",
    "max(",
    "min(",
    "avg(",
    "sum(",
    "approx_percentile_cont(",
    "median(",
    "date_trunc(",
    "first_value(",
    "last_value(",
    "row_number() OVER (",
];

/// Reads and answers until the end.
pub(super) async fn run(source: &Source, output: Output, question: Question) -> Result {
    let catalog = match Catalog::read(source).await {
        Ok(catalog) => catalog,
        Err(failure) => return Err(failure),
    };
    say(&"runlake: \\d lists the tables, \\? tells the rest, \\q ends");
    let mut shell = Shell { source, output, question };
    let config = Config::builder().completion_type(CompletionType::List).max_history_size(10_000);
    let config = config.map_err(|error| Failure::new(error.to_string()))?.auto_add_history(true).build();
    let mut editor: Editor<Assistant, DefaultHistory> =
        Editor::with_config(config).map_err(|error| Failure::new(format!("there is no prompt here: {error}")))?;
    editor.set_helper(Some(Assistant { catalog }));
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none.
        let _none = editor.load_history(path);
    }
    loop {
        let line = tokio::task::block_in_place(|| editor.readline("runlake> "));
        let ended = match line {
            Ok(line) => shell.take(&line).await,
            Err(ReadlineError::Interrupted) => false,
            Err(ReadlineError::Eof) => true,
            Err(error) => return Err(Failure::new(format!("the terminal cannot be read: {error}"))),
        };
        if ended {
            break;
        }
    }
    if let Some(path) = &history
        && let Err(error) = save(&mut editor, path)
    {
        complain(&format_args!("the history could not be kept in {}: {error}", path.display()));
    }
    Ok(())
}

fn save(editor: &mut Editor<Assistant, DefaultHistory>, path: &std::path::Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    editor.save_history(path).map_err(std::io::Error::other)
}

/// Where the statements of earlier days are.
fn history_file() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local").join("state")))?;
    Some(state.join("runlake").join("sql_history"))
}

struct Shell<'a> {
    source: &'a Source,
    output: Output,
    question: Question,
}

impl Shell<'_> {
    /// Does what a line says; whether it was the last.
    async fn take(&mut self, line: &str) -> bool {
        let line = line.trim();
        if let Some(command) = line.strip_prefix('\\') {
            let (command, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
            return self.command(command, argument.trim().trim_end_matches(';')).await;
        }
        if matches!(line.trim_end_matches(';').trim().to_lowercase().as_str(), "quit" | "exit") {
            return true;
        }
        self.statements(line).await;
        false
    }

    async fn statements(&self, text: &str) {
        for sql in split::statements(text) {
            if !self.ask(Question { sql: sql.to_owned(), ..self.question.clone() }).await {
                break;
            }
        }
    }

    /// Whether it was answered.
    async fn ask(&self, question: Question) -> bool {
        let answered = tokio::select! {
            answered = self.output.answer(self.source, question) => answered,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("the query was cancelled")),
        };
        if let Err(failure) = &answered {
            complain(&format_args!("error: {}", failure.message));
        }
        answered.is_ok()
    }

    async fn command(&mut self, command: &str, argument: &str) -> bool {
        let plain = Question { params: Vec::new(), ..self.question.clone() };
        match (command, argument) {
            ("q" | "quit", _) => return true,
            ("?" | "h" | "help", _) => say(&HELP),
            ("d", "") => drop(self.ask(Question { sql: TABLES.to_owned(), ..plain }).await),
            ("d", name) => {
                let params = vec![runlake_query::Value::Text(name.to_owned())];
                self.ask(Question { sql: COLUMNS.to_owned(), params, ..plain }).await;
            }
            ("f", _) => runlake_query::functions().for_each(|usage| say(&usage)),
            ("timing", _) => {
                self.output.timing = !self.output.timing;
                say(&if self.output.timing { "timing is on" } else { "timing is off" });
            }
            ("format", name) => match Wanted::from_str(name, true) {
                Ok(wanted) => self.output.wanted = wanted,
                Err(_) => complain(&"the formats are table, csv, json, jsonl, and with \\o arrow and parquet"),
            },
            ("o", "") => (self.output.target, self.output.wanted) = (Target::Terminal, Wanted::Table),
            ("o", name) => {
                let path = PathBuf::from(name);
                match Wanted::of_name(&path) {
                    Some(wanted) => (self.output.target, self.output.wanted) = (Target::File(path), wanted),
                    None => complain(&"end the name in .csv, .json, .jsonl, .arrow or .parquet"),
                }
            }
            ("as-of", "") => self.question.as_of = None,
            ("as-of", time) => self.question.as_of = Some(time.to_owned()),
            ("i", name) => match std::fs::read_to_string(name) {
                Ok(text) => self.statements(&text).await,
                Err(error) => complain(&format_args!("error: {name} cannot be read: {error}")),
            },
            (other, _) => complain(&format_args!("there is no command \\{other}; \\? lists them")),
        }
        false
    }
}

/// Completes names, and asks for more lines until a statement ends.
struct Assistant {
    catalog: Catalog,
}

impl Helper for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let is_command = text.starts_with('\\') || matches!(text.to_lowercase().as_str(), "quit" | "exit");
        let is_complete = is_command || split::is_complete(text);
        Ok(if is_complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let start = line[..at]
            .rfind(|c| !is_part(c))
            .map_or(0, |place| place + line[place..].chars().next().map_or(1, char::len_utf8));
        let typed = &line[start..at];
        Ok((start, self.candidates(typed)))
    }
}

impl Assistant {
    fn candidates(&self, typed: &str) -> Vec<Pair> {
        if typed.is_empty() {
            return Vec::new();
        }
        let functions = runlake_query::functions().filter_map(|usage| usage.split_inclusive('(').next());
        let known = self.catalog.tables.iter().chain(&self.catalog.columns).map(String::as_str);
        let wanted = typed.to_lowercase();
        let fits = |name: &&str| name.to_lowercase().starts_with(&wanted);
        known
            .chain(functions)
            .chain(KEYWORDS.iter().copied())
            .filter(fits)
            .map(|name| Pair { display: name.to_owned(), replacement: name.to_owned() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_are_completed() {
        let catalog = Catalog { tables: vec!["metrics".into(), "params".into()], columns: vec!["max_step".into()] };
        let found: Vec<String> =
            Assistant { catalog }.candidates("m").into_iter().map(|pair| pair.replacement).collect();
        for wanted in ["metrics", "max_step", "metric_envelope(", "max("] {
            assert!(found.iter().any(|name| name == wanted), "{wanted} is not among {found:?}");
        }
        assert!(!found.iter().any(|name| name == "params"));
    }
}
