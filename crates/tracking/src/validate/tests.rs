use super::*;

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("refused").to_string()
}

fn metric(key: &str, timestamp_ms: i64) -> MetricInput<'_> {
    MetricInput {
        key: key.into(),
        value: 0.5,
        timestamp_ms,
        step: 0,
        model_id: None,
        dataset_name: None,
        dataset_digest: None,
    }
}

#[test]
fn keys_have_plain_characters() {
    for good in ["a", "é1", "a_b-c.d e:f/g", "a/.b", ".hidden", "a..b", "Ω"] {
        assert!(key(good, || "key".into()).is_ok(), "{good}");
    }
    assert_eq!(
        message(key("a!b", || "key".into())),
        "Invalid value \"a!b\" for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), \
         dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
    );
}

#[test]
fn keys_are_their_own_paths() {
    for (bad, resolved) in [
        ("../a", "../a"),
        ("/a", "/a"),
        ("//a", "//a"),
        ("///a", "/a"),
        ("a//b", "a/b"),
        ("a/./b", "a/b"),
        (".", "."),
        ("", "."),
        ("a/", "a"),
        ("a/../b", "b"),
        ("/..", "/"),
    ] {
        let expected = format!("This name would resolve to '{resolved}'");
        assert!(message(key(bad, || "key".into())).ends_with(&expected), "{bad}");
    }
}

#[test]
fn metric_times_are_checked() {
    assert_eq!(
        message(metric_time(&metric("s", -1), Path::At("metrics", 0))),
        "Invalid value -1 for parameter 'metrics[0].timestamp' supplied: metric 's' (value=0.5). Timestamp must be a \
         nonnegative long (64-bit integer) "
    );
    assert!(message(metric_time(&metric("s", i64::MAX), Path::Top)).contains("parameter 'timestamp'"));
    assert_eq!(metric_time(&metric("s", 5), Path::Top).map(Timestamp::millis).ok(), Some(5));
}

#[test]
fn long_values_are_cut_or_refused_by_characters() {
    let long = "é".repeat(6001);
    let given = KeyValue { key: "p", value: &long };
    assert_eq!(param(&given, Path::Top, true).map(|value| value.chars().count()).ok(), Some(6000));
    assert_eq!(message(param(&given, Path::Top, false)), "'Param value' exceeds the maximum length of 6000 characters");
    let long = "x".repeat(8001);
    let given = KeyValue { key: "t", value: &long };
    assert_eq!(tag(&given, Path::Top, true).map(str::len).ok(), Some(8000));
    assert_eq!(
        message(tag(&given, Path::At("tags", 1), false)),
        "'tags[1].value' exceeds the maximum length of 8000 characters"
    );
    let key = "k".repeat(251);
    let given = KeyValue { key: &key, value: "" };
    assert_eq!(message(param(&given, Path::Top, true)), "'Param key' exceeds the maximum length of 250 characters");
    assert_eq!(message(tag(&given, Path::Top, true)), "'key' exceeds the maximum length of 250 characters");
}

#[test]
fn batches_are_bounded() {
    assert!(batch_limits(800, 100, 100).is_ok());
    assert_eq!(
        message(batch_limits(0, 101, 0)),
        "A batch logging request can contain at most 100 params. Got 101 params. Please split up params across \
         multiple requests and try again."
    );
    assert!(message(batch_limits(1000, 1, 0)).contains("1001 metrics, params, and tags."));
    assert!(
        message(params_unique(&[("é", ""), ("é", ""), ("q", ""), ("q", ""), ("q", "")])).contains("['é', 'q', 'q']")
    );
}

#[test]
fn experiment_ids_are_integers() {
    assert_eq!(experiment_id(" 01").ok(), Some(ExperimentId::new(1)));
    assert_eq!(experiment_id("-0").ok(), Some(ExperimentId::DEFAULT));
    assert_eq!(message(experiment_id("-5")), "No Experiment with id=-5 exists");
    assert_eq!(message(experiment_id("abc")), "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.");
    assert!(message(experiment_id("99999999999999999999")).starts_with("No Experiment"));
}

#[test]
fn page_sizes_are_positive_and_bounded() {
    assert_eq!(max_results(7, 10).ok(), Some(7));
    assert_eq!(
        message(max_results(0, 10)),
        "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"
    );
    assert_eq!(
        message(max_results(11, 10)),
        "Invalid value 11 for parameter 'max_results' supplied. It must be at most 10"
    );
}

#[test]
fn datasets_have_a_name_and_a_digest() {
    let input = |name: &str, digest: &str| DatasetInput {
        dataset: crate::DatasetInfo { name: name.into(), digest: digest.into(), ..Default::default() },
        tags: Vec::new(),
    };
    assert!(dataset_inputs(&[input("n", "d")]).is_ok());
    assert!(message(dataset_inputs(&[input("n", "d"), input("n", "")])).contains("datasets[1].dataset.digest"));
    assert_eq!(
        message(dataset_inputs(&[input(&"n".repeat(501), "d")])),
        "'name' exceeds the maximum length of 500 characters"
    );
}

#[test]
fn logged_model_names_are_plain() {
    assert!(logged_model_name("m").is_ok());
    assert_eq!(
        message(logged_model_name("a/b")),
        "Invalid model name ('a/b') provided. Model name must be a non-empty string and cannot contain the following \
         characters: ('/', ':', '.', '%', '\"', \"'\")"
    );
}
