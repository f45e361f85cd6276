//! Pods are deleted against their budgets only when their node's grace ends.

use crate::world::facts::VmState;
use jiff::SignedDuration;

use super::{Findings, History, Invariant, When};
use crate::format::parse_duration;
use crate::observe::{Observation, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-TERMINATION-GRACE",
    doc: "the controller deletes pods past the eviction API only on nodes whose termination \
          grace period leaves them no more than their own grace, or whose machine is taken away",
    when: When::Fact,
    check,
};

/// The controller looks now and then, and its clock is not ours.
const SLACK: SignedDuration = SignedDuration::from_secs(10);

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for pod in &history.facts.deleted_pods {
        findings.premises += 1;
        let claim = observation
            .objects
            .all(resources::CLAIMS)
            .find(|claim| claim.value()["status"]["nodeName"] == pod.node.as_str());
        let Some(claim) = claim else {
            findings.violation(format!(
                "pod {} was deleted on node {}, which no NodeClaim owns",
                pod.pod, pod.node
            ));
            continue;
        };
        let value = claim.value();
        let id = value["status"]["providerID"].as_str().unwrap_or_default();
        let mut vms = observation.cloud.pool_vms();
        let runs =
            vms.any(|vm| vm.state == VmState::Running && vm.provider_id.eq_ignore_ascii_case(id));
        // A machine that is being taken away gives no more time, and one that is gone runs nothing.
        if !runs || history.notice(id).is_some() {
            continue;
        }
        let period = value["spec"]["terminationGracePeriod"]
            .as_str()
            .and_then(|text| parse_duration(text).ok())
            .and_then(|period| SignedDuration::try_from(period).ok());
        let since = value["metadata"]["deletionTimestamp"]
            .as_str()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let (Some(period), Some(since)) = (period, since) else {
            findings.violation(format!(
                "pod {} was deleted although its node's claim {} has no grace that ends",
                pod.pod,
                claim.name()
            ));
            continue;
        };
        let own = SignedDuration::from_secs(pod.grace_seconds);
        let earliest = since
            .checked_add(period - own - SLACK)
            .unwrap_or(jiff::Timestamp::MIN);
        if observation.now < earliest {
            findings.violation(format!(
                "pod {} was deleted before {earliest}, when the grace of its node and its own meet",
                pod.pod
            ));
        }
    }
    findings
}
