//! How values are shown in messages that clients compare with MLflow's.

use std::fmt::Write as _;

/// A text as a JSON string, everything beyond ASCII escaped.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

/// A text as Python shows it: single quotes, unless only those occur within.
pub(crate) fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Texts as Python shows a list of them.
pub(crate) fn quoted_list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let shown: Vec<String> = texts.into_iter().map(quoted).collect();
    format!("[{}]", shown.join(", "))
}

/// A double as Python shows it.
pub(crate) fn float(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "nan".into()
    } else if value.is_infinite() {
        if value > 0.0 { "inf".into() } else { "-inf".into() }
    } else if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let shown = format!("{value:e}");
        let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        format!("{mantissa}e{sign}{digits:0>2}")
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_as_clients_know_them() {
        assert_eq!(json("a\"b\n"), "\"a\\\"b\\n\"");
        assert_eq!(json("é!😀"), "\"\\u00e9!\\ud83d\\ude00\"");
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("o\"ther"), "'o\"ther'");
        assert_eq!(quoted("both ' \""), "'both \\' \"'");
        assert_eq!(quoted("1\n2\u{1}"), "'1\\n2\\x01'");
        assert_eq!(quoted_list(["é", "q"]), "['é', 'q']");
    }

    #[test]
    fn floats_are_shown_as_clients_know_them() {
        for (value, shown) in [
            (5.0, "5.0"),
            (0.5, "0.5"),
            (-0.0, "-0.0"),
            (1e300, "1e+300"),
            (1e-7, "1e-07"),
            (0.00005, "5e-05"),
            (1.5e16, "1.5e+16"),
            (123_456_789.0, "123456789.0"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(value), shown);
        }
    }
}
