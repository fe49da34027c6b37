//! Statements in a text, told apart by semicolons outside of quotes and comments.

/// The statements in `text`, without the semicolons. What follows the last one is a statement too, unless it is blank.
pub(super) fn statements(text: &str) -> Vec<&str> {
    let (mut found, rest) = cut(text);
    if !is_blank(rest) {
        found.push(rest.trim());
    }
    found
}

/// Whether `text` ends with a semicolon that ends a statement, or holds nothing.
pub(super) fn is_complete(text: &str) -> bool {
    is_blank(cut(text).1)
}

fn cut(text: &str) -> (Vec<&str>, &str) {
    let mut found = Vec::new();
    let mut start = 0;
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    while let Some(byte) = scan.next() {
        if byte == b';' {
            let statement = &text[start..scan.at - 1];
            if !is_blank(statement) {
                found.push(statement.trim());
            }
            start = scan.at;
        }
    }
    (found, &text[start..])
}

/// Whether there is nothing but space and comments.
fn is_blank(text: &str) -> bool {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    std::iter::from_fn(|| scan.next()).all(|byte| byte.is_ascii_whitespace())
}

/// The bytes outside of comments; a quoted piece counts as its closing quote.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            let next = self.bytes.get(self.at + 1).copied();
            self.at += 1;
            match (byte, next) {
                (b'\'' | b'"', _) => {
                    self.skip_until(|scan| scan.bytes[scan.at] == byte, 1);
                    return Some(byte);
                }
                (b'-', Some(b'-')) => self.skip_until(|scan| scan.bytes[scan.at] == b'\n', 1),
                (b'/', Some(b'*')) => self.skip_until(|scan| scan.bytes[scan.at..].starts_with(b"*/"), 2),
                _ => return Some(byte),
            }
        }
    }

    fn skip_until(&mut self, is_end: impl Fn(&Self) -> bool, length: usize) {
        while self.at < self.bytes.len() && !is_end(self) {
            self.at += 1;
        }
        self.at = (self.at + length).min(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_count() {
        let text = "SELECT ';' -- a; b\n; /* ; */ SELECT \"a;b\" ;;\n  -- the end\n";
        assert_eq!(statements(text), ["SELECT ';' -- a; b", "/* ; */ SELECT \"a;b\""]);
        assert_eq!(statements("SELECT 'it''s; fine'; SELECT 2"), ["SELECT 'it''s; fine'", "SELECT 2"]);
        assert_eq!(statements(" -- nothing\n"), Vec::<&str>::new());
    }

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for text in ["SELECT 1;", "", "SELECT 1; -- done", "  \n"] {
            assert!(is_complete(text), "{text:?}");
        }
        for text in ["SELECT 1", "SELECT ';", "SELECT 1; SELECT", "SELECT 1 -- ;"] {
            assert!(!is_complete(text), "{text:?}");
        }
    }
}
