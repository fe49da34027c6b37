use super::*;

fn scalar(text: &str) -> Option<String> {
    parse("f", &format!("k: {text}")).unwrap().get("k").unwrap().python_text()
}

#[test]
fn plain_values_are_what_python_makes_of_them() {
    for (written, read) in [
        ("1e-3", "1e-3"),
        ("1.0e-3", "0.001"),
        ("1.0e3", "1.0e3"),
        ("1.0e+3", "1000.0"),
        ("0.00001", "1e-05"),
        ("1.5e-07", "1.5e-07"),
        ("1.0e+16", "1e+16"),
        ("1.0e+15", "1000000000000000.0"),
        ("yes", "True"),
        ("off", "False"),
        ("'yes'", "yes"),
        ("010", "8"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("1_000", "1000"),
        ("1:30", "90"),
        ("-1:0:1", "-3601"),
        ("1:75", "1:75"),
        ("0:30", "0:30"),
        ("1:30.5", "90.5"),
        ("-1:30.5", "-90.5"),
        ("-.5", "-.5"),
        ("-.inf", "-inf"),
        ("+.nan", "+.nan"),
        ("-7", "-7"),
        ("089", "089"),
        ("1.", "1.0"),
        (".5", "0.5"),
        ("-.inf", "-inf"),
        (".NaN", "nan"),
        ("3.11.2", "3.11.2"),
        ("2024-01-02", "2024-01-02"),
        ("!!str 1.0", "1.0"),
        ("a: b".replace(':', "-").as_str(), "a- b"),
    ] {
        assert_eq!(scalar(written).as_deref(), Some(read), "{written}");
    }
    for empty in ["", "~", "null"] {
        assert_eq!(scalar(empty), None, "{empty}");
    }
}

#[test]
fn faults_have_line_and_column() {
    for (text, line, column) in [
        ("name: x\n  bad: [\n", 2, 6),
        ("a: [1, 2\nb: 3\n", 2, 2),
        ("a: *nobody\n", 1, 4),
        ("", 1, 1),
        ("a: 1\n---\nb: 2\n", 2, 1),
        ("a: \"never closed\n", 1, 4),
    ] {
        match parse("MLproject", text).unwrap_err() {
            Error::At { file, line: l, column: c, .. } => {
                assert_eq!((file.as_str(), l, c), ("MLproject", line, column), "{text:?}");
            }
            other => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn aliases_and_merges_repeat_what_they_name() {
    let node = parse("f", "base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  y: 3\n").unwrap();
    let other = node.get("other").unwrap();
    assert_eq!(other.get("x").unwrap().python_text().as_deref(), Some("1"));
    assert_eq!(other.get("y").unwrap().python_text().as_deref(), Some("3"));
}

#[test]
fn a_file_that_grows_without_end_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{aliases}]\n");
    }
    assert!(parse("f", &bomb).unwrap_err().to_string().contains("too much"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(300_000), vec!["*a"; 20_000].join(", "));
    assert!(parse("f", &long).unwrap_err().to_string().contains("too much"));
    let mut tower = format!("a0: &a0 {}x{}\n", "[".repeat(60), "]".repeat(60));
    for level in 1..50 {
        tower = format!("{tower}a{level}: &a{level} {}*a{}{}\n", "[".repeat(60), level - 1, "]".repeat(60));
    }
    assert!(parse("f", &tower).unwrap_err().to_string().contains("too deeply"));
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    assert!(parse("f", &deep).is_err());
}

#[test]
fn json_has_the_same_values() {
    let node = parse("f", "a: 1\nb: yes\nc: 1.5\nd: [x, ~]\ne: '1'\n").unwrap();
    assert_eq!(node.to_json(), serde_json::json!({"a": 1, "b": true, "c": 1.5, "d": ["x", null], "e": "1"}));
}

#[test]
fn a_list_as_a_text_is_as_python_writes_it() {
    let of = |text: &str| parse("f", &format!("k: {text}")).unwrap().get("k").unwrap().python_repr();
    for (written, read) in [
        ("[1, 2.5, yes, ~, x, 'y']", "[1, 2.5, True, None, 'x', 'y']"),
        ("{a: 1, 2: [b]}", "{'a': 1, 2: ['b']}"),
        ("[\"it's\", 'a\"b', \"it's \\\"b\\\"\", \"a\\n\\\\\"]", "[\"it's\", 'a\"b', 'it\\'s \"b\"', 'a\\n\\\\']"),
        ("[]", "[]"),
        ("{}", "{}"),
    ] {
        assert_eq!(of(written), read, "{written}");
    }
}

#[test]
fn a_file_is_read_as_far_as_it_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(text(&path).unwrap_err().to_string().contains("at most"));
    std::fs::write(&path, b"a: 1\nb: x\xff\n").unwrap();
    assert!(text(&path).unwrap_err().to_string().contains("f, line 2, column 5: "));
}
