//! Consolidation comes to an end.

use super::{Findings, History, Invariant, When};
use crate::observe::Observation;

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-PING-PONG",
    doc: "while nothing asks for other nodes, a NodePool's are disrupted for cost at most a few \
          times each",
    when: When::Fact,
    check,
};

/// Each node may be consolidated once and its successor once more; and a few beside.
const ROUNDS: u64 = 2;
const SPARE: u64 = 4;

fn check(_: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for (pool, count) in &history.churn {
        let nodes = history.churn_nodes.get(pool).copied().unwrap_or_default();
        findings.premises += 1;
        if *count > ROUNDS * nodes + SPARE {
            findings.violation(format!(
                "{count} nodes of NodePool {pool} were disrupted for cost, of {nodes}, since \
                 anything changed"
            ));
        }
    }
    findings
}
