//! How a caller wants statements answered: options of its session, which a cookie carries, and headers of the single call.
//!
//! The cookie holds the options themselves, sealed, so that the server keeps no sessions.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use runlake_query::{DATABASE, PUBLIC};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use super::seal::Seal;
use crate::error::{ApiError, Result};
use crate::wire::{Options, Session};

/// The cookie that carries a session.
const COOKIE: &str = "runlake_flight";
/// What headers begin with that set an option of one call: `runlake-as-of` and so on.
const HEADER: &str = "runlake-";
/// Where statements look for names. Clients set these, too; there is one choice.
const FIXED: [(&str, &str); 2] = [("catalog", DATABASE), ("schema", PUBLIC)];

/// How the statements of a call are to be answered.
pub(super) fn of_call(seal: &Seal, metadata: &MetadataMap) -> Result<Options> {
    let mut options = Options::default();
    for name in Options::NAMES {
        let header = format!("{HEADER}{}", name.replace('_', "-"));
        let Some(value) = metadata.get(&header) else { continue };
        let text = value.to_str().map_err(|_| ApiError::invalid(format!("The header {header} is no text.")))?;
        options.set(name, text).transpose()?;
    }
    Ok(options.or(&of_session(seal, metadata)?))
}

fn of_session(seal: &Seal, metadata: &MetadataMap) -> Result<Options> {
    let lines = metadata.get_all("cookie").into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let Some((_, value)) = cookies.find(|(name, _)| *name == COOKIE).filter(|(_, value)| !value.is_empty()) else {
        return Ok(Options::default());
    };
    let sealed =
        URL_SAFE_NO_PAD.decode(value).map_err(|_| ApiError::invalid("The cookie of the session is broken."))?;
    Ok(Session::read(seal.open("cookie of the session", &sealed)?)?.options)
}

/// Sets options of a session; answers what was wrong with single ones, and the cookie of the session.
pub(super) fn set(
    seal: &Seal,
    metadata: &MetadataMap,
    request: SetSessionOptionsRequest,
) -> Result<(SetSessionOptionsResult, AsciiMetadataValue)> {
    // Whose cookie cannot be read begins a new session.
    let mut options = of_session(seal, metadata).unwrap_or_default();
    let mut result = SetSessionOptionsResult::default();
    for (name, value) in request.session_options {
        let outcome = match value.text() {
            None => Err(ErrorValue::InvalidValue),
            Some(text) => match FIXED.iter().find(|(fixed, _)| *fixed == name) {
                Some((_, only)) if text == *only || text.is_empty() => Ok(()),
                Some(_) => Err(ErrorValue::InvalidValue),
                None => match options.set(&name, &text) {
                    Some(set) => set.map_err(|_| ErrorValue::InvalidValue),
                    None => Err(ErrorValue::InvalidName),
                },
            },
        };
        if let Err(value) = outcome {
            result.errors.insert(name, SetError { value: value as i32 });
        }
    }
    let sealed = seal.close(&Session::new(seal.lake(), options).to_bytes());
    Ok((result, cookie(&URL_SAFE_NO_PAD.encode(sealed), "")?))
}

/// The options of a session.
pub(super) fn get(seal: &Seal, metadata: &MetadataMap) -> Result<GetSessionOptionsResult> {
    let texts = of_session(seal, metadata)?.texts();
    let fixed = FIXED.map(|(name, value)| (name, value.to_owned()));
    let named = |(name, text): (&str, String)| (name.to_owned(), SessionOptionValue::of_text(text));
    Ok(GetSessionOptionsResult { session_options: fixed.into_iter().chain(texts).map(named).collect() })
}

/// Ends a session: the cookie that says so.
pub(super) fn close() -> Result<(CloseSessionResult, AsciiMetadataValue)> {
    Ok((CloseSessionResult { status: CLOSED }, cookie("", "; Max-Age=0")?))
}

fn cookie(value: &str, more: &str) -> Result<AsciiMetadataValue> {
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly{more}");
    AsciiMetadataValue::try_from(cookie).map_err(|_| ApiError::internal("a cookie that no header takes"))
}

// Messages of Flight's protocol that the library does not have: https://arrow.apache.org/docs/format/FlightSql.html

/// A value of an option.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Float(f64),
    #[prost(message, tag = "5")]
    Texts(Texts),
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

impl SessionOptionValue {
    fn of_text(text: String) -> Self {
        Self { value: Some(Value::Text(text)) }
    }

    /// The value as a text; empty where the option is to be unset.
    fn text(&self) -> Option<String> {
        match &self.value {
            None => Some(String::new()),
            Some(Value::Text(text)) => Some(text.clone()),
            Some(Value::Bool(value)) => Some(value.to_string()),
            Some(Value::Int(value)) => Some(value.to_string()),
            Some(Value::Float(_) | Value::Texts(_)) => None,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(btree_map = "string, message", tag = "1")]
    session_options: BTreeMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(btree_map = "string, message", tag = "1")]
    errors: BTreeMap<String, SetError>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct SetError {
    #[prost(int32, tag = "1")]
    value: i32,
}

/// What is wrong with an option.
#[derive(Debug, Clone, Copy)]
enum ErrorValue {
    InvalidName = 1,
    InvalidValue = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(btree_map = "string, message", tag = "1")]
    session_options: BTreeMap<String, SessionOptionValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct CloseSessionResult {
    #[prost(int32, tag = "1")]
    status: i32,
}

const CLOSED: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(options: &[(&str, Value)]) -> SetSessionOptionsRequest {
        let named =
            |(name, value): &(&str, Value)| ((*name).to_owned(), SessionOptionValue { value: Some(value.clone()) });
        SetSessionOptionsRequest { session_options: options.iter().map(named).collect() }
    }

    fn with_cookie(cookie: &AsciiMetadataValue) -> MetadataMap {
        let text = cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let mut metadata = MetadataMap::new();
        metadata.insert("cookie", format!("other=1; {text}").parse().expect("a header"));
        metadata
    }

    #[test]
    fn a_session_is_its_cookie() {
        let seal = Seal::new("a");
        let first = asked(&[
            ("row_limit", Value::Int(5)),
            ("compression", Value::Text("zstd".into())),
            ("as_of", Value::Float(1.0)),
            ("colour", Value::Text("red".into())),
            ("catalog", Value::Text("runlake".into())),
            ("schema", Value::Text("mlflow".into())),
        ]);
        let (result, cookie) = set(&seal, &MetadataMap::new(), first).expect("set");
        let errors: Vec<(&str, i32)> = result.errors.iter().map(|(name, error)| (name.as_str(), error.value)).collect();
        assert_eq!(errors, [("as_of", 2), ("colour", 1), ("schema", 2)]);
        let (_, cookie) =
            set(&seal, &with_cookie(&cookie), asked(&[("dictionaries", Value::Bool(true))])).expect("set");
        let mut metadata = with_cookie(&cookie);
        let told = get(&seal, &metadata).expect("told").session_options;
        let names: Vec<&str> = told.keys().map(String::as_str).collect();
        assert_eq!(names, ["catalog", "compression", "dictionaries", "row_limit", "schema"]);
        metadata.insert("runlake-row-limit", "7".parse().expect("a header"));
        let options = of_call(&seal, &metadata).expect("options");
        assert_eq!((options.row_limit, options.dictionaries), (Some(7), Some(true)), "a header is for one call");
        assert!(of_call(&Seal::new("a"), &metadata).expect_err("another process").message().contains("cookie"));
        metadata.insert("runlake-as-of", "yesterday".parse().expect("a header"));
        assert!(of_call(&seal, &metadata).expect_err("no time").message().contains("as_of"));
        let (_, cookie) = close().expect("closed");
        assert_eq!(of_call(&seal, &with_cookie(&cookie)).expect("options"), Options::default());
    }
}
