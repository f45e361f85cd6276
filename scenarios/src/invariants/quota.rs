//! Machines are not asked for that a known quota forbids.

use std::time::Duration;

use super::history::age;
use super::{Findings, History, Invariant, When};
use crate::observe::Observation;

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-QUOTA",
    doc: "no machine is refused for a quota that the controller had known for ten seconds",
    when: When::Fact,
    check,
};

const KNOWN: Duration = Duration::from_secs(10);

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for refusal in &history.facts.refusals {
        findings.premises += 1;
        let Some(since) = refusal.known_since else {
            continue;
        };
        if age(since, observation.now) > KNOWN {
            findings.violation(format!(
                "{} was asked for and refused; that its quota was used up was known since {since}",
                refusal.size
            ));
        }
    }
    findings
}
