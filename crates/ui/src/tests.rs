use super::*;

#[test]
fn the_index_is_a_page_that_names_existing_files() {
    let index = index();
    assert_eq!(index.content_type, "text/html; charset=utf-8");
    assert!(!index.immutable, "the page that names the others must be asked for each time");
    let text = std::str::from_utf8(index.bytes).expect("a page is text");
    let named: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(named.len() >= 2, "scripts and styles: {named:?}");
    for path in named {
        assert!(asset(path).is_some_and(|asset| asset.immutable), "{path}");
    }
}

#[test]
fn nothing_in_the_page_needs_an_inline_script_or_style() {
    let text = std::str::from_utf8(index().bytes).expect("a page is text");
    assert!(!text.contains("<style") && !text.contains(" style="));
    assert!(
        text.split("<script").skip(1).all(|script| script.split('>').next().is_some_and(|tag| tag.contains("src=")))
    );
    assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
}

#[test]
fn files_are_found_with_and_without_a_slash() {
    assert_eq!(asset("/index.html"), asset("index.html"));
    assert_eq!(asset("index.html"), Some(index()));
    assert_eq!(asset("../Cargo.toml"), None);
    assert_eq!(asset(""), None);
}

#[test]
fn pages_of_runs_are_shown_in_an_origin_of_their_own() {
    let frame = asset("frame.html").expect("the frame");
    assert!(frame.content_security_policy.starts_with("sandbox allow-scripts;"));
    assert!(!frame.content_security_policy.contains("allow-same-origin"));
}

#[test]
fn what_a_browser_needs_first_is_small() {
    let text = std::str::from_utf8(index().bytes).expect("a page is text");
    let named = text.split('"').filter(|part| part.starts_with("/assets/")).filter_map(asset);
    let bytes: usize = named.map(|asset| asset.gzip.unwrap_or(asset.bytes).len()).sum();
    assert!(bytes < 500_000, "{bytes} bytes at the first visit");
}

#[test]
fn tags_tell_files_apart() {
    let mut tags: Vec<_> = ASSETS.iter().map(|(_, asset)| (asset.etag, asset.bytes)).collect();
    tags.sort_unstable();
    tags.dedup();
    let mut names: Vec<_> = tags.iter().map(|(tag, _)| tag).collect();
    names.dedup();
    assert_eq!(names.len(), tags.len());
}
