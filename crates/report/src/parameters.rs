//! Parameters: declared in the front matter with a type, given on the command line, bound into SQL.

use indexmap::IndexMap;
use serde::Deserialize;

use crate::error::invalid;
use crate::{Result, Value};

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Any text.
    #[default]
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A time as RFC 3339 writes it; bound as a text, which SQL compares with times.
    Time,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "an integer such as 10",
            Self::Number => "a number such as 0.5",
            Self::Boolean => "true or false",
            Self::Time => "a time such as 2026-05-03T12:00:00Z",
        }
    }

    fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::Integer => text.parse().ok().map(Value::Int),
            Self::Number => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
            Self::Boolean => text.parse().ok().map(Value::Bool),
            Self::Time => is_time(text).then(|| Value::Text(text.to_owned())),
        }
    }
}

/// Whether it looks like a date, or a date with a time.
fn is_time(text: &str) -> bool {
    let digits = |text: &str, wanted: &str| {
        text.len() == wanted.len()
            && text.bytes().zip(wanted.bytes()).all(|(found, wanted)| match wanted {
                b'0' => found.is_ascii_digit(),
                _ => found == wanted,
            })
    };
    let Some((date, time)) = text.split_once('T') else { return digits(text, "0000-00-00") };
    let Some(time) = time.strip_suffix('Z') else { return false };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    digits(date, "0000-00-00")
        && digits(time, "00:00:00")
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// A parameter as the front matter declares it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it may be.
    #[serde(rename = "type", default)]
    pub kind: Kind,
    /// What it is when not given; without one it must be given.
    pub default: Option<toml::Value>,
    /// All it may be.
    #[serde(default)]
    pub choices: Vec<toml::Value>,
    /// What it means.
    pub description: Option<String>,
}

/// The value of each declared parameter: the given one, or else the default.
pub(crate) fn bind(
    declared: &IndexMap<String, Parameter>,
    given: &[(String, String)],
) -> Result<IndexMap<String, Value>> {
    let mut texts: IndexMap<&str, &str> = IndexMap::new();
    for (name, text) in given {
        if !declared.contains_key(name) {
            let known: Vec<&str> = declared.keys().map(String::as_str).collect();
            let known =
                if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            return invalid(format!("the report has no parameter {name}; {known}"));
        }
        texts.insert(name, text);
    }
    let value = |(name, parameter): (&String, &Parameter)| {
        let default = parameter.default.as_ref().map(text_of);
        let Some(text) = texts.get(name.as_str()).map(|text| (*text).to_owned()).or(default) else {
            let what = parameter.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
            return invalid(format!("the parameter {name}{what} has no default: give it with -P {name}=VALUE"));
        };
        let Some(value) = parameter.kind.read(&text) else {
            return invalid(format!("the parameter {name} is {}, not {text:?}", parameter.kind.name()));
        };
        let choices: Vec<String> = parameter.choices.iter().map(text_of).collect();
        if !choices.is_empty() && !choices.contains(&text) {
            return invalid(format!("the parameter {name} is one of {}, not {text:?}", choices.join(", ")));
        }
        Ok((name.clone(), value))
    };
    declared.iter().map(value).collect()
}

/// As it would be given on the command line.
fn text_of(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(value) => value.to_string(),
        toml::Value::Datetime(time) => time.to_string(),
        // No parameter is one, so that reading it fails with a message.
        toml::Value::Array(_) | toml::Value::Table(_) => "a list or table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> IndexMap<String, Parameter> {
        toml::from_str(
            "experiment = {}\ntop = { type = 'integer', default = 10 }\nbetter = { default = 'lower', choices = ['lower', 'higher'] }\n\
             since = { type = 'time', default = '2026-01-01' }\nshare = { type = 'number', default = 0.5 }",
        )
        .expect("parameters")
    }

    fn bound(given: &[(&str, &str)]) -> Result<IndexMap<String, Value>> {
        let given: Vec<_> = given.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        bind(&declared(), &given)
    }

    #[test]
    fn values_have_the_declared_type() {
        let values = bound(&[("experiment", "it's; DROP"), ("share", "2")]).expect("values");
        assert_eq!(values["experiment"], Value::Text("it's; DROP".into()));
        assert_eq!(values["top"], Value::Int(10));
        assert_eq!(values["share"], Value::Float(2.0));
        for (given, told) in [
            (&[][..], "-P experiment=VALUE"),
            (&[("experiment", "e"), ("top", "ten")], "an integer"),
            (&[("experiment", "e"), ("better", "best")], "one of lower, higher"),
            (&[("experiment", "e"), ("since", "yesterday")], "a time such as"),
            (&[("experiment", "e"), ("tpo", "1")], "no parameter tpo"),
            (&[("experiment", "e"), ("share", "NaN")], "a number"),
        ] {
            let error = bound(given).expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
        for (text, is_one) in [
            ("2026-01-01", true),
            ("2026-01-01T10:00:00Z", true),
            ("2026-01-01T10:00:00.5Z", true),
            ("2026-1-1", false),
        ] {
            assert_eq!(is_time(text), is_one, "{text}");
        }
    }
}
