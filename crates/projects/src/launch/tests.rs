use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use runlake_types::SystemClock;

use super::*;
use crate::tracking::Stream;

/// A server in memory, which refuses what it is told to.
#[derive(Default)]
struct Memory {
    runs: Mutex<Vec<Run>>,
    artifacts: Mutex<BTreeMap<String, Vec<u8>>>,
    refuses: Option<&'static str>,
}

impl Memory {
    fn unless(&self, what: &str) -> Result {
        if self.refuses == Some(what) { Err(Error::Server(format!("no {what}"))) } else { Ok(()) }
    }

    fn change(&self, run: &Run, change: impl FnOnce(&mut Run)) {
        let mut runs = self.runs.lock().unwrap();
        change(runs.iter_mut().find(|known| known.id == run.id).unwrap());
    }

    fn only(&self) -> Run {
        let runs = self.runs.lock().unwrap();
        assert_eq!(runs.len(), 1);
        runs[0].clone()
    }
}

impl Tracking for Memory {
    fn uri(&self) -> &'static str {
        "http://memory"
    }

    fn experiment_named(&self, name: &str) -> Result<String> {
        Ok(format!("id of {name}"))
    }

    fn create_run(&self, new: &NewRun) -> Result<Run> {
        self.unless("runs")?;
        let mut runs = self.runs.lock().unwrap();
        let run = Run {
            id: format!("run{}", runs.len()),
            experiment_id: new.experiment_id.clone(),
            name: new.name.clone().unwrap_or_default(),
            tags: new.tags.iter().cloned().collect(),
            ..Run::default()
        };
        runs.push(run.clone());
        Ok(run)
    }

    fn run(&self, id: &str) -> Result<Option<Run>> {
        Ok(self.runs.lock().unwrap().iter().find(|run| run.id == id).cloned())
    }

    fn children(&self, parent: &Run) -> Result<Vec<Run>> {
        let runs = self.runs.lock().unwrap();
        Ok(runs.iter().filter(|run| run.tags.get("mlflow.parentRunId") == Some(&parent.id)).cloned().collect())
    }

    fn log(&self, run: &Run, params: &[(String, String)], tags: &[(String, String)]) -> Result {
        self.unless("params")?;
        self.change(run, |run| {
            run.params.extend(params.iter().cloned());
            run.tags.extend(tags.iter().cloned());
        });
        Ok(())
    }

    fn set_status(&self, run: &Run, status: Status) -> Result {
        self.unless("status")?;
        self.change(run, |run| run.status = status);
        Ok(())
    }

    fn upload(&self, run: &Run, path: &str, bytes: Vec<u8>) -> Result {
        self.unless("artifacts")?;
        self.artifacts.lock().unwrap().insert(format!("{}/{path}", run.id), bytes);
        Ok(())
    }

    fn download(&self, uri: &str, into: &Path) -> Result<PathBuf> {
        let path = into.join("fetched");
        fs::write(&path, uri).map_err(Error::io("fetched"))?;
        Ok(path)
    }
}

#[derive(Default)]
struct Heard(Mutex<String>);

impl Console for Heard {
    fn say(&self, line: &str) {
        self.0.lock().unwrap().extend([line, "\n"]);
    }

    fn write(&self, _: Stream, bytes: &[u8]) {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
    }
}

/// Launches a project of one command, with a parameter `p` of a kind.
fn launched(
    tracking: &Memory,
    command: &str,
    kind: &str,
    value: &str,
    change: impl FnOnce(&mut Request),
) -> (Result<Outcome>, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("entry_points:\n  main:\n    parameters: {{p: {kind}}}\n    command: \"{command}\"\n");
    fs::write(folder.path().join("MLproject"), text).unwrap();
    let mut request = Request {
        uri: folder.path().display().to_string(),
        parameters: vec![("p".to_owned(), value.to_owned())],
        ..Request::default()
    };
    change(&mut request);
    let (console, cancel, cache) = (Heard::default(), Cancel::default(), Cache::at(folder.path().join("cache")));
    let host = Host {
        tracking,
        console: &console,
        cache: &cache,
        cancel: &cancel,
        clock: &SystemClock,
        here: folder.path(),
        variables: &[],
        secrets: &[],
    };
    let outcome = launch(&request, host);
    (outcome, console.0.into_inner().unwrap())
}

#[test]
fn a_run_from_its_beginning_to_its_end() {
    let tracking = Memory::default();
    let (outcome, _) = launched(&tracking, "echo $MLFLOW_RUN_ID {p}", "string", "a b", |request| {
        request.experiment = Some(Experiment::Name("e".to_owned()));
        request.run_name = Some("n".to_owned());
    });
    assert_eq!(outcome.unwrap().status, Status::Finished);
    let run = tracking.only();
    assert_eq!((run.experiment_id.as_str(), run.name.as_str(), run.status), ("id of e", "n", Status::Finished));
    assert_eq!(run.params["p"], "a b");
    assert_eq!(run.tags["mlflow.source.type"], "PROJECT");
    assert_eq!(tracking.artifacts.lock().unwrap()["run0/logs/stdout.txt"], b"run0 a b\n");
}

#[test]
fn a_server_that_takes_no_artifacts_does_not_fail_the_run() {
    let tracking = Memory { refuses: Some("artifacts"), ..Memory::default() };
    let (outcome, said) = launched(&tracking, "echo {p}", "string", "x", |_| {});
    assert_eq!(outcome.unwrap().status, Status::Finished);
    assert_eq!(said.matches("warning: the output is not kept").count(), 1, "{said}");
}

#[test]
fn what_fails_on_the_way_is_the_runs_failure() {
    let tracking = Memory { refuses: Some("params"), ..Memory::default() };
    let (outcome, _) = launched(&tracking, "echo {p}", "string", "x", |_| {});
    let outcome = outcome.unwrap();
    assert_eq!((outcome.status, outcome.why.as_deref()), (Status::Failed, Some("no params")));
    assert_eq!(tracking.only().status, Status::Failed);

    let tracking = Memory { refuses: Some("status"), ..Memory::default() };
    let (outcome, said) = launched(&tracking, "exit 1 # ", "string", "x", |_| {});
    assert_eq!(outcome.unwrap().status, Status::Failed);
    assert!(said.contains("could not be set: no status"), "{said}");

    let tracking = Memory { refuses: Some("runs"), ..Memory::default() };
    let (outcome, _) = launched(&tracking, "echo {p}", "string", "x", |_| {});
    assert!(outcome.unwrap_err().to_string().contains("no runs"));
}

#[test]
fn inputs_are_fetched_and_gone_afterwards() {
    let tracking = Memory::default();
    let (outcome, _) = launched(&tracking, "cat {p}; echo; echo {p}", "path", "runs:/1/x", |_| {});
    assert_eq!(outcome.unwrap().status, Status::Finished);
    let artifacts = tracking.artifacts.lock().unwrap();
    let output = String::from_utf8_lossy(&artifacts["run0/logs/stdout.txt"]).into_owned();
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("runs:/1/x"));
    assert!(!Path::new(lines.next().unwrap()).exists());
}

#[test]
fn a_run_that_waits_for_us_learns_that_it_will_not_be() {
    let tracking = Memory::default();
    let run = tracking.create_run(&NewRun::default()).unwrap();
    let (outcome, _) = launched(&tracking, "echo {p}", "int", "x", |request| request.run_id = Some(run.id.clone()));
    assert!(outcome.is_err());
    assert_eq!(tracking.only().status, Status::Failed);
}

#[test]
fn runs_within_a_killed_run_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("MLproject"), "entry_points: {main: {command: 'echo up; sleep 600'}}").unwrap();
    let tracking = Memory::default();
    let part = |parent: &str, status: Status| {
        let tags = vec![("mlflow.parentRunId".to_owned(), parent.to_owned())];
        let run = tracking.create_run(&NewRun { tags, ..NewRun::default() }).unwrap();
        tracking.set_status(&run, status).unwrap();
    };
    part("run4", Status::Running);
    part("run0", Status::Running);
    part("run4", Status::Finished);
    part("another", Status::Running);
    let cancel = Cancel::default();
    let console = Stopping(cancel.clone());
    let host = Host {
        tracking: &tracking,
        console: &console,
        cache: &Cache::at(folder.path().join("cache")),
        cancel: &cancel,
        clock: &SystemClock,
        here: folder.path(),
        variables: &[],
        secrets: &[],
    };
    let outcome = launch(&Request { uri: ".".to_owned(), ..Request::default() }, host).unwrap();
    assert_eq!((outcome.run.id.as_str(), outcome.status), ("run4", Status::Killed));
    let states: Vec<Status> = tracking.runs.lock().unwrap().iter().map(|run| run.status).collect();
    assert_eq!(states, [Status::Killed, Status::Killed, Status::Finished, Status::Running, Status::Killed]);
}

/// Stops the run as soon as it writes.
struct Stopping(Cancel);

impl Console for Stopping {
    fn say(&self, _: &str) {}

    fn write(&self, _: Stream, _: &[u8]) {
        self.0.ask();
    }
}

#[test]
fn long_output_is_kept_in_part() {
    let tracking = Memory::default();
    let (outcome, _) = launched(&tracking, "head -c 70000000 /dev/zero; echo {p}", "string", "x", |_| {});
    assert_eq!(outcome.unwrap().status, Status::Finished);
    let artifacts = tracking.artifacts.lock().unwrap();
    let kept = &artifacts["run0/logs/stdout.txt"];
    assert!(kept.len() < (64 << 20) + 200 && kept.ends_with(b"are the most]\n"), "{}", kept.len());
}
