//! Whether a command still holds after the time between deciding and acting.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::budget::Budgets;
use super::candidate::{Candidate, Class, candidates, check_consolidatable};
use super::consolidation;
use super::plan::{Blocked, Command, DisruptionPolicy, DisruptionReason, StepBudget};
use super::simulate::{Settling, Simulator};
use crate::model::{InstanceTypeName, NodeName, Price, Snapshot};
use crate::scheduling::CompiledCatalogs;

/// Checks a command again on a newer snapshot, after the wait that upstream puts between deciding
/// and acting (15 s; drift does not wait). An emptiness command may come back with fewer nodes;
/// other commands come back as they were. Prices are not computed again.
///
/// # Errors
///
/// Why the command no longer holds: a node is no candidate any more, its budget is gone, or its
/// pods would need something else than planned.
pub fn validate(
    snapshot: &Snapshot,
    policy: &DisruptionPolicy,
    now: Timestamp,
    command: &Command,
) -> Result<Command, Blocked> {
    validate_with(snapshot, policy, now, command, &CompiledCatalogs::default())
}

/// The same with catalogues from an earlier decision: the same answer, sooner.
///
/// # Errors
///
/// As [`validate`].
pub fn validate_with(
    snapshot: &Snapshot,
    policy: &DisruptionPolicy,
    now: Timestamp,
    command: &Command,
    compiled: &CompiledCatalogs,
) -> Result<Command, Blocked> {
    let class = match command.reason {
        DisruptionReason::Drifted => Class::Eventual,
        DisruptionReason::Empty | DisruptionReason::Underutilized => Class::Graceful,
    };
    let mut blocked = BTreeMap::new();
    let all = candidates(snapshot, class, now, &mut blocked);
    let mut budgets = Budgets::new(snapshot, command.reason, now);
    let mut kept: Vec<&Candidate<'_>> = Vec::new();
    let mut refusal = None;
    for (_, name) in &command.candidates {
        match still_holds(&all, &blocked, name, command.reason, now, &mut budgets) {
            Ok(candidate) => kept.push(candidate),
            Err(why) => refusal = Some(why),
        }
    }
    if command.reason == DisruptionReason::Empty {
        return match refusal {
            Some(why) if kept.is_empty() => Err(why),
            _ => Ok(Command {
                candidates: consolidation::names(&kept),
                savings: Price(kept.iter().map(|c| c.price_or_zero().0).sum()),
                ..command.clone()
            }),
        };
    }
    if let Some(why) = refusal {
        return Err(why);
    }
    if command.reason == DisruptionReason::Underutilized {
        let budget = StepBudget { simulations_max: 1 };
        let simulator = Simulator::new(snapshot, policy.scheduling, now, budget, compiled);
        resimulate(simulator, &kept, command)?;
    }
    Ok(command.clone())
}

fn still_holds<'c, 'a>(
    all: &'c [Candidate<'a>],
    blocked: &BTreeMap<NodeName, Blocked>,
    name: &NodeName,
    reason: DisruptionReason,
    now: Timestamp,
    budgets: &mut Budgets,
) -> Result<&'c Candidate<'a>, Blocked> {
    let gone = Blocked::NotACandidate("node is gone");
    let Some(candidate) = all.iter().find(|candidate| candidate.node.name == *name) else {
        return Err(blocked.get(name).cloned().unwrap_or(gone));
    };
    match reason {
        DisruptionReason::Empty if !candidate.is_empty() => {
            return Err(Blocked::NotACandidate("node is no longer empty"));
        }
        DisruptionReason::Empty => check_consolidatable(candidate, true, now)?,
        DisruptionReason::Underutilized => check_consolidatable(candidate, false, now)?,
        DisruptionReason::Drifted => {}
    }
    let pool = &candidate.pool.name;
    if budgets.left(pool) == 0 {
        return Err(Blocked::Budget {
            allowed: budgets.total(pool),
        });
    }
    budgets.take(pool);
    Ok(candidate)
}

/// The pods still fit without a new node, or on one that the planned replacement can become.
fn resimulate<'a>(
    mut simulator: Simulator<'a>,
    kept: &[&Candidate<'a>],
    command: &Command,
) -> Result<(), Blocked> {
    let simulated = simulator.without(kept, Settling::Closed)?;
    match (&simulated.claims[..], &command.replacements[..]) {
        ([], []) => Ok(()),
        ([claim], [planned]) => {
            let engine = &simulator.engine;
            let catalog = &engine.catalogs[engine.templates[claim.template].catalog];
            let possible: BTreeSet<&InstanceTypeName> = claim
                .types
                .iter()
                .map(|index| &catalog.types[index].name)
                .collect();
            let subset = planned
                .instance_types
                .iter()
                .all(|name| possible.contains(name));
            if subset {
                Ok(())
            } else {
                Err(Blocked::PodsWouldNotFit)
            }
        }
        _ => Err(Blocked::PodsWouldNotFit),
    }
}
