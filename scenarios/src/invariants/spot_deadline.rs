//! Notices of eviction are heeded.

use std::time::Duration;

use super::history::age;
use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-SPOT-DEADLINE",
    doc: "a spot machine that is taken away after notice is being drained by then",
    when: When::Fact,
    check,
};

/// A shorter notice cannot be heeded: the word has to arrive first.
const NOTICE_MIN: Duration = Duration::from_secs(20);

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for eviction in &history.facts.evictions {
        if !eviction.evicted {
            findings.premises += 1;
            continue;
        }
        if age(eviction.noticed, eviction.at) < NOTICE_MIN || !history.was_calm(eviction.noticed) {
            continue;
        }
        findings.premises += 1;
        let claim = observation.objects.all(resources::CLAIMS).find(|claim| {
            let id = claim.value()["status"]["providerID"].as_str();
            id.is_some_and(|id| id.eq_ignore_ascii_case(&eviction.provider_id))
        });
        // Gone, or a machine of nobody's: nothing to drain.
        let Some(claim) = claim else { continue };
        // A node that never joined has no pods.
        if claim.value()["status"]["nodeName"].is_null() {
            continue;
        }
        if claim.value()["metadata"]["deletionTimestamp"].is_null() {
            findings.violation(format!(
                "the machine of {} was taken away at {}, announced at {}, and nobody drained it",
                claim.name(),
                eviction.at,
                eviction.noticed
            ));
        }
    }
    findings
}
