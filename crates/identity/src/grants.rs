//! Roles of one user, and what they come to on an object.

use std::collections::BTreeMap;

use runlake_types::ExperimentId;
use runlake_types::rows::{Role, ScopeKind};

use crate::{Error, Result};

/// What a role is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything in the lake.
    All,
    /// One experiment, with its runs, logged models and artifacts.
    Experiment(ExperimentId),
    /// One registered model, with its versions.
    RegisteredModel(String),
}

impl Scope {
    /// From what a caller wrote.
    pub fn parse(kind: &str, id: &str) -> Result<Self> {
        let unknown = || {
            Error::invalid(format!(
                "A role is for all, experiment or registered_model; {kind:?} with the id {id:?} is none of them."
            ))
        };
        match ScopeKind::parse(kind).ok_or_else(unknown)? {
            ScopeKind::All if id.is_empty() => Ok(Self::All),
            ScopeKind::All => Err(Error::invalid(format!("A role for all has no id, but {id:?} was given."))),
            ScopeKind::Experiment => ExperimentId::parse(id).map(Self::Experiment).map_err(|_| {
                Error::invalid(format!(
                    "{id:?} is no id of an experiment; ids are numbers, as `mlflow experiments search` shows them."
                ))
            }),
            ScopeKind::RegisteredModel if id.is_empty() => {
                Err(Error::invalid("A role for a registered model needs the model's name."))
            }
            ScopeKind::RegisteredModel => Ok(Self::RegisteredModel(id.to_owned())),
        }
    }

    /// Which kind of thing it is.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::All => ScopeKind::All,
            Self::Experiment(_) => ScopeKind::Experiment,
            Self::RegisteredModel(_) => ScopeKind::RegisteredModel,
        }
    }

    /// Which one of its kind; empty for everything.
    pub fn id(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Experiment(id) => id.to_string(),
            Self::RegisteredModel(name) => name.clone(),
        }
    }
}

/// The roles of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<Scope, Role>);

impl Grants {
    /// The role for everything.
    pub fn everywhere(&self) -> Option<Role> {
        self.0.get(&Scope::All).copied()
    }

    /// The role on one object: the higher of the one for it and the one for everything.
    pub fn on(&self, scope: &Scope) -> Option<Role> {
        self.everywhere().max(self.0.get(scope).copied())
    }

    /// Whether the role on the object is `role` or more.
    pub fn allow(&self, role: Role, scope: &Scope) -> bool {
        self.on(scope) >= Some(role)
    }

    /// All of them, the one for everything first.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, Role)> {
        self.0.iter().map(|(scope, role)| (scope, *role))
    }

    pub(crate) fn set(&mut self, scope: Scope, role: Option<Role>) -> Option<Role> {
        match role {
            Some(role) => self.0.insert(scope, role),
            None => self.0.remove(&scope),
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.everywhere() == Some(Role::Admin)
    }
}

impl FromIterator<(Scope, Role)> for Grants {
    fn from_iter<I: IntoIterator<Item = (Scope, Role)>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}
