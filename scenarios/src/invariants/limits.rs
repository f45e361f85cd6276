//! Machines of a NodePool stay within its limits.

use std::time::Duration;

use super::history::age;
use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, POOL_TAG, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-LIMITS",
    doc: "the machines of a NodePool never hold more CPU than spec.limits.cpu allows",
    when: When::Always,
    check,
};

/// What the controller may not have seen yet when it launched.
const LAG: Duration = Duration::from_secs(10);

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for pool in observation.objects.all(resources::POOLS) {
        let limit = &pool.value()["spec"]["limits"]["cpu"];
        let Some(limit) = milli(limit) else { continue };
        // Machines that failed hold nothing; those that go away still count.
        let vms: Vec<_> = observation
            .cloud
            .pool_vms()
            .filter(|vm| {
                vm.tags
                    .get(POOL_TAG)
                    .is_some_and(|name| name == pool.name())
            })
            .filter(|vm| vm.price_per_hour.0 > 0)
            .collect();
        let used: u64 = vms.iter().map(|vm| u64::from(vm.cores) * 1000).sum();
        findings.premises += u64::from(used > 0);
        // A limit that is lowered takes no machine away: it forbids new ones.
        let since = history.limits_since.get(pool.name()).copied();
        let new = vms
            .iter()
            .any(|vm| since.is_none_or(|since| age(since, vm.created) > LAG));
        if used > limit && new {
            findings.violation(format!(
                "NodePool {} has {used}m CPU, its limit is {limit}m",
                pool.name()
            ));
        }
    }
    findings
}

/// CPU in thousandths; quantities as limits usually spell them.
fn milli(value: &serde_json::Value) -> Option<u64> {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match text.strip_suffix('m') {
        Some(number) => number.parse().ok(),
        None => text.parse::<u64>().ok()?.checked_mul(1000),
    }
}
