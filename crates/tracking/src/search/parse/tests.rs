use proptest::prelude::*;

use super::*;

/// The filter as it is understood, with every group in parentheses.
fn shape(source: &str) -> String {
    fn write(expr: &Expr) -> String {
        let all = |terms: &[Expr]| terms.iter().map(write).collect::<Vec<_>>().join(" ");
        match expr {
            Expr::And(terms) => format!("(and {})", all(terms)),
            Expr::Or(terms) => format!("(or {})", all(terms)),
            Expr::Not(term) => format!("(not {})", write(term)),
            Expr::Test(comparison) => format!("[{comparison}]"),
        }
    }
    match parse(source) {
        Ok(Some(expr)) => write(&expr),
        Ok(None) => "nothing".to_owned(),
        Err(error) => format!("{}: {}", error.position().unwrap_or(0), error.message()),
    }
}

#[test]
fn accepted() {
    let check = |source: &str, expect: &str| assert_eq!(shape(source), expect, "{source:?}");
    check("", "nothing");
    check(" \t\n ", "nothing");
    check("a=1", "[a = 1]");
    check("a = 1 and b = 2 AND c = 3", "(and [a = 1] [b = 2] [c = 3])");
    check("a = 1 or b = 2 and c = 3", "(or [a = 1] (and [b = 2] [c = 3]))");
    check("(a = 1 or b = 2) and c = 3", "(and (or [a = 1] [b = 2]) [c = 3])");
    check("not a = 1 and b = 2", "(and (not [a = 1]) [b = 2])");
    check("NOT (a = 1 AND NOT NOT b = 2)", "(not (and [a = 1] (not (not [b = 2]))))");
    check("((a = 1))", "[a = 1]");
    check("a between 1 and 2 and b = 3", "(and [a BETWEEN 1 AND 2] [b = 3])");
    check("a NOT between -1e3 AND inf", "[a NOT BETWEEN -1e3 AND inf]");
    check("a like 'x%' AND b not ilike \"y\"", "(and [a LIKE 'x%'] [b NOT ILIKE \"y\"])");
    check("a in ('x', \"y\",)", "[a IN ('x', \"y\")]");
    check("a NOT IN('x')", "[a NOT IN ('x')]");
    check("a is null or b IS NOT NULL", "(or [a IS NULL] [b IS NOT NULL])");
    check("m.`a b`.max > 1", "[m.`a b`.max > 1]");
    check("m.\"a.b\" > 1", "[m.\"a.b\" > 1]");
    check("m.'a.b' > 1", "[m.'a.b' > 1]");
    check("`m`.a > 1", "[`m`.a > 1]");
    check("m.and = 1 AND m.not = 2", "(and [m.and = 1] [m.not = 2])");
    check("a = ('x')", "[a = ('x')]");
    check("a = 'it''s'", "[a = 'it''s']");
    check("a = 'C:\\'", "[a = 'C:\\']");
    check("a != b.c", "[a != b.c]");
    check("a == 1", "[a == 1]");
    check("a rlike 'x'", "[a RLIKE 'x']");
    check("größe.π = 1", "[größe.π = 1]");
}

#[test]
fn refused() {
    let check = |source: &str, expect: &str| {
        let message = shape(source);
        assert!(message.contains(expect), "{source:?}: {message}");
    };
    let invalid = "Invalid clause(s) in filter string";
    for source in [
        "a",
        "a !=",
        "a LR !=",
        "a LR",
        "a = LR'",
        "`a = 1",
        "a = 'LR",
        "a = \"LR'",
        "a = = 'x'",
        "a IS 'LR'",
        "a NOT 'x'",
        "a = 1 NAND b = 2",
        "a = 1 b = 2",
        "AND",
        "a = 1 AND",
        "OR a = 1",
        "a = 1 AND AND b = 2",
        "(a = 1",
        "a = 1)",
        "()",
        "NOT",
        "a IN",
        "a IN (",
        "a IN ('x'",
        "a IN 'x'",
        "a BETWEEN 1",
        "a BETWEEN 1 OR 2",
        "a = ('x'",
        "a = 1;",
        "a = ?",
        "a-b = 1",
        "m. = 1",
        ".a = 1",
        "a = AND b = 2",
        "= 1",
        "> 1",
    ] {
        check(source, invalid);
    }
    check("a >= 1; b < 2", "7: Search filter contained multiple expression 'a >= 1; b < 2'. Provide AND-ed");
    check("1.0 > a", "1: Invalid comparison clause. Expected 'Identifier' found '1.0'");
    check("1=1", "Expected 'Identifier' found '1'");
    check("'x' = a", "Expected 'Identifier' found ''x''");
    check("a IN ('x',,'y')", "11: While parsing a list in the query, expected a non-empty list");
    check("a IN ('x' 'y')", "but got ill-formed list");
    check("a = 1 NAND b = 2", "7: Invalid clause(s) in filter string: 'NAND': expected AND, OR or the end.");
    check(&"x".repeat(MAX_FILTER_BYTES + 1), "at most 1048576 are accepted");
}

#[test]
fn the_place_is_shown() {
    let shown = |source: &str| parse(source).expect_err("is wrong").to_string();
    assert_eq!(
        shown("metrics.ü > 0.1 AND params.acc LR !="),
        "Invalid clause(s) in filter string: 'LR': expected an operator after params.acc. (at position 32)\n  \
         metrics.ü > 0.1 AND params.acc LR !=\n                                 ^^"
    );
    let long = format!("{} AND a b {}", vec!["k = 1"; 30].join("\nAND "), "c".repeat(100));
    let lines: Vec<String> = shown(&long).lines().skip(1).map(str::to_owned).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("  …") && lines[0].ends_with('…') && lines[0].chars().count() < 100, "{lines:?}");
    let caret = lines[1].chars().position(|c| c == '^').expect("a caret");
    assert_eq!(lines[0].chars().nth(caret), Some('b'));
    assert!(shown("a =").ends_with("(at position 4)\n  a =\n     ^"), "{}", shown("a ="));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(shape(&nested(MAX_DEPTH)), "[a = 1]");
    let refused = shape(&nested(MAX_DEPTH + 1));
    assert!(refused.starts_with("101: Invalid clause(s)") && refused.contains("more than 100 deep"), "{refused}");
    assert!(shape(&nested(300_000)).contains("more than 100 deep"));
    assert!(shape(&"NOT ".repeat(200_000)).contains("more than 100 deep"));
    assert!(shape(&"NOT (".repeat(200_000)).contains("more than 100 deep"));
    let wide = |comparisons: usize| vec!["a = 1"; comparisons].join(" AND ");
    assert!(parse(&wide(MAX_COMPARISONS)).is_ok());
    assert!(shape(&wide(MAX_COMPARISONS + 1)).contains("at most 1000 comparisons"));
    assert!(parse(&format!("a IN ({})", vec!["'x'"; 50_000].join(", "))).is_ok());
}

#[test]
fn order_clauses() {
    let check = |source: &str, expect: &str| {
        let got = match parse_order(source) {
            Ok((field, ascending)) => format!("{field} {ascending:?}"),
            Err(error) => error.message().to_owned(),
        };
        assert!(got.starts_with(expect), "{source:?}: {got}");
    };
    check("a", "a None");
    check("metrics.`a b` DESC", "metrics.`a b` Some(false)");
    check("metrics.a.min  aSc", "metrics.a.min Some(true)");
    check("params.\"x y\" desc", "params.\"x y\" Some(false)");
    for source in ["", " ", "`a", "a DESC x", "a DESC NULLS LAST", "a, b", "a > 1", "a = 'x'", "1", "a DESC, b", "'a'"]
    {
        check(source, &format!("Invalid order_by clause '{source}'. Could not be parsed."));
    }
    check("a ACS", "Invalid ordering key in order_by clause 'a ACS'.");
    check("a decs", "Invalid ordering key in order_by clause 'a decs'.");
}

fn name() -> impl Strategy<Value = Name> {
    let quote = prop_oneof![Just(Quote::Backtick), Just(Quote::Double)];
    prop_oneof![
        "[a-z_]{1,3}[0-9$#é]?".prop_map(|text| Name { text: format!("k{text}").into(), quote: None }),
        ("[ -~é]{0,6}", quote).prop_map(|(text, quote)| Name { text: text.into(), quote: Some(quote) }),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    let rest = prop_oneof![
        name(),
        "[0-9][a-z]?".prop_map(|text| Name { text: text.into(), quote: None }),
        prop_oneof![Just("and"), Just("NOT"), Just("min")].prop_map(|text| Name { text: text.into(), quote: None }),
        "[ -~]{0,4}".prop_map(|text| Name { text: text.into(), quote: Some(Quote::Single) }),
    ];
    (name(), prop::collection::vec(rest, 0..3))
        .prop_map(|(first, rest)| Field { parts: std::iter::once(first).chain(rest).collect(), span: Span::default() })
}

fn value() -> impl Strategy<Value = Value> {
    let quote = prop_oneof![Just(Quote::Single), Just(Quote::Double)];
    let literal = prop_oneof![
        ("\\PC{0,6}", quote).prop_map(|(text, quote)| Literal::Text(Name { text: text.into(), quote: Some(quote) })),
        "[+-]?[0-9]{1,3}(\\.[0-9]{0,2})?(e[+-]?[0-9]{1,2})?".prop_map(|text| Literal::Number(text.into())),
        any::<f64>().prop_map(|number| Literal::Number(format!("{number:?}").trim_start_matches("NaN").into())),
        field()
            .prop_filter("starts like text", |field| field.parts[0].quote != Some(Quote::Double))
            .prop_map(Literal::Bare),
    ];
    literal
        .prop_filter(
            "NaN and inf without a sign are words",
            |literal| !matches!(literal, Literal::Number(text) if text.is_empty() || &**text == "inf"),
        )
        .prop_map(|literal| Value { literal, span: Span::default() })
}

/// A value, or a list where one belongs.
fn single() -> impl Strategy<Value = Value> {
    let list = prop::collection::vec(value(), 0..3).prop_map(Literal::List);
    prop_oneof![4 => value(), 1 => list.prop_map(|literal| Value { literal, span: Span::default() })]
}

fn operator() -> impl Strategy<Value = Operator> {
    prop_oneof![
        prop_oneof![Just("="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">="), Just("=="), Just("~")]
            .prop_map(Operator::from_signs),
        any::<bool>().prop_map(|negated| Operator::Like { negated }),
        any::<bool>().prop_map(|negated| Operator::ILike { negated }),
    ]
}

fn comparison() -> impl Strategy<Value = Expr> {
    let span = Span::default();
    let test = prop_oneof![
        (operator(), single()).prop_map(|(operator, value)| Test::Compare(operator, value)),
        (any::<bool>(), single(), single()).prop_map(|(negated, low, high)| Test::Between { negated, low, high }),
        (any::<bool>(), prop::collection::vec(value(), 0..4)).prop_map(move |(negated, values)| Test::In {
            negated,
            values,
            span
        }),
        any::<bool>().prop_map(|negated| Test::IsNull { negated }),
    ];
    (field(), test).prop_map(move |(field, test)| Expr::Test(Comparison { field, test, span }))
}

fn expr() -> impl Strategy<Value = Expr> {
    comparison().prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|term| Expr::Not(Box::new(term))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_written_is_read_back(expr in expr()) {
        let text = expr.to_string();
        prop_assert_eq!(parse(&text).map_err(|error| error.to_string()), Ok(Some(expr)), "{}", text);
    }

    #[test]
    fn no_text_panics(source in "\\PC{0,40}|[a-z.`\"'()<>=!~;,0-9 +e-]{0,40}") {
        // Showing the error slices the source too.
        let _ = parse(&source).map_err(|error| error.to_string());
        let _ = parse_order(&source).map_err(|error| error.to_string());
    }

    #[test]
    fn no_string_of_tokens_panics(tokens in prop::collection::vec(prop::sample::select(vec![
        "AND", "OR", "NOT", "(", ")", "IN", "IS", "NULL", "LIKE", "BETWEEN", "metrics", ".", "a", "`", "'", "\"", "=", "<",
        ",", ";", "1", "-1e5", "-inf", "'x'", "\u{0}", "é", "\n", "%",
    ]), 0..24), spaced: bool) {
        let source = tokens.join(if spaced { " " } else { "" });
        let _ = parse(&source).map_err(|error| error.to_string());
        let _ = parse_order(&source).map_err(|error| error.to_string());
    }
}
