use super::*;
use crate::spec::Parameter;

fn entry(command: &str, parameters: &[(&str, Kind, Option<&str>)]) -> EntryPoint {
    EntryPoint {
        command: command.to_owned(),
        parameters: parameters
            .iter()
            .map(|(name, kind, default)| {
                ((*name).to_owned(), Parameter { kind: *kind, default: default.map(str::to_owned) })
            })
            .collect(),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn nothing_is_fetched(_: usize, uri: &str) -> Result<PathBuf> {
    Err(Error::usage(format!("not fetched: {uri}")))
}

#[test]
fn declared_ones_go_into_the_command_and_others_behind_it() {
    let entry = entry("t {a} {b}", &[("a", Kind::String, None), ("b", Kind::Float, Some("0.5"))]);
    let parameters = checked("main", &entry, &pairs(&[("z", "1"), ("a", "x y"), ("k v", ""), ("z", "2")])).unwrap();
    assert_eq!(parameters.command(&entry).unwrap(), "t 'x y' 0.5 --z 2 --'k v' ''");
    assert_eq!(parameters.logged, pairs(&[("a", "x y"), ("b", "0.5"), ("z", "2"), ("k v", "")]));
    // One that is declared is not a placeholder by being given only.
    assert!(
        checked("main", &entry, &pairs(&[("a", "1"), ("q", "1")]))
            .unwrap()
            .command(&super::tests::entry("{q}", &[]))
            .is_err()
    );
}

#[test]
fn every_fault_is_named() {
    let kinds =
        [("a", Kind::Int, None), ("b", Kind::Float, None), ("c", Kind::String, None), ("d", Kind::Int, Some("x"))];
    let error = checked("main", &entry("t", &kinds), &pairs(&[("a", "1.5"), ("b", "high")])).unwrap_err().to_string();
    for part in ["a is to be a whole number, and is \"1.5\"", "b is to be a number", "c is missing", "d is to be"] {
        assert!(error.contains(part), "{error}");
    }
    for good in ["0", "-7", "+3", "123456789012345678901234567890"] {
        assert!(checked("m", &entry("t", &kinds[..1]), &pairs(&[("a", good)])).is_ok(), "{good}");
    }
    for good in ["1e-3", "-inf", "nan", ".5", "7"] {
        assert!(checked("m", &entry("t", &kinds[1..2]), &pairs(&[("b", good)])).is_ok(), "{good}");
    }
}

#[test]
fn paths_are_found_and_made_absolute() {
    let (here, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(here.path().join("a.csv"), "").unwrap();
    std::fs::write(project.path().join("b.csv"), "").unwrap();
    let fetch = |position: usize, uri: &str| Ok(PathBuf::from(format!("/got/{position}/{}", uri.len())));
    let places = Places { here: here.path(), project: project.path(), fetch: &fetch };
    let located = |kind, value: &str| {
        let entry = entry("t {p}", &[("p", kind, None)]);
        checked("m", &entry, &pairs(&[("p", value)]))
            .unwrap()
            .located(&entry, &places)
            .map(|all| all.values[0].1.clone())
    };
    let a = here.path().join("a.csv").display().to_string();
    assert_eq!(located(Kind::Path, "a.csv").unwrap(), a);
    assert_eq!(located(Kind::Path, "./x/../a.csv").is_ok(), here.path().join("x").exists());
    assert_eq!(located(Kind::Path, &format!("file://{a}")).unwrap(), a);
    assert_eq!(located(Kind::Path, "b.csv").unwrap(), project.path().join("b.csv").display().to_string());
    assert_eq!(located(Kind::Path, "runs:/1/x").unwrap(), "/got/0/9");
    assert_eq!(located(Kind::Uri, "s3://b/x").unwrap(), "s3://b/x");
    assert_eq!(located(Kind::Uri, "a.csv").unwrap(), a);
    for (kind, value) in [(Kind::Path, "gone"), (Kind::Path, ""), (Kind::Uri, "gone"), (Kind::Path, "file:///gone")] {
        let error = located(kind, value).unwrap_err().to_string();
        assert!(error.contains("p: there is no file or folder"), "{error}");
    }
    let places = Places { fetch: &nothing_is_fetched, ..places };
    let entry = entry("t", &[("p", Kind::Path, None)]);
    let error = checked("m", &entry, &pairs(&[("p", "s3://b/x")])).unwrap().located(&entry, &places).unwrap_err();
    assert!(error.to_string().contains("not fetched: s3://b/x"));
}
