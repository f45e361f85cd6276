//! What is protected from voluntary disruption is not disrupted.

use std::time::Duration;

use super::history::{age, newly_disrupted};
use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-DO-NOT-DISRUPT",
    doc: "no node is disrupted voluntarily that carries karpenter.sh/do-not-disrupt, or whose \
          pods do, unless it has drifted and has a termination grace period",
    when: When::Fact,
    check,
};

/// What the controller may not have seen yet when it decided.
const LAG: Duration = Duration::from_secs(10);
/// The same while its network is unwell.
const LAG_UNDER_FAULTS: Duration = Duration::from_mins(3);

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    let lag = if history.calm_since.is_some() {
        LAG
    } else {
        LAG_UNDER_FAULTS
    };
    for change in &history.facts.changes {
        if change.resource != resources::CLAIMS {
            continue;
        }
        let Some(reason) = newly_disrupted(change) else {
            continue;
        };
        findings.premises += 1;
        let claim = change.object.value();
        let Some(node) = claim["status"]["nodeName"].as_str() else {
            continue;
        };
        let old = |since| age(since, observation.now) > lag;
        if let Some(since) = history.protected_nodes.get(node)
            && old(*since)
        {
            findings.violation(format!(
                "node {node} is disrupted ({reason}), protected since {since}"
            ));
        }
        let eventual = reason == "Drifted" && !claim["spec"]["terminationGracePeriod"].is_null();
        let pod = history
            .protected_pods
            .iter()
            .find(|(_, (on, since))| on == node && old(*since));
        if let Some((pod, (_, since))) = pod.filter(|_| !eventual) {
            findings.violation(format!(
                "node {node} is disrupted ({reason}) although pod {pod} has been protected there \
                 since {since}"
            ));
        }
    }
    findings
}
