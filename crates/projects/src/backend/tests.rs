use super::*;

#[test]
fn configs_are_objects_or_files_of_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.json"), "{\"a\": \"b\", \"l\": [\"x\"], \"n\": 1}").unwrap();
    let config = Config::read("c.json", folder.path()).unwrap();
    assert_eq!(config.text("a").unwrap(), Some("b"));
    assert_eq!(config.words("l").unwrap(), Some(vec!["x".to_owned()]));
    assert_eq!((config.text("z").unwrap(), config.words("z").unwrap()), (None, None));
    assert!(config.text("n").is_err() && config.words("a").is_err());
    assert!(config.expect("x", &["a", "l"]).unwrap_err().to_string().contains("\"n\""));
    assert_eq!(Config::read(" {} ", folder.path()).unwrap(), Config::default());
    for bad in ["{", "gone.json", "[1]"] {
        assert!(Config::read(bad, folder.path()).is_err(), "{bad}");
    }
}

#[test]
fn templates_are_filled_and_their_faults_placed() {
    let values = [("a", "{{b}}".to_owned()), ("b", "2".to_owned())];
    assert_eq!(rendered("t", "x {{a}} {{ b }}\n", &values).unwrap(), "x {{b}} 2\n");
    for (template, place) in [("x\n  {{c}}", "t, line 2, column 3"), ("{{a", "t, line 1, column 1")] {
        let error = rendered("t", template, &values).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn backends_by_name() {
    assert_eq!(Backend::named("slurm").unwrap().name(), "script");
    for name in ["", "../x", "a b", "no-such-one"] {
        assert!(Backend::named(name).unwrap_err().to_string().contains("known are"), "{name}");
    }
}
