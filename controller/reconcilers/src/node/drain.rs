//! Carrying out drain steps: evictions with back-off, forced deletions at the deadline.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/node/termination/{terminator,eviction}`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller_core::lifecycle::{DrainStep, ForcedDelete, drain as plan_drain};
use controller_core::model::{NodeName, PodKey};
use controller_core::mutants::{self, Mutant};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use kube::api::{DeleteParams, EvictParams};
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::error::{Error, chain, code, is_conflict, is_not_found};
use crate::events::{Note, pod_reference};
use crate::queue::Next;
use crate::writes::of_uid;

/// Evictions of one node in flight at once: enough to drain a full node (110 pods) in a few
/// rounds, few enough that one node does not crowd out the rest.
const EVICTIONS_MAX: usize = 32;
/// Wait after the first refusal; doubles. Upstream's queue.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// An eviction that was accepted is repeated when the pod shows no sign of it for this long.
const ACCEPTED_FOR: Duration = Duration::from_secs(10);
/// A drain that only waits for pods to end looks again after this long; their end is an event.
const POLL: Duration = Duration::from_secs(5);

/// Body of the API server's 500 for a pod that two budgets cover.
const MULTIPLE_BUDGETS: &str = "more than one PodDisruptionBudget";

/// Tries so far, by node and pod UID. Bounded by the pods of the nodes that are being drained.
#[derive(Debug, Default)]
pub(crate) struct Evictions(BTreeMap<String, BTreeMap<Arc<str>, Try>>);

#[derive(Clone, Copy, Debug, Default)]
struct Try {
    refusals: u32,
    not_before: Duration,
}

impl Evictions {
    pub(crate) fn forget_node(&mut self, node: &str) {
        self.0.remove(node);
    }

    fn not_before(&self, node: &str, uid: &str) -> Duration {
        self.0
            .get(node)
            .and_then(|pods| pods.get(uid))
            .map_or(Duration::ZERO, |t| t.not_before)
    }

    fn accepted(&mut self, node: &str, uid: &Arc<str>, now: Duration) {
        let tries = self.0.entry(node.to_owned()).or_default();
        tries.insert(
            Arc::clone(uid),
            Try {
                refusals: 0,
                not_before: now + ACCEPTED_FOR,
            },
        );
    }

    fn refused(&mut self, node: &str, uid: &Arc<str>, now: Duration) {
        let tries = self.0.entry(node.to_owned()).or_default();
        let entry = tries.entry(Arc::clone(uid)).or_default();
        let wait = RETRY_FIRST
            .saturating_mul(1 << entry.refusals.min(16))
            .min(RETRY_MAX);
        *entry = Try {
            refusals: entry.refusals.saturating_add(1),
            not_before: now + wait,
        };
    }
}

/// One round of a drain; `None` when nothing is left to wait for.
pub(super) async fn drain(
    ctx: &Context,
    node: &Node,
    deadline: Option<Timestamp>,
) -> Result<Option<Next>, Error> {
    let name = node.name_any();
    let pods = ctx.cluster().pods_on(&NodeName::new(&*name));
    let step = plan_drain(&pods, deadline, ctx.now());
    if step.waiting == 0 {
        return Ok(None);
    }
    let uids: BTreeMap<&PodKey, &Arc<str>> = pods.iter().map(|pod| (&pod.key, &pod.uid)).collect();
    let message = format!(
        "Failed to drain node, {} pods are waiting to be evicted",
        step.waiting
    );
    ctx.events.publish(
        node,
        Note::warning("FailedDraining", message).once_per_object(),
    );
    let mut error = force(ctx, &step.force_delete, &uids).await.err();
    error = error.or(evict(ctx, node, &step, &uids).await.err());
    if let Some(error) = error {
        return Err(error);
    }
    Ok(Some(Next::After(next_try(ctx, &name, &step, &uids))))
}

/// Until the next eviction may be tried.
fn next_try(
    ctx: &Context,
    node: &str,
    step: &DrainStep,
    uids: &BTreeMap<&PodKey, &Arc<str>>,
) -> Duration {
    let now = ctx.clock.monotonic();
    let evictions = ctx.evictions();
    step.evict
        .iter()
        .filter_map(|pod| uids.get(pod))
        .map(|uid| evictions.not_before(node, uid).saturating_sub(now))
        .min()
        .unwrap_or(POLL)
        .clamp(RETRY_FIRST, POLL)
}

async fn evict(
    ctx: &Context,
    node: &Node,
    step: &DrainStep,
    uids: &BTreeMap<&PodKey, &Arc<str>>,
) -> Result<(), Error> {
    let name = node.name_any();
    let now = ctx.clock.monotonic();
    let due: Vec<(PodKey, Arc<str>)> = {
        let evictions = ctx.evictions();
        step.evict
            .iter()
            .filter_map(|pod| uids.get(pod).map(|uid| (pod.clone(), Arc::clone(uid))))
            .filter(|(_, uid)| evictions.not_before(&name, uid) <= now)
            .collect()
    };
    let results: Vec<Result<(), Error>> = futures::stream::iter(due)
        .map(|(pod, uid)| evict_pod(ctx, node, pod, uid))
        .buffered(EVICTIONS_MAX)
        .collect()
        .await;
    results.into_iter().collect()
}

async fn evict_pod(ctx: &Context, node: &Node, pod: PodKey, uid: Arc<str>) -> Result<(), Error> {
    let name = node.name_any();
    let api: Api<Pod> = Api::namespaced(ctx.kube.clone(), &pod.namespace);
    let params = EvictParams {
        delete_options: Some(of_uid(Some(uid.to_string()))),
        ..EvictParams::default()
    };
    let result = if mutants::is(Mutant::DeletedNotEvicted) {
        let deleted = api.delete(&pod.name, &of_uid(Some(uid.to_string()))).await;
        deleted.map(|_| ())
    } else {
        api.evict(&pod.name, &params).await.map(|_| ())
    };
    let now = ctx.clock.monotonic();
    let Err(error) = result else {
        ctx.evictions().accepted(&name, &uid, now);
        ctx.metrics.eviction(200);
        ctx.metrics.pod_drained(drain_reason(ctx, node));
        let note = Note::normal(
            "Evicted",
            format!("Evicted pod: {}", drain_reason(ctx, node)),
        );
        ctx.events
            .publish_to(reference(&pod, &uid), note.once_per(pod.name.to_string()));
        return Ok(());
    };
    if let Some(code) = code(&error) {
        ctx.metrics.eviction(code);
    }
    let text = error.to_string();
    if is_not_found(&error) || is_conflict(&error) {
        // Gone, or another pod of this name.
        ctx.evictions().accepted(&name, &uid, now);
        return Ok(());
    }
    ctx.evictions().refused(&name, &uid, now);
    let why = if code(&error) == Some(429) {
        "evicting pod violates a PDB"
    } else if text.contains(MULTIPLE_BUDGETS) {
        "eviction does not support multiple PDBs"
    } else {
        tracing::warn!(pod = %pod, error = %chain(&error), "eviction failed");
        return Ok(());
    };
    let message = format!("Failed to drain node, {why} (Pod={pod})");
    ctx.events.publish(
        node,
        Note::warning("FailedDraining", message).once_per_object(),
    );
    Ok(())
}

async fn force(
    ctx: &Context,
    pods: &[ForcedDelete],
    uids: &BTreeMap<&PodKey, &Arc<str>>,
) -> Result<(), Error> {
    for forced in pods {
        let Some(uid) = uids.get(&forced.pod) else {
            continue;
        };
        let api: Api<Pod> = Api::namespaced(ctx.kube.clone(), &forced.pod.namespace);
        let seconds = u32::try_from(forced.grace.as_secs()).unwrap_or(u32::MAX);
        let params = DeleteParams {
            grace_period_seconds: Some(seconds),
            ..of_uid(Some(uid.to_string()))
        };
        match api.delete(&forced.pod.name, &params).await {
            Ok(_) => {
                let message = format!(
                    "Deleted the pod to accommodate the terminationTime of the node. The pod was \
                     granted {seconds} seconds of grace-period. This bypasses the PDB of the pod \
                     and the do-not-disrupt annotation."
                );
                let note = Note::normal("Disrupted", message).once_per(forced.pod.name.to_string());
                ctx.events.publish_to(reference(&forced.pod, uid), note);
                ctx.metrics.pod_drained("Forceful Termination");
            }
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn reference(pod: &PodKey, uid: &str) -> ObjectReference {
    pod_reference(&pod.namespace, &pod.name, uid)
}

/// Why the node is drained: the reason of its claim's disruption, or force.
fn drain_reason(ctx: &Context, node: &Node) -> &'static str {
    let Some(claim) = ctx.claim_of_node(node) else {
        return "";
    };
    let conditions = claim
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let reason = conditions
        .iter()
        .find(|condition| condition.type_ == "DisruptionReason" && condition.status == "True");
    match reason.map(|condition| condition.reason.as_str()) {
        Some("Empty") => "Empty",
        Some("Drifted") => "Drifted",
        Some("Underutilized") => "Underutilized",
        _ => "Forceful Termination",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_evictions_back_off_to_ten_seconds() {
        let mut evictions = Evictions::default();
        let uid: Arc<str> = "u".into();
        let mut waits = Vec::new();
        for _ in 0..9 {
            evictions.refused("n", &uid, Duration::ZERO);
            waits.push(evictions.not_before("n", &uid).as_millis());
        }
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        evictions.forget_node("n");
        assert_eq!(evictions.not_before("n", &uid), Duration::ZERO);
    }
}
