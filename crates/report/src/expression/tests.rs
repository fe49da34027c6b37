use serde_json::json;

use super::*;
use crate::answer::Column;

#[allow(clippy::unnecessary_wraps, reason = "as cells have it")]
fn answer(columns: &[(&str, &str)], rows: serde_json::Value) -> Result<Answer, String> {
    let columns =
        columns.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: (*kind).to_owned() }).collect();
    Ok(Answer { columns, rows: serde_json::from_value(rows).expect("rows"), ..Answer::default() })
}

fn evaluated(text: &str) -> Result<Value, String> {
    let parameters = [("share".to_owned(), Value::Float(1.05)), ("name".to_owned(), Value::Text("iris".into()))].into();
    let cells = [
        (
            "now".to_owned(),
            answer(&[("p95", "DOUBLE"), ("baseline", "DOUBLE"), ("run", "VARCHAR")], json!([[10.0, 10.0, "a"]])),
        ),
        (
            "runs".to_owned(),
            answer(
                &[("loss", "DOUBLE"), ("ok", "BOOLEAN"), ("metrics.f1", "DOUBLE")],
                json!([[1.0, true, 0.5], [3.0, true, 0.7], [null, false, 0.9], [8.0, true, 0.1]]),
            ),
        ),
        (
            "odd".to_owned(),
            answer(&[("nan", "DOUBLE"), ("none", "DOUBLE"), ("run", "VARCHAR")], json!([["NaN", null, "b"]])),
        ),
        ("total".to_owned(), answer(&[("c", "BIGINT")], json!([[7]]))),
        ("broken".to_owned(), Err("bad SQL".to_owned())),
        ("none".to_owned(), answer(&[("x", "DOUBLE")], json!([]))),
    ]
    .into();
    let scope = Scope { parameters: &parameters, cells: &cells };
    parse(text)?.value(scope).map_err(|error| match error {
        Undefined::Unknown(message) => message,
        Undefined::NotANumber(message) => format!("NaN: {message}"),
    })
}

#[test]
fn expressions_have_the_value_one_expects() {
    for (text, wanted) in [
        ("1 + 2 * 3", Value::Float(7.0)),
        ("(1 + 2) * -3", Value::Float(-9.0)),
        ("8 - 2 - 1", Value::Float(5.0)),
        ("1_000 / 1e3", Value::Float(1.0)),
        ("p95 <= share * baseline", Value::Bool(true)),
        ("p95 <= 1.05 * baseline and not p95 > 11", Value::Bool(true)),
        ("p95 < baseline or false", Value::Bool(false)),
        ("9 < p95 < 11", Value::Bool(true)),
        ("9 < p95 < 10", Value::Bool(false)),
        ("now.run = 'a'", Value::Bool(true)),
        ("name == \"iris\"", Value::Bool(true)),
        ("rows(runs)", Value::Int(4)),
        ("count(runs.loss)", Value::Int(3)),
        ("min(runs.loss)", Value::Float(1.0)),
        ("max(runs.metrics.f1)", Value::Float(0.9)),
        ("avg(runs.loss)", Value::Float(4.0)),
        ("median(runs.loss)", Value::Float(3.0)),
        ("sum(runs.loss)", Value::Float(12.0)),
        ("first(runs.loss)", Value::Float(1.0)),
        ("all(runs.ok)", Value::Bool(false)),
        ("any(runs.ok)", Value::Bool(true)),
        ("total", Value::Int(7)),
        ("total.c = 7.0", Value::Bool(true)),
        ("abs(-2)", Value::Float(2.0)),
        ("round(1.2345, 2)", Value::Float(1.23)),
        ("is_nan(odd.nan)", Value::Bool(true)),
        ("is_null(odd.none)", Value::Bool(true)),
        ("max(1, total, p95)", Value::Float(10.0)),
        ("rows(none) = 0", Value::Bool(true)),
    ] {
        assert_eq!(evaluated(text), Ok(wanted), "{text}");
    }
}

#[test]
fn what_cannot_be_computed_says_why() {
    for (text, told) in [
        ("", "no expression"),
        ("1 +", "ends too early"),
        ("1 2", "2 is one too many"),
        ("(1", "not closed"),
        ("'x", "not closed"),
        ("1 ? 2", "no meaning"),
        ("1x", "no number"),
        ("a..b", "no name"),
        ("loss", "nothing is called loss"),
        ("p59 < 1", "did you mean p95?"),
        ("run = 'a'", "now.run or odd.run"),
        ("runs.loss < 1", "4 rows"),
        ("runs.los < 1", "did you mean loss?"),
        ("rusn.loss < 1", "no cell rusn; did you mean runs?"),
        ("broken.x < 1", "the cell broken has no answer"),
        ("runs", "no single value"),
        ("odd.none < 1", "odd.none has no value"),
        ("odd.nan < 1", "NaN: odd.nan is NaN"),
        ("odd.nan != 1", "NaN: "),
        ("max(none.x) < 1", "no values"),
        ("p95 = 'a'", "cannot be compared"),
        ("p95 + now.run", "not a number"),
        ("p95 and true", "true or false is wanted"),
        ("total(1)", "no function total"),
        ("avg(1)", "takes a column"),
        ("rows(now.p95)", "name of a cell"),
    ] {
        let error = evaluated(text).expect_err(text);
        assert!(error.contains(told), "{text}: {error}");
    }
    assert!(evaluated(&"(".repeat(200)).expect_err("too deep").contains("too deeply"));
    assert!(evaluated(&"1+".repeat(100_000)).expect_err("too long").contains("longer than"));
    assert_eq!(evaluated(&format!("{}true", "not ".repeat(200))), Ok(Value::Bool(true)));
}

#[test]
fn a_cut_answer_is_not_reduced() {
    let mut cut = answer(&[("x", "DOUBLE")], json!([[1.0]])).expect("an answer");
    cut.truncated = true;
    let cells = [("cut".to_owned(), Ok(cut))].into();
    let scope = Scope { parameters: &IndexMap::new(), cells: &cells };
    let outcome = parse("max(cut.x)").expect("an expression").value(scope);
    assert!(matches!(outcome, Err(Undefined::Unknown(message)) if message.contains("was cut")));
}
