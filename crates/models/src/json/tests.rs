use proptest::prelude::*;

use super::*;

fn of(value: &serde_json::Value) -> Json {
    use serde_json::Value;
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Json::Int(whole),
            None => Json::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => Json::Text(text.clone()),
        Value::Array(items) => Json::List(items.iter().map(of).collect()),
        Value::Object(entries) => Json::Map(entries.iter().map(|(key, value)| (key.clone(), of(value))).collect()),
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        (-1e300..1e300).prop_map(serde_json::Value::from),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn it_reads_what_serde_reads(value in any_json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(Json::parse(&text), Ok(of(&value)));
        }
    }

    #[test]
    fn what_it_writes_it_reads(value in any_json()) {
        let value = of(&value);
        prop_assert_eq!(Json::parse(&value.to_text()), Ok(value));
    }

    #[test]
    fn it_refuses_what_serde_refuses(text in "[\\[\\]{},:\"a0-9.eE+\\- \\\\un]{0,16}") {
        let serde: Result<serde_json::Value, _> = serde_json::from_str(&text);
        // Beyond the range of a double serde refuses, and Python reads infinity.
        let is_out_of_range = serde.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        if !is_out_of_range {
            prop_assert_eq!(Json::parse(&text).is_ok(), serde.is_ok(), "{}", text);
        }
    }
}

#[test]
fn it_reads_what_only_python_reads() {
    let Ok(Json::List(items)) = Json::parse("[NaN, Infinity, -Infinity, 1e999, 9223372036854775808]") else {
        panic!("a list")
    };
    assert!(matches!(items[0], Json::Float(number) if number.is_nan()));
    assert_eq!(items[1..4], [f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY].map(Json::Float));
    assert_eq!(items[4], Json::Big("9223372036854775808".into()));
    assert_eq!(Json::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap().get("a"), Some(&Json::Int(3)));
}

#[test]
fn what_is_nested_without_end_is_refused() {
    let deep = "[".repeat(1_000_000);
    assert!(Json::parse(&deep).unwrap_err().contains("too deeply"));
    assert!(Json::parse(&format!("{}1{}", "[".repeat(100), "]".repeat(100))).is_ok());
}
