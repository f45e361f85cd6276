//! Which nodes go: emptiness, consolidation, drift.

mod plan;

use jiff::Timestamp;

pub use plan::{Blocked, Command, DisruptionPolicy, DisruptionReason, Plan, StepBudget};

use crate::model::Snapshot;

/// Decides which nodes go, and says why every other one stays.
pub fn plan_disruption(
    snapshot: &Snapshot,
    policy: &DisruptionPolicy,
    now: Timestamp,
    budget: StepBudget,
) -> Plan {
    let _ = (policy, now, budget);
    let stays = |name: &crate::model::NodeName| (name.clone(), Blocked::OutOfSteps);
    let blocked = snapshot.nodes.iter().map(|node| stays(&node.name)).collect();
    Plan { blocked, ..Plan::default() }
}
