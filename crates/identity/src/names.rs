//! What users, passwords and labels may look like.

use crate::{Error, Result};

/// Longest name of a user, in bytes.
const NAME_BYTES: usize = 128;
/// Shortest password, in characters; as MLflow's server has it.
const PASSWORD_CHARS: usize = 12;
/// Longest password, in bytes: a longer one only costs time.
pub(crate) const PASSWORD_BYTES: usize = 1024;
/// Longest label of a token, in bytes.
const LABEL_BYTES: usize = 256;

/// A name must fit a Basic header, where a colon ends it, and a line of a log.
pub(crate) fn user(name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_BYTES {
        "it is longer than 128 bytes"
    } else if name.contains(':') {
        "a colon would end it when it is sent"
    } else if name.chars().any(char::is_control) {
        "it has a control character"
    } else if name.trim() != name {
        "it starts or ends with a space"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{:?} cannot be the name of a user: {problem}.", shown(name))))
}

pub(crate) fn password(password: &str) -> Result<()> {
    if password.chars().count() < PASSWORD_CHARS {
        Err(Error::invalid(format!("A password has {PASSWORD_CHARS} characters at least.")))
    } else if password.len() > PASSWORD_BYTES {
        Err(Error::invalid(format!("A password has {PASSWORD_BYTES} bytes at most.")))
    } else {
        Ok(())
    }
}

pub(crate) fn label(label: &str) -> Result<()> {
    if label.len() > LABEL_BYTES || label.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "The label of a token has {LABEL_BYTES} bytes at most, and no control characters."
        )));
    }
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_BYTES).collect()
}
