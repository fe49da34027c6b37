//! Params and tags in bulk.

use arrow_array::RecordBatch;
use runlake_engine::RunGuard;
use runlake_types::WriteBatch;
use rustc_hash::FxHashMap;

use super::texts::Texts;
use super::{Content, Refused, Rows, homes_of, runs_of};
use crate::KeyValue;
use crate::log::add_param;
use crate::runs::set_tag;
use crate::validate::{self, Path};

/// Memory of a row on its way beside its text, which is there twice.
const ROW_BYTES: usize = 256;

/// What a pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Param,
    Tag,
}

/// Checked params or tags, in the order of the batch.
#[derive(Debug)]
pub(super) struct PairRows(Vec<Pair>);

#[derive(Debug)]
struct Pair {
    run: u32,
    key: String,
    value: String,
}

pub(super) fn read(batch: &RecordBatch, kind: Kind, cut: bool) -> Result<Rows, Refused> {
    let run_ids = Texts::required(batch, "run_id")?;
    let runs = runs_of(&run_ids)?;
    let homes = homes_of(batch, &run_ids)?;
    let keys = Texts::required(batch, "key")?;
    let values = Texts::required(batch, "value")?;
    let count = batch.num_rows();
    let mut pairs = Vec::with_capacity(count);
    // A param may be given once; which row did?
    let mut given: FxHashMap<(u32, u32), usize> = FxHashMap::default();
    for row in 0..count {
        let (run, key_code) = (run_ids.codes[row], keys.codes[row]);
        let key = keys.distinct[key_code as usize].0;
        let pair = KeyValue { key, value: values.distinct[values.codes[row] as usize].0 };
        let value = match kind {
            Kind::Param => validate::param(&pair, Path::Top, cut),
            Kind::Tag => validate::tag(&pair, Path::Top, cut),
        };
        let value = value.map_err(|error| Refused::at(row, error))?;
        if kind == Kind::Param
            && let Some(first) = given.insert((run, key_code), row)
        {
            let run = &runs[run as usize].run_id;
            let message = format!("the param '{key}' of the run {run} is given twice, first in row {first}");
            return Err(Refused::invalid(row, message));
        }
        pairs.push(Pair { run, key: key.to_owned(), value: value.to_owned() });
    }
    let pairs = PairRows(pairs);
    let content = match kind {
        Kind::Param => Content::Params(pairs),
        Kind::Tag => Content::Tags(pairs),
    };
    Ok(Rows { count, runs, homes, content })
}

impl PairRows {
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|pair| ROW_BYTES + 2 * (pair.key.len() + pair.value.len())).sum()
    }

    /// Adds params to a write, unless one is there with another value; returns the bytes the states grew by.
    pub(super) fn write_params(
        self,
        guards: &mut [RunGuard<'_>],
        guard_of: &[usize],
        write: &mut WriteBatch,
    ) -> Result<usize, Refused> {
        for (row, pair) in self.0.iter().enumerate() {
            let state = &guards[guard_of[pair.run as usize]];
            if let Some(old) = state.params.get(&pair.key).filter(|old| **old != pair.value) {
                let Pair { key, value, .. } = pair;
                let message = format!(
                    "Changing param values is not allowed. Param with key='{key}' was already logged with \
                     value='{old}' for run ID='{}'. Attempted logging new value '{value}'.",
                    state.run.run_id
                );
                return Err(Refused::invalid(row, message));
            }
        }
        for pair in &self.0 {
            add_param(&mut guards[guard_of[pair.run as usize]], write, &pair.key, &pair.value);
        }
        Ok(self.bytes())
    }

    /// Adds tags to a write, a later one of a key winning; returns the bytes the states grew by.
    pub(super) fn write_tags(self, guards: &mut [RunGuard<'_>], guard_of: &[usize], write: &mut WriteBatch) -> usize {
        let mut changed = vec![false; guards.len()];
        for pair in &self.0 {
            let guard = guard_of[pair.run as usize];
            changed[guard] |= set_tag(&mut guards[guard], write, &pair.key, &pair.value);
        }
        for (guard, _) in guards.iter().zip(changed).filter(|(_, changed)| *changed) {
            write.put(&guard.run);
        }
        self.bytes()
    }
}
