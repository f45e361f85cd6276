//! One machine per NodeClaim, at any time.

use std::collections::BTreeMap;

use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-DOUBLE-LAUNCH",
    doc: "no NodeClaim has more than one virtual machine, and no machine has two NodeClaims",
    when: When::Always,
    check,
};

fn check(observation: &Observation<'_>, _: &History) -> Findings {
    let mut findings = Findings::default();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for claim in observation.objects.all(resources::CLAIMS) {
        let provider_id = claim.value()["status"]["providerID"].as_str().unwrap_or_default();
        if !provider_id.is_empty() {
            let key = provider_id.to_lowercase();
            if let Some(other) = owners.insert(key, claim.name().to_owned()) {
                findings.violation(format!(
                    "NodeClaims {other} and {} both claim {provider_id}",
                    claim.name()
                ));
            }
        }
        let machines: Vec<&str> = observation
            .cloud
            .pool_vms()
            .filter(|vm| belongs(&vm.name, claim.name()))
            .map(|vm| vm.name.as_str())
            .collect();
        findings.premises += u64::from(!machines.is_empty());
        if machines.len() > 1 {
            findings.violation(format!(
                "NodeClaim {} has {} machines: {}",
                claim.name(),
                machines.len(),
                machines.join(", ")
            ));
        }
    }
    findings
}

/// A machine is called `aks-` and its claim, perhaps with a suffix after a dash that no claim has.
fn belongs(vm: &str, claim: &str) -> bool {
    vm.strip_prefix("aks-").unwrap_or(vm) == claim
        || vm.strip_prefix("aks-").unwrap_or(vm).starts_with(&format!("{claim}-"))
}
