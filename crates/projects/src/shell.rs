//! Quoting for POSIX shells.

/// A word that a shell reads as exactly `text`. What needs no quotes gets none, as Python's `shlex.quote` does it.
pub(crate) fn quote(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    if text.chars().all(is_safe) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\"'\"'")) }
}

/// A command line of these words.
pub(crate) fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Whether a character means nothing to a shell, wherever it stands.
pub(crate) fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c)
}
