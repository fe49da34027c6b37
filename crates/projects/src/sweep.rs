//! Many runs of one project, with values from a grid or by chance, as parts of one run.
//!
//! The parent run keeps what the sweep is (tag [`SWEEP_TAG`]), each child which trial it is ([`TRIAL_TAG`]). Values follow
//! from those alone, so that a sweep that was interrupted goes on where it stopped, and a trial has the same values
//! wherever and whenever it runs.

mod space;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::launch::{COMMIT_TAG, ENTRY_TAG, Host, Opened, Outcome, Request};
use crate::tracking::{Console, Run, Status, Stream};
use crate::{Error, Result};

use space::Chance;
pub use space::Dimension;

#[cfg(test)]
mod tests;

/// On the parent: what the sweep is, as JSON.
pub const SWEEP_TAG: &str = "runlake.sweep";
/// On each child: which trial it is, from 0.
pub const TRIAL_TAG: &str = "runlake.sweep.trial";
/// A grid larger than this was not meant.
const MOST_TRIALS: usize = 10_000;

/// What a sweep goes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// As they were written.
    dimensions: Vec<String>,
    /// How many runs by chance; without it the whole grid.
    trials: Option<usize>,
    /// What chance begins with.
    seed: u64,
}

/// How a sweep is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// What it goes over; none to take up the one that `resume` has.
    pub sweep: Option<&'a Sweep>,
    /// The parent of a sweep that was interrupted.
    pub resume: Option<&'a str>,
    /// How many runs at once.
    pub jobs: usize,
}

/// How a sweep ended.
#[derive(Debug)]
pub struct Swept {
    /// The run all of them are part of.
    pub parent: Run,
    /// Its status.
    pub status: Status,
    /// By number.
    pub trials: Vec<Trial>,
}

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct Trial {
    /// From 0.
    pub number: usize,
    /// What it varies.
    pub values: Vec<(String, String)>,
    /// The run, if it came to that.
    pub run: Option<String>,
    /// How it ended; none if it did not begin.
    pub status: Option<Status>,
    /// Why not well.
    pub why: Option<String>,
}

impl Sweep {
    /// A sweep over dimensions such as `lr=log:1e-4..1e-1`; with `trials` by chance, otherwise over the grid.
    pub fn new(dimensions: Vec<String>, trials: Option<usize>, seed: u64) -> Result<Self> {
        let sweep = Self { dimensions, trials, seed };
        let _values = sweep.trials()?;
        Ok(sweep)
    }

    /// The values of every trial.
    pub fn trials(&self) -> Result<Vec<Vec<(String, String)>>> {
        let dimensions = self.parsed()?;
        for (at, dimension) in dimensions.iter().enumerate() {
            if dimensions[..at].iter().any(|other| other.name() == dimension.name()) {
                return Err(Error::usage(format!("--sweep names {} twice", dimension.name())));
            }
        }
        match self.trials {
            Some(0) => Err(Error::usage("--trials 0: a sweep has one trial at least")),
            Some(count) if count > MOST_TRIALS => {
                Err(Error::usage(format!("--trials {count}: at most {MOST_TRIALS} are possible")))
            }
            Some(count) => Ok((0..count).map(|number| self.by_chance(&dimensions, number)).collect()),
            None => grid(&dimensions),
        }
    }

    /// A trial depends on its number, not on those before it.
    fn by_chance(&self, dimensions: &[Dimension], number: usize) -> Vec<(String, String)> {
        let mut chance = Chance::new(self.seed, number as u64);
        dimensions.iter().map(|dimension| (dimension.name().to_owned(), dimension.by_chance(&mut chance))).collect()
    }

    /// What is to be run for the rest of it: the entry point and values it was begun with, as trials are to differ in what
    /// it goes over only.
    fn as_begun(&self, request: &Request, parent: &Run) -> Result<Request> {
        let mut request = request.clone();
        let other = |what: &str, begun: &str| {
            Error::usage(format!("the sweep {} was begun with {begun}, not with {what}; leave that out", parent.id))
        };
        if let Some(begun) = parent.tags.get(ENTRY_TAG) {
            let wanted = request.entry_point.get_or_insert_with(|| begun.clone());
            if wanted != begun {
                return Err(other(&format!("--entry-point {wanted}"), &format!("--entry-point {begun}")));
            }
        }
        let dimensions = self.parsed()?;
        for (name, value) in &request.parameters {
            let is_swept = dimensions.iter().any(|dimension| dimension.name() == name);
            match parent.params.get(name) {
                Some(begun) if begun != value && !is_swept => {
                    return Err(other(&format!("{name}={value}"), &format!("{name}={begun}")));
                }
                None if !is_swept => return Err(other(&format!("{name}={value}"), &format!("no {name}"))),
                _ => {}
            }
        }
        for (name, value) in &parent.params {
            if request.parameters.iter().all(|(given, _)| given != name) {
                request.parameters.push((name.clone(), value.clone()));
            }
        }
        Ok(request)
    }

    fn parsed(&self) -> Result<Vec<Dimension>> {
        self.dimensions.iter().map(|text| text.parse().map_err(Error::Usage)).collect()
    }

    fn tag(&self) -> String {
        serde_json::to_string(self).expect("a sweep is JSON")
    }
}

/// Every combination; the last dimension goes through its values first.
fn grid(dimensions: &[Dimension]) -> Result<Vec<Vec<(String, String)>>> {
    let mut all: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for dimension in dimensions {
        let points = dimension.points().map_err(Error::Usage)?;
        if all.len() * points.len() > MOST_TRIALS {
            return Err(Error::usage(format!(
                "the grid has more than {MOST_TRIALS} points; give --trials to take some of them by chance"
            )));
        }
        all = all
            .iter()
            .flat_map(|values| {
                points.iter().map(move |point| {
                    let mut values = values.clone();
                    values.push((dimension.name().to_owned(), point.clone()));
                    values
                })
            })
            .collect();
    }
    Ok(all)
}

/// Runs a sweep, or what an interrupted one has left.
pub fn sweep(request: &Request, plan: Plan<'_>, host: Host<'_>) -> Result<Swept> {
    let (parent, sweep, done, request) = if let Some(id) = plan.resume {
        let (parent, sweep, done) = resumed(id, plan.sweep, &host)?;
        let request = sweep.as_begun(request, &parent)?;
        (Some(parent), sweep, done, request)
    } else {
        let sweep = plan.sweep.ok_or_else(|| Error::usage("a sweep needs --sweep NAME=VALUES, or --resume RUN"))?;
        (None, sweep.clone(), BTreeMap::new(), request.clone())
    };
    let trials = sweep.trials()?;
    let opened = Opened::of(&request, host)?;
    let begun_at = parent.as_ref().and_then(|parent| parent.tags.get(COMMIT_TAG)).map(String::as_str);
    if let (Some(begun), now) = (begun_at, opened.commit())
        && now != Some(begun)
    {
        host.console.say(&format!(
            "warning: the sweep was begun with commit {begun}, and goes on with {}",
            now.unwrap_or("a project that is in no repository")
        ));
    }
    for values in &trials {
        opened.check(&together(&request.parameters, values))?;
    }
    let parent = if let Some(parent) = parent {
        host.tracking.set_status(&parent, Status::Running)?;
        parent
    } else {
        let parent = opened.begin(request.run_name.clone(), vec![(SWEEP_TAG.to_owned(), sweep.tag())])?;
        // What all trials have in common.
        if let Err(error) = host.tracking.log(&parent, &request.parameters, &[]) {
            host.tracking.set_status(&parent, Status::Failed)?;
            return Err(error);
        }
        parent
    };
    host.console.say(&format!("sweep {} ({}): {} trials, {} done", parent.id, parent.name, trials.len(), done.len()));
    let trials = run_all(&opened, &parent, &trials, &done, plan.jobs, &host);
    let is_well = trials.iter().all(|trial| trial.status == Some(Status::Finished));
    let status = match () {
        () if host.cancel.is_asked() => Status::Killed,
        () if is_well => Status::Finished,
        () => Status::Failed,
    };
    host.tracking.set_status(&parent, status)?;
    Ok(Swept { parent, status, trials })
}

/// The parent, what it goes over, and the trials that ended well.
fn resumed(id: &str, wanted: Option<&Sweep>, host: &Host<'_>) -> Result<(Run, Sweep, BTreeMap<usize, Run>)> {
    let run = host.tracking.run(id)?;
    let parent = run.ok_or_else(|| Error::usage(format!("there is no run {id} on {}", host.tracking.uri())))?;
    let known = parent.tags.get(SWEEP_TAG).and_then(|text| serde_json::from_str::<Sweep>(text).ok());
    let sweep =
        known.ok_or_else(|| Error::usage(format!("the run {id} is no sweep, so there is nothing to resume")))?;
    if wanted.is_some_and(|wanted| (&wanted.dimensions, wanted.trials) != (&sweep.dimensions, sweep.trials)) {
        return Err(Error::usage(format!(
            "the sweep {id} is another one ({}); leave --sweep and --trials out to resume it",
            sweep.dimensions.join(" ")
        )));
    }
    let mut done = BTreeMap::new();
    for child in host.tracking.children(&parent)? {
        let number = child.tags.get(TRIAL_TAG).and_then(|text| text.parse().ok());
        if let (Some(number), Status::Finished) = (number, child.status) {
            done.insert(number, child);
        }
    }
    Ok((parent, sweep, done))
}

/// Given values, and those of a trial in their place.
fn together(given: &[(String, String)], values: &[(String, String)]) -> Vec<(String, String)> {
    given.iter().filter(|(name, _)| values.iter().all(|(other, _)| other != name)).chain(values).cloned().collect()
}

fn run_all(
    opened: &Opened<'_>,
    parent: &Run,
    trials: &[Vec<(String, String)>],
    done: &BTreeMap<usize, Run>,
    jobs: usize,
    host: &Host<'_>,
) -> Vec<Trial> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let worker = || {
        while let Some(number) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|number| *number < trials.len()) {
            let values = &trials[number];
            let trial = match done.get(&number) {
                Some(run) => Trial {
                    number,
                    values: values.clone(),
                    run: Some(run.id.clone()),
                    status: Some(Status::Finished),
                    why: None,
                },
                None => one(opened, parent, number, values, trials.len(), host),
            };
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(number, trial);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, trials.len().max(1)) {
            scope.spawn(worker);
        }
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
}

fn one(
    opened: &Opened<'_>,
    parent: &Run,
    number: usize,
    values: &[(String, String)],
    count: usize,
    host: &Host<'_>,
) -> Trial {
    let mut trial = Trial { number, values: values.to_vec(), run: None, status: None, why: None };
    if host.cancel.is_asked() {
        return trial;
    }
    let width = count.saturating_sub(1).to_string().len();
    let console = Prefixed { inner: host.console, prefix: format!("[{number:>width$}] "), rest: Mutex::default() };
    let listed: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    console.say(&listed.join(" "));
    let tags = vec![(TRIAL_TAG.to_owned(), number.to_string())];
    let name = format!("{}-{number:0width$}", parent.name);
    let begun = opened.check(&together(opened.given(), values)).and_then(|parameters| {
        let run = opened.begin_part(parent, name, tags)?;
        Ok((run, parameters))
    });
    match begun {
        Ok((run, parameters)) => {
            let Outcome { run, status, why } = opened.execute(run, parameters, &console);
            console.finish();
            (trial.run, trial.status, trial.why) = (Some(run.id), Some(status), why);
        }
        Err(error) => (trial.status, trial.why) = (Some(Status::Failed), Some(error.to_string())),
    }
    let status = trial.status.map_or("", Status::name);
    let why = trial.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    console.say(&format!("{status}{why}"));
    trial
}

/// Whole lines with the trial before them, since several run at once.
struct Prefixed<'a> {
    inner: &'a dyn Console,
    prefix: String,
    rest: Mutex<[Vec<u8>; 2]>,
}

impl Prefixed<'_> {
    /// Ends lines that have no end.
    fn finish(&self) {
        for stream in [Stream::Output, Stream::Error] {
            let is_open = !self.rest()[usize::from(stream == Stream::Error)].is_empty();
            if is_open {
                self.write(stream, b"\n");
            }
        }
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, [Vec<u8>; 2]> {
        self.rest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Console for Prefixed<'_> {
    fn say(&self, line: &str) {
        self.inner.say(&format!("{}{line}", self.prefix));
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut rest = self.rest();
        let rest = &mut rest[usize::from(stream == Stream::Error)];
        rest.extend_from_slice(bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let mut out = Vec::with_capacity(end + 64);
        for line in rest.drain(..=end).collect::<Vec<u8>>().split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(self.prefix.as_bytes());
            out.extend_from_slice(line);
        }
        self.inner.write(stream, &out);
    }
}
