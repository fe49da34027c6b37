//! A request's fields as MLflow's server reads them: tolerant of spelling, precise about what is wrong.
//!
//! A body is a JSON object (or a JSON string that holds one; broken JSON counts as an empty object); a GET carries
//! the same fields as query parameters, where a list is a repeated parameter. Unknown fields are ignored, `null` is
//! an absent field, `int64` values may be strings or integral floats, doubles may be `"NaN"` or `"Infinity"`.
//! The messages are MLflow's own, as its clients match them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::error::{ApiError, Code, Result};

/// Characters of a wrong value that an error message repeats at most.
const SHOWN_CHARS: usize = 300;

/// The fields of one request, or of an object inside one.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    /// Where this object sits in the request, with its trailing dot; empty for the request itself.
    path: String,
    /// Whether the fields come from a query string: every value is then a list of texts.
    from_query: bool,
    /// Whether there was a body, and it was no JSON.
    broken: bool,
}

impl Fields {
    /// Reads a JSON body. Never fails: what is not an object has no fields.
    pub(crate) fn from_json(body: &[u8]) -> Self {
        let value = match parse_json(body) {
            Some(Value::String(inner)) => parse_json(inner.as_bytes()),
            other => other,
        };
        let broken = value.is_none() && !body.trim_ascii().is_empty();
        let values = match value {
            Some(Value::Object(values)) => values,
            _ => Map::new(),
        };
        Self { values, broken, ..Self::default() }
    }

    /// Reads the JSON body of a route that takes no other fields than `known`; an empty body has none.
    pub(crate) fn strict(body: &[u8], known: &[&str]) -> Result<Self> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value = serde_json::from_slice(body).map_err(|error| {
            ApiError::new(Code::BadRequest, format!("The request body is not valid JSON: {error}."))
        })?;
        let Value::Object(values) = value else {
            return Err(ApiError::new(
                Code::BadRequest,
                format!("The request body is not a JSON object but a {}.", type_name(&value)),
            ));
        };
        let fields = Self { values, ..Self::default() };
        fields.only(known)?;
        Ok(fields)
    }

    /// Refuses fields besides `known`: a field that is misspelt would have no effect.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        let Some(unknown) = self.values.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
        let known = if known.is_empty() { "no fields".to_owned() } else { format!("only {}", known.join(", ")) };
        Err(ApiError::invalid(format!("Unknown field '{unknown}': this route takes {known}.")))
    }

    /// Reads a query string, without its `?`.
    pub(crate) fn from_query(query: &str) -> Self {
        let mut values = Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let list = values.entry(decode_query(name)).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(Value::String(decode_query(value)));
            }
        }
        Self { values, from_query: true, ..Self::default() }
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A text that must be there and not be empty.
    pub(crate) fn required_text(&self, name: &str) -> Result<String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.missing(name))
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.raw(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// The run a request is about: `run_id`, or `run_uuid` as old clients call it.
    pub(crate) fn run_id(&self) -> Result<String> {
        match self.text("run_id")?.filter(|id| !id.is_empty()) {
            Some(id) => Ok(id),
            None => self.text("run_uuid")?.filter(|id| !id.is_empty()).ok_or_else(|| self.missing("run_id")),
        }
    }

    /// An integer that must be there.
    pub(crate) fn required_int(&self, name: &str) -> Result<i64> {
        match self.raw(name) {
            Some(Value::String(text)) if text.is_empty() => Err(self.missing(name)),
            _ => self.int(name)?.ok_or_else(|| self.missing(name)),
        }
    }

    /// An integer: a number, an integral float or a text of digits.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        int_of(value).map(Some).ok_or_else(|| self.invalid(name, value))
    }

    /// A double that must be there.
    pub(crate) fn required_float(&self, name: &str) -> Result<f64> {
        match self.raw(name) {
            None => Err(self.missing(name)),
            Some(Value::String(text)) if text.is_empty() => Err(self.missing(name)),
            Some(value) => float_of(value).ok_or_else(|| self.invalid(name, value)),
        }
    }

    /// A truth value; in a query string `true` or `false` in any case.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>> {
        match self.raw(name) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(Value::String(text)) if self.from_query => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(ApiError::invalid(format!("Invalid boolean value: {text}, must be 'true' or 'false'."))),
            },
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// A list of texts; absent is empty.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let Some(list) = self.list(name)? else { return Ok(Vec::new()) };
        list.iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| self.invalid(name, &Value::Array(list.clone())))
    }

    /// A list of objects; absent is empty.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>> {
        let Some(list) = self.list(name)? else { return Ok(Vec::new()) };
        list.iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::Object(values) => Ok(self.inside(&format!("{name}[{index}]"), values)),
                _ => Err(self.invalid(name, &Value::Array(list.clone()))),
            })
            .collect()
    }

    /// An object inside this one.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>> {
        match self.raw(name) {
            None => Ok(None),
            Some(Value::Object(values)) => Ok(Some(self.inside(name, values))),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// A member of an enumeration by name or number. What is neither is ignored, as MLflow does.
    pub(crate) fn member<T>(&self, name: &str, of_name: impl Fn(&str) -> Option<T>, names: &[&str]) -> Option<T> {
        let value = self.raw(name)?;
        if let Some(text) = value.as_str()
            && let Some(member) = of_name(text)
        {
            return Some(member);
        }
        let number = usize::try_from(int_of(value)?).ok()?;
        of_name(names.get(number.checked_sub(1)?)?)
    }

    /// The error for a required field that is not there.
    pub(crate) fn missing(&self, name: &str) -> ApiError {
        let hint = if self.broken { " The request body is not valid JSON." } else { "" };
        ApiError::invalid(format!(
            "Missing value for required parameter '{}{name}'. See the API docs for more information about request \
             parameters.{hint}",
            self.path
        ))
    }

    fn invalid(&self, name: &str, value: &Value) -> ApiError {
        ApiError::invalid(format!(
            "Invalid value {} for parameter '{}{name}' supplied:  Hint: Value was of type '{}'. See the API docs for \
             more information about request parameters.",
            shown(value),
            self.path,
            type_name(value)
        ))
    }

    fn inside(&self, step: &str, values: &Map<String, Value>) -> Self {
        Self { values: values.clone(), path: format!("{}{step}.", self.path), ..Self::default() }
    }

    fn list(&self, name: &str) -> Result<Option<&Vec<Value>>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// The value as sent: in a query string the first one of that name.
    fn raw(&self, name: &str) -> Option<&Value> {
        match self.value(name)? {
            Value::Array(list) if self.from_query => list.first(),
            value => Some(value),
        }
    }

    /// By its name, or the same in camel case, which protobuf JSON allows as well.
    fn value(&self, name: &str) -> Option<&Value> {
        let value = match self.values.get(name) {
            None if name.contains('_') => self.values.get(&camel_case(name)),
            found => found,
        };
        value.filter(|value| !value.is_null())
    }
}

/// An integer in one of the ways protobuf JSON writes one.
fn int_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| integral(number.as_f64()?)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A float without a fraction as an integer.
#[allow(clippy::cast_possible_truncation, reason = "checked to be integral and within range")]
pub(crate) fn integral(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64)
}

fn float_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn parse_json(text: &[u8]) -> Option<Value> {
    match serde_json::from_slice(text) {
        Ok(value) => Some(value),
        Err(_) => serde_json::from_slice(&quote_bare_doubles(text)?).ok(),
    }
}

/// Puts quotes around the tokens `NaN`, `Infinity` and `-Infinity`, which Python's `json` writes and reads although
/// JSON has no such numbers. `None` when there is none.
fn quote_bare_doubles(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    const TOKENS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut quoted = Vec::new();
    let (mut at, mut copied, mut in_string) = (0, 0, false);
    while at < text.len() {
        match text[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'N' | b'I' | b'-' if !in_string => {
                if let Some(token) = TOKENS.iter().find(|token| text[at..].starts_with(token)) {
                    quoted.extend_from_slice(&text[copied..at]);
                    quoted.push(b'"');
                    quoted.extend_from_slice(token);
                    quoted.push(b'"');
                    at += token.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (copied > 0).then(|| {
        quoted.extend_from_slice(&text[copied..]);
        Cow::Owned(quoted)
    })
}

fn decode_query(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// What Python calls the type; part of MLflow's message.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

#[cfg(test)]
mod tests;
