//! `runlake doctor`: looks at a lake from all sides and says what it finds. It never changes anything.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use runlake_engine::{Access, Engine, Examined, Identity, Settings, View};
use runlake_storage::Store;
use runlake_types::rows::{Experiment, Run};
use runlake_types::{KeyBuilder, TableId};

use crate::config::LakeArgs;
use crate::lake::{open_engine, open_lake_store};
use crate::terminal::say;
use crate::{Failure, Result};

/// Ids that a finding names at most.
const NAMED: usize = 5;

/// One thing that was looked at.
enum Finding {
    Fine(String),
    Wrong(String),
}

pub(crate) async fn run(args: LakeArgs) -> Result {
    let store = open_lake_store(&args.lake).await?;
    let findings = examine(store).await;
    for finding in &findings {
        say(finding);
    }
    let wrong = findings.iter().filter(|finding| matches!(finding, Finding::Wrong(_))).count();
    if wrong == 0 {
        say(&"\nthe lake is in order");
        Ok(())
    } else {
        let problems = if wrong == 1 { "problem" } else { "problems" };
        Err(Failure::new(format!("{wrong} {problems} found in {}", args.lake)))
    }
}

/// Each step needs the one before.
async fn examine(store: Store) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Identity::read(&store).await {
        Ok(Some(identity)) => {
            findings.push(fine(format!("lake {} in format {}", identity.lake_id, identity.format_version)));
        }
        Ok(None) => findings.push(wrong("there is no lake.json")),
        Err(error) => findings.push(wrong(error)),
    }
    let settings = Settings { access: Access::ReadOnly, ..Settings::default() };
    match open_engine(store, settings).await {
        Ok(engine) => {
            examine_tables(&engine, &mut findings).await;
            if let Err(error) = engine.close().await {
                findings.push(wrong(error));
            }
        }
        Err(failure) => findings.push(wrong(failure.message)),
    }
    findings
}

async fn examine_tables(engine: &Engine, findings: &mut Vec<Finding>) {
    let status = engine.status();
    findings.push(fine(format!("log readable through position {}, tables through {}", status.applied, status.flushed)));
    let view = engine.view();
    for &table in TableId::ALL {
        let snapshot = view.snapshot(table);
        if let Some(version) = snapshot.version() {
            let (files, rows, bytes) = (snapshot.files().len(), snapshot.rows(), snapshot.bytes());
            findings.push(fine(format!(
                "table {}: version {version}, {rows} rows in {files} files, {bytes} bytes",
                table.name()
            )));
        }
    }
    match engine.examine(show).await {
        Ok(problems) => {
            let files: usize = TableId::ALL.iter().map(|table| view.snapshot(*table).files().len()).sum();
            if problems.is_empty() {
                findings.push(fine(format!("{files} files are there and whole, and the tables fit each other")));
            }
            findings.extend(problems.into_iter().map(Finding::Wrong));
        }
        Err(error) => findings.push(wrong(error)),
    }
    if let Err(error) = examine_runs(&view, findings).await {
        findings.push(wrong(error));
    }
}

/// Tells somebody who watches how far it is.
fn show(Examined { files, of }: Examined) {
    let is_due = files.is_multiple_of(100) || files == of;
    if is_due && of > 100 && io::stderr().is_terminal() {
        let end = if files == of { "\n" } else { "\r" };
        let _unseen = write!(io::stderr(), "looked at {files} of {of} files{end}");
    }
}

/// Every run belongs to an experiment.
async fn examine_runs(view: &View, findings: &mut Vec<Finding>) -> runlake_engine::Result<()> {
    let everything = KeyBuilder::default().build();
    let experiments = view.scan::<Experiment>(&everything).await?;
    let known: BTreeSet<_> = experiments.iter().map(|experiment| experiment.experiment_id).collect();
    let runs = view.scan::<Run>(&everything).await?;
    let homeless: Vec<_> = runs.iter().filter(|run| !known.contains(&run.experiment_id)).collect();
    findings.push(fine(format!("{} experiments, {} runs", experiments.len(), runs.len())));
    if !homeless.is_empty() {
        let named: Vec<_> = homeless.iter().take(NAMED).map(|run| run.run_id.as_str()).collect();
        let count = homeless.len();
        findings.push(wrong(format!("{count} runs belong to no experiment, among them {}", named.join(", "))));
    }
    Ok(())
}

fn fine(text: impl Into<String>) -> Finding {
    Finding::Fine(text.into())
}

fn wrong(text: impl fmt::Display) -> Finding {
    Finding::Wrong(text.to_string())
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fine(text) => write!(f, "ok     {text}"),
            Self::Wrong(text) => write!(f, "WRONG  {text}"),
        }
    }
}
