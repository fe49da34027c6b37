use super::*;

fn problem(text: &str) -> String {
    Location::parse(text).expect_err(text).to_string()
}

#[test]
fn folders_are_made_absolute() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(Location::parse("./data").unwrap(), Location::Local(here.join("data")));
    assert_eq!(Location::parse("data:1").unwrap(), Location::Local(here.join("data:1")));
    assert_eq!(Location::parse("/a/b").unwrap(), Location::Local("/a/b".into()));
    assert_eq!(Location::parse("file:///a/b%20c").unwrap(), Location::Local("/a/b c".into()));
    assert_eq!(Location::parse("file:/a/b").unwrap(), Location::Local("/a/b".into()));
}

#[test]
fn memory_may_have_a_name() {
    let fresh = Location::Memory { name: None, prefix: Path::default() };
    assert_eq!(Location::parse("memory://").unwrap(), fresh);
    let named = Location::Memory { name: Some("x".into()), prefix: Path::from("a/b") };
    assert_eq!(Location::parse("memory://x/a/b/").unwrap(), named);
}

#[test]
fn clouds_have_a_bucket_and_a_prefix() {
    for (text, kind, shown, below) in [
        ("s3://bucket", Cloud::S3, "s3://bucket", ""),
        ("s3a://bucket/a/b", Cloud::S3, "s3://bucket/a/b", "a/b"),
        ("gcs://bucket/a%20b/", Cloud::Gcs, "gs://bucket/a%20b/", "a b"),
        ("azure://box/x", Cloud::Azure, "az://box/x", "x"),
        ("abfss://box@me.dfs.core.windows.net/x", Cloud::Azure, "abfss://box@me.dfs.core.windows.net/x", "x"),
    ] {
        let Location::Cloud { cloud, url, prefix } = Location::parse(text).unwrap() else { panic!("{text}") };
        assert_eq!((cloud, url.as_str(), prefix.as_ref()), (kind, shown, below));
    }
}

#[test]
fn errors_say_what_to_do() {
    assert!(problem("").contains("empty"));
    assert!(problem("ftp://x/y").contains("ftp:// is not a kind of store"));
    assert!(problem("s3:///prefix").contains("names no bucket; write s3://bucket/prefix"));
    assert!(problem("az://").contains("names no bucket"));
    assert!(problem("file://host/x").contains("three slashes"));
    assert!(problem("s3://bucket/x?versionId=1").contains("'?'"));
    assert!(problem("s3://bucket/a/%2e%2e/%00").contains("not usable"));
}

#[test]
fn credentials_are_refused_and_not_shown() {
    for text in ["s3://key:hunter2@bucket/x", "s3://hunter2@bucket/x", "az://box:hunter2@me.blob.core.windows.net"] {
        let problem = problem(text);
        assert!(problem.contains("environment") && !problem.contains("hunter2"), "{problem}");
    }
}
