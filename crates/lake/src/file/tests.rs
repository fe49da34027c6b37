use super::*;

fn key(parts: &[&str]) -> Key {
    parts.iter().fold(KeyBuilder::default(), |key, part| key.text(part)).build()
}

fn range(first: &[&str], last: &[&str]) -> KeyRange {
    KeyRange { first: Some(key(first)), last: Some(key(last)) }
}

#[test]
fn ranges_know_keys_and_prefixes() {
    let exact = range(&["b", "x"], &["d", "y"]);
    assert!(exact.is_before(&key(&["d", "z"])) && !exact.is_before(&key(&["d", "y"])));
    assert!(exact.is_after(&key(&["b", "w"])) && !exact.is_after(&key(&["b", "x"])));
    for (prefix, held) in
        [(&[][..], true), (&["a"], false), (&["b"], true), (&["c"], true), (&["d"], true), (&["e"], false)]
    {
        assert_eq!(exact.may_hold(&key(prefix)), held, "{prefix:?}");
    }
    assert!(!exact.may_hold(&key(&["d", "z"])) && exact.may_hold(&key(&["d", "a"])));

    // All that is known of a foreign file: its first column.
    let foreign = range(&["b"], &["d"]);
    assert!(!foreign.is_before(&key(&["d", "z"])) && foreign.is_before(&key(&["e", "a"])));
    assert!(foreign.may_hold(&key(&["d", "z"])) && foreign.may_hold(&key(&["d"])));
    let unknown = KeyRange { first: None, last: None };
    assert!(unknown.may_hold(&key(&["q"])) && unknown.overlaps(&exact) && exact.overlaps(&unknown));
}

#[test]
fn ranges_overlap_and_join() {
    let (a, b, c) = (range(&["a", "1"], &["c", "1"]), range(&["c", "2"], &["d", "1"]), range(&["c", "1"], &["c", "9"]));
    assert!(!a.overlaps(&b) && !b.overlaps(&a));
    assert!(a.overlaps(&c) && c.overlaps(&b));
    assert_eq!(a.joined(&b), range(&["a", "1"], &["d", "1"]));
    assert!(range(&["a"], &["c"]).overlaps(&b));
    assert_eq!(range(&["a"], &["c"]).joined(&c), range(&["a"], &["c"]));
}

#[test]
fn a_written_file_is_known_again_from_its_action() {
    let text = |text: &str| Cell::Text(text.into());
    let written = Written {
        raw: 0,
        name: "part-1.parquet".into(),
        size: 10,
        rows: 2,
        first: vec![text("m\u{0}"), text("k\"ö"), Cell::Int(-5), Cell::Int(7), text("r")],
        last: vec![text("n"), text("k"), Cell::Int(i64::MAX), Cell::Int(7), text("r")],
        bounds: vec![Some((text("m\u{0}"), text("n"))), Some((text("k"), text("k\"ö")))],
        modified_millis: 3,
    };
    let add = DataFile::add_of(TableId::LoggedModelMetrics, &written, true);
    let file = DataFile::from_add(TableId::LoggedModelMetrics, &Path::from("tables/t"), add);
    assert_eq!((file.location().as_ref(), file.size(), file.rows()), ("tables/t/part-1.parquet", 10, Some(2)));
    assert_eq!((file.bounds(0), file.bounds(1), file.bounds(2)), (Some(("m\u{0}", "n")), Some(("k", "k\"ö")), None));
    let first = KeyBuilder::default().text("m\u{0}").text("k\"ö").int(-5).int(7).text("r").build();
    assert_eq!(file.range().first, Some(first));
    assert!(file.is_sorted());
    assert!(file.may_hold_text(&["m1", "k"]) && !file.may_hold_text(&["m1", "l"]) && !file.may_hold_text(&["a"]));
}

#[test]
fn a_file_without_statistics_may_hold_anything() {
    let add = Add { path: "x%20y.parquet".into(), ..Add::default() };
    let file = DataFile::from_add(TableId::Params, &Path::from("tables/params"), add);
    assert!(!file.is_sorted() && file.rows().is_none() && file.may_hold_text(&["r", "k"]));
    assert_eq!(file.range(), &KeyRange { first: None, last: None });
}
