//! Nothing waits for ever to be deleted.

use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-FINALIZERS",
    doc: "when a run has settled, no NodeClaim or Node has waited for its finalizers for longer \
          than a garbage collection period",
    when: When::End,
    check,
};

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings {
        premises: history.deletions + history.deleting_since.len() as u64,
        ..Findings::default()
    };
    for (kind, resource) in [("NodeClaim", resources::CLAIMS), ("Node", resources::NODES)] {
        for object in observation.objects.all(resource) {
            if object.value()["metadata"]["deletionTimestamp"].is_null() {
                continue;
            }
            let key = format!("{kind}/{}/{}", object.namespace(), object.name());
            let overdue = history
                .deleting_since
                .get(&key)
                .is_some_and(|since| history.is_overdue(*since, observation.now));
            if overdue {
                findings.violation(format!(
                    "{kind} {} still waits for {}",
                    object.name(),
                    object.value()["metadata"]["finalizers"]
                ));
            }
        }
    }
    findings
}
