//! Pending pods → NodeClaims.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/provisioning/provisioner.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use controller_api::karpenter::v1::NodeClaim;
use controller_core::explain::Explanation;
use controller_core::model::{NodeName, Pod, PodKey, Snapshot};
use controller_core::mutants::{self, Mutant};
use controller_core::scheduling::{
    Placement, SchedulingInput, SchedulingOptions, pods_to_place, schedule_with,
};
use controller_ports::run_on;
use futures::FutureExt;
use kube::ResourceExt;

use crate::context::{Context, later};
use crate::events::{Note, pod_reference};
use crate::executor::{create_claims, log_failures};
use crate::nodepool::hold;
use crate::options::Options;

/// Time after which pods that are still pending are tried again; upstream's re-trigger.
const RETRY: Duration = Duration::from_secs(10);
/// The same, while nothing changed that a decision could see: what is left is time itself.
const RETRY_UNCHANGED: Duration = Duration::from_mins(5);
/// Most placements one decision may try: hundreds of thousands of pods in some hundred shapes
/// need a fraction of it.
const STEPS_MAX: u64 = 20_000_000;

/// UIDs of the pods of one decision.
type Uids<'a> = BTreeMap<&'a PodKey, &'a Arc<str>>;

/// Options of every scheduling decision.
pub(crate) fn scheduling_options(options: &Options) -> SchedulingOptions {
    SchedulingOptions {
        preferences: options.preferences,
        min_values: options.min_values,
        steps_max: STEPS_MAX,
        improvement_steps: 0,
    }
}

/// Provisions for ever.
pub(crate) async fn provision(ctx: &Context) -> ! {
    let mut retry = None;
    loop {
        wait_for_work(ctx, retry).await;
        wait_for_launches(ctx).await;
        let before = ctx.cluster().changes();
        let left = provision_once(ctx).await;
        retry = left.then(|| {
            let unchanged = ctx.cluster().changes() == before;
            ctx.clock.monotonic() + if unchanged { RETRY_UNCHANGED } else { RETRY }
        });
    }
}

/// Waits for a batch of pods, or for the time to try again those that are left. A change brings
/// that time forward.
async fn wait_for_work(ctx: &Context, retry: Option<Duration>) {
    let mut batch = std::pin::pin!(ctx.batcher.wait(&*ctx.clock).fuse());
    let Some(mut retry) = retry else {
        return batch.await;
    };
    let earliest = ctx.clock.monotonic() + RETRY;
    loop {
        let wait = retry.saturating_sub(ctx.clock.monotonic());
        let mut due = std::pin::pin!(ctx.clock.sleep(wait).fuse());
        let mut changed = std::pin::pin!(ctx.wakes.provisioning.notified().fuse());
        futures::select_biased! {
            () = batch => return,
            () = due => return,
            () = changed => retry = retry.min(earliest),
        }
    }
}

/// Capacity in flight is known only once every claim has an instance.
async fn wait_for_launches(ctx: &Context) {
    while !ctx.unlaunched().is_empty() {
        let mut due = std::pin::pin!(ctx.clock.sleep(RETRY).fuse());
        let mut changed = std::pin::pin!(ctx.wakes.provisioning.notified().fuse());
        futures::select_biased! {
            () = changed => {}
            () = due => {}
        }
    }
}

/// One decision, carried out; `true` when pods are left that may fit later.
async fn provision_once(ctx: &Context) -> bool {
    let _decision = ctx.decision.lock().await;
    let catalogs = ctx.fetch_catalogs().await;
    let mut snapshot = ctx.cluster().snapshot(&catalogs);
    let held = hold(ctx, &mut snapshot);
    let pods = pods_to_place(&snapshot);
    if pods.is_empty() {
        ctx.metrics.unschedulable_pods(0);
        return false;
    }
    let options = scheduling_options(&ctx.options);
    let started = ctx.clock.monotonic();
    let compiled = ctx.compiled();
    let (snapshot, pods, mut placement, compiled) = run_on(&*ctx.cpu, move || {
        let compiled = compiled.refreshed(&snapshot);
        let excluded: BTreeSet<NodeName> = snapshot
            .nodes
            .iter()
            .filter(|n| n.deleting)
            .map(|n| n.name.clone())
            .collect();
        let input = SchedulingInput {
            snapshot: &snapshot,
            pods: &pods,
            excluded: &excluded,
            options,
        };
        let placement = schedule_with(&input, &compiled);
        (snapshot, pods, placement, compiled)
    })
    .await;
    ctx.keep_compiled(compiled);
    held.trim(&mut placement);
    ctx.metrics
        .scheduled(ctx.clock.monotonic().saturating_sub(started));
    tracing::info!(
        pods = pods.len(),
        new_claims = placement.new_claims.len(),
        on_existing_nodes = placement.existing.values().map(Vec::len).sum::<usize>(),
        unschedulable = placement.unschedulable.len(),
        "found provisionable pod(s)"
    );
    execute(ctx, &snapshot, &pods, &placement).await
}

async fn execute(ctx: &Context, snapshot: &Snapshot, pods: &[Pod], placement: &Placement) -> bool {
    let uids: Uids<'_> = pods.iter().map(|pod| (&pod.key, &pod.uid)).collect();
    let until = later(ctx.now(), ctx.options.nomination());
    for (node, placed) in &placement.existing {
        if !mutants::is(Mutant::NominationForgotten) {
            ctx.cluster().nominate(node, until);
        }
        let target = existing_target(snapshot, node);
        for pod in placed {
            nominated(ctx, &uids, pod, &target);
        }
    }
    let results = create_claims(ctx, &placement.new_claims, "provisioned").await;
    let pools: Vec<_> = placement
        .new_claims
        .iter()
        .map(|claim| claim.pool.clone())
        .collect();
    log_failures(&pools, &results);
    for (new, result) in placement.new_claims.iter().zip(&results) {
        if let Ok(claim) = result {
            let target = new_target(claim, ctx, until);
            for pod in &new.pods {
                nominated(ctx, &uids, pod, &target);
            }
        }
    }
    for (index, (pod, explanation)) in placement.unschedulable.iter().enumerate() {
        if index > 0 && mutants::is(Mutant::SilentAboutPods) {
            break;
        }
        unschedulable(ctx, &uids, pod, explanation);
    }
    ctx.metrics
        .unschedulable_pods(placement.unschedulable.len());
    let failed = results.iter().any(Result::is_err);
    // Pods on existing nodes and new claims are only gone once they are bound.
    failed || placement.out_of_steps || !pods.is_empty()
}

fn existing_target(snapshot: &Snapshot, name: &NodeName) -> String {
    let node = snapshot.nodes.iter().find(|node| node.name == *name);
    let claim = node.and_then(|node| node.claim.as_ref());
    match (claim, node.is_some_and(|node| node.has_node)) {
        (Some(claim), true) => format!("nodeclaim/{}, node/{name}", claim.name),
        (Some(claim), false) => format!("nodeclaim/{}", claim.name),
        (None, _) => format!("node/{name}"),
    }
}

fn new_target(claim: &Arc<NodeClaim>, ctx: &Context, until: jiff::Timestamp) -> String {
    let name = claim.name_any();
    // In flight, a claim is a node of its own name.
    ctx.cluster().nominate(&NodeName::new(&*name), until);
    format!("nodeclaim/{name}")
}

fn nominated(ctx: &Context, uids: &Uids<'_>, key: &PodKey, target: &str) {
    let note = Note::normal("Nominated", format!("Pod should schedule on: {target}"));
    publish(ctx, uids, key, note.once_per_object().nomination());
}

fn unschedulable(ctx: &Context, uids: &Uids<'_>, key: &PodKey, explanation: &Explanation) {
    tracing::debug!(pod = %key, reason = %explanation, "could not schedule pod");
    let message = format!("Failed to schedule pod, {explanation}");
    let note = Note::warning("FailedScheduling", message).once_per_object();
    publish(ctx, uids, key, note.every(Duration::from_mins(5)));
}

fn publish(ctx: &Context, uids: &Uids<'_>, key: &PodKey, note: Note) {
    if let Some(uid) = uids.get(key) {
        ctx.events
            .publish_to(pod_reference(&key.namespace, &key.name, uid), note);
    }
}
