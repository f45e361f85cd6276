//! What must hold in every run without being asked for.
//!
//! Each invariant is one file with one pure predicate over [`Observation`] and the [`History`] of
//! the run; it reads the store and the cloud, never the controller. The registry lists them all.

mod claims_correspond;
mod double_launch;
mod finalizers_resolve;
mod history;
mod leaks;
mod limits;

use std::time::Duration;

pub use history::History;

use crate::observe::Observation;

/// When an invariant is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After every change.
    Always,
    /// Once, when the run has ended and settled.
    End,
}

/// What a predicate found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many things its premise held for.
    pub premises: u64,
    /// What violates it.
    pub violations: Vec<String>,
}

impl Findings {
    fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }
}

/// One invariant.
#[derive(Clone, Copy)]
pub struct Invariant {
    /// Stable id.
    pub id: &'static str,
    /// One line that says what must hold.
    pub doc: &'static str,
    /// When it is looked at.
    pub when: When,
    /// The predicate.
    pub check: fn(&Observation<'_>, &History) -> Findings,
}

impl std::fmt::Debug for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

/// All invariants.
pub const REGISTRY: [Invariant; 7] = [
    leaks::VM,
    leaks::NIC,
    leaks::DISK,
    double_launch::INVARIANT,
    claims_correspond::INVARIANT,
    finalizers_resolve::INVARIANT,
    limits::INVARIANT,
];

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub id: &'static str,
    /// When it was first seen.
    pub at: Duration,
    /// What was seen.
    pub message: String,
}

/// The state of all invariants of a run.
#[derive(Debug)]
pub struct Watch {
    premises: Vec<u64>,
    violations: Vec<Violation>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            premises: vec![0; REGISTRY.len()],
            violations: Vec::new(),
        }
    }
}

impl Watch {
    /// Looks at those invariants that are due; answers with new violations. Each invariant is
    /// reported once: the first violation is the one that matters.
    pub fn observe(
        &mut self,
        when: When,
        now: Duration,
        observation: &Observation<'_>,
        history: &History,
    ) -> Vec<Violation> {
        let mut new = Vec::new();
        for (index, invariant) in REGISTRY.iter().enumerate() {
            let broken = self
                .violations
                .iter()
                .any(|violation| violation.id == invariant.id);
            if invariant.when != when || broken {
                continue;
            }
            let found = (invariant.check)(observation, history);
            self.premises[index] = self.premises[index].max(found.premises);
            if let Some(message) = found.violations.into_iter().next() {
                let violation = Violation {
                    id: invariant.id,
                    at: now,
                    message,
                };
                self.violations.push(violation.clone());
                new.push(violation);
            }
        }
        new
    }

    /// `(id, doc, premises)` of every invariant.
    pub fn premises(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counted = REGISTRY.iter().zip(&self.premises);
        counted
            .map(|(invariant, premises)| (invariant.id, invariant.doc, *premises))
            .collect()
    }

    /// All violations so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

#[cfg(test)]
mod tests;
