//! `runs_wide`: one row a run, a column for each of its attributes, params, metrics and tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch, StringViewArray, StringViewBuilder,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Float64Type, Schema};
use datafusion::execution::memory_pool::MemoryConsumer;
use rustc_hash::FxHashMap;

use super::{Arguments, Lake, Signature};
use crate::{Error, Parameters, Result, Value};

pub(super) static SIGNATURE: Signature = Signature {
    name: "runs_wide",
    usage: "runs_wide('<experiment name or id>', …), or runs_wide() for all experiments",
};

/// Columns of an answer: more would make a table that no tool reads.
const COLUMNS: usize = 20_000;
/// Integers beyond this are not exact as doubles.
const EXACT: u64 = 1 << 53;

/// The active runs of some experiments, newest first. `params.<key>` is a DOUBLE where every value is a number,
/// `metrics.<key>` is the last value, `tags.<key>` is text.
pub(super) async fn rows(lake: &Lake, arguments: &Arguments) -> Result<RecordBatch> {
    let experiments = experiments(lake, &arguments.texts()?).await?;
    let runs = runs(lake, &experiments).await?;
    let run_ids = runs.column(0).as_string_view();
    let places: FxHashMap<&str, u32> = run_ids.iter().flatten().zip(0..).collect();
    let mut fields: Vec<Field> = runs.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut columns = runs.columns().to_vec();
    let reservation = MemoryConsumer::new("runs_wide").register(&lake.base.runtime_env().memory_pool);
    for (prefix, table) in [("params", "params"), ("metrics", "latest_metrics"), ("tags", "tags")] {
        let (filter, parameters) = within(&experiments);
        let found = lake.rows(&format!("SELECT run_id, key, value FROM {table} {filter}"), parameters).await?;
        let cells = Cells::sort(&found, &places)?;
        if fields.len() + cells.keys.len() > COLUMNS {
            return Err(Error::Invalid(format!(
                "these runs have more than {COLUMNS} different params, metrics and tags: name fewer experiments, or ask \
                 the tables params, latest_metrics and tags"
            )));
        }
        reservation.try_grow(cells.keys.len() * runs.num_rows() * 16)?;
        for (key, cells) in cells.keys {
            let column = match prefix {
                "metrics" => numbers(&cells, &found, runs.num_rows()),
                "params" => {
                    parsed(&cells, &found, runs.num_rows()).unwrap_or_else(|| texts(&cells, &found, runs.num_rows()))
                }
                _ => texts(&cells, &found, runs.num_rows()),
            };
            fields.push(Field::new(format!("{prefix}.{key}"), column.data_type().clone(), true));
            columns.push(column);
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The ids of experiments that were named; `None`: all.
async fn experiments(lake: &Lake, named: &[&str]) -> Result<Option<Vec<String>>> {
    if named.is_empty() {
        return Ok(None);
    }
    let rows = lake.rows("SELECT experiment_id, name FROM experiments", Parameters::default()).await?;
    let known: Vec<(&str, &str)> = rows
        .iter()
        .flat_map(|batch| {
            let (ids, names) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
            (0..batch.num_rows()).map(move |row| (ids.value(row), names.value(row)))
        })
        .collect();
    let id_of = |wanted: &&str| {
        let found = known.iter().find(|(_, name)| name == wanted).or_else(|| known.iter().find(|(id, _)| id == wanted));
        found.map(|(id, _)| (*id).to_owned()).ok_or_else(|| not_there(wanted, &known))
    };
    Ok(Some(named.iter().map(id_of).collect::<Result<_>>()?))
}

fn not_there(wanted: &str, known: &[(&str, &str)]) -> Error {
    let near = known
        .iter()
        .map(|(_, name)| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(like, _)| *like > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = near.map(|(_, name)| format!("; did you mean {name:?}?")).unwrap_or_default();
    Error::NotFound(format!("there is no experiment with the name or id {wanted:?}{hint}"))
}

async fn runs(lake: &Lake, experiments: &Option<Vec<String>>) -> Result<RecordBatch> {
    let (filter, parameters) = within(experiments);
    let and = if filter.is_empty() { "WHERE" } else { "AND" };
    let sql = format!(
        "SELECT run_id, run_name, experiment_id, status, start_time, end_time, user_id, artifact_uri, parent_run_id \
         FROM runs {filter} {and} lifecycle_stage = 'active' ORDER BY start_time DESC NULLS LAST, run_id"
    );
    let found = lake.rows(&sql, parameters).await?;
    match found.first() {
        Some(first) => Ok(concat_batches(&first.schema(), &found)?),
        None => empty(),
    }
}

/// No runs: a query without rows gives no batch either.
fn empty() -> Result<RecordBatch> {
    let columns = [
        "run_id",
        "run_name",
        "experiment_id",
        "status",
        "start_time",
        "end_time",
        "user_id",
        "artifact_uri",
        "parent_run_id",
    ];
    let schema = crate::table::schema(runlake_types::TableId::Runs);
    let fields = columns.iter().map(|name| schema.field_with_name(name).cloned()).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::new_empty(Arc::new(Schema::new(fields))))
}

fn within(experiments: &Option<Vec<String>>) -> (String, Parameters) {
    match experiments {
        None => (String::new(), Parameters::default()),
        Some(ids) => {
            let marks: Vec<String> = (1..=ids.len()).map(|number| format!("${number}")).collect();
            let values = ids.iter().map(|id| Value::Text(id.clone()));
            (format!("WHERE experiment_id IN ({})", marks.join(", ")), Parameters::in_order(values))
        }
    }
}

/// The rows of a long table by key: for each the run's place, and where the value is (batch, row).
struct Cells {
    keys: BTreeMap<String, Vec<(u32, (u32, u32))>>,
}

impl Cells {
    fn sort(batches: &[RecordBatch], places: &FxHashMap<&str, u32>) -> Result<Self> {
        let mut numbers: FxHashMap<&str, usize> = FxHashMap::default();
        let mut lists: Vec<(&str, Vec<(u32, (u32, u32))>)> = Vec::new();
        for (batch, at) in batches.iter().zip(0u32..) {
            let (runs, keys) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
            // Rows of a run come together.
            let mut last: Option<(&str, Option<u32>)> = None;
            for row in 0..batch.num_rows() {
                let run = runs.value(row);
                let place = match last {
                    Some((same, place)) if same == run => place,
                    _ => places.get(run).copied(),
                };
                last = Some((run, place));
                let Some(place) = place else { continue };
                let key = keys.value(row);
                let number = *numbers.entry(key).or_insert_with(|| {
                    lists.push((key, Vec::new()));
                    lists.len() - 1
                });
                let row = u32::try_from(row).map_err(|_| Error::Internal("a batch is too long".to_owned()))?;
                lists[number].1.push((place, (at, row)));
            }
        }
        Ok(Self { keys: lists.into_iter().map(|(key, cells)| (key.to_owned(), cells)).collect() })
    }
}

fn numbers(cells: &[(u32, (u32, u32))], batches: &[RecordBatch], rows: usize) -> ArrayRef {
    let values: Vec<_> = batches.iter().map(|batch| batch.column(2).as_primitive::<Float64Type>()).collect();
    let mut column: Vec<Option<f64>> = vec![None; rows];
    for (place, (batch, row)) in cells {
        column[*place as usize] = Some(values[*batch as usize].value(*row as usize));
    }
    Arc::new(Float64Array::from(column))
}

/// The params as numbers; `None` where one is no number, or not exactly.
fn parsed(cells: &[(u32, (u32, u32))], batches: &[RecordBatch], rows: usize) -> Option<ArrayRef> {
    let values: Vec<&StringViewArray> = batches.iter().map(|batch| batch.column(2).as_string_view()).collect();
    let mut column: Vec<Option<f64>> = vec![None; rows];
    for (place, (batch, row)) in cells {
        column[*place as usize] = Some(number(values[*batch as usize].value(*row as usize))?);
    }
    Some(Arc::new(Float64Array::from(column)))
}

/// A text that is a number and nothing else: no id with leading zeros, no integer that a double cannot hold.
fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['-', '+']);
    let is_padded = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    let starts_well = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let is_special = matches!(digits, "nan" | "NaN" | "inf" | "Infinity" | "Inf");
    if is_padded || !(starts_well || is_special) {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u64>().ok()? > EXACT {
        return None;
    }
    text.parse().ok()
}

fn texts(cells: &[(u32, (u32, u32))], batches: &[RecordBatch], rows: usize) -> ArrayRef {
    let values: Vec<&StringViewArray> = batches.iter().map(|batch| batch.column(2).as_string_view()).collect();
    let mut column: Vec<Option<&str>> = vec![None; rows];
    for (place, (batch, row)) in cells {
        column[*place as usize] = Some(values[*batch as usize].value(*row as usize));
    }
    let mut builder = StringViewBuilder::with_capacity(rows).with_deduplicate_strings();
    column.into_iter().for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_numbers_and_ids_are_not() {
        assert_eq!(number("0.01"), Some(0.01));
        assert_eq!(number("-1e-3"), Some(-0.001));
        assert_eq!(number("9007199254740992"), Some(9_007_199_254_740_992.0));
        assert!(number("nan").is_some_and(f64::is_nan));
        for text in ["007", "9007199254740993", "", "1 ", "0x10", "one", "None", "infinite", "1_000", "-"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
