//! One machine per NodeClaim, at any time.

use std::cmp::Ordering;

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
    let names = observation.cloud.pool_vms();
    let mut names: Vec<&str> = names
        .map(|vm| vm.name.strip_prefix("aks-").unwrap_or(&vm.name))
        .collect();
    names.sort_unstable();
    // By machine first: ids differ at their ends.
    let mut owners: Vec<(&str, &str, &str)> = Vec::new();
    for claim in observation.objects.all(resources::CLAIMS) {
        let name = claim.name();
        if let Some(id) = claim.value()["status"]["providerID"].as_str() {
            owners.push((id.rsplit('/').next().unwrap_or(id), id, name));
        }
        let machines = machines_of(name, &names);
        findings.premises += u64::from(!machines.is_empty());
        if machines.len() > 1 {
            findings.violation(format!(
                "NodeClaim {name} has {} machines: {}",
                machines.len(),
                machines.join(", ")
            ));
        }
    }
    owners.sort_by(|a, b| by_lower(a.0, b.0).then_with(|| by_lower(a.1, b.1)));
    for pair in owners.windows(2) {
        let [(_, id, one), (_, other_id, other)] = pair else {
            continue;
        };
        if !id.is_empty() && id.eq_ignore_ascii_case(other_id) {
            findings.violation(format!("NodeClaims {one} and {other} both claim {id}"));
        }
    }
    findings
}

fn by_lower<'a>(a: &'a str, b: &'a str) -> Ordering {
    let lower = |text: &'a str| text.bytes().map(|byte| byte.to_ascii_lowercase());
    lower(a).cmp(lower(b))
}

/// A machine is called `aks-` and its claim, perhaps with a suffix after a dash that no claim has.
fn machines_of<'a>(claim: &str, names: &[&'a str]) -> Vec<&'a str> {
    // All that begin with the claim's name sort together, from the name itself on.
    let from = names.partition_point(|name| *name < claim);
    let begin = names[from..]
        .iter()
        .take_while(|name| name.starts_with(claim));
    begin
        .filter(|name| {
            name.strip_prefix(claim)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
        .copied()
        .collect()
}
