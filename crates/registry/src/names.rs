//! What names, numbers and texts of the registry may be. Messages are those of MLflow 3.17.

use runlake_tracking::validate;
use runlake_types::rows::Stage;
use rustc_hash::FxHashMap;

use crate::{Error, IS_PROMPT, Result};

/// Characters of a model's name: it becomes a key of tables.
const NAME_CHARS: usize = 1000;
const TAG_KEY_CHARS: usize = 250;
const TAG_VALUE_CHARS: usize = 100_000;
const ALIAS_CHARS: usize = 255;
/// Tag of a version of a prompt: its text.
pub(crate) const PROMPT_TEXT: &str = "mlflow.prompt.text";
const STAGES: [Stage; 4] = [Stage::None, Stage::Staging, Stage::Production, Stage::Archived];

/// A name that a model is to have.
pub(crate) fn model(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid("Missing value for required parameter 'name'."));
    }
    if name.contains(['/', ':']) {
        return Err(Error::invalid(format!("Invalid model name '{name}'. Names cannot contain '/' or ':'.")));
    }
    validate::own_path(name, || "name".to_owned())?;
    validate::length("name", NAME_CHARS, name)?;
    Ok(())
}

/// Number of a version, as a caller writes it.
pub(crate) fn version(text: &str) -> Result<i64> {
    let digits = text.trim();
    let is_number = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    if is_number.is_empty() || !is_number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::invalid(format!("Parameter 'version' must be an integer, got '{text}'.")));
    }
    // One that is too long to be a number is no version's.
    Ok(digits.parse().unwrap_or(0))
}

/// The key of a tag that is to be set.
pub(crate) fn tag(key: &str, value: &str) -> Result<()> {
    validate::key(key, || "key".to_owned())?;
    validate::length("key", TAG_KEY_CHARS, key)?;
    validate::length("value", TAG_VALUE_CHARS, value)?;
    Ok(())
}

/// The tags of something new, each key once and the last value given for it.
pub(crate) fn tags(given: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let mut last: FxHashMap<&str, &str> = FxHashMap::default();
    for (key, value) in given {
        tag(key, value)?;
        last.insert(key, value);
    }
    let mut tags: Vec<(String, String)> =
        last.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    tags.sort_unstable();
    Ok(tags)
}

/// The text of a prompt, kept as a tag.
pub(crate) fn prompt_text(tags: &[(String, String)]) -> Result<()> {
    match tags.iter().find(|(key, _)| key == PROMPT_TEXT) {
        Some((_, text)) if text.chars().count() > TAG_VALUE_CHARS => {
            Err(Error::invalid(format!("Prompt text exceeds max length of {TAG_VALUE_CHARS} characters.")))
        }
        _ => Ok(()),
    }
}

/// Whether tags are those of a prompt.
pub(crate) fn is_prompt(tags: &[(String, String)]) -> bool {
    tags.iter().any(|(key, value)| key == IS_PROMPT && value.eq_ignore_ascii_case("true"))
}

/// The name of an alias that is asked for.
pub(crate) fn alias(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("Registered model alias name cannot be empty."));
    }
    if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
        return Err(Error::invalid(format!(
            "Invalid alias name: '{name}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )));
    }
    validate::length("Registered model alias name", ALIAS_CHARS, name)?;
    Ok(())
}

/// The name of an alias that is to be given.
pub(crate) fn new_alias(name: &str) -> Result<()> {
    alias(name)?;
    if is_latest(name) {
        return Err(Error::invalid("'latest' alias name (case insensitive) is reserved."));
    }
    let number = name.strip_prefix(['v', 'V']).unwrap_or_default();
    if !number.is_empty() && number.chars().all(char::is_numeric) {
        return Err(Error::invalid(format!("Version alias name '{name}' is reserved.")));
    }
    Ok(())
}

/// Whether the alias stands for the highest version there is.
pub(crate) fn is_latest(alias: &str) -> bool {
    alias.eq_ignore_ascii_case("latest")
}

/// A stage, in any case.
pub fn stage(text: &str) -> Result<Stage> {
    STAGES.into_iter().find(|stage| stage.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        Error::invalid(format!(
            "Invalid Model Version stage: {text}. Value must be one of None, Staging, Production, Archived."
        ))
    })
}
