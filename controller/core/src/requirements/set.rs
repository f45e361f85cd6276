//! A conjunction of requirements.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Requirement, RequirementSpec};
use crate::labels;

/// A conjunction of requirements, one per key. A key that is not there is unrestricted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirements(BTreeMap<Arc<str>, Requirement>);

/// What to make of a key that only the incoming side has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndefinedKeys {
    /// An error, unless the incoming side allows absence.
    Denied,
    /// Fine for well-known keys, which every instance type defines.
    WellKnownAllowed,
}

/// Two conjunctions exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// The key is not known on this side.
    #[error("label \"{key}\" does not have known values")]
    Undefined {
        /// Label key.
        key: Arc<str>,
    },
    /// No value satisfies both.
    #[error("key {key}, {incoming} not in {existing}")]
    Disjoint {
        /// Label key.
        key: Arc<str>,
        /// The incoming side.
        incoming: Box<Requirement>,
        /// This side.
        existing: Box<Requirement>,
    },
}

impl Incompatible {
    /// The key they disagree about.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Undefined { key } | Self::Disjoint { key, .. } => key,
        }
    }
}

impl Requirements {
    /// No requirement: everything matches.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The conjunction of requirements as written; keys of other spellings are normalised.
    pub fn from_specs<'a>(specs: impl IntoIterator<Item = &'a RequirementSpec>) -> Self {
        let mut requirements = Self::new();
        for spec in specs {
            let key = labels::canonical_key(&spec.key);
            let requirement = Requirement::from_spec_of(&key, spec);
            requirements.add(key, requirement);
        }
        requirements
    }

    /// Every label as a requirement for exactly its value.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a Arc<str>, &'a Arc<str>)>) -> Self {
        let mut requirements = Self::new();
        for (key, value) in labels {
            let key = labels::canonical_key(key);
            let value = labels::canonical_value(&key, value);
            requirements.add(key, Requirement::one_of([value]));
        }
        requirements
    }

    /// Adds a requirement; one that is there for the key is narrowed.
    pub fn add(&mut self, key: Arc<str>, requirement: Requirement) {
        match self.0.get_mut(&key) {
            Some(existing) => *existing = existing.intersect(&requirement),
            None => {
                self.0.insert(key, requirement);
            }
        }
    }

    /// Narrows by every requirement of the other conjunction.
    pub fn intersect(&mut self, other: &Self) {
        for (key, requirement) in &other.0 {
            self.add(Arc::clone(key), requirement.clone());
        }
    }

    /// The requirement for a key, if there is one.
    pub fn get(&self, key: &str) -> Option<&Requirement> {
        self.0.get(key)
    }

    /// Whether the key may have the value; an unrestricted key may have any.
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.0
            .get(key)
            .is_none_or(|requirement| requirement.has(value))
    }

    /// Drops the requirement for a key.
    pub fn remove(&mut self, key: &str) -> Option<Requirement> {
        self.0.remove(key)
    }

    /// All requirements by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Requirement)> {
        self.0.iter()
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something that satisfies `self` can also satisfy `incoming`. Not symmetric: keys
    /// that only `self` has do not matter.
    ///
    /// # Errors
    ///
    /// The first key, in key order, over which they exclude each other.
    pub fn compatible(
        &self,
        incoming: &Self,
        undefined: UndefinedKeys,
    ) -> Result<(), Incompatible> {
        for (key, requirement) in &incoming.0 {
            let allowed =
                undefined == UndefinedKeys::WellKnownAllowed && labels::is_well_known(key);
            if !allowed && !self.0.contains_key(key) && !requirement.allows_absence() {
                return Err(Incompatible::Undefined {
                    key: Arc::clone(key),
                });
            }
        }
        self.intersects(incoming)
    }

    /// Whether the keys that both have can agree.
    ///
    /// # Errors
    ///
    /// The first key, in key order, over which they exclude each other.
    pub fn intersects(&self, other: &Self) -> Result<(), Incompatible> {
        for (key, incoming) in &other.0 {
            let Some(existing) = self.0.get(key) else {
                continue;
            };
            let both_absent = existing.allows_absence() && incoming.allows_absence();
            if !both_absent && !existing.has_intersection(incoming) {
                return Err(Incompatible::Disjoint {
                    key: Arc::clone(key),
                    incoming: Box::new(incoming.clone()),
                    existing: Box::new(existing.clone()),
                });
            }
        }
        Ok(())
    }

    /// As the API writes them, in key order.
    pub fn to_specs(&self) -> Vec<RequirementSpec> {
        self.0
            .iter()
            .flat_map(|(key, requirement)| requirement.to_specs(key))
            .collect()
    }
}

impl fmt::Display for Requirements {
    /// `key In [a b], …`; the host name is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().filter(|(key, _)| &***key != labels::HOSTNAME);
        for (index, (key, requirement)) in shown.enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{key} {requirement}")?;
        }
        Ok(())
    }
}
