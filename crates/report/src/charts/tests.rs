use super::*;
use crate::answer::Column;

fn data() -> Answer {
    let column = |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned() };
    Answer {
        columns: vec![
            column("step", "BIGINT"),
            column("metrics.loss", "DOUBLE"),
            column("run", "VARCHAR"),
            column("time", "TIMESTAMP WITH TIME ZONE"),
        ],
        rows: serde_json::from_value(json!([
            [1, 0.9, "a", "2026-01-01T00:00:00Z"],
            [2, "NaN", "a", "2026-01-02T12:30:00.123456Z"],
            [3, 0.4, "<script>alert(1)</script>", "2026-01-03T00:00:00Z"],
        ]))
        .expect("rows"),
        ..Answer::default()
    }
}

#[cfg(feature = "charts")]
fn drawn(spec: &Json) -> Result<String, String> {
    let data = data();
    let parameters = [("metric".to_owned(), Value::Text("loss".into()))].into();
    let chart = Chart::new(&spec.to_string(), &[("d", &data)], &parameters)?;
    draw(&[&chart]).remove(0)
}

#[test]
fn fields_are_checked_and_points_in_them_escaped() {
    let field = |spec: Json| {
        Chart::new(&spec.to_string(), &[("d", &data())], &IndexMap::new())
            .map(|chart| chart.spec["encoding"]["x"]["field"].clone())
    };
    let x = |field: &str| json!({"mark": "point", "encoding": {"x": {"field": field}}});
    assert_eq!(field(x("step")), Ok(json!("step")));
    assert_eq!(field(x("metrics.loss")), Ok(json!("metrics\\.loss")));
    assert_eq!(field(x("metrics\\.loss")), Ok(json!("metrics\\.loss")));
    assert!(field(x("metrics.los")).expect_err("no such column").contains("no column metrics.los"));
    let mut calculated = x("double");
    calculated["transform"] = json!([{"calculate": "2 * datum.step", "as": "double"}]);
    assert_eq!(field(calculated), Ok(json!("double")));
    let mut folded = x("anything");
    folded["transform"] = json!([{"pivot": "run", "value": "step", "groupby": ["step"]}]);
    assert_eq!(field(folded), Ok(json!("anything")));
    for (wrong, told) in [("[", "no JSON"), ("[]", "no JSON object"), (r#"{"data": {"url": "x.csv"}}"#, "from cells")] {
        assert!(Chart::new(wrong, &[], &IndexMap::new()).expect_err(wrong).contains(told));
    }
}

#[test]
fn values_are_what_scripts_take() {
    let rows = rows(&data());
    assert_eq!(rows[1], json!({"step": 2, "metrics.loss": null, "run": "a", "time": "2026-01-02T12:30:00.123Z"}));
    assert_eq!(rows[0]["time"], "2026-01-01T00:00:00.000Z");
}

#[cfg(feature = "charts")]
mod pictures {
    use super::*;

    #[test]
    fn a_chart_is_drawn_the_same_each_time_with_its_data_escaped() {
        let spec = json!({
            "title": {"text": {"expr": "'Curve of ' + metric"}},
            "mark": {"type": "line", "point": true},
            "encoding": {
                "x": {"field": "time", "type": "temporal"},
                "y": {"field": "metrics.loss", "type": "quantitative"},
                "color": {"field": "run", "type": "nominal"},
            },
        });
        let first = drawn(&spec).expect("a picture");
        assert!(first.starts_with("<svg") && first.contains("Curve of loss"), "{first}");
        assert!(first.contains("&lt;script&gt;") && !first.contains("<script"), "{first}");
        assert_eq!(drawn(&spec).expect("a picture"), first);
    }

    #[test]
    fn nothing_is_fetched_and_no_link_made() {
        for spec in [
            json!({"layer": [{"data": {"url": "file:///etc/passwd"}, "mark": "bar", "encoding": {"x": {"field": "step"}}}]}),
            json!({"layer": [{"data": {"url": "http://127.0.0.1:1/x.json"}, "mark": "bar", "encoding": {"x": {"field": "step"}}}]}),
            json!({"mark": {"type": "image", "url": "http://127.0.0.1:1/x.png"}, "encoding": {"x": {"field": "step"}}}),
            json!({"mark": {"type": "point", "href": "javascript:alert(1)"}, "encoding": {"x": {"field": "step"}}}),
            json!({"mark": "point", "encoding": {"x": {"field": "step"}, "href": {"value": "https://example.org"}}}),
        ] {
            let error = drawn(&spec).expect_err(&spec.to_string());
            assert!(error.contains("no access"), "{spec}: {error}");
        }
    }

    #[test]
    fn scripts_of_a_specification_reach_nothing() {
        let calculate = |code: &str| {
            json!({"transform": [{"calculate": code, "as": "c"}], "mark": "text",
                   "encoding": {"text": {"field": "c"}}})
        };
        for code in ["std.open('/etc/passwd')", "os.remove('x')", "require('fs')", "globalThis.draw", "import('x')"] {
            assert!(drawn(&calculate(code)).is_err(), "{code}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        let error = drawn(&json!({"mark": "no such mark", "encoding": {"x": {"field": "step"}}})).expect_err("no mark");
        assert!(!error.is_empty());
        let error = drawn(&json!({"mark": "bar", "transform": [{"calculate": "1 +", "as": "x"}],
            "encoding": {"x": {"field": "x"}}}))
        .expect_err("no expression");
        assert!(!error.is_empty());
        // The others are drawn nevertheless.
        let (parameters, data) = (IndexMap::new(), data());
        let of = |spec: &str| Chart::new(spec, &[("d", &data)], &parameters).expect("a chart");
        let charts = [
            of(r#"{"mark": "bar", "encoding": {"x": {"field": "step", "type": "wrong"}}}"#),
            of(r#"{"mark": "bar", "encoding": {"x": {"field": "step"}}}"#),
        ];
        let drawn = draw(&[&charts[0], &charts[1]]);
        assert!(drawn[1].is_ok(), "{:?}", drawn[1]);
    }
}
