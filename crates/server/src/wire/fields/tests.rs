use super::*;

fn json(text: &str) -> Fields {
    Fields::from_json(text.as_bytes())
}

#[test]
fn what_is_no_object_has_no_fields() {
    for (body, is_json) in [
        ("", true),
        ("{broken", false),
        ("[1]", true),
        ("5", true),
        ("\"text\"", false),
        ("null", true),
        ("\"{broken\"", false),
    ] {
        let error = json(body).required_text("name").unwrap_err();
        let hint = if is_json { "" } else { " The request body is not valid JSON." };
        let expected = format!(
            "Missing value for required parameter 'name'. See the API docs for more information about request \
             parameters.{hint}"
        );
        assert_eq!(error.message(), expected, "{body}");
    }
}

#[test]
fn routes_of_our_own_take_what_they_know() {
    let strict = |body: &str| Fields::strict(body.as_bytes(), &["a", "b"]);
    for body in ["", " ", "{}", "{\"a\": 1}"] {
        assert!(strict(body).is_ok(), "{body}");
    }
    for (body, part) in [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object but a list"),
        ("{\"foo\": 1}", "Unknown field 'foo': this route takes only a, b."),
    ] {
        let error = strict(body).unwrap_err();
        assert!(error.message().contains(part) && error.status() == 400, "{body}: {error}");
    }
    let error = Fields::strict(b"{\"foo\": 1}", &[]).unwrap_err();
    assert!(error.message().ends_with("this route takes no fields."), "{error}");
}

#[test]
fn a_body_may_be_json_in_a_json_string() {
    let fields = json(r#""{\"name\": \"x\"}""#);
    assert_eq!(fields.required_text("name").unwrap(), "x");
}

#[test]
fn integers_come_in_many_spellings() {
    for (text, expected) in [
        ("5", Some(5)),
        ("\"5\"", Some(5)),
        ("-7", Some(-7)),
        ("2.0", Some(2)),
        ("1e3", Some(1000)),
        ("9223372036854775807", Some(i64::MAX)),
        ("null", None),
    ] {
        assert_eq!(json(&format!("{{\"n\": {text}}}")).int("n"), Ok(expected), "{text}");
    }
    for (text, kind) in [
        ("2.5", "float"),
        ("\"x\"", "str"),
        ("true", "bool"),
        ("[1]", "list"),
        ("{}", "dict"),
        ("9223372036854775808", "int"),
        ("1e19", "float"),
    ] {
        let error = json(&format!("{{\"n\": {text}}}")).int("n").unwrap_err();
        assert!(error.message().contains("for parameter 'n' supplied:  Hint: Value was of type '"), "{text}");
        assert!(error.message().contains(&format!("'{kind}'")), "{text}: {error}");
    }
}

#[test]
fn doubles_may_be_words_and_bare_tokens() {
    for text in ["\"NaN\"", "NaN"] {
        assert!(json(&format!("{{\"v\": {text}}}")).required_float("v").unwrap().is_nan(), "{text}");
    }
    for (text, expected) in [
        ("\"Infinity\"", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("Infinity", f64::INFINITY),
        ("\"1.5\"", 1.5),
        ("true", 1.0),
        ("3", 3.0),
    ] {
        assert_eq!(json(&format!("{{\"v\": {text}}}")).required_float("v"), Ok(expected), "{text}");
    }
    assert_eq!(json(r#"{"k": "NaN \" Infinity", "v": NaN}"#).text("k").unwrap().unwrap(), "NaN \" Infinity");
}

#[test]
fn messages_show_the_value_as_json() {
    let hint = "See the API docs for more information about request parameters.";
    for (body, field, shown, kind) in [
        (r#"{"a": 5}"#, "a", "5", "int"),
        (r#"{"a": {"z": 1}}"#, "a", "{\"z\":1}", "dict"),
        (r#"{"a": [1, 2]}"#, "a", "[1,2]", "list"),
        (r#"{"a": false}"#, "a", "false", "bool"),
    ] {
        let error = json(body).text(field).unwrap_err();
        let expected = format!(
            "Invalid value {shown} for parameter '{field}' supplied:  Hint: Value was of type '{kind}'. {hint}"
        );
        assert_eq!(error.message(), expected);
    }
    let long = json(&format!("{{\"a\": [\"{}\"]}}", "x".repeat(10_000))).text("a").unwrap_err();
    assert!(long.message().len() < 600);
}

#[test]
fn nested_fields_are_named_by_their_path() {
    let fields = json(r#"{"datasets": [{"dataset": {"name": "d"}}]}"#);
    let inner = fields.objects("datasets").unwrap().remove(0).object("dataset").unwrap().unwrap();
    let error = inner.required_text("digest").unwrap_err();
    assert!(error.message().starts_with("Missing value for required parameter 'datasets[0].dataset.digest'."));
}

#[test]
fn queries_repeat_and_escape() {
    let fields = Fields::from_query("run_id=a&run_id=b+c&key=x%2Fy%C3%BC&flag=TRUE&n=7&empty=");
    assert_eq!(fields.texts("run_id").unwrap(), ["a", "b c"]);
    assert_eq!(fields.text("run_id").unwrap().unwrap(), "a");
    assert_eq!(fields.text("key").unwrap().unwrap(), "x/yü");
    assert_eq!(fields.boolean("flag").unwrap(), Some(true));
    assert_eq!(fields.int("n").unwrap(), Some(7));
    assert_eq!(fields.text("empty").unwrap().unwrap(), "");
    assert!(Fields::from_query("flag=yes").boolean("flag").is_err());
    assert_eq!(Fields::from_query("").texts("run_id").unwrap(), Vec::<String>::new());
}

#[test]
fn run_uuid_and_camel_case_are_taken() {
    assert_eq!(json(r#"{"run_uuid": "r"}"#).run_id().unwrap(), "r");
    assert_eq!(json(r#"{"run_uuid": "u", "run_id": "i"}"#).run_id().unwrap(), "i");
    assert_eq!(json(r#"{"runId": "r"}"#).run_id().unwrap(), "r");
    assert!(json("{}").run_id().unwrap_err().message().contains("'run_id'"));
}

#[test]
fn unknown_members_are_ignored() {
    let member = |body: &str| json(body).member("status", |name| (name == "B").then_some(2), &["A", "B"]);
    assert_eq!(member(r#"{"status": "B"}"#), Some(2));
    assert_eq!(member(r#"{"status": 2}"#), Some(2));
    assert_eq!(member(r#"{"status": "DONE"}"#), None);
    assert_eq!(member(r#"{"status": 9}"#), None);
    assert_eq!(member(r#"{"status": 0}"#), None);
    assert_eq!(member("{}"), None);
}
