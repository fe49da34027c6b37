//! Attributes of a node, by name.

use std::sync::Arc;

use tract_onnx::pb::{AttributeProto, NodeProto};
#[allow(clippy::wildcard_imports, reason = "its macros name what they need without a path")]
use tract_onnx::tract_hir::internal::*;

pub(super) struct Attributes<'a>(&'a NodeProto);

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a NodeProto) -> Self {
        Self(node)
    }

    fn get(&self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn ints(&self, name: &str) -> &'a [i64] {
        self.get(name).map_or(&[], |attribute| &attribute.ints)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.get(name).map(|attribute| attribute.i)
    }

    pub(super) fn floats(&self, name: &str) -> &'a [f32] {
        self.get(name).map_or(&[], |attribute| &attribute.floats)
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.get(name).map(|attribute| attribute.f)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|attribute| std::str::from_utf8(&attribute.s).ok())
    }

    pub(super) fn texts(&self, name: &str) -> TractResult<Vec<String>> {
        let texts = self.get(name).map_or(&[][..], |attribute| &attribute.strings);
        texts.iter().map(|text| Ok(String::from_utf8(text.clone())?)).collect()
    }

    /// The labels of classes, one list or the other.
    pub(super) fn labels(&self, ints: &str, texts: &str) -> TractResult<Labels> {
        match (self.ints(ints), self.texts(texts)?) {
            ([], texts) if !texts.is_empty() => Ok(Labels::Texts(texts.into())),
            (ints @ [_, ..], texts) if texts.is_empty() => Ok(Labels::Ints(ints.into())),
            _ => bail!("it has no labels of classes, or two lists of them"),
        }
    }
}

/// What classes are called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Labels {
    Ints(Arc<[i64]>),
    Texts(Arc<[String]>),
}

impl Labels {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }

    pub(super) fn kind(&self) -> DatumType {
        match self {
            Self::Ints(_) => DatumType::I64,
            Self::Texts(_) => DatumType::String,
        }
    }

    /// The labels of classes that are told by their places.
    pub(super) fn of(&self, classes: &[usize]) -> TractResult<Tensor> {
        let unknown = "there is no such class";
        Ok(match self {
            Self::Ints(labels) => {
                let label = |class: &usize| labels.get(*class).copied().context(unknown);
                tensor1(&classes.iter().map(label).collect::<TractResult<Vec<i64>>>()?)
            }
            Self::Texts(labels) => {
                let label = |class: &usize| labels.get(*class).cloned().context(unknown);
                tensor1(&classes.iter().map(label).collect::<TractResult<Vec<String>>>()?)
            }
        })
    }
}
