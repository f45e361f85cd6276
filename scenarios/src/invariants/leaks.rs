//! No VM, NIC or disk outlives its NodeClaim by more than the grace period.

use std::collections::BTreeSet;
use std::ops::Bound;

use jiff::Timestamp;

use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, resources};

/// Machines.
pub(super) const VM: Invariant = Invariant {
    id: "INV-VM-LEAK",
    doc: "no virtual machine of a NodePool exists without its NodeClaim for longer than a garbage \
          collection period",
    when: When::Paced,
    check: vms,
};

/// Network interfaces.
pub(super) const NIC: Invariant = Invariant {
    id: "INV-NIC-LEAK",
    doc: "no network interface made for a NodeClaim outlives it by more than a garbage collection \
          period",
    when: When::Paced,
    check: nics,
};

/// Disks.
pub(super) const DISK: Invariant = Invariant {
    id: "INV-DISK-LEAK",
    doc: "no disk of a NodePool's machine exists unattached for longer than a garbage collection \
          period",
    when: When::Paced,
    check: disks,
};

/// Names of resources begin with `aks-` and the claim's name: the longest claim that is a
/// beginning of the name sorts right before what begins with it.
fn claim_of<'a>(name: &str, claims: &'a BTreeSet<String>) -> Option<&'a String> {
    let name = name.strip_prefix("aks-").unwrap_or(name);
    let mut before = claims.range::<str, _>((Bound::Unbounded, Bound::Included(name)));
    before
        .next_back()
        .filter(|claim| name.starts_with(claim.as_str()))
}

fn check<'a>(
    observation: &Observation<'_>,
    history: &History,
    kind: &str,
    items: impl Iterator<Item = (&'a str, Timestamp)>,
) -> Findings {
    let claims: BTreeSet<String> = observation
        .objects
        .all(resources::CLAIMS)
        .map(|claim| claim.name().to_owned())
        .collect();
    let gone: BTreeSet<String> = history.claims_gone.keys().cloned().collect();
    let mut findings = Findings::default();
    for (name, created) in items {
        findings.premises += 1;
        if claim_of(name, &claims).is_some() {
            continue;
        }
        // Without a claim since the claim went or, when there never was one, since it was made.
        let since = claim_of(name, &gone)
            .and_then(|claim| history.claims_gone.get(claim))
            .copied()
            .unwrap_or(created);
        if history.is_overdue(since, observation.now) {
            findings.violation(format!("{kind} {name} has had no NodeClaim since {since}"));
        }
    }
    findings
}

fn vms(observation: &Observation<'_>, history: &History) -> Findings {
    let items = observation
        .cloud
        .pool_vms()
        .map(|vm| (vm.name.as_str(), vm.created));
    check(observation, history, "virtual machine", items)
}

fn nics(observation: &Observation<'_>, history: &History) -> Findings {
    let items = observation
        .cloud
        .pool_nics()
        .map(|nic| (nic.name.as_str(), nic.created));
    check(observation, history, "network interface", items)
}

fn disks(observation: &Observation<'_>, history: &History) -> Findings {
    let unattached = observation
        .cloud
        .pool_disks()
        .filter(|disk| disk.attached_to.is_none());
    let items = unattached.map(|disk| (disk.name.as_str(), disk.created));
    let mut findings = check(observation, history, "disk", items);
    findings.premises = u64::try_from(observation.cloud.pool_disks().count()).unwrap_or(u64::MAX);
    findings
}
