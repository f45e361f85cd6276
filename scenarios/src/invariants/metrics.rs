//! What the controller's metrics say is what happened.

use super::{Findings, History, Invariant, When};
use crate::observe::Observation;

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-METRICS",
    doc: "once a run has settled, the controller's counters and gauges equal the same figures \
          counted from the store",
    when: When::End,
    check,
};

fn check(_: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings {
        premises: history.metrics.len() as u64,
        ..Findings::default()
    };
    for metric in &history.metrics {
        if metric.said != metric.truth {
            findings.violation(format!(
                "{} says {}, it is {}",
                metric.name, metric.said, metric.truth
            ));
        }
    }
    findings
}
