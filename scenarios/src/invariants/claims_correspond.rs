//! At the end, claims, nodes and machines are one to one.

use std::collections::BTreeSet;

use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, POOL_LABEL, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-CORRESPOND",
    doc: "when a run has settled, every launched NodeClaim has its machine and every node of a \
          NodePool has its NodeClaim and its machine",
    when: When::End,
    check,
};

fn check(observation: &Observation<'_>, _: &History) -> Findings {
    let mut findings = Findings::default();
    let machines: BTreeSet<String> = observation
        .cloud
        .pool_vms()
        .map(|vm| vm.provider_id.to_lowercase())
        .collect();
    let mut claimed = BTreeSet::new();
    for claim in observation.objects.all(resources::CLAIMS) {
        let provider_id = claim.value()["status"]["providerID"]
            .as_str()
            .unwrap_or_default();
        if provider_id.is_empty() {
            continue;
        }
        findings.premises += 1;
        if !machines.contains(&provider_id.to_lowercase()) {
            findings.violation(format!(
                "NodeClaim {} has no machine {provider_id}",
                claim.name()
            ));
        }
        claimed.insert(provider_id.to_lowercase());
    }
    for node in observation.objects.all(resources::NODES) {
        if node.value()["metadata"]["labels"][POOL_LABEL].is_null() {
            continue;
        }
        findings.premises += 1;
        let provider_id = node.value()["spec"]["providerID"]
            .as_str()
            .unwrap_or_default();
        if !claimed.contains(&provider_id.to_lowercase()) {
            findings.violation(format!("node {} has no NodeClaim", node.name()));
        }
        if !machines.contains(&provider_id.to_lowercase()) {
            findings.violation(format!("node {} has no machine", node.name()));
        }
    }
    findings
}
