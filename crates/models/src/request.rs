//! A request of `/invocations`, read into an Arrow batch that suits the model's signature.
//!
//! The forms and their statuses are MLflow's. What differs is told in docs/models.md: a cast that would change a value is
//! refused, and sentences name the column.

mod arrow_body;
mod columns;
mod csv_body;
mod params;
mod tensors;

use arrow_array::RecordBatch;

pub(crate) use columns::JSON_COLUMN;
pub(crate) use tensors::{DTYPE, SHAPE};

use crate::json::Json;
use crate::signature::{Column, Kind, Schema, Signature};

/// In the metadata of a batch whose columns have no names: they are 0, 1, 2 …
pub(crate) const NAMELESS: &str = "runlake.nameless";

/// What a body may be. A parameter of the content type other than its charset is refused, as MLflow does.
const CONTENT_TYPES: [(&str, Form); 5] = [
    ("text/csv", Form::Csv),
    ("application/json", Form::Json),
    ("application/vnd.apache.parquet", Form::Parquet),
    ("application/vnd.apache.arrow.stream", Form::ArrowStream),
    ("application/x-apache-arrow", Form::ArrowStream),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Json,
    Parquet,
    ArrowStream,
}

/// A request, ready for the model.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to score.
    pub input: Input,
    /// `params` as a JSON object, those that the signature knows.
    pub params: Option<String>,
    /// Whether the answer is the predictions alone, as for bodies in the form of a chat.
    pub is_bare: bool,
}

/// What a model is given.
#[derive(Debug, Clone)]
pub enum Input {
    /// A table.
    Frame(RecordBatch),
    /// Tensors, each one value of a batch of one row.
    Tensors(RecordBatch),
    /// A JSON text whose lists become numpy arrays: `inputs` of a model without a signature.
    Arrays(String),
    /// A JSON text that the model takes as it is.
    Plain(String),
}

impl Input {
    /// The rows of a table; one of anything else.
    pub fn rows(&self) -> usize {
        match self {
            Self::Frame(batch) => batch.num_rows(),
            _ => 1,
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status of HTTP.
    pub status: u16,
    /// MLflow's word for it.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

impl Refused {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: 400, code: "BAD_REQUEST", message: message.into() }
    }

    fn schema(message: impl Into<String>) -> Self {
        Self { status: 400, code: "INVALID_PARAMETER_VALUE", message: message.into() }
    }

    fn content(message: impl Into<String>) -> Self {
        Self { status: 415, code: "BAD_REQUEST", message: message.into() }
    }
}

type Result<T, E = Refused> = std::result::Result<T, E>;

/// A table as it was sent: a name for each column, if there are names, and its values.
pub(super) struct Frame<'a> {
    names: Option<Vec<String>>,
    columns: Vec<Vec<&'a Json>>,
    rows: usize,
    /// Whether binary columns are base64, which they are in the forms of a data frame only.
    is_base64: bool,
}

/// Reads a body.
pub fn read(content_type: Option<&str>, body: &[u8], signature: Option<&Signature>) -> Result<Request> {
    let inputs = signature.and_then(|signature| signature.inputs.as_ref());
    let frame = |input| Request { input: Input::Frame(input), params: None, is_bare: false };
    match form(content_type)? {
        Form::Json => of_json(body, signature),
        Form::Csv => csv_body::read(body, inputs).map(frame),
        Form::Parquet => arrow_body::parquet(body, inputs).map(frame),
        Form::ArrowStream => arrow_body::stream(body, inputs).map(frame),
    }
}

fn form(content_type: Option<&str>) -> Result<Form> {
    let text = content_type.unwrap_or_default();
    let mut parts = text.split(';');
    let name = parts.next().unwrap_or_default().trim();
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim().trim_matches('"');
        if !key.trim().eq_ignore_ascii_case("charset") {
            return Err(Refused::content(format!(
                "the content type has the parameter {:?}, which is unknown; only charset=utf-8 may follow the type",
                key.trim()
            )));
        }
        if !value.eq_ignore_ascii_case("utf-8") && !value.eq_ignore_ascii_case("utf8") {
            return Err(Refused::content(format!("the charset {value:?} is not read; send UTF-8")));
        }
    }
    CONTENT_TYPES.iter().find(|(known, _)| *known == name).map(|(_, form)| *form).ok_or_else(|| {
        let all: Vec<&str> = CONTENT_TYPES.iter().map(|(known, _)| *known).collect();
        Refused::content(format!("the content type {text:?} is not read; send one of {}", all.join(", ")))
    })
}

const FORMS: [&str; 4] = ["dataframe_split", "dataframe_records", "instances", "inputs"];

fn of_json(body: &[u8], signature: Option<&Signature>) -> Result<Request> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Refused::bad(format!("the body is no UTF-8 (byte {})", error.valid_up_to() + 1)))?;
    let value = Json::parse(text).map_err(|problem| Refused::bad(format!("the body is no JSON: {problem}")))?;
    let wanted = "send a JSON object with one of dataframe_split, dataframe_records, instances, inputs";
    let Json::Map(entries) = &value else {
        return Err(Refused::bad(format!("the body is {}; {wanted}", value.kind())));
    };
    // Bodies in the form of a chat or an agent's request go to the model as they are.
    if value.get("messages").is_some_and(|messages| matches!(messages, Json::List(_))) || value.get("input").is_some() {
        return Ok(Request { input: Input::Plain(text.to_owned()), params: None, is_bare: true });
    }
    let given: Vec<&str> = FORMS.into_iter().filter(|form| entries.iter().any(|(key, _)| key == form)).collect();
    let [form] = given[..] else {
        let found = if given.is_empty() { "none of them".to_owned() } else { given.join(" and ") };
        let keys: Vec<&str> = entries.iter().take(20).map(|(key, _)| key.as_str()).collect();
        return Err(Refused::bad(format!("the body has {found}, among the keys {keys:?}; {wanted}")));
    };
    let content = value.get(form).expect("it was found among the keys");
    let params = match (value.get("params"), signature) {
        (Some(given), Some(signature)) => params::read(given, signature.params.as_deref())?,
        _ => None,
    };
    let input = of_form(form, content, signature.and_then(|signature| signature.inputs.as_ref()))?;
    Ok(Request { input, params, is_bare: false })
}

fn of_form(form: &str, content: &Json, inputs: Option<&Schema>) -> Result<Input> {
    match form {
        "dataframe_split" => enforce(&split(content)?, inputs).map(Input::Frame),
        "dataframe_records" => {
            let Json::List(rows) = content else {
                return Err(Refused::bad(format!(
                    "dataframe_records is {}; it is to be a list of objects, one for each row",
                    content.kind()
                )));
            };
            let rows: Vec<&Json> = rows.iter().collect();
            enforce(&records(&rows, true)?, inputs).map(Input::Frame)
        }
        _ => match inputs {
            None => Ok(Input::Arrays(instances(form, content)?.to_text())),
            Some(Schema::Tensors(specs)) => tensors::read(form, content, specs),
            Some(Schema::Columns(columns)) => enforce(&table(form, content, columns)?, inputs).map(Input::Frame),
        },
    }
}

/// `{"columns": [...], "data": [[...], ...]}`.
fn split(content: &Json) -> Result<Frame<'_>> {
    let Json::Map(entries) = content else {
        return Err(Refused::bad(format!(
            "dataframe_split is {}; it is to be an object with data and columns",
            content.kind()
        )));
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !matches!(key.as_str(), "columns" | "data" | "index")) {
        return Err(Refused::bad(format!("dataframe_split has the key {key:?}; it may have columns, index and data")));
    }
    let Some(Json::List(rows)) = content.get("data") else {
        return Err(Refused::bad("dataframe_split has no data, the list of its rows"));
    };
    let names = match content.get("columns") {
        None | Some(Json::Null) => None,
        Some(Json::List(names)) => Some(names.iter().map(label).collect::<Vec<_>>()),
        Some(other) => {
            return Err(Refused::bad(format!("columns of dataframe_split is {}; it is to be a list", other.kind())));
        }
    };
    if let Some(Json::List(index)) = content.get("index")
        && index.len() != rows.len()
    {
        return Err(Refused::bad(format!(
            "index of dataframe_split has {} entries, and data has {} rows",
            index.len(),
            rows.len()
        )));
    }
    let first = rows.first().map_or(0, |row| if let Json::List(cells) = row { cells.len() } else { 1 });
    let width = names.as_ref().map_or(first, Vec::len);
    let mut columns: Vec<Vec<&Json>> = (0..width).map(|_| Vec::with_capacity(rows.len())).collect();
    for (number, row) in rows.iter().enumerate() {
        let Json::List(cells) = row else {
            return Err(Refused::bad(format!(
                "row {number} of dataframe_split is {}; it is to be a list of the row's values",
                row.kind()
            )));
        };
        if cells.len() != width {
            return Err(Refused::bad(format!(
                "row {number} of dataframe_split has {} values, and there are {width} columns",
                cells.len()
            )));
        }
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.push(cell);
        }
    }
    Ok(Frame { names, columns, rows: rows.len(), is_base64: true })
}

fn label(name: &Json) -> String {
    if let Json::Text(text) = name { text.clone() } else { name.to_text() }
}

/// `[{"a": 1, "b": 2}, ...]`; what a row lacks is null.
fn records<'a>(rows: &[&'a Json], is_base64: bool) -> Result<Frame<'a>> {
    const ABSENT: &Json = &Json::Null;
    let mut places = std::collections::HashMap::new();
    let mut names = Vec::new();
    let mut columns: Vec<Vec<&Json>> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let Json::Map(entries) = row else {
            return Err(Refused::bad(format!(
                "row {number} is {}; each row is to be an object from column names to values",
                row.kind()
            )));
        };
        for (name, value) in entries {
            let place = *places.entry(name.as_str()).or_insert_with(|| {
                names.push(name.clone());
                columns.push(vec![ABSENT; number]);
                columns.len() - 1
            });
            columns[place].push(value);
        }
        for column in &mut columns {
            column.resize(number + 1, ABSENT);
        }
    }
    Ok(Frame { names: Some(names), columns, rows: rows.len(), is_base64 })
}

/// `instances` of rows as `inputs` of columns, for models without a signature.
fn instances(form: &str, content: &Json) -> Result<Json> {
    let Json::List(rows) = content else { return Ok(content.clone()) };
    if form != "instances" || !matches!(rows.first(), Some(Json::Map(_))) {
        return Ok(content.clone());
    }
    tensors::by_name(rows)
}

/// `inputs` or `instances` for a model that takes columns.
fn table<'a>(form: &str, content: &'a Json, columns: &[Column]) -> Result<Frame<'a>> {
    let has_names = columns.iter().all(|column| column.name.is_some());
    match content {
        Json::Map(entries) if has_names => {
            let is_one = is_one_row(entries, columns);
            let mut frame = Frame { names: Some(Vec::new()), columns: Vec::new(), rows: 1, is_base64: false };
            let mut rows = None;
            for (name, value) in entries {
                let cells: Vec<&Json> = match value {
                    Json::List(cells) if !is_one => cells.iter().collect(),
                    value => vec![value],
                };
                if !is_one && *rows.get_or_insert(cells.len()) != cells.len() {
                    return Err(Refused::bad(format!(
                        "column {name:?} of {form} has {} values, and the columns before it have {}",
                        cells.len(),
                        rows.unwrap_or(0)
                    )));
                }
                frame.rows = cells.len();
                frame.names.get_or_insert_default().push(name.clone());
                frame.columns.push(cells);
            }
            Ok(frame)
        }
        Json::List(rows) if matches!(rows.first(), Some(Json::Map(_))) => {
            records(&rows.iter().collect::<Vec<_>>(), false)
        }
        Json::List(rows) if !has_names || rows.iter().all(|row| matches!(row, Json::List(_))) => {
            let width = rows.first().map_or(0, |row| if let Json::List(cells) = row { cells.len() } else { 1 });
            let mut frame = Frame { names: None, columns: vec![Vec::new(); width], rows: rows.len(), is_base64: false };
            for (number, row) in rows.iter().enumerate() {
                let cells: Vec<&Json> = match row {
                    Json::List(cells) => cells.iter().collect(),
                    other => vec![other],
                };
                if cells.len() != width {
                    return Err(Refused::bad(format!(
                        "row {number} of {form} has {} values, and the rows before it have {width}",
                        cells.len()
                    )));
                }
                for (column, cell) in frame.columns.iter_mut().zip(cells) {
                    column.push(cell);
                }
            }
            Ok(frame)
        }
        other => Err(Refused::bad(format!(
            "{form} is {}, and the model takes the columns {}; send an object from column names to lists of values",
            other.kind(),
            shown_names(columns)
        ))),
    }
}

/// Whether an object is one row rather than columns: a simple column has a simple value, or an object stands where the
/// signature has one.
fn is_one_row(entries: &[(String, Json)], columns: &[Column]) -> bool {
    entries.iter().any(|(name, value)| {
        let kind = columns.iter().find(|column| column.name.as_ref() == Some(name)).map(|column| &column.kind);
        match (kind, value) {
            (Some(Kind::Object(_) | Kind::Map(_)), Json::Map(_)) => true,
            (Some(Kind::Array(_)), Json::List(items)) => items.iter().any(Json::is_scalar),
            (Some(Kind::Any), _) | (None, _) => false,
            (_, value) => value.is_scalar(),
        }
    })
}

fn shown_names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_deref().unwrap_or("(no name)")).collect();
    names.join(", ")
}

/// The table that the signature asks for: its columns in its order, and no others.
fn enforce(frame: &Frame<'_>, inputs: Option<&Schema>) -> Result<RecordBatch> {
    let columns = match inputs {
        Some(Schema::Columns(columns)) => columns,
        Some(Schema::Tensors(specs)) => return columns::of_tensor(frame, specs),
        None => return columns::inferred(frame),
    };
    let places = places(frame.names.as_deref(), frame.columns.len(), columns)?;
    let mut built = Vec::with_capacity(places.len());
    for (column, place) in places {
        let name = column.name.clone().or_else(|| Some(frame.names.as_ref()?[place].clone()));
        let name = name.unwrap_or_else(|| place.to_string());
        built.push(columns::build(&name, &column.kind, &frame.columns[place], frame.is_base64)?);
    }
    let is_nameless = columns.iter().all(|column| column.name.is_none()) && frame.names.is_none();
    columns::batch(built, frame.rows, is_nameless)
}

/// Where the columns of the signature stand among those that were sent.
fn places<'a>(names: Option<&[String]>, sent: usize, columns: &'a [Column]) -> Result<Vec<(&'a Column, usize)>> {
    if columns.iter().any(|column| column.name.is_none()) {
        if sent < columns.len() {
            return Err(Refused::schema(format!(
                "the model takes {} columns without names, and {sent} were sent",
                columns.len()
            )));
        }
        return Ok(columns.iter().zip(0..).collect());
    }
    let names = names.unwrap_or_default();
    let mut places = Vec::with_capacity(columns.len());
    let mut missing = Vec::new();
    for column in columns {
        match names.iter().position(|name| Some(name) == column.name.as_ref()) {
            Some(place) => places.push((column, place)),
            None if column.is_required => missing.push(column.name.as_deref().unwrap_or_default()),
            None => {}
        }
    }
    if missing.is_empty() {
        return Ok(places);
    }
    let extra: Vec<&str> = names
        .iter()
        .filter(|name| columns.iter().all(|column| column.name.as_ref() != Some(name)))
        .map(String::as_str)
        .take(20)
        .collect();
    let mut message = format!("the model needs the columns {missing:?}, which were not sent");
    if sent > 0 && names.is_empty() {
        message += "; the columns sent have no names: add columns to the body";
    } else if !extra.is_empty() {
        message += &format!("; it does not know {extra:?}, which were");
    }
    Err(Refused::schema(message))
}

#[cfg(test)]
mod tests;
