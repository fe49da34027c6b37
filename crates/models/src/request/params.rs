//! `params` of a request: those that the signature knows, of its types. Others are left out, as MLflow does.

use super::columns::datetime_text;
use super::{Refused, Result};
use crate::json::Json;
use crate::signature::{Kind, Param, Simple};

pub(super) fn read(given: &Json, known: Option<&[Param]>) -> Result<Option<String>> {
    let entries = match given {
        Json::Null => return Ok(None),
        Json::Map(entries) => entries,
        _ if known.is_none_or(<[Param]>::is_empty) => return Ok(None),
        other => return Err(Refused::schema(format!("params is {}; it is to be an object", other.kind()))),
    };
    let mut kept = Vec::new();
    for (name, value) in entries {
        let Some(param) = known.unwrap_or_default().iter().find(|param| param.name == *name) else { continue };
        check(param, value).map_err(|problem| Refused::schema(format!("param {name:?}: {problem}")))?;
        kept.push((name.clone(), value.clone()));
    }
    Ok((!kept.is_empty()).then(|| Json::Map(kept).to_text()))
}

fn check(param: &Param, value: &Json) -> Result<(), String> {
    match (&param.shape, value) {
        (_, Json::Null) => Ok(()),
        (Some(shape), Json::List(items)) => {
            if let [length] = shape[..]
                && length >= 0
                && usize::try_from(length) != Ok(items.len())
            {
                return Err(format!("it is to have {length} values, and has {}", items.len()));
            }
            items.iter().enumerate().try_for_each(|(index, item)| {
                one(&param.kind, item).map_err(|problem| format!("item {index}: {problem}"))
            })
        }
        (Some(_), other) => Err(format!("{} is no list; it is to be a list of {}", other.shown(), param.kind)),
        (None, value) => one(&param.kind, value),
    }
}

fn one(kind: &Kind, value: &Json) -> Result<(), String> {
    let Kind::Simple(simple) = kind else { return Ok(()) };
    let is_fit = match simple {
        Simple::Boolean => matches!(value, Json::Bool(_)),
        Simple::Integer | Simple::Long => matches!(value, Json::Int(_)),
        Simple::Float | Simple::Double => matches!(value, Json::Int(_) | Json::Float(_)),
        Simple::String | Simple::Binary => matches!(value, Json::Text(_)),
        Simple::Datetime => match value {
            Json::Text(text) => return datetime_text(text).map(|_| ()),
            _ => false,
        },
    };
    if is_fit { Ok(()) } else { Err(format!("{} is no {kind}", value.shown())) }
}
