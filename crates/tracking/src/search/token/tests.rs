use proptest::prelude::*;

use super::*;
use crate::search::run_order;

fn search() -> SearchRuns {
    SearchRuns {
        experiment_ids: vec!["1".into(), "2".into()],
        filter: Some("metrics.a > 1".into()),
        order_by: vec!["metrics.a".into(), "params.b DESC".into()],
        ..SearchRuns::default()
    }
}

fn order() -> Vec<OrderBy> {
    run_order(&search().order_by).expect("an order")
}

fn cursor() -> Cursor {
    Cursor {
        keys: vec![SortValue::Number(0.1), SortValue::Text("é\"".into())],
        start_time: Some(Timestamp::from_micros(-5)),
        run_id: RunId::from_stored("abc"),
    }
}

#[test]
fn a_token_leads_back() {
    let scope = TokenScope::runs(&search());
    let token = scope.run_token(&cursor());
    assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{token}");
    assert_eq!(scope.run_cursor(Some(&token), &order()), Ok(Some(cursor())));
    assert_eq!(scope.run_cursor(None, &order()), Ok(None));
    assert_eq!(scope.run_cursor(Some(""), &order()), Ok(None));
}

#[test]
fn a_token_of_another_query_is_refused() {
    let token = TokenScope::runs(&search()).run_token(&cursor());
    let check = |change: &dyn Fn(&mut SearchRuns), expect: &str| {
        let mut other = search();
        change(&mut other);
        let error = TokenScope::runs(&other).run_cursor(Some(&token), &order()).expect_err(expect).to_string();
        assert!(error.starts_with("Invalid page token, parsed value={") && error.contains(expect), "{error}");
    };
    check(&|s| s.experiment_ids = vec!["12".into()], "Experiment IDs in the page token do not match the requested");
    check(&|s| s.filter = None, "Filter string in the page token does not match the requested filter string.");
    check(&|s| s.order_by.reverse(), "Order by in the page token does not match the requested order by.");
    check(&|s| s.view_type = ViewType::All, "View type in the page token does not match");

    let history = TokenScope::history("r", "loss");
    let error = history.point(Some(&token)).expect_err("another kind").to_string();
    assert!(error.starts_with("Invalid page token, parsed value="), "{error}");
    let point = Point { step: -1, timestamp: Timestamp::from_micros(7), value: f64::INFINITY };
    let token = history.point_token(&point);
    assert_eq!(history.point(Some(&token)), Ok(Some(point)));
    assert!(TokenScope::history("r", "acc").point(Some(&token)).is_err());
}

#[test]
fn an_absent_filter_and_an_empty_one_are_the_same() {
    let with = |filter: Option<&str>| SearchRuns { filter: filter.map(str::to_owned), ..search() };
    assert_eq!(TokenScope::runs(&with(None)), TokenScope::runs(&with(Some(""))));
}

#[test]
fn garbage_is_refused_in_the_words_clients_look_for() {
    let scope = TokenScope::runs(&search());
    let check = |token: &str, expect: &str| {
        let error = scope.run_cursor(Some(token), &order()).expect_err(token).to_string();
        assert!(error.starts_with(expect), "{token}: {error}");
    };
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    check("a", "Invalid page token, could not base64-decode");
    check("not a token!", "Invalid page token, could not base64-decode");
    check("é", "Invalid page token, could not base64-decode");
    check(&encode(b"evilhax\xff"), "Invalid page token, decoded value=b'evilhax\\xff'");
    check(&encode(b"{\"offset\": 7}"), "Invalid page token, parsed value={\"offset\":7}");
    check(&encode(b"[]"), "Invalid page token, parsed value=[]");
    check(&"A".repeat(MAX_TOKEN_BYTES + 1), "Invalid page token");
}

/// The token, its position replaced by the JSON `at`.
fn forged(token: &str, at: &str) -> String {
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(token).expect("base64")).expect("text");
    let end = json.find("\"at\":").expect("a position");
    URL_SAFE_NO_PAD.encode(format!("{}\"at\":{at}}}", &json[..end]))
}

#[test]
fn a_forged_place_in_a_run_search_is_refused() {
    let mut request = search();
    request.order_by.push("start_time".into());
    let scope = TokenScope::runs(&request);
    let order = run_order(&request.order_by).expect("an order");
    let token = scope.run_token(&cursor());
    let read = |at: &str| scope.run_cursor(Some(&forged(&token, at)), &order);
    for keys in [r#"[{"n":1.5},{"t":"x"},{"n":7.0}]"#, r#"["nan","-","-"]"#, r#"["-inf",{"t":""},{"n":-1.0}]"#] {
        let at = format!(r#"{{"keys":{keys},"start":1,"run":"r"}}"#);
        assert!(read(&at).is_ok_and(|cursor| cursor.is_some()), "{keys}");
    }
    for keys in [
        // Text where a number belongs, and the other way round.
        r#"[{"t":"x"},{"t":"x"},{"n":1.0}]"#,
        r#"[{"n":1.0},{"n":1.0},{"n":1.0}]"#,
        r#"["nan","nan","-"]"#,
        r#"["-",{"t":"x"},{"t":"5"}]"#,
        // A time is a finite number.
        r#"["-","-","nan"]"#,
        r#"["-","-","inf"]"#,
        // Too few, too many.
        "[]",
        r#"["-","-"]"#,
        r#"["-","-","-","-"]"#,
        // Not sort values at all.
        r#"[{"n":"1"},"-","-"]"#,
        r#"[{"n":1e999},"-","-"]"#,
        r#"[{"n":NaN},"-","-"]"#,
        r#"[{"n":1.0,"t":"x"},"-","-"]"#,
        "[null,null,null]",
        "{}",
        "-1",
    ] {
        let at = format!(r#"{{"keys":{keys},"start":1,"run":"r"}}"#);
        let error = read(&at).expect_err(keys).to_string();
        assert!(error.starts_with("Invalid page token"), "{keys}: {error}");
    }
    let keys = r#""keys":["-","-","-"]"#;
    for at in [
        "-7".to_owned(),
        "null".to_owned(),
        r#"{"offset":-7}"#.to_owned(),
        format!("{{{keys}}}"),
        format!(r#"{{{keys},"start":"x","run":"r"}}"#),
        format!(r#"{{{keys},"start":1.5,"run":"r"}}"#),
        format!(r#"{{{keys},"start":99999999999999999999,"run":"r"}}"#),
        format!(r#"{{{keys},"start":1,"run":7}}"#),
        format!(r#"{{{keys},"start":1,"run":""}}"#),
        format!(r#"{{{keys},"start":1,"run":"{}"}}"#, "r".repeat(300)),
        "[".repeat(100_000),
    ] {
        let error = read(&at).expect_err(&at).to_string();
        assert!(error.starts_with("Invalid page token"), "{at}: {error}");
    }
}

#[test]
fn a_forged_sort_key_is_refused() {
    let request = SearchExperiments { order_by: vec!["name".into()], ..SearchExperiments::default() };
    let scope = TokenScope::experiments(&request);
    let token = scope.sort_token(&SortKey(vec![SortValue::Text("a".into()), SortValue::Number(1.0)]));
    let kinds = [ValueKind::Text, ValueKind::Finite];
    let read = |at: &str| scope.sort_key(Some(&forged(&token, at)), &kinds);
    assert!(read(r#"[{"t":"a"},{"n":-1.0}]"#).is_ok());
    for at in [
        "[]",
        r#"[{"t":"a"}]"#,
        r#"[{"t":"a"},{"n":1.0},{"n":1.0}]"#,
        r#"[{"n":1.0},{"t":"a"}]"#,
        r#"[{"t":"a"},"nan"]"#,
        r#"[{"t":"a"},"-inf"]"#,
        r#"{"keys":[]}"#,
        "-1",
        "null",
    ] {
        let error = read(at).expect_err(at).to_string();
        assert!(error.starts_with("Invalid page token"), "{at}: {error}");
    }
    let runs = TokenScope::runs(&search()).run_token(&cursor());
    assert!(scope.sort_key(Some(&runs), &kinds).is_err(), "a token of another kind of list");
}

#[test]
fn a_forged_point_is_refused() {
    let scope = TokenScope::history("r", "loss");
    let token = scope.point_token(&Point { step: 1, timestamp: Timestamp::from_micros(2), value: 3.0 });
    let read = |at: &str| scope.point(Some(&forged(&token, at)));
    assert!(read(r#"[-2,-1,"nan"]"#).is_ok_and(|point| point.is_some()));
    for at in [
        "[]",
        "[1,2]",
        r#"[1,2,{"n":3.0},4]"#,
        r#"["1",2,{"n":3.0}]"#,
        r#"[1,2,{"t":"3"}]"#,
        r#"[1,2,"-"]"#,
        r#"[1.5,2,{"n":3.0}]"#,
        r#"[99999999999999999999,2,{"n":3.0}]"#,
        "-1",
    ] {
        let error = read(at).expect_err(at).to_string();
        assert!(error.starts_with("Invalid page token"), "{at}: {error}");
    }
}

#[test]
fn hashes_keep_lists_apart() {
    assert_eq!(short_hash(["a"]), short_hash(["a"]));
    assert_ne!(short_hash(["a", "b"]), short_hash(["ab"]));
    assert_ne!(short_hash(["", "a"]), short_hash(["a", ""]));
    assert_ne!(short_hash::<&str>([]), short_hash([""]));
    // Tokens outlive a restart with a newer build.
    assert_eq!(short_hash::<&str>([]), "cbf29ce484222325");
    assert_eq!(short_hash(["a"]), "529a4ddc8ff56bbf");
}

fn sort_value() -> impl Strategy<Value = SortValue> {
    prop_oneof![
        Just(SortValue::Null),
        prop::num::f64::ANY.prop_map(SortValue::Number),
        Just(SortValue::Number(f64::NEG_INFINITY)),
        any::<String>().prop_map(|text| SortValue::Text(text.into())),
    ]
}

/// Equal also over NaN and the sign of zero.
fn same(left: &SortValue, right: &SortValue) -> bool {
    match (left, right) {
        (SortValue::Number(left), SortValue::Number(right)) => {
            left.to_bits() == right.to_bits() || left.is_nan() && right.is_nan()
        }
        _ => left == right,
    }
}

proptest! {
    #[test]
    fn every_sort_key_comes_back(values in prop::collection::vec(sort_value(), 0..5)) {
        let scope = TokenScope::experiments(&SearchExperiments::default());
        let token = scope.sort_token(&SortKey(values.clone()));
        let kinds: Vec<ValueKind> = values.iter().map(|value| match value {
            SortValue::Text(_) => ValueKind::Text,
            SortValue::Number(_) | SortValue::Null => ValueKind::Number,
        }).collect();
        let back = scope.sort_key(Some(&token), &kinds).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let SortKey(back) = back.ok_or_else(|| TestCaseError::fail("no key"))?;
        prop_assert_eq!(back.len(), values.len());
        prop_assert!(back.iter().zip(&values).all(|(left, right)| same(left, right)), "{:?} {:?}", back, values);
    }

    #[test]
    fn no_token_panics(token in "[A-Za-z0-9_+/=-]{0,60}|\\PC{0,20}", json in "\\PC{0,30}") {
        let scope = TokenScope::runs(&search());
        let _ = scope.run_cursor(Some(&token), &order());
        let _ = scope.run_cursor(Some(&URL_SAFE_NO_PAD.encode(json)), &order());
    }
}
