use proptest::prelude::*;

use super::*;

/// A predicate, short.
fn show(predicate: &Predicate) -> String {
    let all = |terms: &[Predicate]| terms.iter().map(show).collect::<Vec<_>>().join(", ");
    match predicate {
        Predicate::All(terms) => format!("all({})", all(terms)),
        Predicate::Any(terms) => format!("any({})", all(terms)),
        Predicate::Not(term) => format!("not({})", show(term)),
        Predicate::Number { column, op, value } => format!("{} {op:?} {value:?}", show_column(column)),
        Predicate::Text { column, op, value } => format!("{} {op:?} {value:?}", show_column(column)),
        Predicate::TextIn { column, values } => format!("{} In {values:?}", show_column(column)),
        Predicate::IsNull(column) => format!("{} IsNull", show_column(column)),
        Predicate::Dataset { field, test } => format!("dataset {field:?} {test:?}"),
    }
}

fn show_column(column: &Column) -> String {
    match column {
        Column::Attribute(attribute) => format!("{attribute:?}"),
        Column::Param(key) => format!("param {key:?}"),
        Column::Tag(key) => format!("tag {key:?}"),
        Column::Metric(key, field) => format!("metric {key:?} {field:?}"),
    }
}

fn lowered(filter: &str) -> String {
    match run_filter(filter) {
        Ok(Some(predicate)) => show(&predicate),
        Ok(None) => "everything".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn filters() {
    let check = |filter: &str, expect: &str| assert_eq!(lowered(filter), expect, "{filter}");
    check("", "everything");
    check("  ", "everything");
    check("metrics.loss < 0.1", r#"metric "loss" Last Lt 0.1"#);
    check("metric.loss >= -1e-3", r#"metric "loss" Last Ge -0.001"#);
    check("metrics.loss != nan", r#"metric "loss" Last Ne NaN"#);
    check("metrics.loss > -inf", r#"metric "loss" Last Gt -inf"#);
    check("metrics.loss.min <= 1", r#"metric "loss" Min Le 1.0"#);
    check("metrics.val.loss.max > 1", r#"metric "val.loss" Max Gt 1.0"#);
    check("metrics.`val loss`.mean = 1", r#"metric "val loss" Mean Eq 1.0"#);
    check("metrics.loss.count > 10", r#"metric "loss" Count Gt 10.0"#);
    check("metrics.loss.last = 1", r#"metric "loss" Last Eq 1.0"#);
    check("metrics.`loss.min` = 1", r#"metric "loss.min" Last Eq 1.0"#);
    check("metrics.\"loss.min\" = 1", r#"metric "loss.min" Last Eq 1.0"#);
    check("metrics.loss.`min` = 1", r#"metric "loss.min" Last Eq 1.0"#);
    check("metrics.min = 1", r#"metric "min" Last Eq 1.0"#);
    check("metrics.min.min = 1", r#"metric "min" Min Eq 1.0"#);
    check("metrics.loss.MIN = 1", r#"metric "loss.MIN" Last Eq 1.0"#);
    check("metrics.loss between 1 and 2", r#"all(metric "loss" Last Ge 1.0, metric "loss" Last Le 2.0)"#);
    check("metrics.a NOT BETWEEN 1 AND 2", r#"not(all(metric "a" Last Ge 1.0, metric "a" Last Le 2.0))"#);
    check("metrics.a.count IS NULL", r#"metric "a" Count IsNull"#);
    check("metrics.a.last IS NOT NULL", r#"not(metric "a" Last IsNull)"#);
    check("params.lr = '0.1'", r#"param "lr" Eq "0.1""#);
    check("param.lr != \"x\"", r#"param "lr" Ne "x""#);
    check("parameters.lr like 'a%'", r#"param "lr" Like "a%""#);
    check("parameter.lr Ilike 'a%'", r#"param "lr" ILike "a%""#);
    check("params.lr NOT LIKE 'a%'", r#"not(param "lr" Like "a%")"#);
    check("params.lr IN ('a', 'b')", r#"param "lr" In ["a", "b"]"#);
    check("params.lr IS NULL", r#"param "lr" IsNull"#);
    check("params.min.max = '1'", r#"param "min.max" Eq "1""#);
    check("params.x = 'it''s \"so\"'", r#"param "x" Eq "it's \"so\"""#);
    check("tags.mlflow.source.name = 'x'", r#"tag "mlflow.source.name" Eq "x""#);
    check("tag.`a b` is not null", r#"not(tag "a b" IsNull)"#);
    check("status = 'FINISHED'", r#"Status Eq "FINISHED""#);
    check("attributes.status != 'FINISHED'", r#"Status Ne "FINISHED""#);
    check("attr.artifact_uri LIKE '%x'", r#"ArtifactUri Like "%x""#);
    check("run.user_id = 'u'", r#"UserId Eq "u""#);
    check("attribute.`run name` = 'n'", r#"RunName Eq "n""#);
    check("`Run Name` = 'n'", r#"RunName Eq "n""#);
    check("run_name ILIKE 'n'", r#"RunName ILike "n""#);
    check("run_id IN ('a','b')", r#"RunId In ["a", "b"]"#);
    check("run_id NOT IN (\"a\",)", r#"not(RunId In ["a"])"#);
    check("start_time > 1664067852747", "StartTime Gt 1664067852747.0");
    check("Created > 1", "StartTime Gt 1.0");
    check("end_time between 1 and 2", "all(EndTime Ge 1.0, EndTime Le 2.0)");
    check("dataset.name = 'd'", r#"dataset Name Text(Eq, "d")"#);
    check("datasets.digest IN ('a')", r#"dataset Digest In(["a"])"#);
    check("datasets.context NOT IN ('a')", r#"dataset Context NotIn(["a"])"#);
    check("datasets.name ILIKE 'a%'", r#"dataset Name Text(ILike, "a%")"#);
    check(
        "metrics.a > 1 AND (params.b = 'x' OR NOT tags.c LIKE 'y')",
        r#"all(metric "a" Last Gt 1.0, any(param "b" Eq "x", not(tag "c" Like "y")))"#,
    );
}

#[test]
fn refused_in_the_words_clients_look_for() {
    let check = |filter: &str, expect: &str| {
        let error = lowered(filter);
        assert!(error.starts_with(expect), "{filter}: {error}");
        assert!(error.contains(" (at position "), "{filter}: {error}");
    };
    check(
        "m.acc >= 0.94",
        "Invalid entity type 'm'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
    );
    check("acc >= 0.94", "Invalid attribute key 'acc' specified. Valid keys are '['run_id', ");
    check("`metrics.A` > 1", "Invalid entity type '`metrics'");
    check("Metrics.A > 1", "Invalid entity type 'Metrics'");
    check("attribute.start != 1", "Invalid attribute key 'start'");
    check("experiment_id = '1'", "Invalid attribute key 'experiment_id'");
    check("dataset.x = '1'", "Invalid dataset key 'x' specified");
    check("metric.a = 'LR'", "Expected numeric value type for metric. Found 'LR'");
    check("metric.a = '5'", "Expected numeric value type for metric. Found '5'");
    check("metrics.a != metrics.b", "Expected numeric value type for metric. Found metrics.b");
    check("metrics.a IN (1, 2)", "Expected numeric value type for metric. Found (1, 2)");
    check("metrics.a LIKE 'x'", "Expected numeric value type for metric. Found 'x'");
    check("metrics.a LIKE 1", "Invalid comparator 'LIKE' not one of");
    check("metrics.a ~ 1", "Invalid comparator '~' not one of");
    check("metrics.a == 1", "Invalid comparator '==' not one of");
    check("metrics.a <> 1", "Invalid comparator '<>' not one of");
    check("metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'a'");
    check("params.a = 5", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 5");
    check("tags.a = 5", "Expected a quoted string value for tag (e.g. 'my-value'). Got value 5");
    check("tags.a > 5", "Expected a quoted string value for tag");
    for unquoted in ["params.a = LR", "tags.a = LR", "params.a = `LR`", "status = RUNNING"] {
        check(unquoted, "Parameter value is either not quoted or unidentified quote types used for string value ");
    }
    for comparison in ["params.a > 'x'", "tags.a <= 'x'", "status > 'x'", "dataset.name < 'x'", "params.a RLIKE 'x'"] {
        check(comparison, "Invalid comparator '");
    }
    check("params.a BETWEEN 'x' AND 'y'", "Invalid comparator 'BETWEEN' not one of");
    check("dataset.name NOT LIKE 'x'", "Invalid comparator 'NOT LIKE' not one of");
    check("status = 1", "Expected a quoted string value for attributes. Got value 1");
    check("status IN ('x')", "Only the 'run_id' attribute supports comparison with a list of quoted string values.");
    check(
        "status IS NULL",
        "IS NULL / IS NOT NULL is only supported for tags and params, not for 'attribute' 'status'",
    );
    check("start_time > 'x'", "Expected numeric value type for numeric attribute: start_time. Found 'x'");
    check("created LIKE 1", "Invalid comparator 'LIKE' not one of");
    check("dataset.name = 1", "Expected a quoted string value for dataset attributes. Got value 1");
    check("run_id = ('a')", "Expected a quoted string value for attributes. Got value ('a'). A list needs IN");
    check("run_id > ('a')", "Invalid comparator '>' not one of");
    check("status = ('a')", "Only the 'run_id' attribute supports comparison with a list");
    check(
        "dataset.name = ()",
        "While parsing a list in the query, expected a non-empty list of string values, but got empty list",
    );
    check("params.a IN ('x', 1)", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value ('x', 1)");
    check("tags.a NOT IN ()", "Expected a quoted string value for tag (e.g. 'my-value'). Got value ()");
    check("params.a = ('x')", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value ('x')");
    check(
        "run_id IN ()",
        "While parsing a list in the query, expected a non-empty list of string values, but got empty list",
    );
    check(
        "run_id IN (1,'a')",
        "While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: (1,'a')",
    );
    check("run_id IN (a)", "While parsing a list in the query, expected string value");
    check(
        "run_id IN ('a',,)",
        "While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list",
    );
}

#[test]
fn order() {
    let check = |clauses: &[&str], expect: &str| {
        let got = match run_order(clauses) {
            Ok(keys) => keys
                .iter()
                .map(|key| format!("{} {}", show_column(&key.column), if key.ascending { "asc" } else { "desc" }))
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => error.to_string(),
        };
        assert!(got.starts_with(expect), "{clauses:?}: {got}");
    };
    check(&["metrics.a"], r#"metric "a" Last asc"#);
    check(&["metrics.`a b`.min DESC", "params.x asc"], r#"metric "a b" Min desc, param "x" asc"#);
    check(&["metrics.a desc", "metrics.a.max"], r#"metric "a" Last desc, metric "a" Max asc"#);
    check(&["tag.\"x y\" dEsC", "Created"], r#"tag "x y" desc, StartTime asc"#);
    check(&["start_time DESC", "attributes.run_name", "status"], "StartTime desc, RunName asc, Status asc");
    check(&["metrics.a", "metric.a DESC"], "`order_by` contains duplicate fields: ['metrics.a', 'metric.a DESC']");
    check(&["start_time", "created"], "`order_by` contains duplicate fields");
    check(&["metrics.a", "metrics.a.last"], "`order_by` contains duplicate fields");
    check(&["m.acc"], "Invalid entity type 'm'");
    check(&["acc"], "Invalid attribute key 'acc'");
    check(&["`metrics.A`"], "Invalid entity type");
    check(&["`metrics.A"], "Invalid order_by clause '`metrics.A'. Could not be parsed.");
    check(&["attribute.run_id ACS"], "Invalid ordering key in order_by clause 'attribute.run_id ACS'.");
    check(&["datasets.name"], "Invalid identifier type 'dataset'");
    check(&["run_id"; 101], "Invalid order_by: 101 clauses");
}

proptest! {
    #[test]
    fn no_text_panics(filter in "(metrics|params|tags|attributes|datasets|run)?\\.?[a-z`\"_]{0,8} ?(=|!=|<|LIKE|IN|IS NULL|BETWEEN)? ?\\PC{0,12}") {
        let _ = run_filter(&filter).map_err(|error| error.to_string());
        let _ = run_order(&[filter]).map_err(|error| error.to_string());
    }
}
