use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use runlake_types::ErrorKind;

use super::*;

#[test]
fn plain_paths_are_kept() {
    for text in
        ["a", "a/b.txt", "model/MLmodel", "a b/ü", "100%", "50%25", "a%20b", "..a/b..", "...", "ab:c/d:", "x~[1]{2}"]
    {
        assert_eq!(ArtifactPath::parse(text).unwrap().as_str(), text);
    }
    assert_eq!(ArtifactPath::parse("./a/./b/").unwrap().as_str(), "a/b");
    assert!(ArtifactPath::parse(".").unwrap().is_root());
}

#[test]
fn unsafe_paths_are_refused_however_encoded() {
    let bad = [
        "..",
        "../a",
        "a/../b",
        "a/..",
        "/a",
        "/",
        "",
        "//a",
        "a//b",
        "a//",
        "a\\b",
        "\\\\host\\x",
        "C:/x",
        "c:",
        "a#b",
        "a\0",
        "a\nb",
        "a\u{7f}",
        "a\u{85}b",
    ];
    for text in bad {
        let error = ArtifactPath::parse(text).expect_err(text);
        assert_eq!((error.to_string().as_str(), error.kind()), ("Invalid path", ErrorKind::Invalid));
        let mut encoded = text.to_owned();
        for round in 0..4 {
            encoded = utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string();
            if !encoded.is_empty() {
                assert!(ArtifactPath::parse(&encoded).is_err(), "{text:?} after {round} rounds: {encoded}");
            }
        }
    }
    for text in [
        "%2e%2e/x",
        "a/%2E%2e",
        "%252e%252e%252fetc",
        "..%2f..%2fetc",
        "%2fetc",
        "a%5Cb",
        "%23",
        "%00",
        "%43%3a/x",
        "./C:/x",
        "%2e",
        "a/%252e",
    ] {
        assert!(ArtifactPath::parse(text).is_err(), "{text}");
    }
    let endless = format!("%{}41", "25".repeat(20));
    assert!(ArtifactPath::parse(&endless).is_err(), "more rounds than anyone needs");
}

#[test]
fn names_no_store_can_hold_are_refused() {
    assert!(ArtifactPath::parse(&"x".repeat(255)).is_ok());
    assert!(ArtifactPath::parse(&"x".repeat(256)).is_err());
    assert!(ArtifactPath::parse(&["x"; 451].join("/")).is_err());
}

#[test]
fn paths_join() {
    let [root, a, bc] = [".", "a", "b/c"].map(|text| ArtifactPath::parse(text).unwrap());
    assert_eq!(a.join(&bc).as_str(), "a/b/c");
    assert_eq!((root.join(&a), a.join(&root)), (a.clone(), a.clone()));
    assert_eq!((bc.name(), root.name()), ("c", ""));
}

/// Text made of what is dangerous, mixed with what is not.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("/".to_owned()),
        Just("\\".to_owned()),
        Just("C:".to_owned()),
        Just("%".to_owned()),
        Just("%2".to_owned()),
        Just("%25".to_owned()),
        Just("%2e".to_owned()),
        Just("%2F".to_owned()),
        Just("%5c".to_owned()),
        Just("2f".to_owned()),
        "[a-z]{1,3}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

const SLASHES_KEPT: &AsciiSet = &CONTROLS.add(b'%').add(b'.').add(b'\\').add(b'#').add(b':');

proptest! {
    /// Whatever is accepted stays below its root after any number of decodings, and is accepted again unchanged.
    #[test]
    fn accepted_paths_stay_inside(text in nasty()) {
        let Ok(path) = ArtifactPath::parse(&text) else { return Ok(()) };
        prop_assert_eq!(&ArtifactPath::parse(if path.is_root() { "." } else { path.as_str() }).unwrap(), &path);
        let mut decoded = path.as_str().to_owned();
        for _ in 0..20 {
            let root = std::path::Path::new("/root");
            let mut depth = 0_i32;
            for part in root.join(&decoded).strip_prefix(root).expect("not absolute").components() {
                prop_assert!(matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir), "{:?}", decoded);
                depth += 1;
            }
            prop_assert!(depth > 0 || path.is_root());
            prop_assert!(!decoded.contains(['\\', '#', '\0', '\n']));
            decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
        }
    }

    /// An unsafe path is refused under every encoding of it, and an object's name can be made of every accepted one.
    #[test]
    fn encoding_does_not_help(text in nasty(), rounds in 1_usize..5) {
        let verdict = ArtifactPath::parse(&text);
        if let Ok(path) = &verdict {
            prop_assert!(object_store::path::Path::parse(path.as_str()).is_ok());
        } else if !text.is_empty() && text.len() < 40 {
            let mut encoded = text.clone();
            for _ in 0..rounds {
                encoded = utf8_percent_encode(&encoded, SLASHES_KEPT).to_string();
            }
            prop_assert!(ArtifactPath::parse(&encoded).is_err(), "{} as {}", text, encoded);
        }
    }
}
