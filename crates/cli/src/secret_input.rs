//! Passwords, from wherever others cannot read them: never from the command line, which every user of a machine sees.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::{Failure, Result};

/// Where a new password comes from.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// File whose first line is the password; - for standard input [default: asks on a terminal, else reads standard
    /// input].
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// The password. On a terminal it is asked for twice.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        let password = match &self.password_file {
            Some(path) if path != Path::new("-") => first_line(io::BufReader::new(
                std::fs::File::open(path).map_err(|error| unreadable(&path.display().to_string(), &error))?,
            ))
            .map_err(|error| unreadable(&path.display().to_string(), &error))?,
            None if io::stdin().is_terminal() => ask_twice(name)?,
            _ => first_line(io::stdin().lock()).map_err(|error| unreadable("from standard input", &error))?,
        };
        if password.is_empty() {
            return Err(Failure::usage("the password is empty; nothing was changed"));
        }
        Ok(password)
    }
}

fn ask_twice(name: &str) -> Result<String> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt)
            .map_err(|error| Failure::new(format!("the terminal gave no password: {error}")))
    };
    let password = ask(format!("New password of {name}: "))?;
    if ask("The same again: ".to_owned())? == password {
        Ok(password)
    } else {
        Err(Failure::usage("the two passwords are not the same; nothing was changed"))
    }
}

fn first_line(mut reader: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::new(format!("the password {what} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        for (text, expected) in [("secret\nmore", "secret"), ("secret\r\n", "secret"), (" a b ", " a b "), ("", "")] {
            assert_eq!(first_line(text.as_bytes()).unwrap(), expected);
        }
    }
}
