//! Evictions respect disruption budgets of pods.

use serde_json::Value;

use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, Seen, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-PDB",
    doc: "no eviction of a healthy pod leaves fewer healthy pods than a PodDisruptionBudget \
          asks for",
    when: When::Fact,
    check,
};

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for change in &history.facts.changes {
        if change.resource != resources::PODS || !is_eviction_of_healthy(change) {
            continue;
        }
        let labels = &change.object.value()["metadata"]["labels"];
        for budget in observation.objects.all(resources::PDBS) {
            let selector = &budget.value()["spec"]["selector"]["matchLabels"];
            if budget.namespace() != change.object.namespace() || !selects(selector, labels) {
                continue;
            }
            let Some(desired) = budget.value()["status"]["desiredHealthy"].as_u64() else {
                continue;
            };
            findings.premises += 1;
            let healthy = observation.objects.all(resources::PODS).filter(|pod| {
                pod.namespace() == budget.namespace()
                    && selects(selector, &pod.value()["metadata"]["labels"])
                    && is_healthy(pod.value())
            });
            let healthy = healthy.count() as u64;
            if healthy < desired {
                findings.violation(format!(
                    "pod {} was evicted: {healthy} healthy pod(s) are left, {} asks for {desired}",
                    change.object.name(),
                    budget.name()
                ));
            }
        }
    }
    findings
}

fn is_eviction_of_healthy(change: &Seen) -> bool {
    let deleting = |value: &Value| !value["metadata"]["deletionTimestamp"].is_null();
    let now = change.object.value();
    let evicted = now["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["reason"] == "EvictionByEvictionAPI");
    let before = change.before.as_ref();
    evicted && deleting(now) && before.is_some_and(|before| is_healthy(before.value()))
}

fn is_healthy(pod: &Value) -> bool {
    let ready = pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

/// `matchLabels` only; a budget with expressions is not judged.
fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(wanted) = selector.as_object() else {
        return false;
    };
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
}
