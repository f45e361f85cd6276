//! What must hold in every run without being asked for.
//!
//! Each invariant is one file with one pure predicate over [`Observation`] and the [`History`] of
//! the run; it reads the store and the cloud, never the controller. The registry lists them all.

mod budgets;
mod cheaper;
mod claims_correspond;
mod cron;
mod do_not_disrupt;
mod double_launch;
mod finalizers_resolve;
mod history;
mod leaks;
mod limits;
mod memory;
mod metrics;
mod pdb;
mod ping_pong;
mod pod_verdict;
mod quota;
mod spot_deadline;
mod store_history;
mod termination_grace;

use std::time::Duration;

pub use history::{
    Act, DeletedPod, Eviction, Facts, History, Metric, Priced, Refusal, Replacement,
};

use crate::observe::Observation;

/// When an invariant is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// For each thing that happened, right after it.
    Fact,
    /// After every change.
    Always,
    /// At most once in a minute: what it watches has minutes of grace.
    Paced,
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
pub const REGISTRY: [Invariant; 19] = [
    leaks::VM,
    leaks::NIC,
    leaks::DISK,
    double_launch::INVARIANT,
    claims_correspond::INVARIANT,
    budgets::INVARIANT,
    pdb::INVARIANT,
    do_not_disrupt::INVARIANT,
    termination_grace::INVARIANT,
    limits::INVARIANT,
    quota::INVARIANT,
    cheaper::INVARIANT,
    ping_pong::INVARIANT,
    pod_verdict::INVARIANT,
    spot_deadline::INVARIANT,
    finalizers_resolve::INVARIANT,
    metrics::INVARIANT,
    store_history::INVARIANT,
    memory::INVARIANT,
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

/// Between two looks of invariants that are [`When::Paced`].
const PACE: Duration = Duration::from_mins(1);

/// The state of all invariants of a run.
#[derive(Debug)]
pub struct Watch {
    premises: Vec<u64>,
    violations: Vec<Violation>,
    paced_at: Option<Duration>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            premises: vec![0; REGISTRY.len()],
            violations: Vec::new(),
            paced_at: None,
        }
    }
}

impl Watch {
    /// Judges what has happened since the last call; answers with new violations.
    pub fn judge(
        &mut self,
        now: Duration,
        observation: &Observation<'_>,
        history: &History,
    ) -> Vec<Violation> {
        if history.facts.is_empty() {
            return Vec::new();
        }
        self.observe(When::Fact, now, observation, history)
    }

    /// Looks at the state of things; answers with new violations.
    pub fn look(
        &mut self,
        now: Duration,
        observation: &Observation<'_>,
        history: &History,
    ) -> Vec<Violation> {
        let mut new = self.observe(When::Always, now, observation, history);
        if self.paced_at.is_none_or(|at| now >= at + PACE) {
            self.paced_at = Some(now);
            new.extend(self.observe(When::Paced, now, observation, history));
        }
        new
    }

    /// The last look, when a run has settled.
    pub fn finish(
        &mut self,
        now: Duration,
        observation: &Observation<'_>,
        history: &History,
    ) -> Vec<Violation> {
        let mut new = self.judge(now, observation, history);
        for when in [When::Always, When::Paced, When::End] {
            new.extend(self.observe(when, now, observation, history));
        }
        new
    }

    /// Looks at those invariants that are due. Each invariant is reported once: the first
    /// violation is the one that matters.
    fn observe(
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
            let premises = &mut self.premises[index];
            // States are counted where there was most of them, events one by one.
            *premises = match when {
                When::Fact => premises.saturating_add(found.premises),
                _ => (*premises).max(found.premises),
            };
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
