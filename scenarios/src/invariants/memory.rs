//! What the controller holds stays in proportion to what there is.

use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-MEMORY",
    doc: "the controller's tasks stay in proportion to the objects it looks after",
    when: When::Always,
    check,
};

/// Loops, informers, servers: those of a controller that has nothing to do.
const BASE: u64 = 200;
/// For each object a few: a launch, a drain, an event on its way.
const EACH: u64 = 8;

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings {
        premises: u64::from(history.tasks > 0),
        ..Findings::default()
    };
    let count = |resource| observation.objects.all(resource).count() as u64;
    if history.tasks <= BASE {
        return findings;
    }
    let objects = count(resources::CLAIMS)
        + count(resources::NODES)
        + count(resources::POOLS)
        + count(resources::PODS);
    if history.tasks > BASE + EACH * objects {
        findings.violation(format!(
            "the controller runs {} tasks for {objects} objects",
            history.tasks
        ));
    }
    findings
}
