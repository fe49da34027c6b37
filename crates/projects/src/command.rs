//! The command of an entry point: a template whose placeholders become quoted values.
//!
//! A value is quoted as MLflow quotes it (`shlex.quote`), and then once more for the place it stands in: inside double
//! quotes the shell would look for `$` and backticks, inside single quotes our own would end the template's. So a value
//! stays data wherever it stands, while commands that MLflow runs as they were meant run the same.
//! Where nothing can be quoted (backticks, `${…}`, arithmetic, here-documents) only values pass that mean nothing to a
//! shell; others are refused.

use crate::shell::{is_safe, quote};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// A command line made of a template and values; `value` tells what a placeholder stands for.
pub(crate) fn substituted(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String> {
    // The parentheses of `case` inside `$(…)` are not in pairs.
    let joined = template.replace("\\\n", "");
    let is_opaque = joined.contains("$(") && joined.contains("esac");
    let mut place = Place { is_opaque, ..Place::default() };
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        place.pass(&rest[..at]);
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if after.starts_with(brace) {
            place.pass(brace);
            out.push_str(brace);
            rest = &after[1..];
            continue;
        }
        let name = match after.split_once('}') {
            Some((name, following)) if brace == "{" => {
                rest = following;
                name
            }
            _ => return Err(Error::usage(format!("the command has a lone {brace:?}; write it twice: {template:?}"))),
        };
        let Some(text) = value(name) else {
            return Err(Error::usage(format!(
                "the command names {{{name}}}, which is no parameter of the entry point (write braces that are not \
                 meant as parameters twice): {template:?}"
            )));
        };
        out.push_str(&place.insert(name, &text)?);
    }
    out.push_str(rest);
    Ok(out)
}

/// Where in a shell's text we are.
#[derive(Debug, Default)]
struct Place {
    /// What is open around this point, innermost last; nothing: plain text of a command.
    open: Vec<Around>,
    last: Option<char>,
    /// An unquoted backslash stands right before.
    is_escaped: bool,
    /// How many `<` stand right before.
    angles: usize,
    /// What follows may be the text of a here-document, or anything.
    is_opaque: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    Double,
    Single,
    /// `$'…'`
    Ansi,
    Backticks,
    /// `$(…)`, with the parentheses open in it.
    Command(usize),
    /// `$((…))`, likewise.
    Arithmetic(usize),
    /// `${…}`
    Expansion,
    Comment,
}

impl Place {
    /// Goes over text of the template.
    fn pass(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            // The shell joins such lines before it reads anything.
            let is_literal = matches!(self.open.last(), Some(Around::Single | Around::Ansi | Around::Comment));
            if c == '\\' && !self.is_escaped && !is_literal && chars.next_if_eq(&'\n').is_some() {
                continue;
            }
            // An escaped character means nothing, nor does the second of `$$` begin something.
            let is_pid = c == '$' && self.last == Some('$');
            let is_mute = self.is_escaped || is_pid;
            // Shells do not agree on what `$$(` inside quotes is.
            self.is_opaque |= is_pid && matches!(chars.peek(), Some('(' | '{'));
            self.step(c, chars.peek().copied());
            self.last = Some(if is_mute { 'x' } else { c });
        }
    }

    fn step(&mut self, c: char, next: Option<char>) {
        if c != '<' && std::mem::take(&mut self.angles) == 2 {
            self.is_opaque = true;
        }
        if std::mem::take(&mut self.is_escaped) {
            return;
        }
        let innermost = self.open.last().copied();
        // A backtick ends a command in backticks from within its quotes and comments too; and single quotes in `"${…}"`
        // are none. What follows could be anywhere.
        self.is_opaque |= match c {
            '`' => innermost != Some(Around::Backticks) && self.open.contains(&Around::Backticks),
            '\'' => innermost == Some(Around::Expansion) && self.open.contains(&Around::Double),
            _ => false,
        };
        match (innermost, c) {
            (Some(Around::Single | Around::Ansi), '\'')
            | (Some(Around::Comment), '\n')
            | (Some(Around::Double), '"')
            | (Some(Around::Expansion), '}')
            | (Some(Around::Backticks), '`') => self.close(),
            (Some(Around::Single | Around::Comment), _) => {}
            (_, '\\') => self.is_escaped = true,
            (Some(Around::Ansi), _) => {}
            (_, '`') => self.open.push(Around::Backticks),
            (_, '{') if self.last == Some('$') => self.open.push(Around::Expansion),
            // `$[…]`, an old way to write `$((…))`.
            (_, '[') if self.last == Some('$') => self.is_opaque = true,
            (_, '(') if self.last == Some('$') => {
                self.open.push(if next == Some('(') { Around::Arithmetic(1) } else { Around::Command(1) });
            }
            (Some(Around::Double), _) => {}
            (_, '"') => self.open.push(Around::Double),
            (_, '\'') => self.open.push(if self.last == Some('$') { Around::Ansi } else { Around::Single }),
            // `((…))` as a command of its own.
            (Some(Around::Command(_)), '(') if self.last == Some('(') => self.open.push(Around::Arithmetic(1)),
            (None, '(') if self.last == Some('(') => self.open.push(Around::Arithmetic(2)),
            (Some(Around::Command(_) | Around::Arithmetic(_)), '(' | ')') => self.parenthesis(c == '('),
            (None | Some(Around::Command(_) | Around::Backticks), '#') if self.is_word_start() => {
                self.open.push(Around::Comment);
            }
            (None | Some(Around::Command(_) | Around::Backticks), '<') => self.angles += 1,
            _ => {}
        }
    }

    fn close(&mut self) {
        self.open.pop();
    }

    fn parenthesis(&mut self, opens: bool) {
        if let Some(Around::Command(depth) | Around::Arithmetic(depth)) = self.open.last_mut() {
            *depth = if opens { *depth + 1 } else { *depth - 1 };
            if *depth == 0 {
                self.close();
            }
        }
    }

    fn is_word_start(&self) -> bool {
        self.last.is_none_or(|last| last.is_whitespace() || ";&|()<>`".contains(last))
    }

    /// The value as it may stand here.
    fn insert(&mut self, name: &str, value: &str) -> Result<String> {
        if value.contains('\0') {
            return Err(Error::usage(format!("parameter {name} has a NUL character, which no command line can hold")));
        }
        if self.last == Some('$') {
            return Err(Error::usage(format!(
                "the command has ${{{name}}}: write {{{name}}} for the parameter, or ${{{{{name}}}}} for a variable of the shell"
            )));
        }
        let is_unquotable = |around: &Around| !matches!(around, Around::Double | Around::Single | Around::Command(_));
        let is_unquotable = self.is_opaque || self.angles == 2 || self.open.iter().any(is_unquotable);
        let follows_backslash = self.is_escaped && !matches!(self.open.last(), Some(Around::Double));
        if is_unquotable || follows_backslash {
            if !value.chars().all(is_safe) {
                let after =
                    if follows_backslash { "after a backslash" } else { "in backticks, ${}, $(()) or the like" };
                return Err(Error::usage(format!(
                    "parameter {name} stands {after} in the command, where the value {value:?} cannot be quoted; give \
                     one of letters and digits, or change the command"
                )));
            }
            (self.last, self.is_escaped) = (Some('x'), false);
            return Ok(value.to_owned());
        }
        (self.last, self.is_escaped) = (Some('x'), false);
        let quoted = quote(value);
        Ok(match self.open.last() {
            Some(Around::Double) => escaped_in_double_quotes(&quoted),
            Some(Around::Single) => quoted.replace('\'', "'\\''"),
            _ => quoted,
        })
    }
}

fn escaped_in_double_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '$' | '`' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
