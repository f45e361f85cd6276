//! What each kind does with its objects.

use std::sync::Arc;

use controller_api::karpenter::v1::{NodeClaim, NodePool};
use controller_api::labels;
use controller_cluster::{Kind, Object};
use controller_core::model::{NodePoolName, PodKey};
use controller_core::mutants::{self, Mutant};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::DynamicObject;

use super::Sink;
use crate::context::Context;
use crate::node::has_disrupted_taint;
use crate::objects::{annotation, is_deleting, label, node_provider_id};

/// Pods: into the mirror; what waits asks for capacity, what comes or goes is noted on the claim.
#[derive(Debug)]
pub(crate) struct Pods;

impl Sink for Pods {
    type Object = Pod;

    fn apply(&mut self, ctx: &Context, pod: Pod) {
        let key = pod_key(&pod.namespace().unwrap_or_default(), &pod.name_any());
        let before = pod_facts(ctx, &key);
        ctx.apply(&Object::Pod(&pod));
        let after = pod_facts(ctx, &key);
        if is_provisionable(&pod) {
            let uid: Arc<str> = pod.uid().unwrap_or_default().into();
            ctx.batcher.trigger(&uid, ctx.clock.monotonic());
        }
        // Bound, finished, or being deleted: what consolidation calls a pod event.
        if before != after && after.node.is_some() && !after.daemon {
            pod_changed(ctx, after.node.as_deref());
        } else if before != after {
            wake_node(ctx, after.node.as_deref());
        }
    }

    fn delete(&mut self, ctx: &Context, namespace: &str, name: &str) {
        let before = pod_facts(ctx, &pod_key(namespace, name));
        ctx.delete(Kind::Pod, namespace, name);
        if before.daemon {
            wake_node(ctx, before.node.as_deref());
        } else {
            pod_changed(ctx, before.node.as_deref());
        }
    }
}

/// What makes a pod event when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PodFacts {
    node: Option<String>,
    terminal: bool,
    terminating: bool,
    daemon: bool,
}

fn pod_key(namespace: &str, name: &str) -> PodKey {
    PodKey {
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn pod_facts(ctx: &Context, key: &PodKey) -> PodFacts {
    let cluster = ctx.cluster();
    let Some(pod) = cluster.pod(key) else {
        return PodFacts::default();
    };
    PodFacts {
        node: pod.node.as_ref().map(ToString::to_string),
        terminal: pod.terminal,
        terminating: pod.deletion.is_some(),
        daemon: pod.shape.daemon,
    }
}

/// Whether the scheduler has given up on the pod and a new node may help (Karpenter
/// `pkg/utils/pod/scheduling.go` `IsProvisionable`).
fn is_provisionable(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let is_set = |text: Option<&String>| text.is_some_and(|text| !text.is_empty());
    let is_unschedulable = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("Unschedulable"));
    let is_owned_by = |kind: &str| {
        pod.owner_references()
            .iter()
            .any(|owner| owner.kind == kind)
    };
    is_unschedulable
        && !is_set(spec.and_then(|spec| spec.node_name.as_ref()))
        && !is_set(status.and_then(|status| status.nominated_node_name.as_ref()))
        && !is_owned_by("DaemonSet")
        && !is_owned_by("Node")
}

fn pod_changed(ctx: &Context, node: Option<&str>) {
    let Some(node) = node.and_then(|name| ctx.node(name)) else {
        return;
    };
    let claim = ctx.claim_of_node(&node);
    if let Some(claim) = claim {
        ctx.note_pod_event(&claim.name_any(), ctx.now());
    }
    wake_node(ctx, Some(&node.name_any()));
}

/// A drain may go on.
fn wake_node(ctx: &Context, node: Option<&str>) {
    if let Some(node) = node.and_then(|name| ctx.node(name))
        && is_deleting(&*node)
    {
        ctx.queues.nodes.add(node.name_any());
    }
}

/// Nodes.
#[derive(Debug)]
pub(crate) struct Nodes;

impl Sink for Nodes {
    type Object = Node;

    fn apply(&mut self, ctx: &Context, node: Node) {
        take_node(ctx, node, Source::Watch);
    }

    fn delete(&mut self, ctx: &Context, _: &str, name: &str) {
        let removed = ctx.node(name);
        ctx.forget_node(name);
        if !mutants::is(Mutant::EvictionsRemembered) {
            ctx.evictions().forget_node(name);
        }
        if let Some(node) = removed {
            node_changed(ctx, &node);
        }
    }
}

/// Where an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The watch.
    Watch,
    /// The answer to a write of ours; when the watch shows it, it is no news any more.
    Answer,
}

/// Takes a Node as it is now, and turns news into work.
pub(crate) fn take_node(ctx: &Context, mut node: Node, source: Source) {
    trim(&mut node);
    let name = node.name_any();
    let before = ctx.node(&name);
    let is_news = before
        .as_deref()
        .is_none_or(|before| !is_same(before, &node));
    let is_taken = ctx.objects().put_node(node, source == Source::Answer);
    if !is_taken || !is_news {
        return;
    }
    let Some(node) = ctx.node(&name) else { return };
    ctx.apply(&Object::Node(&node));
    if has_disrupted_taint(&node) {
        let uid: Arc<str> = node.uid().unwrap_or_default().into();
        ctx.batcher.trigger(&uid, ctx.clock.monotonic());
    }
    node_changed(ctx, &node);
}

fn node_changed(ctx: &Context, node: &Node) {
    if let Some(id) = node_provider_id(node) {
        for claim in ctx.claims_of(id) {
            ctx.queues.claims.add(claim.name_any());
        }
    }
    if label(node, &ctx.class_label()).is_some() {
        ctx.queues.nodes.add(node.name_any());
    }
}

/// Takes out what nobody reads: the bulk of a Node's bytes.
fn trim(node: &mut Node) {
    node.metadata.managed_fields = None;
    if let Some(status) = &mut node.status {
        status.images = None;
        for condition in status.conditions.iter_mut().flatten() {
            // Heartbeats are no news.
            condition.last_heartbeat_time = None;
        }
    }
}

/// Whether nothing but the version differs.
fn is_same(a: &Node, b: &Node) -> bool {
    a.metadata.uid == b.metadata.uid
        && a.metadata.labels == b.metadata.labels
        && a.metadata.annotations == b.metadata.annotations
        && a.metadata.finalizers == b.metadata.finalizers
        && a.metadata.owner_references == b.metadata.owner_references
        && a.metadata.deletion_timestamp == b.metadata.deletion_timestamp
        && a.spec == b.spec
        && a.status == b.status
}

/// NodeClaims.
#[derive(Debug)]
pub(crate) struct Claims;

impl Sink for Claims {
    type Object = NodeClaim;

    fn apply(&mut self, ctx: &Context, mut claim: NodeClaim) {
        claim.metadata.managed_fields = None;
        let name = claim.name_any();
        if ctx.objects().put_claim(claim, false) {
            ctx.mirror_claim(&name);
        }
        claim_changed(ctx, &name);
    }

    fn delete(&mut self, ctx: &Context, _: &str, name: &str) {
        let removed = ctx.claim(name);
        ctx.forget_claim(name);
        ctx.queues.claims.add(name.to_owned());
        if let Some(claim) = removed {
            ctx.queues
                .classes
                .add(claim.spec.node_class_ref.name.clone());
            let id = claim
                .status
                .as_ref()
                .and_then(|status| status.provider_id.clone());
            for node in ctx.nodes_of(&id.unwrap_or_default()) {
                ctx.queues.nodes.add(node.name_any());
            }
        }
    }
}

fn claim_changed(ctx: &Context, name: &str) {
    ctx.queues.claims.add(name.to_owned());
    let Some(claim) = ctx.claim(name) else { return };
    let id = claim
        .status
        .as_ref()
        .and_then(|status| status.provider_id.clone());
    for node in ctx.nodes_of(&id.unwrap_or_default()) {
        if is_deleting(&*node) {
            ctx.queues.nodes.add(node.name_any());
        }
    }
}

/// NodePools.
#[derive(Debug)]
pub(crate) struct Pools;

impl Sink for Pools {
    type Object = NodePool;

    fn apply(&mut self, ctx: &Context, mut pool: NodePool) {
        pool.metadata.managed_fields = None;
        let name = pool.name_any();
        let before = ctx.pool(&name);
        // Counters change with every node; only the spec and the hash concern claims.
        let concerns_claims = before.is_none_or(|before| {
            before.metadata.generation != pool.metadata.generation
                || annotation(&*before, labels::NODEPOOL_HASH)
                    != annotation(&pool, labels::NODEPOOL_HASH)
        });
        let is_taken = ctx.objects().pools.insert(Arc::new(pool));
        if is_taken && let Some(pool) = ctx.pool(&name) {
            ctx.apply(&Object::NodePool(&pool));
        }
        ctx.queues.pools.add(name.clone());
        if concerns_claims {
            for claim in ctx.claims_of_pool(&NodePoolName::new(name)) {
                ctx.queues.claims.add(claim);
            }
        }
    }

    fn delete(&mut self, ctx: &Context, _: &str, name: &str) {
        ctx.objects().pools.remove(name);
        ctx.delete(Kind::NodePool, "", name);
    }
}

/// NodeClasses.
#[derive(Debug)]
pub(crate) struct Classes;

impl Sink for Classes {
    type Object = DynamicObject;

    fn apply(&mut self, ctx: &Context, mut class: DynamicObject) {
        class.metadata.managed_fields = None;
        let name = class.name_any();
        ctx.objects().classes.insert(Arc::new(class));
        class_changed(ctx, &name);
    }

    fn delete(&mut self, ctx: &Context, _: &str, name: &str) {
        ctx.objects().classes.remove(name);
        class_changed(ctx, name);
    }
}

fn class_changed(ctx: &Context, name: &str) {
    ctx.queues.classes.add(name.to_owned());
    for pool in ctx.managed_pools() {
        if pool.spec.template.spec.node_class_ref.name == name {
            ctx.queues.pools.add(pool.name_any());
        }
    }
    for claim in ctx.managed_claims() {
        if claim.spec.node_class_ref.name == name {
            ctx.queues.claims.add(claim.name_any());
        }
    }
    ctx.wake();
}

/// Kinds that only decisions read.
macro_rules! mirrored {
    ($($(#[$doc:meta])* $sink:ident: $kind:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $sink;

        impl Sink for $sink {
            type Object = $kind;

            fn apply(&mut self, ctx: &Context, object: $kind) {
                ctx.apply(&Object::$kind(&object));
            }

            fn delete(&mut self, ctx: &Context, namespace: &str, name: &str) {
                ctx.delete(Kind::$kind, namespace, name);
            }
        }
    )+};
}

mirrored! {
    /// Daemon sets: overhead of new nodes.
    DaemonSets: DaemonSet,
    /// Disruption budgets of pods.
    Budgets: PodDisruptionBudget,
    /// Namespaces: labels, for namespace selectors.
    Namespaces: Namespace,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(patch: &serde_json::Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": []},
            "status": {"conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            ]},
        });
        for (path, value) in patch.as_object().into_iter().flatten() {
            for (key, value) in value.as_object().into_iter().flatten() {
                pod[path][key] = value.clone();
            }
        }
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn only_pods_the_scheduler_gave_up_on_are_provisionable() {
        assert!(is_provisionable(&pod(&json!({}))));
        let owner = |kind: &str| {
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": "v1", "kind": kind, "name": "o", "uid": "u"}
            ]}})
        };
        for patch in [
            json!({"spec": {"nodeName": "n"}}),
            json!({"status": {"nominatedNodeName": "n"}}),
            json!({"status": {"conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
            ]}}),
            owner("DaemonSet"),
            owner("Node"),
        ] {
            assert!(!is_provisionable(&pod(&patch)), "{patch}");
        }
    }

    #[test]
    fn heartbeats_are_no_news() {
        let node = |heartbeat: &str, ready: &str| -> Node {
            let mut node = serde_json::from_value(json!({
                "metadata": {"name": "n", "resourceVersion": heartbeat},
                "status": {"conditions": [{"type": "Ready", "status": ready,
                    "lastHeartbeatTime": format!("2026-01-01T00:00:{heartbeat}Z")}]},
            }))
            .expect("a node");
            trim(&mut node);
            node
        };
        assert!(is_same(&node("01", "True"), &node("02", "True")));
        assert!(!is_same(&node("01", "True"), &node("02", "False")));
    }
}
