//! One machine per NodeClaim, at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

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
    let names: BTreeSet<&str> = observation
        .cloud
        .pool_vms()
        .map(|vm| vm.name.strip_prefix("aks-").unwrap_or(&vm.name))
        .collect();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for claim in observation.objects.all(resources::CLAIMS) {
        let provider_id = claim.value()["status"]["providerID"]
            .as_str()
            .unwrap_or_default();
        if !provider_id.is_empty() {
            let key = provider_id.to_lowercase();
            if let Some(other) = owners.insert(key, claim.name().to_owned()) {
                findings.violation(format!(
                    "NodeClaims {other} and {} both claim {provider_id}",
                    claim.name()
                ));
            }
        }
        let machines = machines_of(claim.name(), &names);
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
fn machines_of<'a>(claim: &str, names: &BTreeSet<&'a str>) -> Vec<&'a str> {
    // All that begin with the claim's name sort together, from the name itself on.
    let from = names.range::<str, _>((Bound::Included(claim), Bound::Unbounded));
    from.take_while(|name| name.starts_with(claim))
        .filter(|name| {
            name.strip_prefix(claim)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
        .copied()
        .collect()
}
