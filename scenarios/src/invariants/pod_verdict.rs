//! Pods that wait are told what becomes of them.

use std::time::Duration;

use super::history::age;
use super::{Findings, History, Invariant, When};
use crate::observe::Observation;

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-POD-VERDICT",
    doc: "no pod that fits nowhere waits for thirty seconds without a node or a word from the \
          controller",
    when: When::Always,
    check,
};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let waiting = history.waiting.unanswered.len();
    let mut findings = Findings {
        premises: u64::try_from(waiting).unwrap_or(u64::MAX),
        ..Findings::default()
    };
    for (since, pod) in &history.waiting.unanswered {
        if age(*since, observation.now) <= PATIENCE {
            break;
        }
        if history.was_calm(*since) {
            findings.violation(format!(
                "pod {pod} has waited since {since} and nobody has said why"
            ));
        }
    }
    findings
}
