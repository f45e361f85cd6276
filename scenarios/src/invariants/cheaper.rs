//! Consolidation replaces nodes by cheaper ones, never by their equals.

use super::{Findings, History, Invariant, When};
use crate::observe::Observation;

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-CHEAPER",
    doc: "what consolidation puts in the place of nodes costs less than they do, and is not the \
          same again",
    when: When::Fact,
    check,
};

fn check(_: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for replacement in &history.facts.replacements {
        findings.premises += 1;
        let total = |side: &[super::history::Priced]| -> u64 {
            side.iter().map(|priced| priced.price).sum()
        };
        let (from, to) = (total(&replacement.from), total(&replacement.to));
        let names = |side: &[super::history::Priced]| {
            let names = side
                .iter()
                .map(|priced| format!("{} ({})", priced.claim, priced.offering));
            names.collect::<Vec<_>>().join(", ")
        };
        let (old, new) = (names(&replacement.from), names(&replacement.to));
        if to >= from {
            findings.violation(format!(
                "{old} at {from} was replaced by {new} at {to} millionths of a dollar per hour"
            ));
        }
        let same = matches!((&replacement.from[..], &replacement.to[..]), ([one], [other]) if one.offering == other.offering);
        if same {
            findings.violation(format!("{old} was replaced by its equal {new}"));
        }
    }
    findings
}
