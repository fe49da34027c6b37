//! Values of parameters and of checks.

use std::fmt;

use serde_json::Value as Json;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// Anything else, times too.
    Text(String),
}

impl Value {
    /// As a number, if it is one.
    #[allow(clippy::cast_precision_loss, reason = "checks reckon in doubles")]
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
        }
    }

    /// As JSON; what JSON does not have is null.
    pub fn json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// As people read it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("–"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(number) => f.write_str(&grouped(&number.to_string())),
            Self::Float(number) => f.write_str(&float(*number, None)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A number with six digits that count, or with so many after the point.
pub(crate) fn float(number: f64, digits: Option<usize>) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "∞" } else { "−∞" }.to_owned();
    }
    if let Some(digits) = digits {
        return grouped(&format!("{number:.digits$}"));
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        let text = format!("{number:.4e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", trimmed(digits));
    }
    #[allow(clippy::cast_possible_truncation, reason = "between -4 and 15")]
    let magnitude = if size == 0.0 { 0 } else { size.log10().floor() as i32 };
    let after = usize::try_from(5 - magnitude).unwrap_or(0);
    grouped(trimmed(&format!("{number:.after$}")))
}

/// Without zeros at the end of the part behind the point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// `1234567.5` as `1,234,567.5`. Numbers of four digits, such as years and steps, stay.
pub(crate) fn grouped(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("−", rest));
    let (whole, part) = rest.find('.').map_or((rest, ""), |at| rest.split_at(at));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if whole.len() > 4 && at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{part}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_readers() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "−0"),
            (0.1 + 0.2, "0.3"),
            (1234.5, "1234.5"),
            (12345.678, "12,345.7"),
            (-1_234_567.89, "−1,234,568"),
            (0.000_123_456_78, "0.000123457"),
            (0.000_012_345_678, "1.2346e-5"),
            (1e20, "1e20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "−∞"),
        ] {
            assert_eq!(float(number, None), text, "{number}");
        }
        assert_eq!(float(0.98765, Some(2)), "0.99");
        assert_eq!(Value::Int(2026).to_string(), "2026");
        assert_eq!(Value::Int(-1_000_000).to_string(), "−1,000,000");
    }
}
