//! SQL `LIKE` patterns.

/// A compiled pattern: `%` is any text, `_` any single character, everything else itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LikePattern {
    parts: Vec<Part>,
    fold_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Char(char),
    One,
    Any,
}

impl LikePattern {
    /// Compiles a pattern; `fold_case` for `ILIKE`.
    pub fn new(pattern: &str, fold_case: bool) -> Self {
        let mut parts = Vec::with_capacity(pattern.len());
        for char in pattern.chars() {
            match char {
                '%' if parts.last() == Some(&Part::Any) => {}
                '%' => parts.push(Part::Any),
                '_' => parts.push(Part::One),
                char if fold_case => parts.extend(char.to_lowercase().map(Part::Char)),
                char => parts.push(Part::Char(char)),
            }
        }
        Self { parts, fold_case }
    }

    /// Whether the whole of `text` matches. Takes time proportional to pattern × text at worst.
    pub fn matches(&self, text: &str) -> bool {
        if self.fold_case {
            self.matches_chars(&text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>())
        } else {
            self.matches_chars(&text.chars().collect::<Vec<_>>())
        }
    }

    /// Greedy match that on a mismatch lets the last `%` take one character more.
    fn matches_chars(&self, text: &[char]) -> bool {
        let (mut part, mut at) = (0, 0);
        let mut retry = None;
        while at < text.len() {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    retry = Some((part + 1, at));
                    part += 1;
                }
                Some(Part::One) => (part, at) = (part + 1, at + 1),
                Some(Part::Char(char)) if *char == text[at] => (part, at) = (part + 1, at + 1),
                _ => match retry {
                    Some((after, taken)) => {
                        retry = Some((after, taken + 1));
                        (part, at) = (after, taken + 1);
                    }
                    None => return false,
                },
            }
        }
        self.parts[part..].iter().all(|part| *part == Part::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("%", "", true),
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("%b%", "abc", true),
            ("abc", "abcd", false),
            ("A%", "abc", false),
            ("%aab", "aaaab", true),
            ("a%b%c", "a-b-b-c", true),
            ("_", "ä", true),
        ] {
            assert_eq!(LikePattern::new(pattern, false).matches(text), expected, "{text} LIKE {pattern}");
        }
        assert!(LikePattern::new("ÄB%", true).matches("äBc"));
    }
}
