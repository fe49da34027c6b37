//! Text columns as numbers: each distinct text once, and for each row which one it is.

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use std::collections::HashMap;

use super::Refused;
use super::columns::column;
use crate::{Error, Result};
use arrow_array::RecordBatch;

/// Stands for no text in [`Texts::codes`].
pub(super) const NONE: u32 = u32::MAX;

/// Hashes with a seed of its own, as the texts come from callers.
type Known<'a> = HashMap<&'a str, u32, foldhash::fast::RandomState>;

/// The distinct texts of a column.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    /// For each row its text's place in `distinct`, or [`NONE`].
    pub(super) codes: Vec<u32>,
    /// The texts, each once, and the first row that has it.
    pub(super) distinct: Vec<(&'a str, usize)>,
}

impl<'a> Texts<'a> {
    /// A column that must be there, with a text in every row.
    pub(super) fn required(batch: &'a RecordBatch, name: &str) -> Result<Self, Refused> {
        let texts = Self::of(super::columns::required(batch, name)?, name)?;
        match texts.codes.iter().position(|code| *code == NONE) {
            None => Ok(texts),
            Some(row) => Err(Refused::invalid(row, format!("the {name} is null"))),
        }
    }

    /// A column that may be absent. Empty texts are none.
    pub(super) fn optional(batch: &'a RecordBatch, name: &str) -> Result<Option<Self>, Refused> {
        let Some(array) = column(batch, name) else { return Ok(None) };
        let mut texts = Self::of(array, name)?;
        if let Some(empty) = texts.distinct.iter().position(|(text, _)| text.is_empty()) {
            for code in texts.codes.iter_mut().filter(|code| **code as usize == empty) {
                *code = NONE;
            }
        }
        Ok(Some(texts))
    }

    fn of(array: &'a ArrayRef, name: &str) -> Result<Self, Refused> {
        let unreadable = || Refused::from(Error::invalid(format!("the column '{name}' cannot be read as text")));
        match array.data_type() {
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary_opt().ok_or_else(unreadable)?;
                let values = Plain::of(dictionary.values()).ok_or_else(unreadable)?;
                Ok(Self::of_dictionary(dictionary, &values))
            }
            _ => Ok(Self::of_plain(&Plain::of(array).ok_or_else(unreadable)?)),
        }
    }

    fn of_plain(array: &Plain<'a>) -> Self {
        let mut builder = Builder::default();
        let mut codes = Vec::with_capacity(array.len());
        let mut last: Option<(&str, u32)> = None;
        for row in 0..array.len() {
            let code = match (array.get(row), last) {
                (None, _) => NONE,
                (Some(text), Some((same, code))) if text == same => code,
                (Some(text), _) => {
                    let code = builder.code(text, row);
                    last = Some((text, code));
                    code
                }
            };
            codes.push(code);
        }
        Self { codes, distinct: builder.distinct }
    }

    fn of_dictionary(dictionary: &'a dyn arrow_array::array::AnyDictionaryArray, values: &Plain<'a>) -> Self {
        const UNSEEN: u32 = u32::MAX - 1;
        let rows = dictionary.keys().len();
        if values.len() == 0 {
            return Self { codes: vec![NONE; rows], distinct: Vec::new() };
        }
        let mut builder = Builder::default();
        let mut code_of = vec![UNSEEN; values.len()];
        let nulls = dictionary.keys().nulls().filter(|nulls| nulls.null_count() > 0);
        let mut codes = Vec::with_capacity(rows);
        for (row, key) in dictionary.normalized_keys().into_iter().enumerate() {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                codes.push(NONE);
                continue;
            }
            let mut code = code_of[key];
            if code == UNSEEN {
                code = values.get(key).map_or(NONE, |text| builder.code(text, row));
                code_of[key] = code;
            }
            codes.push(code);
        }
        Self { codes, distinct: builder.distinct }
    }
}

#[derive(Default)]
struct Builder<'a> {
    known: Known<'a>,
    distinct: Vec<(&'a str, usize)>,
}

impl<'a> Builder<'a> {
    fn code(&mut self, text: &'a str, row: usize) -> u32 {
        // A batch has far fewer rows than there are numbers.
        let next = u32::try_from(self.distinct.len()).unwrap_or(NONE);
        let code = *self.known.entry(text).or_insert(next);
        if code == next {
            self.distinct.push((text, row));
        }
        code
    }
}

/// The ways text can lie in memory.
pub(super) enum Plain<'a> {
    Small(&'a arrow_array::StringArray),
    Large(&'a arrow_array::LargeStringArray),
    View(&'a arrow_array::StringViewArray),
}

impl<'a> Plain<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8 => array.as_string_opt::<i32>().map(Self::Small),
            DataType::LargeUtf8 => array.as_string_opt::<i64>().map(Self::Large),
            DataType::Utf8View => array.as_string_view_opt().map(Self::View),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Small(array) => array.len(),
            Self::Large(array) => array.len(),
            Self::View(array) => array.len(),
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Self::View(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}
