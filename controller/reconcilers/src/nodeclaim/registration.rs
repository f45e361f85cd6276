//! Registration: the Node with the claim's provider id takes over what the claim says.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodeclaim/lifecycle/registration.go`.

use std::sync::Arc;

use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_cluster::{from_core_taint, to_core_taint};
use controller_core::lifecycle::{NotRegistered, TaintSync, registration, synced_taints};
use controller_core::model::Taint;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::{Draft, Outcome};
use crate::context::Context;
use crate::events::Note;
use crate::nodepool;
use crate::objects::{claim_provider_id, label};
use crate::writes::Guard;

pub(super) async fn register(ctx: &Context, draft: &mut Draft, outcome: &mut Outcome) {
    if draft.is_true("Registered") {
        draft.conditions().set_true("Registered");
        return;
    }
    if draft
        .conditions()
        .get("Registered")
        .is_some_and(|c| c.status == "False")
    {
        // Decided; liveness ends it.
        return;
    }
    let nodes = match claim_provider_id(&draft.claim) {
        Some(id) => ctx.nodes_of(id),
        None => Vec::new(),
    };
    let facts: Vec<(Vec<Taint>, bool)> = nodes.iter().map(|node| node_facts(node)).collect();
    let facts: Vec<(&[Taint], bool)> = facts.iter().map(|(t, l)| (t.as_slice(), *l)).collect();
    let step = match registration(&facts) {
        Ok(step) => step,
        Err(reason) => {
            let (text, message) = (reason.reason(), reason.to_string());
            match reason {
                NotRegistered::NodeNotFound => {
                    draft
                        .conditions()
                        .set_unknown_with("Registered", text, &message)
                }
                NotRegistered::MultipleNodesFound => {
                    draft.conditions().set_false("Registered", text, &message)
                }
            };
            return;
        }
    };
    let node = &nodes[0];
    if step.unregistered_taint_missing {
        let message = "Missing taint prevents registration-related race conditions on Karpenter-managed nodes";
        tracing::error!(
            nodeclaim = draft.name(),
            node = node.name_any(),
            "unregistered taint is missing"
        );
        let note = Note::warning("UnregisteredTaintMissing", message.to_owned()).once_per_object();
        ctx.events.publish(&draft.claim, note);
    }
    match ctx
        .patch_node(
            node,
            node_patch(&draft.claim, node, &ctx.class_label()),
            Guard::Version,
        )
        .await
    {
        Ok(Some(node)) => {
            draft.status().node_name = Some(node.name_any());
            draft.conditions().set_true("Registered");
            tracing::info!(
                nodeclaim = draft.name(),
                node = node.name_any(),
                "registered nodeclaim"
            );
            ctx.metrics.node_created(&draft.claim);
            nodepool::registered(ctx, &draft.claim);
        }
        Ok(None) => {}
        Err(error) => outcome.fail(error),
    }
}

fn node_facts(node: &Node) -> (Vec<Taint>, bool) {
    (
        node_taints(node),
        label(node, labels::REGISTERED) == Some("true"),
    )
}

pub(super) fn node_taints(node: &Node) -> Vec<Taint> {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    taints.iter().filter_map(to_core_taint).collect()
}

/// The Node as it should be after registration.
fn node_patch(claim: &NodeClaim, node: &Node, class_label: &str) -> Value {
    let sync = if label(node, labels::DO_NOT_SYNC_TAINTS) == Some("true") {
        TaintSync::Skip
    } else {
        TaintSync::All
    };
    let core = |taints: &[k8s_openapi::api::core::v1::Taint]| -> Vec<Taint> {
        taints.iter().filter_map(to_core_taint).collect()
    };
    let taints = synced_taints(
        &node_taints(node),
        &core(&claim.spec.taints),
        &core(&claim.spec.startup_taints),
        sync,
    );
    let taints: Vec<_> = taints
        .iter()
        .map(|taint| {
            // A taint that stays keeps when it was added.
            let own = node
                .spec
                .as_ref()
                .and_then(|spec| spec.taints.as_deref())
                .unwrap_or_default();
            own.iter()
                .find(|own| to_core_taint(own).as_ref() == Some(taint))
                .cloned()
                .unwrap_or_else(|| from_core_taint(taint))
        })
        .collect();
    let mut new_labels = claim.metadata.labels.clone().unwrap_or_default();
    new_labels.insert(labels::REGISTERED.to_owned(), "true".to_owned());
    new_labels
        .entry(class_label.to_owned())
        .or_insert_with(|| claim.spec.node_class_ref.name.clone());
    let mut finalizers = node.finalizers().to_vec();
    if !finalizers
        .iter()
        .any(|f| f == labels::TERMINATION_FINALIZER)
    {
        finalizers.push(labels::TERMINATION_FINALIZER.to_owned());
    }
    json!({
        "metadata": {
            "labels": new_labels,
            "annotations": claim.metadata.annotations.clone().unwrap_or_default(),
            "finalizers": finalizers,
            "ownerReferences": owners(claim, node),
        },
        "spec": { "taints": taints },
    })
}

fn owners(claim: &NodeClaim, node: &Node) -> Vec<OwnerReference> {
    let mut owners = node.owner_references().to_vec();
    let reference = claim_reference(claim);
    let known = owners.iter().any(|owner| {
        owner.api_version == reference.api_version
            && owner.kind == reference.kind
            && owner.uid == reference.uid
    });
    if !known {
        owners.push(reference);
    }
    owners
}

/// An owner reference to a claim.
fn claim_reference(claim: &NodeClaim) -> OwnerReference {
    OwnerReference {
        api_version: NodeClaim::api_version(&()).into_owned(),
        kind: NodeClaim::kind(&()).into_owned(),
        name: claim.name_any(),
        uid: claim.uid().unwrap_or_default(),
        block_owner_deletion: Some(true),
        controller: None,
    }
}

/// The one Node of a claim; `None` when there is none, or more than one.
pub(super) fn node_of(ctx: &Context, claim: &NodeClaim) -> Option<Arc<Node>> {
    let mut nodes = ctx.nodes_of(claim_provider_id(claim)?);
    if nodes.len() == 1 { nodes.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_takes_over_what_the_claim_says() {
        let claim: NodeClaim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "general-x7k2p", "uid": "u1",
                "labels": {"karpenter.sh/nodepool": "general", "team": "a"},
                "annotations": {"karpenter.sh/nodepool-hash": "1"},
            },
            "spec": {
                "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
                "requirements": [],
                "taints": [{"key": "gpu", "value": "true", "effect": "NoSchedule"}],
            },
        }))
        .expect("a claim");
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"team": "b"}},
            "spec": {"taints": [
                {"key": "karpenter.sh/unregistered", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"},
            ]},
        }))
        .expect("a node");
        let patch = node_patch(&claim, &node, "karpenter.azure.com/aksnodeclass");
        insta::assert_json_snapshot!(patch, @r#"
        {
          "metadata": {
            "annotations": {
              "karpenter.sh/nodepool-hash": "1"
            },
            "finalizers": [
              "karpenter.sh/termination"
            ],
            "labels": {
              "karpenter.azure.com/aksnodeclass": "default",
              "karpenter.sh/nodepool": "general",
              "karpenter.sh/registered": "true",
              "team": "a"
            },
            "ownerReferences": [
              {
                "apiVersion": "karpenter.sh/v1",
                "blockOwnerDeletion": true,
                "kind": "NodeClaim",
                "name": "general-x7k2p",
                "uid": "u1"
              }
            ]
          },
          "spec": {
            "taints": [
              {
                "effect": "NoSchedule",
                "key": "node.kubernetes.io/not-ready",
                "timeAdded": "2026-01-01T00:00:00Z"
              },
              {
                "effect": "NoSchedule",
                "key": "gpu",
                "value": "true"
              }
            ]
          }
        }
        "#);
    }
}
