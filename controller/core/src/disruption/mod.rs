//! Which nodes go: emptiness, drift, consolidation.
//!
//! The methods are tried in upstream's order, and the first that finds a command ends the pass:
//! what it does changes what the others would see.

mod budget;
mod candidate;
mod consolidation;
mod cron;
mod plan;
mod simulate;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use plan::{Blocked, Command, DisruptionPolicy, DisruptionReason, Plan, StepBudget};
pub use validate::{validate, validate_with};

pub(crate) use candidate::is_reschedulable;

use budget::Budgets;
use candidate::{Candidate, Class, candidates, check_consolidatable};
use simulate::{Settling, Simulator};

use crate::model::{NodeName, NodePoolName, Price, Snapshot};
use crate::scheduling::{CompiledCatalogs, finish};

/// Decides which nodes go, and says why every other one stays. Compiles the catalogues of the
/// snapshot; [`plan_disruption_with`] reuses them.
pub fn plan_disruption(
    snapshot: &Snapshot,
    policy: &DisruptionPolicy,
    now: Timestamp,
    budget: StepBudget,
) -> Plan {
    plan_disruption_with(snapshot, policy, now, budget, &CompiledCatalogs::default())
}

/// The same with catalogues from an earlier decision: the same answer, sooner.
pub fn plan_disruption_with(
    snapshot: &Snapshot,
    policy: &DisruptionPolicy,
    now: Timestamp,
    budget: StepBudget,
    compiled: &CompiledCatalogs,
) -> Plan {
    let mut pass = Pass {
        snapshot,
        compiled,
        policy,
        now,
        budget,
        simulator: None,
        blocked: BTreeMap::new(),
    };
    let command = pass
        .emptiness()
        .or_else(|| pass.drift())
        .or_else(|| pass.consolidation());
    let mut plan = Plan {
        commands: command.into_iter().collect(),
        blocked: pass.blocked,
    };
    let going = plan.commands.iter().flat_map(|command| &command.candidates);
    for (_, node) in going {
        plan.blocked.remove(node);
    }
    plan
}

/// One pass over the methods.
struct Pass<'a> {
    snapshot: &'a Snapshot,
    compiled: &'a CompiledCatalogs,
    policy: &'a DisruptionPolicy,
    now: Timestamp,
    budget: StepBudget,
    /// Compiled when the first method simulates something.
    simulator: Option<Simulator<'a>>,
    blocked: BTreeMap<NodeName, Blocked>,
}

impl<'a> Pass<'a> {
    /// All empty nodes that their budgets let go, in one command.
    fn emptiness(&mut self) -> Option<Command> {
        let all = candidates(self.snapshot, Class::Graceful, self.now, &mut self.blocked);
        for candidate in &all {
            let name = candidate.node.name.clone();
            self.blocked.insert(name, Blocked::OutOfSteps);
        }
        let mut empty: Vec<&Candidate<'_>> = all.iter().filter(|c| c.is_empty()).collect();
        empty.retain(|candidate| {
            self.allow(candidate, check_consolidatable(candidate, true, self.now))
        });
        empty.sort_by(|a, b| a.by_savings(b));
        let mut budgets = Budgets::new(self.snapshot, DisruptionReason::Empty, self.now);
        let taken: Vec<&Candidate<'_>> = empty
            .into_iter()
            .filter(|candidate| self.spend(candidate, &mut budgets))
            .collect();
        if taken.is_empty() {
            return None;
        }
        Some(Command {
            reason: DisruptionReason::Empty,
            candidates: consolidation::names(&taken),
            replacements: Vec::new(),
            savings: Price(taken.iter().map(|c| c.price_or_zero().0).sum()),
        })
    }

    /// The node that drifted first, empty ones before others, with what its pods need.
    fn drift(&mut self) -> Option<Command> {
        let mut ignored = BTreeMap::new();
        let mut drifted = candidates(self.snapshot, Class::Eventual, self.now, &mut ignored);
        drifted.retain(|candidate| candidate.claim.conditions.drifted);
        let has_pods = |c: &Candidate<'_>| c.node.pods.iter().any(is_reschedulable);
        drifted.sort_by_key(|c| (has_pods(c), c.claim.drifted_at, c.node.name.clone()));
        let mut budgets = Budgets::new(self.snapshot, DisruptionReason::Drifted, self.now);
        for candidate in &drifted {
            if !self.spend(candidate, &mut budgets) {
                continue;
            }
            let simulator = self.simulator();
            match simulator.without(&[candidate], Settling::Open) {
                Err(why) => {
                    self.blocked.insert(candidate.node.name.clone(), why);
                }
                Ok(simulated) => {
                    let engine = &simulator.engine;
                    let claims: Option<Vec<_>> = simulated
                        .claims
                        .iter()
                        .map(|claim| {
                            let order = finish::truncate(engine, claim).ok()?;
                            Some(finish::new_claim(engine, claim, &order, &simulated.pods))
                        })
                        .collect();
                    let Some(replacements) = claims else { continue };
                    let cost: i64 = replacements.iter().map(|claim| claim.price.0).sum();
                    return Some(Command {
                        reason: DisruptionReason::Drifted,
                        candidates: consolidation::names(&[candidate]),
                        replacements,
                        savings: Price(candidate.price_or_zero().0 - cost),
                    });
                }
            }
        }
        None
    }

    /// Several nodes at once, else one node.
    fn consolidation(&mut self) -> Option<Command> {
        let mut ignored = BTreeMap::new();
        let mut all = candidates(self.snapshot, Class::Graceful, self.now, &mut ignored);
        all.retain(|candidate| !candidate.is_empty());
        all.retain(|candidate| {
            self.allow(candidate, check_consolidatable(candidate, false, self.now))
        });
        all.sort_by(Candidate::by_savings);
        let policy = *self.policy;
        let mut budgets = Budgets::new(self.snapshot, DisruptionReason::Underutilized, self.now);
        let affordable: Vec<&Candidate<'a>> = all
            .iter()
            .filter(|candidate| self.spend(candidate, &mut budgets))
            .collect();
        if affordable.len() > 1 {
            let many = consolidation::consolidate_many(self.simulator(), &affordable, &policy);
            if many.is_some() {
                return many;
            }
        }
        let budgets = Budgets::new(self.snapshot, DisruptionReason::Underutilized, self.now);
        for candidate in interleaved(&all) {
            let allowed = budgets.left(&candidate.pool.name);
            if allowed == 0 {
                self.blocked
                    .insert(candidate.node.name.clone(), Blocked::Budget { allowed });
                continue;
            }
            match consolidation::consolidate(self.simulator(), &[candidate], &policy) {
                Ok(command) => return Some(command),
                Err(why) => {
                    self.blocked.insert(candidate.node.name.clone(), why);
                }
            }
        }
        None
    }

    fn simulator(&mut self) -> &mut Simulator<'a> {
        let (snapshot, options) = (self.snapshot, self.policy.scheduling);
        let (now, budget, compiled) = (self.now, self.budget, self.compiled);
        self.simulator
            .get_or_insert_with(|| Simulator::new(snapshot, options, now, budget, compiled))
    }

    /// Notes the reason of a candidate that a check has refused.
    fn allow(&mut self, candidate: &Candidate<'_>, check: Result<(), Blocked>) -> bool {
        match check {
            Ok(()) => true,
            Err(why) => {
                self.blocked.insert(candidate.node.name.clone(), why);
                false
            }
        }
    }

    /// Takes one node from the pool's budget, or notes that there is none left.
    fn spend(&mut self, candidate: &Candidate<'_>, budgets: &mut Budgets) -> bool {
        let allowed = budgets.left(&candidate.pool.name);
        if allowed == 0 {
            let why = Blocked::Budget {
                allowed: budgets.total(&candidate.pool.name),
            };
            self.blocked.insert(candidate.node.name.clone(), why);
            return false;
        }
        budgets.take(&candidate.pool.name);
        true
    }
}

/// Candidates of the pools in turn, so that one large pool does not use up the pass.
fn interleaved<'c, 'a>(candidates: &'c [Candidate<'a>]) -> Vec<&'c Candidate<'a>> {
    let mut turns: BTreeMap<&NodePoolName, usize> = BTreeMap::new();
    let mut order: Vec<(usize, &NodePoolName, &Candidate<'a>)> = Vec::new();
    for candidate in candidates {
        let turn = turns.entry(&candidate.pool.name).or_default();
        order.push((*turn, &candidate.pool.name, candidate));
        *turn += 1;
    }
    order.sort_by_key(|&(turn, pool, _)| (turn, pool));
    order
        .into_iter()
        .map(|(_, _, candidate)| candidate)
        .collect()
}
