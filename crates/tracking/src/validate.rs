//! What a request may say. Messages and order of checks are those of MLflow 3.17 (`mlflow.utils.validation`).

use std::borrow::Cow;

use runlake_types::{ExperimentId, RunId, Timestamp, limits};
use rustc_hash::FxHashSet;

use crate::text;
use crate::{DatasetInput, Error, KeyValue, MetricInput, Result};

/// Characters of an artifact location.
const ARTIFACT_LOCATION_CHARS: usize = 2048;
/// Characters of the parts of a dataset and its tags.
const DATASET_NAME_CHARS: usize = 500;
const DATASET_DIGEST_CHARS: usize = 36;
const DATASET_SOURCE_CHARS: usize = 65_535;
const DATASET_SCHEMA_CHARS: usize = 1_048_575;
const DATASET_PROFILE_CHARS: usize = 16_777_215;
const INPUT_TAG_KEY_CHARS: usize = 255;
const INPUT_TAG_VALUE_CHARS: usize = 500;

/// A path into a request, built only when a message needs it: `key`, `metrics[3].name`.
#[derive(Debug, Clone, Copy)]
pub enum Path {
    /// The field itself.
    Top,
    /// The field of an element of a list.
    At(&'static str, usize),
}

impl Path {
    fn field(self, field: &str) -> String {
        match self {
            Self::Top => field.to_owned(),
            Self::At(list, index) => format!("{list}[{index}].{field}"),
        }
    }
}

/// `Invalid value <value> for parameter '<parameter>' supplied: <why>`.
pub fn invalid_value(parameter: &str, shown: &str, why: &str) -> Error {
    Error::invalid(format!("Invalid value {shown} for parameter '{parameter}' supplied: {why}"))
}

fn too_long(what: &str, limit: usize) -> Error {
    Error::invalid(format!("'{what}' exceeds the maximum length of {limit} characters"))
}

fn longer_than(text: &str, limit: usize) -> bool {
    text.len() > limit && text.chars().nth(limit).is_some()
}

pub fn length(what: &str, limit: usize, text: &str) -> Result<()> {
    if longer_than(text, limit) { Err(too_long(what, limit)) } else { Ok(()) }
}

/// The text within `limit`, cut (with a line in the log) or refused.
fn fit<'a>(what: &str, limit: usize, text: &'a str, cut: bool) -> Result<&'a str> {
    if text.len() <= limit {
        return Ok(text);
    }
    match text.char_indices().nth(limit) {
        None => Ok(text),
        Some((end, _)) if cut => {
            let start: String = text.chars().take(100).collect();
            let chars = text.chars().count();
            tracing::warn!(what, %start, chars, limit, "value cut to its maximum length");
            Ok(&text[..end])
        }
        Some(_) => Err(too_long(what, limit)),
    }
}

/// A key of a metric, param or tag: its characters, and that it is a plain relative path, since keys may become file
/// names. `parameter` names it in messages.
pub fn key(key: &str, parameter: impl FnOnce() -> String) -> Result<()> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/');
    if !key.chars().all(plain) {
        let why = "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), \
                   colon(:) and slashes (/).";
        return Err(invalid_value(&parameter(), &text::json(key), why));
    }
    own_path(key, parameter)
}

/// A name that may become a file: it must be its own normal form as a relative path.
pub fn own_path(name: &str, parameter: impl FnOnce() -> String) -> Result<()> {
    if is_own_path(name) {
        return Ok(());
    }
    let why = format!(
        "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. \
         This name would resolve to {}",
        text::quoted(&normal_path(name))
    );
    Err(invalid_value(&parameter(), &text::json(name), &why))
}

fn is_own_path(key: &str) -> bool {
    let simple = !key.is_empty() && !key.contains('/') && !key.starts_with('.');
    simple || {
        let normal = normal_path(key);
        normal == key && normal != "." && !normal.starts_with("..") && !normal.starts_with('/')
    }
}

/// The POSIX normal form of a path: no empty or `.` parts, `..` resolved where it can be.
fn normal_path(path: &str) -> String {
    let slashes = path.len() - path.trim_start_matches('/').len();
    let root = match slashes {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    let normal = format!("{root}{}", parts.join("/"));
    if normal.is_empty() { ".".into() } else { normal }
}

/// A point, its key apart (see [`metric_key_length`]): the time it may have.
pub fn metric_time(metric: &MetricInput<'_>, path: Path) -> Result<Timestamp> {
    let refuse = |why: &str| {
        let shown = metric.timestamp_ms.to_string();
        let why = format!("metric '{}' (value={}). {why}", metric.key, text::float(metric.value));
        invalid_value(&path.field("timestamp"), &shown, &why)
    };
    if metric.timestamp_ms < 0 {
        return Err(refuse("Timestamp must be a nonnegative long (64-bit integer) "));
    }
    Timestamp::from_millis(metric.timestamp_ms)
        .ok_or_else(|| refuse("Timestamp must be in milliseconds since 1970, and at most 9223372036854775."))
}

/// The characters of a metric's key.
pub fn metric_key(key_text: &str, path: Path) -> Result<()> {
    key(key_text, || path.field("name"))
}

/// The length of a metric's key, which MLflow looks at after the point's time.
pub fn metric_key_length(key: &str) -> Result<()> {
    length("Metric name", limits::KEY_CHARS, key)
}

/// A param; returns its value, perhaps cut.
pub fn param<'a>(param: &KeyValue<'a>, path: Path, cut: bool) -> Result<&'a str> {
    key(param.key, || path.field("key"))?;
    length("Param key", limits::KEY_CHARS, param.key)?;
    fit("Param value", limits::PARAM_VALUE_CHARS, param.value, cut)
}

/// A tag; returns its value, perhaps cut.
pub fn tag<'a>(tag: &KeyValue<'a>, path: Path, cut: bool) -> Result<&'a str> {
    key(tag.key, || path.field("key"))?;
    if longer_than(tag.key, limits::KEY_CHARS) {
        return Err(too_long(&path.field("key"), limits::KEY_CHARS));
    }
    if !longer_than(tag.value, limits::TAG_VALUE_CHARS) {
        return Ok(tag.value);
    }
    fit(&path.field("value"), limits::TAG_VALUE_CHARS, tag.value, cut)
}

/// A tag of an experiment.
pub fn experiment_tag(key_text: &str, value: &str) -> Result<()> {
    key(key_text, || "key".into())?;
    length("key", limits::KEY_CHARS, key_text)?;
    length("value", limits::EXPERIMENT_TAG_VALUE_CHARS, value)
}

/// How much one batch may hold.
pub fn batch_limits(metrics: usize, params: usize, tags: usize) -> Result<()> {
    let parts = [
        ("metrics", limits::METRICS_PER_BATCH, metrics),
        ("params", limits::PARAMS_PER_BATCH, params),
        ("tags", limits::TAGS_PER_BATCH, tags),
        ("metrics, params, and tags", limits::ENTITIES_PER_BATCH, metrics + params + tags),
    ];
    match parts.into_iter().find(|(_, limit, count)| count > limit) {
        None => Ok(()),
        Some((what, limit, count)) => Err(Error::invalid(format!(
            "A batch logging request can contain at most {limit} {what}. Got {count} {what}. \
             Please split up {what} across multiple requests and try again."
        ))),
    }
}

/// That no param key comes twice.
pub fn params_unique(params: &[(&str, &str)]) -> Result<()> {
    let mut seen = FxHashSet::default();
    let twice: Vec<&str> = params.iter().map(|(key, _)| *key).filter(|key| !seen.insert(*key)).collect();
    if twice.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Duplicate parameter keys have been submitted: {}. Please ensure the request contains only one param value \
         per param key.",
        text::quoted_list(twice)
    )))
}

/// The form of a run id, where a request is refused for it.
pub fn run_id(run_id: &str) -> Result<RunId> {
    RunId::parse(run_id)
        .map_err(|_| Error::invalid(format!("Invalid value {} for parameter 'run_id' supplied.", text::json(run_id))))
}

/// An experiment id of a request. A number that no experiment has is not found rather than invalid.
pub fn experiment_id(id: &str) -> Result<ExperimentId> {
    let digits = id.trim();
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::invalid(format!("Invalid experiment ID '{id}'. Experiment ID must be a valid integer.")));
    }
    let trimmed = digits.trim_start_matches('0');
    match digits.parse() {
        Ok(number) if !negative || number == 0 => Ok(ExperimentId::new(number)),
        _ => Err(no_experiment(&format!("{}{trimmed}", if negative { "-" } else { "" }))),
    }
}

/// No such experiment, or none in the stage that was asked for.
pub fn no_experiment(id: &str) -> Error {
    Error::not_found(format!("No Experiment with id={id} exists"))
}

/// A name of an experiment.
pub fn experiment_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("Invalid experiment name: ''"));
    }
    length("name", limits::EXPERIMENT_NAME_CHARS, name)
}

/// The length of an artifact location.
pub fn artifact_location_length(location: &str) -> Result<()> {
    if longer_than(location, ARTIFACT_LOCATION_CHARS) {
        return Err(Error::invalid(format!(
            "Invalid artifact path length. The length of the artifact path cannot be greater than \
             {ARTIFACT_LOCATION_CHARS} characters."
        )));
    }
    Ok(())
}

/// A name of a logged model.
pub fn logged_model_name(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(['/', ':', '.', '%', '"', '\'']) {
        return Err(Error::invalid(format!(
            "Invalid model name ({}) provided. Model name must be a non-empty string and cannot contain the following \
             characters: ('/', ':', '.', '%', '\"', \"'\")",
            text::quoted(name)
        )));
    }
    Ok(())
}

/// Datasets that go into a run.
pub fn dataset_inputs(inputs: &[DatasetInput]) -> Result<()> {
    for (index, input) in inputs.iter().enumerate() {
        let dataset = &input.dataset;
        for (what, text) in [("name", &dataset.name), ("digest", &dataset.digest)] {
            if text.is_empty() {
                return Err(Error::invalid(format!(
                    "Missing value for required parameter 'datasets[{index}].dataset.{what}'."
                )));
            }
        }
        length("name", DATASET_NAME_CHARS, &dataset.name)?;
        length("digest", DATASET_DIGEST_CHARS, &dataset.digest)?;
        length("source", DATASET_SOURCE_CHARS, &dataset.source)?;
        length("schema", DATASET_SCHEMA_CHARS, dataset.schema.as_deref().unwrap_or_default())?;
        length("profile", DATASET_PROFILE_CHARS, dataset.profile.as_deref().unwrap_or_default())?;
        for (key, value) in &input.tags {
            length("key", INPUT_TAG_KEY_CHARS, key)?;
            length("value", INPUT_TAG_VALUE_CHARS, value)?;
        }
    }
    Ok(())
}

/// A page size of a search.
pub fn max_results(max_results: i64, at_most: usize) -> Result<usize> {
    let refuse = |why: String| {
        Error::invalid(format!("Invalid value {max_results} for parameter 'max_results' supplied. {why}"))
    };
    match usize::try_from(max_results) {
        Ok(0) | Err(_) => Err(refuse("It must be a positive integer".into())),
        Ok(count) if count > at_most => Err(refuse(format!("It must be at most {at_most}"))),
        Ok(count) => Ok(count),
    }
}

/// An optional text whose empty form means absent.
pub fn present<'a>(text: Option<&'a Cow<'a, str>>) -> Option<&'a str> {
    text.map(AsRef::as_ref).filter(|text: &&str| !text.is_empty())
}

#[cfg(test)]
mod tests;
