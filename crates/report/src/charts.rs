//! Charts: a Vega-Lite specification with the rows of cells as its data becomes an SVG picture.

#[cfg(feature = "charts")]
mod engine;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use crate::Value;
use crate::answer::Answer;

/// A specification that is ready to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    spec: Json,
    /// What it shows, for those who do not see it.
    pub(crate) title: Option<String>,
}

/// Keys below which `field` is not a column of the data: selections name projections of their own.
const NOT_DATA: [&str; 4] = ["data", "datasets", "params", "config"];

impl Chart {
    /// A chart of `spec`, whose data are the rows of the cells in `data`; the first is what the whole chart shows unless a
    /// part of it names another.
    pub(crate) fn new(
        spec: &str,
        data: &[(&str, &Answer)],
        parameters: &IndexMap<String, Value>,
    ) -> Result<Self, String> {
        let mut spec: Json = serde_json::from_str(spec).map_err(|error| format!("it is no JSON: {error}"))?;
        let Some(top) = spec.as_object_mut() else { return Err("it is no JSON object".to_owned()) };
        if top.get("data").is_some_and(|data| data.get("url").is_some()) {
            return Err("its data come from cells (data=…), not from a url".to_owned());
        }
        let mut known: Vec<String> =
            data.iter().flat_map(|(_, answer)| &answer.columns).map(|column| column.name.clone()).collect();
        derived(&Json::Object(top.clone()), &mut known);
        for (key, part) in top.iter_mut() {
            if !NOT_DATA.contains(&key.as_str()) {
                check_fields(part, &known)?;
            }
        }
        let mut sets = Map::new();
        for (name, answer) in data {
            sets.insert((*name).to_owned(), rows(answer));
        }
        if let Some((name, _)) = data.first()
            && top.get("data").is_none()
        {
            top.insert("data".to_owned(), json!({ "name": name }));
        }
        top.insert("datasets".to_owned(), Json::Object(sets));
        declare(top, parameters);
        let title = match top.get("title") {
            Some(Json::String(title)) => Some(title.clone()),
            Some(title) => title.get("text").and_then(Json::as_str).map(str::to_owned),
            None => top.get("description").and_then(Json::as_str).map(str::to_owned),
        };
        Ok(Self { spec, title })
    }
}

/// The report's parameters as those of the chart, so that expressions can name them.
fn declare(top: &mut Map<String, Json>, parameters: &IndexMap<String, Value>) {
    let given = top.entry("params").or_insert_with(|| json!([]));
    let Some(given) = given.as_array_mut() else { return };
    for (name, value) in parameters {
        if !given.iter().any(|one| one.get("name").and_then(Json::as_str) == Some(name)) {
            given.push(json!({ "name": name, "value": value.json() }));
        }
    }
}

/// Names of columns that transforms add.
fn derived(part: &Json, known: &mut Vec<String>) {
    match part {
        Json::Array(parts) => parts.iter().for_each(|part| derived(part, known)),
        Json::Object(parts) => {
            for (key, part) in parts {
                match (key.as_str(), part) {
                    ("as", Json::String(name)) => known.push(name.clone()),
                    ("as", Json::Array(names)) => {
                        known.extend(names.iter().filter_map(Json::as_str).map(str::to_owned));
                    }
                    // Their names are not written out in the specification.
                    ("fold", _) => known.extend(["key".to_owned(), "value".to_owned()]),
                    (
                        "pivot" | "regression" | "loess" | "density" | "quantile" | "flatten" | "repeat" | "lookup",
                        _,
                    ) => {
                        known.push(ANY.to_owned());
                    }
                    _ => {}
                }
                derived(part, known);
            }
        }
        _ => {}
    }
}

/// Stands among known columns where a transform makes some whose names depend on the rows.
const ANY: &str = "\u{0}any";

/// Finds fields that no column answers, which Vega-Lite would draw as nothing, and escapes points in those that do.
fn check_fields(part: &mut Json, known: &[String]) -> Result<(), String> {
    match part {
        Json::Array(parts) => parts.iter_mut().try_for_each(|part| check_fields(part, known)),
        Json::Object(parts) => {
            for (key, part) in parts {
                if let ("field", Json::String(field)) = (key.as_str(), &mut *part) {
                    let plain = field.replace('\\', "");
                    if known.contains(field) || known.contains(&plain) {
                        *field = escaped(&plain);
                    } else if !known.iter().any(|name| name == ANY) {
                        let columns: Vec<&str> = known.iter().map(String::as_str).collect();
                        let columns = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
                        return Err(format!("there is no column {plain} in its data; there are: {columns}"));
                    }
                } else if !NOT_DATA.contains(&key.as_str()) {
                    check_fields(part, known)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A column's name as a path of one step.
fn escaped(name: &str) -> String {
    name.replace('.', "\\.").replace('[', "\\[").replace(']', "\\]")
}

/// Rows as objects. What is no finite number is null; times have milliseconds, as scripts know them.
fn rows(answer: &Answer) -> Json {
    let row = |row: &Vec<Json>| {
        let cells = answer.columns.iter().zip(row).map(|(column, value)| {
            let value = match value {
                Json::String(text) if column.is_float() => match text.parse::<f64>() {
                    Ok(number) => number.into(),
                    Err(_) => Json::Null,
                },
                Json::String(text) if column.is_time() => Json::String(millis(text)),
                other => other.clone(),
            };
            (column.name.clone(), value)
        });
        Json::Object(cells.collect())
    };
    answer.rows.iter().map(row).collect()
}

/// A time with three digits behind the point, in UTC.
fn millis(text: &str) -> String {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{fraction}Z")
}

/// Draws each chart; one that fails says why.
#[cfg(feature = "charts")]
pub(crate) fn draw(charts: &[&Chart]) -> Vec<Result<String, String>> {
    if charts.is_empty() {
        return Vec::new();
    }
    let specs: Vec<String> = charts.iter().map(|chart| chart.spec.to_string()).collect();
    engine::draw(specs)
}

/// Without the feature there is nobody to draw.
#[cfg(not(feature = "charts"))]
pub(crate) fn draw(charts: &[&Chart]) -> Vec<Result<String, String>> {
    let told = "this runlake was built without charts (cargo feature `charts`)";
    charts.iter().map(|chart| Err(format!("{told}: {} bytes were not drawn", chart.spec.to_string().len()))).collect()
}

#[cfg(test)]
mod tests;
